//! Pausing and resuming a destination: a person's act, with a name and a reason (REL-20, UIX-03).

use super::rows::{Fault, micros};
use super::tx::Tx;
use super::unsupported;
use super::warnings;
use crate::ledger::change;
use crate::ledger::entry::{Kind, facts};
use crate::ledger::transfer::State;
use crate::peers::Destination;
use rusqlite::params;
use std::time::SystemTime;

/// What came of pausing or resuming.
pub(in crate::records) struct Paused {
    /// Whether it changed anything.
    pub(in crate::records) changed: bool,
    /// Whether more may be parked for a class: to be resumed once more.
    pub(in crate::records) more: bool,
}

/// Pauses a destination, or resumes it. Nothing is sent to one that is paused and nothing asked;
/// what is in hand ends. Resuming also lifts the classes that it did not take (WEB-063), a page of what was parked for them, and ends the
/// notice of what it warned of. The give-up clocks of its transfers stand still, since only their own failures move them.
pub(in crate::records) fn pause(
    tx: &mut Tx<'_>,
    destination: &Destination,
    paused: bool,
    (who, reason): (&str, &str),
    now: SystemTime,
) -> Result<Paused, Fault> {
    let (to, at) = (tx.destination(destination)?, micros(now));
    let words = if reason.is_empty() { None } else { Some(tx.words(reason)?) };
    let word = if paused { "pause" } else { "resume" };
    let id = words.as_ref().map(|(id, _)| *id);
    let changed = match paused {
        true => tx
            .conn
            .prepare_cached(
                "UPDATE destinations SET paused = ?2, paused_by = ?3, paused_words = ?4 WHERE id = ?1 AND paused IS NULL",
            )?
            .execute(params![to, at, who, id])?,
        // What was put off for an outage is tried at once: whoever resumes has put something right.
        false => tx
            .conn
            .prepare_cached(
                "UPDATE destinations SET paused = NULL, paused_by = NULL, paused_words = NULL, not_before = NULL, ask_not_before = NULL \
                 WHERE id = ?1 AND paused IS NOT NULL",
            )?
            .execute([to])?,
    };
    let mut insert = tx.conn.prepare_cached("INSERT INTO acts (at, verb, who, words) VALUES (?1, ?2, ?3, ?4)")?;
    let act = insert.insert(params![at, word, who, id])?;
    drop(insert);
    let entry = Tx::entry_id()?;
    // Whoever resumes has put something right: the classes that it did not take are tried again, too.
    let lifted = if paused { None } else { unsupported::lift(tx, to, (entry, act), at)? };
    let seen = !paused && warnings::forget(tx, to)?;
    if changed == 0 && lifted.is_none() && !seen {
        tx.conn.prepare_cached("DELETE FROM acts WHERE id = ?1")?.execute([act])?;
        return Ok(Paused { changed: false, more: false });
    }
    let mut told = facts([("verb", word.into()), ("who", who.into()), ("destination", destination.0.as_str().into())]);
    told.extend(words.map(|(_, fact)| ("words".to_owned(), fact)));
    let more = lifted.as_ref().is_some_and(|lifted| lifted.more);
    if let Some(lifted) = lifted.filter(|lifted| !lifted.transfers.is_empty()) {
        let step = change::step(State::Pending, &lifted.transfers, facts([("outcome", "resumed".into())]));
        told.insert("steps".into(), [step].into_iter().collect());
    }
    tx.append(entry, Kind::Act, at, told, Vec::new());
    tx.kick(destination.clone());
    Ok(Paused { changed: true, more })
}
