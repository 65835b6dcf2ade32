//! What the catalogue says of a patient, study, series and image against the data set that it was taken from (FLT-025).
//!
//! No entry holds it, so that only the bytes can tell. A study is described by the first instance that came of it, a series by its own
//! first; so those rows are compared with that data set alone, as long as it is kept. What was erased, and what a value says outside ASCII,
//! is not compared.

use super::record::texts;
use super::rows::{Fault, parsed};
use super::tx::Tx;
use crate::dicom::attributes::{
    ACCESSION_NUMBER, INDEXED, ISSUER_OF_PATIENT_ID, Level, PATIENT_ID, REQUESTED_PROCEDURE_ID, SCHEDULED_STEP_ID,
    STUDY_DATE,
};
use crate::dicom::head::{Attributes, Head};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, TransferSyntaxUid};
use crate::records::{AllUnlike, BlobId, InstanceId, Unlike};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// So many instances of one blob are compared.
const MOST: i64 = 16;
/// So many that differ are noted.
const NOTED: usize = 100;
/// The note of them.
const NAME: &str = "unlike";
/// The note that there were more, `now` while all blobs are read for the time in which that was seen, and `before` after it.
const MORE: &str = "unlike_more";

/// The transfer syntax of the first instance of a blob, or that what stands there is none.
pub(in crate::records) fn syntax(
    conn: &Connection,
    blob: BlobId,
) -> Result<Option<Result<TransferSyntaxUid, Unlike>>, Fault> {
    let first = "SELECT transfer_syntax, id, sop_uid FROM instances WHERE blob = ?1 ORDER BY id LIMIT 1";
    let mut find = conn.prepare_cached(first)?;
    let mut rows = find.query([blob.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if let Ok(syntax) = TransferSyntaxUid::parse(&text(row, 0)?.unwrap_or_default()) {
        return Ok(Some(Ok(syntax)));
    }
    let uid = parsed(&text(row, 2)?.unwrap_or_default(), "SOP Instance UID", InstanceUid::parse)?;
    Ok(Some(Err(Unlike { blob, instance: InstanceId(row.get(1)?), uid, what: Unlike::SYNTAX.into() })))
}

/// The instances of a blob of which the catalogue says something else than the head of its data set, and what.
pub(in crate::records) fn compare(conn: &Connection, blob: BlobId, head: &Head) -> Result<Vec<Unlike>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT i.id, i.attributes, r.attributes, s.attributes, s.patient_id, s.issuer, s.accession_number, s.study_date, \
         NOT EXISTS (SELECT 1 FROM instances o WHERE o.study = i.study AND o.series = i.series AND o.id < i.id), \
         NOT EXISTS (SELECT 1 FROM instances o WHERE o.study = i.study AND o.id < i.id) \
         FROM instances i JOIN series r ON r.id = i.series JOIN studies s ON s.id = i.study \
         WHERE i.blob = ?1 AND i.transfer_syntax = ?2 AND s.uid = ?3 ORDER BY i.id LIMIT ?4",
    )?;
    let mut rows = find.query(params![blob.0, head.transfer_syntax.as_str(), head.study.as_str(), MOST])?;
    let mut unlike = Vec::new();
    while let Some(row) = rows.next()? {
        let mut differing = BTreeSet::new();
        one(row, &head.attributes, &mut differing)?;
        if !differing.is_empty() {
            let what = differing.into_iter().collect::<Vec<_>>().join(", ");
            let (instance, uid) = (InstanceId(row.get(0)?), head.sop_instance.clone());
            unlike.push(Unlike { blob, instance, uid, what });
        }
    }
    Ok(unlike)
}

fn one(row: &Row<'_>, attributes: &Attributes, differing: &mut BTreeSet<String>) -> Result<(), Fault> {
    of_level(row, 1, attributes, &[Level::Instance], differing)?;
    if row.get(8)? {
        of_level(row, 2, attributes, &[Level::Series], differing)?;
    }
    if row.get(9)? {
        of_level(row, 3, attributes, &[Level::Patient, Level::Study], differing)?;
        for (column, tag) in [(4, PATIENT_ID), (5, ISSUER_OF_PATIENT_ID), (6, ACCESSION_NUMBER), (7, STUDY_DATE)] {
            if let Some(text) = text(row, column)?
                && attributes.text(tag).is_none_or(|said| said.is_ascii() && said != text)
            {
                differing.insert(named(tag));
            }
        }
    }
    Ok(())
}

/// Text as it stands, whatever its bytes have become.
pub(in crate::records) fn text(row: &Row<'_>, column: usize) -> Result<Option<String>, Fault> {
    let bytes = row.get_ref(column)?.as_bytes_or_null().unwrap_or_default();
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// The attributes of one column: each must be what the data set says. One that is missing there came with a later version, or was erased.
fn of_level(
    row: &Row<'_>,
    column: usize,
    attributes: &Attributes,
    levels: &[Level],
    differing: &mut BTreeSet<String>,
) -> Result<(), Fault> {
    let Some(kept) = text(row, column)? else { return Ok(()) };
    let Ok(kept) = serde_json::from_str::<Map<String, Value>>(&kept) else {
        differing.insert("what is kept of it".into());
        return Ok(());
    };
    let said: Map<String, Value> = serde_json::from_str(&texts(attributes, levels)).unwrap_or_default();
    for (key, is) in kept {
        let differs = match said.get(&key).and_then(Value::as_str) {
            Some(ought) => ought.is_ascii() && is.as_str() != Some(ought),
            None => true,
        };
        if differs {
            let tag = u32::from_str_radix(&key, 16).map(Tag);
            differing.insert(tag.map_or_else(|_| "an attribute of no name".into(), named));
        }
    }
    Ok(())
}

/// The keyword of an attribute: never what it says.
fn named(tag: Tag) -> String {
    match tag {
        SCHEDULED_STEP_ID => "ScheduledProcedureStepID".into(),
        REQUESTED_PROCEDURE_ID => "RequestedProcedureID".into(),
        _ => INDEXED.iter().find(|one| one.tag == tag).map_or_else(|| tag.to_string(), |one| one.keyword.into()),
    }
}

/// What was found last and is not known to be right again. A note that cannot be read is none.
pub(in crate::records) fn noted(conn: &Connection) -> Result<AllUnlike, Fault> {
    let mut find = conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let note = find.query_row([NAME], |row| Ok(text(row, 0).ok().flatten())).optional()?.flatten();
    let list: Vec<Value> = note.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default();
    let more = find.exists([MORE])?;
    let read = |one: &Value| {
        Some(Unlike {
            blob: BlobId(one["blob"].as_i64()?),
            instance: InstanceId(one["instance"].as_i64()?),
            uid: InstanceUid::parse(one["uid"].as_str()?).ok()?,
            what: one["what"].as_str()?.to_owned(),
        })
    };
    Ok(AllUnlike { noted: list.iter().filter_map(read).collect(), more })
}

/// Notes what was found of a blob, in place of what was noted of it before. Of what is too much it is noted that there was more.
pub(in crate::records) fn note(tx: &Tx<'_>, blob: BlobId, found: &[Unlike]) -> Result<(), Fault> {
    let before = noted(tx.conn)?.noted;
    let all: Vec<&Unlike> = before.iter().filter(|one| one.blob != blob).chain(found).collect();
    let write = |one: &Unlike| json!({"blob": one.blob.0, "instance": one.instance.0, "uid": one.uid.as_str(), "what": one.what});
    let list: Vec<Value> = all.iter().take(NOTED).copied().map(write).collect();
    let mut insert = tx.conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute([NAME, &Value::from(list).to_string()])?;
    if all.len() > NOTED {
        insert.execute([MORE, "now"])?;
    }
    Ok(())
}

/// All blobs were read again. That there was more than is noted holds until this was so once more without it.
pub(in crate::records) fn all_were_read(tx: &Tx<'_>) -> Result<(), Fault> {
    tx.conn.prepare_cached("DELETE FROM meta WHERE name = ?1 AND value <> 'now'")?.execute([MORE])?;
    tx.conn.prepare_cached("UPDATE meta SET value = 'before' WHERE name = ?1")?.execute([MORE])?;
    Ok(())
}
