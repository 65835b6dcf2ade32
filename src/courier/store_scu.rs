//! Carries a batch to a node by C-STORE, over as many associations as its contexts need, one after the other (PS3.4 annex
//! B; DIM-003).

mod choosy;
mod fruitless;
mod shown;
mod stumbles;

use super::body::{self, Fault, Plan};
use super::carrier::Report;
use super::linger::{Linger, Stayed};
use super::offers::{Group, groups, stand_ins};
use super::reading::Reading;
use super::sender::{Answered, Foreigners, Sender, Unsent, native};
use super::turns::Turns;
use super::verdict::{self, Judged};
use crate::dimse::{self, Lost, Offer, Scu, ScuError, StoreFailure, Target};
use crate::ledger::outcome::{Charge, Outcome};
use crate::peers::Verify;
use crate::records::{Batch, Leased};
use crate::store::{Ahead, Store};
use choosy::{Choosy, Lacks};
use fruitless::Fruitless;
use std::collections::BTreeSet;
use std::time::Duration;
use stumbles::Stumbles;

/// Takes batches to one node.
pub struct StoreScu {
    target: Box<Target>,
    sender: Sender,
    linger: Linger,
    turns: Turns,
    verify: Verify,
    choosy: Choosy,
    fruitless: Fruitless,
    stumbles: Stumbles,
}

impl StoreScu {
    /// A carrier to this node. An association stays open for `linger` after a batch, for the next one of its study. `turns` are those of
    /// everything that gives nodes something. `verify` says whether presence must be seen as well.
    pub fn new(
        target: Target,
        store: Store,
        foreigners: Foreigners,
        linger: Duration,
        turns: Turns,
        verify: Verify,
    ) -> Self {
        let (target, sender) = (Box::new(target), Sender::new(store, foreigners));
        let (choosy, fruitless, stumbles) = Default::default();
        Self { target, sender, linger: Linger::new(linger), turns, verify, choosy, fruitless, stumbles }
    }

    /// Waits for its turn, which whoever has it gives up after a page of instances.
    pub(super) async fn carry(&self, batch: &Batch) -> Report {
        let (mut stayed, turn) = match self.linger.take(&batch.study).await {
            Some((stayed, turn)) => (Some(stayed), turn),
            None => (None, self.turns.take(&self.target.called, &batch.study).await),
        };
        let report = self.carry_groups(batch, &mut stayed).await;
        if let Some(stayed) = stayed {
            self.linger.leave(&batch.study, stayed, turn).await;
        }
        report
    }

    async fn carry_groups(&self, batch: &Batch, stayed: &mut Option<Stayed>) -> Report {
        let mut report = Report::default();
        for mut group in groups(&batch.items, self.sender.general_class()) {
            // What the node breaks off at each time must not keep the others from it (REL-24).
            group.items.sort_by_key(|item| self.stumbles.is_known(item.transfer));
            match report.unusable {
                true => {
                    let untouched = deferred(format!("not sent: {}", report.detail), Charge::Destination);
                    report.outcomes.extend(group.items.iter().map(|item| (item.transfer, untouched.clone())));
                }
                false => self.carry_group(&group, &mut report, stayed).await,
            }
        }
        let stored = report.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Accepted { .. })).count();
        let trouble = if report.detail.is_empty() { String::new() } else { format!("; {}", report.detail) };
        report.detail = format!("C-STORE: {stored} of {} stored{trouble}", batch.items.len());
        report
    }

    /// Sends what goes over one association, and over a new one what is left when the node has refused something before its end. One that
    /// stayed open from the last batch may have been closed meanwhile: if its first instance gets no answer, that is no fault of the
    /// node's, and all goes over a new one, but for what was sent whole: whether that arrived is unknown.
    async fn carry_group(&self, group: &Group<'_>, report: &mut Report, stayed: &mut Option<Stayed>) {
        let mut from = 0;
        if let Some(open) = stayed.take() {
            if !group.offers.iter().all(|offer| open.offers.contains(offer)) {
                open.release().await;
            } else {
                match self.send_all(open, (group, from), report, stayed, true).await {
                    Ended::Done => return,
                    Ended::Left(at) => from = at,
                }
            }
        }
        loop {
            let association = match dimse::connect(&self.target, &group.offers).await {
                Ok(association) => association,
                Err(error) => return unreachable(&error, group.items.iter().skip(from), report),
            };
            self.choosy.met(&accepted(&association));
            let open = Stayed { offers: group.offers.clone(), association };
            match self.send_all(open, (group, from), report, stayed, false).await {
                Ended::Done => return,
                Ended::Left(at) => from = at,
            }
        }
    }

    /// Sends a group from one of its instances on, after which the association stays; or tells from which on another is needed: as from the
    /// first that cannot have arrived if a `stale` association turns out to be closed, or if the node goes after it has taken something, as
    /// some do after each instance; and after one on which the association was lost through no fault of the node's.
    async fn send_all(
        &self,
        Stayed { offers, mut association }: Stayed,
        (group, from): (&Group<'_>, usize),
        report: &mut Report,
        stayed: &mut Option<Stayed>,
        stale: bool,
    ) -> Ended {
        let (mut broken, mut ahead, mut taken): (Option<Broken>, _, _) = (None, Ahead::default(), false);
        for (at, item) in group.items.iter().enumerate().skip(from) {
            if let Some(Broken { why, charge, .. }) = &broken {
                report.outcomes.push((item.transfer, deferred(format!("not sent: {why}"), *charge)));
                continue;
            }
            let read = std::mem::take(&mut ahead);
            ahead = group.items.get(at + 1).map(|next| self.sender.ahead(next)).unwrap_or_default();
            let Some((fault, lost)) = self.send_one((&mut association, &offers), item, read).await else {
                return Ended::Left(at);
            };
            let gone = |lost: &Broken| if taken { lost.gone } else { stale && lost.charge == Charge::Destination };
            if lost.as_ref().is_some_and(gone) {
                association.abort().await;
                // What had been sent whole may have arrived (FLT-042).
                let whole = matches!(fault.outcome, Outcome::Unknown { .. });
                if whole {
                    report.fault(item, fault);
                }
                return if whole { Ended::after(at, group) } else { Ended::Left(at) };
            }
            let (fault, lost) = self.weighed(item, fault, lost);
            taken |= matches!(fault.outcome, Outcome::Accepted { .. });
            let own = lost.as_ref().filter(|lost| lost.is_of(&fault)).map(|lost| lost.why.clone());
            report.fault(item, fault);
            if let Some(why) = own {
                association.abort().await;
                report.detail = why;
                return Ended::after(at, group);
            }
            broken = lost;
            if broken.is_none() && association.is_refused() {
                return Ended::after(at, group);
            }
        }
        match broken {
            None => *stayed = Some(Stayed { offers, association }),
            Some(Broken { why, charge, .. }) => {
                association.abort().await;
                report.detail = why;
                report.unusable = charge == Charge::Destination;
            }
        }
        Ended::Done
    }

    /// Takes note of what became of an instance. One that the node broke off within before, while it takes others, pays for that itself
    /// (REL-21).
    fn weighed(&self, item: &Leased, fault: Fault, lost: Option<Broken>) -> (Fault, Option<Broken>) {
        match &lost {
            Some(Broken { silent: true, .. }) => self.fruitless.again(item.transfer),
            // It went natively, to whatever end.
            Some(_) if self.fruitless.is_due(item.transfer) => self.fruitless.forget(item.transfer),
            Some(_) => {}
            None => self.fruitless.forget(item.transfer),
        }
        match lost {
            Some(lost) if lost.within && self.stumbles.again(item.transfer) => {
                let why = format!("the node breaks off within it each time, and takes others: {}", lost.why);
                let charge = Charge::Instance;
                (deferred(why.clone(), charge).into(), Some(Broken { why, charge, ..lost }))
            }
            lost => {
                if matches!(fault.outcome, Outcome::Accepted { .. }) {
                    self.stumbles.taken(item.transfer);
                }
                (fault, lost)
            }
        }
    }

    /// What became of one instance, and why the association can be used no longer. What the node could not make sense of is
    /// sent once more natively if it had gone compressed: some accept syntaxes that they cannot read (DIM-054). So is what came to nothing
    /// twice (DIM-057). None if that needs another association.
    async fn send_one(
        &self,
        (association, offers): (&mut Scu, &[Offer]),
        item: &Leased,
        ahead: Ahead,
    ) -> Option<(Fault, Option<Broken>)> {
        let compressed = !native(&item.transfer_syntax);
        let due = compressed && self.fruitless.is_due(item.transfer);
        let mut reading = Reading::from(ahead);
        let mut planned = self.sender.plan(association, (item, &mut reading), &item.released, due).await;
        if due && planned.is_err() {
            planned = self.sender.plan(association, (item, &mut reading), &item.released, false).await;
        }
        let (context, plan, length) = match planned {
            Ok(planned) => planned,
            Err(fault) => return Some(self.unfit((association, offers), item, fault)),
        };
        let as_stored = compressed && !plan.transcode;
        let sent = self.send_as(association, (item, reading), context, plan, length).await;
        let refusal = match sent {
            Sent::Answered(Judged::Syntax(refusal), _) if as_stored => refusal,
            sent => return Some(sent.settled(as_stored)),
        };
        let mut reading = Reading::default();
        let planned = self.sender.plan(association, (item, &mut reading), &item.released, true).await;
        let Ok((context, plan, length)) = planned else { return Some((refusal.into(), None)) };
        if !association.is_alive() {
            self.fruitless.natively(item.transfer);
            return None;
        }
        let sent = self.send_as(association, (item, reading), context, plan, length).await;
        Some(sent.settled(false))
    }

    /// What becomes of an instance that cannot go over an association: where the node accepted no context for it, that may say more of
    /// the node than of the instance.
    fn unfit(&self, (association, offers): (&Scu, &[Offer]), item: &Leased, fault: Fault) -> (Fault, Option<Broken>) {
        let Outcome::Dead { why } = &fault.outcome else { return (fault, None) };
        let own = item.sop_class.as_str();
        let mut classes = vec![own];
        classes.extend(stand_ins(own, self.sender.general_class()));
        let why = why.clone();
        let lacks = match self.choosy.lacks(&classes, &accepted(association), offers) {
            // It goes as a try of its class, with nothing else: that nothing else was accepted says nothing of the node (WEB-063).
            Lacks::Everything if item.class_refused => Lacks::Class,
            lacks => lacks,
        };
        match lacks {
            Lacks::Syntax => (fault, None),
            Lacks::Class => (Outcome::Unsupported { why, said: true }.into(), None),
            Lacks::Everything => {
                let charge = Charge::Destination;
                let why = format!("the node accepted the association and nothing of what was offered on it: {why}");
                (deferred(why.clone(), charge).into(), Some(Broken::new(why, charge)))
            }
        }
    }

    /// Sends one instance as it is planned.
    async fn send_as(
        &self,
        association: &mut Scu,
        (item, reading): (&Leased, Reading),
        context_id: u8,
        plan: Plan,
        length: Option<u64>,
    ) -> Sent {
        let answered = self.sender.send_as(association, (item, reading), context_id, plan, length, None).await;
        match answered {
            Ok(Answered { response, changes }) => {
                let comment = response.comment.as_deref().unwrap_or("");
                let status = response.status.0;
                let warning = Some(status).filter(|status| verdict::is_warning(*status));
                Sent::Answered(changed(verdict::c_store(status, comment), changes.as_deref()), warning)
            }
            Err(Unsent { fault: Some(fault), failure, .. }) => {
                let lost = failure.filter(|_| !association.is_alive());
                Sent::Failed(fault, lost.map(|failure| Broken::new(failure.to_string(), Charge::Us)))
            }
            Err(Unsent { fault: None, failure, .. }) => {
                let why = failure.as_ref().map(StoreFailure::to_string).unwrap_or_default();
                let so = |is: fn(&StoreFailure) -> bool| failure.as_ref().is_some_and(is);
                let (silent, gone, within) = (so(is_silent), so(is_gone), so(is_within));
                let outcome = match failure {
                    Some(StoreFailure::Unanswered(_)) => Outcome::Unknown { why: why.clone() },
                    _ => Outcome::Deferred { why: why.clone(), charge: Charge::Destination, after: None },
                };
                let broken = Broken { silent, gone, within, ..Broken::new(why, Charge::Destination) };
                Sent::Failed(outcome.into(), Some(broken))
            }
        }
    }

    /// Asks the node what it shows, where its `verify` says that it can be asked, or said so when this was owed. Else it is sent again;
    /// the same content is harmless there (FLT-043).
    pub(super) async fn check(&self, batch: &Batch) -> Report {
        let present = |item: &Leased| item.verify == Verify::Present;
        if self.verify == Verify::Present || batch.items.iter().any(present) {
            return shown::check(&self.target, batch).await;
        }
        let why = "a node cannot be asked; sent again";
        let outcomes = batch.items.iter().map(|item| (item.transfer, Outcome::Absent { why: why.into() })).collect();
        Report { outcomes, detail: why.into(), unusable: false, ..Report::default() }
    }
}

/// See [`body::changed`].
fn changed(judged: Judged, changes: Option<&str>) -> Judged {
    match judged {
        Judged::Outcome(outcome) => Judged::Outcome(body::changed(outcome, changes)),
        judged => judged,
    }
}

/// The SOP classes that the node accepted on an association, in any transfer syntax.
fn accepted(association: &Scu) -> BTreeSet<&str> {
    association.accepted().map(|context| context.abstract_syntax.as_str()).collect()
}

fn deferred(why: String, charge: Charge) -> Outcome {
    Outcome::Deferred { why, charge, after: None }
}

/// Whether a person must put something right: a permanent rejection is a fault of configuration (DIM-012), and
/// certificates do not mend themselves.
fn needs_repair(error: &ScuError) -> bool {
    match error {
        ScuError::Rejected { result, .. } => *result == 1,
        ScuError::Tls { error, .. } => matches!(error, Some(rustls::Error::InvalidCertificate(_))),
        ScuError::IdentityIgnored | ScuError::Offers => true,
        ScuError::Lost(Lost::Aborted { .. }) => false,
        _ => false,
    }
}

/// What came of sending one instance.
enum Sent {
    /// The node answered; and the status, if it is a warning.
    Answered(Judged, Option<u16>),
    /// It did not; and why the association can be used no longer.
    Failed(Fault, Option<Broken>),
}

impl Sent {
    /// What becomes of the instance, and of the association. Only what went compressed can be said to have come to nothing as such.
    fn settled(self, compressed: bool) -> (Fault, Option<Broken>) {
        match self {
            Self::Answered(Judged::Outcome(outcome) | Judged::Syntax(outcome), warning) => {
                (Fault { warning, ..outcome.into() }, None)
            }
            Self::Answered(Judged::There, _) => (doubtful().into(), None),
            Self::Failed(fault, lost) => (fault, lost.map(|lost| Broken { silent: lost.silent && compressed, ..lost })),
        }
    }
}

/// How the sending of a group over one association ended.
enum Ended {
    /// Nothing is left.
    Done,
    /// From this instance on, another association is needed.
    Left(usize),
}

impl Ended {
    /// Another association is needed for what comes after this one, if anything does.
    fn after(at: usize, group: &Group<'_>) -> Self {
        if at + 1 < group.items.len() { Self::Left(at + 1) } else { Self::Done }
    }
}

/// The node cannot be reached: what that means for what was to go there.
fn unreachable<'a>(error: &ScuError, items: impl Iterator<Item = &'a &'a Leased>, report: &mut Report) {
    let why = error.to_string();
    let outcome = match needs_repair(error) {
        true => Outcome::Parked { why: why.clone() },
        false => deferred(why.clone(), Charge::Destination),
    };
    report.outcomes.extend(items.map(|item| (item.transfer, outcome.clone())));
    (report.detail, report.unusable) = (why, true);
}

/// Whether a node broke off or said nothing, as it may over what it cannot read; a wrong answer is none of that.
fn is_silent(failure: &StoreFailure) -> bool {
    match failure {
        StoreFailure::Unanswered(error) => !matches!(error, ScuError::Lost(Lost::Violation(_))),
        StoreFailure::Incomplete(error) => matches!(error, ScuError::Lost(Lost::Aborted { .. })),
        _ => false,
    }
}

/// Whether a node has closed, aborted or released before it had all of an instance, as far as that says nothing of the instance.
fn is_gone(failure: &StoreFailure) -> bool {
    match failure {
        StoreFailure::NotSent(ScuError::Lost(lost)) => !matches!(lost, Lost::Violation(_) | Lost::Stopped),
        StoreFailure::Incomplete(error) => matches!(error, ScuError::Lost(Lost::Closed | Lost::Io(_))),
        _ => false,
    }
}

/// Whether a node ended the association within an instance, or stopped taking it.
fn is_within(failure: &StoreFailure) -> bool {
    matches!(failure, StoreFailure::Incomplete(ScuError::Lost(lost)) if *lost != Lost::Stopped)
}

/// A node gives nothing back that could be compared, so that nothing it says of what it had is believed.
fn doubtful() -> Outcome {
    Outcome::Unknown { why: "the node says that it has it already".into() }
}

/// Why an association ended before its batch did, and whose doing it was.
struct Broken {
    why: String,
    charge: Charge,
    /// The node gave up over an instance as it is stored, compressed, or never answered for it.
    silent: bool,
    /// The node left before it had all of an instance, which so cannot have arrived.
    gone: bool,
    /// The node broke off within an instance.
    within: bool,
}

impl Broken {
    fn new(why: String, charge: Charge) -> Self {
        Self { why, charge, silent: false, gone: false, within: false }
    }

    /// Whether it is a matter of that one instance: what cannot go is no reason to keep the others back.
    fn is_of(&self, fault: &Fault) -> bool {
        match self.charge {
            Charge::Destination => false,
            Charge::Instance => true,
            Charge::Us => {
                fault.damage.is_some() || matches!(fault.outcome, Outcome::Dead { .. } | Outcome::Held { .. })
            }
        }
    }
}
