//! What a node shows of what was sent to it, by C-FIND at the level of instances (PS3.4 section C.4.1; FLT-043).

use crate::courier::carrier::Report;
use crate::dicom::attributes::{QUERY_RETRIEVE_LEVEL, SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::charset::Charset;
use crate::dicom::query::identifier::{self, Identifier};
use crate::dicom::sop_class::STUDY_ROOT_FIND;
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dimse::{self, Inquiry, Operation, Reply, Scu, ScuError, Status, Target, status::Class};
use crate::ledger::breaker::Asking;
use crate::ledger::outcome::Outcome;
use crate::ledger::transfer::State;
use crate::records::{Batch, Leased};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// UIDs in one question.
const LIST: usize = 32;

/// Answers to one question that are read; a node that heeds no key gives more.
const MOST: usize = 10_000;

/// Why a node told nothing.
#[derive(Debug, thiserror::Error)]
enum Silent {
    #[error("{0}")]
    Association(#[from] ScuError),
    #[error("it answered C-FIND with {0}")]
    Answered(Status),
}

/// Asks the node which instances of a batch it shows. What it shows is verified, but for what may be another version of the UID: a node
/// gives nothing back that could be compared (INV-12).
pub(super) async fn check(target: &Target, batch: &Batch) -> Report {
    let shown = match shown(target, &batch.study, &batch.items).await {
        Ok(shown) => shown,
        Err(failure) => {
            let why = format!("cannot be asked what it holds: {}", in_words(&failure));
            let outcomes =
                batch.items.iter().map(|item| (item.transfer, Outcome::Unknown { why: why.clone() })).collect();
            let asking = Some(Asking::Not { why: why.clone(), after: None });
            return Report { outcomes, detail: why, asking, ..Report::default() };
        }
    };
    let doubt = |item: &Leased| item.rival || item.claimed;
    let outcome = |item: &Leased| seen(item.state, doubt(item), shown.contains(&item.sop_instance));
    let outcomes: Vec<_> = batch.items.iter().map(|item| (item.transfer, outcome(item))).collect();
    let detail = format!("C-FIND showed {} of {}", shown.len(), batch.items.len());
    Report { outcomes, detail, asking: Some(Asking::Answered), ..Report::default() }
}

/// What a search says of one instance. Where another version of its UID was sent there, what is shown may be that one: it counts where
/// the node's own answer named this one, and else the same goes once more, which is harmless there (INV-12).
fn seen(state: State, doubt: bool, shown: bool) -> Outcome {
    let of = "another version of it was sent there";
    match (shown, doubt) {
        (false, _) => Outcome::Absent { why: "asked by C-FIND: not there".into() },
        (true, false) => Outcome::Verified { evidence: "shown by C-FIND".into() },
        (true, true) if state == State::Unknown => Outcome::Absent { why: format!("C-FIND shows its UID, and {of}") },
        (true, true) => {
            let evidence =
                format!("accepted; shown by C-FIND; {of}, and the content was NOT compared: a node gives nothing back");
            Outcome::Uncompared { evidence }
        }
    }
}

fn in_words(failure: &Silent) -> String {
    match failure {
        Silent::Association(ScuError::ContextNotAccepted) => {
            "it takes no queries (Study Root C-FIND); let us query there, or set verify = \"accepted\"".into()
        }
        other => other.to_string(),
    }
}

/// The instances of these that the node shows.
async fn shown(target: &Target, study: &StudyUid, items: &[Leased]) -> Result<BTreeSet<InstanceUid>, Silent> {
    let mut series: BTreeMap<SeriesUid, Vec<InstanceUid>> = BTreeMap::new();
    for item in items {
        series.entry(item.series.clone()).or_default().push(item.sop_instance.clone());
    }
    let (scu, context, explicit) = dimse::connect_for_queries(target, STUDY_ROOT_FIND, false).await?;
    let mut line = Line { scu, context, explicit, quiet: target.timers.response };
    let mut found = BTreeSet::new();
    for (series, instances) in &series {
        for some in instances.chunks(LIST) {
            let seen = line.ask(study, series, some).await?;
            for one in alone(some, &seen) {
                let shown = line.ask(study, series, std::slice::from_ref(one)).await?;
                // What is not shown alone either is not there, and so is the rest of a list that was heeded.
                if shown.is_empty() && !seen.is_empty() {
                    break;
                }
                found.extend(shown);
            }
            found.extend(seen);
        }
    }
    // What was asked has its answers, however it ends.
    let _ = line.scu.release().await;
    Ok(found)
}

/// Those of a list that are to be asked about one by one: where it shows none, the list may have been taken for one UID, and where it
/// shows some, only its first or so many may have been heeded.
fn alone<'a>(list: &'a [InstanceUid], shown: &BTreeSet<InstanceUid>) -> Vec<&'a InstanceUid> {
    if list.len() == 1 { Vec::new() } else { list.iter().filter(|uid| !shown.contains(*uid)).collect() }
}

/// What the answers to one question have named of what was asked about.
#[derive(Default)]
struct Heard {
    found: BTreeSet<InstanceUid>,
    answers: usize,
}

impl Heard {
    /// Takes an answer. Whoever says more than was asked is stopped once all was shown, or by too much. Whoever does not has said all, and is
    /// not sent a cancel that would come after the last answer: some nodes end the association over it.
    fn hear(&mut self, named: Option<InstanceUid>, wanted: &BTreeSet<InstanceUid>) -> ControlFlow<()> {
        self.answers += 1;
        self.found.extend(named.filter(|uid| wanted.contains(uid)));
        let enough = self.found.len() == wanted.len() && self.answers > wanted.len();
        if enough || self.answers >= MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// An association for these questions.
struct Line {
    scu: Scu,
    context: u8,
    explicit: bool,
    quiet: std::time::Duration,
}

impl Line {
    /// Those of the instances of a series that the node shows there.
    async fn ask(
        &mut self,
        study: &StudyUid,
        series: &SeriesUid,
        instances: &[InstanceUid],
    ) -> Result<BTreeSet<InstanceUid>, Silent> {
        let list = instances.iter().map(InstanceUid::as_str).collect::<Vec<_>>().join("\\");
        let keys: BTreeMap<Tag, String> = [
            (QUERY_RETRIEVE_LEVEL, "IMAGE".to_owned()),
            (STUDY_INSTANCE_UID, study.to_string()),
            (SERIES_INSTANCE_UID, series.to_string()),
            (SOP_INSTANCE_UID, list),
        ]
        .into();
        let bytes = identifier::write(&keys, &Charset::default(), self.explicit);
        let wanted: BTreeSet<InstanceUid> = instances.iter().cloned().collect();
        let found = Arc::new(Mutex::new(Heard::default()));
        let (heard, explicit, of) = (Arc::clone(&found), self.explicit, study.to_string());
        let each = move |reply: Reply| {
            let told = reply.identifier.and_then(|bytes| named(&bytes, explicit, &of));
            heard.lock().unwrap_or_else(PoisonError::into_inner).hear(told, &wanted)
        };
        let inquiry = Inquiry {
            context_id: self.context,
            operation: Operation::Find,
            identifier: &bytes,
            destination: None,
            quiet: self.quiet,
        };
        let last = self.scu.ask(&inquiry, &CancellationToken::new(), each).await?;
        let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)).found;
        let enough = found.len() == instances.len();
        match last.status.class() {
            Class::Success => Ok(found),
            _ if enough => Ok(found),
            _ => Err(Silent::Answered(last.status)),
        }
    }
}

/// The instance that an answer names, if it is of this study or does not say.
fn named(bytes: &[u8], explicit: bool, study: &str) -> Option<InstanceUid> {
    let identifier = Identifier::read(bytes, explicit).ok()?;
    let other = identifier.text(STUDY_INSTANCE_UID).is_some_and(|uid| !uid.is_empty() && uid != study);
    if other { None } else { InstanceUid::parse(&identifier.text(SOP_INSTANCE_UID)?).ok() }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    /// FLT-043, INV-12.
    #[test]
    fn what_is_shown_counts_unless_it_may_be_another_version() {
        let table = [
            (State::Unknown, false, true, "verified"),
            (State::Accepted, false, true, "verified"),
            (State::Unknown, false, false, "absent"),
            (State::Accepted, false, false, "absent"),
            (State::Unknown, true, true, "absent"),
            (State::Accepted, true, true, "uncompared"),
            (State::Accepted, true, false, "absent"),
        ];
        for (state, doubt, shown, want) in table {
            assert_eq!(seen(state, doubt, shown).word(), want, "{state:?}, in doubt: {doubt}, shown: {shown}");
        }
        note_fired(table.iter().filter(|row| row.0 == State::Unknown).count());
    }

    /// A node that has said what was asked for ends by itself; one that says more is stopped.
    #[test]
    fn only_who_says_more_than_was_asked_is_cancelled() {
        let uid = |last: u32| InstanceUid::parse(&format!("1.2.{last}")).expect("a UID");
        let wanted: BTreeSet<InstanceUid> = [uid(1), uid(2)].into();
        let rows: [(&[u32], Option<usize>); 5] = [
            (&[1], None),
            (&[1, 2], None),
            (&[2, 1, 3], Some(3)),
            (&[3, 4, 5, 1, 2, 6], Some(5)),
            (&[3, 1, 4, 5], None),
        ];
        for (answers, stopped) in rows {
            let mut heard = Heard::default();
            let at = answers.iter().position(|last| heard.hear(Some(uid(*last)), &wanted).is_break());
            assert_eq!(at.map(|at| at + 1), stopped, "{answers:?}");
            assert!(heard.found.is_subset(&wanted), "{answers:?}");
        }
        let mut heard = Heard::default();
        let at = (1..=MOST + 1).find(|_| heard.hear(None, &wanted).is_break());
        assert_eq!(at, Some(MOST));
    }

    #[test]
    fn what_a_list_does_not_show_is_asked_for_alone() {
        let list: Vec<InstanceUid> =
            [1, 2, 3].map(|last| InstanceUid::parse(&format!("1.2.{last}")).expect("a UID")).into();
        let rows: [(&[usize], &[usize]); 3] = [(&[], &[0, 1, 2]), (&[0], &[1, 2]), (&[0, 1, 2], &[])];
        for (shown, want) in rows {
            let shown: BTreeSet<InstanceUid> = shown.iter().map(|at| list[*at].clone()).collect();
            let want: Vec<&InstanceUid> = want.iter().map(|at| &list[*at]).collect();
            assert_eq!(alone(&list, &shown), want);
        }
        assert!(alone(&list[..1], &BTreeSet::new()).is_empty(), "it was asked for alone");
    }

    /// An answer of another study is no answer, whatever instance it names.
    #[test]
    fn an_answer_names_an_instance_of_the_study_that_was_asked_for() {
        for (explicit, study, want) in
            [(true, "1.2", true), (false, "1.2", true), (true, "1.3", false), (true, "", true)]
        {
            let values = [(STUDY_INSTANCE_UID, study.to_owned()), (SOP_INSTANCE_UID, "1.2.4".to_owned())].into();
            let bytes = identifier::write(&values, &Charset::default(), explicit);
            assert_eq!(named(&bytes, explicit, "1.2").is_some(), want, "{study}");
            if !want {
                note_fired(1);
            }
        }
        assert_eq!(named(b"not an identifier", true, "1.2"), None);
        note_fired(1);
    }
}
