//! Verdicts: kept with their digests and their entry, and the release of what was no conflict, in one transaction (IDY-007, IDY-020).

use super::doubted;
use super::owe::{self, Moment, Owed, Subject, Wanted};
use super::rows::{Fault, cause, damaged, digest, micros, origin, parsed, place, priority, span};
use super::status::exception_view;
use super::tx::{BEHIND, Noted, TRANSFER, Transfer, Tx};
use crate::dicom::canon::{Content, Hash, Pixels, VERSION};
use crate::dicom::uid::TransferSyntaxUid;
use crate::ledger::change;
use crate::ledger::entry::{EntryId, Fact, Facts, Kind, facts};
use crate::ledger::judgement::{self, Earlier, Released};
use crate::ledger::transfer::{Cause, State, TransferId};
use crate::peers::{Priority, Verify};
use crate::records::proof::hex;
use crate::records::{Became, Digested, ExceptionId, ExceptionView, InstanceId, Judged, Undigested, Unowed};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Conflicts of one page.
const PAGE: i64 = 100;
/// Versions behind one another that are followed.
const DEEPEST: usize = 1000;

/// Conflicts that were not judged yet.
pub(in crate::records) fn unjudged(
    conn: &Connection,
    ExceptionId(after): ExceptionId,
) -> Result<Vec<ExceptionView>, Fault> {
    let condition = "x.kind = 'conflict' AND x.closed IS NULL AND x.verdict IS NULL AND x.id > ?1";
    exception_view(conn, condition, params![after], PAGE)
}

/// One exception.
pub(in crate::records) fn exception(
    conn: &Connection,
    ExceptionId(id): ExceptionId,
) -> Result<Option<ExceptionView>, Fault> {
    Ok(exception_view(conn, "x.id = ?1", params![id], 1)?.pop())
}

/// The digests that are kept of a version.
pub(in crate::records) fn digests(
    conn: &Connection,
    InstanceId(instance): InstanceId,
    profile: &str,
) -> Result<Option<Option<Content>>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT canon, core, form, pixels, patient FROM digests WHERE instance = ?1 AND profile = ?2",
    )?;
    let row = find.query_row(params![instance, profile], |row| {
        let (canon, core): (Option<Hash>, Option<Hash>) = (row.get(0)?, row.get(1)?);
        let (form, pixels): (String, Option<Hash>) = (row.get(2)?, row.get(3)?);
        Ok((canon.zip(core), form, pixels, row.get::<_, Option<Hash>>(4)?))
    });
    let Some((said, form, pixels, patient)) = row.optional()? else { return Ok(None) };
    let pixels = match (form.as_str(), pixels) {
        ("absent", None) => Pixels::Absent,
        ("lossless", Some(digest)) => Pixels::Lossless(digest),
        ("lossy", Some(digest)) => Pixels::Lossy(digest),
        ("unknown", None) => Pixels::Unknown,
        _ => return Err(damaged("digest")),
    };
    Ok(Some(said.map(|(canon, core)| Content { canon, core, pixels, patient })))
}

/// Versions whose bytes are here and of which no digests are kept, or only of an earlier canon.
pub(in crate::records) fn undigested(conn: &Connection, instances: &[InstanceId]) -> Result<Vec<Undigested>, Fault> {
    let mut find = conn.prepare_cached(
        "SELECT i.id, i.transfer_syntax, i.sha256, b.file, b.shared, b.offset, b.length, a.origin_kind, a.origin_name \
         FROM instances i JOIN blobs b ON b.id = i.blob JOIN arrivals a ON a.instance = i.id AND a.n = 1 \
         WHERE i.id = ?1 AND i.state IN ('stored', 'held') AND NOT EXISTS \
         (SELECT 1 FROM digests d WHERE d.instance = i.id AND (d.profile = ?2 OR d.profile LIKE ?2 || ' %'))",
    )?;
    let mut list = Vec::new();
    for InstanceId(instance) in instances {
        let mut rows = find.query(params![instance, VERSION])?;
        if let Some(row) = rows.next()? {
            let (syntax, sha256): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
            list.push(Undigested {
                instance: InstanceId(row.get(0)?),
                transfer_syntax: parsed(&syntax, "Transfer Syntax UID", TransferSyntaxUid::parse)?,
                sha256: digest(&sha256)?,
                place: place(row, 3)?,
                source: origin(&row.get::<_, String>(7)?, &row.get::<_, String>(8)?)?,
            });
        }
    }
    Ok(list)
}

/// Keeps digests.
pub(in crate::records) fn keep_all(tx: &mut Tx<'_>, digests: &[Digested]) -> Result<(), Fault> {
    digests.iter().try_for_each(|one| keep(tx, one))
}

fn form(pixels: &Pixels) -> (&'static str, Option<&Hash>) {
    match pixels {
        Pixels::Absent => ("absent", None),
        Pixels::Lossless(digest) => ("lossless", Some(digest)),
        Pixels::Lossy(digest) => ("lossy", Some(digest)),
        Pixels::Unknown => ("unknown", None),
    }
}

fn keep(tx: &Tx<'_>, Digested { instance, profile, content }: &Digested) -> Result<(), Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT OR REPLACE INTO digests (instance, profile, canon, core, form, pixels, patient) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let (form, pixels) = content.as_ref().map_or(("unknown", None), |content| form(&content.pixels));
    let of = |pick: fn(&Content) -> &Hash| content.as_ref().map(pick);
    let patient = content.as_ref().and_then(|content| content.patient.as_ref());
    insert.execute(params![instance.0, profile, of(|c| &c.canon), of(|c| &c.core), form, pixels, patient])?;
    Ok(())
}

/// The digests as a fact; the patient's number is not among them (LED-010).
fn told(Digested { instance, profile, content }: &Digested) -> Fact {
    let mut told = facts([("instance", instance.0.into()), ("profile", profile.as_str().into())]);
    if let Some(content) = content {
        told.insert("canon".into(), hex(&content.canon).into());
        let (form, pixels) = form(&content.pixels);
        told.insert("form".into(), form.into());
        told.extend(pixels.map(|digest| ("pixels".to_owned(), hex(digest).into())));
    }
    told.into()
}

/// A version as the judge and people need it.
pub(super) struct Version {
    pub(super) id: i64,
    pub(super) study: i64,
    pub(super) uid: String,
    pub(super) state: String,
    behind: Option<i64>,
}

/// The version of a number.
pub(super) fn version(tx: &Tx<'_>, id: i64) -> Result<Version, Fault> {
    let mut find = tx.conn.prepare_cached("SELECT id, study, sop_uid, state, behind FROM instances WHERE id = ?1")?;
    Ok(find.query_row([id], |row| {
        Ok(Version { id: row.get(0)?, study: row.get(1)?, uid: row.get(2)?, state: row.get(3)?, behind: row.get(4)? })
    })?)
}

/// The version that stands in front of a version: itself, if none does.
fn front(tx: &Tx<'_>, id: i64) -> Result<Version, Fault> {
    let mut found = version(tx, id)?;
    for _ in 0..DEEPEST {
        match found.behind {
            Some(front) => found = version(tx, front)?,
            None => break,
        }
    }
    Ok(found)
}

/// The version that an open conflict holds, and whether it was judged.
pub(super) fn open_conflict(tx: &Tx<'_>, ExceptionId(id): ExceptionId) -> Result<Option<(i64, bool)>, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT instance, verdict IS NOT NULL FROM exceptions WHERE id = ?1 AND kind = 'conflict' AND closed IS NULL",
    )?;
    Ok(find.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Records a verdict; `false` if there is nothing to judge any more.
pub(in crate::records) fn judged(tx: &mut Tx<'_>, judged: &Judged) -> Result<bool, Fault> {
    let Judged { exception, against, verdict, .. } = judged;
    let Some((instance, false)) = open_conflict(tx, *exception)? else { return Ok(false) };
    let (at, entry) = (micros(judged.now), Tx::entry_id()?);
    keep_all(tx, &judged.digests)?;
    let (words, words_fact) = tx.words(verdict.sentence())?;
    let mut update =
        tx.conn.prepare_cached("UPDATE exceptions SET verdict = ?2, against = ?3, words = ?4 WHERE id = ?1")?;
    update.execute(params![exception.0, verdict.word(), against.0, words])?;
    drop(update);
    let mut more = facts([
        ("exception", exception.0.into()),
        ("instance", instance.into()),
        ("against", against.0.into()),
        ("verdict", verdict.word().into()),
        ("words", words_fact),
        ("digests", judged.digests.iter().map(told).collect()),
    ]);
    if verdict.releases() {
        let held = version(tx, instance)?;
        if held.state != "held" {
            return super::rows::refuse(format!("instance {instance} is {}, not held", held.state));
        }
        let moment = Moment { entry, at, resend_after: judged.resend_after, what: "no conflict" };
        release(tx, moment, &held, against.0, *exception, &mut more)?;
    }
    tx.append(entry, Kind::Judged, at, more, Vec::new());
    Ok(true)
}

/// Lets a version go that says what another one says. Where the other's bytes are here, that one is owed in its stead, as if it
/// had arrived again; else this one stands in for it.
fn release(
    tx: &mut Tx<'_>,
    moment: Moment,
    held: &Version,
    against: i64,
    ExceptionId(exception): ExceptionId,
    more: &mut Facts,
) -> Result<(), Fault> {
    let before = front(tx, against)?;
    let kept = before.state == "stored";
    let (behind, in_front) = if kept { (held.id, before.id) } else { (before.id, held.id) };
    if kept {
        becomes_ours(tx, before.id, held.id)?;
    }
    tx.conn
        .prepare_cached("UPDATE instances SET state = 'stored', unrouted = unrouted AND NOT ?2 WHERE id = ?1")?
        .execute(params![held.id, kept])?;
    tx.conn.prepare_cached("UPDATE instances SET behind = ?2 WHERE id = ?1")?.execute([behind, in_front])?;
    let mut close = tx.conn.prepare_cached("UPDATE exceptions SET closed = ?2 WHERE id = ?1")?;
    close.execute(params![exception, moment.at])?;
    drop(close);
    let mut owed = Owed::default();
    owed.closed.push(exception);
    let mut steps: BTreeMap<State, Vec<TransferId>> = BTreeMap::new();
    for due in held_transfers(tx, held)? {
        let (to, what) = match kept {
            true => (State::Cancelled, instead(tx, moment, &before, &due, &mut owed)?),
            false => (beside(tx, moment, &before, &due)?, moment.what),
        };
        let outcome = if to == State::Cancelled { "covered" } else { "released" };
        step(tx, Moment { what, ..moment }, due.transfer, to, outcome)?;
        steps.entry(to).or_default().push(due.id);
    }
    if kept && !owed.made.is_empty() {
        tx.conn.prepare_cached("UPDATE instances SET unrouted = 0 WHERE id = ?1")?.execute([before.id])?;
    }
    owed.tell(more);
    let changed = facts([("id", held.id.into()), ("state", "stored".into())]);
    more.insert("versions".into(), [Fact::from(changed)].into_iter().collect());
    more.insert("behind".into(), facts([("id", behind.into()), ("of", in_front.into())]).into());
    let moved = steps.iter().map(|(to, ids)| change::step(*to, ids, facts([])));
    let all: Vec<Fact> = match more.remove("steps") {
        Some(Fact::List(list)) => list.into_iter().chain(moved).collect(),
        _ => moved.collect(),
    };
    if !all.is_empty() {
        more.insert("steps".into(), Fact::List(all));
    }
    Ok(())
}

/// What was a copy of another's until now, and was sent to us in other bytes, is ours to keep, as it is with the same bytes ("No
/// destination").
fn becomes_ours(tx: &Tx<'_>, before: i64, held: i64) -> Result<(), Fault> {
    let mut update = tx.conn.prepare_cached(
        "UPDATE instances SET (borrowed, unrouted) = (SELECT borrowed, unrouted FROM instances WHERE id = ?2) \
         WHERE id = ?1 AND borrowed > 0 AND borrowed <> (SELECT borrowed FROM instances WHERE id = ?2) \
         AND (SELECT borrowed FROM instances WHERE id = ?2) <> 1",
    )?;
    update.execute([before, held])?;
    Ok(())
}

/// A transfer that was held, with what it was owed for.
struct Due {
    id: TransferId,
    transfer: Transfer,
    cause: Cause,
    route: Option<String>,
    mandatory: bool,
    verify: Verify,
    priority: Priority,
}

fn held_transfers(tx: &Tx<'_>, held: &Version) -> Result<Vec<Due>, Fault> {
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {TRANSFER}, cause, route, mandatory, priority FROM transfers \
         WHERE study = ?1 AND destination IN (SELECT id FROM destinations) AND instance = ?2 AND state = 'held' ORDER BY id"
    ))?;
    let mut rows = find.query([held.study, held.id])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        let transfer = Transfer::read(row)??;
        list.push(Due {
            id: transfer.id,
            verify: transfer.verify,
            transfer,
            cause: cause(&row.get::<_, String>(BEHIND)?)?,
            route: row.get(BEHIND + 1)?,
            mandatory: row.get(BEHIND + 2)?,
            priority: priority(row.get(BEHIND + 3)?)?,
        });
    }
    Ok(list)
}

/// Owes the version before in its stead, and says what the history is to tell of it. No route sends to where that one came from;
/// a person who asks for it by hand gets it there, as with the same bytes.
fn instead(
    tx: &mut Tx<'_>,
    moment: Moment,
    before: &Version,
    due: &Due,
    owed: &mut Owed,
) -> Result<&'static str, Fault> {
    let destination = tx.destination_name(due.transfer.destination)?;
    let mut from = tx.conn.prepare_cached(
        "SELECT 1 FROM arrivals WHERE instance = ?1 AND origin_name = ?2 AND origin_kind <> 'operator'",
    )?;
    let by_hand = matches!(due.cause, Cause::Operator(_));
    if !by_hand && from.exists(params![before.id, destination.0])? {
        drop(from);
        owed.withheld.push((destination, "it came from there"));
        return Ok("no conflict, and the same content came from there");
    }
    drop(from);
    let subject = Subject { instance: before.id, study: before.study, state: &before.state };
    let Due { cause, route, mandatory, verify, priority, .. } = due;
    let wanted = Wanted {
        destination: &destination,
        cause: cause.clone(),
        route: route.as_deref(),
        mandatory: *mandatory,
        verify: *verify,
        priority: *priority,
    };
    Ok(match owe::want(tx, moment, subject, &wanted, owed)? {
        Became::Owed => "no conflict, the bytes that were here before are owed in its stead",
        Became::UnderWay => "no conflict, the bytes that were here before are on their way there already",
        Became::There => "no conflict, the bytes that were here before are there already",
        Became::Held => "no conflict, the bytes that were here before wait for a person",
        Became::Not(Unowed::Hidden) => "no conflict, but a rejection note names what was here before: nothing is owed",
        Became::Not(Unowed::Rejected) => "no conflict, but a person rejected what was here before: nothing is owed",
        Became::Not(Unowed::Cancelled) => "no conflict, but what was here before was cancelled: nothing is owed",
    })
}

/// Where the transfer goes when the bytes of the version before are not here.
fn beside(tx: &Tx<'_>, moment: Moment, before: &Version, due: &Due) -> Result<State, Fault> {
    let subject = Subject { instance: before.id, study: before.study, state: &before.state };
    let long_ago = moment.at.saturating_sub(span(moment.resend_after));
    let earlier = owe::transfers(tx, subject, due.transfer.destination)?;
    let earlier: Vec<Earlier> = earlier
        .iter()
        .map(|(transfer, _)| Earlier {
            state: transfer.state,
            done: transfer.state.is_done(transfer.verify),
            long_ago: transfer.done.is_some_and(|done| done < long_ago),
        })
        .collect();
    Ok(match judgement::released(&earlier) {
        Released::Send if doubted::concerns_new(tx.conn, moment.at)? => State::Unknown,
        Released::Send => State::Pending,
        Released::Ask => State::Unknown,
        Released::Covered => State::Cancelled,
    })
}

/// One step of a transfer that nobody holds any more.
fn step(tx: &mut Tx<'_>, moment: Moment, mut transfer: Transfer, to: State, outcome: &str) -> Result<(), Fault> {
    transfer.go(to, moment.at)?;
    transfer.refresh();
    let entry: EntryId = moment.entry;
    (transfer.resume, transfer.outcome, transfer.entry) = (None, Some(outcome.to_owned()), entry);
    transfer.save_step(tx.conn, &Noted { at: moment.at, what: moment.what, attempt: None, act: None, words: None })?;
    let destination = tx.destination_name(transfer.destination)?;
    tx.kick(destination);
    Ok(())
}
