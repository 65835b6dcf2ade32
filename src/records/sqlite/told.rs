//! What entries say of instances, of how they came and of what was owed, against the rows that are shown (FLT-025, LED-001).

use super::rows::Fault;
use crate::ledger::entry::{Entry, Fact, Facts, Kind};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};

/// Says where the rows differ from what an entry said when they were made: what they say of that never changes.
pub(in crate::records) fn compare(conn: &Connection, entry: &Entry) -> Result<Vec<String>, Fault> {
    let mut differs = Vec::new();
    if entry.kind == Kind::Received {
        for version in list(&entry.facts, "versions") {
            instance(conn, version, &mut differs)?;
        }
        arrival(conn, entry, &mut differs)?;
    }
    for made in list(&entry.facts, "made") {
        owed(conn, made, &mut differs)?;
    }
    Ok(differs)
}

fn list<'a>(facts: &'a Facts, name: &str) -> impl Iterator<Item = &'a Facts> {
    facts.get(name).and_then(Fact::list).unwrap_or_default().iter().filter_map(Fact::map)
}

/// The columns of one row, or none if there is no such row, which other comparisons tell.
fn texts<const N: usize>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Option<[String; N]>, Fault> {
    let text = |row: &Row<'_>| -> rusqlite::Result<[String; N]> {
        let mut all = [const { String::new() }; N];
        for (n, text) in all.iter_mut().enumerate() {
            *text = row.get(n)?;
        }
        Ok(all)
    };
    Ok(conn.prepare_cached(sql)?.query_row(params, text).optional()?)
}

fn instance(conn: &Connection, version: &Facts, differs: &mut Vec<String>) -> Result<(), Fault> {
    let Some(id) = version.get("id").and_then(Fact::number) else { return Ok(()) };
    let row = texts::<4>(
        conn,
        "SELECT i.sop_class, i.transfer_syntax, s.uid, r.uid FROM instances i JOIN studies s ON s.id = i.study \
         JOIN series r ON r.id = i.series WHERE i.id = ?1",
        [id],
    )?;
    for (name, is) in ["class", "syntax", "study", "series"].into_iter().zip(row.into_iter().flatten()) {
        if version.get(name).and_then(Fact::text).is_some_and(|told| told != is) {
            differs.push(format!("of instance {id} the table has another {name} than its entry"));
        }
    }
    Ok(())
}

fn arrival(conn: &Connection, entry: &Entry, differs: &mut Vec<String>) -> Result<(), Fault> {
    let facts = &entry.facts;
    let origin = facts.get("origin").and_then(Fact::map);
    let text = |map: &Facts, name: &str| map.get(name).and_then(Fact::text).map(str::to_owned);
    let (Some(instance), Some(origin)) = (facts.get("instance").and_then(Fact::number), origin) else {
        return Ok(());
    };
    let told = (text(origin, "kind"), text(origin, "name"), facts.get("source").and_then(Fact::map).map(source));
    let mut find = conn.prepare_cached(
        "SELECT a.origin_kind, a.origin_name, a.source, i.length FROM arrivals a JOIN instances i ON i.id = a.instance \
         WHERE a.instance = ?1 AND a.at = ?2",
    )?;
    let rows = find.query_map(params![instance, entry.at], |row| {
        Ok(((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?), row.get::<_, i64>(3)?))
    })?;
    // The same instance may come twice within one microsecond.
    let mut same = false;
    let mut seen = 0;
    for row in rows {
        let ((kind, name, held), length) = row?;
        seen += 1;
        let held = serde_json::from_str::<Value>(&held).ok();
        let agrees = told.0.as_ref().is_none_or(|told| *told == kind)
            && told.1.as_ref().is_none_or(|told| *told == name)
            && told.2.as_ref().is_none_or(|told| held.as_ref() == Some(told))
            && facts.get("bytes").and_then(Fact::number).is_none_or(|told| told == length);
        same |= agrees;
    }
    if !same {
        let how = if seen == 0 { "the table knows nothing of" } else { "the table says otherwise of" };
        differs.push(format!("{how} one arrival of instance {instance}: from whom, how, or its length"));
    }
    Ok(())
}

fn source(facts: &Facts) -> Value {
    let pairs = facts.iter().filter_map(|(name, fact)| Some((name.clone(), Value::from(fact.text()?))));
    Value::from(pairs.collect::<Map<_, _>>())
}

fn owed(conn: &Connection, made: &Facts, differs: &mut Vec<String>) -> Result<(), Fault> {
    let Some(id) = made.get("id").and_then(Fact::number) else { return Ok(()) };
    let told = made.get("verify").and_then(Fact::text);
    let is = texts::<1>(conn, "SELECT verify FROM transfers WHERE id = ?1", [id])?;
    if let (Some(told), Some([is])) = (told, is)
        && told != is
    {
        differs.push(format!("of transfer {id} the table has another verify than its entry"));
    }
    Ok(())
}
