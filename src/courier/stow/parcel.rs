//! One instance of a STOW-RS request: how it was planned, its part, and what its being spoilt means for the others.

use crate::courier::body::{BodyError, Fault, Plan, changed};
use crate::courier::carrier::Report;
use crate::courier::data_set::DataSet;
use crate::courier::verdict::Item;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicomweb::client::{OutPart, SourceError};
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::TransferId;
use crate::records::{Leased, Retrievable};
use crate::store::{Ahead, Store};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::{Arc, Mutex, PoisonError};

/// One instance of a request, planned.
#[derive(Clone)]
pub(super) struct Parcel {
    pub(super) item: Leased,
    pub(super) plan: Plan,
}

/// What our own side spoilt while a body was being sent: which transfer, and how.
pub(super) type Spoilt = Arc<Mutex<Option<(TransferId, Fault)>>>;

/// What of the next instance of a request has been read while the one before it is sent.
#[derive(Clone, Default)]
pub(super) struct Coming(Arc<Mutex<Ahead>>);

impl Coming {
    /// What was read of the instance whose turn it is.
    fn take(&self) -> Ahead {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the next one read.
    fn read(&self, store: &Store, next: &Retrievable) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = store.ahead(next.place, next.digest);
    }
}

impl Parcel {
    /// Whether it goes in another syntax than the native one of the web.
    pub(super) fn is_compressed(&self) -> bool {
        self.plan.transfer_syntax.as_str() != EXPLICIT_VR_LE
    }

    /// As a verdict sees it; `familiar` tells whether the peer has taken one of its class.
    pub(super) fn judged(&self, familiar: bool) -> Item {
        Item {
            transfer: self.item.transfer,
            instance: self.item.sop_instance.clone(),
            sop_class: self.item.sop_class.clone(),
            compressed: self.is_compressed().then(|| self.plan.transfer_syntax.clone()),
            familiar,
        }
    }

    /// Its part of a request; the blob is opened only when its turn comes.
    pub(super) fn part(self, store: Store, spoilt: Spoilt, (next, coming): (Option<Retrievable>, Coming)) -> OutPart {
        let prefix = self.plan.prefix(&self.item);
        OutPart {
            // Orthanc 1.10 answers 200 and stores nothing when a part names its transfer syntax in the Content-Type.
            transfer_syntax: None,
            length: prefix.len() as u64 + self.plan.length,
            data: stream::iter([Ok(Bytes::from(prefix))]).chain(data_set(store, self, spoilt, (next, coming))).boxed(),
        }
    }
}

/// The bytes of a data set as a stream. Our own fault ends it with an error, which breaks the request off, so that the
/// peer never sees a whole body (DIM-053, FLT-024).
fn data_set(
    store: Store,
    parcel: Parcel,
    spoilt: Spoilt,
    (next, coming): (Option<Retrievable>, Coming),
) -> BoxStream<'static, Result<Bytes, SourceError>> {
    let state = (store, parcel, spoilt, (next, coming), None::<DataSet>);
    stream::try_unfold(state, |(store, parcel, spoilt, (then, coming), data)| async move {
        let next = async {
            let mut data = match data {
                Some(data) => data,
                None => {
                    let data = DataSet::open_on(&store, &parcel.item, &parcel.plan, coming.take()).await?;
                    then.iter().for_each(|then| coming.read(&store, then));
                    data
                }
            };
            let bytes = data.next().await?;
            Ok::<_, BodyError>((bytes, data))
        };
        match next.await {
            Ok((Some(bytes), data)) => Ok(Some((bytes, (store, parcel, spoilt, (then, coming), Some(data))))),
            Ok((None, _)) => Ok(None),
            Err(error) => {
                *spoilt.lock().unwrap_or_else(PoisonError::into_inner) = Some((parcel.item.transfer, error.fault()));
                Err(SourceError::from(error))
            }
        }
    })
    .boxed()
}

/// What was accepted says by which rules it was changed.
pub(super) fn tell_changes(parcels: &[Parcel], report: &mut Report) {
    for Parcel { item, plan } in parcels {
        let Some(changes) = plan.changes(plan.re_encoded) else { continue };
        for (_, outcome) in report.outcomes.iter_mut().filter(|(id, _)| *id == item.transfer) {
            *outcome = changed(outcome.clone(), Some(&changes));
        }
    }
}

/// Our own side ended the body: the culprit is judged, the others are unknown, since whole parts may have arrived.
pub(super) fn interrupted(parcels: &[Parcel], culprit: TransferId, fault: &Fault) -> Report {
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
