//! One association to a worklist: its C-FINDs, and what of the answers can be used, within limits of number, bytes and time.

use super::Worklist;
use super::entry::{self, Listed, Refused, Scope, UNREADABLE};
use crate::dicom::charset::Charset;
use crate::dicom::query::nested::{self, Set};
use crate::dicom::sop_class::WORKLIST_FIND;
use crate::dimse::{self, Inquiry, Operation, Reply, Scu, ScuError, Status, status::Class};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Bytes of all answers of one poll.
const MOST_BYTES: usize = 32 << 20;

/// Why a worklist did not answer in full. The text holds nothing of a patient.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Association(#[from] ScuError),
    #[error("it answered {0}")]
    Answered(Status),
    #[error("it did not answer in full within {} s", .0.as_secs_f32())]
    Late(Duration),
}

/// What one poll brought. What came before a failure counts.
#[derive(Default)]
pub(super) struct Answers {
    /// Entries that can be used, as they came.
    pub(super) listed: Vec<Listed>,
    /// Entries that cannot, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// Entries that were not asked for.
    pub(super) elsewhere: u64,
    /// All entries.
    pub(super) count: usize,
    /// Why no more were taken, if it had more than is taken.
    pub(super) cut: Option<String>,
    bytes: usize,
}

impl Answers {
    fn take(&mut self, bytes: &[u8], explicit: bool, asked: &Asked<'_>) -> ControlFlow<()> {
        let most = asked.worklist.settings.most;
        if self.count == most {
            self.cut = Some(format!("it has more than {most} entries; the rest was not read"));
            return ControlFlow::Break(());
        }
        self.bytes += bytes.len();
        if self.bytes > MOST_BYTES {
            self.cut = Some(format!("its answers have more than {MOST_BYTES} bytes; the rest was not read"));
            return ControlFlow::Break(());
        }
        self.count += 1;
        let set = Set::read(bytes, explicit, &asked.undeclared).map_err(|_| Refused(UNREADABLE));
        match set.and_then(|set| entry::read(&set, &asked.worklist.issuer, &asked.scope)) {
            Ok(Some(listed)) => self.listed.push(listed),
            Ok(None) => self.elsewhere += 1,
            Err(Refused(why)) => *self.refused.entry(why).or_default() += 1,
        }
        ControlFlow::Continue(())
    }
}

struct Asked<'a> {
    worklist: &'a Worklist,
    scope: Scope,
    undeclared: Charset,
}

/// Asks a worklist once. What came counts also where it failed.
pub(super) async fn ask(worklist: &Worklist, scope: Scope) -> (Answers, Option<Failure>) {
    let until = Instant::now() + worklist.settings.timeout;
    let undeclared = Charset::declared(worklist.charset.as_bytes());
    let asked = Asked { worklist, scope, undeclared };
    let answers = Arc::new(Mutex::new(Answers::default()));
    let is_cut = || answers.lock().unwrap_or_else(PoisonError::into_inner).cut.is_some();
    let failure = match timeout_at(until, dimse::connect_for_queries(&worklist.target, WORKLIST_FIND, false)).await {
        Err(_) => Some(Failure::Late(worklist.settings.timeout)),
        Ok(Err(failure)) => Some(failure.into()),
        Ok(Ok((mut scu, context, explicit))) => {
            let found = timeout_at(until, find_all(&mut scu, context, explicit, &asked, &answers)).await;
            match found {
                Ok(Ok(())) => {
                    let _ = scu.release().await;
                    None
                }
                Ok(Err(failure)) => {
                    scu.abort().await;
                    Some(failure)
                }
                // It was told to stop, and did not: there is nothing more to wait for.
                Err(_) => {
                    scu.abort().await;
                    (!is_cut()).then_some(Failure::Late(worklist.settings.timeout))
                }
            }
        }
    };
    let answers = std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner));
    (answers, failure)
}

/// One request for each modality and station that is configured: a key holds one of them.
async fn find_all(
    scu: &mut Scu,
    context: u8,
    explicit: bool,
    asked: &Asked<'_>,
    answers: &Arc<Mutex<Answers>>,
) -> Result<(), Failure> {
    let each = |count: usize| (0..count.max(1)).collect::<Vec<_>>();
    let Scope { modalities, stations, .. } = &asked.scope;
    for modality in each(modalities.len()).into_iter().map(|at| modalities.get(at)) {
        for station in each(stations.len()).into_iter().map(|at| stations.get(at)) {
            let keys = entry::keys(&asked.scope, modality.map(String::as_str), station);
            let bytes = nested::write(&keys, explicit);
            let take = |reply: Reply| {
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                answers.take(reply.identifier.as_deref().unwrap_or_default(), explicit, asked)
            };
            let inquiry = Inquiry {
                context_id: context,
                operation: Operation::Find,
                identifier: &bytes,
                destination: None,
                quiet: asked.worklist.settings.timeout,
            };
            let last = scu.ask(&inquiry, &CancellationToken::new(), take).await;
            // However it took being told to stop: what is wanted is here.
            if answers.lock().unwrap_or_else(PoisonError::into_inner).cut.is_some() {
                return Ok(());
            }
            let last = last?;
            if last.status.class() != Class::Success {
                return Err(Failure::Answered(last.status));
            }
        }
    }
    Ok(())
}
