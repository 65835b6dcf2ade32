//! Rebuilding the tables of transfers, instances, exceptions and attempts from the entries alone, in a temporary file, and comparing
//! them with the real ones (LED-001, INV-03, INV-08).

use super::rows::Fault;
use crate::ledger::change::{self, Changes, Made, Opened, Version};
use crate::ledger::entry::{Entry, Fact, Facts, Kind};
use crate::ledger::transfer::{State, TransferId};
use rusqlite::{Connection, OptionalExtension, params};

const TABLES: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192; \
    CREATE TABLE versions (id INTEGER PRIMARY KEY, uid TEXT, version INTEGER, sha256 TEXT, state TEXT, hidden INTEGER NOT NULL DEFAULT 0); \
    CREATE TABLE transfers (id INTEGER PRIMARY KEY, instance INTEGER, destination TEXT, cause TEXT, state TEXT, attempts INTEGER, priority INTEGER); \
    CREATE TABLE exceptions (id INTEGER PRIMARY KEY, kind TEXT, instance INTEGER, transfer INTEGER, open INTEGER); \
    CREATE TABLE attempts (id INTEGER PRIMARY KEY, ends INTEGER); \
    CREATE TABLE paused (name TEXT PRIMARY KEY); \
    CREATE TABLE words (id INTEGER PRIMARY KEY, sha256 TEXT); BEGIN";

/// A table, what the real rows say, and what the rebuilt rows say, in the same words.
const COMPARED: [(&str, &str, &str); 5] = [
    (
        "instance",
        "SELECT id, sop_uid || ' version ' || version || ', ' || state || iif(hidden IS NULL, '', ', hidden') || ', SHA-256 ' || lower(hex(sha256)) \
         FROM instances ORDER BY id",
        "SELECT id, uid || ' version ' || version || ', ' || state || iif(hidden, ', hidden', '') || ', SHA-256 ' || sha256 \
         FROM versions ORDER BY id",
    ),
    (
        "transfer",
        "SELECT t.id, t.state || ' after ' || t.attempts || ' attempts, of instance ' || t.instance || ' to ' || d.name || \
         ' because of ' || t.cause || ', priority ' || t.priority FROM transfers t JOIN destinations d ON d.id = t.destination ORDER BY t.id",
        "SELECT id, state || ' after ' || attempts || ' attempts, of instance ' || instance || ' to ' || destination || \
         ' because of ' || cause || ', priority ' || priority FROM transfers ORDER BY id",
    ),
    (
        "pause",
        "SELECT row_number() OVER (ORDER BY name), name FROM destinations WHERE paused IS NOT NULL ORDER BY name",
        "SELECT row_number() OVER (ORDER BY name), name FROM paused ORDER BY name",
    ),
    (
        "exception",
        "SELECT id, kind || ' of instance ' || instance || ', transfer ' || coalesce(transfer, 'none') || \
         iif(closed IS NULL, ', open', ', closed') FROM exceptions ORDER BY id",
        "SELECT id, kind || ' of instance ' || instance || ', transfer ' || coalesce(transfer, 'none') || \
         iif(open, ', open', ', closed') FROM exceptions ORDER BY id",
    ),
    (
        "attempt",
        "SELECT id, iif(ended IS NULL, 'without an end', 'ended') FROM attempts ORDER BY id",
        "SELECT id, iif(ends = 0, 'without an end', iif(ends = 1, 'ended', 'ended twice')) FROM attempts ORDER BY id",
    ),
];

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

    /// Compares the rebuilt tables with the real ones; each difference is given in words to `differs`.
    pub(in crate::records) fn compare(
        &self,
        real: &Connection,
        mut differs: impl FnMut(String),
    ) -> Result<Compared, Fault> {
        let mut compared = Compared::default();
        for (name, ours, rebuilt) in COMPARED {
            let rows = self.compare_one(real, (name, ours, rebuilt), &mut differs)?;
            match name {
                "instance" => compared.instances = rows,
                "transfer" => compared.transfers = rows,
                "exception" => compared.exceptions = rows,
                _ => {}
            }
        }
        self.compare_words(real, &mut differs)?;
        Ok(compared)
    }

    /// Walks both tables side by side, in order of their numbers.
    fn compare_one(
        &self,
        real: &Connection,
        (name, ours, rebuilt): (&str, &str, &str),
        differs: &mut impl FnMut(String),
    ) -> Result<u64, Fault> {
        let (mut ours, mut rebuilt) = (real.prepare(ours)?, self.conn.prepare(rebuilt)?);
        let (mut ours, mut rebuilt) = (ours.query([])?, rebuilt.query([])?);
        let next = |rows: &mut rusqlite::Rows<'_>| -> Result<Option<(i64, String)>, Fault> {
            match rows.next()? {
                Some(row) => Ok(Some((row.get(0)?, row.get(1)?))),
                None => Ok(None),
            }
        };
        let (mut left, mut right) = (next(&mut ours)?, next(&mut rebuilt)?);
        let mut seen = 0;
        loop {
            seen += 1;
            match (&left, &right) {
                (None, None) => return Ok(seen - 1),
                (Some((a, text)), Some((b, told))) if a == b => {
                    if text != told {
                        differs(format!("{name} {a}: the table says `{text}`, the entries say `{told}`"));
                    }
                    (left, right) = (next(&mut ours)?, next(&mut rebuilt)?);
                }
                (Some((a, text)), other) if other.as_ref().is_none_or(|(b, _)| a < b) => {
                    differs(format!("{name} {a}: the table says `{text}`, the entries know nothing of it"));
                    left = next(&mut ours)?;
                }
                (_, Some((b, told))) => {
                    differs(format!("{name} {b}: the entries say `{told}`, the table knows nothing of it"));
                    right = next(&mut rebuilt)?;
                }
                (Some(_), None) => left = next(&mut ours)?,
            }
        }
    }

    /// The words that are still kept must be those that were said (LED-010); words that were erased are no fault.
    fn compare_words(&self, real: &Connection, differs: &mut impl FnMut(String)) -> Result<(), Fault> {
        use sha2::{Digest as _, Sha256};
        let mut find = self.conn.prepare("SELECT id, sha256 FROM words ORDER BY id")?;
        let mut kept = real.prepare("SELECT salt, text FROM words WHERE id = ?1")?;
        let mut rows = find.query([])?;
        while let Some(row) = rows.next()? {
            let (id, sha256): (i64, String) = (row.get(0)?, row.get(1)?);
            let found = kept.query_row([id], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?)));
            let Some((salt, text)) = found.optional()? else { continue };
            let now = Sha256::new().chain_update(salt).chain_update(text).finalize();
            if crate::records::proof::hex(&now) != sha256 {
                differs(format!("words {id} are not those that were said"));
            }
        }
        Ok(())
    }
}
