//! A person ends a conflict: the version is the revision of what was here, or it goes nowhere (INV-12, UIX-09).

use super::doubted;
use super::judge::{self, Version};
use super::owe::close_exceptions;
use super::rows::{Fault, micros, refuse};
use super::tx::{Noted, TRANSFER, Transfer, Tx};
use crate::ledger::change;
use crate::ledger::entry::{EntryId, Fact, Kind, facts};
use crate::ledger::transfer::{State, TransferId};
use crate::records::{ExceptionId, Resolution};
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// The word of transfers that a revision stopped.
pub(super) const SUPERSEDED: &str = "superseded";

/// When, by which entry, and by which row of an act.
#[derive(Clone, Copy)]
struct Act {
    at: i64,
    entry: EntryId,
    row: i64,
    words: i64,
}

/// What the decision moved.
#[derive(Default)]
struct Moved {
    steps: BTreeMap<State, Vec<TransferId>>,
    closed: Vec<i64>,
    causes: BTreeSet<EntryId>,
}

/// Ends a conflict; how many transfers that moved.
pub(in crate::records) fn resolve(
    tx: &mut Tx<'_>,
    exception: ExceptionId,
    resolution: Resolution,
    (who, reason): (&str, &str),
    now: SystemTime,
) -> Result<u64, Fault> {
    let Some((instance, _)) = judge::open_conflict(tx, exception)? else {
        return refuse(format!("exception {exception} is not a conflict that waits for a person"));
    };
    let held = judge::version(tx, instance)?;
    if resolution == Resolution::Accept && held.state != "held" {
        return refuse("the bytes of this version are damaged; it must be received again before it can be accepted");
    }
    let (at, entry) = (micros(now), Tx::entry_id()?);
    let (words, words_fact) = tx.words(reason)?;
    let mut insert = tx.conn.prepare_cached("INSERT INTO acts (at, verb, who, words) VALUES (?1, ?2, ?3, ?4)")?;
    let row = insert.insert(params![at, resolution.word(), who, words])?;
    drop(insert);
    let act = Act { at, entry, row, words };
    let mut moved = Moved::default();
    moved.closed.push(exception.0);
    let mut close =
        tx.conn.prepare_cached("UPDATE exceptions SET closed = ?2, decision = ?3, act = ?4 WHERE id = ?1")?;
    let decision = if resolution == Resolution::Accept { "accepted" } else { "rejected" };
    close.execute(params![exception.0, at, decision, row])?;
    drop(close);
    let mut told = facts([
        ("verb", resolution.word().into()),
        ("who", who.into()),
        ("exception", exception.0.into()),
        ("instance", instance.into()),
        ("words", words_fact),
    ]);
    match resolution {
        Resolution::Accept => {
            let behind = accept(tx, act, &held, &mut moved)?;
            let changed = facts([("id", instance.into()), ("state", "stored".into())]);
            told.insert("versions".into(), [Fact::from(changed)].into_iter().collect());
            told.insert("behind".into(), behind.into_iter().map(Fact::from).collect());
        }
        Resolution::Reject => {
            // Nobody is to get it: that is decided, and told to nobody any more.
            let mut decide = tx.conn.prepare_cached("UPDATE instances SET unrouted = 0 WHERE id = ?1")?;
            decide.execute([instance])?;
            drop(decide);
            for transfer in transfers(tx, &held, "state = 'held'")? {
                step(tx, act, transfer, State::Cancelled, resolution.word(), &mut moved)?;
            }
        }
    }
    let changed = moved.steps.values().map(|ids| ids.len() as u64).sum();
    told.insert("steps".into(), moved.steps.iter().map(|(to, ids)| change::step(*to, ids, facts([]))).collect());
    told.insert("closed".into(), moved.closed.into_iter().map(Fact::from).collect());
    tx.append(entry, Kind::Act, at, told, moved.causes.into_iter().collect());
    Ok(changed)
}

/// The version goes where it is owed, and the others stand behind it: what of them was not sent yet to the same destinations is
/// not sent any more, since it would arrive after its own revision. Gives the versions that stand behind.
fn accept(tx: &mut Tx<'_>, act: Act, held: &Version, moved: &mut Moved) -> Result<Vec<i64>, Fault> {
    tx.conn.prepare_cached("UPDATE instances SET state = 'stored', behind = NULL WHERE id = ?1")?.execute([held.id])?;
    let mut put = tx.conn.prepare_cached(
        "UPDATE instances SET behind = ?2 WHERE sop_uid = ?1 AND id <> ?2 AND behind IS NULL AND NOT EXISTS \
         (SELECT 1 FROM exceptions x WHERE x.instance = instances.id AND x.kind = 'conflict' \
          AND (x.closed IS NULL OR x.decision = 'rejected')) RETURNING id",
    )?;
    let behind: Vec<i64> = put.query_map(params![held.uid, held.id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    drop(put);
    let mut destinations = BTreeSet::new();
    for transfer in transfers(tx, held, "state = 'held'")? {
        destinations.insert(transfer.destination);
        let to = if doubted::concerns(tx.conn, transfer.id)? { State::Unknown } else { State::Pending };
        step(tx, act, transfer, to, "accept", moved)?;
    }
    for id in &behind {
        let older = judge::version(tx, *id)?;
        let unsent = "attempt IS NULL AND state IN ('pending', 'deferred', 'parked', 'held', 'dead')";
        for transfer in transfers(tx, &older, unsent)? {
            if destinations.contains(&transfer.destination) {
                step(tx, act, transfer, State::Cancelled, SUPERSEDED, moved)?;
            }
        }
    }
    Ok(behind)
}

/// Cancels a transfer that ended otherwise than done while a person accepted the revision of what it carries, if that is owed to
/// the same destination: it would arrive after its own revision. If so, the exceptions that this closes.
pub(super) fn superseded(
    tx: &mut Tx<'_>,
    transfer: TransferId,
    (entry, at): (EntryId, i64),
) -> Result<Option<Vec<Fact>>, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT 1 FROM transfers t JOIN instances i ON i.id = t.instance JOIN transfers f ON f.study = i.study \
         AND f.destination = t.destination AND f.instance = i.behind AND f.state <> 'cancelled' WHERE t.id = ?1 \
         AND t.attempt IS NULL \
         AND EXISTS (SELECT 1 FROM exceptions x WHERE x.instance = i.behind AND x.kind = 'conflict' AND x.decision = 'accepted')",
    )?;
    let stale = find.exists([transfer.0])?;
    drop(find);
    let Some(mut transfer) = Transfer::load(tx.conn, transfer)?.filter(|_| stale) else { return Ok(None) };
    let closed = close_exceptions(tx, &transfer, None, at)?;
    transfer.go(State::Cancelled, at)?;
    transfer.refresh();
    (transfer.resume, transfer.entry) = (None, entry);
    let noted = Noted { at, what: SUPERSEDED, attempt: None, act: None, words: None };
    transfer.save_step(tx.conn, &noted)?;
    Ok(Some(closed.into_iter().map(Fact::from).collect()))
}

fn transfers(tx: &Tx<'_>, version: &Version, which: &str) -> Result<Vec<Transfer>, Fault> {
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {TRANSFER} FROM transfers WHERE study = ?1 AND destination IN (SELECT id FROM destinations) \
         AND instance = ?2 AND {which} ORDER BY id"
    ))?;
    let found = find.query_map([version.study, version.id], Transfer::read)?.collect::<Result<Vec<_>, _>>()?;
    found.into_iter().collect()
}

fn step(
    tx: &mut Tx<'_>,
    act: Act,
    mut transfer: Transfer,
    to: State,
    what: &str,
    moved: &mut Moved,
) -> Result<(), Fault> {
    moved.causes.insert(transfer.entry);
    moved.closed.extend(close_exceptions(tx, &transfer, Some(act.row), act.at)?);
    transfer.go(to, act.at)?;
    transfer.refresh();
    (transfer.resume, transfer.entry) = (None, act.entry);
    let noted = Noted { at: act.at, what, attempt: None, act: Some(act.row), words: Some(act.words) };
    transfer.save_step(tx.conn, &noted)?;
    moved.steps.entry(to).or_default().push(transfer.id);
    let destination = tx.destination_name(transfer.destination)?;
    tx.kick(destination);
    Ok(())
}
