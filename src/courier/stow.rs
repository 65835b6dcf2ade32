//! Carries a batch to a peer by STOW-RS and checks by QIDO-RS what the peer shows (PS3.18 sections 10.5, 10.6).

use super::body::{BodyError, DataSet, Plan};
use super::carrier::{Pause, Report};
use super::verdict::{self, Answer, Item, Verdict};
use crate::dicom::uid::InstanceUid;
use crate::dicomweb::client::{Failure, PeerClient, Stage, StoreBody};
use crate::dicomweb::multipart;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::TransferId;
use crate::peers::Verify;
use crate::records::{Batch, Leased};
use crate::store::{Store, StoreError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

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

/// What our own side spoilt while a body was being sent: which instance, and how.
type Spoilt = Arc<Mutex<Option<(TransferId, String, bool)>>>;

impl StowCarrier {
    /// A carrier over this client; `verify` says whether presence must be seen as well.
    pub fn new(client: PeerClient, store: Store, verify: Verify) -> Self {
        Self { client, store, verify }
    }

    /// Sends the batch, splitting it where the peer refuses it as a whole, then looks for what was accepted.
    pub(super) async fn carry(&self, batch: &Batch) -> Report {
        let mut report = Report::default();
        let mut parcels = Vec::new();
        for item in &batch.items {
            match Plan::for_the_web(&self.store, item).await {
                Ok(plan) => parcels.push(Parcel { item: item.clone(), plan }),
                Err(error) => report.outcomes.push((item.transfer, own_fault(&error))),
            }
        }
        let mut waiting = vec![parcels];
        while let Some(parcels) = waiting.pop() {
            if parcels.is_empty() {
                continue;
            }
            match self.request(batch, &parcels).await {
                Verdict::Settle(part) => {
                    let stop = part.pause.is_some();
                    merge(&mut report, part);
                    if stop {
                        waiting.drain(..).flatten().for_each(|left| report.outcomes.push((left.item.transfer, untouched(&report.detail))));
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
        let spoilt = Spoilt::default();
        let body = self.body(parcels.to_vec(), Arc::clone(&spoilt));
        let answered = self.client.store(&batch.study, body).await;
        let items: Vec<Item> = parcels.iter().map(|p| (p.item.transfer, p.item.sop_instance.clone())).collect();
        let own = spoilt.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (answered, own) {
            (_, Some((transfer, why, damaged))) => Verdict::Settle(interrupted(&items, transfer, &why, damaged)),
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

    /// The body of one request: its exact length, and its bytes as they are read, a little ahead of the socket.
    fn body(&self, parcels: Vec<Parcel>, spoilt: Spoilt) -> StoreBody {
        let boundary = multipart::random_boundary();
        let mut length = multipart::closing(&boundary).len() as u64;
        for parcel in &parcels {
            let header = multipart::part_header(&boundary, parcel.plan.transfer_syntax.as_str());
            length += header.len() as u64 + parcel.plan.prefix(&parcel.item).len() as u64 + parcel.plan.length;
        }
        let (sender, receiver) = mpsc::channel(2);
        let (store, mark) = (self.store.clone(), boundary.clone());
        tokio::spawn(async move { produce(&store, &mark, parcels, &sender, &spoilt).await });
        StoreBody { boundary, length, chunks: receiver }
    }

    /// Asks for what the answer named; what is seen is verified, the rest stays accepted and is asked for again later.
    async fn look_for_accepted(&self, batch: &Batch, report: &mut Report) {
        let names: BTreeMap<TransferId, &InstanceUid> = batch.items.iter().map(|item| (item.transfer, &item.sop_instance)).collect();
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
            if let (Outcome::Accepted { evidence }, Some(uid)) = (&*outcome, names.get(id)) {
                if shown.found.contains(*uid) {
                    *outcome = Outcome::Verified { evidence: format!("{evidence}; shown by QIDO-RS") };
                }
            }
        }
    }

    /// Asks the peer which instances it shows (WEB-045).
    pub(super) async fn check(&self, batch: &Batch) -> Report {
        let wanted: Vec<InstanceUid> = batch.items.iter().map(|item| item.sop_instance.clone()).collect();
        match self.client.present(&batch.study, &wanted).await {
            Ok(shown) => {
                let outcome = |uid: &InstanceUid| match shown.found.contains(uid) {
                    true => Outcome::Verified { evidence: "shown by QIDO-RS".into() },
                    false => Outcome::Absent { why: "asked by QIDO-RS: not there".into() },
                };
                let outcomes = batch.items.iter().map(|item| (item.transfer, outcome(&item.sop_instance))).collect();
                Report { outcomes, detail: format!("QIDO-RS showed {} of {}", shown.found.len(), wanted.len()), pause: None }
            }
            Err(failure) => {
                let why = format!("cannot be asked what it holds: {failure}");
                let outcomes = batch.items.iter().map(|item| (item.transfer, Outcome::Unknown { why: why.clone() })).collect();
                Report { outcomes, detail: why.clone(), pause: Some(Pause { why, after: None, parked: failure.needs_repair() }) }
            }
        }
    }
}

/// Writes the parts one after the other. Our own fault ends the body early, so that the peer never sees a whole one.
async fn produce(
    store: &Store,
    boundary: &str,
    parcels: Vec<Parcel>,
    out: &mpsc::Sender<Result<Bytes, std::io::Error>>,
    spoilt: &Spoilt,
) {
    for Parcel { item, plan } in parcels {
        let mut head = multipart::part_header(boundary, plan.transfer_syntax.as_str()).into_bytes();
        head.extend_from_slice(&plan.prefix(&item));
        if out.send(Ok(head.into())).await.is_err() {
            return;
        }
        if let Err(error) = data_set(store, &item, &plan, out).await {
            let damaged = error.is_damage();
            *spoilt.lock().unwrap_or_else(PoisonError::into_inner) = Some((item.transfer, error.to_string(), damaged));
            let _ = out.send(Err(std::io::Error::other(error.to_string()))).await;
            return;
        }
    }
    let _ = out.send(Ok(multipart::closing(boundary).into())).await;
}

async fn data_set(
    store: &Store,
    item: &Leased,
    plan: &Plan,
    out: &mpsc::Sender<Result<Bytes, std::io::Error>>,
) -> Result<(), BodyError> {
    let mut data = DataSet::open(store, item, plan).await?;
    while let Some(bytes) = data.next().await? {
        if out.send(Ok(bytes)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn merge(report: &mut Report, part: Report) {
    report.outcomes.extend(part.outcomes);
    if !report.detail.is_empty() {
        report.detail.push_str("; ");
    }
    report.detail.push_str(&part.detail);
    report.pause = part.pause.or_else(|| report.pause.take());
}

/// Not sent because the destination was found to be unusable meanwhile.
fn untouched(why: &str) -> Outcome {
    Outcome::Deferred { why: format!("not sent: {why}"), charge: Charge::Destination, after: None }
}

/// A failure of our own, before anything was sent.
pub(super) fn own_fault(error: &BodyError) -> Outcome {
    match error {
        error if error.is_damage() => Outcome::Dead { why: error.to_string() },
        _ => Outcome::Deferred { why: error.to_string(), charge: Charge::Us, after: None },
    }
}

/// Our own side ended the body: the culprit is judged, the others are unknown, since whole parts may have arrived.
fn interrupted(items: &[Item], culprit: TransferId, why: &str, damaged: bool) -> Report {
    let outcome = |id: TransferId| match (id == culprit, damaged) {
        (true, true) => Outcome::Dead { why: why.to_owned() },
        (true, false) => Outcome::Deferred { why: why.to_owned(), charge: Charge::Us, after: None },
        (false, _) => Outcome::Unknown { why: "the request was broken off, because another instance in it could not be read".into() },
    };
    let outcomes = items.iter().map(|(id, _)| (*id, outcome(*id))).collect();
    Report { outcomes, detail: format!("broken off by us: {why}"), pause: None }
}

/// No answer came: surely not sent, or ambiguous (WEB-066, WEB-067).
fn failed(failure: &Failure, items: &[Item]) -> Report {
    let why = failure.to_string();
    let parked = failure.needs_repair();
    let surely_not_sent = matches!(failure.stage, Stage::Dns | Stage::Connect | Stage::Tls(_) | Stage::BeforeBody);
    let outcome = match (surely_not_sent, parked) {
        (true, true) => Outcome::Parked { why: why.clone() },
        (true, false) => Outcome::Deferred { why: why.clone(), charge: Charge::Destination, after: None },
        (false, _) => Outcome::Unknown { why: why.clone() },
    };
    let outcomes = items.iter().map(|(id, _)| (*id, outcome.clone())).collect();
    Report { outcomes, detail: why.clone(), pause: Some(Pause { why, after: None, parked }) }
}
