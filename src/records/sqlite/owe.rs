//! What an arrival makes us owe: new transfers, and old ones that come due again; the loop rules ("Origins and loops", "The same instance again").

use super::doubted;
use super::record::{Case, Version};
use super::rejections;
use super::rows::{Fault, cause_text, span, verify_word};
use super::tx::{BEHIND, Noted, Transfer, Tx, lane_of};
use crate::ledger::change::{self, Made};
use crate::ledger::entry::{EntryId, Fact, Facts, facts};
use crate::ledger::transfer::{Cause, State, TransferId};
use crate::peers::{Destination, Origin, Priority, Verify};
use crate::records::{Became, Unowed};
use rusqlite::params;
use std::collections::BTreeSet;
use std::time::Duration;

/// What came of owing.
#[derive(Default)]
pub(in crate::records) struct Owed {
    /// New transfers, as facts.
    pub(in crate::records) made: Vec<Fact>,
    /// Old transfers that came due again, by their new state.
    pub(in crate::records) moved: Vec<(State, TransferId)>,
    /// Exceptions that this closed.
    pub(in crate::records) closed: Vec<i64>,
    /// Requests that an open transfer covers already.
    pub(in crate::records) covered: Vec<TransferId>,
    /// Open transfers that became more urgent.
    pub(in crate::records) hastened: Vec<(Priority, TransferId)>,
    /// Destinations that were chosen and left out, and why.
    pub(in crate::records) withheld: Vec<(Destination, &'static str)>,
    /// What became of what an operator asked for.
    pub(in crate::records) requested: Option<Became>,
}

impl Owed {
    /// How many transfers came due.
    pub(in crate::records) fn count(&self) -> usize {
        self.made.len() + self.moved.len()
    }

    /// Whether nothing changed.
    pub(in crate::records) fn is_empty(&self) -> bool {
        self.count() == 0 && self.hastened.is_empty() && self.closed.is_empty()
    }

    /// Puts it into the facts of the arrival's entry.
    pub(in crate::records) fn tell(self, facts: &mut Facts) {
        let mut put = |name: &str, list: Vec<Fact>| {
            if !list.is_empty() {
                facts.insert(name.to_owned(), Fact::List(list));
            }
        };
        put("made", self.made);
        put("steps", self.moved.iter().map(|(to, id)| change::step(*to, &[*id], Facts::new())).collect());
        put("closed", self.closed.into_iter().map(Fact::from).collect());
        put("covered", self.covered.into_iter().map(|id| id.0.into()).collect());
        put("priorities", self.hastened.iter().map(|(to, id)| change::priority(*to, &[*id])).collect());
        let withheld =
            |(to, why): (Destination, &str)| Fact::Map(self::facts([("to", to.0.into()), ("why", why.into())]));
        put("withheld", self.withheld.into_iter().map(withheld).collect());
    }
}

/// A transfer that is to be owed.
pub(in crate::records) struct Wanted<'a> {
    pub(in crate::records) destination: &'a Destination,
    pub(in crate::records) cause: Cause,
    pub(in crate::records) route: Option<&'a str>,
    pub(in crate::records) mandatory: bool,
    pub(in crate::records) verify: Verify,
    pub(in crate::records) priority: Priority,
}

/// Of which version a transfer is to be owed.
#[derive(Clone, Copy)]
pub(in crate::records) struct Subject<'a> {
    pub(in crate::records) instance: i64,
    pub(in crate::records) study: i64,
    /// The state of the version.
    pub(in crate::records) state: &'a str,
}

/// When, by which entry, and after how long what was done is asked about again.
#[derive(Clone, Copy)]
pub(in crate::records) struct Moment {
    pub(in crate::records) entry: EntryId,
    pub(in crate::records) at: i64,
    pub(in crate::records) resend_after: Duration,
    /// What an old transfer's history says of it.
    pub(in crate::records) what: &'static str,
}

/// Owes what the routes chose and what an operator asked for. `fresh` says that the version is new.
pub(in crate::records) fn owe(tx: &mut Tx<'_>, case: &Case<'_>, version: &Version, fresh: bool) -> Result<Owed, Fault> {
    let mut owed = Owed::default();
    let arrival = case.arrival;
    let came_from = if arrival.chosen.is_empty() { BTreeSet::new() } else { came_from(tx, case, version, fresh)? };
    let subject = Subject { instance: version.id, study: version.study, state: &version.state };
    let moment = Moment { entry: case.entry, at: case.at, resend_after: arrival.resend_after, what: "arrived again" };
    let handed_back = !arrival.chosen.is_empty() && was_delivered_to_origin(tx, case)?;
    for chosen in &arrival.chosen {
        let destination = &chosen.destination;
        if came_from.contains(destination.0.as_str()) {
            owed.withheld.push((destination.clone(), "it came from there"));
        } else if handed_back {
            owed.withheld.push((destination.clone(), "it was handed back by a node that we delivered it to"));
        } else {
            let wanted = Wanted {
                destination,
                cause: Cause::Route,
                route: Some(chosen.route.as_str()),
                mandatory: chosen.mandatory,
                verify: chosen.verify,
                priority: chosen.priority,
            };
            want(tx, moment, subject, &wanted, &mut owed)?;
        }
    }
    if let Some(requested) = &arrival.requested {
        let cause = Cause::Operator(requested.request.clone());
        let (destination, verify, priority) = (&requested.destination, requested.verify, requested.priority);
        let wanted = Wanted { destination, cause, route: None, mandatory: false, verify, priority };
        owed.requested = Some(want(tx, moment, subject, &wanted, &mut owed)?);
    }
    Ok(owed)
}

/// The names of all that this version came from. Nothing is sent to where it came from.
fn came_from(tx: &Tx<'_>, case: &Case<'_>, version: &Version, fresh: bool) -> Result<BTreeSet<String>, Fault> {
    let mut names = BTreeSet::new();
    if !fresh {
        let mut find = tx.conn.prepare_cached(
            "SELECT DISTINCT origin_name FROM arrivals WHERE instance = ?1 AND origin_kind <> 'operator'",
        )?;
        names = find.query_map([version.id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    }
    if !matches!(case.arrival.origin, Origin::Operator(_)) {
        names.insert(case.arrival.origin.name().to_owned());
    }
    Ok(names)
}

/// Whether a node hands back a UID that we delivered to it.
fn was_delivered_to_origin(tx: &Tx<'_>, case: &Case<'_>) -> Result<bool, Fault> {
    let Origin::Node(title) = &case.arrival.origin else { return Ok(false) };
    if case.versions.is_empty() {
        return Ok(false);
    }
    let Some(node) = tx.known_destination(&Destination(title.as_str().to_owned()))? else { return Ok(false) };
    let mut find = tx.conn.prepare_cached(
        "SELECT 1 FROM transfers WHERE study = ?1 AND destination = ?2 AND instance = ?3 \
         AND state IN ('accepted', 'verified')",
    )?;
    for version in case.versions {
        if find.exists(params![version.study, node, version.id])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Owes one transfer, or finds the one that is owed already; says which.
pub(in crate::records) fn want(
    tx: &mut Tx<'_>,
    moment: Moment,
    subject: Subject<'_>,
    wanted: &Wanted<'_>,
    owed: &mut Owed,
) -> Result<Became, Fault> {
    if rejections::apply::is_hidden(tx, subject.instance)? {
        owed.withheld.push((wanted.destination.clone(), Unowed::Hidden.words()));
        return Ok(Became::Not(Unowed::Hidden));
    }
    let destination = tx.destination(wanted.destination)?;
    let cause = cause_text(&wanted.cause);
    let mut of_the_cause = None;
    let mut others = Vec::new();
    for (transfer, text) in transfers(tx, subject, destination)? {
        if text == cause {
            of_the_cause = Some(transfer);
        } else {
            others.push(transfer);
        }
    }
    if let Some(transfer) = of_the_cause {
        return again(tx, moment, subject, transfer, wanted, owed);
    }
    let under_way = |t: &&Transfer| !matches!(t.state, State::Held | State::Dead) && !t.state.is_done(t.verify);
    let is_route = matches!(wanted.cause, Cause::Route);
    if !is_route && let Some(covering) = others.iter().find(under_way) {
        owed.covered.push(covering.id);
        let became = standing(covering);
        hasten(tx, covering.id, wanted, owed)?;
        return Ok(became);
    }
    // What is there already, may be, or is on its way for another cause, is asked for before it is sent once more; and for a time
    // all of it, if these records may not know what was sent.
    let seen = others.iter().any(may_be_there) || doubted::concerns_new(tx.conn, moment.at)?;
    let state = match subject.state {
        "held" => State::Held,
        _ if seen => State::Unknown,
        _ => State::Pending,
    };
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO transfers (instance, destination, study, cause, route, mandatory, verify, state, lane, due, created, \
         entry, priority) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12)",
    )?;
    let policy = verify_word(wanted.verify);
    let id = insert.insert(params![
        subject.instance,
        destination,
        subject.study,
        cause,
        wanted.route,
        wanted.mandatory,
        policy,
        state.word(),
        lane_of(state, wanted.verify, false),
        moment.at,
        moment.entry.0,
        wanted.priority.rank(),
    ])?;
    drop(insert);
    let mut more = facts([("mandatory", i64::from(wanted.mandatory).into()), ("verify", policy.into())]);
    if let Some(route) = wanted.route {
        more.insert("route".into(), route.into());
    }
    let destination = wanted.destination.0.clone();
    let (transfer, priority) = (TransferId(id), wanted.priority);
    let made = Made { transfer, instance: subject.instance, destination, cause, state, priority };
    owed.made.push(change::made(&made, more));
    tx.kick(wanted.destination.clone());
    Ok(if state == State::Held { Became::Held } else { Became::Owed })
}

/// Whether the destination may have an instance by a transfer. One that was cancelled, or is held, may have been sent before, without an answer.
fn may_be_there(transfer: &Transfer) -> bool {
    match transfer.state {
        State::Dead => false,
        State::Held | State::Cancelled => transfer.attempts > 0,
        _ => true,
    }
}

/// What is to be said of a transfer that stands as it stood.
fn standing(transfer: &Transfer) -> Became {
    match transfer.state {
        State::Held | State::Dead => Became::Held,
        State::Cancelled => Became::Not(Unowed::Cancelled),
        state if state.is_done(transfer.verify) => Became::There,
        _ => Became::UnderWay,
    }
}

/// Makes an open transfer as urgent as what it covers.
fn hasten(tx: &mut Tx<'_>, transfer: TransferId, wanted: &Wanted<'_>, owed: &mut Owed) -> Result<(), Fault> {
    let mut update = tx.conn.prepare_cached("UPDATE transfers SET priority = ?2 WHERE id = ?1 AND priority > ?2")?;
    if update.execute(params![transfer.0, wanted.priority.rank()])? > 0 {
        owed.hastened.push((wanted.priority, transfer));
        tx.kick(wanted.destination.clone());
    }
    Ok(())
}

/// The transfers of a version to a destination, with their causes.
pub(in crate::records) fn transfers(
    tx: &Tx<'_>,
    subject: Subject<'_>,
    destination: i64,
) -> Result<Vec<(Transfer, String)>, Fault> {
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns}, cause FROM transfers WHERE study = ?1 AND destination = ?2 AND instance = ?3"
    ))?;
    let mut rows = find.query(params![subject.study, destination, subject.instance])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((Transfer::read(row)??, row.get(BEHIND)?));
    }
    Ok(found)
}

/// The same is owed already: what was given up is tried again, what was done long ago is asked about, and what is under way becomes as
/// urgent as is wanted. Says which.
pub(in crate::records) fn again(
    tx: &mut Tx<'_>,
    moment: Moment,
    subject: Subject<'_>,
    mut transfer: Transfer,
    wanted: &Wanted<'_>,
    owed: &mut Owed,
) -> Result<Became, Fault> {
    let stood = standing(&transfer);
    let long_ago = moment.at.saturating_sub(span(moment.resend_after));
    let to = match transfer.state {
        State::Dead if subject.state != "held" => afresh(tx, &transfer)?,
        State::Accepted | State::Verified if transfer.done.is_some_and(|done| done < long_ago) => State::Unknown,
        state if state.is_done(transfer.verify) => return Ok(stood),
        _ => return hasten(tx, transfer.id, wanted, owed).map(|()| stood),
    };
    if transfer.state == State::Dead {
        owed.closed.extend(close_exceptions(tx, &transfer, None, moment.at)?);
    }
    transfer.go(to, moment.at)?;
    transfer.refresh();
    transfer.entry = moment.entry;
    let noted = Noted { at: moment.at, what: moment.what, attempt: None, act: None, words: None };
    transfer.save_step(tx.conn, &noted)?;
    owed.moved.push((to, transfer.id));
    hasten(tx, transfer.id, wanted, owed)?;
    tx.kick(wanted.destination.clone());
    Ok(Became::Owed)
}

/// How a transfer that rested goes on: if another cause may have sent the instance there meanwhile, or these records may not know
/// that it was sent, by a question (INV-08).
pub(in crate::records) fn afresh(tx: &Tx<'_>, transfer: &Transfer) -> Result<State, Fault> {
    let ask = sent_for_another(tx, transfer)? || doubted::concerns(tx.conn, transfer.id)?;
    Ok(if ask { State::Unknown } else { State::Pending })
}

/// Whether the destination may have its instance by another transfer.
pub(in crate::records) fn sent_for_another(tx: &Tx<'_>, transfer: &Transfer) -> Result<bool, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT 1 FROM transfers WHERE study = (SELECT study FROM transfers WHERE id = ?1) AND destination = ?2 \
         AND instance = ?3 AND id <> ?1 AND state <> 'dead' AND (state NOT IN ('held', 'cancelled') OR attempts > 0)",
    )?;
    Ok(find.exists(params![transfer.id.0, transfer.destination, transfer.instance])?)
}

/// Closes the exceptions of a transfer, by the act of a person if it was one.
pub(in crate::records) fn close_exceptions(
    tx: &Tx<'_>,
    transfer: &Transfer,
    act: Option<i64>,
    at: i64,
) -> Result<Vec<i64>, Fault> {
    let mut close = tx.conn.prepare_cached(
        "UPDATE exceptions SET closed = ?3, act = ?4 WHERE instance = ?1 AND transfer = ?2 AND closed IS NULL RETURNING id",
    )?;
    let ids = close.query_map(params![transfer.instance, transfer.id.0, at, act], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The bytes of a corrupt version have arrived anew, or read whole again: what was held for that goes on, whether a person has seen the
/// damage or not.
pub(in crate::records) fn release_corrupt(
    tx: &mut Tx<'_>,
    (entry, at): (EntryId, i64),
    version: Subject<'_>,
    owed: &mut Owed,
) -> Result<(), Fault> {
    let mut close = tx.conn.prepare_cached(
        "UPDATE exceptions SET closed = ?2 WHERE instance = ?1 AND kind = 'corrupt' AND closed IS NULL RETURNING id",
    )?;
    let closed = close.query_map(params![version.instance, at], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    drop(close);
    owed.closed.extend(closed);
    if version.state == "held" {
        return Ok(());
    }
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns} FROM transfers WHERE study = ?1 AND instance = ?2 AND state = 'held' AND outcome = 'corrupt'"
    ))?;
    let held = find.query_map([version.study, version.instance], Transfer::read)?.collect::<Result<Vec<_>, _>>()?;
    drop(find);
    for transfer in held {
        let mut transfer = transfer?;
        let unknown = transfer.resume.as_deref() == Some("unknown");
        let to = if unknown { State::Unknown } else { afresh(tx, &transfer)? };
        transfer.go(to, at)?;
        transfer.refresh();
        (transfer.resume, transfer.outcome, transfer.entry) = (None, Some("restored".into()), entry);
        transfer.save_step(tx.conn, &Noted { at, what: "restored", attempt: None, act: None, words: None })?;
        owed.moved.push((to, transfer.id));
        let destination = tx.destination_name(transfer.destination)?;
        tx.kick(destination);
    }
    Ok(())
}
