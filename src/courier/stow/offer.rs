//! One request to store as it goes out: its body, the address to which it goes, and what came back before anything is judged.

use super::StowCarrier;
use super::parcel::{Coming, Parcel, Spoilt};
use crate::courier::body::Fault;
use crate::dicomweb::client::{PartsBody, SendFailure, StoreAnswer};
use crate::ledger::transfer::TransferId;
use crate::records::{Batch, Retrievable};
use std::sync::{Arc, PoisonError};

/// Where a peer takes what it is sent (PS3.18 section 10.5.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Address {
    /// `/studies/{study}`.
    #[default]
    Study,
    /// `/studies`: some peers have no other.
    Studies,
}

impl Address {
    fn other(self) -> Self {
        match self {
            Self::Study => Self::Studies,
            Self::Studies => Self::Study,
        }
    }
}

/// What came of a request.
pub(super) enum Offered {
    /// An answer.
    Answered(Box<StoreAnswer>),
    /// None.
    Failed(SendFailure),
    /// Our own side spoilt the body.
    Spoilt(TransferId, Fault),
    /// There was no body to send.
    Ours(String),
}

/// What an answer says of the address at which it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// There is no such service.
    Nowhere,
    /// It may be that of whatever stands at a wrong address, and judges no instance.
    Anything,
    /// Nothing of that, and it is heeded all the same: something may have been taken, or is not wanted, or not now.
    Heeded,
    /// The peer stores there.
    Service,
}

/// `named` tells whether the answer has the body of one to a request to store, `page` whether that is a web page.
fn says(status: u16, named: bool, page: bool) -> Says {
    match status {
        _ if named => Says::Service,
        200..=299 if page => Says::Anything,
        200..=299 => Says::Service,
        404 | 405 => Says::Nowhere,
        300..=400 | 410 => Says::Anything,
        _ => Says::Heeded,
    }
}

impl Offered {
    fn says(&self) -> Says {
        match self {
            Self::Answered(answer) => {
                let named = matches!(&answer.module, Ok(Some(module)) if !module.is_empty());
                says(answer.status, named, answer.is_page())
            }
            Self::Failed(_) | Self::Spoilt(..) | Self::Ours(_) => Says::Heeded,
        }
    }
}

impl StowCarrier {
    /// Offers parcels at the address at which the peer takes them as far as is known, and if there is none once at the other. What is said there
    /// counts unless that is no service either (WEB-051).
    pub(super) async fn offer(&self, batch: &Batch, parcels: &[Parcel]) -> Offered {
        let address = self.memory.address();
        let first = self.offer_at(address, batch, parcels).await;
        if first.says() != Says::Nowhere {
            return first;
        }
        let second = self.offer_at(address.other(), batch, parcels).await;
        match second.says() {
            Says::Nowhere | Says::Anything => first,
            Says::Heeded => second,
            Says::Service => {
                self.memory.is_taken_at(address.other());
                second
            }
        }
    }

    async fn offer_at(&self, address: Address, batch: &Batch, parcels: &[Parcel]) -> Offered {
        let spoilt = Spoilt::default();
        let coming = Coming::default();
        let next = |at: usize| -> Option<Retrievable> { parcels.get(at + 1).map(|next| next.item.copy.clone()) };
        let part = |(at, parcel): (usize, &Parcel)| {
            parcel.clone().part(self.store.clone(), Arc::clone(&spoilt), (next(at), coming.clone()))
        };
        let parts = parcels.iter().enumerate().map(part).collect();
        let body = match PartsBody::related(parts) {
            Ok(body) => body,
            Err(error) => return Offered::Ours(error.to_string()),
        };
        let answered = match address {
            Address::Study => self.client.store(&batch.study, body).await,
            Address::Studies => self.client.store_plainly(body).await,
        };
        let own = spoilt.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (answered, own) {
            (_, Some((transfer, fault))) => Offered::Spoilt(transfer, fault),
            (Ok(answer), None) => Offered::Answered(Box::new(answer)),
            (Err(failure), None) => Offered::Failed(failure),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicomweb::client::Stage;
    use crate::dicomweb::stow::StoreResponse;

    /// WEB-051: what an answer without a body, with a page, and with the body of one to a request to store says of its address.
    #[test]
    fn what_is_no_service_is_told_from_what_may_be_one() {
        let rows = [
            (200, Says::Service, Says::Anything),
            (202, Says::Service, Says::Anything),
            (301, Says::Anything, Says::Anything),
            (400, Says::Anything, Says::Anything),
            (401, Says::Heeded, Says::Heeded),
            (403, Says::Heeded, Says::Heeded),
            (404, Says::Nowhere, Says::Nowhere),
            (405, Says::Nowhere, Says::Nowhere),
            (406, Says::Heeded, Says::Heeded),
            (409, Says::Heeded, Says::Heeded),
            (410, Says::Anything, Says::Anything),
            (413, Says::Heeded, Says::Heeded),
            (415, Says::Heeded, Says::Heeded),
            (429, Says::Heeded, Says::Heeded),
            (500, Says::Heeded, Says::Heeded),
            (503, Says::Heeded, Says::Heeded),
        ];
        for (status, bare, page) in rows {
            assert_eq!((says(status, false, false), says(status, false, true)), (bare, page), "{status}");
            assert_eq!(says(status, true, false), Says::Service, "{status}");
        }
        let lost = SendFailure { stage: Stage::AfterFirstByte, sent: 1, detail: String::new() };
        assert_eq!(Offered::Failed(lost).says(), Says::Heeded, "it may have been taken");
    }

    /// WEB-051: what web frameworks and gateways of cloud services say of an address that is not there.
    #[test]
    fn an_error_in_json_is_not_the_body_of_an_answer_to_a_request_to_store() {
        let answer = |status, module| {
            Offered::Answered(Box::new(StoreAnswer {
                status,
                retry_after: None,
                warnings: Vec::new(),
                content_type: Some("application/json".into()),
                module: Ok(Some(module)),
                refuses_us: false,
                no_room: false,
                body_sent: true,
                sent: 1,
            }))
        };
        let error = || StoreResponse::from_json(b"{\"detail\": \"Not Found\", \"code\": 404}").unwrap();
        let failed = StoreResponse { other_failures: vec![0x0110], ..StoreResponse::default() };
        for (status, want) in [(404, Says::Nowhere), (405, Says::Nowhere), (400, Says::Anything), (200, Says::Service)]
        {
            assert_eq!(answer(status, error()).says(), want, "{status}");
            assert_eq!(answer(status, failed.clone()).says(), Says::Service, "{status}");
        }
    }

    #[test]
    fn each_address_has_another() {
        assert_eq!(Address::default(), Address::Study, "that is where the standard has a study go");
        for address in [Address::Study, Address::Studies] {
            assert!(address.other() != address && address.other().other() == address);
        }
    }
}
