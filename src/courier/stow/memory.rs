//! What a carrier remembers of its peer from one answer to the next, until the next start or reload.

use super::offer::Address;
use crate::courier::carrier::Report;
use crate::courier::verdict::Item;
use crate::dicom::uid::{SopClassUid, StudyUid, TransferSyntaxUid};
use crate::ledger::outcome::Outcome;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many transfer syntaxes, and so many SOP classes, are remembered.
const MOST: usize = 256;

/// What comes within this time after an answer comes at once.
const AT_ONCE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Memory {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Transfer syntaxes that the peer refused: what is in them goes natively at once.
    refused: BTreeSet<TransferSyntaxUid>,
    /// SOP classes of which it took an instance.
    taken: BTreeSet<SopClassUid>,
    /// The study of which a web page refused one instance by itself, since the peer took something last.
    paged: Option<StudyUid>,
    /// Where it takes what it is sent.
    address: Address,
    /// Whether it answered a question, and refused none since.
    answers: bool,
    /// When and how it was last said to be busy, if nothing that came of that has it left alone.
    busy: Option<(Instant, String)>,
}

impl Memory {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the peer refused a transfer syntax.
    pub(super) fn refuses(&self, syntax: &TransferSyntaxUid) -> bool {
        self.known().refused.contains(syntax)
    }

    /// The peer refused a transfer syntax (WEB-058).
    pub(super) fn refused(&self, syntax: &TransferSyntaxUid) {
        let mut known = self.known();
        if known.refused.len() < MOST {
            known.refused.insert(syntax.clone());
        }
    }

    /// Whether the peer took an instance of a class (WEB-063).
    pub(super) fn has_taken(&self, class: &SopClassUid) -> bool {
        self.known().taken.contains(class)
    }

    /// Whether a web page refused another study than this, and the peer took nothing since (WEB-048, WEB-057).
    pub(super) fn pages_since(&self, study: &StudyUid) -> bool {
        self.known().paged.as_ref().is_some_and(|paged| paged != study)
    }

    /// Where the peer takes what it is sent, as far as is known (WEB-051).
    pub(super) fn address(&self) -> Address {
        self.known().address
    }

    /// The peer took something, or judged it, at this address.
    pub(super) fn is_taken_at(&self, address: Address) {
        self.known().address = address;
    }

    /// Whether the peer can be asked what it holds: it has answered a question, and refused none since (WEB-064).
    pub(super) fn answers_questions(&self) -> bool {
        self.known().answers
    }

    /// The peer answered a question, or refused it.
    pub(super) fn asked(&self, answered: bool) {
        self.known().answers = answered;
    }

    /// The peer was said to be busy, and nothing that came of it says so to the records.
    pub(super) fn leave_alone(&self, why: &str, now: Instant) {
        self.known().busy = Some((now, why.to_owned()));
    }

    /// What was said, once, if it was said just now: whoever would come next says so to the records.
    pub(super) fn left_alone(&self, now: Instant) -> Option<String> {
        let (since, why) = self.known().busy.take()?;
        (now.saturating_duration_since(since) < AT_ONCE).then_some(why)
    }

    /// Takes note of what came of a request; `page` tells whether the answer was a web page.
    pub(super) fn note(&self, study: &StudyUid, report: &Report, items: &[Item], page: bool) {
        let mut known = self.known();
        for (transfer, outcome) in &report.outcomes {
            match outcome {
                Outcome::Accepted { .. } => {
                    known.paged = None;
                    let class = items.iter().find(|item| item.transfer == *transfer).map(|item| &item.sop_class);
                    if let Some(class) = class.filter(|class| known.taken.len() < MOST && !known.taken.contains(*class))
                    {
                        known.taken.insert(class.clone());
                    }
                }
                Outcome::Dead { .. } if page => known.paged = Some(study.clone()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::uid::InstanceUid;
    use crate::ledger::transfer::TransferId;

    fn study(n: u32) -> StudyUid {
        StudyUid::parse(&format!("1.2.3.{n}")).unwrap()
    }

    /// WEB-048, WEB-057, WEB-063: what is remembered after each answer, of a study, and whether a page about another study then counts as
    /// the destination's.
    #[test]
    fn pages_that_refuse_one_study_after_the_other_are_told_from_one() {
        let class = SopClassUid::parse("1.2.8").unwrap();
        let item = Item {
            transfer: TransferId(1),
            instance: InstanceUid::parse("1.2.3.65").unwrap(),
            sop_class: class.clone(),
            compressed: None,
            familiar: false,
        };
        let report = |outcome| Report { outcomes: vec![(TransferId(1), outcome)], ..Report::default() };
        let dead = || report(Outcome::Dead { why: String::new() });
        let taken = || report(Outcome::Accepted { evidence: String::new() });
        let unknown = || report(Outcome::Unknown { why: String::new() });
        let memory = Memory::default();
        let rows = [
            // The study, what came of it, whether by a page; whether a page about study 1 or 2 counts then, and the class is known.
            (1, dead(), false, [false, false], false),
            (1, dead(), true, [false, true], false),
            (1, unknown(), true, [false, true], false),
            (2, taken(), false, [false, false], true),
            (2, dead(), true, [true, false], true),
            (1, taken(), false, [false, false], true),
        ];
        for (n, report, page, want, known) in rows {
            memory.note(&study(n), &report, std::slice::from_ref(&item), page);
            assert_eq!([1, 2].map(|n| memory.pages_since(&study(n))), want, "{n} {report:?}");
            assert_eq!(memory.has_taken(&class), known);
        }
    }

    /// WEB-064: the next that would go at once is held back, and no other.
    #[test]
    fn who_is_busy_is_left_alone_once_and_at_once() {
        let (memory, now) = (Memory::default(), Instant::now());
        assert_eq!(memory.left_alone(now), None, "nothing was said");
        for (later, held) in [(0, true), (999, true), (1000, false), (60_000, false)] {
            memory.leave_alone("HTTP 503", now);
            let then = now + Duration::from_millis(later);
            assert_eq!(memory.left_alone(then), held.then(|| "HTTP 503".to_owned()), "{later} ms");
            assert_eq!(memory.left_alone(then), None, "once is enough");
        }
    }

    #[test]
    fn where_the_peer_takes_things_and_whether_it_answers_is_remembered() {
        let memory = Memory::default();
        assert_eq!((memory.address(), memory.answers_questions()), (Address::Study, false));
        for (address, answered) in [(Address::Studies, true), (Address::Studies, false), (Address::Study, true)] {
            memory.is_taken_at(address);
            memory.asked(answered);
            assert_eq!((memory.address(), memory.answers_questions()), (address, answered));
        }
    }

    #[test]
    fn a_syntax_that_was_refused_is_remembered() {
        let (memory, syntax) = (Memory::default(), TransferSyntaxUid::parse("1.2.840.10008.1.2.4.90").unwrap());
        assert!(!memory.refuses(&syntax));
        memory.refused(&syntax);
        assert!(memory.refuses(&syntax));
    }
}
