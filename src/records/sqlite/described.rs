//! What describes studies, series and instances, and what was also said of them, against itself: no entry holds it, but it stands as it
//! was written, names only what it may, and says twice what a search finds it by (FLT-025).

use super::record::texts_of;
use super::rows::Fault;
use super::unlike::text;
use crate::dicom::attributes::{ACCESSION_NUMBER, ISSUER_OF_PATIENT_ID, Level, PATIENT_ID, STUDY_DATE};
use crate::dicom::tag::Tag;
use rusqlite::{Connection, Row};
use serde_json::{Map, Value};

/// A table whose rows are described.
pub(in crate::records) struct Described {
    /// One row, in words.
    name: &'static str,
    /// The number of each row, its attributes, and the columns beside them.
    sql: &'static str,
    levels: &'static [Level],
    /// What the columns beside the attributes say once more.
    beside: &'static [Tag],
}

/// All of them.
pub(in crate::records) const TABLES: [Described; 5] = [
    Described {
        name: "study",
        sql: "SELECT id, attributes, patient_id, issuer, accession_number, study_date FROM studies WHERE id > ?1 \
              ORDER BY id LIMIT ?2",
        levels: &[Level::Patient, Level::Study],
        beside: &[PATIENT_ID, ISSUER_OF_PATIENT_ID, ACCESSION_NUMBER, STUDY_DATE],
    },
    Described {
        name: "series",
        sql: "SELECT id, attributes FROM series WHERE id > ?1 ORDER BY id LIMIT ?2",
        levels: &[Level::Series],
        beside: &[],
    },
    Described {
        name: "instance",
        sql: "SELECT id, attributes FROM instances WHERE id > ?1 ORDER BY id LIMIT ?2",
        levels: &[Level::Instance],
        beside: &[],
    },
    // These rows have no numbers: they are looked at by their study, each with all of its rows.
    Described {
        name: "what was also said of study",
        sql: "SELECT study, attributes FROM also_said WHERE series = 0 AND study > ?1 AND study <= coalesce((SELECT study \
              FROM also_said WHERE series = 0 AND study > ?1 ORDER BY study LIMIT 1 OFFSET ?2 - 1), 9223372036854775807) \
              ORDER BY study",
        levels: &[Level::Patient, Level::Study],
        beside: &[],
    },
    // Of what is no series of the study nothing is read.
    Described {
        name: "what was also said of a series of study",
        sql: "SELECT m.study, iif(EXISTS (SELECT 1 FROM series r WHERE r.id = m.series AND r.study = m.study), m.attributes, NULL) \
              FROM also_said m WHERE m.series <> 0 AND m.study > ?1 AND m.study <= coalesce((SELECT study \
              FROM also_said WHERE series <> 0 AND study > ?1 ORDER BY study LIMIT 1 OFFSET ?2 - 1), 9223372036854775807) \
              ORDER BY m.study",
        levels: &[Level::Series],
        beside: &[],
    },
];

/// So many rows are asked for at once.
const PAGE: i64 = 10_000;

/// Looks at all rows of all tables.
pub(in crate::records) fn look_at_all(conn: &Connection, mut differs: impl FnMut(String)) -> Result<(), Fault> {
    for described in &TABLES {
        let mut after = Some(0);
        while let Some(from) = after {
            after = look(conn, described, (from, PAGE), &mut differs)?;
        }
    }
    Ok(())
}

/// Looks at `most` rows after a number, and at all that share the last; what is wrong is given in words, which say nothing of what stands
/// there. The last row, if there may be more.
pub(in crate::records) fn look(
    conn: &Connection,
    described: &Described,
    (after, most): (i64, i64),
    differs: &mut impl FnMut(String),
) -> Result<Option<i64>, Fault> {
    let known: Vec<String> = texts_of(described.levels).map(|tag| format!("{:08X}", tag.0)).collect();
    // Numbers begin at 1: what stands before is no row of ours either.
    let after = if after == 0 { i64::MIN } else { after };
    let mut find = conn.prepare_cached(described.sql)?;
    let mut rows = find.query([after, most])?;
    let (mut seen, mut last) = (0, after);
    while let Some(row) = rows.next()? {
        (seen, last) = (seen + 1, row.get(0)?);
        if let Some(what) = wrong(row, described, &known)? {
            differs(format!("{} {last}: {what}", described.name));
        }
    }
    Ok((seen >= most).then_some(last))
}

fn wrong(row: &Row<'_>, described: &Described, known: &[String]) -> Result<Option<&'static str>, Fault> {
    // Bytes that are no text are none that we wrote.
    let kept = row.get_ref(1)?.as_str().unwrap_or_default();
    let Ok(map) = serde_json::from_str::<Map<String, Value>>(kept) else {
        return Ok(Some("what describes it cannot be read"));
    };
    // A name that stands there twice is read once.
    let written = serde_json::to_string(&map).unwrap_or_default();
    if written != kept || map.values().any(|value| !value.is_string()) {
        return Ok(Some("what describes it does not stand there as it was written"));
    }
    if map.keys().any(|key| !known.contains(key)) {
        return Ok(Some("it is described by an attribute that is not kept of it"));
    }
    if map.is_empty() {
        // It was erased, with or without the columns beside it.
        return Ok(None);
    }
    for (column, tag) in described.beside.iter().enumerate() {
        let said = map.get(&format!("{:08X}", tag.0)).and_then(Value::as_str);
        if text(row, column + 2)?.as_deref() != said {
            return Ok(Some("what it is found by is not what describes it"));
        }
    }
    Ok(None)
}
