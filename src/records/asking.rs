//! What other sites asked for and were given, and what we asked them for, entered in the ledger, each study once a caller and minute, and so
//! many a minute (SEC-023).

use super::Records;
use super::sqlite::access::{self, Access};
use super::sqlite::rows::micros;
use super::sqlite::tx::Tx;
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::StudyUid;
use crate::ledger::entry::{Fact, Kind, facts};
use std::time::{Instant, SystemTime};

/// Entries a minute; what comes beyond, or again, is counted, and the count stands in the next entry.
const MOST_A_MINUTE: usize = 600;

/// Studies of an answer that an entry names.
const MOST_NAMED: usize = 100;

/// One question of another site that was answered. It holds nothing of a patient: no key of a search, no value of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The peer that asked.
    pub peer: String,
    /// For whom, as far as the peer says.
    pub behalf: OnBehalf,
    /// `query` or `retrieve`.
    pub what: &'static str,
    /// The study, if one was named.
    pub study: Option<StudyUid>,
    /// The studies that the answer tells of, each once; the first 100 are entered.
    pub told: Vec<StudyUid>,
    /// How many results or instances the answer has, as far as is known when it begins.
    pub given: u64,
}

/// One question of ours to other sites. Nothing of a patient of it is kept: no key, no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Inquiry {
    /// The peers that are asked; the first 100 are entered.
    pub peers: Vec<String>,
    /// For whom, as they are told.
    pub behalf: OnBehalf,
    /// What they are asked for: the studies of a `patient`, a `study`, its `series`, its `instances`; before something of it is retrieved,
    /// for the `list` of all that they hold of it.
    pub what: &'static str,
    /// The study, if one is named.
    pub study: Option<StudyUid>,
    /// Who is asked for, where no study is named: tells two questions of one minute apart, and is neither entered nor shown.
    pub whom: String,
}

impl Records {
    /// Enters a question that is being answered. A failure to enter it is logged only: images are not withheld for want of a record.
    pub async fn asked(&self, question: Question) {
        let Question { peer, behalf, what, study, told, given } = question;
        let named: Vec<String> = study.iter().chain(&told).take(MOST_NAMED).map(StudyUid::to_string).collect();
        let key = format!("{peer} {behalf:?} {}", named.join(" "));
        let Some(left_out) = self.inner.questions.admit(Instant::now(), what, &key, MOST_A_MINUTE) else { return };
        let at = micros(SystemTime::now());
        let given = i64::try_from(given).unwrap_or(i64::MAX);
        let committed = self.commit(move |tx| {
            let mut entry = facts([("peer", peer.as_str().into()), ("what", what.into()), ("given", given.into())]);
            access::say(&mut entry, &behalf);
            match &study {
                Some(study) => drop(entry.insert("study".into(), study.as_str().into())),
                None if !named.is_empty() => {
                    let named: Fact = named.iter().map(|uid| uid.as_str().into()).collect();
                    entry.insert("studies".into(), named);
                }
                None => {}
            }
            if left_out > 0 {
                entry.insert("left_out".into(), left_out.into());
            }
            tx.append(Tx::entry_id()?, Kind::Asked, at, entry, Vec::new());
            let one = Access { at, what, party: &peer, behalf: &behalf, detail: None, given };
            let mut studies: Vec<&str> = named.iter().map(String::as_str).collect();
            studies.dedup();
            access::keep(tx, &studies, &one)
        });
        if let Err(error) = committed.await {
            tracing::error!(error = %error, "what another site asked for could not be entered in the ledger");
        }
    }

    /// Enters a question that we put to other sites. A failure to enter it is logged only: nobody waits for images for want of a record.
    pub async fn asks(&self, inquiry: Inquiry) {
        let Inquiry { peers, behalf, what, study, whom } = inquiry;
        let named = peers.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let key = format!("{named} {behalf:?} {study:?} {whom}");
        let Some(left_out) = self.inner.inquiries.admit(Instant::now(), what, &key, MOST_A_MINUTE) else { return };
        let at = micros(SystemTime::now());
        let committed = self.commit(move |tx| {
            let asked: Fact = peers.iter().take(MOST_NAMED).map(|peer| peer.as_str().into()).collect();
            let mut entry = facts([("peers", asked), ("what", what.into())]);
            access::say(&mut entry, &behalf);
            let study = study.as_ref().map(StudyUid::as_str);
            if let Some(study) = study {
                entry.insert("study".into(), study.into());
            }
            if left_out > 0 {
                entry.insert("left_out".into(), left_out.into());
            }
            tx.append(Tx::entry_id()?, Kind::Sought, at, entry, Vec::new());
            let one = Access { at, what: "sought", party: &named, behalf: &behalf, detail: None, given: 0 };
            access::keep(tx, study.as_slice(), &one)
        });
        if let Err(error) = committed.await {
            tracing::error!(error = %error, "what other sites are asked for could not be entered in the ledger");
        }
    }
}
