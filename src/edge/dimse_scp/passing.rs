//! What archives bring for a retrieval is given as it comes, while they bring the rest (DIM-083, DIM-089; "Behaviour that decides safety",
//! freshness).

use super::DimseFace;
use super::archived::unless_over;
use super::given::{Given, MOST_LOST, PAGE, SIGN_OF_LIFE, alongside};
use super::line::Line;
use super::retrieve::{Prepared, Proof, here_by_now};
use crate::dicom::uid::StudyUid;
use crate::dimse::Status;
use crate::priors::archive::{Fetched, Fetching};
use crate::records::{InstanceId, RecordsError};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::future::pending;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What is here is looked through at most so often while a fetch goes on.
const EVERY: Duration = Duration::from_millis(250);

/// How instances are given.
pub(super) enum Way<'a> {
    /// Over associations to the destination (C-MOVE), for who asked.
    Move(Box<Line>, &'a (String, u16)),
    /// Over the requester's own association (C-GET), in the classes of which it is SCP.
    Get(&'a BTreeSet<String>),
}

impl Way<'_> {
    /// Ends once somebody waits for the turn that we have at the destination.
    async fn wanted(&self) {
        match self {
            Self::Move(line, _) => line.wanted().await,
            Self::Get(_) => pending().await,
        }
    }

    /// Releases what is open, and gives the turn to whoever waits for it.
    pub(super) async fn give_way(&mut self) {
        if let Self::Move(line, _) = self {
            line.give_way().await;
        }
    }

    /// Whether the destination was lost so often that it is called no more for now.
    fn is_lost(&self) -> bool {
        matches!(self, Self::Move(line, _) if line.lost >= MOST_LOST)
    }
}

/// What is passed on, and how.
pub(super) struct Passing<'a> {
    face: &'a DimseFace,
    plan: &'a Prepared,
    pub(super) way: Way<'a>,
    /// Nothing more is given before the fetches have ended.
    held_back: bool,
    /// Studies of which nothing is given before the fetches have ended: what is to come may reject it (WEB-105).
    noted: BTreeSet<StudyUid>,
    /// What is here and is to be given, as it was last looked up.
    fresh: VecDeque<InstanceId>,
    /// It was told that nothing can be looked up.
    unread: bool,
}

impl<'a> Passing<'a> {
    pub(super) fn new(face: &'a DimseFace, plan: &'a Prepared, way: Way<'a>, noted: BTreeSet<StudyUid>) -> Self {
        Self { face, plan, way, held_back: false, noted, fresh: VecDeque::new(), unread: false }
    }
}

impl Given<'_, '_> {
    /// Waits for the end of a fetch, and gives meanwhile what is here and what comes; `None` if the requester cancels, or is gone, before
    /// the end.
    pub(super) async fn pass_on(&mut self, passing: &mut Passing<'_>, mut fetching: Fetching) -> Option<Fetched> {
        loop {
            let looked = Instant::now();
            let page = self.come(passing).await?;
            if !page.is_empty() {
                if !self.give_page(passing, &page).await {
                    return None;
                }
                continue;
            }
            // The end is told as often as it is asked for.
            let more = async {
                let ended = fetching.more().await;
                if ended.is_none() {
                    sleep_until(looked + EVERY).await;
                }
                ended
            };
            let due = self.dialogue.told() + SIGN_OF_LIFE;
            tokio::select! {
                biased;
                ended = more => if ended.is_some() { return ended },
                () = self.dialogue.heard() => return None,
                () = passing.way.wanted() => alongside(self.dialogue, self.counts, passing.way.give_way()).await,
                () = sleep_until(due) => {
                    let _ = self.dialogue.pending(Status::PENDING, Some(self.counts), None).await;
                }
            }
        }
    }

    /// A page of what is here and is to be given; it is looked up anew once all of what was found is given. `None` if the requester
    /// cancels, or is gone.
    async fn come(&mut self, passing: &mut Passing<'_>) -> Option<Vec<InstanceId>> {
        let Passing { face, plan, held_back, noted, fresh, unread, .. } = passing;
        if *held_back {
            return Some(Vec::new());
        }
        if fresh.is_empty() {
            let looking = look(face, plan, noted, self.proof.as_ref(), &self.early);
            let found = unless_over(self.dialogue, self.counts, looking).await?;
            let failed = found.is_err();
            match found {
                Ok(found) => fresh.extend(found),
                Err(error) if !*unread => {
                    tracing::error!(error = %error, "what an archive brought cannot be looked up yet");
                }
                Err(_) => {}
            }
            *unread = failed;
        }
        let page = fresh.len().min(PAGE);
        Some(fresh.drain(..page).collect())
    }

    /// Gives a page; false if nothing more is to begin.
    async fn give_page(&mut self, passing: &mut Passing<'_>, page: &[InstanceId]) -> bool {
        // An archive may list fewer than are here.
        self.counts.remaining = self.counts.remaining.map(|remaining| remaining.max(page.len() as u64));
        if let Err(error) = self.begin().await {
            tracing::error!(error = %error, "a retrieval could not be entered in the ledger");
            passing.held_back = true;
            return true;
        }
        self.early.extend(page);
        let copies = self.copies(page).await;
        self.early_names.extend(copies.iter().map(|(item, _)| item.sop_instance.clone()));
        let goes_on = match &mut passing.way {
            Way::Move(line, originator) => self.move_page(line, &copies, originator).await,
            Way::Get(receives) => self.get_page(&copies, receives).await,
        };
        if passing.way.is_lost() {
            // The rest is tried once more when all is here.
            passing.held_back = true;
            alongside(self.dialogue, self.counts, passing.way.give_way()).await;
        }
        goes_on
    }
}

/// What is here, is none of what was pulled from other sites, and was not given. Whether a copy that was pulled is given its site must say
/// first.
async fn look(
    face: &DimseFace,
    plan: &Prepared,
    noted: &BTreeSet<StudyUid>,
    proof: Option<&Proof<'_>>,
    early: &BTreeSet<InstanceId>,
) -> Result<Vec<InstanceId>, RecordsError> {
    let (mut picked, mut sought) = (plan.picked.clone(), plan.sought.clone());
    picked.studies.retain(|study| !noted.contains(study));
    sought.studies.retain(|study| !noted.contains(study));
    let here = here_by_now(face, &picked, &sought, proof).await?;
    let mut fresh: Vec<InstanceId> = here.instances.into_iter().map(|(id, _)| id).collect();
    fresh.retain(|id| !early.contains(id));
    if fresh.is_empty() {
        return Ok(fresh);
    }
    let mut pulled = HashSet::new();
    for study in &sought.studies {
        let held = face.records.held_of(study).await?.into_iter();
        pulled.extend(held.filter(|held| held.pulled).map(|held| held.instance));
    }
    fresh.retain(|id| !pulled.contains(id));
    Ok(fresh)
}
