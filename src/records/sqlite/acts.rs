//! What people do to transfers: retry, hold, release, cancel, expedite. Each act is a row and an entry with who and why.

use super::blobs;
use super::owe::{afresh, close_exceptions};
use super::rejections::apply::is_hidden;
use super::rows::{Fault, damaged, micros, refuse};
use super::tx::{Noted, Transfer, Tx};
use super::unsupported;
use crate::dicom::uid::StudyUid;
use crate::ledger::change;
use crate::ledger::entry::{EntryId, Fact, Kind, facts};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::{Destination, Priority};
use crate::records::{Acted, Verb};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// The most transfers of one act's commit; longer selections are worked off in several, so that an intake never waits long.
pub(in crate::records) const PAGE: usize = 1000;

const GONE: &str = "the bytes of its instance are no longer kept here; it must be received again first";

const DAMAGED: &str = "the bytes of its instance are damaged; it must be received again first";

/// Who does what, and why.
#[derive(Debug, Clone)]
pub(in crate::records) struct Act {
    pub(in crate::records) verb: Verb,
    pub(in crate::records) who: String,
    pub(in crate::records) reason: String,
    pub(in crate::records) now: SystemTime,
}

/// Which transfers are meant, and where to go on.
#[derive(Debug, Clone, Default)]
pub(in crate::records) struct Matching {
    pub(in crate::records) study: Option<StudyUid>,
    pub(in crate::records) destination: Option<Destination>,
    pub(in crate::records) state: Option<State>,
    pub(in crate::records) after: i64,
}

/// The next page of the transfers that match and that the verb can do something to, or could if they were not being sent just now.
pub(in crate::records) fn matching(
    conn: &Connection,
    verb: Verb,
    matching: &Matching,
) -> Result<Vec<TransferId>, Fault> {
    let states = State::ALL.into_iter().filter(|state| matching.state.is_none_or(|wanted| wanted == *state));
    // What is being sent just now cannot be kept back, and is told of: it goes on if that fails.
    let in_hand = |state: State| state == State::Leased && matches!(verb, Verb::Hold | Verb::Cancel);
    let words: Vec<&str> = states.filter(|state| concerns(verb, *state) || in_hand(*state)).map(State::word).collect();
    let mut find = conn.prepare_cached(
        "SELECT id FROM transfers WHERE id > ?1 AND (?2 IS NULL OR study = (SELECT id FROM studies WHERE uid = ?2)) \
         AND (?3 IS NULL OR destination = (SELECT id FROM destinations WHERE name = ?3)) \
         AND state IN (SELECT value FROM json_each(?4)) ORDER BY id LIMIT ?5",
    )?;
    let study = matching.study.as_ref().map(StudyUid::as_str);
    let destination = matching.destination.as_ref().map(|destination| destination.0.as_str());
    let words = serde_json::Value::from(words).to_string();
    let rows = find
        .query_map(params![matching.after, study, destination, words, PAGE as i64], |row| row.get(0).map(TransferId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a verb can do anything to a transfer in a state.
fn concerns(verb: Verb, state: State) -> bool {
    use State::{Accepted, Dead, Deferred, Held, Leased, Parked, Pending, Unknown, Verified};
    match verb {
        Verb::Retry => matches!(state, Deferred | Parked | Dead | Unknown | Accepted),
        Verb::Hold => matches!(state, Pending | Deferred | Parked | Unknown | Accepted),
        Verb::Release => state == Held,
        Verb::Reopen => matches!(state, Accepted | Verified),
        Verb::Doubt => matches!(state, Pending | Deferred | Parked),
        Verb::Cancel => matches!(state, Pending | Deferred | Parked | Held | Dead | Unknown | Accepted),
        Verb::Expedite => matches!(state, Pending | Leased | Deferred | Parked | Unknown | Accepted | Held),
    }
}

/// Does it to these transfers, at most [`PAGE`] of them.
pub(in crate::records) fn act(tx: &mut Tx<'_>, act: &Act, transfers: &[TransferId]) -> Result<Acted, Fault> {
    if transfers.len() > PAGE {
        return refuse(format!("more than {PAGE} transfers at once"));
    }
    let at = micros(act.now);
    let entry = Tx::entry_id()?;
    let (row, words, words_fact) = enter(tx, act, at)?;
    let mut acted = Acted::default();
    let mut steps: BTreeMap<State, Vec<TransferId>> = BTreeMap::new();
    let mut causes: BTreeSet<EntryId> = BTreeSet::new();
    let mut closed: Vec<i64> = Vec::new();
    let mut hastened: Vec<TransferId> = Vec::new();
    let mut destinations = BTreeSet::new();
    for id in transfers {
        let Some(mut transfer) = Transfer::load(tx.conn, *id)? else {
            acted.skipped.push((*id, "there is no such transfer".to_owned()));
            continue;
        };
        let to = match target(tx, act.verb, &transfer)? {
            Ok(to) => to,
            Err(why) => {
                acted.skipped.push((*id, why));
                continue;
            }
        };
        causes.insert(transfer.entry);
        if act.verb == Verb::Expedite {
            expedite(tx, &mut transfer, &Noted { at, what: act.verb.word(), attempt: None, act: Some(row), words })?;
            hastened.push(*id);
            destinations.insert(transfer.destination);
            acted.changed += 1;
            continue;
        }
        closed.extend(close_exceptions(tx, &transfer, Some(row), at)?);
        if act.verb == Verb::Retry && is_parked_for_its_class(&transfer) {
            unsupported::forget(tx, transfer.destination, transfer.instance, at)?;
        }
        transfer.resume = (to == State::Held).then(|| resume(transfer.state).word().to_owned());
        transfer.go(to, at)?;
        if to != State::Held {
            transfer.refresh();
        }
        transfer.entry = entry;
        let noted = Noted { at, what: act.verb.word(), attempt: None, act: Some(row), words };
        transfer.save_step(tx.conn, &noted)?;
        steps.entry(to).or_default().push(*id);
        destinations.insert(transfer.destination);
        acted.changed += 1;
    }
    if acted.changed == 0 {
        tx.conn.prepare_cached("DELETE FROM acts WHERE id = ?1")?.execute([row])?;
        return Ok(acted);
    }
    let mut told = facts([("verb", act.verb.word().into()), ("who", act.who.as_str().into())]);
    told.insert("steps".into(), steps.iter().map(|(to, ids)| change::step(*to, ids, facts([]))).collect());
    told.extend(words_fact.map(|fact| ("words".to_owned(), fact)));
    if !hastened.is_empty() {
        told.insert("priorities".into(), [change::priority(Priority::Urgent, &hastened)].into_iter().collect());
    }
    if !closed.is_empty() {
        told.insert("closed".into(), closed.into_iter().map(Fact::from).collect());
    }
    tx.append(entry, Kind::Act, at, told, causes.into_iter().collect());
    for destination in destinations {
        wake(tx, act.verb, destination)?;
    }
    Ok(acted)
}

/// The row of an act, and why it is done, as a row and as a fact.
fn enter(tx: &Tx<'_>, act: &Act, at: i64) -> Result<(i64, Option<i64>, Option<Fact>), Fault> {
    let (words, words_fact) = match act.reason.is_empty() {
        true => (None, None),
        false => tx.words(&act.reason).map(|(id, fact)| (Some(id), Some(fact)))?,
    };
    let mut insert = tx.conn.prepare_cached("INSERT INTO acts (at, verb, who, words) VALUES (?1, ?2, ?3, ?4)")?;
    let row = insert.insert(params![at, act.verb.word(), act.who, words])?;
    Ok((row, words, words_fact))
}

/// Makes a transfer urgent; nothing else of it changes, also not while it is being sent.
fn expedite(tx: &Tx<'_>, transfer: &mut Transfer, noted: &Noted<'_>) -> Result<(), Fault> {
    let mut update = tx.conn.prepare_cached("UPDATE transfers SET priority = ?2 WHERE id = ?1")?;
    update.execute(params![transfer.id.0, Priority::Urgent.rank()])?;
    transfer.save_step(tx.conn, noted)
}

/// What is retried by hand is tried at once, also at a destination that was to be left alone.
fn wake(tx: &mut Tx<'_>, verb: Verb, destination: i64) -> Result<(), Fault> {
    if verb == Verb::Retry {
        let sql = "UPDATE destinations SET not_before = NULL, ask_not_before = NULL WHERE id = ?1";
        tx.conn.prepare_cached(sql)?.execute([destination])?;
    }
    let name = tx.destination_name(destination)?;
    tx.kick(name);
    Ok(())
}

/// Whether it is parked because its destination does not take its class.
fn is_parked_for_its_class(transfer: &Transfer) -> bool {
    transfer.state == State::Parked && transfer.resume.as_deref() == Some(unsupported::CLASS)
}

/// Where a held transfer goes when it is released: what may have been sent already is asked about first.
fn resume(state: State) -> State {
    match state {
        State::Unknown | State::Accepted => State::Unknown,
        _ => State::Pending,
    }
}

/// Where a verb takes a transfer, or why it leaves it alone, in words.
fn target(tx: &Tx<'_>, verb: Verb, transfer: &Transfer) -> Result<Result<State, String>, Fault> {
    let state = transfer.state;
    if transfer.attempt.is_some() && verb != Verb::Expedite {
        return Ok(Err("it is being tried now".to_owned()));
    }
    if state.is_done(transfer.verify) && verb != Verb::Reopen {
        return Ok(Err(format!("it is {state}, which is final")));
    }
    if !concerns(verb, state) {
        let hint = if state == State::Held { "; release it first" } else { "" };
        return Ok(Err(format!("it is {state}{hint}")));
    }
    Ok(match verb {
        Verb::Retry if state == State::Dead && blobs::is_corrupt(tx.conn, transfer.instance)? => Err(DAMAGED.into()),
        Verb::Retry if state == State::Dead => Ok(afresh(tx, transfer)?),
        Verb::Retry => Ok(if matches!(state, State::Unknown | State::Accepted) { state } else { State::Pending }),
        Verb::Hold => Ok(State::Held),
        Verb::Expedite => Ok(state),
        Verb::Cancel => Ok(State::Cancelled),
        Verb::Reopen if !blobs::is_stored(tx.conn, transfer.instance)? => Err(GONE.into()),
        Verb::Reopen if is_hidden(tx, transfer.instance)? => Err("a rejection note names its instance".into()),
        Verb::Reopen | Verb::Doubt => Ok(State::Unknown),
        Verb::Release => {
            let mut find = tx.conn.prepare_cached("SELECT state FROM instances WHERE id = ?1")?;
            let instance: String = find.query_row([transfer.instance], |row| row.get(0))?;
            match (instance.as_str(), transfer.resume.as_deref()) {
                ("held", _) => {
                    Err("its instance is in conflict with another of the same UID; that must be resolved first".into())
                }
                ("corrupt", _) => Err(DAMAGED.into()),
                (_, Some("unknown")) => Ok(State::Unknown),
                (_, None | Some("pending")) => Ok(afresh(tx, transfer)?),
                _ => return Err(damaged("state")),
            }
        }
    })
}
