//! What other sites asked for and were given, entered in the ledger, each study once a caller and minute, and so many a minute (SEC-023).

use super::Records;
use super::sqlite::rows::micros;
use super::sqlite::tx::Tx;
use crate::dicom::uid::StudyUid;
use crate::ledger::entry::{Kind, facts};
use std::time::{Instant, SystemTime};

/// Entries a minute; what comes beyond, or again, is counted, and the count stands in the next entry.
const MOST_A_MINUTE: usize = 600;

/// One question of another site that was answered. It holds nothing of a patient: no key of a search, no value of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The peer that asked.
    pub peer: String,
    /// `query` or `retrieve`.
    pub what: &'static str,
    /// The study, if one was named.
    pub study: Option<StudyUid>,
    /// How many results or instances the answer has, as far as is known when it begins.
    pub given: u64,
}

impl Records {
    /// Enters a question that is being answered. A failure to enter it is logged only: images are not withheld for want of a record.
    pub async fn asked(&self, question: Question) {
        let Question { peer, what, study, given } = question;
        let study = study.map(|study| study.to_string()).unwrap_or_default();
        let key = format!("{peer} {study}");
        let Some(left_out) = self.inner.questions.admit(Instant::now(), what, &key, MOST_A_MINUTE) else { return };
        let at = micros(SystemTime::now());
        let given = i64::try_from(given).unwrap_or(i64::MAX);
        let committed = self.commit(move |tx| {
            let mut told = facts([("peer", peer.as_str().into()), ("what", what.into()), ("given", given.into())]);
            if !study.is_empty() {
                told.insert("study".into(), study.as_str().into());
            }
            if left_out > 0 {
                told.insert("left_out".into(), left_out.into());
            }
            tx.append(Tx::entry_id()?, Kind::Asked, at, told, Vec::new());
            Ok(())
        });
        if let Err(error) = committed.await {
            tracing::error!(error = %error, "what another site asked for could not be entered in the ledger");
        }
    }
}
