//! What an arrival makes us owe: new transfers, and old ones that come due again; the loop rules ("Behaviour" 1, 3, 5 and 6).

use super::record::{Case, Version};
use super::rows::{Fault, cause_text, span, verify_word};
use super::tx::{Noted, Transfer, Tx, lane_of};
use crate::ledger::change::{self, Made};
use crate::ledger::entry::{Fact, Facts, facts};
use crate::ledger::transfer::{Cause, State, TransferId};
use crate::peers::{Destination, Origin, Verify};
use rusqlite::params;
use std::collections::BTreeSet;

/// What came of owing.
#[derive(Default)]
pub(in crate::records) struct Owed {
    /// New transfers, as facts.
    pub(in crate::records) made: Vec<Fact>,
    /// Old transfers that came due again, by their new state.
    moved: Vec<(State, TransferId)>,
    /// Exceptions that this closed.
    closed: Vec<i64>,
    /// A request that an open transfer covers already.
    covered: Option<TransferId>,
    /// Destinations that were chosen and left out, and why.
    pub(in crate::records) withheld: Vec<(Destination, &'static str)>,
}

impl Owed {
    /// How many transfers came due.
    pub(in crate::records) fn count(&self) -> usize {
        self.made.len() + self.moved.len()
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
        let withheld =
            |(to, why): (Destination, &str)| Fact::Map(self::facts([("to", to.0.into()), ("why", why.into())]));
        put("withheld", self.withheld.into_iter().map(withheld).collect());
    }
}

/// A transfer that is to be owed.
struct Wanted<'a> {
    destination: &'a Destination,
    cause: Cause,
    route: Option<&'a str>,
    mandatory: bool,
    verify: Verify,
}

/// Owes what the routes chose and what an operator asked for. `fresh` says that the version is new.
pub(in crate::records) fn owe(tx: &mut Tx<'_>, case: &Case<'_>, version: &Version, fresh: bool) -> Result<Owed, Fault> {
    let mut owed = Owed::default();
    let arrival = case.arrival;
    let came_from = if arrival.chosen.is_empty() { BTreeSet::new() } else { came_from(tx, case, version, fresh)? };
    let handed_back = !arrival.chosen.is_empty() && was_delivered_to_origin(tx, case)?;
    for chosen in &arrival.chosen {
        let destination = &chosen.destination;
        if came_from.contains(destination.0.as_str()) {
            owed.withheld.push((destination.clone(), "it came from there"));
        } else if handed_back {
            owed.withheld.push((destination.clone(), "it was handed back by a node that we delivered it to"));
        } else {
            let (route, verify) = (Some(chosen.route.as_str()), chosen.verify);
            let wanted = Wanted { destination, cause: Cause::Route, route, mandatory: chosen.mandatory, verify };
            want(tx, case, version, &wanted, &mut owed)?;
        }
    }
    if let Some(requested) = &arrival.requested {
        let cause = Cause::Operator(requested.request.clone());
        let (destination, verify) = (&requested.destination, requested.verify);
        let wanted = Wanted { destination, cause, route: None, mandatory: false, verify };
        want(tx, case, version, &wanted, &mut owed)?;
    }
    Ok(owed)
}

/// The names of all that this version came from. Nothing is sent to where it came from.
fn came_from(tx: &Tx<'_>, case: &Case<'_>, version: &Version, fresh: bool) -> Result<BTreeSet<String>, Fault> {
    let mut names = BTreeSet::new();
    if !fresh {
        let mut find = tx.conn.prepare_cached(
            "SELECT DISTINCT origin_name FROM arrivals WHERE instance = ?1 AND origin_kind IN ('node', 'peer')",
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

/// Owes one transfer, or finds the one that is owed already.
fn want(
    tx: &mut Tx<'_>,
    case: &Case<'_>,
    version: &Version,
    wanted: &Wanted<'_>,
    owed: &mut Owed,
) -> Result<(), Fault> {
    let destination = tx.destination(wanted.destination)?;
    let cause = cause_text(&wanted.cause);
    let mut of_the_cause = None;
    let mut others = Vec::new();
    for (transfer, text) in transfers(tx, version, destination)? {
        if text == cause {
            of_the_cause = Some(transfer);
        } else {
            others.push(transfer);
        }
    }
    if let Some(transfer) = of_the_cause {
        return again(tx, case, version, transfer, wanted.destination, owed);
    }
    let under_way = |t: &&Transfer| !matches!(t.state, State::Held | State::Dead) && !t.state.is_done(t.verify);
    let is_route = matches!(wanted.cause, Cause::Route);
    if !is_route && let Some(covering) = others.iter().find(under_way) {
        owed.covered = Some(covering.id);
        return Ok(());
    }
    // What is there already, or on its way for another cause, is asked for before it is sent once more.
    let seen = others.iter().any(|t| !matches!(t.state, State::Held | State::Dead | State::Cancelled));
    let state = match version.state.as_str() {
        "held" => State::Held,
        _ if seen => State::Unknown,
        _ => State::Pending,
    };
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO transfers (instance, destination, study, cause, route, mandatory, verify, state, lane, due, created, \
         entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11)",
    )?;
    let policy = verify_word(wanted.verify);
    let id = insert.insert(params![
        version.id,
        destination,
        version.study,
        cause,
        wanted.route,
        wanted.mandatory,
        policy,
        state.word(),
        lane_of(state, wanted.verify, false),
        case.at,
        case.entry.0,
    ])?;
    drop(insert);
    let mut more = facts([("mandatory", i64::from(wanted.mandatory).into()), ("verify", policy.into())]);
    if let Some(route) = wanted.route {
        more.insert("route".into(), route.into());
    }
    let destination = wanted.destination.0.clone();
    let made = Made { transfer: TransferId(id), instance: version.id, destination, cause, state };
    owed.made.push(change::made(&made, more));
    tx.kick(wanted.destination.clone());
    Ok(())
}

/// The transfers of a version to a destination, with their causes.
fn transfers(tx: &Tx<'_>, version: &Version, destination: i64) -> Result<Vec<(Transfer, String)>, Fault> {
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns}, cause FROM transfers WHERE study = ?1 AND destination = ?2 AND instance = ?3"
    ))?;
    let mut rows = find.query(params![version.study, destination, version.id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((Transfer::read(row)??, row.get(18)?));
    }
    Ok(found)
}

/// The same is owed already: what was given up is tried again, what was done long ago is asked about.
fn again(
    tx: &mut Tx<'_>,
    case: &Case<'_>,
    version: &Version,
    mut transfer: Transfer,
    destination: &Destination,
    owed: &mut Owed,
) -> Result<(), Fault> {
    let long_ago = case.at.saturating_sub(span(case.arrival.resend_after));
    let to = match transfer.state {
        State::Dead if version.state != "held" => State::Pending,
        State::Accepted | State::Verified if transfer.done.is_some_and(|done| done < long_ago) => State::Unknown,
        _ => return Ok(()),
    };
    if transfer.state == State::Dead {
        owed.closed.extend(close_exceptions(tx, &transfer, None, case.at)?);
    }
    transfer.go(to, case.at)?;
    transfer.refresh();
    transfer.entry = case.entry;
    transfer
        .save_step(tx.conn, &Noted { at: case.at, what: "arrived again", attempt: None, act: None, words: None })?;
    owed.moved.push((to, transfer.id));
    tx.kick(destination.clone());
    Ok(())
}

/// Closes the exceptions of a transfer, or only those of one kind.
pub(in crate::records) fn close_exceptions(
    tx: &Tx<'_>,
    transfer: &Transfer,
    kind: Option<&str>,
    at: i64,
) -> Result<Vec<i64>, Fault> {
    let mut close = tx.conn.prepare_cached(
        "UPDATE exceptions SET closed = ?3 WHERE instance = ?1 AND transfer = ?2 AND closed IS NULL \
         AND (?4 IS NULL OR kind = ?4) RETURNING id",
    )?;
    let ids = close.query_map(params![transfer.instance, transfer.id.0, at, kind], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The bytes of a corrupt version have arrived anew: what was held for that goes on.
pub(in crate::records) fn release_corrupt(
    tx: &mut Tx<'_>,
    case: &Case<'_>,
    version: &Version,
    owed: &mut Owed,
) -> Result<(), Fault> {
    let mut close = tx.conn.prepare_cached(
        "UPDATE exceptions SET closed = ?2 WHERE instance = ?1 AND kind = 'corrupt' AND closed IS NULL RETURNING id",
    )?;
    let closed = close.query_map(params![version.id, case.at], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    drop(close);
    if closed.is_empty() || version.state == "held" {
        owed.closed.extend(closed);
        return Ok(());
    }
    owed.closed.extend(closed);
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns} FROM transfers WHERE study = ?1 AND instance = ?2 AND state = 'held' AND outcome = 'corrupt'"
    ))?;
    let held = find.query_map([version.study, version.id], Transfer::read)?.collect::<Result<Vec<_>, _>>()?;
    drop(find);
    for transfer in held {
        let mut transfer = transfer?;
        let to = if transfer.resume.as_deref() == Some("unknown") { State::Unknown } else { State::Pending };
        transfer.go(to, case.at)?;
        transfer.refresh();
        (transfer.resume, transfer.outcome, transfer.entry) = (None, Some("restored".into()), case.entry);
        transfer.save_step(tx.conn, &Noted { at: case.at, what: "restored", attempt: None, act: None, words: None })?;
        owed.moved.push((to, transfer.id));
        let destination = tx.destination_name(transfer.destination)?;
        tx.kick(destination);
    }
    Ok(())
}
