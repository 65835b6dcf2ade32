//! What a Failure Reason of STOW-RS and a status of C-STORE mean for the one instance that they are about. Pure.

use crate::ledger::outcome::{Outcome, Refusal};
use std::time::Duration;

/// What is said of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It comes to this.
    Outcome(Outcome),
    /// It may be the transfer syntax: tried once in the native one if it went in another; else it comes to this (WEB-058).
    Syntax(Outcome),
    /// It is said to be there already, which is to be seen (FLT-056).
    There,
}

impl Judged {
    fn dead(why: String) -> Self {
        Self::Outcome(Outcome::Dead { why })
    }

    fn refused(why: String, after: Option<Duration>, refusal: Refusal) -> Self {
        Self::Outcome(Outcome::Refused { why, after, refusal })
    }
}

/// A class that the destination does not take: parked there; one is tried now and then (WEB-063).
pub(super) fn unsupported(detail: &str) -> Outcome {
    let why = format!("{detail}: the SOP class is not supported there");
    Outcome::Unsupported { why, said: true }
}

/// What a Failure Reason (0008,1197) means for the transfer (PS3.18 annex I.2; WEB-054). `after` is what the answer asked us to
/// wait. A reason that is not known may pass, and is tried again, but not often.
pub fn failure_reason(reason: u16, detail: &str, after: Option<Duration>) -> Judged {
    let detail = format!("{detail}, failure reason {reason:04X}");
    let why = |text: &str| format!("{detail}: {text}");
    match reason {
        0xA700..=0xA7FF | 0x0213 => Judged::refused(why("the peer is out of resources"), after, Refusal::Scarce),
        // B00E is what one cloud service says, 0111 what the standard has for it elsewhere.
        0xB00E | 0x0111 => Judged::There,
        0xB00F | 0x0110 => Judged::refused(why("the peer could not process it"), after, Refusal::Instance),
        0xC010 => Judged::dead(why("the peer holds other content under this UID; a person there must decide")),
        0xC122 => Judged::Syntax(Outcome::Dead { why: why("the peer does not take this transfer syntax") }),
        0xA900..=0xA9FF => Judged::dead(why("the peer finds that it does not match its SOP class or study")),
        0xC000..=0xCFFF => Judged::dead(why("the peer cannot understand it")),
        0x0118 | 0x0122 => Judged::Outcome(unsupported(&detail)),
        0x0124 => Judged::refused(why("the peer does not let us store"), after, Refusal::Forbidden),
        0x0117 | 0x0119 => Judged::dead(why("the peer finds its UID invalid")),
        0x0105 | 0x0106 | 0x0112..=0x0115 | 0x0120 | 0x0121 | 0x0123 => {
            Judged::dead(why("the peer refuses its content"))
        }
        _ => Judged::refused(why("the peer could not store it"), after, Refusal::Instance),
    }
}

/// Whether a C-STORE status says that the instance is stored, with a warning (PS3.7 annex C).
pub fn is_warning(status: u16) -> bool {
    matches!(status, 0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF)
}

/// What a C-STORE status means for the transfer (PS3.7 annex C, PS3.4 section B.2.3; DIM-054).
pub fn c_store(status: u16, comment: &str) -> Judged {
    let said = if comment.is_empty() { String::new() } else { format!(" ({comment})") };
    let why = |text: &str| format!("C-STORE status {status:04X}{said}: {text}");
    match status {
        0x0000 => Judged::Outcome(Outcome::Accepted { evidence: "C-STORE status 0000".into() }),
        // Warning means stored (DIM decision table: "Warning = stored").
        _ if is_warning(status) => {
            let evidence = format!("C-STORE status {status:04X}, stored with a warning{said}");
            Judged::Outcome(Outcome::Accepted { evidence })
        }
        0xA700..=0xA7FF | 0x0213 => Judged::refused(why("the node is out of resources"), None, Refusal::Scarce),
        0x0110 | 0x0210..=0x0212 => Judged::refused(why("the node could not process it"), None, Refusal::Instance),
        0x0124 => Judged::refused(why("the node does not let us store"), None, Refusal::Forbidden),
        0xC010 => Judged::dead(why("the node holds other content under this UID; a person there must decide")),
        0xA900..=0xA9FF => {
            Judged::Syntax(Outcome::Dead { why: why("the node finds that it does not match its SOP class") })
        }
        0xC000..=0xCFFF => Judged::Syntax(Outcome::Dead { why: why("the node cannot understand it") }),
        0x0111 => Judged::dead(why(
            "the node holds this UID already, and cannot be asked what it holds; a person must decide",
        )),
        0x0117 | 0x0119 => Judged::dead(why("the node finds its UID invalid")),
        0x0118 | 0x0122 | 0xA800 => Judged::Outcome(unsupported(&format!("C-STORE status {status:04X}{said}"))),
        0x0105 | 0x0106 | 0x0112..=0x0115 | 0x0120 | 0x0121 | 0x0123 => {
            Judged::dead(why("the node refuses its content"))
        }
        0xFE00 | 0xFF00 | 0xFF01 => Judged::refused(why("not an answer to C-STORE"), None, Refusal::Instance),
        _ => Judged::refused(why("the node could not store it"), None, Refusal::Instance),
    }
}
