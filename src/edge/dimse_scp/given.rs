//! The sub-operations of one retrieval, one after the other: counted, told while they go on, ended by a cancel (PS3.4 section C.4.2.3).

#[cfg(test)]
mod tests;

use super::archived::Brought;
use super::line::Line;
use super::retrieve::Proof;
use crate::courier::mover::{Lot, Mover, SubOperation};
use crate::dicom::query::identifier;
use crate::dicom::tag::Tag;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dimse::{
    Counts, Dialogue, QueryAnswer, QueryRequest, Source, Status, StoreCommand, StoreFailure, StoreResponse, Stores,
};
use crate::priors::gather::Gathering;
use crate::records::{
    Copies, Entered, Expected, InstanceId, Records, RecordsError, Retrievable, RetrievalBegan, RetrievalEnded,
};
use crate::store::Ahead;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, SystemTime};

/// Failed SOP Instance UID List.
const FAILED_LIST: Tag = Tag::new(0x0008, 0x0058);
/// The list's longest value, in bytes: what an explicit length of 16 bits can say.
const LIST_BYTES: usize = 65_534;
/// The requester hears from us at least so often (DIM-083).
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Instances that are looked up at once.
pub(super) const PAGE: usize = 64;
/// Instances whose beginnings are read while one is given.
const AHEAD: usize = 2;
/// Associations that may be lost one after the other, with nothing taken between, before the rest is given up.
pub(super) const MOST_LOST: u32 = 2;

/// One retrieval on its way.
pub(super) struct Given<'a, 'd> {
    pub(super) records: &'a Records,
    pub(super) mover: &'a Mover,
    pub(super) dialogue: &'a mut Dialogue<'d>,
    /// What is here and is given.
    expected: Expected,
    /// What was given while an archive brought the rest, and its names.
    pub(super) early: BTreeSet<InstanceId>,
    pub(super) early_names: BTreeSet<InstanceUid>,
    /// What the ledger is told before the first is given, and the entry once it was.
    began: RetrievalBegan,
    entry: Option<Entered>,
    /// The patient of whom everything must be, and the studies of which that is known.
    pub(super) proof: Option<Proof<'a>>,
    pub(super) proven: BTreeMap<StudyUid, bool>,
    /// What other sites have of it.
    pub(super) gathering: Gathering,
    pub(super) counts: Counts,
    /// UIDs of those that failed, as many as the list can hold.
    failed: Vec<String>,
    failed_bytes: usize,
    /// Why the first that failed did.
    why: Option<String>,
    /// What is to be said of the archives, where nothing failed.
    remark: Option<String>,
    /// An archive did not answer, or was not asked for everything.
    doubtful: bool,
}

impl<'a, 'd> Given<'a, 'd> {
    pub(super) fn new(
        records: &'a Records,
        mover: &'a Mover,
        dialogue: &'a mut Dialogue<'d>,
        began: RetrievalBegan,
    ) -> Self {
        Self {
            records,
            mover,
            dialogue,
            expected: Expected::default(),
            early: BTreeSet::new(),
            early_names: BTreeSet::new(),
            began,
            entry: None,
            proof: None,
            proven: BTreeMap::new(),
            gathering: Gathering::default(),
            counts: Counts { remaining: Some(0), ..Counts::default() },
            failed: Vec::new(),
            failed_bytes: 0,
            why: None,
            remark: None,
            doubtful: false,
        }
    }

    /// What is to be given of what is here, and what other sites have, beside what was given already.
    pub(super) fn expects(&mut self, mut expected: Expected, gathering: Gathering) {
        expected.instances.retain(|(id, _)| !self.early.contains(id));
        self.counts.remaining = Some(expected.instances.len() as u64 + gathering.awaited());
        // What is known to be missing has failed, whether it can be named or not.
        self.counts.failed += gathering.unnamed;
        let lacking = gathering.lacking.clone();
        (self.expected, self.gathering) = (expected, gathering);
        self.name_failed(lacking);
    }

    /// Whether there is nothing to be given.
    pub(super) fn is_nothing(&self) -> bool {
        self.expected.instances.is_empty() && self.early.is_empty() && self.gathering.awaited() == 0
    }

    /// Enters the retrieval in the ledger, once, before anything of it is given.
    pub(super) async fn begin(&mut self) -> Result<Entered, RecordsError> {
        if let Some(entry) = self.entry {
            return Ok(entry);
        }
        let began = RetrievalBegan { instances: self.total(), ..self.began.clone() };
        let entry = self.records.retrieval_began(began).await?;
        Ok(*self.entry.insert(entry))
    }

    /// The entry of the retrieval, if it was entered.
    pub(super) fn entry(&self) -> Option<Entered> {
        self.entry
    }

    /// Instances that are nowhere to be had have failed.
    fn name_failed(&mut self, instances: impl IntoIterator<Item = InstanceUid>) {
        for instance in instances {
            self.counts.failed += 1;
            self.name(instance.as_str());
        }
    }

    /// Names one that failed, as long as the list has room.
    fn name(&mut self, instance: &str) {
        if self.failed_bytes + instance.len() < LIST_BYTES {
            self.failed_bytes += instance.len() + 1;
            self.failed.push(instance.to_owned());
        }
    }

    /// Whether another sub-operation may begin: not after a cancel, nor when the requester is gone (DIM-086, DIM-087).
    pub(super) async fn goes_on(&mut self) -> bool {
        !self.dialogue.is_over().await
    }

    pub(super) async fn tell(&mut self) {
        // What is lost with it, the dialogue remembers.
        let _ = self.dialogue.pending(Status::PENDING, Some(self.counts), None).await;
    }

    /// Gives everything over associations to the destination (C-MOVE).
    pub(super) async fn moved(&mut self, originator: (String, u16)) {
        self.tell().await;
        self.begin_gathering().await;
        let mut line = Line::default();
        for lot in self.mover.lots(&self.expected) {
            self.prepare(&mut line, &lot.offers).await;
            let ids = self.of(&lot);
            for page in ids.chunks(PAGE) {
                let (copies, mut ahead) = (self.copies(page).await, VecDeque::new());
                for (at, (item, kept)) in copies.iter().enumerate() {
                    if !self.goes_on().await || (*kept && !self.has_turn(&mut line, &item.study).await) {
                        return self.give_way(&mut line).await;
                    }
                    let read = self.read_ahead(&mut ahead, copies.iter().skip(at + 1));
                    let came = match kept {
                        false => SubOperation::Failed { why: "no longer kept here".into(), damage: None },
                        true => self.move_one(&mut line, (item, read), &originator).await,
                    };
                    self.count(item, came).await;
                }
            }
        }
        self.give_way(&mut line).await;
        self.moved_arrivals(&originator).await;
    }

    /// Gives everything over the requester's own association, in the classes of which it is SCP (C-GET; DIM-090).
    pub(super) async fn got(&mut self, receives: &BTreeSet<String>) {
        self.tell().await;
        // What other sites have comes meanwhile; and whoever else follows those pulls need not wait for this requester to say what it wants.
        self.gathering.start();
        let ids: Vec<InstanceId> = self.expected.instances.iter().map(|(id, _)| *id).collect();
        for page in ids.chunks(PAGE) {
            let (copies, mut ahead) = (self.copies(page).await, VecDeque::new());
            for (at, (item, kept)) in copies.iter().enumerate() {
                if !self.goes_on().await {
                    return;
                }
                let read = self.read_ahead(&mut ahead, copies.iter().skip(at + 1));
                self.get_one((item, read), *kept, receives).await;
            }
        }
        self.got_arrivals(receives).await;
    }

    /// One sub-operation over the requester's own association.
    pub(super) async fn get_one(
        &mut self,
        (item, ahead): (&Retrievable, Ahead),
        kept: bool,
        receives: &BTreeSet<String>,
    ) {
        let came = match kept {
            false => SubOperation::Failed { why: "no longer kept here".into(), damage: None },
            true => self.mover.give(&mut Own { dialogue: self.dialogue, receives }, (item, ahead), None).await,
        };
        self.count(item, came).await;
    }

    /// The beginning of the one that is given now, if it was read; has the next ones read meanwhile, if they are kept.
    pub(super) fn read_ahead<'i>(
        &self,
        ahead: &mut VecDeque<Ahead>,
        rest: impl Iterator<Item = &'i (Retrievable, bool)>,
    ) -> Ahead {
        let now = ahead.pop_front().unwrap_or_default();
        for (item, kept) in rest.take(AHEAD).skip(ahead.len()) {
            ahead.push_back(if *kept { self.mover.ahead(item) } else { Ahead::default() });
        }
        now
    }

    /// The instances of some kinds.
    fn of(&self, lot: &Lot) -> Vec<InstanceId> {
        let mine = self.expected.instances.iter().filter(|(_, kind)| lot.kinds.contains(kind));
        mine.map(|(id, _)| *id).collect()
    }

    /// Where instances are now. Those that cannot be looked up have failed, and have no name. What is withheld from who asks, or from who
    /// would be given it, is not counted: it is as if it had not come ("Sharing limits").
    pub(super) async fn copies(&mut self, page: &[InstanceId]) -> Vec<(Retrievable, bool)> {
        let copies = self.records.copies(page.to_vec()).await.unwrap_or_else(|error| {
            tracing::error!(error = %error, "a part of a retrieval could not be looked up");
            Copies::default()
        });
        let absent = (page.len() - copies.list.len()) as u64;
        self.counts.failed += absent.saturating_sub(copies.withheld);
        self.counts.remaining = self.counts.remaining.map(|remaining| remaining.saturating_sub(absent));
        copies.list
    }

    /// Each instance that was expected is counted once: completed, failed, with a warning, or remaining (INV-17).
    pub(super) async fn count(&mut self, item: &Retrievable, came: SubOperation) {
        match came {
            SubOperation::Completed => {
                self.counts.completed += 1;
                self.one_less();
            }
            SubOperation::Warning => {
                self.counts.warning += 1;
                self.one_less();
            }
            SubOperation::Failed { why, damage } => {
                self.fail(item.sop_instance.as_str(), &why);
                if let Some(damage) = damage
                    && let Err(error) =
                        self.records.corrupt(item.instance, item.place, &damage, SystemTime::now()).await
                {
                    tracing::error!(error = %error, "the damage could not be recorded");
                }
            }
        }
        if self.counts.remaining != Some(0) {
            self.tell().await;
        }
    }

    /// What an archive holds of what was asked for, and did not give, has failed (DIM-089), but for what is here by now, comes from
    /// another site, or has failed already; what it was asked for when the requester cancelled remains (DIM-086).
    pub(super) fn lack(&mut self, archived: &Brought, here: &BTreeSet<InstanceUid>) {
        self.counts.remaining = self.counts.remaining.map(|remaining| remaining.max(archived.unbegun));
        let counted = |uid: &&InstanceUid| {
            here.contains(*uid) || self.gathering.awaits(uid) || self.gathering.lacking.contains(*uid)
        };
        let (counted, lacking): (Vec<&InstanceUid>, Vec<_>) = archived.lacking.iter().partition(counted);
        self.counts.failed += archived.missing.saturating_sub(counted.len() as u64);
        lacking.into_iter().for_each(|uid| self.name(uid.as_str()));
        if archived.silent.is_some() {
            // What is named and nowhere to be had, the archive may have; what was here once it has, or other sites do.
            let nowhere = self.gathering.nowhere().filter(|uid| !archived.lacking.contains(uid));
            let nowhere: Vec<InstanceUid> = nowhere.cloned().collect();
            self.name_failed(nowhere);
            let elsewhere = self.gathering.awaited() + self.gathering.missing();
            self.counts.failed += archived.gone.saturating_sub(elsewhere);
        }
        self.doubtful = archived.doubtful;
        self.remark = archived.remark().filter(|_| self.doubtful || self.counts.failed > 0);
    }

    /// What has not been given has failed, and cannot be named.
    pub(super) fn breaks_off(&mut self, why: &str) {
        self.counts.failed += self.remaining().max(1);
        self.counts.remaining = Some(0);
        self.why.get_or_insert_with(|| why.to_owned());
    }

    /// Instances of this retrieval, whatever becomes of them.
    pub(super) fn total(&self) -> u64 {
        self.remaining() + self.counts.failed
    }

    pub(super) fn one_less(&mut self) {
        self.counts.remaining = self.counts.remaining.map(|remaining| remaining.saturating_sub(1));
    }

    /// One sub-operation has failed.
    pub(super) fn fail(&mut self, instance: &str, why: &str) {
        tracing::warn!(instance, why, "sub-operation failed");
        self.why.get_or_insert_with(|| why.to_owned());
        self.one_less();
        self.counts.failed += 1;
        self.name(instance);
    }

    fn remaining(&self) -> u64 {
        self.counts.remaining.unwrap_or_default()
    }

    /// How it ended, for the ledger.
    pub(super) fn ended(&self) -> RetrievalEnded {
        RetrievalEnded {
            how: match (self.remaining(), self.dialogue.is_lost(), self.dialogue.is_cancelled()) {
                (_, true, _) => "originator_lost",
                (1.., _, true) => "cancelled",
                _ => "done",
            },
            completed: self.counts.completed,
            warning: self.counts.warning,
            failed: self.counts.failed,
            remaining: self.remaining(),
            failed_instances: self.failed.clone(),
        }
    }

    /// The final answer: the counts, and the failed instances if there are any (DIM-084).
    pub(super) fn answer(&self, request: &QueryRequest) -> QueryAnswer {
        let Counts { completed, failed, warning, .. } = self.counts;
        let cancelled = self.remaining() > 0;
        // What may be missing is not called all, though nobody knows how much it is.
        let doubtful = self.doubtful || self.gathering.is_doubtful();
        let status = match (cancelled, failed, completed + warning) {
            (true, ..) => Status::CANCEL,
            (_, 0, _) if warning == 0 && !doubtful => Status::SUCCESS,
            (_, 1.., 0) => Status::NO_SUB_OPERATIONS,
            (_, _, 0) if doubtful => Status::NO_SUB_OPERATIONS,
            _ => Status::SOME_FAILED,
        };
        let counts = Counts { remaining: self.counts.remaining.filter(|_| cancelled), ..self.counts };
        let explicit = request.transfer_syntax == EXPLICIT_VR_LE;
        let list = (!self.failed.is_empty()).then(|| BTreeMap::from([(FAILED_LIST, self.failed.join("\\"))]));
        let identifier = list.map(|list| identifier::write(&list, &Default::default(), explicit));
        // The first thing that went wrong is most often the cause of the rest, and the requester's person sees no log of ours.
        let comment = self.why.clone().filter(|_| failed > 0);
        let comment = comment.or_else(|| self.gathering.remark()).or_else(|| self.remark.clone());
        QueryAnswer { counts: Some(counts), identifier, comment, ..status.into() }
    }
}

/// Does the work to its end; meanwhile hears the requester, and shows it that we are alive.
pub(super) async fn alongside<T>(dialogue: &mut Dialogue<'_>, counts: Counts, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        let hears = !dialogue.is_cancelled() && !dialogue.is_lost();
        let due = dialogue.told() + SIGN_OF_LIFE;
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = dialogue.heard(), if hears => {}
            () = tokio::time::sleep_until(due) => {
                let _ = dialogue.pending(Status::PENDING, Some(counts), None).await;
            }
        }
    }
}

/// The requester's own association.
struct Own<'a, 'd> {
    dialogue: &'a mut Dialogue<'d>,
    receives: &'a BTreeSet<String>,
}

impl Stores for Own<'_, '_> {
    fn context_for(&self, class: &str, syntax: &str) -> Option<u8> {
        let mut contexts = self.dialogue.contexts();
        let found = contexts.find(|context| context.abstract_syntax == class && context.transfer_syntax == syntax);
        found.filter(|_| self.receives.contains(class)).map(|context| context.id)
    }

    async fn store(
        &mut self,
        command: StoreCommand,
        length: Option<u64>,
        source: &mut (impl Source + Sync),
    ) -> Result<StoreResponse, StoreFailure> {
        self.dialogue.store(command, length, source).await
    }
}
