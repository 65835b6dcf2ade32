//! What a peer shows: presence by QIDO-RS, and content read back by WADO-RS where it says that it had an instance already.

use super::parcel::Parcel;
use super::{Absent, StowCarrier};
use crate::courier::body::BodyError;
use crate::courier::carrier::Report;
use crate::courier::data_set::DataSet;
use crate::dicom::uid::InstanceUid;
use crate::dicomweb::client::{Presence, QueryFailure, ReadBack};
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::TransferId;
use crate::records::{Batch, Leased, Retrievable};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// What came of asking for instances that the peer refused as if it had them.
pub(super) struct Asked {
    pub(super) report: Report,
    /// To be sent once more, each by itself.
    pub(super) alone: Vec<Parcel>,
}

/// How our content compares with what the peer gave back.
enum Compared {
    Same,
    Other,
    /// It could not be compared: why.
    Not(String),
}

impl StowCarrier {
    /// Asks for what the answer named; what is seen is verified, the rest stays accepted and is asked for again later.
    pub(super) async fn look_for_accepted(&self, batch: &Batch, report: &mut Report) {
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
    pub(in crate::courier) async fn check(&self, batch: &Batch) -> Report {
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
            Err(failure) => unanswered(&failure, &batch.items),
        }
    }

    /// Asks for instances that the peer refused as if it had them, and compares what it shows with what we hold (WEB-055,
    /// FLT-056).
    pub(super) async fn ask(&self, batch: &Batch, parcels: Vec<Parcel>, why: &str, absent: Absent) -> Asked {
        let wanted: Vec<InstanceUid> = parcels.iter().map(|parcel| parcel.item.sop_instance.clone()).collect();
        let shown = match self.client.present(&batch.study, &wanted).await {
            Ok(shown) => shown,
            Err(failure) => {
                let items: Vec<Leased> = parcels.into_iter().map(|parcel| parcel.item).collect();
                return Asked { report: unanswered(&failure, &items), alone: Vec::new() };
            }
        };
        let detail = format!("QIDO-RS showed {} of {}", shown.found.len(), wanted.len());
        let (mut report, mut alone) = (Report { detail, ..Report::default() }, Vec::new());
        for parcel in parcels {
            let uid = &parcel.item.sop_instance;
            let outcome = match (shown.found.contains(uid), shown.elsewhere.contains(uid), absent) {
                (true, ..) => already_there(why, self.compare(&parcel).await),
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
                    scarce: false,
                },
            };
            report.outcomes.push((parcel.item.transfer, outcome));
        }
        Asked { report, alone }
    }

    /// Reads an instance back and compares its bytes with what we hold, or with what we would send.
    async fn compare(&self, parcel: &Parcel) -> Compared {
        let Retrievable { study, series, sop_instance, length, .. } = &parcel.item.copy;
        let most = length.max(&parcel.plan.length).saturating_mul(16).saturating_add(64 << 20);
        let back = match self.client.read_back(study, series, sop_instance, most).await {
            Ok(back) => back,
            Err(why) => return Compared::Not(why),
        };
        match self.same(parcel, &back).await {
            Ok(Some(true)) => Compared::Same,
            Ok(Some(false)) => Compared::Other,
            Ok(None) => Compared::Not(format!("the peer gave it in transfer syntax {}", back.transfer_syntax)),
            Err(error) => Compared::Not(error.to_string()),
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

fn already_there(why: &str, compared: Compared) -> Outcome {
    match compared {
        Compared::Same => Outcome::Verified {
            evidence: format!("{why}: already there; shown by QIDO-RS, read back by WADO-RS and the same"),
        },
        Compared::Other => Outcome::Dead {
            why: format!("{why}: the peer holds other content under this UID; a person there must decide"),
        },
        Compared::Not(reason) => Outcome::Verified {
            evidence: format!("{why}: already there; shown by QIDO-RS; its content was not compared: {reason}"),
        },
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

/// The peer could not be asked: what was unknown stays so.
fn unanswered(failure: &QueryFailure, items: &[Leased]) -> Report {
    let why = format!("cannot be asked what it holds: {failure}");
    let outcomes = items.iter().map(|item| (item.transfer, Outcome::Unknown { why: why.clone() })).collect();
    Report { outcomes, detail: why, unusable: true, ..Report::default() }
}
