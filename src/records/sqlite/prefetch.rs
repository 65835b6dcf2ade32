//! Rows of what is pulled ahead, and the look for new studies of our own nodes.

use super::lease::SET_BACK;
use super::rows::{Fault, count, damaged, micros, origin, parsed, refuse, span, time};
use super::tx::Tx;
use crate::dicom::uid::StudyUid;
use crate::records::{Acquired, Event, InstanceId, MOST_OPEN, Prefetch, PrefetchCause, PrefetchRow, What};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::{Duration, SystemTime};

/// Series of one look.
const SERIES: i64 = 200;
/// Instances of one look.
const INSTANCES: i64 = 5_000;
/// Rows of what is due, and of a list.
const DUE: i64 = 100;
const ROWS: i64 = 1_000;
/// What ended so long ago is forgotten, so many rows at a time.
const REMEMBERED: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 86_400;
const FORGOTTEN_AT_ONCE: i64 = 20;

const COLUMNS: &str =
    "id, kind, cause, who, patient_id, issuer, nhs, birth_date, modalities, at, tries, due, how FROM prefetches";

/// See [`crate::records::Records::acquired`].
pub(in crate::records) fn acquired(conn: &Connection, since: SystemTime) -> Result<(Vec<Acquired>, InstanceId), Fault> {
    let newest: i64 = conn.query_row("SELECT coalesce(max(id), 0) FROM instances", [], |row| row.get(0))?;
    let mut known = conn.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'prefetch_after'")?;
    let Some(after) = known.query_row([], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok((Vec::new(), InstanceId(newest)));
    };
    // In the order in which it is written: of the many instances only the first of each series is looked at further.
    let to = newest.min(after.saturating_add(INSTANCES));
    let mut find = conn.prepare_cached(
        "SELECT i.id, s.uid, a.origin_kind, a.origin_name, coalesce(s.patient_id, ''), coalesce(s.issuer, ''), \
         coalesce(json_extract(s.attributes, '$.00100030'), ''), coalesce(json_extract(r.attributes, '$.00080060'), '') \
         FROM instances i CROSS JOIN studies s ON s.id = i.study CROSS JOIN series r ON r.id = i.series \
         CROSS JOIN instances f ON f.id = (SELECT min(o.id) FROM instances o WHERE o.study = i.study) \
         CROSS JOIN arrivals a ON a.instance = f.id AND a.n = 1 \
         WHERE i.id > ?1 AND i.id <= ?2 AND f.received >= ?3 AND a.origin_kind = 'node' AND i.state = 'stored' AND i.hidden IS NULL \
         AND NOT EXISTS (SELECT 1 FROM instances o WHERE o.study = i.study AND o.series = i.series AND o.id < i.id) \
         ORDER BY i.id LIMIT ?4",
    )?;
    let mut rows = find.query(params![after, to, micros(since), SERIES])?;
    let mut list: Vec<Acquired> = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        list.push(Acquired {
            first: InstanceId(row.get(0)?),
            study: parsed(&text(1)?, "Study Instance UID", StudyUid::parse)?,
            origin: origin(&text(2)?, &text(3)?)?,
            patient_id: text(4)?,
            issuer: text(5)?,
            birth_date: text(6)?,
            modality: text(7)?,
        });
    }
    let full = list.len() as i64 == SERIES;
    let looked_at = list.last().filter(|_| full).map_or(InstanceId(to), |last| last.first);
    Ok((list, looked_at))
}

/// Notes that all up to an instance was looked at.
pub(in crate::records) fn looked_at(tx: &mut Tx<'_>, instance: InstanceId) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES ('prefetch_after', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?;
    insert.execute([instance.0.to_string()])?;
    Ok(())
}

/// See [`crate::records::Records::prefetch`].
pub(in crate::records) fn take(tx: &mut Tx<'_>, new: &Prefetch, now: SystemTime) -> Result<Option<i64>, Fault> {
    let open: i64 = tx
        .conn
        .prepare_cached("SELECT count(*) FROM prefetches WHERE due IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    if open >= MOST_OPEN as i64 {
        return refuse(format!("{MOST_OPEN} prefetches are open already; ask again later"));
    }
    // A study may bring another modality with a later series: then it is worked on again, for what the rules mean by that.
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO prefetches (kind, cause, who, patient_id, issuer, nhs, birth_date, modalities, at, due, how) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, 'waiting') ON CONFLICT (kind, cause) DO UPDATE SET \
         modalities = modalities || '\\' || excluded.modalities, at = excluded.at, tries = 0, due = excluded.due, how = excluded.how \
         WHERE kind = 'study' AND excluded.modalities != '' \
         AND instr('\\' || modalities || '\\', '\\' || excluded.modalities || '\\') = 0 RETURNING id",
    )?;
    let modalities = new.modalities.join("\\");
    let Prefetch { cause, who, patient_id, issuer, nhs, birth_date, .. } = new;
    let values = params![cause.kind(), cause.name(), who, patient_id, issuer, nhs, birth_date, modalities, micros(now)];
    Ok(insert.query_row(values, |row| row.get(0)).optional()?)
}

/// See [`crate::records::Records::prefetch_order`].
pub(in crate::records) fn take_order(
    tx: &mut Tx<'_>,
    new: &Prefetch,
    gone_if_before: Option<SystemTime>,
    now: SystemTime,
) -> Result<Option<i64>, Fault> {
    let taken = take(tx, new, now)?;
    let Some(before) = gone_if_before.filter(|_| taken.is_none()) else { return Ok(taken) };
    // As it was last told: the patient may have been corrected.
    let mut update = tx.conn.prepare_cached(
        "UPDATE prefetches SET patient_id = ?2, issuer = ?3, nhs = ?4, birth_date = ?5, modalities = ?6, at = ?7, tries = 0, due = ?7, \
         how = 'waiting' WHERE kind = 'order' AND cause = ?1 AND at < ?8 RETURNING id",
    )?;
    let Prefetch { cause, patient_id, issuer, nhs, birth_date, modalities, .. } = new;
    let modalities = modalities.join("\\");
    let values = params![cause.name(), patient_id, issuer, nhs, birth_date, modalities, micros(now), micros(before)];
    Ok(update.query_row(values, |row| row.get(0)).optional()?)
}

fn row(row: &Row<'_>) -> Result<PrefetchRow, Fault> {
    let text = |n: usize| row.get::<_, String>(n);
    let name = text(2)?;
    let cause = match text(1)?.as_str() {
        "study" => PrefetchCause::Study(parsed(&name, "Study Instance UID", StudyUid::parse)?),
        "order" => PrefetchCause::Order(name),
        "request" => PrefetchCause::Request(name),
        _ => return Err(damaged("kind of a prefetch")),
    };
    let modalities = text(8)?.split('\\').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    let what = Prefetch {
        cause,
        who: text(3)?,
        patient_id: text(4)?,
        issuer: text(5)?,
        nhs: text(6)?,
        birth_date: text(7)?,
        modalities,
    };
    Ok(PrefetchRow {
        id: row.get(0)?,
        what,
        at: time(row.get(9)?),
        tries: u32::try_from(count(row.get(10)?)).unwrap_or(u32::MAX),
        due: row.get::<_, Option<i64>>(11)?.map(time),
        how: text(12)?,
    })
}

fn rows(mut rows: rusqlite::Rows<'_>) -> Result<Vec<PrefetchRow>, Fault> {
    let mut list = Vec::new();
    while let Some(found) = rows.next()? {
        list.push(row(found)?);
    }
    Ok(list)
}

/// See [`crate::records::Records::prefetch_of`].
pub(in crate::records) fn of(conn: &Connection, cause: &PrefetchCause) -> Result<Option<PrefetchRow>, Fault> {
    let mut find = conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE kind = ?1 AND cause = ?2"))?;
    Ok(rows(find.query(params![cause.kind(), cause.name()])?)?.pop())
}

/// See [`crate::records::Records::prefetches_due`].
pub(in crate::records) fn due(
    conn: &Connection,
    now: SystemTime,
    longest: Duration,
) -> Result<Vec<PrefetchRow>, Fault> {
    let mut find =
        conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE due <= ?1 OR due > ?2 ORDER BY due, id LIMIT ?3"))?;
    // A time further ahead was told by a clock that has been set back since (FLT-070).
    let furthest = micros(now).saturating_add(span(longest)).saturating_add(SET_BACK);
    rows(find.query(params![micros(now), furthest, DUE])?)
}

/// See [`crate::records::Records::prefetches`].
pub(in crate::records) fn list(conn: &Connection) -> Result<Vec<PrefetchRow>, Fault> {
    let mut find = conn.prepare_cached(&format!("SELECT {COLUMNS} ORDER BY id DESC LIMIT ?1"))?;
    rows(find.query([ROWS])?)
}

/// See [`crate::records::Records::prefetch_tried`].
pub(in crate::records) fn tried(
    tx: &mut Tx<'_>,
    (id, modalities): (i64, &[String]),
    due: Option<SystemTime>,
    how: &str,
    keep: Duration,
    now: SystemTime,
) -> Result<(), Fault> {
    // With a modality that came meanwhile it is due still.
    let mut update = tx.conn.prepare_cached(
        "UPDATE prefetches SET tries = tries + (?2 IS NOT NULL), due = ?2, how = ?3 WHERE id = ?1 AND trim(modalities, '\\') = ?4",
    )?;
    update.execute(params![id, due.map(micros), how, modalities.join("\\")])?;
    // Until the day is over for which an order had something pulled; days of local time may be longer than a day.
    let remembered = REMEMBERED.max(keep.saturating_add(Duration::from_secs(DAY)));
    let before = now.checked_sub(remembered).map_or(0, micros);
    let old = "SELECT id FROM prefetches WHERE due IS NULL AND at < ?1 ORDER BY id LIMIT ?2";
    tx.conn
        .prepare_cached(&format!("DELETE FROM prefetched WHERE prefetch IN ({old})"))?
        .execute(params![before, FORGOTTEN_AT_ONCE])?;
    tx.conn
        .prepare_cached(&format!("DELETE FROM prefetches WHERE id IN ({old})"))?
        .execute(params![before, FORGOTTEN_AT_ONCE])?;
    Ok(())
}

/// See [`crate::records::Records::prefetch_chose`].
pub(in crate::records) fn chose(
    tx: &mut Tx<'_>,
    id: i64,
    (study, peer, rule): (&StudyUid, &str, &str),
    how: &str,
    now: SystemTime,
) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO prefetched (prefetch, study, peer, rule, at, how) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (prefetch, study) DO UPDATE SET peer = excluded.peer, rule = excluded.rule, how = excluded.how",
    )?;
    insert.execute(params![id, study.as_str(), peer, rule, micros(now), how])?;
    Ok(())
}

/// What was pulled ahead because of a study, and why the study itself was, for its story; the latest 100 of each.
pub(in crate::records) fn story(conn: &Connection, study: &str) -> Result<Vec<Event>, Fault> {
    let mut events = Vec::new();
    let mut caused = conn.prepare_cached("SELECT at, how FROM prefetches WHERE kind = 'study' AND cause = ?1")?;
    let mut rows = caused.query([study])?;
    while let Some(row) = rows.next()? {
        let what = What::Prefetch { rule: None, peer: None, how: row.get(1)? };
        events.push(Event { at: time(row.get(0)?), until: None, instances: 1, version: None, what });
    }
    let mut chosen =
        conn.prepare_cached("SELECT at, how, rule, peer FROM prefetched WHERE study = ?1 ORDER BY at DESC LIMIT 100")?;
    let mut rows = chosen.query([study])?;
    while let Some(row) = rows.next()? {
        let what = What::Prefetch { rule: Some(row.get(2)?), peer: Some(row.get(3)?), how: row.get(1)? };
        events.push(Event { at: time(row.get(0)?), until: None, instances: 1, version: None, what });
    }
    Ok(events)
}
