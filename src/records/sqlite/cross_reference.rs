//! Rows of the cross-reference, and what studies of our own nodes say of a patient's birth date.

use super::rows::{Fault, damaged, source, time};
use super::study::texts;
use super::tx::Tx;
use crate::dicom::attributes::PATIENT_BIRTH_DATE;
use crate::dicom::cross_reference::{self, LocalId, Said};
use crate::dicom::nhs_number::NhsNumber;
use crate::peers::Origin;
use crate::records::{Arrival, Learned, Sought, Statement};
use rusqlite::{Connection, params};

/// Statements that are kept of one local number; more would only contradict each other further.
const OF_ONE: i64 = 32;
/// Rows of one answer.
const MOST: i64 = 1000;
/// Studies that are looked at for birth dates.
const STUDIES: i64 = 100;

fn number(text: &str) -> Result<NhsNumber, Fault> {
    NhsNumber::parse(text).map_err(|_| damaged("NHS number"))
}

/// Keeps what an arrival from one of our nodes says of its patient's numbers (IDY-041).
pub(in crate::records) fn from_arrival(tx: &mut Tx<'_>, arrival: &Arrival, at: i64) -> Result<(), Fault> {
    let (Origin::Node(title) | Origin::Archive(title)) = &arrival.origin else { return Ok(()) };
    let issuer = arrival.source.issuer.as_deref().unwrap_or_default();
    let mut learned = Learned::default();
    for (id, said) in cross_reference::statements(&arrival.head.attributes, issuer) {
        learn(tx, &id, &said, &format!("node {title}"), at, &mut learned)?;
    }
    Ok(())
}

/// Keeps one statement beside those that are there.
pub(in crate::records) fn learn(
    tx: &mut Tx<'_>,
    id: &LocalId,
    said: &Said,
    source: &str,
    at: i64,
    learned: &mut Learned,
) -> Result<(), Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT count(*), coalesce(sum(number = ?3 AND birth_date = ?4 AND source = ?5), 0) FROM identities \
         WHERE issuer = ?1 AND patient_id = ?2",
    )?;
    let digits = said.number.digits();
    let row = params![id.issuer, id.id, digits, said.birth_date, source];
    let (kept, same): (i64, i64) = find.query_row(row, |row| Ok((row.get(0)?, row.get(1)?)))?;
    if same > 0 {
        learned.known += 1;
    } else if kept >= OF_ONE {
        learned.beyond += 1;
    } else {
        let mut insert = tx.conn.prepare_cached(
            "INSERT INTO identities (issuer, patient_id, number, birth_date, source, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        insert.execute(params![id.issuer, id.id, digits, said.birth_date, source, at])?;
        learned.new += 1;
    }
    Ok(())
}

/// Removes what a source said of a number.
pub(in crate::records) fn unlearn(tx: &Tx<'_>, id: &LocalId, source: &str) -> Result<u64, Fault> {
    let mut delete =
        tx.conn.prepare_cached("DELETE FROM identities WHERE issuer = ?1 AND patient_id = ?2 AND source = ?3")?;
    Ok(delete.execute(params![id.issuer, id.id, source])? as u64)
}

/// All that was said of a local number.
pub(in crate::records) fn said_of(conn: &Connection, id: &LocalId) -> Result<Vec<Said>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT number, birth_date FROM identities WHERE issuer = ?1 AND patient_id = ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = find.query(params![id.issuer, id.id, MOST])?;
    let mut said = Vec::new();
    while let Some(row) = rows.next()? {
        said.push(Said { number: number(&row.get::<_, String>(0)?)?, birth_date: row.get(1)? });
    }
    Ok(said)
}

/// The birth dates that were said with these NHS numbers, of whatever local number; two are enough to contradict each other.
pub(in crate::records) fn birth_dates_of(conn: &Connection, said: &[Said]) -> Result<Vec<String>, Fault> {
    let mut find = conn
        .prepare_cached("SELECT DISTINCT birth_date FROM identities WHERE number = ?1 AND birth_date <> '' LIMIT 2")?;
    let mut dates = Vec::new();
    for said in said {
        for date in find.query_map([said.number.digits()], |row| row.get(0))? {
            dates.push(date?);
        }
    }
    Ok(dates)
}

/// The birth dates under which our own nodes sent studies of a local number.
pub(in crate::records) fn known_birth_dates(conn: &Connection, id: &LocalId) -> Result<Vec<String>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT s.attributes, s.issuer, a.source FROM studies s JOIN instances i ON i.study = s.id \
         JOIN arrivals a ON a.instance = i.id AND a.n = 1 AND a.origin_kind IN ('node', 'archive') \
         WHERE s.patient_id = ?1 GROUP BY s.id ORDER BY s.id DESC LIMIT ?2",
    )?;
    let mut rows = find.query(params![id.id, STUDIES])?;
    let mut dates = Vec::new();
    while let Some(row) = rows.next()? {
        let said: Option<String> = row.get(1)?;
        let issuer = said.filter(|issuer| !issuer.is_empty());
        let issuer = match issuer {
            Some(issuer) => Some(issuer),
            None => source(&row.get::<_, String>(2)?).issuer,
        };
        if issuer.as_deref() != Some(id.issuer.as_str()) {
            continue;
        }
        let date = texts(&row.get::<_, String>(0)?)?.remove(&PATIENT_BIRTH_DATE).unwrap_or_default();
        if !date.is_empty() && !dates.contains(&date) {
            dates.push(date);
        }
    }
    Ok(dates)
}

/// See [`crate::records::Records::statements`].
pub(in crate::records) fn statements(conn: &Connection, sought: &Sought) -> Result<Vec<Statement>, Fault> {
    let (condition, value, issuer) = match sought {
        Sought::Id(id, issuer) => ("patient_id = ?1 AND (?2 IS NULL OR issuer = ?2)", id.clone(), issuer.clone()),
        Sought::Number(number) => ("number = ?1 AND ?2 IS NULL", number.digits(), None),
    };
    let mut find = conn.prepare_cached(&format!(
        "SELECT issuer, patient_id, number, birth_date, source, at FROM identities WHERE {condition} \
         ORDER BY issuer, patient_id, at, id LIMIT {MOST}"
    ))?;
    let mut rows = find.query(params![value, issuer])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |n: usize| row.get::<_, String>(n);
        let who = LocalId::new(&text(0)?, &text(1)?).ok_or_else(|| damaged("number of a patient"))?;
        let said = Said { number: number(&text(2)?)?, birth_date: text(3)? };
        list.push(Statement { who, said, source: text(4)?, at: time(row.get(5)?) });
    }
    Ok(list)
}
