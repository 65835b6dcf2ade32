//! What other sites asked for and were given, entered in the ledger, each study once a caller and minute, and so many a minute (SEC-023).

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
            let said = [("site", &behalf.site), ("caller", &behalf.caller), ("purpose", &behalf.purpose)];
            for (name, value) in said.into_iter().filter(|(_, value)| !value.is_empty()) {
                entry.insert(name.into(), value.as_str().into());
            }
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
}
