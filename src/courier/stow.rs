//! Carries a batch to a peer by STOW-RS and checks by QIDO-RS what the peer shows (PS3.18 sections 10.5, 10.6).

use super::body::{BodyError, Fault, Plan};
use super::carrier::Report;
use super::data_set::DataSet;
use super::verdict::{self, Answer, Item, Verdict};
use crate::dicom::uid::InstanceUid;
use crate::dicomweb::client::{
    OutPart, PartsBody, PeerClient, Presence, QueryFailure, SendFailure, SourceError, Stage,
};
use crate::dicomweb::tls::TlsReason;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::TransferId;
use crate::peers::Verify;
use crate::records::{Batch, Leased};
use crate::store::Store;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How a Weybridge names itself in its answers (docs/decisions/0008-turns.md).
const WEYBRIDGE: &str = "Weybridge/";

/// Takes batches to one peer.
pub struct StowCarrier {
    client: PeerClient,
    store: Store,
    verify: Verify,
}

/// One instance of a request, planned.
#[derive(Clone)]
struct Parcel {
    item: Leased,
    plan: Plan,
}

/// What our own side spoilt while a body was being sent: which transfer, and how.
type Spoilt = Arc<Mutex<Option<(TransferId, Fault)>>>;

impl StowCarrier {
    /// A carrier over this client; `verify` says whether presence must be seen as well.
    pub fn new(client: PeerClient, store: Store, verify: Verify) -> Self {
        Self { client, store, verify }
    }

    /// Whether the peer is a Weybridge too, which takes several requests for one study at once.
    pub(super) fn together(&self) -> bool {
        self.client.server().is_some_and(|server| server.starts_with(WEYBRIDGE))
    }

    /// Sends the batch, splitting it where the peer refuses it as a whole, then looks for what was accepted.
    pub(super) async fn carry(&self, batch: &Batch) -> Report {
        let mut report = Report::default();
        let mut parcels = Vec::new();
        for item in &batch.items {
            match Plan::for_the_web(&self.store, item).await {
                Ok(plan) => parcels.push(Parcel { item: item.clone(), plan }),
                Err(error) => report.fault(item, error.fault()),
            }
        }
        let mut waiting = vec![parcels];
        while let Some(parcels) = waiting.pop() {
            if parcels.is_empty() {
                continue;
            }
            match self.request(batch, &parcels).await {
                Verdict::Settle(part) => {
                    let stop = part.unusable;
                    merge(&mut report, part);
                    if stop {
                        waiting
                            .drain(..)
                            .flatten()
                            .for_each(|left| report.outcomes.push((left.item.transfer, untouched(&report.detail))));
                    }
                }
                Verdict::Split(_) => {
                    let half = parcels.len() / 2;
                    waiting.push(parcels[half..].to_vec());
                    waiting.push(parcels[..half].to_vec());
                }
            }
        }
        if self.verify == Verify::Present {
            self.look_for_accepted(batch, &mut report).await;
        }
        report
    }

    async fn request(&self, batch: &Batch, parcels: &[Parcel]) -> Verdict {
        let items: Vec<Item> = parcels.iter().map(|p| (p.item.transfer, p.item.sop_instance.clone())).collect();
        let spoilt = Spoilt::default();
        let parts = parcels.iter().map(|parcel| self.part(parcel.clone(), Arc::clone(&spoilt))).collect();
        let body = match PartsBody::related(parts) {
            Ok(body) => body,
            Err(error) => return Verdict::Settle(ours(&items, &error.to_string())),
        };
        let answered = self.client.store(&batch.study, body).await;
        let own = spoilt.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (answered, own) {
            (_, Some((transfer, fault))) => Verdict::Settle(interrupted(parcels, transfer, &fault)),
            (Ok(answer), None) => {
                let (module, remark) = match answer.module {
                    Ok(module) => (module, String::new()),
                    Err(why) => (None, why),
                };
                let answer = Answer { status: answer.status, module, remark, retry_after: answer.retry_after };
                verdict::stow(&answer, &items)
            }
            (Err(failure), None) => Verdict::Settle(failed(&failure, &items)),
        }
    }

    /// One part of a request; its blob is opened only when its turn comes.
    fn part(&self, parcel: Parcel, spoilt: Spoilt) -> OutPart {
        let prefix = parcel.plan.prefix(&parcel.item);
        OutPart {
            // Orthanc 1.10 answers 200 and stores nothing when a part names its transfer syntax in the Content-Type.
            transfer_syntax: None,
            length: prefix.len() as u64 + parcel.plan.length,
            data: stream::iter([Ok(Bytes::from(prefix))]).chain(data_set(self.store.clone(), parcel, spoilt)).boxed(),
        }
    }

    /// Asks for what the answer named; what is seen is verified, the rest stays accepted and is asked for again later.
    async fn look_for_accepted(&self, batch: &Batch, report: &mut Report) {
        let names: BTreeMap<TransferId, &InstanceUid> =
            batch.items.iter().map(|item| (item.transfer, &item.sop_instance)).collect();
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
        let Ok(shown) = self.client.present(&batch.study, &wanted).await else { return };
        for (id, outcome) in &mut report.outcomes {
            let (Outcome::Accepted { evidence }, Some(uid)) = (&*outcome, names.get(id)) else { continue };
            if shown.found.contains(*uid) {
                *outcome = Outcome::Verified { evidence: format!("{evidence}; shown by QIDO-RS") };
            }
        }
    }

    /// Asks the peer which instances it shows (WEB-045).
    pub(super) async fn check(&self, batch: &Batch) -> Report {
        let wanted: Vec<InstanceUid> = batch.items.iter().map(|item| item.sop_instance.clone()).collect();
        match self.client.present(&batch.study, &wanted).await {
            Ok(shown) => {
                let outcomes =
                    batch.items.iter().map(|item| (item.transfer, seen(&shown, &item.sop_instance))).collect();
                Report {
                    outcomes,
                    detail: format!("QIDO-RS showed {} of {}", shown.found.len(), wanted.len()),
                    unusable: false,
                    ..Report::default()
                }
            }
            Err(failure) => unanswered(&failure, batch),
        }
    }
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

/// The bytes of a data set as a stream. Our own fault ends it with an error, which breaks the request off, so that the
/// peer never sees a whole body (DIM-053, FLT-024).
fn data_set(store: Store, parcel: Parcel, spoilt: Spoilt) -> BoxStream<'static, Result<Bytes, SourceError>> {
    let state = (store, parcel, spoilt, None::<DataSet>);
    stream::try_unfold(state, |(store, parcel, spoilt, data)| async move {
        let next = async {
            let mut data = match data {
                Some(data) => data,
                None => DataSet::open(&store, &parcel.item, &parcel.plan).await?,
            };
            let bytes = data.next().await?;
            Ok::<_, BodyError>((bytes, data))
        };
        match next.await {
            Ok((Some(bytes), data)) => Ok(Some((bytes, (store, parcel, spoilt, Some(data))))),
            Ok((None, _)) => Ok(None),
            Err(error) => {
                *spoilt.lock().unwrap_or_else(PoisonError::into_inner) = Some((parcel.item.transfer, error.fault()));
                Err(SourceError::from(error))
            }
        }
    })
    .boxed()
}

fn merge(report: &mut Report, part: Report) {
    report.outcomes.extend(part.outcomes);
    report.damaged.extend(part.damaged);
    if !report.detail.is_empty() {
        report.detail.push_str("; ");
    }
    report.detail.push_str(&part.detail);
    report.unusable |= part.unusable;
}

/// Not sent because the destination was found to be unusable meanwhile.
fn untouched(why: &str) -> Outcome {
    Outcome::Deferred { why: format!("not sent: {why}"), charge: Charge::Destination, after: None }
}

/// Our own side ended the body: the culprit is judged, the others are unknown, since whole parts may have arrived.
fn interrupted(parcels: &[Parcel], culprit: TransferId, fault: &Fault) -> Report {
    let mut report = Report { detail: format!("broken off by us: {}", fault.outcome.words()), ..Report::default() };
    for Parcel { item, .. } in parcels {
        if item.transfer == culprit {
            report.fault(item, fault.clone());
        } else {
            let why = "the request was broken off, because another instance in it could not be read".to_owned();
            report.outcomes.push((item.transfer, Outcome::Unknown { why }));
        }
    }
    report
}

/// Nothing was sent, for a reason of our own.
fn ours(items: &[Item], why: &str) -> Report {
    let outcome = Outcome::Deferred { why: why.to_owned(), charge: Charge::Us, after: None };
    Report {
        outcomes: items.iter().map(|(id, _)| (*id, outcome.clone())).collect(),
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
    let outcomes = items.iter().map(|(id, _)| (*id, outcome.clone())).collect();
    Report { outcomes, detail: why, unusable: true, ..Report::default() }
}

/// The peer could not be asked: what was unknown stays so.
fn unanswered(failure: &QueryFailure, batch: &Batch) -> Report {
    let why = format!("cannot be asked what it holds: {failure}");
    let outcomes = batch.items.iter().map(|item| (item.transfer, Outcome::Unknown { why: why.clone() })).collect();
    Report { outcomes, detail: why, unusable: true, ..Report::default() }
}
