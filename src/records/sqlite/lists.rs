//! Lists of transfers: sums per study and destination, single transfers, when the next is due, which destinations have work.

use super::asking;
use super::queue;
use super::rows::{Fault, cause, count, micros, parsed, priority, small, span, state, time, verify};
use super::tx::lane;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Destination;
use crate::records::{Cursor, RecordsOptions, TransferFilter, TransferSums, TransferView};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::SystemTime;

/// The most rows of one answer.
pub(in crate::records) const MOST: usize = 1000;

/// The most rows that a caller gets who asks for so many.
pub(in crate::records) fn at_most(limit: usize) -> usize {
    if limit == 0 { MOST } else { limit.min(MOST) }
}

const SUMS: &str = "SELECT t.study, t.destination, s.uid, d.name, count(*), \
    coalesce(sum(t.state IN ('pending', 'leased', 'deferred')), 0), coalesce(sum(t.state = 'unknown'), 0), \
    coalesce(sum(t.state = 'accepted'), 0), coalesce(sum(t.state = 'verified'), 0), coalesce(sum(t.state = 'parked'), 0), \
    coalesce(sum(t.state = 'held'), 0), coalesce(sum(t.state = 'dead'), 0), coalesce(sum(t.state = 'cancelled'), 0), \
    min(t.created) FILTER (WHERE t.lane IS NOT NULL), \
    min(iif(t.lane = 2, max(t.due, coalesce(d.ask_not_before, 0)), t.due)) FILTER (WHERE t.lane IN (0, 1, 2)), d.not_before, \
    min(t.priority) FILTER (WHERE t.lane IS NOT NULL), d.paused IS NOT NULL, \
    count(*) FILTER (WHERE t.lane < 4 AND (d.reach <> 'parked' OR t.lane = 3)), count(*) FILTER (WHERE t.lane IS NOT NULL) FROM transfers t JOIN studies s ON s.id = t.study JOIN destinations d ON d.id = t.destination";

/// The sums that a filter asks for, in order of study and destination, and where to go on if there are more.
pub(in crate::records) fn sums(
    conn: &Connection,
    filter: &TransferFilter,
    now: SystemTime,
) -> Result<(Vec<TransferSums>, Option<Cursor>), Fault> {
    let now = micros(now);
    let limit = at_most(filter.limit);
    let after = filter.after.unwrap_or(Cursor(0, 0));
    let open = "AND (t.study, t.destination) IN (SELECT study, destination FROM transfers WHERE lane IS NOT NULL)";
    let sql = format!(
        "{SUMS} WHERE (t.study, t.destination) > (?1, ?2) AND (?3 IS NULL OR t.study = (SELECT id FROM studies WHERE uid = ?3)) \
         AND (?4 IS NULL OR d.name = ?4) {} GROUP BY t.study, t.destination ORDER BY t.study, t.destination LIMIT ?5",
        if filter.open_only { open } else { "" }
    );
    let study = filter.study.as_ref().map(StudyUid::as_str);
    let destination = filter.destination.as_ref().map(|destination| destination.0.as_str());
    let mut find = conn.prepare_cached(&sql)?;
    let mut rows = find.query(params![after.0, after.1, study, destination, limit as i64])?;
    let (mut list, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(Cursor(row.get(0)?, row.get(1)?));
        list.push(sum(row, now)?);
    }
    let more = if list.len() == limit { last } else { None };
    Ok((list, more))
}

fn sum(row: &Row<'_>, now: i64) -> Result<TransferSums, Fault> {
    let number = |n: usize| row.get::<_, i64>(n).map(count);
    let uid: String = row.get(2)?;
    let oldest: Option<i64> = row.get(13)?;
    let paused: bool = row.get(17)?;
    Ok(TransferSums {
        study_instance_uid: parsed(&uid, "Study Instance UID", StudyUid::parse)?,
        destination: Destination(row.get(3)?),
        instances: number(4)?,
        pending: number(5)?,
        unknown: number(6)?,
        accepted: number(7)?,
        verified: number(8)?,
        parked: number(9)?,
        held: number(10)?,
        dead: number(11)?,
        cancelled: number(12)?,
        oldest_age_seconds: oldest.map(|oldest| count(now.saturating_sub(oldest)) / 1_000_000),
        next_attempt: next(row.get(14)?, row.get(15)?, now).filter(|_| !paused).map(time),
        priority: row.get::<_, Option<i64>>(16)?.map(priority).transpose()?,
        paused,
        moving: number(18)?,
        open: number(19)?,
    })
}

/// When something is tried that is due, at a destination that may have to be left alone until a time; never before now.
pub(in crate::records) fn next(due: Option<i64>, not_before: Option<i64>, now: i64) -> Option<i64> {
    due.map(|due| due.max(not_before.unwrap_or(0)).max(now))
}

const VIEW: &str = "SELECT t.id, i.sop_uid, i.version, s.uid, d.name, t.cause, t.route, t.mandatory, t.verify, t.state, \
    t.attempts, t.outcome, w.text, e.text, t.created, \
    CASE WHEN t.lane IN (0, 1) THEN t.due WHEN t.lane = 2 THEN max(t.due, coalesce(d.ask_not_before, 0)) END, d.not_before, \
    t.priority, d.paused IS NOT NULL, i.hidden IS NOT NULL FROM transfers t JOIN instances i ON i.id = t.instance JOIN studies s ON s.id = t.study \
    JOIN destinations d ON d.id = t.destination LEFT JOIN words w ON w.id = t.words LEFT JOIN words e ON e.id = t.evidence";

fn view(row: &Row<'_>, now: i64) -> Result<TransferView, Fault> {
    let text = |n: usize| row.get::<_, String>(n);
    let paused: bool = row.get(18)?;
    Ok(TransferView {
        transfer: TransferId(row.get(0)?),
        sop_instance_uid: parsed(&text(1)?, "SOP Instance UID", InstanceUid::parse)?,
        version: small(row.get(2)?),
        study_instance_uid: parsed(&text(3)?, "Study Instance UID", StudyUid::parse)?,
        destination: Destination(row.get(4)?),
        cause: cause(&text(5)?)?,
        route: row.get(6)?,
        mandatory: row.get(7)?,
        verify: verify(&text(8)?)?,
        state: state(&text(9)?)?,
        attempts: small(row.get(10)?),
        last_outcome: row.get(11)?,
        last_words: row.get(12)?,
        evidence: row.get(13)?,
        created: time(row.get(14)?),
        next_attempt: next(row.get(15)?, row.get(16)?, now).filter(|_| !paused).map(time),
        priority: priority(row.get(17)?)?,
        paused,
        is_rejected: row.get(19)?,
    })
}

/// One transfer.
pub(in crate::records) fn transfer(
    conn: &Connection,
    id: TransferId,
    now: SystemTime,
) -> Result<Option<TransferView>, Fault> {
    let mut find = conn.prepare_cached(&format!("{VIEW} WHERE t.id = ?1"))?;
    let mut rows = find.query([id.0])?;
    rows.next()?.map(|row| view(row, micros(now))).transpose()
}

/// The single transfers that a filter asks for, in order of their numbers, after one of them; also only in one state.
pub(in crate::records) fn transfers(
    conn: &Connection,
    filter: &TransferFilter,
    only: Option<State>,
    after: TransferId,
    now: SystemTime,
) -> Result<Vec<TransferView>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "{VIEW} WHERE t.id > ?1 AND (?2 IS NULL OR t.study = (SELECT id FROM studies WHERE uid = ?2)) \
         AND (?3 IS NULL OR d.name = ?3) AND (?4 = 0 OR t.lane IS NOT NULL) AND (?5 IS NULL OR t.state = ?5) \
         AND (?6 IS NULL OR t.done >= ?6) ORDER BY t.id LIMIT ?7"
    ))?;
    let study = filter.study.as_ref().map(StudyUid::as_str);
    let destination = filter.destination.as_ref().map(|destination| destination.0.as_str());
    let limit = at_most(filter.limit) as i64;
    let only = only.map(State::word);
    let mut rows =
        find.query(params![after.0, study, destination, filter.open_only, only, filter.done_since.map(micros), limit])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(view(row, micros(now))?);
    }
    Ok(list)
}

/// All transfers of one version of an instance.
pub(in crate::records) fn of_instance(
    conn: &Connection,
    study: i64,
    instance: i64,
    now: SystemTime,
) -> Result<Vec<TransferView>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "{VIEW} WHERE t.study = ?1 AND t.destination IN (SELECT id FROM destinations) AND t.instance = ?2 ORDER BY t.id"
    ))?;
    let mut rows = find.query([study, instance])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(view(row, micros(now))?);
    }
    Ok(list)
}

/// When the lane of a destination has something to do next: `now` if at once, `None` if nothing is to come but by a hint.
pub(in crate::records) fn next_due(
    conn: &Connection,
    options: &RecordsOptions,
    destination: &Destination,
    together: bool,
    now: SystemTime,
) -> Result<Option<SystemTime>, Fault> {
    let now = micros(now);
    let mut find =
        conn.prepare_cached("SELECT id, reach, not_before FROM destinations WHERE name = ?1 AND paused IS NULL")?;
    let row = find.query_row([&destination.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((to, reach, not_before)): Option<(i64, String, Option<i64>)> = row else { return Ok(None) };
    let mut first = conn
        .prepare_cached("SELECT due FROM transfers WHERE destination = ?1 AND lane = ?2 ORDER BY due, study LIMIT 1")?;
    let mut lane = |lane: i64| first.query_row(params![to, lane], |row| row.get::<_, i64>(0)).optional();
    let probing = reach != "up" && lane(lane::IN_HAND)?.is_some();
    if probing {
        // One probe at a time: its outcome gives the hint.
        return Ok(None);
    }
    let check = match (lane(lane::CHECK)?, asking::checks_from(conn, to)?) {
        (Some(due), Some(from)) => Some(due.max(from)),
        _ => None,
    };
    let due = [check, queue::due(conn, to, together)?].into_iter().flatten().min();
    // A clock that was set back must not make anything wait longer than the longest wait (INV-20).
    let longest = span(options.patience.longest_wait.max(options.probing.longest_asked));
    Ok(next(due, not_before, now).map(|at| time(at.min(now.saturating_add(longest)))))
}

/// The destinations for which something is to be sent or asked about, now or later.
pub(in crate::records) fn with_work(conn: &Connection) -> Result<Vec<Destination>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT name FROM destinations d WHERE EXISTS (SELECT 1 FROM transfers t WHERE t.destination = d.id \
         AND t.lane IN (0, 1, 2, 3)) ORDER BY name",
    )?;
    let rows = find.query_map([], |row| row.get(0).map(Destination))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
