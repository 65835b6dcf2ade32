//! What a peer shows: presence by QIDO-RS, and content read back by WADO-RS where it says that it had an instance already.

use super::parcel::Parcel;
use super::{Absent, StowCarrier};
use crate::courier::body::{BodyError, Plan};
use crate::courier::carrier::Report;
use crate::courier::data_set::DataSet;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::{NotReadBack, Presence, QueryFailure, ReadBack};
use crate::ledger::breaker::Asking;
use crate::ledger::outcome::{Charge, Outcome, Refusal};
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Verify;
use crate::records::{Batch, Leased, Retrievable};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::Instant;

/// What came of asking for instances that the peer refused as if it had them.
pub(super) struct Asked {
    pub(super) report: Report,
    /// To be sent once more, each by itself.
    pub(super) alone: Vec<Parcel>,
}

/// How our content compares with what the peer gave back.
pub(super) enum Compared {
    Same,
    /// What differs, in plain words, without patient data.
    Other(String),
    /// It could not be compared just now, by the peer's doing: why, and what it asked us to wait.
    NotYet(NotReadBack),
    /// It could not be compared just now, by our own doing.
    Ours(BodyError),
    /// The peer does not give it back, now or later.
    Refused(NotReadBack),
    /// It was given back and cannot be compared: why.
    Never(String),
}

impl Compared {
    /// It was not given back.
    pub(super) fn because(failure: NotReadBack) -> Self {
        if failure.may_pass() { Self::NotYet(failure) } else { Self::Refused(failure) }
    }
}

/// How comparing goes on within one batch.
#[derive(Default)]
struct Comparison {
    /// Why the peer gives nothing back, just now or at all.
    stopped: Option<NotReadBack>,
}

impl StowCarrier {
    /// Asks which of these instances the peer shows, and notes whether it can be asked.
    async fn shown(&self, study: &StudyUid, wanted: &[InstanceUid]) -> Result<Presence, QueryFailure> {
        let shown = self.client.present(study, wanted).await;
        match &shown {
            Ok(_) => self.memory.asked(true),
            Err(failure) if failure.is_refusal() => self.memory.asked(false),
            // It may answer the next.
            Err(_) => {}
        }
        shown
    }

    /// Asks for what the answer named; what is seen is verified, the rest stays accepted and is asked for again later.
    pub(super) async fn look_for_accepted(&self, batch: &Batch, report: &mut Report) {
        // Where another version went before, what is shown may be that one; and policy may ask for more. Both are compared by a check.
        let plain = batch.items.iter().filter(|item| !item.rival && item.verify != Verify::Readback);
        let names: BTreeMap<TransferId, &InstanceUid> = plain.map(|item| (item.transfer, &item.sop_instance)).collect();
        let accepted = |outcome: &Outcome| matches!(outcome, Outcome::Accepted { .. });
        let wanted: Vec<InstanceUid> = report
            .outcomes
            .iter()
            .filter(|(_, outcome)| accepted(outcome))
            .filter_map(|(id, _)| names.get(id).map(|uid| (*uid).clone()))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let shown = match self.shown(&batch.study, &wanted).await {
            Ok(shown) => shown,
            Err(failure) => {
                report.asking = Some(refused(&failure));
                return;
            }
        };
        report.asking = Some(Asking::Answered);
        for (id, outcome) in &mut report.outcomes {
            let (Outcome::Accepted { evidence }, Some(uid)) = (&*outcome, names.get(id)) else { continue };
            if shown.found.contains(*uid) {
                *outcome = Outcome::Verified { evidence: format!("{evidence}; shown by QIDO-RS") };
            }
        }
    }

    /// Asks the peer which instances it shows (WEB-045). What it said to have already is read back as well (WEB-055), and what may
    /// be another version of the same UID (INV-12), and where policy asks for it all.
    pub(in crate::courier) async fn check(&self, batch: &Batch) -> Report {
        let wanted: Vec<InstanceUid> = batch.items.iter().map(|item| item.sop_instance.clone()).collect();
        match self.shown(&batch.study, &wanted).await {
            Ok(shown) => self.looked_at(batch, &shown).await,
            Err(failure) => unanswered(&failure, &batch.items, |item, why| in_vain(item, &failure, why)),
        }
    }

    /// What it means that these are shown of a batch, each compared where that is asked for.
    async fn looked_at(&self, batch: &Batch, shown: &Presence) -> Report {
        let detail = format!("QIDO-RS showed {} of {}", shown.found.len(), batch.items.len());
        let asking = Some(Asking::Answered);
        let (mut report, mut comparison) = (Report { detail, asking, ..Report::default() }, Comparison::default());
        for item in &batch.items {
            let compared = item.claimed || item.rival || item.verify == Verify::Readback;
            if !(compared && shown.found.contains(&item.sop_instance)) {
                report.outcomes.push((item.transfer, seen(shown, &item.sop_instance)));
                continue;
            }
            // What cannot be planned as it was sent may still be as it is stored.
            let plan = self.plan(item).await.unwrap_or_else(|_| Plan::as_stored(item));
            let why = match (item.claimed, item.rival) {
                (true, _) => "said before: already there; ",
                (_, true) => "another version was sent there: already there; ",
                _ => "",
            };
            self.already_there(&Parcel { item: item.clone(), plan }, why, &mut comparison, &mut report).await;
            if let (false, true, Some((_, outcome))) = (item.claimed, item.rival, report.outcomes.last_mut()) {
                *outcome = of_rival(item.state, std::mem::replace(outcome, Outcome::Unknown { why: String::new() }));
            }
        }
        report
    }

    /// Asks which of these came although the peer is said to be busy (WEB-064, FLT-061). What it does not show waits with it, as if nobody had
    /// doubted. Where no answer comes, it is asked before anything is sent again, if it can be asked at all; else what was said is believed, and
    /// nobody waits for a person.
    pub(super) async fn doubted(&self, batch: &Batch, parcels: Vec<Parcel>, why: &str, may_ask: bool) -> Report {
        // As one is asked about of which nobody knows whether it came: what is there in another version, did not.
        let asked = |parcel: Parcel| Leased { state: State::Unknown, ..parcel.item };
        let batch = Batch { items: parcels.into_iter().map(asked).collect(), ..batch.clone() };
        let wanted: Vec<InstanceUid> = batch.items.iter().map(|item| item.sop_instance.clone()).collect();
        let shown = if may_ask { Some(self.shown(&batch.study, &wanted).await) } else { None };
        let mut report = match shown {
            Some(Ok(shown)) => self.looked_at(&batch, &shown).await,
            Some(Err(failure)) => unanswered(&failure, &batch.items, |_, said| self.unheard(why, &said)),
            None => {
                let unheard = self.unheard(why, "it may not be asked now");
                let outcomes = batch.items.iter().map(|item| (item.transfer, unheard.clone())).collect();
                Report { outcomes, detail: NOT_ASKED.into(), ..Report::default() }
            }
        };
        for (_, outcome) in &mut report.outcomes {
            *outcome = match &*outcome {
                Outcome::Absent { why: said } => waits(why, said),
                Outcome::Verified { evidence } => Outcome::Verified { evidence: format!("{why}; {evidence}") },
                _ => continue,
            };
        }
        // Else the records hear of it by these.
        if !report.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Deferred { .. })) {
            self.memory.leave_alone(why, Instant::now());
        }
        report
    }

    /// What is known of one at a busy peer that gave no answer when it was asked, or may not be asked now.
    fn unheard(&self, why: &str, said: &str) -> Outcome {
        match self.memory.answers_questions() {
            true => Outcome::Unknown { why: format!("{why}; {said}") },
            false => waits(why, said),
        }
    }

    /// Asks for instances that the peer refused as if it had them, and compares what it shows with what we hold (WEB-055,
    /// FLT-056).
    pub(super) async fn ask(&self, batch: &Batch, parcels: Vec<Parcel>, why: &str, absent: Absent) -> Asked {
        let wanted: Vec<InstanceUid> = parcels.iter().map(|parcel| parcel.item.sop_instance.clone()).collect();
        let shown = match self.shown(&batch.study, &wanted).await {
            Ok(shown) => shown,
            Err(failure) => {
                let items: Vec<Leased> = parcels.into_iter().map(|parcel| parcel.item).collect();
                let claimed = |_: &Leased, failure: String| claimed(why, &failure);
                return Asked { report: unanswered(&failure, &items, claimed), alone: Vec::new() };
            }
        };
        let detail = format!("QIDO-RS showed {} of {}", shown.found.len(), wanted.len());
        let asking = Some(Asking::Answered);
        let (mut report, mut alone) = (Report { detail, asking, ..Report::default() }, Vec::new());
        let mut comparison = Comparison::default();
        for parcel in parcels {
            let uid = &parcel.item.sop_instance;
            let outcome = match (shown.found.contains(uid), shown.elsewhere.contains(uid), absent) {
                (true, ..) => {
                    self.already_there(&parcel, &format!("{why}: already there; "), &mut comparison, &mut report).await;
                    continue;
                }
                (_, true, _) => seen(&shown, uid),
                (.., Absent::Alone) => {
                    alone.push(parcel);
                    continue;
                }
                (.., Absent::Dead) => {
                    Outcome::Dead { why: format!("{why}: the peer refuses it, although it does not hold it") }
                }
                (.., Absent::Later) => Outcome::Refused {
                    why: format!("{why}: the peer says that it already has it, and does not show it"),
                    after: None,
                    refusal: Refusal::Instance,
                },
            };
            report.outcomes.push((parcel.item.transfer, outcome));
        }
        Asked { report, alone }
    }

    /// Compares what the peer has, and shows, with ours; `why` stands before what is told. Once it gives nothing back, the rest waits
    /// with it.
    async fn already_there(&self, parcel: &Parcel, why: &str, comparison: &mut Comparison, report: &mut Report) {
        let Parcel { item, .. } = parcel;
        let compared = match &comparison.stopped {
            Some(failure) => Compared::because(failure.clone()),
            None => self.compare(parcel).await,
        };
        // Where it is the policy that asks, nothing was claimed.
        let plain = why.is_empty();
        let later = |reason: &dyn std::fmt::Display| {
            let why = format!("{why}shown by QIDO-RS; its content is not compared yet: {reason}");
            if plain { Outcome::Unknown { why } } else { Outcome::Claimed { why } }
        };
        let uncompared = |reason: &dyn std::fmt::Display| Outcome::Uncompared {
            evidence: format!("{why}shown by QIDO-RS; its content was NOT compared: {reason}"),
        };
        let must_be_seen = item.verify == Verify::Readback;
        let outcome = match compared {
            Compared::Same => {
                Outcome::Verified { evidence: format!("{why}shown by QIDO-RS, read back by WADO-RS and the same") }
            }
            Compared::Other(what) => Outcome::Dead {
                why: format!("{why}the peer holds other content under this UID ({what}); a person there must decide"),
            },
            Compared::NotYet(failure) => {
                let outcome = later(&failure);
                if failure.retry_after().is_some() {
                    let (why, after) = (failure.to_string(), failure.retry_after());
                    report.asking = Some(Asking::Not { why, after });
                }
                comparison.stopped = Some(failure);
                outcome
            }
            Compared::Refused(failure) if must_be_seen => {
                let outcome = later(&failure);
                if failure.of_all() {
                    report.asking = Some(Asking::Not { why: failure.to_string(), after: failure.retry_after() });
                    comparison.stopped = Some(failure);
                }
                outcome
            }
            Compared::Refused(failure) => uncompared(&failure),
            Compared::Ours(error) => {
                report.damaged.extend(error.fault().damage.map(|why| (item.instance, item.place, why)));
                later(&error)
            }
            Compared::Never(reason) if must_be_seen => {
                Outcome::Dead { why: format!("{why}read back, and {reason}; a person must decide") }
            }
            Compared::Never(reason) => uncompared(&reason),
        };
        report.outcomes.push((item.transfer, outcome));
    }

    /// Reads an instance back and compares its bytes with what we hold, or with what we would send; if they are others, what it says.
    async fn compare(&self, parcel: &Parcel) -> Compared {
        let Retrievable { study, series, sop_instance, length, .. } = &parcel.item.copy;
        let most = length.max(&parcel.plan.length).saturating_mul(16).saturating_add(64 << 20);
        let back = match self.client.read_back(study, series, sop_instance, most).await {
            Ok(back) => back,
            Err(failure) => return Compared::because(failure),
        };
        match self.same(parcel, &back).await {
            Ok(Some(true)) => Compared::Same,
            Ok(_) => self.compare_content(parcel, most).await,
            Err(error) => Compared::Ours(error),
        }
    }

    /// Whether the bytes are the same; `None` if they are in a syntax in which we have nothing to compare them with.
    async fn same(&self, parcel: &Parcel, back: &ReadBack) -> Result<Option<bool>, BodyError> {
        let Parcel { item, plan } = parcel;
        if back.transfer_syntax == item.transfer_syntax {
            return Ok(Some(back.sha256 == item.digest.0));
        }
        if back.transfer_syntax != plan.transfer_syntax {
            return Ok(None);
        }
        let (mut sent, mut hash) = (DataSet::open(&self.store, item, plan).await?, Sha256::new());
        while let Some(bytes) = sent.next().await? {
            hash.update(&bytes);
        }
        Ok(Some(back.sha256 == <[u8; 32]>::from(hash.finalize())))
    }
}

/// What comparing shows of one where another version was sent there, and nobody said that this one is there: what did not come is sent.
fn of_rival(state: State, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Claimed { why } => Outcome::Unknown { why },
        Outcome::Dead { why } if state == State::Unknown => Outcome::Absent { why },
        other => other,
    }
}

/// It waits with a peer that is busy.
fn waits(why: &str, said: &str) -> Outcome {
    Outcome::Deferred { why: format!("{why}; {said}"), charge: Charge::Destination, after: None }
}

/// What a query showed of one instance (WEB-045).
fn seen(shown: &Presence, uid: &InstanceUid) -> Outcome {
    if shown.found.contains(uid) {
        return Outcome::Verified { evidence: "shown by QIDO-RS".into() };
    }
    match shown.elsewhere.contains(uid) {
        true => {
            Outcome::Dead { why: "the peer shows this instance in another study; a person there must decide".into() }
        }
        false => Outcome::Absent { why: "asked by QIDO-RS: not there".into() },
    }
}

/// What is told of an attempt in which the peer was not asked.
const NOT_ASKED: &str = "not asked: the peer told us to wait with that, or refused it lately";

/// What may be there already, at a peer that may not be asked just now.
pub(super) fn unasked(parcels: Vec<Parcel>, why: &str) -> Asked {
    let outcome = claimed(why, "may not be asked just now");
    let outcomes = parcels.into_iter().map(|parcel| (parcel.item.transfer, outcome.clone())).collect();
    Asked { report: Report { outcomes, detail: NOT_ASKED.into(), ..Report::default() }, alone: Vec::new() }
}

/// That the peer said so outlasts that it cannot be asked: it is compared when it can.
fn claimed(why: &str, failure: &str) -> Outcome {
    Outcome::Claimed { why: format!("{why}: the peer may have it already, and {failure}") }
}

/// A question without an answer, as the records remember it.
fn refused(failure: &QueryFailure) -> Asking {
    let after = match failure {
        QueryFailure::Refused { retry_after, .. } => *retry_after,
        QueryFailure::NotAnswered(_)
        | QueryFailure::Unreadable(_)
        | QueryFailure::InPart
        | QueryFailure::Fewer { .. } => None,
    };
    Asking::Not { why: failure.to_string(), after }
}

/// What is to be sent, as far as we know for the first time, is asked about so often at a peer that answers, but not that.
const ENOUGH: u32 = 3;

/// What was asked about in vain stays unknown; but what nobody sent there as far as we know goes to who refuses to be asked, and to who
/// is there and cannot be asked time and again.
fn in_vain(item: &Leased, failure: &QueryFailure, why: String) -> Outcome {
    let no_use = failure.is_refusal() || (failure.is_reached() && item.unanswered >= ENOUGH);
    match item.unsent && no_use {
        true => Outcome::Absent { why: format!("{why}; not sent yet as far as is known here") },
        false => Outcome::Unknown { why },
    }
}

/// The peer could not be asked: what was unknown stays so. Of what it takes that says nothing.
fn unanswered(failure: &QueryFailure, items: &[Leased], outcome: impl Fn(&Leased, String) -> Outcome) -> Report {
    let why = format!("cannot be asked what it holds: {failure}");
    let outcomes = items.iter().map(|item| (item.transfer, outcome(item, why.clone()))).collect();
    Report { outcomes, detail: why, asking: Some(refused(failure)), ..Report::default() }
}
