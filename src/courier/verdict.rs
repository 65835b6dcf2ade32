//! Every answer or failure of a destination -> one outcome per transfer. Pure tables; nothing else decides.
//!
//! The rule that decides: an instance is accepted only if the answer is 2xx and names it as stored and not as failed;
//! what is not mentioned is unknown, never success (WEB-040, INV-05).

use super::carrier::Report;
use crate::dicom::uid::InstanceUid;
use crate::dicomweb::stow::StoreResponse;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::transfer::TransferId;
use std::time::Duration;

/// A transfer as a verdict sees it.
pub type Item = (TransferId, InstanceUid);

/// What a peer answered to a STOW-RS request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The Store Instances Response Module, if one could be read.
    pub module: Option<StoreResponse>,
    /// Why none could be read, or what the body said instead.
    pub remark: String,
    /// What `Retry-After` asked for, already clamped (WEB-075).
    pub retry_after: Option<Duration>,
}

/// What is to be done after an answer.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Settle this.
    Settle(Report),
    /// The batch as a whole was refused; its halves may fare better (WEB-048, WEB-057).
    Split(Report),
}

/// Judges the answer to one STOW-RS request (WEB-041 to WEB-065).
pub fn stow(answer: &Answer, items: &[Item]) -> Verdict {
    let detail = format!("HTTP {}{}", answer.status, remark(answer));
    let all = |outcome: Outcome, unusable: bool| Report {
        outcomes: items.iter().map(|(id, _)| (*id, outcome.clone())).collect(),
        detail: detail.clone(),
        unusable,
        ..Report::default()
    };
    let unknown = || Outcome::Unknown { why: format!("{detail}: does not say which instances are stored") };
    let wait = |why: &str| {
        let why = format!("{detail}: {why}");
        all(Outcome::Deferred { why, charge: Charge::Destination, after: answer.retry_after }, true)
    };
    let park = |why: &str| all(Outcome::Parked { why: format!("{detail}: {why}") }, true);
    let settled = match (answer.status, &answer.module) {
        (200..=299, Some(module)) => by_name(module, items, &detail, answer.retry_after),
        // A body that names instances counts on these too; 400 and 409 list each one's reason.
        (400 | 409 | 422, Some(module)) if mentions(module) => by_name(module, items, &detail, answer.retry_after),
        (200..=299 | 406, _) => all(unknown(), false),
        (300..=399, _) => park("redirects are not followed; correct the peer's url"),
        (400, _) if items.len() > 1 => return Verdict::Split(all(unknown(), false)),
        (400, _) => all(Outcome::Dead { why: format!("{detail}: the peer cannot read this instance") }, false),
        (401 | 407, _) => park("the peer does not accept who we are; see its `identity` or token for us"),
        (403, _) => park("the peer does not let us store; ask its administrator"),
        (404 | 405, _) => park("no STOW-RS service at this address; correct the peer's url"),
        (408 | 425 | 417, _) => wait("not processed"),
        (409 | 422, _) => all(unknown(), false),
        (411, _) => park("the peer asks for a length although one was sent"),
        (413, _) if items.len() > 1 => return Verdict::Split(wait("too large for the peer")),
        (413, _) => all(Outcome::Dead { why: format!("{detail}: larger than the peer takes") }, false),
        (415, _) => all(Outcome::Dead { why: format!("{detail}: the peer does not take this transfer syntax") }, false),
        (429, _) => wait("the peer asks us to slow down"),
        (501, _) => all(Outcome::Dead { why: format!("{detail}: the peer does not support this SOP class") }, false),
        (503, _) => wait("the peer is busy"),
        (507, _) => wait("the peer's disk is full"),
        _ => all(unknown(), true),
    };
    Verdict::Settle(settled)
}

fn remark(answer: &Answer) -> String {
    if answer.remark.is_empty() { String::new() } else { format!(" ({})", answer.remark) }
}

fn mentions(module: &StoreResponse) -> bool {
    !module.referenced.is_empty() || !module.failed.is_empty()
}

/// Judges each transfer by its own name in the answer (WEB-040). A name in both lists counts as failed (FLT-055).
fn by_name(module: &StoreResponse, items: &[Item], detail: &str, after: Option<Duration>) -> Report {
    let outcome = |uid: &InstanceUid| {
        if let Some(failed) = module.failed.iter().find(|failed| failed.sop_instance == *uid) {
            return failure_reason(failed.failure_reason, detail, after);
        }
        match module.referenced.iter().find(|stored| stored.sop_instance == *uid) {
            Some(stored) => Outcome::Accepted { evidence: accepted(detail, stored.warning_reason) },
            None => Outcome::Unknown { why: format!("{detail}: the answer names it neither stored nor failed") },
        }
    };
    let outcomes: Vec<_> = items.iter().map(|(id, uid)| (*id, outcome(uid))).collect();
    Report { outcomes, detail: detail.to_owned(), unusable: false, ..Report::default() }
}

fn accepted(detail: &str, warning: Option<u16>) -> String {
    match warning {
        Some(0xB006) => format!("{detail}, named as stored, but with elements discarded (B006)"),
        Some(code) => format!("{detail}, named as stored with warning {code:04X}"),
        None => format!("{detail}, named as stored"),
    }
}

/// What a Failure Reason (0008,1197) means for the transfer (PS3.18 annex I.2, requirements after WEB-067).
pub fn failure_reason(reason: u16, detail: &str, after: Option<Duration>) -> Outcome {
    let why = |text: &str| format!("{detail}, failure reason {reason:04X}: {text}");
    let later = |text: &str| Outcome::Deferred { why: why(text), charge: Charge::Instance, after };
    match reason {
        0xA700..=0xA7FF => later("the peer is out of resources"),
        0xB00E => Outcome::Unknown { why: why("the peer says that it already has it") },
        0xB00F | 0x0110 => later("the peer could not process it"),
        0xC010 => Outcome::Dead { why: why("the peer holds other content under this UID; a person there must decide") },
        0xC122 => Outcome::Dead { why: why("the peer does not take this transfer syntax") },
        0xA900..=0xA9FF => Outcome::Dead { why: why("the peer finds that it does not match its SOP class or study") },
        0xC000..=0xCFFF => Outcome::Dead { why: why("the peer cannot understand it") },
        0x0117 => Outcome::Dead { why: why("the peer finds its UID invalid") },
        0x0122 => Outcome::Dead { why: why("the peer does not support its SOP class") },
        0x0124 => Outcome::Parked { why: why("the peer does not let us store") },
        _ => later("the peer could not store it"),
    }
}

/// What a C-STORE status means for the transfer (PS3.7 annex C, PS3.4 section B.2.3; DIM-054).
pub fn c_store(status: u16, comment: &str) -> Outcome {
    let said = if comment.is_empty() { String::new() } else { format!(" ({comment})") };
    let why = |text: &str| format!("C-STORE status {status:04X}{said}: {text}");
    match status {
        0x0000 => Outcome::Accepted { evidence: "C-STORE status 0000".into() },
        // Warning means stored (DIM decision table: "Warning = stored").
        0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => {
            Outcome::Accepted { evidence: format!("C-STORE status {status:04X}, stored with a warning{said}") }
        }
        0xA700..=0xA7FF => {
            Outcome::Deferred { why: why("the node is out of resources"), charge: Charge::Instance, after: None }
        }
        0x0110 | 0x0210..=0x0213 => {
            Outcome::Deferred { why: why("the node could not process it"), charge: Charge::Instance, after: None }
        }
        0x0124 => Outcome::Parked { why: why("the node does not let us store") },
        0xA900..=0xA9FF => Outcome::Dead { why: why("the node finds that it does not match its SOP class") },
        0xC000..=0xCFFF => Outcome::Dead { why: why("the node cannot understand it") },
        0x0117 => Outcome::Dead { why: why("the node finds its UID invalid") },
        0x0122 => Outcome::Dead { why: why("the node does not support its SOP class") },
        0x0100..=0x02FF => Outcome::Dead { why: why("the node refuses it") },
        _ => Outcome::Deferred { why: why("not a status of C-STORE"), charge: Charge::Instance, after: None },
    }
}

#[cfg(test)]
mod tests;
