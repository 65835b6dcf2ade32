//! Carries a batch to a peer by STOW-RS, and has each answer judged and acted upon (PS3.18 section 10.5).

mod content;
mod evidence;
mod memory;
mod offer;
mod parcel;

use super::body::Plan;
use super::carrier::Report;
use super::verdict::{self, Absent, Answer, Item, Then, Verdict};
use crate::dicom::canon::Profile;
use crate::dicomweb::client::{PeerClient, SendFailure, Stage, StoreAnswer};
use crate::dicomweb::tls::TlsReason;
use crate::ledger::breaker::Asking;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::TransferId;
use crate::peers::Verify;
use crate::records::{Batch, Leased};
use crate::store::Store;
use memory::Memory;
use offer::Offered;
use parcel::Parcel;
use std::collections::BTreeSet;
use std::time::Instant;

/// How a Weybridge names itself in its answers (docs/decisions/0008-turns.md).
const WEYBRIDGE: &str = "Weybridge/";

/// Takes batches to one peer.
pub struct StowCarrier {
    client: PeerClient,
    store: Store,
    verify: Verify,
    /// What the peer writes anew each time does not count where contents are compared.
    profile: Profile,
    memory: Memory,
}

impl StowCarrier {
    /// A carrier over this client; `verify` says what must be seen besides its answers, and `profile` what does not count in what the
    /// peer gives back.
    pub fn new(client: PeerClient, store: Store, verify: Verify, profile: Profile) -> Self {
        Self { client, store, verify, profile, memory: Memory::default() }
    }

    /// Whether the peer is a Weybridge too, which takes several requests for one study at once.
    pub(super) fn together(&self) -> bool {
        self.client.server().is_some_and(|server| server.starts_with(WEYBRIDGE))
    }

    /// Sends the batch, part by part where the peer refuses it as a whole, then looks for what was accepted.
    pub(super) async fn carry(&self, batch: &Batch) -> Report {
        if let Some(why) = self.memory.left_alone(Instant::now()) {
            return held_back(batch, &why);
        }
        let mut report = Report::default();
        let mut parcels = Vec::new();
        for item in &batch.items {
            match self.plan(item).await {
                Ok(plan) => parcels.push(Parcel { item: item.clone(), plan }),
                Err(error) => report.fault(item, error.fault()),
            }
        }
        let mut waiting = vec![parcels];
        while let Some(parcels) = waiting.pop() {
            if parcels.is_empty() {
                continue;
            }
            let Verdict { report: part, then } = self.request(batch, &parcels).await;
            let stop = part.unusable;
            merge(&mut report, part);
            match then {
                Then::Nothing => {}
                Then::Halve => {
                    let half = parcels.len() / 2;
                    waiting.push(parcels[half..].to_vec());
                    waiting.push(parcels[..half].to_vec());
                }
                Then::ByClass => waiting.extend(apart(parcels, |parcel| &parcel.item.sop_class)),
                Then::BySyntax => waiting.extend(apart(parcels, |parcel| &parcel.plan.transfer_syntax)),
                Then::Natively { of, why } => {
                    waiting.push(self.natively(chosen(parcels, &of), &why, &mut report).await);
                }
                Then::Ask { of, why, absent } => {
                    let may_ask = batch.may_ask && !report.refuses_questions();
                    let asked = match may_ask {
                        true => self.ask(batch, chosen(parcels, &of), &why, absent).await,
                        false => evidence::unasked(chosen(parcels, &of), &why),
                    };
                    merge(&mut report, asked.report);
                    waiting.extend(asked.alone.into_iter().map(|parcel| vec![parcel]));
                }
                Then::Doubt { why } => {
                    let may_ask = batch.may_ask && !report.refuses_questions();
                    merge(&mut report, self.doubted(batch, parcels, &why, may_ask).await);
                }
            }
            if stop {
                let left = waiting.drain(..).flatten();
                left.for_each(|left| report.outcomes.push((left.item.transfer, untouched(&report.detail))));
            }
        }
        if self.verify != Verify::Accepted && batch.may_ask && !report.refuses_questions() {
            self.look_for_accepted(batch, &mut report).await;
        }
        report
    }

    /// How an instance goes: as it is stored if it may and the peer did not refuse its syntax before, else natively. What cannot be
    /// decoded is offered as it is stored all the same: nobody has judged it yet.
    async fn plan(&self, item: &Leased) -> Result<Plan, super::body::BodyError> {
        if self.memory.refuses(&item.transfer_syntax) {
            match Plan::re_encoded(item)?.measured(&self.store, item).await {
                Err(super::body::BodyError::Transcode(_)) => {}
                planned => return planned,
            }
        }
        Plan::for_the_web(&self.store, item).await
    }

    /// Plans once more what the peer does not take in its syntax; what cannot be re-encoded is given up (WEB-058).
    async fn natively(&self, parcels: Vec<Parcel>, why: &str, report: &mut Report) -> Vec<Parcel> {
        let mut again = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            if !parcel.is_compressed() {
                again.push(parcel);
                continue;
            }
            self.memory.refused(&parcel.item.transfer_syntax);
            let plan = match Plan::re_encoded(&parcel.item) {
                Ok(plan) => plan.measured(&self.store, &parcel.item).await,
                Err(error) => Err(error),
            };
            match plan {
                Ok(plan) => again.push(Parcel { plan, ..parcel }),
                Err(error) => {
                    let mut fault = error.fault();
                    if let Outcome::Dead { why: own } = &mut fault.outcome {
                        *own = format!("{why}: the peer does not take its transfer syntax, and {own}");
                    }
                    report.fault(&parcel.item, fault);
                }
            }
        }
        again
    }

    async fn request(&self, batch: &Batch, parcels: &[Parcel]) -> Verdict {
        let judged = |parcel: &Parcel| parcel.judged(self.memory.has_taken(&parcel.item.sop_class));
        let items: Vec<Item> = parcels.iter().map(judged).collect();
        match self.offer(batch, parcels).await {
            Offered::Ours(why) => settled(ours(&items, &why)),
            Offered::Spoilt(transfer, fault) => settled(parcel::interrupted(parcels, transfer, &fault)),
            Offered::Failed(failure) => settled(failed(&failure, &items)),
            Offered::Answered(answer) => {
                if answer.status == 406 {
                    // It may have stored everything; only the form of its answer was in question (WEB-052).
                    self.client.ask_for(self.client.form().other());
                }
                let (page, problem) = (answer.is_page(), answer.is_problem());
                let StoreAnswer { status, retry_after, refuses_us, no_room, body_sent: whole, module, .. } = *answer;
                let (module, remark) = match module {
                    Ok(module) => (module, String::new()),
                    Err(why) => (None, why),
                };
                let pages = page && self.memory.pages_since(&batch.study);
                let answer = Answer { status, module, remark, refuses_us, pages, no_room, problem, whole, retry_after };
                let mut verdict = verdict::stow(&answer, &items);
                parcel::tell_changes(parcels, &mut verdict.report);
                self.memory.note(&batch.study, &verdict.report, &items, page);
                verdict
            }
        }
    }
}

/// Nothing of a batch goes to a peer that is said to be busy, so that the records leave it alone: what was sent just now says nothing of that
/// to them (WEB-064).
fn held_back(batch: &Batch, why: &str) -> Report {
    let outcomes = batch.items.iter().map(|item| (item.transfer, untouched(why))).collect();
    Report { outcomes, detail: format!("not sent: {why}"), unusable: true, ..Report::default() }
}

fn settled(report: Report) -> Verdict {
    Verdict { report, then: Then::Nothing }
}

/// Those of the parcels that are meant.
fn chosen(parcels: Vec<Parcel>, of: &[TransferId]) -> Vec<Parcel> {
    let of: BTreeSet<TransferId> = of.iter().copied().collect();
    parcels.into_iter().filter(|parcel| of.contains(&parcel.item.transfer)).collect()
}

/// The parcels in groups of those that have the same of something.
fn apart<T: PartialEq>(parcels: Vec<Parcel>, of: impl Fn(&Parcel) -> &T) -> Vec<Vec<Parcel>> {
    let mut groups: Vec<Vec<Parcel>> = Vec::new();
    for parcel in parcels {
        let same = |group: &&mut Vec<Parcel>| group.iter().any(|one| of(one) == of(&parcel));
        match groups.iter_mut().find(same) {
            Some(group) => group.push(parcel),
            None => groups.push(vec![parcel]),
        }
    }
    groups
}

fn merge(report: &mut Report, part: Report) {
    report.outcomes.extend(part.outcomes);
    report.damaged.extend(part.damaged);
    report.warnings.extend(part.warnings);
    if !report.detail.is_empty() {
        report.detail.push_str("; ");
    }
    report.detail.push_str(&part.detail);
    report.unusable |= part.unusable;
    report.asking = Asking::and(report.asking.take(), part.asking);
}

/// Not sent because the destination was found to be unusable meanwhile.
fn untouched(why: &str) -> Outcome {
    Outcome::Deferred { why: format!("not sent: {why}"), charge: Charge::Destination, after: None }
}

/// Nothing was sent, for a reason of our own.
fn ours(items: &[Item], why: &str) -> Report {
    let outcome = Outcome::Deferred { why: why.to_owned(), charge: Charge::Us, after: None };
    Report {
        outcomes: items.iter().map(|item| (item.transfer, outcome.clone())).collect(),
        detail: why.to_owned(),
        unusable: false,
        ..Report::default()
    }
}

/// Whether a person must put something right before the peer can be used: certificates do not mend themselves.
fn needs_repair(failure: &SendFailure) -> bool {
    matches!(failure.stage, Stage::Tls(reason) if reason != TlsReason::Other)
}

/// No answer came: surely not sent, or ambiguous (WEB-066, WEB-067).
fn failed(failure: &SendFailure, items: &[Item]) -> Report {
    let why = failure.to_string();
    let parked = needs_repair(failure);
    let outcome = match (failure.surely_not_sent(), parked) {
        (true, true) => Outcome::Parked { why: why.clone() },
        (true, false) => Outcome::Deferred { why: why.clone(), charge: Charge::Destination, after: None },
        (false, _) => Outcome::Unknown { why: why.clone() },
    };
    let outcomes = items.iter().map(|item| (item.transfer, outcome.clone())).collect();
    Report { outcomes, detail: why, unusable: true, ..Report::default() }
}
