//! What a command may do inside the writer's transaction: append entries, keep words, move transfers, wake lanes.

use super::rows::{Fault, damaged, state, verify};
use super::unsupported::CLASS;
use crate::ledger::backoff::mix;
use crate::ledger::entry::{Entry, EntryId, Fact, Facts, Kind, facts};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::{Destination, Verify};
use crate::records::{RecordsError, RecordsOptions};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// What does not change while the records are open.
pub(in crate::records) struct Fixed {
    /// The name of these records in their entries.
    pub(in crate::records) writer: String,
    /// Raised at each opening: what an earlier process leased is not ours.
    pub(in crate::records) epoch: i64,
    pub(in crate::records) options: RecordsOptions,
}

/// An entry that waits for its position.
pub(in crate::records) struct NewEntry {
    pub(in crate::records) kind: Kind,
    pub(in crate::records) at: i64,
    pub(in crate::records) bytes: Vec<u8>,
}

/// What the commands of one group have gathered.
#[derive(Default)]
pub(in crate::records) struct Group {
    pub(in crate::records) entries: Vec<NewEntry>,
    pub(in crate::records) kicks: BTreeSet<Destination>,
}

/// A command's view of the transaction.
pub(in crate::records) struct Tx<'a> {
    pub(in crate::records) conn: &'a Connection,
    pub(in crate::records) fixed: &'a Fixed,
    pub(in crate::records) group: &'a mut Group,
}

/// The longest text that is kept of what somebody said, in characters.
const LONGEST_WORDS: usize = 1000;

impl Tx<'_> {
    fn random<const N: usize>() -> Result<[u8; N], Fault> {
        #[cfg(test)]
        if let Some(bytes) = super::inline::chance() {
            return Ok(bytes);
        }
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes)
            .map_err(|e| Fault::Refused(RecordsError::Database(format!("the system gives no random numbers: {e}"))))?;
        Ok(bytes)
    }

    /// A seed for jitter.
    pub(in crate::records) fn seed() -> Result<u64, Fault> {
        Self::random().map(u64::from_be_bytes)
    }

    /// A seed for one transfer out of a seed for a batch.
    pub(in crate::records) fn seed_for(seed: u64, transfer: TransferId) -> u64 {
        mix(seed ^ transfer.0.unsigned_abs())
    }

    /// The random name of a new entry.
    pub(in crate::records) fn entry_id() -> Result<EntryId, Fault> {
        Self::random().map(EntryId)
    }

    /// Appends an entry. It gets its position at the end of the group, in the same transaction (LED-012).
    pub(in crate::records) fn append(&mut self, id: EntryId, kind: Kind, at: i64, facts: Facts, causes: Vec<EntryId>) {
        let entry = Entry { id, writer: self.fixed.writer.clone(), kind, at, facts, causes };
        self.group.entries.push(NewEntry { kind, at, bytes: entry.to_bytes() });
    }

    /// Keeps what somebody said beside the ledger, and gives its number and the fact for an entry: a salted hash, so that the
    /// text can be erased without a trace and without breaking the chain (LED-010).
    pub(in crate::records) fn words(&self, text: &str) -> Result<(i64, Fact), Fault> {
        let text: String = text.chars().take(LONGEST_WORDS).collect();
        let mut find = self.conn.prepare_cached("SELECT id, salt FROM words WHERE text = ?1")?;
        let known: Option<(i64, Vec<u8>)> = find.query_row([&text], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (id, salt) = match known {
            Some(known) => known,
            None => {
                let salt = Self::random::<16>()?.to_vec();
                let mut insert = self.conn.prepare_cached("INSERT INTO words (text, salt) VALUES (?1, ?2)")?;
                (insert.insert(params![text, salt])?, salt)
            }
        };
        let hash = crate::records::proof::hex(&Sha256::new().chain_update(salt).chain_update(&text).finalize());
        Ok((id, facts([("id", id.into()), ("sha256", hash.into())]).into()))
    }

    /// The number of a destination, made if it is new.
    pub(in crate::records) fn destination(&self, destination: &Destination) -> Result<i64, Fault> {
        if let Some(id) = self.known_destination(destination)? {
            return Ok(id);
        }
        let mut insert = self.conn.prepare_cached("INSERT INTO destinations (name) VALUES (?1)")?;
        Ok(insert.insert([&destination.0])?)
    }

    /// The number of a destination, if anything was ever owed to it.
    pub(in crate::records) fn known_destination(&self, destination: &Destination) -> Result<Option<i64>, Fault> {
        let mut find = self.conn.prepare_cached("SELECT id FROM destinations WHERE name = ?1")?;
        Ok(find.query_row([&destination.0], |row| row.get(0)).optional()?)
    }

    /// The name of a destination.
    pub(in crate::records) fn destination_name(&self, id: i64) -> Result<Destination, Fault> {
        let mut find = self.conn.prepare_cached("SELECT name FROM destinations WHERE id = ?1")?;
        Ok(Destination(find.query_row([id], |row| row.get(0))?))
    }

    /// Wakes the lane of a destination once the group is committed.
    pub(in crate::records) fn kick(&mut self, destination: Destination) {
        self.group.kicks.insert(destination);
    }
}

/// The columns of a transfer that change, with those that decide.
#[derive(Debug, Clone)]
pub(in crate::records) struct Transfer {
    pub(in crate::records) id: TransferId,
    pub(in crate::records) instance: i64,
    pub(in crate::records) destination: i64,
    pub(in crate::records) verify: Verify,
    pub(in crate::records) state: State,
    pub(in crate::records) due: i64,
    pub(in crate::records) attempts: i64,
    pub(in crate::records) failures: u32,
    /// Tries and questions in a row that said nothing of it: asked in vain, or refused as everything may have been.
    pub(in crate::records) unanswered: u32,
    pub(in crate::records) interruptions: u32,
    pub(in crate::records) spent: i64,
    pub(in crate::records) attempt: Option<i64>,
    pub(in crate::records) resume: Option<String>,
    pub(in crate::records) outcome: Option<String>,
    pub(in crate::records) words: Option<i64>,
    pub(in crate::records) evidence: Option<i64>,
    pub(in crate::records) done: Option<i64>,
    pub(in crate::records) steps: i64,
    pub(in crate::records) entry: EntryId,
    /// The destination said that it has it already, or may have it from elsewhere: what it shows is compared before it counts, and
    /// was not yet.
    pub(in crate::records) claimed: bool,
    /// How many batches the destination had taken something of when it last refused it as it may refuse everything.
    pub(in crate::records) refused_at: Option<i64>,
}

/// The columns that [`Transfer::read`] reads, in its order.
pub(in crate::records) const TRANSFER: &str = "id, instance, destination, verify, state, due, attempts, failures, \
    interruptions, spent, attempt, resume, outcome, words, evidence, done, steps, entry, claimed, unanswered, refused_at";

/// The first column behind those of [`TRANSFER`], for who asks for more.
pub(in crate::records) const BEHIND: usize = 21;

/// Where an open transfer waits.
pub(in crate::records) mod lane {
    pub(in crate::records) const READY: i64 = 0;
    pub(in crate::records) const TIMED: i64 = 1;
    pub(in crate::records) const CHECK: i64 = 2;
    pub(in crate::records) const IN_HAND: i64 = 3;
    pub(in crate::records) const PERSON: i64 = 4;
}

/// The lane of a transfer in a state; `None` when it is done. What is parked for its class waits for a person, see
/// [`super::unsupported`].
pub(in crate::records) fn lane_of(state: State, verify: Verify, in_hand: bool) -> Option<i64> {
    if in_hand {
        return Some(lane::IN_HAND);
    }
    match state {
        State::Pending => Some(lane::READY),
        State::Deferred | State::Parked => Some(lane::TIMED),
        State::Unknown => Some(lane::CHECK),
        State::Accepted if !state.is_done(verify) => Some(lane::CHECK),
        State::Leased => Some(lane::IN_HAND),
        State::Held | State::Dead => Some(lane::PERSON),
        State::Accepted | State::Verified | State::Cancelled => None,
    }
}

/// A step in the history of a transfer.
pub(in crate::records) struct Noted<'a> {
    pub(in crate::records) at: i64,
    pub(in crate::records) what: &'a str,
    pub(in crate::records) attempt: Option<i64>,
    pub(in crate::records) act: Option<i64>,
    pub(in crate::records) words: Option<i64>,
}

impl Transfer {
    /// Reads the columns of [`TRANSFER`].
    pub(in crate::records) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Self, Fault>> {
        let (policy, word): (String, String) = (row.get(3)?, row.get(4)?);
        let entry: Vec<u8> = row.get(17)?;
        let parse = || Ok((verify(&policy)?, state(&word)?, entry.try_into().map_err(|_| damaged("entry name"))?));
        let (verify, state, entry) = match parse() {
            Ok(parsed) => parsed,
            Err(fault) => return Ok(Err(fault)),
        };
        Ok(Ok(Self {
            id: TransferId(row.get(0)?),
            instance: row.get(1)?,
            destination: row.get(2)?,
            verify,
            state,
            due: row.get(5)?,
            attempts: row.get(6)?,
            failures: row.get(7)?,
            interruptions: row.get(8)?,
            spent: row.get(9)?,
            attempt: row.get(10)?,
            resume: row.get(11)?,
            outcome: row.get(12)?,
            words: row.get(13)?,
            evidence: row.get(14)?,
            done: row.get(15)?,
            steps: row.get(16)?,
            entry: EntryId(entry),
            claimed: row.get(18)?,
            unanswered: row.get(19)?,
            refused_at: row.get(20)?,
        }))
    }

    /// The transfer of a number.
    pub(in crate::records) fn load(conn: &Connection, id: TransferId) -> Result<Option<Self>, Fault> {
        let mut find = conn.prepare_cached(&format!("SELECT {TRANSFER} FROM transfers WHERE id = ?1"))?;
        find.query_row([id.0], Self::read).optional()?.transpose()
    }

    /// Goes to a state, which must be a legal step (INV-03). Who goes to `pending` is due at once.
    pub(in crate::records) fn go(&mut self, to: State, at: i64) -> Result<(), Fault> {
        if !self.state.may_become(to) {
            let (id, from) = (self.id.0, self.state);
            return Err(Fault::Refused(RecordsError::Refused(format!("transfer {id} cannot go from {from} to {to}"))));
        }
        // What was given up is not there because of us: whoever brought it, it is compared.
        self.claimed |= self.state == State::Dead && to == State::Unknown;
        self.state = to;
        if to == State::Pending {
            self.due = 0;
        }
        self.done = if to.is_done(self.verify) { self.done.or(Some(at)) } else { None };
        Ok(())
    }

    /// Forgets its failures: it starts afresh.
    pub(in crate::records) fn refresh(&mut self) {
        (self.failures, self.unanswered, self.interruptions, self.spent, self.due) = (0, 0, 0, 0, 0);
        self.refused_at = None;
    }

    /// Writes the columns back.
    pub(in crate::records) fn save(&self, conn: &Connection) -> Result<(), Fault> {
        let mut update = conn.prepare_cached(
            "UPDATE transfers SET state = ?2, lane = ?3, due = ?4, attempts = ?5, failures = ?6, interruptions = ?7, \
             spent = ?8, attempt = ?9, resume = ?10, outcome = ?11, words = ?12, evidence = ?13, done = ?14, steps = ?15, \
             entry = ?16, claimed = ?17, unanswered = ?18, refused_at = ?19 WHERE id = ?1",
        )?;
        update.execute(params![
            self.id.0,
            self.state.word(),
            match (self.state, self.attempt, self.resume.as_deref()) {
                (State::Parked, None, Some(CLASS)) => Some(lane::PERSON),
                _ => lane_of(self.state, self.verify, self.attempt.is_some()),
            },
            self.due,
            self.attempts,
            self.failures,
            self.interruptions,
            self.spent,
            self.attempt,
            self.resume,
            self.outcome,
            self.words,
            self.evidence,
            self.done,
            self.steps,
            self.entry.0,
            self.claimed,
            self.unanswered,
            self.refused_at,
        ])?;
        Ok(())
    }

    /// Writes the columns back, and a step of its history.
    pub(in crate::records) fn save_step(&mut self, conn: &Connection, noted: &Noted<'_>) -> Result<(), Fault> {
        self.steps += 1;
        self.save(conn)?;
        let mut insert = conn.prepare_cached(
            "INSERT INTO steps (transfer, n, at, what, became, attempt, act, words) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let Noted { at, what, attempt, act, words } = noted;
        insert.execute(params![self.id.0, self.steps, at, what, self.state.word(), attempt, act, words])?;
        Ok(())
    }
}
