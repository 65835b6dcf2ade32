//! Finding the studies that a person means, and owing them (docs/ARCHITECTURE.md, "How a user names a destination").

use super::owe::{self, Moment, Owed, Subject};
use super::rows::{Fault, cause_text, count, micros, origin, parsed, span};
use super::tx::Tx;
use crate::dicom::uid::StudyUid;
use crate::ledger::entry::{Kind, facts};
use crate::ledger::transfer::{Cause, State};
use crate::peers::Origin;
use crate::records::{Holding, Order, Ordered, Wanted};
use rusqlite::{Connection, params};

/// The most instances of one commit, so that an intake never waits long.
const PAGE: i64 = 250;
/// The most studies of one answer.
const STUDIES: i64 = 1000;

/// The studies that are meant and of which something came from `from`, in order of date; at most 1,000, all if fewer.
pub(in crate::records) fn holdings(
    conn: &Connection,
    wanted: &Wanted,
    from: Option<&str>,
) -> Result<Vec<Holding>, Fault> {
    let (condition, value) = match wanted {
        Wanted::Study(study) => ("s.uid = ?1", study.as_str()),
        Wanted::Accession(number) => ("s.accession_number = ?1", number.as_str()),
        Wanted::Patient(id) => ("s.patient_id = ?1", id.as_str()),
    };
    let mut find = conn.prepare_cached(&format!(
        "SELECT s.id, s.uid, s.patient_id, s.issuer, s.study_date, coalesce(sum(i.state = 'stored'), 0), \
         coalesce(sum(i.length) FILTER (WHERE i.state = 'stored'), 0), coalesce(sum(i.state <> 'stored'), 0) \
         FROM studies s JOIN instances i ON i.study = s.id WHERE {condition} AND i.behind IS NULL AND i.hidden IS NULL AND {FROM} \
         GROUP BY s.id ORDER BY s.study_date, s.id LIMIT {STUDIES}"
    ))?;
    let mut rows = find.query(params![value, from])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let uid: String = row.get(1)?;
        list.push(Holding {
            study: parsed(&uid, "Study Instance UID", StudyUid::parse)?,
            patient_id: row.get(2)?,
            issuer: row.get(3)?,
            study_date: row.get(4)?,
            origins: origins(conn, row.get(0)?)?,
            instances: count(row.get(5)?),
            bytes: count(row.get(6)?),
            unsendable: count(row.get(7)?),
        });
    }
    Ok(list)
}

/// Whether an instance came from a party at any time.
const FROM: &str = "(?2 IS NULL OR EXISTS (SELECT 1 FROM arrivals a WHERE a.instance = i.id AND a.origin_name = ?2 \
    AND a.origin_kind <> 'operator'))";

fn origins(conn: &Connection, study: i64) -> Result<Vec<Origin>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT DISTINCT a.origin_kind, a.origin_name FROM instances i JOIN arrivals a ON a.instance = i.id AND a.n = 1 \
         WHERE i.study = ?1 ORDER BY 1, 2",
    )?;
    let mut rows = find.query([study])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        list.push(origin(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?);
    }
    Ok(list)
}

/// The cause of an order: the same person's same order owes nothing twice, unless it says so.
fn cause(order: &Order) -> Cause {
    let Order { who, again, now, .. } = order;
    Cause::Operator(match again {
        true => format!("weybridge send by {who}, once more at {}", utc(micros(*now))),
        false => format!("weybridge send by {who}"),
    })
}

/// A moment to the microsecond, as people read it: no two orders have the same.
fn utc(at: i64) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}

/// Owes the next page of an order after an instance; the number to go on after, `None` at the end.
pub(in crate::records) fn order(
    tx: &mut Tx<'_>,
    order: &Order,
    after: i64,
    ordered: &mut Ordered,
) -> Result<Option<i64>, Fault> {
    let page = page(tx, order, after)?;
    let Some((last, ..)) = page.last() else { return Ok(None) };
    let last = *last;
    let at = micros(order.now);
    let moment = Moment { entry: Tx::entry_id()?, at, resend_after: order.resend_after, what: "send" };
    let to = tx.destination(&order.destination)?;
    let mut owed = Owed::default();
    for (instance, study, state) in &page {
        let subject = Subject { instance: *instance, study: *study, state };
        one(tx, order, to, moment, subject, &mut owed, ordered)?;
    }
    if !owed.is_empty() {
        tell(tx, order, moment, owed)?;
    }
    Ok((page.len() as i64 == PAGE).then_some(last))
}

fn page(tx: &Tx<'_>, order: &Order, after: i64) -> Result<Vec<(i64, i64, String)>, Fault> {
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT i.id, i.study, i.state FROM instances i WHERE i.study = (SELECT id FROM studies WHERE uid = ?1) AND {FROM} \
         AND i.behind IS NULL AND i.hidden IS NULL AND i.id > ?3 ORDER BY i.id LIMIT {PAGE}"
    ))?;
    let rows = find.query_map(params![order.study.as_str(), order.from, after], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn one(
    tx: &mut Tx<'_>,
    order: &Order,
    to: i64,
    moment: Moment,
    subject: Subject<'_>,
    owed: &mut Owed,
    ordered: &mut Ordered,
) -> Result<(), Fault> {
    if subject.state != "stored" {
        // What is gone here and there already is missing to nobody.
        let there =
            |(transfer, _): &(super::tx::Transfer, String)| matches!(transfer.state, State::Accepted | State::Verified);
        let is_there = owe::transfers(tx, subject, to)?.iter().any(there);
        *(if is_there { &mut ordered.done } else { &mut ordered.unsendable }) += 1;
        return Ok(());
    }
    if !order.again && came_only_from(tx, subject.instance, &order.destination.0)? {
        ordered.came_from_there += 1;
        return Ok(());
    }
    let cause = cause(order);
    let text = cause_text(&cause);
    let long_ago = moment.at.saturating_sub(span(order.resend_after));
    let known = owe::transfers(tx, subject, to)?;
    // An instance that a person must decide about for this destination is not sent round that decision.
    if known.iter().any(|(transfer, _)| transfer.state == State::Held) {
        ordered.unsendable += 1;
        return Ok(());
    }
    let arrived = |(transfer, _): &(super::tx::Transfer, String)| {
        matches!(transfer.state, State::Accepted | State::Verified)
            && transfer.done.is_some_and(|done| done >= long_ago)
    };
    if !order.again && known.iter().any(arrived) {
        ordered.done += 1;
        return Ok(());
    }
    // What this person's earlier order came to, cancelled perhaps, does not stand in the way of a new one.
    let cancelled = known.iter().any(|(t, earlier)| *earlier == text && t.state == State::Cancelled);
    let cause = if cancelled { self::cause(&Order { again: true, ..order.clone() }) } else { cause };
    let before = owed.count();
    let (destination, verify, priority) = (&order.destination, order.verify, order.priority);
    let wanted = owe::Wanted { destination, cause, route: None, mandatory: false, verify, priority };
    let (dead, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|(t, _)| t.state == State::Dead);
    let under_way = others.iter().any(|(t, _)| !t.state.is_done(t.verify));
    match dead.is_empty() || under_way {
        true => owe::want(tx, moment, subject, &wanted, owed).map(drop)?,
        // What was given up goes on, whatever it was owed for: beside a second transfer it would wait for a person for ever.
        false => dead.into_iter().try_for_each(|(t, _)| owe::again(tx, moment, subject, t, &wanted, owed).map(drop))?,
    }
    match owed.count() > before {
        true => ordered.owed += 1,
        false => ordered.under_way += 1,
    }
    tx.conn
        .prepare_cached("UPDATE instances SET unrouted = 0 WHERE id = ?1 AND unrouted = 1")?
        .execute([subject.instance])?;
    Ok(())
}

/// Whether the destination gave us the instance, and nobody else did.
fn came_only_from(tx: &Tx<'_>, instance: i64, destination: &str) -> Result<bool, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT count(*) > 0 AND count(*) = count(*) FILTER (WHERE origin_name = ?2 AND origin_kind <> 'operator') \
         FROM arrivals WHERE instance = ?1",
    )?;
    Ok(find.query_row(params![instance, destination], |row| row.get(0))?)
}

/// The act and the entry of a page.
fn tell(tx: &mut Tx<'_>, order: &Order, moment: Moment, owed: Owed) -> Result<(), Fault> {
    let (words, fact) = match order.reason.is_empty() {
        true => (None, None),
        false => tx.words(&order.reason).map(|(id, fact)| (Some(id), Some(fact)))?,
    };
    let mut insert = tx.conn.prepare_cached("INSERT INTO acts (at, verb, who, words) VALUES (?1, 'send', ?2, ?3)")?;
    insert.insert(params![moment.at, order.who, words])?;
    drop(insert);
    let mut told = facts([
        ("verb", "send".into()),
        ("who", order.who.as_str().into()),
        ("study", order.study.as_str().into()),
        ("to", order.destination.0.as_str().into()),
    ]);
    told.extend(fact.map(|fact| ("words".to_owned(), fact)));
    owed.tell(&mut told);
    tx.append(moment.entry, Kind::Act, moment.at, told, Vec::new());
    Ok(())
}
