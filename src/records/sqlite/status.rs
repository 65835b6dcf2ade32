//! The whole at a glance: destinations with what waits for them, exceptions, counts, the head of the ledger.

use super::recover::read_end;
use super::rows::{Fault, count, damaged, parsed, small, state, time};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::ledger::breaker::Reach;
use crate::ledger::judgement::Verdict;
use crate::ledger::transfer::TransferId;
use crate::peers::Destination;
use crate::records::{DestinationView, EndedBy, ExceptionId, ExceptionView, Paused, Summary};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// The whole at a glance.
pub(in crate::records) fn summary(conn: &Connection, poisoned: Option<String>) -> Result<Summary, Fault> {
    let number =
        |sql: &str| -> Result<u64, Fault> { Ok(count(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)) };
    let mut find = conn.prepare_cached("SELECT kind, count(*) FROM exceptions WHERE closed IS NULL GROUP BY kind")?;
    let exceptions = find.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1).map(count)?)))?;
    Ok(Summary {
        // Rows are never deleted, so that the largest number is the count.
        instances: number("SELECT coalesce(max(id), 0) FROM instances")?,
        transfers: number("SELECT coalesce(max(id), 0) FROM transfers")?,
        unrouted: number("SELECT count(*) FROM instances WHERE unrouted = 1 AND state <> 'purged'")?,
        exceptions: exceptions.collect::<Result<_, _>>()?,
        unjudged: number(
            "SELECT count(*) FROM exceptions WHERE kind = 'conflict' AND closed IS NULL AND verdict IS NULL",
        )?,
        destinations: destinations(conn)?,
        head: read_end(conn)?.head(),
        poisoned,
    })
}

/// Each destination that was ever owed anything, by name.
pub(in crate::records) fn destinations(conn: &Connection) -> Result<Vec<DestinationView>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT d.id, d.name, d.reach, d.since, d.failures, d.not_before, w.text, d.paused, d.paused_by, p.text \
         FROM destinations d LEFT JOIN words w ON w.id = d.words LEFT JOIN words p ON p.id = d.paused_words ORDER BY d.name",
    )?;
    let mut sums = conn.prepare_cached(
        "SELECT state, count(*), min(created), min(created) FILTER (WHERE priority = 0 AND (lane < 4 OR state = 'parked')) FROM transfers WHERE destination = ?1 AND lane IS NOT NULL GROUP BY state",
    )?;
    let mut uncompared = conn.prepare_cached(
        "SELECT count(*) FROM transfers t JOIN instances i ON i.id = t.instance \
         WHERE t.destination = ?1 AND t.claimed = 1 AND t.state = 'verified' AND i.state <> 'purged'",
    )?;
    let mut rows = find.query([])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, reach): (i64, String) = (row.get(0)?, row.get(2)?);
        let mut open = BTreeMap::new();
        let (mut oldest, mut urgent): (Option<i64>, Option<i64>) = (None, None);
        let mut groups = sums.query([id])?;
        while let Some(group) = groups.next()? {
            let word: String = group.get(0)?;
            open.insert(state(&word)?.word(), count(group.get(1)?));
            oldest = [oldest, Some(group.get(2)?)].into_iter().flatten().min();
            urgent = [urgent, group.get(3)?].into_iter().flatten().min();
        }
        list.push(DestinationView {
            destination: Destination(row.get(1)?),
            reach: Reach::parse(&reach).unwrap_or(Reach::Up),
            since: row.get::<_, Option<i64>>(3)?.map(time),
            failures: small(row.get(4)?),
            not_before: row.get::<_, Option<i64>>(5)?.map(time),
            words: row.get(6)?,
            open,
            oldest: oldest.map(time),
            urgent: urgent.map(time),
            paused: paused(row)?,
            unsupported: super::unsupported::list(conn, id)?,
            unasked: super::asking::unasked(conn, id)?,
            warned: super::warnings::list(conn, id)?,
            uncompared: uncompared.query_row([id], |row| row.get(0).map(count))?,
        });
    }
    Ok(list)
}

fn paused(row: &Row<'_>) -> Result<Option<Paused>, Fault> {
    let Some(since) = row.get::<_, Option<i64>>(7)?.map(time) else { return Ok(None) };
    let who: Option<String> = row.get(8)?;
    Ok(Some(Paused { since, who: who.unwrap_or_default(), why: row.get(9)? }))
}

/// Exceptions in order of their numbers, after one of them: all, or only those that wait.
pub(in crate::records) fn exceptions(
    conn: &Connection,
    open_only: bool,
    after: ExceptionId,
    limit: usize,
) -> Result<Vec<ExceptionView>, Fault> {
    let condition = "x.id > ?1 AND (?2 = 0 OR x.closed IS NULL)";
    exception_view(conn, condition, params![after.0, open_only], super::lists::at_most(limit) as i64)
}

/// The exceptions that a condition names, in order of their numbers.
pub(super) fn exception_view(
    conn: &Connection,
    condition: &str,
    params: impl rusqlite::Params,
    limit: i64,
) -> Result<Vec<ExceptionView>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "SELECT x.id, x.kind, i.sop_uid, s.uid, i.version, x.transfer, d.name, x.opened, x.closed, w.text, x.verdict, v.version, \
         x.decision, a.verb, a.who, r.text FROM exceptions x JOIN instances i ON i.id = x.instance JOIN studies s ON s.id = i.study \
         LEFT JOIN transfers t ON t.id = x.transfer LEFT JOIN destinations d ON d.id = t.destination \
         LEFT JOIN words w ON w.id = x.words LEFT JOIN instances v ON v.id = x.against \
         LEFT JOIN acts a ON a.id = x.act LEFT JOIN words r ON r.id = a.words \
         WHERE {condition} ORDER BY x.id LIMIT {limit}"
    ))?;
    let mut rows = find.query(params)?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let (instance, study): (String, String) = (row.get(2)?, row.get(3)?);
        let verdict: Option<String> = row.get(10)?;
        list.push(ExceptionView {
            exception: ExceptionId(row.get(0)?),
            kind: row.get(1)?,
            sop_instance_uid: parsed(&instance, "SOP Instance UID", InstanceUid::parse)?,
            study_instance_uid: parsed(&study, "Study Instance UID", StudyUid::parse)?,
            version: small(row.get(4)?),
            transfer: row.get::<_, Option<i64>>(5)?.map(TransferId),
            destination: row.get::<_, Option<String>>(6)?.map(Destination),
            opened: time(row.get(7)?),
            closed: row.get::<_, Option<i64>>(8)?.map(time),
            words: row.get(9)?,
            verdict: verdict.map(|word| Verdict::parse(&word).ok_or_else(|| damaged("verdict"))).transpose()?,
            against: row.get::<_, Option<i64>>(11)?.map(small),
            decision: row.get(12)?,
            ended_by: match (row.get(13)?, row.get(14)?) {
                (Some(verb), Some(who)) => Some(EndedBy { verb, who, reason: row.get(15)? }),
                _ => None,
            },
        });
    }
    Ok(list)
}
