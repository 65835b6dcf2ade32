//! Leasing: the next batch of one study for one destination, counted and entered before anything is sent (INV-07, INV-08, REL-23).

use super::asking;
use super::owe;
use super::queue::{self, Waiting};
use super::routing;
use super::rows::{Fault, WORD, cause, count, damaged, digest, micros, origin, parsed, place, small, span, time};
use super::tx::{Transfer, Tx, lane};
use super::unsupported;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::ledger::breaker::Reach;
use crate::ledger::change;
use crate::ledger::entry::{EntryId, Fact, Kind, facts};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Destination;
use crate::records::{AttemptId, Batch, BatchKind, InstanceId, LeaseLimits, Leased, Retrievable, Standing};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// The most transfers of one lease, whatever the caller says.
const MOST: usize = 10_000;
/// So many transfers that wait to be asked about are looked through for those of one study.
const WINDOW: i64 = 5000;
/// A time so many microseconds ahead was told by a clock that has been set back since; less is a clock that is kept in step.
pub(in crate::records) const SET_BACK: i64 = 60_000_000;
/// So many studies are found to wait for nothing any more before a lease gives up for now.
const STALE: usize = 500;

/// Leases a batch to send or to ask about; `None` if nothing is due or the destination is to be left alone.
pub(in crate::records) fn lease(
    tx: &mut Tx<'_>,
    destination: &Destination,
    kind: BatchKind,
    limits: LeaseLimits,
    now: SystemTime,
) -> Result<Option<Batch>, Fault> {
    let Some(to) = tx.known_destination(destination)? else { return Ok(None) };
    let at = micros(now);
    clamp(tx, to, at)?;
    let Some(probe) = may_be_tried(tx, to, at)? else { return Ok(None) };
    match kind {
        BatchKind::Send => send(tx, destination, to, limits, (at, probe)),
        BatchKind::Check => {
            if asking::checks_from(tx.conn, to)?.is_none_or(|from| from > at) {
                return Ok(None);
            }
            let Some((study, due)) = to_check(tx, to, limits, at)? else { return Ok(None) };
            let chosen = choose(tx, due, limits);
            begin(tx, destination, kind, to, study, &chosen, at).map(Some)
        }
    }
}

/// One instance of a class that the destination did not take, if it is time to try that again; else the batch of the study whose turn it is.
/// A probe of a destination that is out goes by turns first: what is parked for its class stands before no other study.
fn send(
    tx: &mut Tx<'_>,
    destination: &Destination,
    to: i64,
    limits: LeaseLimits,
    (at, probe): (i64, bool),
) -> Result<Option<Batch>, Fault> {
    queue::come_due(tx, to, at)?;
    if !probe && let Some(batch) = of_a_parked_class(tx, destination, to, limits, at)? {
        return Ok(Some(batch));
    }
    for _ in 0..STALE {
        let Some(waiting) = queue::next(tx.conn, to, limits.together, probe)? else {
            return if probe { of_a_parked_class(tx, destination, to, limits, at) } else { Ok(None) };
        };
        let chosen = choose(tx, to_send(tx, to, waiting, limits, at)?, limits);
        if chosen.is_empty() {
            queue::put_right(tx, to, waiting)?;
            continue;
        }
        let batch = begin(tx, destination, BatchKind::Send, to, waiting.study, &chosen, at)?;
        queue::served(tx, to, waiting)?;
        let last = queue::next(tx.conn, to, limits.together, false)?.is_none();
        return Ok(Some(Batch { last, ..batch }));
    }
    Ok(None)
}

/// One instance that is parked for its class, if it is time to try that class again.
fn of_a_parked_class(
    tx: &mut Tx<'_>,
    destination: &Destination,
    to: i64,
    limits: LeaseLimits,
    at: i64,
) -> Result<Option<Batch>, Fault> {
    let Some((id, class)) = unsupported::to_probe(tx, to, limits.together, at)? else { return Ok(None) };
    let study: i64 = tx.conn.query_row("SELECT study FROM transfers WHERE id = ?1", [id.0], |row| row.get(0))?;
    let mut batch = begin(tx, destination, BatchKind::Send, to, study, &[id], at)?;
    batch.unsupported.remove(&class);
    Ok(Some(batch))
}

/// Brings back due times that lie further ahead than any wait can be: the clock has been set back (FLT-070, INV-20). Where
/// the destination stands as it stands since a time to come, how far back is not known, and all that waits comes due.
fn clamp(tx: &Tx<'_>, to: i64, at: i64) -> Result<(), Fault> {
    let options = &tx.fixed.options;
    let longest = span(options.patience.longest_wait.max(options.probing.longest_asked));
    let mut update = tx.conn.prepare_cached("UPDATE destinations SET since = ?2 WHERE id = ?1 AND since > ?3")?;
    let set_back = update.execute(params![to, at, at.saturating_add(SET_BACK)])? > 0;
    let furthest = if set_back { at } else { at.saturating_add(longest) };
    let mut update =
        tx.conn.prepare_cached("UPDATE transfers SET due = ?3 WHERE destination = ?1 AND lane = ?2 AND due > ?3")?;
    for lane in [lane::TIMED, lane::CHECK] {
        update.execute(params![to, lane, furthest])?;
    }
    let mut update =
        tx.conn.prepare_cached("UPDATE queue SET due = ?2 WHERE destination = ?1 AND due > 0 AND due > ?2")?;
    update.execute(params![to, furthest.max(1)])?;
    let mut update =
        tx.conn.prepare_cached("UPDATE destinations SET not_before = ?2 WHERE id = ?1 AND not_before > ?2")?;
    update.execute(params![to, furthest])?;
    let mut update =
        tx.conn.prepare_cached("UPDATE destinations SET ask_not_before = ?2 WHERE id = ?1 AND ask_not_before > ?2")?;
    update.execute(params![to, furthest])?;
    Ok(())
}

/// A destination that is paused is left alone; one that is down or parked gets one probe at a time, and none before its time
/// (REL-20). `None` if it is to be left alone, else whether it is a probe.
fn may_be_tried(tx: &Tx<'_>, to: i64, at: i64) -> Result<Option<bool>, Fault> {
    let mut find =
        tx.conn.prepare_cached("SELECT reach, not_before, paused IS NOT NULL FROM destinations WHERE id = ?1")?;
    let (reach, not_before, paused): (String, Option<i64>, bool) =
        find.query_row([to], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if paused || not_before.is_some_and(|not_before| not_before > at) {
        return Ok(None);
    }
    if reach == Reach::Up.word() {
        return Ok(Some(false));
    }
    let mut find = tx.conn.prepare_cached("SELECT 1 FROM transfers WHERE destination = ?1 AND lane = ?2 LIMIT 1")?;
    Ok((!find.exists(params![to, lane::IN_HAND])?).then_some(true))
}

/// One candidate.
struct Due {
    id: TransferId,
    interruptions: u32,
    length: u64,
    /// Its SOP Instance UID, if other versions may be owed there as well.
    uid: Option<String>,
}

/// What may be taken of these within the limits. One that was interrupted again and again goes alone (REL-24). Of one UID one
/// version at a time: an answer names no other.
fn choose(tx: &Tx<'_>, due: Vec<Due>, limits: LeaseLimits) -> Vec<TransferId> {
    let isolate = tx.fixed.options.isolate_after;
    let most = most(limits);
    let mut bytes = 0u64;
    let (mut chosen, mut versions) = (Vec::new(), BTreeSet::new());
    for candidate in due {
        if candidate.uid.as_ref().is_some_and(|uid| versions.contains(uid)) {
            continue;
        }
        if candidate.interruptions >= isolate {
            if chosen.is_empty() {
                return vec![candidate.id];
            }
            continue;
        }
        bytes = bytes.saturating_add(candidate.length);
        if chosen.len() == most || (bytes > limits.bytes && !chosen.is_empty()) {
            break;
        }
        chosen.push(candidate.id);
        versions.extend(candidate.uid);
    }
    chosen
}

fn most(limits: LeaseLimits) -> usize {
    limits.instances.clamp(1, MOST)
}

/// What is due of a study in one priority: the new first, then what was deferred.
fn to_send(tx: &Tx<'_>, to: i64, waiting: Waiting, limits: LeaseLimits, at: i64) -> Result<Vec<Due>, Fault> {
    let queries = [
        "SELECT t.id, t.interruptions, i.length, iif(i.version > 1 OR i.behind IS NOT NULL, i.sop_uid, NULL) FROM transfers t JOIN instances i ON i.id = t.instance \
         WHERE t.destination = ?1 AND t.study = ?2 AND t.priority = ?3 AND t.lane = 0 AND t.lane IN (0, 1) AND ?4 IS NOT NULL \
         ORDER BY t.due, t.id LIMIT ?5",
        "SELECT t.id, t.interruptions, i.length, iif(i.version > 1 OR i.behind IS NOT NULL, i.sop_uid, NULL) FROM transfers t JOIN instances i ON i.id = t.instance \
         WHERE t.destination = ?1 AND t.study = ?2 AND t.priority = ?3 AND t.lane = 1 AND t.lane IN (0, 1) AND t.due <= ?4 \
         ORDER BY t.due, t.id LIMIT ?5",
    ];
    let mut due = Vec::new();
    for sql in queries {
        let mut find = tx.conn.prepare_cached(sql)?;
        let Waiting { study, priority } = waiting;
        let rows = find.query_map(params![to, study, priority, at, most(limits) as i64], candidate)?;
        due.append(&mut rows.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(due)
}

fn candidate(row: &rusqlite::Row<'_>) -> rusqlite::Result<Due> {
    let (interruptions, length): (i64, i64) = (row.get(1)?, row.get(2)?);
    Ok(Due {
        id: TransferId(row.get(0)?),
        interruptions: small(interruptions),
        length: count(length),
        uid: row.get(3)?,
    })
}

/// The study that has waited longest to be asked about, and what of it is due.
fn to_check(tx: &Tx<'_>, to: i64, limits: LeaseLimits, at: i64) -> Result<Option<(i64, Vec<Due>)>, Fault> {
    let mut first = tx.conn.prepare_cached(
        "SELECT study FROM transfers WHERE destination = ?1 AND lane = ?2 AND due <= ?3 ORDER BY due, study, id LIMIT 1",
    )?;
    let study = first.query_row(params![to, lane::CHECK, at], |row| row.get::<_, i64>(0)).optional()?;
    let Some(study) = study else { return Ok(None) };
    let mut find = tx.conn.prepare_cached(
        "SELECT t.id, t.interruptions, i.length, iif(i.version > 1 OR i.behind IS NOT NULL, i.sop_uid, NULL) FROM (SELECT id, study AS of_study FROM transfers WHERE destination = ?1 \
         AND lane = ?2 AND due <= ?3 ORDER BY due, study, id LIMIT ?5) w JOIN transfers t ON t.id = w.id \
         JOIN instances i ON i.id = t.instance WHERE w.of_study = ?4 LIMIT ?6",
    )?;
    let rows = find.query_map(params![to, lane::CHECK, at, study, WINDOW, most(limits) as i64], candidate)?;
    Ok(Some((study, rows.collect::<Result<_, _>>()?)))
}

/// Enters the attempt and marks its transfers, before anything is sent.
fn begin(
    tx: &mut Tx<'_>,
    destination: &Destination,
    kind: BatchKind,
    to: i64,
    study: i64,
    chosen: &[TransferId],
    at: i64,
) -> Result<Batch, Fault> {
    let entry = Tx::entry_id()?;
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO attempts (kind, destination, study, epoch, began, remaining, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let size = chosen.len() as i64;
    let attempt = insert.insert(params![kind.word(), to, study, tx.fixed.epoch, at, size, entry.0])?;
    drop(insert);
    let routes = routing::in_force(tx.conn)?;
    let last_before = routes.as_ref().map_or(0, |(_, last_before)| *last_before);
    let refused = unsupported::known(tx.conn, to)?;
    let mut items = Vec::with_capacity(chosen.len());
    let mut causes = BTreeSet::new();
    for id in chosen {
        let mut transfer = Transfer::load(tx.conn, *id)?.ok_or_else(|| damaged("transfer"))?;
        causes.insert(transfer.entry);
        transfer.attempt = Some(attempt);
        transfer.entry = entry;
        if kind == BatchKind::Send {
            transfer.go(State::Leased, at)?;
            transfer.resume.take_if(|resume| resume == unsupported::CLASS);
            transfer.attempts += 1;
        }
        transfer.save(tx.conn)?;
        items.push(item(tx, &transfer, last_before, &refused)?);
    }
    // Beside what may well be taken, an answer of nothing at all says more than that of a class.
    if !items.iter().all(|item| item.class_refused) {
        items.iter_mut().for_each(|item| item.class_refused = false);
    }
    let study = items.first().map(|item| item.study.clone()).ok_or_else(|| damaged("study"))?;
    let causes: Vec<EntryId> = causes.into_iter().collect();
    let mut told = facts([
        ("attempt", attempt.into()),
        ("destination", destination.0.as_str().into()),
        ("study", study.as_str().into()),
        ("epoch", tx.fixed.epoch.into()),
    ]);
    match kind {
        BatchKind::Send => {
            let step = change::step(State::Leased, chosen, crate::ledger::entry::Facts::new());
            told.insert("steps".into(), Fact::List(vec![step]));
        }
        BatchKind::Check => {
            told.insert("check".into(), change::ids(chosen));
        }
    }
    tx.append(entry, Kind::Attempt, at, told, causes);
    let routes = routes.map(|(version, _)| version);
    let unsupported = unsupported::classes(tx.conn, to)?;
    let may_ask = asking::may_ask(tx.conn, to, at)?;
    let (attempt, destination) = (AttemptId(attempt), destination.clone());
    Ok(Batch { attempt, kind, destination, study, routes, items, unsupported, may_ask, last: false })
}

/// Whether another version of the UID was sent to the same destination.
fn rival(tx: &Tx<'_>, transfer: &Transfer) -> Result<bool, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT 1 FROM instances i JOIN instances o ON o.sop_uid = i.sop_uid AND o.id <> i.id \
         JOIN transfers t ON t.study = o.study AND t.destination = ?2 AND t.instance = o.id AND t.attempts > 0 WHERE i.id = ?1",
    )?;
    Ok(find.exists([transfer.instance, transfer.destination])?)
}

/// Whether its instance was never sent there as far as these records know: it is asked about because they may not know all.
fn unsent(tx: &Tx<'_>, transfer: &Transfer) -> Result<bool, Fault> {
    Ok(transfer.state == State::Unknown && transfer.attempts == 0 && !owe::sent_for_another(tx, transfer)?)
}

/// What sending or asking about a transfer needs; `last_before` is the last transfer that is older than the routes in force, and
/// `refused` are the classes that the destination has said not to take.
fn item(tx: &Tx<'_>, transfer: &Transfer, last_before: i64, refused: &BTreeSet<String>) -> Result<Leased, Fault> {
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT b.file, b.shared, b.offset, b.length, i.sop_class, i.sop_uid, r.uid, s.uid, i.transfer_syntax, i.sha256, \
         i.length, a.origin_kind, a.origin_name, i.received, t.cause, t.route, n.standing, w.text, {WORD} FROM transfers t \
         JOIN instances i ON i.id = t.instance JOIN blobs b ON b.id = i.blob \
         JOIN series r ON r.id = i.series JOIN studies s ON s.id = i.study \
         JOIN arrivals a ON a.instance = i.id AND a.n = 1 LEFT JOIN rejections n ON n.instance = i.id \
         LEFT JOIN words w ON w.id = n.words WHERE t.id = ?1"
    ))?;
    let mut rows = find.query([transfer.id.0])?;
    let row = rows.next()?.ok_or_else(|| damaged("instance"))?;
    let text = |n: usize| row.get::<_, String>(n);
    let sha256: Vec<u8> = row.get(9)?;
    Ok(Leased {
        transfer: transfer.id,
        state: transfer.state,
        claimed: transfer.claimed,
        rival: rival(tx, transfer)?,
        unsent: unsent(tx, transfer)?,
        unanswered: transfer.unanswered,
        verify: transfer.verify,
        copy: Retrievable {
            instance: InstanceId(transfer.instance),
            place: place(row, 0)?,
            sop_class: parsed(&text(4)?, "SOP Class UID", SopClassUid::parse)?,
            sop_instance: parsed(&text(5)?, "SOP Instance UID", InstanceUid::parse)?,
            series: parsed(&text(6)?, "Series Instance UID", SeriesUid::parse)?,
            study: parsed(&text(7)?, "Study Instance UID", StudyUid::parse)?,
            transfer_syntax: parsed(&text(8)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
            digest: digest(&sha256)?,
            length: count(row.get(10)?),
            origin: origin(&text(11)?, &text(12)?)?,
            received: time(row.get(13)?),
            word: row.get("word")?,
        },
        attempts: small(transfer.attempts),
        class_refused: refused.contains(&text(4)?),
        cause: cause(&text(14)?)?,
        route: row.get(15)?,
        before_routes: transfer.id.0 <= last_before,
        released: routing::released(tx.conn, transfer)?,
        note: match row.get::<_, Option<String>>(16)? {
            Some(word) => Some(Standing::parse(&word).ok_or_else(|| damaged("standing of a note"))?),
            None => None,
        },
        not_honoured: row.get(17)?,
    })
}
