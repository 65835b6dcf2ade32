//! Rows of imaging orders, and of the messages that told them.

use super::rows::{Fault, damaged, time};
use super::tx::Tx;
use crate::dicom::cross_reference::LocalId;
use crate::dicom::uid::StudyUid;
use crate::records::PlacedOrder;
use rusqlite::{Connection, OptionalExtension, Rows, params};

/// Rows of a page.
const PAGE: i64 = 500;
/// Orders that are kept; the oldest go.
const MOST: i64 = 1_000_000;
/// Orders of which nothing was told for so long go too once their day is over, in microseconds: 90 days.
const LONGEST: i64 = 90 * DAY;
const DAY: i64 = 86_400 * 1_000_000;
/// Of those that are too many so many go with each new one.
const SWEPT: i64 = 4;
/// So many are looked at with each new one, whether they are old.
const LOOKED_AT: i64 = 16;
/// Messages that are remembered.
const MESSAGES: i64 = 10_000;

const ORDERS: &str = "SELECT id, source, placer, filler, accession, study, control, issuer, patient_id, birth_date, modality, procedure, \
    description, scheduled, at FROM orders";

/// Remembers a message; `false` if the same came before.
pub(in crate::records) fn hear(tx: &Tx<'_>, source: &str, control: &str, digest: &str) -> Result<bool, Fault> {
    let sql = "INSERT OR IGNORE INTO messages (source, control, digest) VALUES (?1, ?2, ?3)";
    if tx.conn.prepare_cached(sql)?.execute([source, control, digest])? == 0 {
        return Ok(false);
    }
    let last = tx.conn.last_insert_rowid();
    tx.conn.prepare_cached("DELETE FROM messages WHERE id <= ?1")?.execute([last - MESSAGES])?;
    Ok(true)
}

/// Keeps an order in place of what was told of it before; it gets a new number. `false` if that says the same.
pub(in crate::records) fn keep(tx: &Tx<'_>, order: &PlacedOrder, source: &str, at: i64) -> Result<bool, Fault> {
    let PlacedOrder { placer, filler, accession, control, patient, birth_date, .. } = order;
    let PlacedOrder { modality, procedure, description, scheduled, .. } = order;
    let number = if placer.is_empty() { format!("filler {filler}") } else { format!("placer {placer}") };
    let study = order.study.as_ref().map(StudyUid::as_str).unwrap_or_default();
    let said = params![
        source,
        number,
        placer,
        filler,
        accession,
        study,
        control,
        patient.issuer,
        patient.id,
        birth_date,
        modality,
        procedure,
        description,
        scheduled,
        at,
    ];
    let mut same = tx.conn.prepare_cached(
        "SELECT 1 FROM orders WHERE source = ?1 AND number = ?2 AND placer = ?3 AND filler = ?4 AND accession = ?5 AND study = ?6 \
         AND control = ?7 AND issuer = ?8 AND patient_id = ?9 AND birth_date = ?10 AND modality = ?11 AND procedure = ?12 \
         AND description = ?13 AND scheduled = ?14 AND at <= ?15",
    )?;
    if same.exists(said)? {
        return Ok(false);
    }
    tx.conn.prepare_cached("DELETE FROM orders WHERE source = ?1 AND number = ?2")?.execute([source, &number])?;
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO orders (source, number, placer, filler, accession, study, control, issuer, patient_id, birth_date, modality, \
         procedure, description, scheduled, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    let row = insert.insert(said)?;
    let mut beyond = tx
        .conn
        .prepare_cached("DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE id <= ?1 ORDER BY id LIMIT ?2)")?;
    beyond.execute([row - MOST, SWEPT])?;
    sweep(tx, at)?;
    Ok(true)
}

/// Lets go of old orders among the next few after those of the last call, round and round: those whose day is yet to come keep neither
/// the old ones behind them nor the caller, however many they are (IDY-051).
fn sweep(tx: &Tx<'_>, at: i64) -> Result<(), Fault> {
    let mut known = tx.conn.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'orders_swept'")?;
    let after: i64 = known.query_row([], |row| row.get::<_, i64>(0)).optional()?.unwrap_or(0);
    let mut look = tx.conn.prepare_cached(
        "SELECT count(*), coalesce(max(id), 0) FROM (SELECT id FROM orders WHERE id > ?1 ORDER BY id LIMIT ?2)",
    )?;
    let (count, last): (i64, i64) = look.query_row([after, LOOKED_AT], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // A day is that of the place where it was written: it may be over a day later here. What is no day is over.
    let mut sweep = tx.conn.prepare_cached(
        "DELETE FROM orders WHERE id > ?1 AND id <= ?2 AND at < ?3 AND coalesce(date(substr(scheduled, 1, 4) || '-' || \
         substr(scheduled, 5, 2) || '-' || substr(scheduled, 7, 2)) < date(?4, 'unixepoch'), 1)",
    )?;
    sweep.execute([after, last, at - LONGEST, (at - DAY) / 1_000_000])?;
    let next = if count < LOOKED_AT { 0 } else { last };
    if next != after {
        let mut note =
            tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('orders_swept', ?1)")?;
        note.execute([next.to_string()])?;
    }
    Ok(())
}

/// See [`crate::records::Records::orders`].
pub(in crate::records) fn after(conn: &Connection, after: i64) -> Result<Vec<PlacedOrder>, Fault> {
    let mut find = conn.prepare_cached(&format!("{ORDERS} WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
    list(find.query(params![after, PAGE])?)
}

/// See [`crate::records::Records::orders_for`].
pub(in crate::records) fn for_days(
    conn: &Connection,
    days: &[String; 2],
    after: i64,
) -> Result<Vec<PlacedOrder>, Fault> {
    let mut find = conn.prepare_cached(&format!(
        "{ORDERS} WHERE id > ?1 AND substr(scheduled, 1, 8) BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4"
    ))?;
    list(find.query(params![after, days[0], days[1], PAGE])?)
}

fn list(mut rows: Rows<'_>) -> Result<Vec<PlacedOrder>, Fault> {
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        list.push(PlacedOrder {
            row: row.get(0)?,
            source: text(1)?,
            placer: text(2)?,
            filler: text(3)?,
            accession: text(4)?,
            study: StudyUid::parse(&text(5)?).ok(),
            control: text(6)?,
            patient: LocalId::new(&text(7)?, &text(8)?).ok_or_else(|| damaged("number of a patient"))?,
            birth_date: text(9)?,
            modality: text(10)?,
            procedure: text(11)?,
            description: text(12)?,
            scheduled: text(13)?,
            at: time(row.get(14)?),
        });
    }
    Ok(list)
}
