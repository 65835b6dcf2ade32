//! What a carrier reports of each fate; the answers themselves are judged by the real tables.

use super::destination::Part;
use crate::courier::carrier::Report;
use crate::courier::verdict::{Answer, Then, Verdict};
use crate::dicomweb::stow::{Failed, Referenced, StoreResponse};
use crate::ledger::breaker::Asking;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::TransferId;
use crate::records::Leased;
use std::time::Duration;

fn all(items: &[&Leased], outcome: &Outcome) -> Report {
    let outcomes = items.iter().map(|item| (item.transfer, outcome.clone())).collect();
    Report { outcomes, detail: outcome.words().to_owned(), unusable: true, ..Report::default() }
}

/// A verdict that decides on all.
pub(super) fn settled(report: Report) -> Verdict {
    Verdict { report, then: Then::Nothing }
}

/// It was surely not sent.
pub(super) fn unreachable(items: &[&Leased]) -> Report {
    let why = "the connection was refused".to_owned();
    all(items, &Outcome::Deferred { why, charge: Charge::Destination, after: None })
}

/// Their certificate has expired.
pub(super) fn unusable(items: &[&Leased]) -> Report {
    all(items, &Outcome::Parked { why: "the certificate has expired".into() })
}

/// No answer came.
pub(super) fn lost(items: &[&Leased]) -> Report {
    all(items, &Outcome::Unknown { why: "the connection broke".into() })
}

/// It is said to be there already, and no answer to a question came.
pub(super) fn claimed(items: &[&Leased]) -> Report {
    all(items, &Outcome::Claimed { why: "said to be there, and the connection broke".into() })
}

/// It is said to be busy, and was asked: of what it does not have is said what is said of all where nothing arrived.
pub(super) fn doubted(items: &[&Leased], shown: impl Fn(TransferId) -> bool) -> Report {
    let (there, missing): (Vec<&Leased>, Vec<&Leased>) = items.iter().copied().partition(|item| shown(item.transfer));
    let mut report = unreachable(&missing);
    report.outcomes.extend(there.into_iter().map(|item| (item.transfer, seen(true))));
    report
}

/// A report of questions without an answer.
pub(super) fn unasked(report: Report) -> Report {
    let asking = Some(Asking::Not { why: "the connection broke".into(), after: None });
    Report { asking, unusable: false, ..report }
}

/// What a question showed of one.
pub(super) fn seen(shown: bool) -> Outcome {
    match shown {
        true => Outcome::Verified { evidence: "shown".into() },
        false => Outcome::Absent { why: "not there".into() },
    }
}

/// A status without a word about the instances.
pub(super) fn status(status: u16, retry_after: Option<Duration>) -> Answer {
    let (module, remark) = (None, String::new());
    let (refuses_us, pages, no_room, problem, whole) = (false, false, false, false, true);
    Answer { status, module, remark, refuses_us, pages, no_room, problem, whole, retry_after }
}

/// An answer that speaks of each instance, and names the patient, as destinations may.
pub(super) fn answer(items: &[&Leased], parts: &[Part]) -> Answer {
    let mut module = StoreResponse::default();
    for (item, part) in items.iter().zip(parts) {
        let (sop_class, sop_instance) = (None, item.sop_instance.clone());
        match part {
            Part::Stored | Part::Lie => {
                let (retrieve_url, warning_reason) = (None, None);
                module.referenced.push(Referenced { sop_class, sop_instance, retrieve_url, warning_reason });
            }
            Part::Failed(failure_reason) => {
                module.failed.push(Failed { sop_class, sop_instance, failure_reason: *failure_reason });
            }
            Part::Unnamed(_) => {}
        }
    }
    let status = if module.failed.is_empty() { 200 } else { 202 };
    let remark = "of SECRET^NAME".to_owned();
    Answer { module: Some(module), remark, ..self::status(status, None) }
}
