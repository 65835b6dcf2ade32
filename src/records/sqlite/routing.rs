//! Which routes are in force and since which transfer, and what routes decide by: for the second decision, when something is
//! about to be sent (INV-15).

use super::rows::{Fault, damaged, micros, origin, parsed, source};
use super::study::texts;
use super::tx::{Transfer, Tx};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::charset::Charset;
use crate::dicom::head::{Attributes, Head};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::ledger::entry::{Kind, facts};
use crate::ledger::transfer::TransferId;
use crate::peers::Destination;
use crate::records::{InstanceId, Routable};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// The note of the routes in force: their name, a space, and the last transfer that was owed before them.
const NAME: &str = "routes";

/// The character set in which the records keep texts.
const KEPT: &[u8] = b"ISO_IR 192";

/// The name of the routes in force, and the last transfer that is older than they are; `None` before any were.
pub(in crate::records) fn in_force(conn: &Connection) -> Result<Option<(String, i64)>, Fault> {
    let mut find = conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let Some(note): Option<String> = find.query_row([NAME], |row| row.get(0)).optional()? else { return Ok(None) };
    let (version, last) = note.split_once(' ').ok_or_else(|| damaged("note of the routes"))?;
    Ok(Some((version.to_owned(), last.parse().map_err(|_| damaged("note of the routes"))?)))
}

/// Puts routes in force, if they are not. Whatever is owed by now is older.
pub(in crate::records) fn put_in_force(tx: &mut Tx<'_>, version: &str, now: SystemTime) -> Result<(), Fault> {
    if in_force(tx.conn)?.is_some_and(|(known, _)| known == version) {
        return Ok(());
    }
    let mut find = tx.conn.prepare_cached("SELECT coalesce(max(id), 0) FROM transfers")?;
    let last: i64 = find.query_row([], |row| row.get(0))?;
    drop(find);
    let mut insert = tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute(params![NAME, format!("{version} {last}")])?;
    drop(insert);
    let told = facts([("routes", version.into()), ("last_before", last.into())]);
    tx.append(Tx::entry_id()?, Kind::Configured, micros(now), told, Vec::new());
    Ok(())
}

/// Why a transfer was held for a person who has released it since. What a person held is not asked about again.
pub(in crate::records) fn released(conn: &Connection, transfer: &Transfer) -> Result<Vec<String>, Fault> {
    if transfer.steps == 0 {
        return Ok(Vec::new());
    }
    let mut find = conn.prepare_cached(
        "SELECT DISTINCT w.text FROM steps h JOIN words w ON w.id = h.words WHERE h.transfer = ?1 AND h.what = 'held' \
         AND EXISTS (SELECT 1 FROM steps r JOIN acts c ON c.id = r.act WHERE r.transfer = h.transfer AND r.n > h.n \
         AND c.verb = 'release')",
    )?;
    let rows = find.query_map([transfer.id.0], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The same of all that is or was owed of an instance to a destination, but for what a person has held again, or cancelled; nothing while
/// any of it is held, and of what was owed before one that was cancelled.
pub(in crate::records) fn released_to(
    conn: &Connection,
    instance: InstanceId,
    to: &Destination,
) -> Result<Vec<String>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT id FROM transfers WHERE study = (SELECT study FROM instances WHERE id = ?1) \
         AND destination = (SELECT id FROM destinations WHERE name = ?2) AND instance = ?1 \
         AND state NOT IN ('held', 'cancelled') AND NOT EXISTS (SELECT 1 FROM transfers o WHERE o.study = transfers.study \
         AND o.destination = transfers.destination AND o.instance = transfers.instance \
         AND (o.state = 'held' OR (o.state = 'cancelled' AND o.id > transfers.id))) ORDER BY id",
    )?;
    let ids = find.query_map(params![instance.0, to.0], |row| row.get(0).map(TransferId))?;
    let mut all = Vec::new();
    for id in ids.collect::<Result<Vec<_>, _>>()? {
        if let Some(transfer) = Transfer::load(conn, id)? {
            all.extend(released(conn, &transfer)?);
        }
    }
    Ok(all)
}

/// What routes decide by about these instances; those that are not known are left out.
pub(in crate::records) fn routable(conn: &Connection, instances: &[InstanceId]) -> Result<Vec<Routable>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT i.sop_class, i.sop_uid, s.uid, r.uid, i.transfer_syntax, s.attributes, r.attributes, i.attributes \
         FROM instances i JOIN series r ON r.id = i.series JOIN studies s ON s.id = i.study WHERE i.id = ?1",
    )?;
    let mut list = Vec::with_capacity(instances.len());
    for instance in instances {
        let mut rows = find.query([instance.0])?;
        let Some(row) = rows.next()? else { continue };
        let text = |n: usize| row.get::<_, String>(n);
        let mut attributes = Attributes { charset: Charset::declared(KEPT), ..Attributes::default() };
        for level in 5..8 {
            let values = texts(&text(level)?)?.into_iter();
            attributes.values.extend(values.map(|(tag, text)| (tag, text.into_bytes().into_boxed_slice())));
        }
        list.push(Routable {
            instance: *instance,
            head: Head {
                sop_class: parsed(&text(0)?, "SOP Class UID", SopClassUid::parse)?,
                sop_instance: parsed(&text(1)?, "SOP Instance UID", InstanceUid::parse)?,
                study: parsed(&text(2)?, "Study Instance UID", StudyUid::parse)?,
                series: parsed(&text(3)?, "Series Instance UID", SeriesUid::parse)?,
                transfer_syntax: parsed(&text(4)?, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
                attributes,
            },
            arrivals: arrivals(conn, *instance)?,
        });
    }
    Ok(list)
}

/// How an instance came, and how the versions came that say the same and in whose stead it is owed.
fn arrivals(conn: &Connection, instance: InstanceId) -> Result<Vec<(crate::peers::Origin, Option<AeTitle>)>, Fault> {
    let mut find = conn.prepare_cached(
        "WITH RECURSIVE version (id) AS (VALUES (?1) UNION SELECT o.id FROM version v JOIN instances i ON i.id = v.id \
         JOIN instances o ON o.sop_uid = i.sop_uid WHERE o.behind = v.id) \
         SELECT origin_kind, origin_name, source FROM arrivals WHERE instance IN (SELECT id FROM version) \
         GROUP BY 1, 2, 3 ORDER BY max(n) DESC LIMIT 64",
    )?;
    let mut rows = find.query([instance.0])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        let called = source(&text(2)?).called.and_then(|title| AeTitle::parse(&title).ok());
        let arrival = (origin(&text(0)?, &text(1)?)?, called);
        if !list.contains(&arrival) {
            list.push(arrival);
        }
    }
    Ok(list)
}
