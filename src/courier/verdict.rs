//! Every answer or failure of a destination -> one outcome per transfer. Pure tables; nothing else decides.
//!
//! The rule that decides: an instance is accepted only if the answer is 2xx and names it as stored and not as failed;
//! what is not mentioned is unknown, never success (WEB-040, INV-05).

mod reasons;

pub use reasons::{Judged, c_store, failure_reason, is_warning};

use super::carrier::Report;
use crate::dicom::uid::{InstanceUid, SopClassUid, TransferSyntaxUid};
use crate::dicomweb::stow::StoreResponse;
use crate::ledger::outcome::{Charge, Outcome, Refusal};
use crate::ledger::transfer::TransferId;
use std::time::Duration;

/// A transfer as a verdict sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The transfer.
    pub transfer: TransferId,
    /// Its instance.
    pub instance: InstanceUid,
    /// Its class.
    pub sop_class: SopClassUid,
    /// The syntax in which it went, if that was another than Explicit VR Little Endian, so that it may yet be taken in that.
    pub compressed: Option<TransferSyntaxUid>,
    /// Whether the peer has taken one of its class before.
    pub familiar: bool,
}

/// What a peer answered to a STOW-RS request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The Store Instances Response Module, if one could be read.
    pub module: Option<StoreResponse>,
    /// Why none could be read, or what the body said instead.
    pub remark: String,
    /// It is a page about our certificate, which a server in front of the peer does not accept.
    pub refuses_us: bool,
    /// It is a web page, as was the refusal of another study, and nothing was taken in between: whatever stands in front of the peer
    /// refuses us all, and judges no instance.
    pub pages: bool,
    /// It says that there is no room for so much.
    pub no_room: bool,
    /// It says what is wrong in the form of RFC 9457, as services do.
    pub problem: bool,
    /// The whole request had been handed over when it came.
    pub whole: bool,
    /// What `Retry-After` asked for, already clamped (WEB-075).
    pub retry_after: Option<Duration>,
}

/// What an answer means, and what is to be done about those on which it does not decide.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Settle this.
    pub report: Report,
    /// What is to be done with those that the report leaves out.
    pub then: Then,
}

/// What is to be done with transfers on which an answer does not decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Then {
    /// There are none.
    #[default]
    Nothing,
    /// All were refused together: the halves may fare better (WEB-048, WEB-057, WEB-064).
    Halve,
    /// All were refused for a class, and there are several: each class by itself (WEB-063).
    ByClass,
    /// All were refused for a transfer syntax, and there are several: each syntax by itself (WEB-058).
    BySyntax,
    /// These may be taken in Explicit VR Little Endian; what cannot be re-encoded is given up (WEB-058).
    Natively {
        /// Which.
        of: Vec<TransferId>,
        /// What was said.
        why: String,
    },
    /// These may be there already: the peer is asked, and the content compared (WEB-055, FLT-056).
    Ask {
        /// Which.
        of: Vec<TransferId>,
        /// What was said.
        why: String,
        /// What is done with those that are not there.
        absent: Absent,
    },
    /// The peer was given all of them, and is said to be busy, perhaps by what stands before it: it is asked which it has, and the others wait
    /// with it (WEB-064, FLT-061).
    Doubt {
        /// What was said.
        why: String,
    },
}

/// What is done with an instance that a peer refused as if it had it, and does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It was refused together with others: sent once more by itself.
    Alone,
    /// It was refused by itself: given up.
    Dead,
    /// The peer named it: tried again, but not often.
    Later,
}

/// Judges the answer to one STOW-RS request (WEB-041 to WEB-065).
pub fn stow(answer: &Answer, items: &[Item]) -> Verdict {
    let detail = format!("HTTP {}{}", answer.status, remark(answer));
    // An object that has nothing of a module is none: errors are told in JSON, too.
    let module = answer.module.as_ref().filter(|module| !module.is_empty());
    let judge = Judge { answer, module, items, detail };
    match (answer.status, module) {
        (200..=299, Some(module)) => judge.by_name(module),
        // A body that names instances counts on these too; 400 and 409 list each one's reason.
        (400 | 409 | 415 | 422 | 501, Some(module)) if judge.mentions(module) => judge.by_name(module),
        _ => judge.as_a_whole(),
    }
}

/// What an answer that says nothing of single instances means for all of them.
pub fn unnamed(status: u16) -> &'static str {
    match status {
        501 => "does not say whether anything was stored, nor that a SOP class is not taken",
        202 => "taken, but not processed yet; it is asked for until it shows",
        200..=299 => "does not say which instances are stored",
        406 => "the peer does not answer in the form that we asked for; the next request asks for the other",
        _ => "does not say whether anything was stored",
    }
}

fn remark(answer: &Answer) -> String {
    if answer.remark.is_empty() { String::new() } else { format!(" ({})", answer.remark) }
}

/// One answer and what it answers to.
struct Judge<'a> {
    answer: &'a Answer,
    /// What it says of instances, if it says anything.
    module: Option<&'a StoreResponse>,
    items: &'a [Item],
    detail: String,
}

impl Judge<'_> {
    /// Whether an answer that says failure tells of single instances. A reason under no name is that of the only part, unless the status says
    /// as much or more: then it may be there already, or be taken in another syntax.
    fn mentions(&self, module: &StoreResponse) -> bool {
        let of_the_only_part = self.answer.status != 415
            && matches!((&module.other_failures[..], self.items), (&[code], [_]) if says_why(code));
        !module.referenced.is_empty() || !module.failed.is_empty() || of_the_only_part
    }

    /// An answer that names no instance.
    fn as_a_whole(&self) -> Verdict {
        let (status, several) = (self.answer.status, self.items.len() > 1);
        match status {
            200..=299 | 406 => self.unknown(false),
            300..=399 => self.park("redirects are not followed; correct the peer's url"),
            400 if self.answer.refuses_us => {
                self.park("a server in front of the peer does not accept our certificate; it names no instance")
            }
            400 | 413 if self.answer.pages => self.wait("a web page that refuses one study after the other"),
            400 | 413 if several => self.then(Then::Halve),
            400 => self.dead("the peer cannot read this instance"),
            401 | 407 => self.park("the peer does not accept who we are; see its `identity` or token for us"),
            403 => self.park("the peer does not let us store; ask its administrator"),
            404 | 405 => self.park("no STOW-RS service at this address; correct the peer's url"),
            408 | 417 | 425 => self.wait("not processed"),
            409 | 422 => self.then(Then::Ask {
                of: self.all(),
                why: self.detail.clone(),
                absent: if several { Absent::Alone } else { Absent::Dead },
            }),
            411 => self.park("the peer asks for a length although one was sent"),
            413 => self.dead("larger than the peer takes"),
            415 if self.items.iter().any(|item| item.compressed != self.items[0].compressed) => {
                self.then(Then::BySyntax)
            }
            415 if self.items.iter().any(|item| item.compressed.is_some()) => {
                self.then(Then::Natively { of: self.all(), why: self.detail.clone() })
            }
            415 if several => self.then(Then::Halve),
            415 => self.dead("the peer takes it neither as it is stored nor in Explicit VR Little Endian"),
            429 => self.wait("the peer asks us to slow down"),
            // What is no answer of a DICOM service says nothing of a class (WEB-063).
            501 if !self.answer.remark.is_empty() => self.unknown(true),
            501 if self.items.iter().any(|item| item.sop_class != self.items[0].sop_class) => self.then(Then::ByClass),
            501 if self.module.is_none() && self.items.iter().any(|item| item.familiar) => self.unknown(true),
            501 => self.each(|_| reasons::unsupported(&self.detail)),
            503 if self.answer.no_room && several => self.then(Then::Halve),
            503 if self.answer.no_room => self.wait("the peer has no room for it"),
            503 if self.may_be_taken() => self.doubt(),
            503 => self.wait("the peer is busy"),
            507 => self.wait("the peer's disk is full"),
            _ => self.unknown(true),
        }
    }

    /// Whether a 503 may be that of a proxy, for a peer that was given all and may have taken it: it names no time, and is no answer of a
    /// service (WEB-064).
    fn may_be_taken(&self) -> bool {
        let answer = self.answer;
        answer.whole && answer.retry_after.is_none() && self.module.is_none() && !answer.problem
    }

    /// The peer is asked, and left alone.
    fn doubt(&self) -> Verdict {
        let mut verdict =
            self.then(Then::Doubt { why: self.words("the peer is said to be busy, and was given all of it") });
        verdict.report.unusable = true;
        verdict
    }

    fn all(&self) -> Vec<TransferId> {
        self.items.iter().map(|item| item.transfer).collect()
    }

    /// Nothing is decided yet.
    fn then(&self, then: Then) -> Verdict {
        Verdict { report: Report { detail: self.detail.clone(), ..Report::default() }, then }
    }

    fn each(&self, outcome: impl Fn(&Item) -> Outcome) -> Verdict {
        let outcomes = self.items.iter().map(|item| (item.transfer, outcome(item))).collect();
        let report = Report { outcomes, detail: self.detail.clone(), ..Report::default() };
        Verdict { report, then: Then::Nothing }
    }

    /// The same for all of them, and the destination is left alone for a while.
    fn unusable(&self, outcome: &Outcome) -> Verdict {
        let mut verdict = self.each(|_| outcome.clone());
        verdict.report.unusable = true;
        verdict
    }

    fn unknown(&self, unusable: bool) -> Verdict {
        let outcome = Outcome::Unknown { why: self.words(unnamed(self.answer.status)) };
        if unusable { self.unusable(&outcome) } else { self.each(|_| outcome.clone()) }
    }

    fn dead(&self, why: &str) -> Verdict {
        self.each(|_| Outcome::Dead { why: self.words(why) })
    }

    fn park(&self, why: &str) -> Verdict {
        self.unusable(&Outcome::Parked { why: self.words(why) })
    }

    /// The whole destination is left alone as long as it asks; no instance pays for it (WEB-061).
    fn wait(&self, why: &str) -> Verdict {
        let after = self.answer.retry_after;
        self.unusable(&Outcome::Deferred { why: self.words(why), charge: Charge::Destination, after })
    }

    fn words(&self, why: &str) -> String {
        format!("{}: {why}", self.detail)
    }

    /// Judges each transfer by its own name in the answer (WEB-040). A name in both lists counts as failed (FLT-055).
    fn by_name(&self, module: &StoreResponse) -> Verdict {
        let (mut natively, mut there) = (Vec::new(), Vec::new());
        let mut report = Report { detail: self.detail.clone(), ..Report::default() };
        for item in self.items {
            let judged = self.named(module, item);
            report.warnings.extend(warning(module, item).map(|code| (item.transfer, code)));
            match judged {
                Judged::Outcome(outcome) => report.outcomes.push((item.transfer, outcome)),
                Judged::Syntax(_) if item.compressed.is_some() => natively.push(item.transfer),
                Judged::Syntax(outcome) => report.outcomes.push((item.transfer, outcome)),
                Judged::There => there.push(item.transfer),
            }
        }
        let why = self.detail.clone();
        let then = match (natively.is_empty(), there.is_empty()) {
            (true, true) => Then::Nothing,
            (false, _) => {
                // One thing after the other: what may be there already is asked about and compared later.
                let doubt = Outcome::Claimed { why: self.words("the peer says that it already has it") };
                report.outcomes.extend(there.into_iter().map(|transfer| (transfer, doubt.clone())));
                Then::Natively { of: natively, why }
            }
            (true, false) => Then::Ask { of: there, why, absent: Absent::Later },
        };
        Verdict { report, then }
    }

    fn named(&self, module: &StoreResponse, item: &Item) -> Judged {
        let (detail, after) = (&self.detail, self.answer.retry_after);
        if let Some(failed) = module.failed.iter().find(|failed| failed.sop_instance == item.instance) {
            return failure_reason(failed.failure_reason, detail, after);
        }
        let stored = module.referenced.iter().find(|stored| stored.sop_instance == item.instance);
        let outcome = match (stored, &module.other_failures[..], self.items) {
            (Some(stored), ..) if (200..=299).contains(&self.answer.status) => {
                Outcome::Accepted { evidence: format!("{detail}, named as stored{}", warned(stored.warning_reason)) }
            }
            (Some(stored), ..) => {
                let warned = warned(stored.warning_reason);
                let why = format!("{detail}: it is named as stored{warned} in an answer that says failure");
                Outcome::Unknown { why }
            }
            // The only part of the request failed under no name: that was it.
            (None, &[reason], [_]) => return failure_reason(reason, detail, after),
            (None, ..) => Outcome::Unknown { why: format!("{detail}: the answer names it neither stored nor failed") },
        };
        Judged::Outcome(outcome)
    }
}

/// Whether a Failure Reason says more than that something failed.
fn says_why(code: u16) -> bool {
    let judged = failure_reason(code, "", None);
    !matches!(judged, Judged::Outcome(Outcome::Refused { refusal: Refusal::Instance, .. }))
}

/// What an answer warns of about an instance that it names as stored and not as failed.
fn warning(module: &StoreResponse, item: &Item) -> Option<u16> {
    let failed = module.failed.iter().any(|failed| failed.sop_instance == item.instance);
    let mut stored = module.referenced.iter().filter(|stored| stored.sop_instance == item.instance && !failed);
    stored.find_map(|stored| stored.warning_reason)
}

/// What a Warning Reason (0008,1196) adds to "named as stored" (PS3.18 annex I.2).
fn warned(reason: Option<u16>) -> String {
    match reason {
        Some(code @ 0xB000) => format!(", but with values changed ({code:04X})"),
        Some(code @ 0xB006) => format!(", but with elements discarded ({code:04X})"),
        Some(code @ 0xB007) => format!(", although it does not match its SOP class ({code:04X})"),
        Some(code) => format!(" with warning {code:04X}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
