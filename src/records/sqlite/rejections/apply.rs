//! What notes hide and show: instances leave every answer, what is owed of them stops, and who has them is owed the note (FLT-085).

use super::{Subject, hidden_by};
use crate::dicom::rejection::Reason;
use crate::ledger::change;
use crate::ledger::entry::{EntryId, Fact, Facts, Kind, facts};
use crate::ledger::transfer::{Cause, State, TransferId};
use crate::peers::{Priority, Verify};
use crate::records::InstanceId;
use crate::records::sqlite::owe::{self, Moment, Owed, Wanted, close_exceptions};
use crate::records::sqlite::rows::{Fault, micros, verify};
use crate::records::sqlite::tx::{Noted, TRANSFER, Transfer, Tx};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Instances of one commit, so that an intake never waits long.
const PAGE: i64 = 200;
/// What was done longer ago is asked about before the note is sent again: it is never asked about.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// The word of transfers that a note stopped.
const REJECTED: &str = "rejected";

/// A version of an instance that a note names.
struct Version {
    id: i64,
    uid: String,
    study: i64,
    study_uid: String,
    state: String,
    hidden: Option<i64>,
    brought_by: (String, String),
}

/// What one commit has changed.
struct Change {
    entry: EntryId,
    at: i64,
    hidden: Vec<i64>,
    shown: Vec<i64>,
    cancelled: Vec<TransferId>,
    owed: Owed,
}

/// Hides and shows the next of what a note names, after a UID: how many changed, and where to go on.
pub(in crate::records) fn page(
    tx: &mut Tx<'_>,
    InstanceId(note): InstanceId,
    after: &str,
    turn: i64,
    now: SystemTime,
) -> Result<(u64, Option<String>), Fault> {
    // An ordinary Key Object Selection names nothing, but may be named.
    let mut find = tx.conn.prepare_cached(
        "SELECT DISTINCT uid FROM (SELECT uid FROM rejected WHERE note = ?1 UNION ALL SELECT sop_uid FROM instances WHERE id = ?1) \
         WHERE uid > ?2 ORDER BY uid LIMIT ?3",
    )?;
    let uids = find.query_map(params![note, after, PAGE], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    drop(find);
    let mut change = Change {
        entry: Tx::entry_id()?,
        at: micros(now),
        hidden: Vec::new(),
        shown: Vec::new(),
        cancelled: Vec::new(),
        owed: Owed::default(),
    };
    let mut has: BTreeMap<(i64, i64), Verify> = BTreeMap::new();
    for uid in &uids {
        for version in versions(tx, uid)? {
            let (kind, name) = &version.brought_by;
            let (study, brought_by) = (version.study_uid.as_str(), (kind.as_str(), name.as_str()));
            let by = hidden_by(tx.conn, Subject { id: version.id, uid: &version.uid, study, brought_by })?;
            if by == version.hidden {
                continue;
            }
            tx.conn
                .prepare_cached("UPDATE instances SET hidden = ?2 WHERE id = ?1")?
                .execute(params![version.id, by])?;
            match (version.hidden, by) {
                (None, Some(by)) => hide(tx, &mut change, &version, by, &mut has)?,
                (Some(_), None) => show(tx, &mut change, &version)?,
                _ => {}
            }
        }
    }
    for ((note, destination), verify) in has {
        tell(tx, &mut change, note, destination, verify)?;
    }
    let next = (uids.len() as i64 == PAGE).then(|| uids.last().cloned()).flatten();
    if next.is_none() {
        let mut done =
            tx.conn.prepare_cached("UPDATE rejections SET pending = 0 WHERE instance = ?1 AND pending = ?2")?;
        done.execute([note, turn])?;
    }
    let changed = (change.hidden.len() + change.shown.len()) as u64;
    enter(tx, change, note);
    Ok((changed, next))
}

fn versions(tx: &Tx<'_>, uid: &str) -> Result<Vec<Version>, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT i.id, i.sop_uid, i.study, s.uid, i.state, i.hidden, a.origin_kind, a.origin_name FROM instances i \
         JOIN studies s ON s.id = i.study JOIN arrivals a ON a.instance = i.id AND a.n = 1 WHERE i.sop_uid = ?1",
    )?;
    let rows = find.query_map([uid], |row| {
        Ok(Version {
            id: row.get(0)?,
            uid: row.get(1)?,
            study: row.get(2)?,
            study_uid: row.get(3)?,
            state: row.get(4)?,
            hidden: row.get(5)?,
            brought_by: (row.get(6)?, row.get(7)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// An instance leaves every answer. What is owed of it is cancelled, but for what is under way, which ends as it ends; who has it, or may
/// have it, is to be told.
fn hide(
    tx: &mut Tx<'_>,
    change: &mut Change,
    version: &Version,
    note: i64,
    has: &mut BTreeMap<(i64, i64), Verify>,
) -> Result<(), Fault> {
    change.hidden.push(version.id);
    again(tx, version.id)?;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {TRANSFER} FROM transfers WHERE study = ?1 AND destination IN (SELECT id FROM destinations) AND instance = ?2 ORDER BY id"
    ))?;
    let found = find.query_map([version.study, version.id], Transfer::read)?.collect::<Result<Vec<_>, _>>()?;
    drop(find);
    for transfer in found {
        let transfer = transfer?;
        if may_have(&transfer) {
            has.insert((note, transfer.destination), transfer.verify);
        }
        if transfer.attempt.is_none() && !transfer.state.is_done(transfer.verify) {
            cancel(tx, change, transfer, note)?;
        }
    }
    Ok(())
}

/// Whether its destination has the instance, or may have it: also of what was stopped by a person or by damage after it had been sent.
fn may_have(transfer: &Transfer) -> bool {
    match transfer.state {
        State::Accepted | State::Verified | State::Unknown | State::Leased => true,
        State::Cancelled => transfer.attempts > 0,
        _ => transfer.evidence.is_some() || transfer.resume.as_deref() == Some(State::Unknown.word()),
    }
}

/// A note that is hidden or shown changes what it names.
fn again(tx: &Tx<'_>, instance: i64) -> Result<(), Fault> {
    let mut update = tx
        .conn
        .prepare_cached("UPDATE rejections SET pending = pending + 1 WHERE instance = ?1 AND standing = 'in force'")?;
    update.execute([instance])?;
    Ok(())
}

fn cancel(tx: &mut Tx<'_>, change: &mut Change, mut transfer: Transfer, note: i64) -> Result<(), Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT k.sop_uid, n.reason FROM instances k JOIN rejections n ON n.instance = k.id WHERE k.id = ?1",
    )?;
    let (uid, reason) =
        find.query_row([note], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
    drop(find);
    let reason = reason.as_deref().and_then(Reason::parse).map_or("", Reason::meaning);
    let (words, _) = tx.words(&format!("rejection note {uid} names it: {reason}"))?;
    change.owed.closed.extend(close_exceptions(tx, &transfer, None, change.at)?);
    transfer.go(State::Cancelled, change.at)?;
    transfer.refresh();
    (transfer.resume, transfer.outcome, transfer.entry) = (None, Some(REJECTED.to_owned()), change.entry);
    transfer.words = Some(words);
    let noted = Noted { at: change.at, what: REJECTED, attempt: None, act: None, words: Some(words) };
    transfer.save_step(tx.conn, &noted)?;
    change.cancelled.push(transfer.id);
    Ok(())
}

/// Owes a note to a destination that has what it names, unless it is owed there already or came from there.
fn tell(tx: &mut Tx<'_>, change: &mut Change, note: i64, to: i64, verify: Verify) -> Result<(), Fault> {
    let destination = tx.destination_name(to)?;
    let mut find = tx.conn.prepare_cached(
        "SELECT i.study, i.state, EXISTS (SELECT 1 FROM arrivals WHERE instance = i.id AND origin_name = ?2 AND origin_kind <> 'operator') \
         OR EXISTS (SELECT 1 FROM transfers t WHERE t.study = i.study AND t.destination = ?3 AND t.instance = i.id \
         AND t.state <> 'cancelled') FROM instances i WHERE i.id = ?1",
    )?;
    let (study, state, settled): (i64, String, bool) =
        find.query_row(params![note, destination.0, to], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    drop(find);
    if settled || state != "stored" {
        return Ok(());
    }
    let cause = Cause::Operator(format!("the rejection of what it has, at {}", change.at));
    want(
        tx,
        change,
        (note, study, &state),
        &Wanted { destination: &destination, cause, route: None, mandatory: false, verify, priority: Priority::Urgent },
    )
}

/// An instance is shown again, and owed again where a note had stopped it.
fn show(tx: &mut Tx<'_>, change: &mut Change, version: &Version) -> Result<(), Fault> {
    change.shown.push(version.id);
    again(tx, version.id)?;
    let mut find = tx.conn.prepare_cached(
        "SELECT destination, verify FROM transfers WHERE study = ?1 AND destination IN (SELECT id FROM destinations) AND instance = ?2 \
         AND state = 'cancelled' AND outcome = ?3",
    )?;
    let stopped = find.query_map(params![version.study, version.id, REJECTED], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let stopped: BTreeMap<i64, String> = stopped.collect::<Result<_, _>>()?;
    drop(find);
    for (to, policy) in stopped {
        let destination = tx.destination_name(to)?;
        let cause = Cause::Operator(format!("the end of its rejection, at {},", change.at));
        let verify = verify(&policy)?;
        want(
            tx,
            change,
            (version.id, version.study, &version.state),
            &Wanted {
                destination: &destination,
                cause,
                route: None,
                mandatory: false,
                verify,
                priority: Priority::default(),
            },
        )?;
    }
    Ok(())
}

fn want(
    tx: &mut Tx<'_>,
    change: &mut Change,
    (instance, study, state): (i64, i64, &str),
    wanted: &Wanted<'_>,
) -> Result<(), Fault> {
    let moment = Moment { entry: change.entry, at: change.at, resend_after: NEVER, what: "owed again" };
    owe::want(tx, moment, owe::Subject { instance, study, state }, wanted, &mut change.owed).map(drop)
}

/// Stops what ended otherwise than done while what it carries was being hidden (FLT-085).
pub(in crate::records) fn stop(tx: &mut Tx<'_>, transfers: &[TransferId], at: i64) -> Result<(), Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT t.id, i.hidden FROM json_each(?1) j CROSS JOIN transfers t ON t.id = j.value JOIN instances i ON i.id = t.instance \
         WHERE i.hidden IS NOT NULL AND t.lane IS NOT NULL AND t.attempt IS NULL",
    )?;
    let ids = Value::from_iter(transfers.iter().map(|id| id.0)).to_string();
    let hidden =
        find.query_map([ids], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<Vec<(i64, i64)>, _>>()?;
    drop(find);
    let Some((_, note)) = hidden.first().copied() else { return Ok(()) };
    let mut change = Change {
        entry: Tx::entry_id()?,
        at,
        hidden: Vec::new(),
        shown: Vec::new(),
        cancelled: Vec::new(),
        owed: Owed::default(),
    };
    for (transfer, note) in hidden {
        if let Some(transfer) = Transfer::load(tx.conn, TransferId(transfer))? {
            cancel(tx, &mut change, transfer, note)?;
        }
    }
    enter(tx, change, note);
    Ok(())
}

/// Whether a rejection note hides an instance.
pub(in crate::records) fn is_hidden(tx: &Tx<'_>, instance: i64) -> Result<bool, Fault> {
    let mut find = tx.conn.prepare_cached("SELECT hidden IS NOT NULL FROM instances WHERE id = ?1")?;
    Ok(find.query_row([instance], |row| row.get(0)).optional()?.unwrap_or(false))
}

/// The one entry of a commit, if anything has changed.
fn enter(tx: &mut Tx<'_>, change: Change, note: i64) {
    let Change { entry, at, hidden, shown, cancelled, owed } = change;
    let mut told: Facts = facts([("note", note.into())]);
    owed.tell(&mut told);
    if !cancelled.is_empty() {
        let step = change::step(State::Cancelled, &cancelled, facts([("outcome", REJECTED.into())]));
        let before = match told.remove("steps") {
            Some(Fact::List(list)) => list,
            _ => Vec::new(),
        };
        told.insert("steps".into(), before.into_iter().chain([step]).collect());
    }
    for (name, list) in [("hidden", hidden), ("shown", shown)] {
        if !list.is_empty() {
            told.insert(name.into(), list.into_iter().map(Fact::from).collect());
        }
    }
    if told.len() > 1 {
        tx.append(entry, Kind::Rejected, at, told, Vec::new());
    }
}
