//! The other sites' part of a query: whom it concerns, what they show as this node will be given it, and who kept silent ("Priors").

use super::super::archived::NEARLINE;
use super::known::Known;
use super::{End, Find, Told, with_size};
use crate::dicom::attributes::*;
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::tag::Tag;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::dimse::{QueryAnswer, Status};
use crate::edge::dimse_scp::asked::*;
use crate::edge::dimse_scp::shown::shown;
use crate::edge::qido::elsewhere::{found_elsewhere, is_told_as};
use crate::peers::{Foreign, Origin, Silent};
use crate::priors::archive::widen;
use crate::priors::marker::{self, Silence};
use crate::priors::merge::{Copy, Found, Merge, Rest};
use crate::priors::search::{Answers, Outcome, Part, Wanted, What};
use crate::priors::{Clock, Site};
use crate::records::{StudyRow, StudySize, Texts, Walk};
use std::collections::{BTreeMap, BTreeSet};

/// The most studies that one query names to other sites.
const MOST_NAMED: usize = 10;

/// How the answer of a site counts that does not say of whom it tells.
const UNTOLD: Outcome = Outcome::Answered { found: 0, namesakes: 0, others: 0, untold: 1 };

/// The other sites while they answer.
pub(super) struct Elsewhere {
    answers: Answers,
    /// What is found means the patient who was asked for: the search has seen to that.
    meant: bool,
    merge: Merge,
    silent: Vec<(String, Outcome)>,
    /// Sites that have answered in full.
    answered: BTreeSet<String>,
    /// Sites that showed what this node is not shown before a person has decided.
    held_back: BTreeSet<String>,
    /// What our own catalogue or a site says of the patient, for the markers.
    person: BTreeMap<Tag, String>,
}

impl Elsewhere {
    fn new(answers: Answers, meant: bool) -> Self {
        Self {
            answers,
            meant,
            merge: Merge::default(),
            silent: Vec::new(),
            answered: BTreeSet::new(),
            held_back: BTreeSet::new(),
            person: BTreeMap::new(),
        }
    }

    /// A study of our own, told at once.
    pub(super) fn own(&mut self, study: &StudyUid, values: &BTreeMap<Tag, String>) {
        self.note(values);
        self.merge.own(study);
    }

    /// Remembers name, birth date and sex of the patient who was asked for.
    fn note(&mut self, values: &BTreeMap<Tag, String>) {
        if self.person.is_empty() {
            let tags = [PATIENT_NAME, PATIENT_BIRTH_DATE, PATIENT_SEX];
            self.person.extend(tags.into_iter().filter_map(|tag| Some((tag, values.get(&tag)?.clone()))));
        }
    }
}

impl Find<'_, '_> {
    /// For whom other sites are asked.
    fn behalf(&self) -> OnBehalf {
        self.registry.behalf_of_node(&self.node.ae_title)
    }

    /// Other sites tell of studies: who asks for patients is told that these are this site's alone (DIM-070).
    pub(super) fn remark_on_patients(&mut self) {
        if !self.face.priors.sites().sites.is_empty() {
            self.remark = Some("patients of this site only; other sites are asked for studies".to_owned());
        }
    }

    /// Asks the other sites for the patient's studies; `None` if the query names no patient, or there are no other sites.
    pub(super) fn ask_for_patient(&mut self) -> Option<Elsewhere> {
        let sites = self.face.priors.sites().sites.clone();
        if sites.is_empty() {
            return None;
        }
        let Some(patient) = self.patient.clone() else {
            // Whoever names studies need not be told: those are looked for where they are.
            if self.asked.values(STUDY_INSTANCE_UID).is_empty() {
                self.remark = Some("other sites are asked by Patient ID or Study UID only".to_owned());
            }
            return None;
        };
        Some(Elsewhere::new(self.face.priors.search(&Wanted::Patient(patient), sites, &self.behalf()), true))
    }

    /// Tells what the other sites show of the patient, as they answer, then the markers of those that did not.
    pub(super) async fn tell_elsewhere(&mut self, mut elsewhere: Elsewhere) -> Result<(), End> {
        self.hear(&mut elsewhere).await?;
        let Elsewhere { merge, mut silent, answered, held_back, person, .. } = elsewhere;
        silent.extend(held_back.into_iter().map(|site| (site, Outcome::HeldBack)));
        for Rest { study, copy, whole, unlisted } in merge.rest(&answered) {
            if unlisted && self.face.records.is_only_pulled(&study).await? {
                tracing::info!(study = %study, "the site of a copy does not list it for this patient; it is not told");
                continue;
            }
            let mut values = copy.values.0;
            values.insert(STUDY_INSTANCE_UID, study.to_string());
            with_size(&mut values, &copy.size);
            if self.fits_size(&values) {
                if !whole {
                    values.insert(AVAILABILITY, NEARLINE.to_owned());
                }
                self.tell(values).await?;
            }
        }
        self.tell_silence(silent, &person).await
    }

    /// Hears the sites to their end.
    async fn hear(&mut self, elsewhere: &mut Elsewhere) -> Result<(), End> {
        loop {
            let part = tokio::select! {
                biased;
                part = elsewhere.answers.next() => part,
                () = self.dialogue.heard() => return Err(End::Over),
            };
            let Some(Part { site, what }) = part else { return Ok(()) };
            match what {
                What::Ended(outcome) if outcome.is_whole() => drop(elsewhere.answered.insert(site)),
                What::Ended(outcome) => elsewhere.silent.push((site, outcome)),
                What::Found(found) => {
                    let found = self.face.records.shown_elsewhere(found, found_elsewhere).await?;
                    let ours = self.held_here(&found, elsewhere).await?;
                    for found in found.into_iter().filter(|found| !ours.contains(&found.study)) {
                        self.tell_found(found, elsewhere).await?;
                    }
                }
            }
        }
    }

    /// Which of these studies came from our own nodes: our catalogue alone says what is told of them. Of the others a copy may be held
    /// here that does not say itself who issued the number that it bears; the site has said so now. One that bears another number is not
    /// told (IDY-040): the site files the study otherwise by now, and what it shows is told as lying there.
    async fn held_here(&mut self, found: &[Found], elsewhere: &mut Elsewhere) -> Result<BTreeSet<StudyUid>, End> {
        let studies: Vec<StudyUid> = found.iter().map(|found| found.study.clone()).collect();
        let mut walk = Walk { studies, ..Walk::default() };
        let mut ours = BTreeSet::new();
        if walk.studies.is_empty() {
            return Ok(ours);
        }
        loop {
            let rows = self.face.records.walk_studies(walk.clone()).await?;
            let Some(last) = rows.last() else { return Ok(ours) };
            walk.after = last.row;
            let (own, copies): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.origin.site().is_none());
            ours.extend(own.into_iter().map(|row| row.study));
            if !elsewhere.meant {
                continue;
            }
            let rows = copies.iter().map(|row| row.row).collect();
            let mut sizes = self.face.records.study_sizes(rows, self.wants_classes()).await?;
            for mut row in copies {
                let shown = found.iter().find(|found| found.study == row.study);
                if !shown.is_some_and(|shown| is_told_as(shown, &row)) {
                    continue;
                }
                let attributes = std::mem::take(&mut row.attributes);
                let Some(values) = self.fitting_as(true, &row.origin, attributes) else { continue };
                let size = sizes.remove(&row.row).unwrap_or_default();
                self.copy((size, None), &row, values, elsewhere).await?;
            }
        }
    }

    /// A copy held here waits: where it came from there may be more of it by now. An archive may have more of it as well.
    pub(super) async fn copy(
        &mut self,
        (mut size, theirs): (StudySize, Option<StudySize>),
        row: &StudyRow,
        mut values: BTreeMap<Tag, String>,
        elsewhere: &mut Elsewhere,
    ) -> Result<(), End> {
        values.insert(STUDY_INSTANCE_UID, row.study.to_string());
        let site = row.origin.site().filter(|_| theirs.is_none()).map(str::to_owned);
        let nearline = theirs.is_some_and(|theirs| widen(&mut size, &theirs));
        if nearline {
            values.insert(AVAILABILITY, NEARLINE.to_owned());
        }
        with_size(&mut values, &size);
        if self.fits_size(&values)
            && let Some(copy) = elsewhere.merge.copy(&row.study, Copy { values: Texts(values), size, nearline, site })
        {
            elsewhere.note(&copy.values.0);
            self.tell(copy.values.0).await?;
        }
        Ok(())
    }

    async fn tell_found(&mut self, found: Found, elsewhere: &mut Elsewhere) -> Result<(), End> {
        self.goes_on().await?;
        let Some(Found { site, values, size, .. }) = elsewhere.merge.there(found) else { return Ok(()) };
        let origin = Origin::Peer(site);
        // Nothing of it may be shown, but that it is there ("A silent site is visible").
        if self.is_held_back(&origin, &values) {
            elsewhere.held_back.insert(origin.name().to_owned());
            return Ok(());
        }
        let meant = elsewhere.meant || self.is_meant(&origin, &values);
        let Some(mut values) = self.fitting_as(meant, &origin, values) else { return Ok(()) };
        with_size(&mut values, &size);
        if self.fits_size(&values) {
            elsewhere.note(&values);
            values.insert(AVAILABILITY, NEARLINE.to_owned());
            self.tell(values).await?;
        }
        Ok(())
    }

    /// Whether a query names a patient, and what a site shows does not: whether it is asked for nobody can tell. Some servers tell nothing
    /// of the patient below a study.
    fn is_nobodys(&self, values: &Texts) -> bool {
        let unsaid = values.0.get(&PATIENT_ID).is_none_or(|id| id.trim().is_empty());
        unsaid && self.asked.root == Root::Patient
    }

    /// Whether this node is shown nothing of what a site has, before a person has decided.
    pub(super) fn is_held_back(&self, origin: &Origin, values: &Texts) -> bool {
        let may_be = origin.site().is_some() && self.node.foreign != Foreign::AsIs;
        may_be && shown(&self.registry, self.node, origin, values.clone()).is_none()
    }

    /// Shows who kept silent, as the node's configuration has it; never nothing ("A silent site is visible", UIX-12).
    async fn tell_silence(
        &mut self,
        silent: Vec<(String, Outcome)>,
        person: &BTreeMap<Tag, String>,
    ) -> Result<(), End> {
        let silences = Silence::of(&silent);
        if silences.is_empty() {
            return Ok(());
        }
        if self.node.silent == Silent::Failure {
            return Err(self.incomplete(&silences));
        }
        let clock = Clock::now();
        let keys = [PATIENT_NAME, PATIENT_ID, ISSUER_OF_PATIENT_ID, PATIENT_BIRTH_DATE, MODALITIES_IN_STUDY];
        let asked = |tag| exact(&self.keys.matches, tag).or_else(|| exact(&self.asked.unique, tag));
        let asked: BTreeMap<Tag, String> =
            keys.into_iter().filter_map(|tag| Some((tag, asked(tag)?.to_owned()))).collect();
        let patient = asked.get(&PATIENT_ID).cloned().unwrap_or_default();
        for silence in &silences {
            let Some(uid) = marker::uid(self.face.priors.marker_key(), silence.sites(), &patient, clock.day) else {
                continue;
            };
            let mut values = person.clone();
            // A workstation that looks for one modality is to see it too.
            values.insert(MODALITIES_IN_STUDY, "OT".to_owned());
            values.extend(asked.clone());
            values.extend([
                (STUDY_INSTANCE_UID, uid.to_string()),
                (STUDY_DESCRIPTION, silence.description(&clock.time)),
                (STUDY_DATE, clock.date.clone()),
                (STUDY_TIME, clock.moment.clone()),
                (STUDY_RELATED_SERIES, "0".to_owned()),
                (STUDY_RELATED_INSTANCES, "0".to_owned()),
            ]);
            values.insert(AVAILABILITY, "UNAVAILABLE".to_owned());
            self.tell(values).await?;
        }
        Ok(())
    }

    fn incomplete(&self, silences: &[Silence]) -> End {
        let all: Vec<String> = silences.iter().map(|silence| silence.description("")).collect();
        let comment = Some(all.join("; "));
        End::Answer(QueryAnswer { comment, ..Status::UNABLE_TO_PROCESS.into() })
    }

    /// Looks for studies that are named and not told yet, at the sites that have shown them, else at all.
    pub(super) async fn named_studies(&mut self, told: &BTreeSet<StudyUid>) -> Result<(), End> {
        let named = self.asked.values(STUDY_INSTANCE_UID).iter().filter_map(|uid| StudyUid::parse(uid).ok());
        let missing: Vec<StudyUid> = named.filter(|study| !told.contains(study)).collect();
        let missing: Vec<StudyUid> = missing.into_iter().filter(|study| !marker::is_marker(study)).collect();
        if missing.is_empty() || self.face.priors.sites().sites.is_empty() {
            return Ok(());
        }
        let missing = self.not_ours(missing).await?;
        let unasked = missing.len().saturating_sub(MOST_NAMED);
        let mut silent = Vec::new();
        for study in missing.into_iter().take(MOST_NAMED) {
            let sites = self.face.priors.holders(&study).await;
            let answers = self.face.priors.search(&Wanted::Study(study), sites, &self.behalf());
            let mut elsewhere = Elsewhere::new(answers, false);
            self.hear(&mut elsewhere).await?;
            silent.extend(elsewhere.silent);
            silent.extend(elsewhere.held_back.into_iter().map(|site| (site, Outcome::HeldBack)));
        }
        self.or_incomplete(&silent)?;
        if unasked > 0 {
            let comment = Some(format!("{unasked} studies not asked for elsewhere; name {MOST_NAMED} at most"));
            return Err(End::Answer(QueryAnswer { comment, ..Status::UNABLE_TO_PROCESS.into() }));
        }
        Ok(())
    }

    /// Those of the studies that did not come from our own nodes: what did is looked for nowhere else, be it what is asked for or not.
    async fn not_ours(&self, mut studies: Vec<StudyUid>) -> Result<Vec<StudyUid>, End> {
        let mut walk = Walk { studies: studies.clone(), ..Walk::default() };
        loop {
            let rows = self.face.records.walk_studies(walk.clone()).await?;
            let Some(last) = rows.last() else { return Ok(studies) };
            walk.after = last.row;
            let ours = rows.iter().filter(|row| row.origin.site().is_none());
            let ours: BTreeSet<&StudyUid> = ours.map(|row| &row.study).collect();
            studies.retain(|study| !ours.contains(study));
        }
    }

    /// The end of a query below a study. What is told of a study that came from our own nodes alone, or lies in an archive of ours, is
    /// no failure because a site keeps silent to which it was sent as well.
    fn ended_below(&mut self, silent: &[(String, Outcome)], ours: bool) -> Result<(), End> {
        let ended = self.or_incomplete(silent);
        match ended {
            Err(End::Answer(QueryAnswer { comment: Some(comment), .. })) if ours => {
                self.remark = Some(format!("{comment}; there may be more"));
                Ok(())
            }
            ended => ended,
        }
    }

    /// A query that names no patient has nobody to show a marker for: what may be missing makes it a failure.
    fn or_incomplete(&self, silent: &[(String, Outcome)]) -> Result<(), End> {
        let silences = Silence::of(silent);
        if silences.is_empty() { Ok(()) } else { Err(self.incomplete(&silences)) }
    }

    /// Series or instances of a study that other sites hold. `known` is what was told already, or waits; `unique` is the UID's attribute.
    pub(super) async fn below_study(&mut self, unique: Tag, mut known: Known) -> Result<(), End> {
        let ours = known.own && !known.copies;
        let mut silent = self.hear_below(unique, &mut known).await?;
        for (row, theirs) in known.waiting.into_values() {
            if self.is_held_back(&row.origin, &row.attributes) {
                known.held_back.insert(row.origin.name().to_owned());
            }
            self.tell_series(row, theirs).await?;
        }
        silent.extend(known.held_back.into_iter().map(|site| (site, Outcome::HeldBack)));
        self.ended_below(&silent, ours)
    }

    /// The study below which is asked.
    fn study_above(&self) -> Option<StudyUid> {
        self.asked.values(STUDY_INSTANCE_UID).first().and_then(|uid| StudyUid::parse(uid).ok())
    }

    /// Nothing told yet, and who will be asked for what is not here.
    pub(super) async fn known_below(&self) -> Known {
        let holders = match self.study_above() {
            Some(study) => self.face.priors.known_holders(&study).await,
            None => Vec::new(),
        };
        Known::of(holders)
    }

    /// Who is asked for what is below a study: whoever has shown it, or everybody if it is unknown here too; nobody where all that is asked
    /// for by name is known already.
    async fn whom_below(&self, study: &StudyUid, known: &mut Known) -> Result<Vec<Site>, End> {
        if marker::is_marker(study) || known.is_complete() {
            return Ok(Vec::new());
        }
        let holders = std::mem::take(&mut known.holders);
        if known.any || !holders.is_empty() {
            return Ok(holders);
        }
        match self.face.records.is_in_sight(study).await? {
            false => Ok(self.face.priors.sites().sites.clone()),
            // What is asked for is no part of the study.
            true => Ok(holders),
        }
    }

    /// Asks others for what is below the study, and tells what is not known yet; who kept silent.
    async fn hear_below(&mut self, unique: Tag, known: &mut Known) -> Result<Vec<(String, Outcome)>, End> {
        let mut silent = Vec::new();
        let Some(study) = self.study_above() else { return Ok(silent) };
        let sites = self.whom_below(&study, known).await?;
        if sites.is_empty() {
            return Ok(silent);
        }
        let wanted = match unique == SERIES_INSTANCE_UID {
            true => Wanted::Series(study),
            false => {
                let series = self.asked.values(SERIES_INSTANCE_UID).first();
                Wanted::Instances(study, series.and_then(|uid| SeriesUid::parse(uid).ok()))
            }
        };
        let (mut answers, mut untold) = (self.face.priors.search(&wanted, sites, &self.behalf()), BTreeSet::new());
        loop {
            let part = tokio::select! {
                biased;
                part = answers.next() => part,
                () = self.dialogue.heard() => return Err(End::Over),
            };
            let Some(Part { site, what }) = part else { return Ok(silent) };
            match what {
                What::Ended(_) if untold.contains(&site) => silent.push((site, UNTOLD)),
                What::Ended(outcome) if outcome.is_whole() => {}
                What::Ended(outcome) => silent.push((site, outcome)),
                What::Found(list) => {
                    let list = self.face.records.shown_elsewhere(list, found_elsewhere).await?;
                    for Found { site, values, size, .. } in list {
                        self.goes_on().await?;
                        let uid = values.0.get(&unique).cloned().unwrap_or_default();
                        let copy = SeriesUid::parse(&uid).ok().and_then(|series| known.waiting.get_mut(&series));
                        if let Some((_, theirs)) = copy {
                            *theirs = size.instances.max(*theirs);
                            continue;
                        }
                        let nobodys = self.is_nobodys(&values) && !known.is_told(&uid);
                        let origin = Origin::Peer(site);
                        let mut values = match self.told(&origin, values) {
                            Told::As(values) => values,
                            Told::HeldBack => {
                                known.held_back.insert(origin.name().to_owned());
                                continue;
                            }
                            Told::Not => {
                                untold.extend(nobodys.then(|| origin.name().to_owned()));
                                continue;
                            }
                        };
                        if known.remember(uid)? {
                            values.insert(SERIES_RELATED_INSTANCES, size.instances.to_string());
                            values.insert(AVAILABILITY, NEARLINE.to_owned());
                            self.tell(values).await?;
                        }
                    }
                }
            }
        }
    }
}
