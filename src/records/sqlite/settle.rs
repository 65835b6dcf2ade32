//! Settling: what each outcome of an attempt makes of its transfer, and of the destination (REL-09, REL-20, REL-21).

use super::asking;
use super::blobs;
use super::rejections;
use super::resolve;
use super::rows::{Fault, micros, refuse, span, time};
use super::tx::{Noted, Transfer, Tx, lane};
use super::unsupported::{self, PAGE};
use super::warnings;
use crate::ledger::breaker::{self, Breaker, Reach, Showing};
use crate::ledger::change::{self, Opened};
use crate::ledger::entry::{EntryId, Fact, Facts, Kind, facts};
use crate::ledger::outcome::{Charge, Outcome, Refused, Whose};
use crate::ledger::step::{self, Standing};
use crate::ledger::transfer::{State, TransferId};
use crate::records::{AttemptId, AttemptSummary, Settled};
use rusqlite::{OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// An attempt as its row holds it.
struct Attempt {
    id: i64,
    is_send: bool,
    destination: i64,
    study: i64,
    remaining: i64,
    entry: EntryId,
    /// Whether the destination was taking things before.
    answering: bool,
    /// How many batches it has taken something of, before this one and with it.
    taken: (i64, i64),
    /// The transfer that alone was refused last in words that may be meant of the destination as a whole.
    refused_alone: Option<i64>,
    /// What alone is settled now.
    alone: Option<i64>,
}

impl Attempt {
    /// Whose a refusal of this transfer is, if it may be meant of the destination as a whole.
    fn whose(&self, transfer: &Transfer) -> Whose {
        let id = Some(transfer.id.0);
        let alone_again = self.alone == id && self.refused_alone == id;
        let (taken, with_this) = self.taken;
        Refused { before: transfer.refused_at, taken, took: with_this > taken, alone_again }.whose()
    }

    /// How many batches it has taken something of when it last refused a transfer so, after this outcome.
    fn refused_at(&self, before: Option<i64>, outcome: &Outcome, state: State) -> Option<i64> {
        match outcome.may_be_whole() {
            true => Some(self.taken.1),
            false => before.filter(|_| !outcome.took(state)),
        }
    }

    /// Whether an outcome may show something of the destination: what counts against the instance does not.
    fn is_shown_by(&self, transfer: &Transfer, outcome: &Outcome) -> bool {
        !outcome.may_be_whole() || self.whose(transfer) == Whose::Destination
    }
}

/// Outcomes of one kind, told together in the entry: the new state, the word, the charge, the words, and whether given up and changed on
/// the way.
type Alike = (State, &'static str, Option<&'static str>, i64, (bool, bool));

/// What is gathered for the entry.
#[derive(Default)]
struct Told {
    alike: BTreeMap<Alike, (Fact, Vec<TransferId>)>,
    late: BTreeMap<&'static str, Vec<TransferId>>,
    superseded: Vec<TransferId>,
    closed: Vec<Fact>,
    opened: Vec<Fact>,
    resumed: Vec<TransferId>,
}

/// What a batch showed of the SOP classes that its destination takes.
#[derive(Default)]
struct Classes {
    /// Those that it was known not to take when the batch was settled.
    noted: BTreeSet<String>,
    /// Those of which it took an instance.
    taken: BTreeSet<String>,
    /// Those that it said not to take.
    refused: BTreeSet<String>,
}

impl Classes {
    fn see(
        &mut self,
        tx: &Tx<'_>,
        attempt: &Attempt,
        (outcome, state): (&Outcome, State),
        instance: i64,
    ) -> Result<(), Fault> {
        match outcome {
            Outcome::Unsupported { said: true, .. } if state == State::Parked => {
                self.refused.insert(unsupported::class_of(tx.conn, instance)?);
            }
            Outcome::Accepted { .. } | Outcome::Verified { .. } | Outcome::Uncompared { .. }
                if attempt.is_send && !self.noted.is_empty() =>
            {
                self.taken.insert(unsupported::class_of(tx.conn, instance)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// What it took after all, and did not refuse as well, is let go; gives those that it had not refused before.
    fn end(&self, tx: &Tx<'_>, destination: i64) -> Result<Vec<String>, Fault> {
        for class in self.noted.intersection(&self.taken).filter(|class| !self.refused.contains(*class)) {
            unsupported::take_back(tx, destination, class)?;
        }
        Ok(self.refused.difference(&self.noted).cloned().collect())
    }
}

/// Settles outcomes of an attempt. Only transfers that the attempt still holds are touched (INV-07).
pub(in crate::records) fn settle(
    tx: &mut Tx<'_>,
    attempt: AttemptId,
    outcomes: &[(TransferId, Outcome)],
    summary: &AttemptSummary,
    now: SystemTime,
) -> Result<Settled, Fault> {
    let attempt = count_batch(tx, find(tx, attempt)?, outcomes)?;
    let at = micros(now);
    let entry = Tx::entry_id()?;
    let mut settled = Settled::default();
    let mut told = Told::default();
    let mut fresh = Vec::with_capacity(outcomes.len());
    let seed = Tx::seed()?;
    let mut classes = Classes { noted: unsupported::known(tx.conn, attempt.destination)?, ..Classes::default() };
    let warned = warned(summary);
    for (id, outcome) in outcomes {
        let transfer = Transfer::load(tx.conn, *id)?.filter(|transfer| transfer.attempt == Some(attempt.id));
        let Some(transfer) = transfer else {
            told.late.entry(outcome.word()).or_default().push(*id);
            settled.late.push(*id);
            continue;
        };
        if attempt.is_shown_by(&transfer, outcome) {
            fresh.push((transfer.state, outcome));
        }
        let instance = transfer.instance;
        for code in warned.get(id).into_iter().flatten() {
            warnings::note(tx, attempt.destination, *code, instance, at)?;
        }
        let state = one(tx, &attempt, transfer, outcome, (entry, at, seed), &mut told)?;
        classes.see(tx, &attempt, (outcome, state), instance)?;
        let stopped = match state {
            State::Pending | State::Deferred | State::Parked | State::Held | State::Dead => {
                resolve::superseded(tx, *id, (entry, at))?
            }
            _ => None,
        };
        let state = stopped.as_ref().map_or(state, |_| State::Cancelled);
        if let Some(closed) = stopped {
            told.superseded.push(*id);
            told.closed.extend(closed);
        }
        settled.applied.push((*id, state));
    }
    settled.ended = end(tx, &attempt, settled.applied.len(), summary, at)?;
    settled.showing = breaker::showing(fresh.iter().copied());
    let reach = destination(tx, &attempt, (settled.showing, &fresh), now, seed)?;
    if let Some(asking) = &summary.asking {
        asking::note(tx, attempt.destination, asking, now, seed)?;
    }
    if reach == Some(Reach::Up) {
        told.resumed = resume(tx, &attempt, entry, at)?;
    }
    settled.refused_classes = classes.end(tx, attempt.destination)?;
    told.resumed.extend(unsupported::let_go(tx, attempt.destination, entry, at)?);
    let facts = about(tx, &attempt, told.facts(), (reach, settled.ended), summary)?;
    tx.append(entry, Kind::Outcome, at, facts, vec![attempt.entry]);
    let ended: Vec<TransferId> = settled.applied.iter().map(|(id, _)| *id).collect();
    rejections::apply::stop(tx, &ended, at)?;
    tx.kick(tx.destination_name(attempt.destination)?);
    Ok(settled)
}

/// The facts of an entry with what it says of its attempt.
fn about(
    tx: &Tx<'_>,
    attempt: &Attempt,
    mut facts: Facts,
    (reach, ended): (Option<Reach>, bool),
    summary: &AttemptSummary,
) -> Result<Facts, Fault> {
    facts.insert("attempt".into(), attempt.id.into());
    facts.insert("destination".into(), tx.destination_name(attempt.destination)?.0.as_str().into());
    if let Some(reach) = reach {
        facts.insert("reach".into(), reach.word().into());
    }
    if ended && attempt.remaining > 0 {
        facts.insert("end".into(), 1.into());
    }
    if !summary.detail.is_empty() {
        facts.insert("words".into(), tx.words(&summary.detail)?.1);
    }
    Ok(facts)
}

/// The warnings of each transfer.
fn warned(summary: &AttemptSummary) -> BTreeMap<TransferId, Vec<u16>> {
    let mut warned: BTreeMap<TransferId, Vec<u16>> = BTreeMap::new();
    for (about, code) in &summary.warnings {
        warned.entry(*about).or_default().push(*code);
    }
    warned
}

fn find(tx: &Tx<'_>, AttemptId(id): AttemptId) -> Result<Attempt, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT a.kind, a.destination, a.remaining, a.entry, d.reach, a.study, d.taken, d.refused_alone FROM attempts a \
         JOIN destinations d ON d.id = a.destination WHERE a.id = ?1",
    )?;
    let found = find.query_row([id], |row| {
        let kind: String = row.get(0)?;
        let entry: [u8; 16] = row.get(3)?;
        let (destination, remaining) = (row.get(1)?, row.get(2)?);
        let answering = row.get::<_, String>(4)? == Reach::Up.word();
        let (study, taken) = (row.get(5)?, row.get(6)?);
        let (is_send, entry, taken, refused_alone) = (kind == "send", EntryId(entry), (taken, taken), row.get(7)?);
        let alone = None;
        Ok(Attempt { id, is_send, destination, study, remaining, entry, answering, taken, refused_alone, alone })
    });
    match found.optional()? {
        Some(attempt) => Ok(attempt),
        None => refuse(format!("there is no attempt {id}")),
    }
}

/// Counts the batch if the destination took something of it.
fn count_batch(tx: &Tx<'_>, attempt: Attempt, outcomes: &[(TransferId, Outcome)]) -> Result<Attempt, Fault> {
    let alone = match outcomes {
        [(id, _)] => Some(id.0),
        _ => None,
    };
    let mut took = false;
    for (id, outcome) in outcomes {
        let state = match attempt.is_send {
            true => Some(State::Leased),
            false => Transfer::load(tx.conn, *id)?.map(|transfer| transfer.state),
        };
        took |= state.is_some_and(|state| outcome.took(state));
    }
    if took {
        let mut update = tx.conn.prepare_cached("UPDATE destinations SET taken = taken + 1 WHERE id = ?1")?;
        update.execute([attempt.destination])?;
    }
    let (before, _) = attempt.taken;
    Ok(Attempt { taken: (before, before + i64::from(took)), alone, ..attempt })
}

/// One outcome for one transfer that the attempt holds.
fn one(
    tx: &mut Tx<'_>,
    attempt: &Attempt,
    mut transfer: Transfer,
    outcome: &Outcome,
    (entry, at, seed): (EntryId, i64, u64),
    told: &mut Told,
) -> Result<State, Fault> {
    let spent = Duration::from_micros(transfer.spent.unsigned_abs());
    // It was not sent for its class, which a person has lifted meanwhile: it goes at once.
    let unasked = matches!(outcome, Outcome::Unsupported { said: false, .. });
    let lifted = unasked && !unsupported::is_noted(tx.conn, transfer.destination, transfer.instance)?;
    let at_once =
        Outcome::Deferred { why: outcome.words().to_owned(), charge: Charge::Us, after: Some(Duration::ZERO) };
    let outcome = if lifted { &at_once } else { outcome };
    let Transfer { state, verify, failures, unanswered, .. } = transfer;
    let twin = matches!(outcome, Outcome::Absent { .. }) && has_twin(tx, &transfer)?;
    let (answering, whose) = (attempt.answering, attempt.whose(&transfer));
    let standing = Standing { state, verify, failures, unanswered, spent, answering, whose, twin };
    let mut step = step::after(&standing, outcome, &tx.fixed.options.patience, Tx::seed_for(seed, transfer.id));
    let again = matches!(step.to, State::Pending | State::Deferred | State::Parked);
    let corrupt = again && blobs::is_corrupt(tx.conn, transfer.instance)?;
    if corrupt {
        // Its bytes were found damaged while it was in hand: they are not sent again.
        step.to = State::Held;
        transfer.resume = Some(State::Pending.word().to_owned());
    }
    if matches!(outcome, Outcome::Held { .. }) {
        transfer.resume = Some(State::Pending.word().to_owned());
    }
    let (words, words_fact) = tx.words(outcome.words())?;
    if let (Outcome::Unsupported { said, .. }, State::Parked) = (outcome, step.to) {
        transfer.resume = Some(unsupported::CLASS.to_owned());
        if *said {
            unsupported::note(tx, transfer.destination, transfer.instance, words, at)?;
        }
    }
    transfer.go(step.to, at)?;
    (transfer.attempt, transfer.entry) = (None, entry);
    (transfer.failures, transfer.unanswered, transfer.spent) = (step.failures, step.unanswered, span(step.spent));
    transfer.outcome = Some(if corrupt { "corrupt" } else { outcome.word() }.to_owned());
    transfer.words = Some(words);
    if step.to != State::Pending {
        transfer.due = at.saturating_add(span(step.wait));
    }
    let isolate = tx.fixed.options.isolate_after;
    let lost_again = matches!(outcome, Outcome::Absent { .. }) && again && step.failures >= isolate;
    match (attempt.is_send, lost_again) {
        (true, _) => transfer.interruptions = 0,
        // It may be what the destination stumbles over: from now on it goes alone, and its neighbours without it (REL-24).
        (false, true) => transfer.interruptions = transfer.interruptions.max(isolate),
        (false, _) => {}
    }
    weigh(&mut transfer, outcome, words);
    transfer.refused_at = attempt.refused_at(transfer.refused_at, outcome, state);
    let noted = Noted { at, what: outcome.word(), attempt: Some(attempt.id), act: None, words: Some(words) };
    transfer.save_step(tx.conn, &noted)?;
    let opens = match (step.to, outcome) {
        (State::Dead, _) => Some("dead"),
        (State::Held, Outcome::Held { .. }) => Some("held"),
        _ => None,
    };
    if let Some(kind) = opens {
        told.opened.push(open_exception(tx, &transfer, kind, Some(words), at)?);
    }
    let charge = outcome.charge(whose).map(Charge::word);
    let alike = (step.to, outcome.word(), charge, words, (step.given_up, outcome.is_of_changed()));
    told.alike.entry(alike).or_insert_with(|| (words_fact, Vec::new())).1.push(transfer.id);
    Ok(step.to)
}

/// Keeps what counts as evidence, and whether what the destination says to have already is still to be compared (WEB-055).
fn weigh(transfer: &mut Transfer, outcome: &Outcome, words: i64) {
    if matches!(outcome, Outcome::Accepted { .. } | Outcome::Verified { .. } | Outcome::Uncompared { .. }) {
        transfer.evidence = Some(words);
    }
    match outcome {
        Outcome::Claimed { .. } | Outcome::Uncompared { .. } => transfer.claimed = true,
        Outcome::Accepted { .. } | Outcome::Verified { .. } | Outcome::Absent { .. } => transfer.claimed = false,
        _ => {}
    }
}

/// Whether the same instance is to be sent to the same destination for another cause.
fn has_twin(tx: &Tx<'_>, transfer: &Transfer) -> Result<bool, Fault> {
    let mut find = tx.conn.prepare_cached(
        "SELECT 1 FROM transfers WHERE study = (SELECT study FROM instances WHERE id = ?1) AND destination = ?2 \
         AND instance = ?1 AND id <> ?3 AND state IN ('pending', 'leased', 'deferred', 'parked')",
    )?;
    Ok(find.exists(params![transfer.instance, transfer.destination, transfer.id.0])?)
}

/// Opens an exception about a transfer, and gives the fact for the entry.
pub(in crate::records) fn open_exception(
    tx: &Tx<'_>,
    transfer: &Transfer,
    kind: &str,
    words: Option<i64>,
    at: i64,
) -> Result<Fact, Fault> {
    let mut insert = tx.conn.prepare_cached(
        "INSERT INTO exceptions (kind, instance, transfer, opened, words) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let id = insert.insert(params![kind, transfer.instance, transfer.id.0, at, words])?;
    Ok(change::opened(&Opened {
        exception: id,
        kind: kind.to_owned(),
        instance: transfer.instance,
        transfer: Some(transfer.id),
    }))
}

/// Counts the attempt down; whether nothing of it is in hand any more.
fn end(tx: &Tx<'_>, attempt: &Attempt, applied: usize, summary: &AttemptSummary, at: i64) -> Result<bool, Fault> {
    let remaining = attempt.remaining - applied as i64;
    let words = if summary.detail.is_empty() { None } else { Some(tx.words(&summary.detail)?.0) };
    let mut update = tx.conn.prepare_cached(
        "UPDATE attempts SET remaining = ?2, words = coalesce(?3, words), \
         ended = CASE WHEN ?2 <= 0 THEN coalesce(ended, ?4) ELSE ended END WHERE id = ?1",
    )?;
    update.execute(params![attempt.id, remaining, words, at])?;
    Ok(remaining <= 0)
}

/// Notes what the outcomes show of the destination; its new standing if that changed.
fn destination(
    tx: &Tx<'_>,
    attempt: &Attempt,
    (showing, outcomes): (Option<Showing>, &[(State, &Outcome)]),
    now: SystemTime,
    seed: u64,
) -> Result<Option<Reach>, Fault> {
    let Some(showing) = showing else { return Ok(None) };
    let (before, doubted) = breaker(tx, attempt.destination)?;
    let doubtful = showing == Showing::Doubtful;
    // A study may hold what the destination stumbles over, each time anew: that is no outage, and keeps no other study waiting (REL-24).
    if doubtful && before.reach == Reach::Up && doubted == Some(attempt.study) {
        return Ok(None);
    }
    let after = before.after(showing, now, &tx.fixed.options.probing, seed);
    if after == before {
        return Ok(None);
    }
    let telling = |(_, outcome): &&(State, &Outcome)| {
        outcome.may_be_whole()
            || matches!(outcome, Outcome::Parked { .. } | Outcome::Deferred { charge: Charge::Destination, .. })
    };
    let alone = attempt.alone.filter(|_| outcomes.iter().any(|(_, outcome)| outcome.may_be_whole()));
    let words = match after.reach {
        Reach::Up => None,
        _ => match outcomes.iter().find(telling).or_else(|| outcomes.first()) {
            Some((_, outcome)) => Some(tx.words(outcome.words())?.0),
            None => None,
        },
    };
    let mut update = tx.conn.prepare_cached(
        "UPDATE destinations SET reach = ?2, since = ?3, failures = ?4, not_before = ?5, words = ?6, doubted = ?7, \
         refused_alone = coalesce(?8, refused_alone) WHERE id = ?1",
    )?;
    update.execute(params![
        attempt.destination,
        after.reach.word(),
        after.since.map(micros),
        after.failures,
        after.not_before.map(micros),
        words,
        doubtful.then_some(attempt.study),
        alone,
    ])?;
    Ok((after.reach != before.reach).then_some(after.reach))
}

/// The breaker of a destination, from its row, and the study of the last doubt about it.
fn breaker(tx: &Tx<'_>, destination: i64) -> Result<(Breaker, Option<i64>), Fault> {
    let mut find =
        tx.conn.prepare_cached("SELECT reach, since, failures, not_before, doubted FROM destinations WHERE id = ?1")?;
    let breaker = find.query_row([destination], |row| {
        let (reach, since, not_before): (String, Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let breaker = Breaker {
            reach: Reach::parse(&reach).unwrap_or(Reach::Up),
            since: since.map(time),
            failures: row.get(2)?,
            not_before: not_before.map(time),
        };
        Ok((breaker, row.get(4)?))
    })?;
    Ok(breaker)
}

/// A destination that was parked can be used again: what was parked for it goes on ("Time that is not ours"), a page at once, the rest when due.
fn resume(tx: &Tx<'_>, attempt: &Attempt, entry: EntryId, at: i64) -> Result<Vec<TransferId>, Fault> {
    let columns = super::tx::TRANSFER;
    let mut find = tx.conn.prepare_cached(&format!(
        "SELECT {columns} FROM transfers WHERE destination = ?1 AND lane = ?2 AND state = 'parked' LIMIT {PAGE}"
    ))?;
    let parked = find.query_map(params![attempt.destination, lane::TIMED], Transfer::read)?;
    let parked = parked.collect::<Result<Vec<_>, _>>()?;
    let mut resumed = Vec::with_capacity(parked.len());
    for transfer in parked {
        let mut transfer = transfer?;
        transfer.go(State::Pending, at)?;
        transfer.entry = entry;
        transfer.save_step(tx.conn, &Noted { at, what: "resumed", attempt: None, act: None, words: None })?;
        resumed.push(transfer.id);
    }
    Ok(resumed)
}

impl Told {
    fn facts(&self) -> Facts {
        let mut steps = Vec::new();
        for ((to, outcome, charge, _, (given_up, changed)), (words, transfers)) in &self.alike {
            let mut more = facts([("outcome", (*outcome).into()), ("words", words.clone())]);
            more.extend(charge.map(|charge| ("charge".into(), charge.into())));
            more.extend(given_up.then(|| ("given_up".into(), 1.into())));
            more.extend(changed.then(|| ("changed".into(), 1.into())));
            steps.push(change::step(*to, transfers, more));
        }
        if !self.superseded.is_empty() {
            let how = facts([("outcome", resolve::SUPERSEDED.into())]);
            steps.push(change::step(State::Cancelled, &self.superseded, how));
        }
        if !self.resumed.is_empty() {
            steps.push(change::step(State::Pending, &self.resumed, facts([("outcome", "resumed".into())])));
        }
        let late = |(outcome, transfers): (&&str, &Vec<TransferId>)| {
            Fact::Map(facts([("outcome", (*outcome).into()), ("transfers", change::ids(transfers))]))
        };
        let late: Vec<Fact> = self.late.iter().map(late).collect();
        let mut told = Facts::new();
        for (name, list) in
            [("steps", steps), ("late", late), ("opened", self.opened.clone()), ("closed", self.closed.clone())]
        {
            if !list.is_empty() {
                told.insert(name.to_owned(), Fact::List(list));
            }
        }
        told
    }
}
