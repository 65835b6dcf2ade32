//! Rebuilding the tables of transfers, instances, exceptions and attempts from the entries alone, in a temporary file, and comparing
//! them with the real ones (LED-001, INV-03, INV-08).

use super::described;
use super::rows::Fault;
use crate::ledger::change::{self, Changes, Made, Opened, Version};
use crate::ledger::entry::{Entry, Fact, Facts, Kind};
use crate::ledger::transfer::{State, TransferId};
use crate::records::RecordsError;
use rusqlite::{Connection, OptionalExtension, params};

const TABLES: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192; \
    CREATE TABLE versions (id INTEGER PRIMARY KEY, uid TEXT, version INTEGER, sha256 TEXT, state TEXT, hidden INTEGER NOT NULL DEFAULT 0); \
    CREATE TABLE transfers (id INTEGER PRIMARY KEY, instance INTEGER, destination TEXT, cause TEXT, state TEXT, attempts INTEGER, priority INTEGER); \
    CREATE TABLE exceptions (id INTEGER PRIMARY KEY, kind TEXT, instance INTEGER, transfer INTEGER, open INTEGER); \
    CREATE TABLE attempts (id INTEGER PRIMARY KEY, ends INTEGER); \
    CREATE TABLE paused (name TEXT PRIMARY KEY); \
    CREATE TABLE words (id INTEGER PRIMARY KEY, sha256 TEXT); BEGIN";

/// Where a transfer waits, by its state, its policy and whether it is in hand: what `tx::lane_of` says.
const LANE: &str = "CASE WHEN t.attempt IS NOT NULL OR t.state = 'leased' THEN 3 WHEN t.state = 'pending' THEN 0 \
    WHEN t.state = 'parked' AND t.resume IS 'class' THEN 4 WHEN t.state IN ('deferred', 'parked') THEN 1 \
    WHEN t.state = 'unknown' OR (t.state = 'accepted' AND t.verify <> 'accepted') THEN 2 \
    WHEN t.state IN ('held', 'dead') THEN 4 END";

/// What no entry says of a transfer and nobody would miss until it is not sent: that it waits where its state has it wait, and is found
/// there. In words, or nothing where all is as it should be.
const ASTRAY: &str = "iif(t.lane IS LANE, '', ', waits where nobody looks for it') || \
    iif(t.attempt IS NULL OR EXISTS (SELECT 1 FROM attempts a WHERE a.id = t.attempt AND a.ended IS NULL), '', ', in hand of nobody') || \
    iif(t.study = (SELECT i.study FROM instances i WHERE i.id = t.instance), '', ', counted to another study') || \
    iif(t.lane IS NULL OR t.lane NOT IN (0, 1) OR EXISTS (SELECT 1 FROM queue q WHERE q.destination = t.destination \
    AND q.study = t.study AND q.priority = t.priority AND q.due <= iif(t.lane = 0, 0, max(t.due, 1))), '', ', not in the queue') || \
    iif(t.outcome IS NULL OR t.outcome IN (OUTCOMES), '', ', last ended as nothing ends') || \
    iif(t.words IS NULL OR EXISTS (SELECT 1 FROM steps p WHERE p.transfer = t.id AND p.words IS t.words), '', ', by words of no step of it') || \
    iif(t.evidence IS NULL OR EXISTS (SELECT 1 FROM steps p WHERE p.transfer = t.id AND p.words IS t.evidence), '', \
    ', on evidence of no step of it')";

/// How a transfer may have ended last: an outcome of an attempt, or what became of it otherwise.
const OUTCOMES: &str = "'accepted', 'verified', 'unknown', 'claimed', 'uncompared', 'absent', 'deferred', 'refused', 'unsupported', \
    'parked', 'held', 'dead', 'corrupt', 'restored', 'interrupted', 'rejected', 'covered', 'released'";

/// So many rows are compared before it is looked how far that came.
const PAGE: i64 = 10_000;

/// A table, what the real rows say, and what the rebuilt rows say, in the same words; of the rows above one number and up to another.
const COMPARED: [(&str, &str, &str); 5] = [
    (
        "instance",
        "SELECT id, sop_uid || ' version ' || version || ', ' || state || iif(hidden IS NULL, '', ', hidden') || ', SHA-256 ' || lower(hex(sha256)) \
         FROM instances WHERE id > ?1 AND id <= ?2 ORDER BY id",
        "SELECT id, uid || ' version ' || version || ', ' || state || iif(hidden, ', hidden', '') || ', SHA-256 ' || sha256 \
         FROM versions WHERE id > ?1 AND id <= ?2 ORDER BY id",
    ),
    (
        "transfer",
        "SELECT t.id, t.state || ' after ' || t.attempts || ' attempts, of instance ' || t.instance || ' to ' || d.name || \
         ' because of ' || t.cause || ', priority ' || t.priority || ASTRAY FROM transfers t JOIN destinations d ON d.id = t.destination \
         WHERE t.id > ?1 AND t.id <= ?2 ORDER BY t.id",
        "SELECT id, state || ' after ' || attempts || ' attempts, of instance ' || instance || ' to ' || destination || \
         ' because of ' || cause || ', priority ' || priority FROM transfers WHERE id > ?1 AND id <= ?2 ORDER BY id",
    ),
    (
        "pause",
        "SELECT row_number() OVER (ORDER BY name), name FROM destinations WHERE paused IS NOT NULL AND ?1 < ?2 ORDER BY name",
        "SELECT row_number() OVER (ORDER BY name), name FROM paused WHERE ?1 < ?2 ORDER BY name",
    ),
    (
        "exception",
        "SELECT id, kind || ' of instance ' || instance || ', transfer ' || coalesce(transfer, 'none') || \
         iif(closed IS NULL, ', open', ', closed') FROM exceptions WHERE id > ?1 AND id <= ?2 ORDER BY id",
        "SELECT id, kind || ' of instance ' || instance || ', transfer ' || coalesce(transfer, 'none') || \
         iif(open, ', open', ', closed') FROM exceptions WHERE id > ?1 AND id <= ?2 ORDER BY id",
    ),
    (
        "attempt",
        "SELECT id, iif(ended IS NULL, 'without an end', 'ended') FROM attempts WHERE id > ?1 AND id <= ?2 ORDER BY id",
        "SELECT id, iif(ends = 0, 'without an end', iif(ends = 1, 'ended', 'ended twice')) FROM attempts \
         WHERE id > ?1 AND id <= ?2 ORDER BY id",
    ),
];

/// A fault of the rebuilt tables, such as no room for them, says nothing of the real ones.
fn beside(fault: Fault) -> Fault {
    match fault {
        Fault::Sqlite(error) => {
            Fault::Refused(RecordsError::Database(format!("the tables to compare with could not be made: {error}")))
        }
        refused @ Fault::Refused(_) => refused,
    }
}

/// How far a comparison has come, so that it can be made in pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::records) struct Place {
    /// The table.
    table: usize,
    /// The last row of it.
    after: i64,
}

/// The rebuilt tables.
pub(in crate::records) struct Rebuilt {
    conn: Connection,
}

/// How many rows were compared.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::records) struct Compared {
    pub(in crate::records) instances: u64,
    pub(in crate::records) transfers: u64,
    pub(in crate::records) exceptions: u64,
}

impl Rebuilt {
    /// Empty tables, in a temporary file that nobody else can see and that goes away with it.
    pub(in crate::records) fn new() -> Result<Self, Fault> {
        let conn = Connection::open("")?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(TABLES)?;
        Ok(Self { conn })
    }

    /// Applies an entry. What it does against the rules is given in words.
    pub(in crate::records) fn apply(&self, entry: &Entry) -> Result<Vec<String>, Fault> {
        self.apply_one(entry).map_err(beside)
    }

    fn apply_one(&self, entry: &Entry) -> Result<Vec<String>, Fault> {
        let changes = match change::read(entry) {
            Ok(changes) => changes,
            Err(fact) => return Ok(vec![format!("its fact `{fact}` cannot be understood")]),
        };
        let mut wrong = Vec::new();
        self.make(&changes, &mut wrong)?;
        for (to, transfers) in &changes.steps {
            for transfer in transfers {
                self.step(*transfer, *to, &mut wrong)?;
            }
        }
        for TransferId(transfer) in &changes.tried {
            self.run("UPDATE transfers SET attempts = attempts + 1 WHERE id = ?1", [*transfer])?;
        }
        for (priority, transfers) in &changes.priorities {
            for TransferId(transfer) in transfers {
                let change = "UPDATE transfers SET priority = ?2 WHERE id = ?1";
                if self.run(change, params![transfer, priority.rank()])? == 0 {
                    wrong.push(format!("it makes transfer {transfer} {}, which was never owed", priority.word()));
                }
            }
        }
        match &changes.paused {
            Some((name, true)) => self.run("INSERT OR IGNORE INTO paused (name) VALUES (?1)", [name])?,
            Some((name, false)) => self.run("DELETE FROM paused WHERE name = ?1", [name])?,
            None => 0,
        };
        for (instance, hidden) in &changes.hidden {
            if self.run("UPDATE versions SET hidden = ?2 WHERE id = ?1 AND hidden <> ?2", params![instance, hidden])?
                == 0
            {
                wrong.push(format!("it hides or shows instance {instance}, which does not fit what went before"));
            }
        }
        for exception in &changes.closed {
            if self.run("UPDATE exceptions SET open = 0 WHERE id = ?1 AND open = 1", [*exception])? == 0 {
                wrong.push(format!("it closes exception {exception}, which is not open"));
            }
        }
        self.attempt(entry, &mut wrong)?;
        self.words(&entry.facts)?;
        Ok(wrong)
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, Fault> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    fn make(&self, changes: &Changes, wrong: &mut Vec<String>) -> Result<(), Fault> {
        for Version { instance, state, made } in &changes.versions {
            let changed = match made {
                Some((uid, version, sha256)) => self.run(
                    "INSERT OR IGNORE INTO versions (id, uid, version, sha256, state) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![instance, uid, version, sha256, state],
                )?,
                None => self.run("UPDATE versions SET state = ?2 WHERE id = ?1", params![instance, state])?,
            };
            if changed == 0 {
                wrong.push(format!("it does not fit what went before with instance {instance}"));
            }
        }
        for Made { transfer, instance, destination, cause, state, priority } in &changes.made {
            let made = self.run(
                "INSERT OR IGNORE INTO transfers (id, instance, destination, cause, state, attempts, priority) \
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
                params![transfer.0, instance, destination, cause, state.word(), priority.rank()],
            )?;
            if made == 0 {
                wrong.push(format!("it makes transfer {} a second time", transfer.0));
            }
        }
        for Opened { exception, kind, instance, transfer } in &changes.opened {
            let opened = self.run(
                "INSERT OR IGNORE INTO exceptions (id, kind, instance, transfer, open) VALUES (?1, ?2, ?3, ?4, 1)",
                params![exception, kind, instance, transfer.map(|transfer| transfer.0)],
            )?;
            if opened == 0 {
                wrong.push(format!("it opens exception {exception} a second time"));
            }
        }
        Ok(())
    }

    fn step(&self, TransferId(id): TransferId, to: State, wrong: &mut Vec<String>) -> Result<(), Fault> {
        let mut find = self.conn.prepare_cached("SELECT state FROM transfers WHERE id = ?1")?;
        let from: Option<String> = find.query_row([id], |row| row.get(0)).optional()?;
        match from.as_deref().and_then(State::parse) {
            None => wrong.push(format!("it moves transfer {id}, which was never owed")),
            Some(from) if !from.may_become(to) => {
                wrong.push(format!("it moves transfer {id} from {from} to {to}, which no rule allows"));
            }
            Some(_) => {}
        }
        self.run("UPDATE transfers SET state = ?2 WHERE id = ?1", params![id, to.word()]).map(drop)
    }

    /// Every attempt has one beginning and at most one end (INV-08).
    fn attempt(&self, entry: &Entry, wrong: &mut Vec<String>) -> Result<(), Fault> {
        let Some(attempt) = entry.facts.get("attempt").and_then(Fact::number) else { return Ok(()) };
        let changed = match entry.kind {
            Kind::Attempt => self.run("INSERT OR IGNORE INTO attempts (id, ends) VALUES (?1, 0)", [attempt])?,
            _ if entry.facts.contains_key("end") => {
                self.run("UPDATE attempts SET ends = ends + 1 WHERE id = ?1 AND ends = 0", [attempt])?
            }
            _ => return Ok(()),
        };
        if changed == 0 {
            wrong.push(format!("it does not fit what went before with attempt {attempt}"));
        }
        Ok(())
    }

    /// Remembers the hashes of words, wherever they stand in the facts.
    fn words(&self, facts: &Facts) -> Result<(), Fault> {
        for (name, fact) in facts {
            match fact {
                Fact::Map(map) if name == "words" => {
                    if let (Some(Fact::Number(id)), Some(Fact::Text(sha256))) = (map.get("id"), map.get("sha256")) {
                        self.run("INSERT OR IGNORE INTO words (id, sha256) VALUES (?1, ?2)", params![id, sha256])?;
                    }
                }
                Fact::Map(map) => self.words(map)?,
                Fact::List(list) => list.iter().filter_map(Fact::map).try_for_each(|map| self.words(map))?,
                Fact::Text(_) | Fact::Number(_) => {}
            }
        }
        Ok(())
    }

    /// Compares the rebuilt tables with the real ones; each difference is given in words to `differs`. What describes is not looked at:
    /// no entry holds it.
    pub(in crate::records) fn compare(
        &self,
        real: &Connection,
        mut differs: impl FnMut(String),
    ) -> Result<Compared, Fault> {
        let (mut compared, mut place) = (Compared::default(), Place::default());
        while place.table <= COMPARED.len() {
            match self.compare_some(real, place, PAGE, &mut compared, &mut differs)? {
                Some(next) => place = next,
                None => break,
            }
        }
        Ok(compared)
    }

    /// The same for about `most` rows of one table from a place on, and what describes behind all tables; where to go on, if anything is
    /// left. Both must be of one moment.
    pub(in crate::records) fn compare_some(
        &self,
        real: &Connection,
        Place { table, after }: Place,
        most: i64,
        compared: &mut Compared,
        differs: &mut impl FnMut(String),
    ) -> Result<Option<Place>, Fault> {
        let on = |last: Option<i64>| last.map_or(Place { table: table + 1, after: 0 }, |after| Place { table, after });
        let Some(sql) = COMPARED.get(table) else {
            if table == COMPARED.len() {
                return Ok(Some(on(self.compare_words(real, (after, most), differs)?)));
            }
            return match described::TABLES.get(table - COMPARED.len() - 1) {
                Some(described) => Ok(Some(on(described::look(real, described, (after, most), differs)?))),
                None => Ok(None),
            };
        };
        let upto = self.last_of((table, after), most).map_err(beside)?;
        let rows = self.compare_one(real, sql, (after, upto.unwrap_or(i64::MAX)), differs)?;
        match sql.0 {
            "instance" => compared.instances += rows,
            "transfer" => compared.transfers += rows,
            "exception" => compared.exceptions += rows,
            _ => {}
        }
        Ok(Some(on(upto)))
    }

    /// The last of the next `most` rows of a table, if it has so many more.
    fn last_of(&self, (table, after): (usize, i64), most: i64) -> Result<Option<i64>, Fault> {
        let name = match COMPARED[table].0 {
            "instance" => "versions",
            "transfer" => "transfers",
            "exception" => "exceptions",
            "attempt" => "attempts",
            _ => return Ok(None),
        };
        let mut find = self
            .conn
            .prepare_cached(&format!("SELECT id FROM {name} WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2 - 1"))?;
        Ok(find.query_row([after, most], |row| row.get(0)).optional()?)
    }

    /// Walks both tables side by side, in order of their numbers.
    fn compare_one(
        &self,
        real: &Connection,
        (name, ours, rebuilt): &(&str, &str, &str),
        (after, upto): (i64, i64),
        differs: &mut impl FnMut(String),
    ) -> Result<u64, Fault> {
        // Numbers begin at 1: what stands before is no row of ours either.
        let after = if after == 0 { i64::MIN } else { after };
        let ours = ours.replace("ASTRAY", ASTRAY).replace("LANE", LANE).replace("OUTCOMES", OUTCOMES);
        let mut ours = real.prepare_cached(&ours)?;
        let mut rebuilt = self.conn.prepare_cached(rebuilt).map_err(|error| beside(error.into()))?;
        let mut ours = ours.query([after, upto])?;
        let mut rebuilt = rebuilt.query([after, upto]).map_err(|error| beside(error.into()))?;
        let next = |rows: &mut rusqlite::Rows<'_>| -> Result<Option<(i64, String)>, Fault> {
            match rows.next()? {
                Some(row) => Ok(Some((row.get(0)?, row.get(1)?))),
                None => Ok(None),
            }
        };
        let (mut left, mut right) = (next(&mut ours)?, next(&mut rebuilt).map_err(beside)?);
        let mut seen = 0;
        loop {
            seen += 1;
            match (&left, &right) {
                (None, None) => return Ok(seen - 1),
                (Some((a, text)), Some((b, told))) if a == b => {
                    if text != told {
                        differs(format!("{name} {a}: the table says `{text}`, the entries say `{told}`"));
                    }
                    (left, right) = (next(&mut ours)?, next(&mut rebuilt).map_err(beside)?);
                }
                (Some((a, text)), other) if other.as_ref().is_none_or(|(b, _)| a < b) => {
                    differs(format!("{name} {a}: the table says `{text}`, the entries know nothing of it"));
                    left = next(&mut ours)?;
                }
                (_, Some((b, told))) => {
                    differs(format!("{name} {b}: the entries say `{told}`, the table knows nothing of it"));
                    right = next(&mut rebuilt).map_err(beside)?;
                }
                (Some(_), None) => left = next(&mut ours)?,
            }
        }
    }

    /// The words that are still kept must be those that were said (LED-010); words that were erased are no fault.
    /// `most` of them after a number; the last, if there may be more.
    fn compare_words(
        &self,
        real: &Connection,
        (after, most): (i64, i64),
        differs: &mut impl FnMut(String),
    ) -> Result<Option<i64>, Fault> {
        use sha2::{Digest as _, Sha256};
        let said = self.words_after(after, most).map_err(beside)?;
        let mut kept = real.prepare_cached("SELECT salt, text FROM words WHERE id = ?1")?;
        let last = said.last().filter(|_| said.len() as i64 == most).map(|(id, _)| *id);
        for (id, sha256) in said {
            let found = kept.query_row([id], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?)));
            let Some((salt, text)) = found.optional()? else { continue };
            let now = Sha256::new().chain_update(salt).chain_update(text).finalize();
            if crate::records::proof::hex(&now) != sha256 {
                differs(format!("words {id} are not those that were said"));
            }
        }
        Ok(last)
    }

    fn words_after(&self, after: i64, most: i64) -> Result<Vec<(i64, String)>, Fault> {
        let mut find = self.conn.prepare_cached("SELECT id, sha256 FROM words WHERE id > ?1 ORDER BY id LIMIT ?2")?;
        let rows = find.query_map([after, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
