//! What the archives hold, beside what is held here: as a node's query finds it, and fetched before a node is given it.

use super::asked::exact;
use super::find::{Awaited, Find};
use super::given::{Given, SIGN_OF_LIFE, alongside};
use super::passing::{Passing, Way};
use super::retrieve::Prepared;
use super::{Caller, DimseFace};
use crate::courier::mover::Mover;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::{PATIENT_ID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID};
use crate::dicom::query::Match;
use crate::dicom::sop_class::VERIFICATION;
use crate::dicom::tag::Tag;
use crate::dicom::transfer_syntax::IMPLICIT_VR_LE;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dimse::{Counts, Dialogue, Offer, QueryAnswer, Status};
use crate::edge::qido::archived::{instance_elsewhere, series_elsewhere, study_elsewhere};
use crate::priors::archive::{ArchivedInstance, Brought as Asked, Found, Wanted};
use crate::records::{Elsewhere, Picked, RecordsError, Resource, SeriesRow, StudyRow, StudySize, Walk};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;

/// Instance Availability of what an archive holds, and we do not (DIM-070).
pub(super) const NEARLINE: &str = "NEARLINE";

impl Find<'_, '_> {
    /// Asks the archives, unless there is none to be asked for this node; where the query lists what it wants in its key `named`, not before it
    /// is known that some of it is not here.
    fn awaited<K: Ord + Clone, T: Send + 'static>(
        &self,
        named: Tag,
        asking: impl Future<Output = Found<T>> + Send + 'static,
        unique: fn(&T) -> K,
        described: fn(&T) -> Elsewhere,
    ) -> Awaited<K, T> {
        if !self.face.archives.any(Some(&self.node.ae_title)) {
            return Awaited::nothing(unique, described);
        }
        let mut awaited = Awaited::of(asking, unique, described);
        if self.named(named).is_empty() {
            awaited.begin();
        }
        awaited
    }

    /// The keys, with the unique ones of the levels above.
    fn all_keys(&self) -> Vec<Match> {
        let mut matches = self.keys.matches.clone();
        let above = self.asked.unique.iter().filter(|key| !matches.iter().any(|known| known.path == key.path));
        matches.extend(above.cloned().collect::<Vec<_>>());
        matches
    }

    /// The same below a study, which is named: whose it is is matched by what the number means, and not by how an archive writes it (IDY-042).
    fn keys_below(&self) -> Vec<Match> {
        let mut keys = self.all_keys();
        if self.patient.as_ref().is_some_and(|patient| patient.nhs.is_some()) {
            keys.retain(|key| key.path != [PATIENT_ID]);
        }
        keys
    }

    /// The keys as an archive is asked them, which compares numbers as texts: an NHS number in each form in which it may be held (IDY-042).
    /// What is answered is matched again by what it means.
    fn in_every_form(&self) -> Vec<Vec<Match>> {
        let keys = self.all_keys();
        let named = exact(&keys, PATIENT_ID).map(str::to_owned);
        let (Some(named), Some(nhs)) = (named, self.patient.as_ref().and_then(|patient| patient.nhs)) else {
            return vec![keys];
        };
        let others = nhs.forms().into_iter().filter(|form| *form != named).map(|form| {
            let mut keys = keys.clone();
            keys.iter_mut().filter(|key| key.path == [PATIENT_ID]).for_each(|key| key.values = vec![form.clone()]);
            keys
        });
        others.chain([keys.clone()]).collect()
    }

    /// Studies that archives hold, each with what it holds.
    pub(super) fn archived_studies(&self) -> Awaited<StudyUid, (StudyRow, StudySize)> {
        let (archives, by, questions) = (self.face.archives.clone(), self.node.ae_title.clone(), self.in_every_form());
        let combined = self.combined;
        let asking = async move {
            let asked = questions.iter().map(|matches| {
                let wanted = Wanted { matches, combined, study: None, series: None };
                archives.studies(Some(&by), wanted)
            });
            together(join_all(asked).await)
        };
        self.awaited(STUDY_INSTANCE_UID, asking, |row: &(StudyRow, StudySize)| row.0.study.clone(), study_elsewhere)
    }

    /// Series of the study of a walk, if it is one study.
    pub(super) fn archived_series(&self, walk: &Walk) -> Awaited<SeriesUid, SeriesRow> {
        let unique = |row: &SeriesRow| row.series.clone();
        let [study] = walk.studies.as_slice() else { return Awaited::nothing(unique, series_elsewhere) };
        let (archives, by, matches) = (self.face.archives.clone(), self.node.ae_title.clone(), self.keys_below());
        let (combined, study, series) = (self.combined, study.clone(), walk.series.clone());
        let asking = async move {
            let wanted = Wanted { matches: &matches, combined, study: Some(&study), series: series.as_ref() };
            archives.series(Some(&by), wanted).await
        };
        self.awaited(SERIES_INSTANCE_UID, asking, unique, series_elsewhere)
    }

    /// Instances of it, or of its series if one is named.
    pub(super) fn archived_instances(&self, walk: &Walk) -> Awaited<InstanceUid, ArchivedInstance> {
        let unique = |row: &ArchivedInstance| row.instance.clone();
        let [study] = walk.studies.as_slice() else { return Awaited::nothing(unique, instance_elsewhere) };
        let (archives, by, matches) = (self.face.archives.clone(), self.node.ae_title.clone(), self.keys_below());
        let (combined, study, series) = (self.combined, study.clone(), walk.series.clone());
        let asking = async move {
            let wanted = Wanted { matches: &matches, combined, study: Some(&study), series: series.as_ref() };
            archives.instances(Some(&by), wanted).await
        };
        self.awaited(SOP_INSTANCE_UID, asking, unique, instance_elsewhere)
    }

    /// The end of a query that was answered as far as it could be. What a silent archive holds is not passed over in silence:
    /// "nothing more" would be taken for "no priors".
    pub(super) fn ended(&self) -> QueryAnswer {
        let Some(archive) = self.silent.first() else {
            return QueryAnswer { comment: self.remark.clone(), ..Status::SUCCESS.into() };
        };
        let comment = Some(format!("archive {archive} did not answer; there may be more"));
        QueryAnswer { comment, ..Status::OUT_OF_RESOURCES.into() }
    }
}

/// What was answered to several questions.
fn together<T>(answers: Vec<Found<T>>) -> Found<T> {
    let mut all = Found::default();
    for Found { rows, silent } in answers {
        all.rows.extend(rows);
        all.silent.extend(silent);
    }
    all
}

/// Studies of one request that archives are asked for; the rest of a longer list is given as it is here, and the answer says so.
const MOST_STUDIES: usize = 64;

/// What came of asking the archives before a retrieval.
#[derive(Default)]
pub(super) struct Brought {
    /// Instances that an archive holds and did not give.
    pub(super) missing: u64,
    /// The names of the first of them.
    pub(super) lacking: Vec<InstanceUid>,
    /// Instances that were here once, of what an archive did not answer for: nobody but it, or another site, can have them.
    pub(super) gone: u64,
    /// An archive that did not answer.
    pub(super) silent: Option<AeTitle>,
    /// Nobody knows how much more an archive holds: it did not answer, or was not asked for all.
    pub(super) doubtful: bool,
    /// Instances that were to be given when the node cancelled, or was gone, before any of them was.
    pub(super) unbegun: u64,
    /// Studies for which archives were not asked, since too many are named.
    pub(super) unasked: u64,
}

impl Brought {
    /// The answer where nothing is to be given, and an archive did not answer.
    pub(super) fn silence(&self, nothing: bool) -> Option<QueryAnswer> {
        let nothing = nothing && self.missing + self.unbegun == 0;
        let comment = match &self.silent {
            Some(archive) => format!("archive {archive} did not answer; nothing is here"),
            None => self.remark()?,
        };
        nothing.then(|| QueryAnswer { comment: Some(comment), ..Status::NO_SUB_OPERATIONS.into() })
    }

    /// What is to be said of archives beside what is given.
    pub(super) fn remark(&self) -> Option<String> {
        match (&self.silent, self.unasked) {
            (Some(archive), _) => Some(format!("archive {archive} did not answer; there may be more")),
            (None, 0) => None,
            (None, _) => Some(format!("archives are asked for {MOST_STUDIES} studies at once; ask again for fewer")),
        }
    }
}

/// Fetches what archives hold of what a node picked and is not here; each instance is given as soon as it is. Nothing is fetched for a
/// destination that cannot be reached, for an archive itself, nor after a cancel.
pub(super) async fn brought(
    face: &DimseFace,
    caller: &Caller,
    plan: &Prepared,
    way: Way<'_>,
    given: &mut Given<'_, '_>,
) -> Brought {
    let Prepared { to, mover, sought: picked, .. } = plan;
    let dialogue = &mut *given.dialogue;
    let mut all = Brought::default();
    if !face.archives.any(Some(to)) || !face.archives.any(Some(caller.node())) || picked.studies.is_empty() {
        return all;
    }
    // The node hears from us before anybody else is asked, which may take seconds (DIM-083). What cannot be sent, the dialogue remembers.
    let _ = dialogue.pending(Status::PENDING, Some(Counts { remaining: Some(0), ..Counts::default() }), None).await;
    if mover.can_call() && caller.node() != to {
        match answers(mover, dialogue).await {
            Some(true) => {}
            Some(false) => return all,
            None => return Brought { unbegun: 1, ..all },
        }
    }
    all.unasked = picked.studies.len().saturating_sub(MOST_STUDIES) as u64;
    all.doubtful = all.unasked > 0;
    let (mut fetches, mut noted) = (Vec::new(), BTreeSet::new());
    let mut counts = Counts { remaining: Some(0), ..Counts::default() };
    for (of, named) in resources(picked) {
        let asking = asked(face, caller, &of, &named, all.silent.is_some());
        let Some(asked) = unless_over(dialogue, counts, asking).await else {
            return Brought { unbegun: counts.remaining.unwrap_or_default().max(1), ..all };
        };
        let Ok(asked) = asked.map_err(|error| tracing::error!(error = %error, "what is here cannot be looked up"))
        else {
            continue;
        };
        if let Some(archive) = asked.silent.first() {
            all.silent.get_or_insert_with(|| archive.clone());
            // Of instances that are named it is known whether they are here.
            all.doubtful |= named.is_empty();
        }
        let untold = named.is_empty() && !asked.silent.is_empty();
        let not_begun = if asked.busy { asked.missing } else { 0 };
        all.missing += not_begun;
        counts.remaining = counts.remaining.map(|remaining| remaining + asked.listed);
        noted.extend(asked.notes.then(|| of.study.clone()));
        fetches.push((asked.fetching, of, untold, not_begun));
    }
    given.counts.remaining = counts.remaining;
    let mut passing = Passing::new(face, plan, way, noted);
    for (fetching, of, untold, mut counted) in fetches {
        if let Some(fetching) = fetching {
            given.tell().await;
            let Some(fetched) = given.pass_on(&mut passing, fetching).await else {
                alongside(given.dialogue, given.counts, passing.way.give_way()).await;
                return Brought { unbegun: given.counts.remaining.unwrap_or_default(), ..all };
            };
            counted += fetched.missing;
            // What is withheld for certain, now that something of it is here, is not told of.
            if fetched.missing > 0 && !hides(face, &of).await {
                all.missing += fetched.missing;
                all.lacking.extend(fetched.lacking);
            }
        }
        if untold {
            all.gone += gone(face, &of, counted).await;
        }
    }
    alongside(given.dialogue, given.counts, passing.way.give_way()).await;
    all
}

/// Whether all of it is withheld from the node; if that cannot be known, what is missing is told.
async fn hides(face: &DimseFace, of: &Resource) -> bool {
    face.records.hides(of).await.unwrap_or_else(|error| {
        tracing::error!(error = %error, "what is withheld cannot be looked up");
        false
    })
}

/// Instances that were here once, beyond those that another archive holds and did not give.
async fn gone(face: &DimseFace, of: &Resource, counted: u64) -> u64 {
    match face.records.extent(of).await {
        Ok(extent) => (extent.purged + extent.damaged).saturating_sub(counted),
        Err(error) => {
            tracing::error!(error = %error, "what was here once cannot be looked up");
            0
        }
    }
}

/// Does the work while the node hears from us; `None` if it cancels, or is gone, before the end.
pub(super) async fn unless_over<T>(
    dialogue: &mut Dialogue<'_>,
    counts: Counts,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let due = dialogue.told() + SIGN_OF_LIFE;
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = dialogue.heard() => return None,
            () = tokio::time::sleep_until(due) => {
                let _ = dialogue.pending(Status::PENDING, Some(counts), None).await;
            }
        }
    }
}

/// Whether a destination takes calls (DIM-081); `None` if the node cancels, or is gone, before that is known.
async fn answers(mover: &Mover, dialogue: &mut Dialogue<'_>) -> Option<bool> {
    let echo = Offer { abstract_syntax: VERIFICATION.to_owned(), transfer_syntaxes: vec![IMPLICIT_VR_LE.to_owned()] };
    let counts = Counts { remaining: Some(0), ..Counts::default() };
    match unless_over(dialogue, counts, mover.open(&[echo])).await? {
        Ok(association) => {
            let _ = unless_over(dialogue, counts, association.release()).await?;
            Some(true)
        }
        Err(error) => {
            tracing::warn!(reason = %error, "nothing is fetched for a destination that cannot be reached");
            Some(false)
        }
    }
}

/// The studies, series or instances that were picked.
fn resources(picked: &Picked) -> Vec<(Resource, Vec<InstanceUid>)> {
    let study = |study: &StudyUid| Resource { study: study.clone(), series: None, instance: None };
    let mut resources = Vec::new();
    for of in picked.studies.iter().take(MOST_STUDIES).map(study) {
        if picked.series.is_empty() {
            resources.push((of, picked.instances.clone()));
            continue;
        }
        let of_series = |series: &SeriesUid| Resource { series: Some(series.clone()), ..of.clone() };
        resources.extend(picked.series.iter().map(|series| (of_series(series), picked.instances.clone())));
    }
    resources
}

/// Asks the archives for one of the things that were picked. Where one of them was waited for already, and kept silent, it is not waited for
/// as long once more: a list of studies would take as many times as long.
async fn asked(
    face: &DimseFace,
    caller: &Caller,
    of: &Resource,
    named: &[InstanceUid],
    silent: bool,
) -> Result<Asked, RecordsError> {
    let held = silent || face.records.extent(of).await?.stored > 0;
    face.archives.bring(Some(caller.node()), of, named, held).await
}
