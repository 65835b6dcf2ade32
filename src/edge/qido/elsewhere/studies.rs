//! Studies of a patient, or studies by name, at the other sites: merged with ours and with the copies here, and who kept silent shown.

use super::super::{Asked, Window, found, refuse, unreadable};
use super::{NOT_BY_THESE, found_elsewhere, is_told_as};
use crate::dicom::attributes::*;
use crate::dicom::tag::Tag;
use crate::dicom::uid::StudyUid;
use crate::peers::Origin;
use crate::priors::Clock;
use crate::priors::archive::widen;
use crate::priors::marker::{self, Silence};
use crate::priors::merge::{Copy, Found, Merge, Rest};
use crate::priors::search::{Answers, Outcome, Part, Wanted, What};
use crate::records::{StudyRow, StudySize, Texts, Walk};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::select_all;
use std::collections::{BTreeMap, BTreeSet};

/// The most studies that one search names to other sites.
const MOST_NAMED: usize = 10;
/// The most studies that are not ours, in one search.
const MOST: usize = 5_000;

/// A study with what an archive holds of it, if one holds any.
pub(in crate::edge::qido) type Archived = (StudyRow, Option<StudySize>);

/// A study that is not ours, as it is shown.
struct Foreign {
    row: StudyRow,
    size: StudySize,
    /// All of it is here.
    here: bool,
}

/// The other sites while they answer.
pub(in crate::edge::qido) struct Studies {
    answers: Vec<Answers>,
    /// What is found means the patient who was asked for: the search has seen to that.
    meant: bool,
    merge: Merge,
    /// The rows of copies that are held here.
    copies: BTreeMap<StudyUid, StudyRow>,
    foreign: BTreeMap<StudyUid, Foreign>,
    silent: Vec<(String, Outcome)>,
    /// Sites that have answered in full.
    answered: BTreeSet<String>,
    /// What our own catalogue or a site says of the patient, for the markers.
    person: BTreeMap<Tag, String>,
}

impl Studies {
    fn new(answers: Vec<Answers>, meant: bool) -> Self {
        Self {
            answers,
            meant,
            merge: Merge::default(),
            copies: BTreeMap::new(),
            foreign: BTreeMap::new(),
            silent: Vec::new(),
            answered: BTreeSet::new(),
            person: BTreeMap::new(),
        }
    }

    /// A study of our own, which is told by itself.
    pub(in crate::edge::qido) fn own(&mut self, row: &StudyRow) {
        self.note(&row.attributes);
        self.merge.own(&row.study);
    }

    /// Remembers name, birth date and sex of the patient who was asked for.
    fn note(&mut self, values: &Texts) {
        if self.person.is_empty() {
            let tags = [PATIENT_NAME, PATIENT_BIRTH_DATE, PATIENT_SEX];
            self.person.extend(tags.into_iter().filter_map(|tag| Some((tag, values.0.get(&tag)?.clone()))));
        }
    }

    /// A copy held here waits: where it came from there may be more of it by now. An archive may have more of it as well.
    fn copy(&mut self, (row, theirs): Archived, mut size: StudySize) {
        self.note(&row.attributes);
        let study = row.study.clone();
        let site = row.origin.site().filter(|_| theirs.is_none()).map(str::to_owned);
        let nearline = theirs.is_some_and(|theirs| widen(&mut size, &theirs));
        match self.merge.copy(&study, Copy { values: Texts::default(), size, nearline, site }) {
            None => drop(self.copies.entry(study).or_insert(row)),
            Some(copy) => drop(self.foreign.insert(study, Foreign { row, size: copy.size, here: !nearline })),
        }
    }

    /// What a site says next; `None` when all answers have ended.
    async fn next(&mut self) -> Option<Part> {
        while !self.answers.is_empty() {
            let (part, at, _) = select_all(self.answers.iter_mut().map(|answers| Box::pin(answers.next()))).await;
            match part {
                Some(part) => return Some(part),
                None => drop(self.answers.swap_remove(at)),
            }
        }
        None
    }
}

impl Asked {
    /// Asks the other sites for the patient's studies; `None` if the search names no patient, or nobody is asked.
    pub(in crate::edge::qido) fn ask_for_patient(&self, window: &mut Window) -> Option<Studies> {
        let (priors, _) = self.asking()?;
        let Some(patient) = self.patient.clone() else {
            // Whoever names studies need not be told: those are looked for where they are.
            if self.query.matching(STUDY_INSTANCE_UID).is_none_or(|matched| matched.values.is_empty()) {
                window.remarks.push(NOT_BY_THESE);
            }
            return None;
        };
        self.shelf(window)?;
        let answers = self.ask(&Wanted::Patient(patient), priors.sites().sites.clone())?;
        Some(Studies::new(vec![answers], true))
    }

    /// Sets aside those of a page of our catalogue that came from other sites; gives back our own.
    pub(in crate::edge::qido) async fn without_copies(
        &self,
        elsewhere: &mut Studies,
        page: Vec<Archived>,
    ) -> Result<Vec<Archived>, Box<Response>> {
        let (copies, own): (Vec<_>, Vec<_>) = page.into_iter().partition(|(row, _)| row.origin.site().is_some());
        own.iter().for_each(|(row, _)| elsewhere.own(row));
        self.set_aside(elsewhere, copies).await?;
        Ok(own)
    }

    async fn set_aside(&self, elsewhere: &mut Studies, copies: Vec<Archived>) -> Result<(), Box<Response>> {
        let rows = copies.iter().map(|(row, _)| row.row).collect();
        let mut sizes = self.face.records.study_sizes(rows, self.wants_classes()).await.map_err(unreadable)?;
        for copy in copies {
            let size = sizes.remove(&copy.0.row).unwrap_or_default();
            elsewhere.copy(copy, size);
        }
        Ok(())
    }

    /// Looks for studies that are named and not told yet, at the sites that have shown them, else at all.
    pub(in crate::edge::qido) async fn ask_for_named(
        &self,
        told: &BTreeSet<StudyUid>,
        window: &mut Window,
    ) -> Result<Option<Studies>, Box<Response>> {
        let Some((priors, _)) = self.asking() else { return Ok(None) };
        let named = self.query.matching(STUDY_INSTANCE_UID).map_or(&[][..], |matched| &matched.values);
        let named = named.iter().filter_map(|uid| StudyUid::parse(uid).ok());
        let missing: BTreeSet<StudyUid> =
            named.filter(|study| !told.contains(study) && !marker::is_marker(study)).collect();
        let missing = self.not_ours(missing).await?;
        if missing.is_empty() {
            return Ok(None);
        }
        if missing.len() > MOST_NAMED {
            window.remarks.push("other sites were not asked: of the studies that are named more than 10 are not here");
            return Ok(None);
        }
        if self.shelf(window).is_none() {
            return Ok(None);
        }
        let mut answers = Vec::new();
        for study in missing {
            let sites = priors.holders(&study).await;
            answers.extend(self.ask(&Wanted::Study(study), sites));
        }
        Ok(Some(Studies::new(answers, false)))
    }

    /// Those of the studies that did not come from our own nodes: what did is looked for nowhere else, be it what is asked for or not.
    async fn not_ours(&self, mut studies: BTreeSet<StudyUid>) -> Result<BTreeSet<StudyUid>, Box<Response>> {
        let mut walk = Walk { studies: studies.iter().cloned().collect(), ..Walk::default() };
        // None would mean all.
        while !studies.is_empty() {
            let rows = self.face.records.walk_studies(walk.clone()).await.map_err(unreadable)?;
            let Some(last) = rows.last() else { break };
            walk.after = last.row;
            for row in rows.iter().filter(|row| row.origin.site().is_none()) {
                studies.remove(&row.study);
            }
        }
        Ok(studies)
    }

    /// Hears the sites to their end, and tells what they show and who kept silent.
    pub(in crate::edge::qido) async fn tell_elsewhere(
        &self,
        mut elsewhere: Studies,
        window: &mut Window,
    ) -> Result<(), Box<Response>> {
        while let Some(Part { site, what }) = elsewhere.next().await {
            match what {
                What::Ended(outcome) if outcome.is_whole() => drop(elsewhere.answered.insert(site)),
                What::Ended(outcome) => elsewhere.silent.push((site, outcome)),
                What::Found(found) => self.found(found, &mut elsewhere).await?,
            }
        }
        let Studies { merge, mut copies, mut foreign, silent, answered, person, meant, .. } = elsewhere;
        for Rest { study, copy, whole, unlisted } in merge.rest(&answered) {
            if unlisted && self.face.records.is_only_pulled(&study).await.map_err(unreadable)? {
                tracing::info!(study = %study, "the site of a copy does not list it for this patient; it is not told");
                continue;
            }
            if let Some(row) = copies.remove(&study) {
                foreign.insert(study, Foreign { row, size: copy.size, here: whole });
            }
        }
        let silences = Silence::of(&silent);
        if self.fits_page(window, silences.clone()) {
            for Foreign { row, size, here } in foreign.into_values() {
                if self.fits_size(&size) && window.admits() {
                    window.sets.push(self.described(&row, &size, !here));
                }
            }
            if meant {
                self.tell_silence(&silences, person, window);
            }
        }
        Ok(())
    }

    /// What a site has shown, if it may be shown, and matches in what was asked for.
    async fn found(&self, found: Vec<Found>, elsewhere: &mut Studies) -> Result<(), Box<Response>> {
        let found = self.face.records.shown_elsewhere(found, found_elsewhere).await.map_err(unreadable)?;
        let ours = self.held_here(&found, elsewhere).await?;
        for found in found.into_iter().filter(|found| !ours.contains(&found.study)) {
            let Some(Found { site, study, values, size }) = elsewhere.merge.there(found) else { continue };
            let origin = Origin::Peer(site);
            let meant = elsewhere.meant || self.is_meant(&origin, &values);
            if !self.fits_as(meant, Level::Study, &values) {
                continue;
            }
            elsewhere.note(&values);
            let row = StudyRow { row: 0, study: study.clone(), attributes: values, origin };
            elsewhere.foreign.insert(study, Foreign { row, size, here: false });
            if elsewhere.foreign.len() > MOST {
                return refuse(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the other sites hold too many such studies; name a date",
                );
            }
        }
        Ok(())
    }

    /// Which of these studies came from our own nodes: our catalogue alone says what is told of them. Of the others a copy may be held
    /// here that does not say itself who issued the number that it bears; the site has said so now. One that bears another number is not told.
    async fn held_here(&self, found: &[Found], elsewhere: &mut Studies) -> Result<BTreeSet<StudyUid>, Box<Response>> {
        let studies: Vec<StudyUid> = found.iter().map(|found| found.study.clone()).collect();
        let (mut walk, mut ours) = (Walk { studies, ..Walk::default() }, BTreeSet::new());
        if walk.studies.is_empty() {
            return Ok(ours);
        }
        loop {
            let rows = self.face.records.walk_studies(walk.clone()).await.map_err(unreadable)?;
            let Some(last) = rows.last() else { return Ok(ours) };
            walk.after = last.row;
            let (own, mut copies): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.origin.site().is_none());
            ours.extend(own.into_iter().map(|row| row.study));
            let shown = |row: &StudyRow| found.iter().find(|found| found.study == row.study);
            copies.retain(|row| elsewhere.meant && shown(row).is_some_and(|shown| is_told_as(shown, row)));
            copies.retain(|row| self.fits_as(true, Level::Study, &row.attributes));
            self.set_aside(elsewhere, copies.into_iter().map(|row| (row, None)).collect()).await?;
        }
    }

    /// Shows who kept silent by a study of the patient that holds nothing ("A silent site is visible", UIX-12). It stands behind all
    /// others; the Warning headers say the same.
    fn tell_silence(&self, silences: &[Silence], person: BTreeMap<Tag, String>, window: &mut Window) {
        let Some((priors, _)) = self.asking() else { return };
        let clock = Clock::now();
        let keys = [PATIENT_NAME, PATIENT_ID, ISSUER_OF_PATIENT_ID, PATIENT_BIRTH_DATE];
        let asked: BTreeMap<Tag, String> =
            keys.into_iter().filter_map(|tag| Some((tag, self.exact(tag)?.to_owned()))).collect();
        let patient = asked.get(&PATIENT_ID).cloned().unwrap_or_default();
        // A viewer that looks for one modality is to see it too.
        let modality = self.exact(MODALITIES_IN_STUDY).unwrap_or("OT");
        for silence in silences {
            let Some(study) = marker::uid(priors.marker_key(), silence.sites(), &patient, clock.day) else { continue };
            if !window.admits() {
                continue;
            }
            let mut values = person.clone();
            values.extend(asked.clone());
            values.extend([
                (STUDY_INSTANCE_UID, study.to_string()),
                (STUDY_DATE, clock.date.clone()),
                (STUDY_TIME, clock.moment.clone()),
            ]);
            let origin = Origin::Peer(silence.sites().to_owned());
            let row = StudyRow { row: 0, study, attributes: Texts(values), origin };
            let size = StudySize { modalities: vec![modality.to_owned()], ..StudySize::default() };
            let mut set = self.described(&row, &size, false);
            found::marker(&mut set, &silence.description(&clock.time));
            window.sets.push(set);
        }
    }
}
