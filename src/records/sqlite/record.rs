//! One arrival, in one transaction: identity, blob, provenance, what is owed, one entry ("Behaviour that decides safety" 1 to 6).

use super::also_said;
use super::cross_reference;
use super::owe::{self, Owed};
use super::rejections::{self, Subject};
use super::routing;
use super::rows::{Fault, borrowed, digest, micros, origin_kind, refuse, source_pairs, source_text, whole};
use super::tx::Tx;
use crate::dicom::attributes::{INDEXED, Indexed, Level};
use crate::dicom::head::{Attributes, Head};
use crate::dicom::requests::Request;
use crate::dicom::uid::has_leading_zero;
use crate::dicom::{attributes, tag::Tag};
use crate::ledger::change::{self, Opened};
use crate::ledger::entry::{EntryId, Fact, Facts, Kind, facts};
use crate::ledger::generation::{self, Bound, Brought};
use crate::records::{Arrival, Became, BlobRef, ExceptionId, InstanceId, Kept, Recorded, Unowed};
use crate::store::{Digest, Place};
use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value};

/// One UID may have so many versions; more is an attack or a broken sender.
const MOST_VERSIONS: usize = 1000;

/// A version of an instance that is here already.
pub(in crate::records) struct Version {
    pub(in crate::records) id: i64,
    pub(in crate::records) study: i64,
    pub(in crate::records) number: i64,
    pub(in crate::records) state: String,
    transfer_syntax: String,
    sha256: Digest,
    blob: i64,
    /// The version that stands in front of it.
    behind: Option<i64>,
}

/// What is known while one arrival is recorded.
pub(in crate::records) struct Case<'a> {
    pub(in crate::records) arrival: &'a Arrival,
    pub(in crate::records) entry: EntryId,
    pub(in crate::records) at: i64,
    /// Every version of the UID that was here before.
    pub(in crate::records) versions: &'a [Version],
}

/// Records an arrival.
pub(in crate::records) fn record(tx: &mut Tx<'_>, arrival: &Arrival) -> Result<Recorded, Fault> {
    if let Some(chosen_by) = &arrival.routes
        && routing::in_force(tx.conn)?.is_some_and(|(version, _)| *version != **chosen_by)
    {
        return Ok(Recorded { kept: Kept::Rerouted, requested: None, redundant: None });
    }
    let versions = versions(tx, arrival)?;
    let Some((blob, redundant)) = blob(tx, arrival)? else {
        return Ok(Recorded { kept: Kept::BlobGone, requested: None, redundant: None });
    };
    let case = Case { arrival, entry: Tx::entry_id()?, at: micros(arrival.received_at), versions: &versions };
    let syntax = arrival.head.transfer_syntax.as_str();
    // IDY-020 D1: the same bytes in the same syntax. Everything else under a known UID waits for a person (INV-12).
    let same = versions.iter().find(|v| v.sha256 == arrival.digest && v.transfer_syntax == syntax);
    let (kept, requested) = match same {
        Some(version) => again(tx, &case, version, blob)?,
        None => first(tx, &case, blob)?,
    };
    cross_reference::from_arrival(tx, arrival, case.at)?;
    Ok(Recorded { kept, requested, redundant })
}

fn versions(tx: &Tx<'_>, arrival: &Arrival) -> Result<Vec<Version>, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT id, study, version, state, transfer_syntax, sha256, blob, behind FROM instances WHERE sop_uid = ?1 ORDER BY version",
    )?;
    let mut rows = find.query([arrival.head.sop_instance.as_str()])?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        let sha256: Vec<u8> = row.get(5)?;
        versions.push(Version {
            id: row.get(0)?,
            study: row.get(1)?,
            number: row.get(2)?,
            state: row.get(3)?,
            transfer_syntax: row.get(4)?,
            sha256: digest(&sha256)?,
            blob: row.get(6)?,
            behind: row.get(7)?,
        });
    }
    Ok(versions)
}

/// The live generation with the arrival's bytes, and the fresh bytes that are not needed; `None` if it names one that is not live.
fn blob(tx: &Tx<'_>, arrival: &Arrival) -> Result<Option<(i64, Option<Place>)>, Fault> {
    let mut find = tx.conn.prepare_cached("SELECT id FROM blobs WHERE digest = ?1 AND state = 'live'")?;
    let live: Option<i64> = find.query_row([arrival.digest.0], |row| row.get(0)).optional()?;
    if matches!(arrival.blob, BlobRef::New(place) if place.length != arrival.length) {
        return refuse("the place does not hold the whole data set");
    }
    let (brought, place) = match arrival.blob {
        BlobRef::Known(named) => (Brought::Named(named.0), None),
        BlobRef::New(place) => (Brought::Fresh, Some(place)),
    };
    match (generation::bind(brought, live), place) {
        (Bound::To(live), _) => Ok(Some((live, None))),
        (Bound::Redundant(live), place) => Ok(Some((live, place))),
        (Bound::New, Some(Place { file, shared, offset, length })) => {
            let mut insert = tx.conn.prepare_cached(
                "INSERT INTO blobs (digest, file, shared, offset, length, state) VALUES (?1, ?2, ?3, ?4, ?5, 'live')",
            )?;
            let id = insert.insert(params![arrival.digest.0, whole(file)?, shared, whole(offset)?, whole(length)?])?;
            Ok(Some((id, None)))
        }
        (Bound::Gone | Bound::New, _) => Ok(None),
    }
}

/// The first of its UID, or other content under a known one.
fn first(tx: &mut Tx<'_>, case: &Case<'_>, blob: i64) -> Result<(Kept, Option<Became>), Fault> {
    let Case { arrival, at, versions, .. } = case;
    if versions.len() >= MOST_VERSIONS {
        return refuse(format!("{MOST_VERSIONS} other contents of this instance are kept already"));
    }
    let differs = !versions.is_empty();
    let study = study(tx, arrival)?;
    let series = series(tx, arrival, study)?;
    let number = versions.last().map_or(1, |v| v.number + 1);
    let state = if differs { "held" } else { "stored" };
    let unrouted = nobody_chosen(arrival);
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO instances (sop_uid, version, study, series, sop_class, transfer_syntax, sha256, length, blob, state, \
         unrouted, received, attributes, borrowed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let head = &arrival.head;
    let id = insert.insert(params![
        head.sop_instance.as_str(),
        number,
        study,
        series,
        head.sop_class.as_str(),
        head.transfer_syntax.as_str(),
        arrival.digest.0,
        whole(arrival.length)?,
        blob,
        state,
        unrouted,
        at,
        texts(&arrival.head.attributes, &[Level::Instance]),
        borrowed(&arrival.origin),
    ])?;
    drop(insert);
    rejections::arrived(tx, head.sop_class.as_str(), id, &arrival.origin)?;
    let hidden = hide(tx, arrival, id)?;
    let version = Version {
        id,
        study,
        number,
        state: state.to_owned(),
        transfer_syntax: head.transfer_syntax.as_str().to_owned(),
        sha256: arrival.digest,
        blob,
        behind: None,
    };
    let mut more = Facts::new();
    more.insert("versions".into(), [version_made(arrival, &version)].into_iter().collect());
    let mut kept = Kept::Stored { instance: InstanceId(id) };
    if differs {
        let exception = open_conflict(tx, case, &version, &mut more)?;
        kept = Kept::Differs { instance: InstanceId(id), exception };
    }
    let owed = owe::owe(tx, case, &version, true)?;
    if unrouted || owes_nobody(tx, &version, &owed)? {
        more.insert("unrouted".into(), 1.into());
    }
    if hidden {
        more.insert("hidden".into(), [Fact::from(id)].into_iter().collect());
    }
    let requested = owed.requested;
    arrived(tx, case, &version, if differs { "differs" } else { "stored" }, owed, more)?;
    Ok((kept, requested))
}

/// Hides a new version if a note that came before names it (WEB-105).
fn hide(tx: &Tx<'_>, arrival: &Arrival, id: i64) -> Result<bool, Fault> {
    let (head, origin) = (&arrival.head, &arrival.origin);
    let brought_by = (origin_kind(origin), origin.name());
    let subject = Subject { id, uid: head.sop_instance.as_str(), study: head.study.as_str(), brought_by };
    let note = rejections::hidden_by(tx.conn, subject)?;
    if note.is_some() {
        tx.conn.prepare_cached("UPDATE instances SET hidden = ?2 WHERE id = ?1")?.execute(params![id, note])?;
    }
    Ok(note.is_some())
}

fn open_conflict(tx: &Tx<'_>, case: &Case<'_>, version: &Version, more: &mut Facts) -> Result<ExceptionId, Fault> {
    let why = "the same SOP Instance UID arrived with other content; both are kept, this one is held";
    let (words, _) = tx.words(why)?;
    let mut insert = tx
        .conn
        .prepare_cached("INSERT INTO exceptions (kind, instance, opened, words) VALUES ('conflict', ?1, ?2, ?3)")?;
    let exception = insert.insert(params![version.id, case.at, words])?;
    let opened = Opened { exception, kind: "conflict".into(), instance: version.id, transfer: None };
    more.insert("opened".into(), [change::opened(&opened)].into_iter().collect());
    Ok(ExceptionId(exception))
}

/// The same again: provenance, what is owed, and nothing else, unless its blob had gone (INV-11).
fn again(tx: &mut Tx<'_>, case: &Case<'_>, version: &Version, blob: i64) -> Result<(Kept, Option<Became>), Fault> {
    let mut more = Facts::new();
    let mut restored = None;
    // The blob may be the one that it had, if another version has kept it: its bytes are here again all the same.
    if version.blob != blob || version.state == "purged" {
        let state = match version.state.as_str() {
            "stored" | "held" => version.state.as_str(),
            _ => when_whole(tx, version.id)?,
        };
        let mut update = tx.conn.prepare_cached("UPDATE instances SET blob = ?2, state = ?3 WHERE id = ?1")?;
        update.execute(params![version.id, blob, state])?;
        if state != version.state {
            let changed = facts([("id", version.id.into()), ("state", state.into())]);
            more.insert("versions".into(), [Fact::from(changed)].into_iter().collect());
            restored = Some(Version { state: state.to_owned(), ..copy(version) });
        }
    }
    let version = restored.as_ref().unwrap_or(version);
    let conflict = if version.state == "held" { conflict(tx, version.id)? } else { None };
    // A version that a person rejected stands behind and in front of nothing.
    let front = match conflict {
        Some((_, Standing::Rejected)) => None,
        _ => Some(in_front(tx, case, version)?),
    };
    let mut owed = match &front {
        None => rejected(case),
        Some(front) => {
            let owed = owe::owe(tx, case, front, false)?;
            if !owed.made.is_empty() {
                let mut update =
                    tx.conn.prepare_cached("UPDATE instances SET unrouted = 0 WHERE id = ?1 AND unrouted = 1")?;
                update.execute([front.id])?;
            }
            owed
        }
    };
    becomes_ours(tx, case, version)?;
    if let Some(front) = front.as_ref().filter(|front| front.id != version.id) {
        becomes_ours(tx, case, front)?;
    }
    if let Some(front) = &front
        && owes_nobody(tx, front, &owed)?
    {
        more.insert("unrouted".into(), 1.into());
    }
    rejections::arrived(tx, case.arrival.head.sop_class.as_str(), version.id, &case.arrival.origin)?;
    if restored.is_some() {
        let subject = owe::Subject { instance: version.id, study: version.study, state: &version.state };
        owe::release_corrupt(tx, (case.entry, case.at), subject, &mut owed)?;
    }
    let (owed_again, requested) = (owed.count(), owed.requested);
    arrived(tx, case, version, "same", owed, more)?;
    let instance = InstanceId(version.id);
    let kept = match conflict {
        // Whoever was told that it is in conflict is told so again ("The same UID with other content").
        Some((exception, _)) => Kept::Differs { instance, exception },
        None => Kept::Same { instance, owed_again },
    };
    Ok((kept, requested))
}

/// Marks what is ours and was owed to nobody, ever, although a route chose somebody: it came from there, or may not go there. It is told
/// and kept as what no route chose ("No destination"). Whether it is so.
fn owes_nobody(tx: &Tx<'_>, version: &Version, owed: &Owed) -> Result<bool, Fault> {
    if owed.withheld.is_empty() || owed.count() > 0 {
        return Ok(false);
    }
    let mut mark = tx.conn.prepare_cached(
        "UPDATE instances SET unrouted = 1 WHERE id = ?1 AND unrouted = 0 AND borrowed = 0 AND behind IS NULL \
         AND NOT EXISTS (SELECT 1 FROM transfers t WHERE t.study = ?2 AND t.destination IN (SELECT id FROM destinations) \
         AND t.instance = ?1)",
    )?;
    Ok(mark.execute(params![version.id, version.study])? > 0)
}

/// Whether nobody asked for it and no route chose a destination.
fn nobody_chosen(arrival: &Arrival) -> bool {
    arrival.chosen.is_empty() && arrival.requested.is_none() && !arrival.origin.is_asked_for()
}

/// What was a copy of another's until now, and is sent to us, is ours to keep from now on ("No destination").
fn becomes_ours(tx: &Tx<'_>, case: &Case<'_>, version: &Version) -> Result<(), Fault> {
    let to = borrowed(&case.arrival.origin);
    if to == 1 {
        return Ok(());
    }
    let mut update = tx.conn.prepare_cached(
        "UPDATE instances SET borrowed = ?2, unrouted = ?3 WHERE id = ?1 AND borrowed > 0 AND borrowed <> ?2",
    )?;
    update.execute(params![version.id, to, nobody_chosen(case.arrival)])?;
    Ok(())
}

/// The version that is owed when `version` arrives: the one that stands in front of it, if its bytes are here. If they are not,
/// `version` comes to the front.
fn in_front(tx: &Tx<'_>, case: &Case<'_>, version: &Version) -> Result<Version, Fault> {
    let mut front = version;
    for _ in 0..case.versions.len() {
        match case.versions.iter().find(|other| Some(other.id) == front.behind) {
            Some(other) => front = other,
            None => break,
        }
    }
    if front.id == version.id || front.state == "stored" {
        return Ok(copy(front));
    }
    let mut update = tx.conn.prepare_cached("UPDATE instances SET behind = ?2 WHERE id = ?1")?;
    update.execute(params![version.id, None::<i64>])?;
    update.execute(params![front.id, version.id])?;
    Ok(copy(version))
}

/// A version that a person rejected is owed to nobody.
fn rejected(case: &Case<'_>) -> Owed {
    let chosen = case.arrival.chosen.iter().map(|chosen| &chosen.destination);
    let asked = case.arrival.requested.iter().map(|requested| &requested.destination);
    Owed {
        requested: case.arrival.requested.as_ref().map(|_| Became::Not(Unowed::Rejected)),
        withheld: chosen.chain(asked).map(|to| (to.clone(), Unowed::Rejected.words())).collect(),
        ..Owed::default()
    }
}

fn copy(version: &Version) -> Version {
    Version { state: version.state.clone(), transfer_syntax: version.transfer_syntax.clone(), ..*version }
}

/// Where a conflict stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    Rejected,
}

/// The state of a version whose bytes are here again.
pub(in crate::records) fn when_whole(tx: &Tx<'_>, instance: i64) -> Result<&'static str, Fault> {
    Ok(if conflict(tx, instance)?.is_some() { "held" } else { "stored" })
}

/// The conflict that keeps a version held, if one does.
fn conflict(tx: &Tx<'_>, instance: i64) -> Result<Option<(ExceptionId, Standing)>, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT id, closed IS NULL FROM exceptions WHERE instance = ?1 AND kind = 'conflict' \
         AND (closed IS NULL OR decision = 'rejected') ORDER BY id DESC LIMIT 1",
    )?;
    let found = find.query_row([instance], |row| {
        let standing = if row.get(1)? { Standing::Open } else { Standing::Rejected };
        Ok((ExceptionId(row.get(0)?), standing))
    });
    Ok(found.optional()?)
}

/// The provenance row and the one entry of an arrival.
fn arrived(
    tx: &mut Tx<'_>,
    case: &Case<'_>,
    version: &Version,
    how: &str,
    owed: Owed,
    mut more: Facts,
) -> Result<(), Fault> {
    let Arrival { origin, source, .. } = case.arrival;
    let withheld: Vec<Value> = owed.withheld.iter().map(|(to, why)| serde_json::json!([to.0, why])).collect();
    let withheld = (!withheld.is_empty()).then(|| Value::from(withheld).to_string());
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO arrivals (instance, n, at, how, origin_kind, origin_name, source, withheld) VALUES (?1, \
         (SELECT coalesce(max(n), 0) + 1 FROM arrivals WHERE instance = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let (kind, name) = (origin_kind(origin), origin.name());
    insert.execute(params![version.id, case.at, how, kind, name, source_text(source), withheld])?;
    drop(insert);
    more.insert("how".into(), how.into());
    more.insert("instance".into(), version.id.into());
    more.insert("bytes".into(), whole(case.arrival.length)?.into());
    more.insert("origin".into(), facts([("kind", kind.into()), ("name", name.into())]).into());
    let source: Facts = source_pairs(source).map(|(name, value)| (name.to_owned(), value.into())).collect();
    more.insert("source".into(), source.into());
    let lenient: Fact = lenient(&case.arrival.head).into_iter().map(Fact::from).collect();
    if lenient != Fact::List(Vec::new()) {
        more.insert("lenient".into(), lenient);
    }
    owed.tell(&mut more);
    tx.append(case.entry, Kind::Received, case.at, more, Vec::new());
    Ok(())
}

/// What was taken although it breaks a rule: the UIDs with leading zeros (PS3.5 section 9.1; row 4 of the decision table).
fn lenient(head: &Head) -> Vec<String> {
    let uids = [
        ("SOP Class UID", head.sop_class.as_str()),
        ("SOP Instance UID", head.sop_instance.as_str()),
        ("Study Instance UID", head.study.as_str()),
        ("Series Instance UID", head.series.as_str()),
    ];
    uids.iter().filter(|(_, uid)| has_leading_zero(uid)).map(|(name, _)| format!("leading zero in {name}")).collect()
}

fn version_made(arrival: &Arrival, version: &Version) -> Fact {
    let head = &arrival.head;
    facts([
        ("id", version.id.into()),
        ("uid", head.sop_instance.as_str().into()),
        ("version", version.number.into()),
        ("state", version.state.as_str().into()),
        ("class", head.sop_class.as_str().into()),
        ("study", head.study.as_str().into()),
        ("series", head.series.as_str().into()),
        ("syntax", head.transfer_syntax.as_str().into()),
        ("sha256", arrival.digest.to_string().into()),
    ])
    .into()
}

/// The row of the arrival's study, made if it is the first of it; what it says otherwise than the first is kept beside it.
fn study(tx: &Tx<'_>, arrival: &Arrival) -> Result<i64, Fault> {
    let uid = arrival.head.study.as_str();
    let said = texts(&arrival.head.attributes, &[Level::Patient, Level::Study]);
    let mut find = tx.conn.prepare_cached("SELECT id, attributes = ?2 FROM studies WHERE uid = ?1")?;
    let known = find.query_row(params![uid, said], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)));
    if let Some((id, same)) = known.optional()? {
        if !same {
            also_said::keep(tx, id, also_said::OF_STUDY, &said)?;
        }
        return Ok(id);
    }
    let text = |tag: Tag| arrival.head.attributes.text(tag);
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO studies (uid, patient_id, issuer, accession_number, study_date, attributes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    Ok(insert.insert(params![
        uid,
        text(attributes::PATIENT_ID),
        text(attributes::ISSUER_OF_PATIENT_ID),
        text(attributes::ACCESSION_NUMBER),
        text(attributes::STUDY_DATE),
        said,
    ])?)
}

/// The same of its series.
fn series(tx: &Tx<'_>, arrival: &Arrival, study: i64) -> Result<i64, Fault> {
    let uid = arrival.head.series.as_str();
    let said = texts(&arrival.head.attributes, &[Level::Series]);
    let mut find = tx.conn.prepare_cached("SELECT id, attributes = ?3 FROM series WHERE study = ?1 AND uid = ?2")?;
    let known = find.query_row(params![study, uid, said], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)));
    if let Some((id, same)) = known.optional()? {
        if !same {
            also_said::keep(tx, study, id, &said)?;
        }
        return Ok(id);
    }
    let mut insert = tx.conn.prepare_cached("INSERT INTO series (study, uid, attributes) VALUES (?1, ?2, ?3)")?;
    Ok(insert.insert(params![study, uid, said])?)
}

/// The decoded values of the indexed attributes of some levels, as a JSON object by tag in hexadecimal; of a series also the numbers of
/// its requests, those of each kind joined by backslashes in the order of the items.
pub(in crate::records) fn texts(said: &Attributes, levels: &[Level]) -> String {
    let value = |indexed: &Indexed| {
        let text = said.text(indexed.tag)?;
        Some((format!("{:08X}", indexed.tag.0), Value::from(text)))
    };
    let mut texts: Map<String, Value> = indexed_of(levels).filter_map(value).collect();
    let requests = &said.requests;
    if levels.contains(&Level::Series) && !requests.is_empty() {
        let joined = |number: fn(&Request) -> &str| requests.iter().map(number).collect::<Vec<_>>().join("\\");
        let numbers = [
            (attributes::SCHEDULED_STEP_ID, joined(|request| &request.step)),
            (attributes::REQUESTED_PROCEDURE_ID, joined(|request| &request.procedure)),
        ];
        texts.extend(numbers.map(|(tag, text)| (format!("{:08X}", tag.0), Value::from(text))));
    }
    Value::from(texts).to_string()
}

fn indexed_of(levels: &[Level]) -> impl Iterator<Item = &'static Indexed> {
    // In which time zone a study and a series are told what their times mean (PS3.18 tables 10.6.3-3 and 10.6.3-4).
    let above = !levels.contains(&Level::Instance);
    let wanted = move |indexed: &&Indexed| {
        levels.contains(&indexed.level) || (above && indexed.tag == attributes::TIMEZONE_OFFSET)
    };
    INDEXED.iter().filter(wanted)
}

/// What [`texts`] may say of these levels.
pub(in crate::records) fn texts_of(levels: &[Level]) -> impl Iterator<Item = Tag> {
    let of_series = [attributes::SCHEDULED_STEP_ID, attributes::REQUESTED_PROCEDURE_ID];
    let requests = of_series.into_iter().filter(|_| levels.contains(&Level::Series));
    indexed_of(levels).map(|indexed| indexed.tag).chain(requests)
}
