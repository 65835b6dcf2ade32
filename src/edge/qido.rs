//! QIDO-RS in: studies, series and instances of the catalogue, for peers that search and peers that verify what they sent
//! (PS3.18 section 10.6).

mod answer;
pub(in crate::edge) mod archived;
pub(in crate::edge) mod elsewhere;
mod found;
mod linked;
mod walking;
mod window;

use super::http::{Asker, Base, Caller, Target, WebFace, problem};
use crate::dicom::attributes::{
    ACCESSION_NUMBER, ISSUER_OF_PATIENT_ID, Level, MODALITIES_IN_STUDY, PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_NAME,
    SERIES_INSTANCE_UID, SOP_CLASSES_IN_STUDY, SOP_INSTANCE_UID, STUDY_DATE, STUDY_ID, STUDY_INSTANCE_UID,
};
use crate::dicom::cross_reference::LocalId;
use crate::dicom::nhs_number::NhsNumber;
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::query::{self, Match, matching::check, matching::matches};
use crate::dicom::tag::Tag;
use crate::dicom::uid::InstanceUid;
use crate::dicomweb::dataset::Dataset;
use crate::dicomweb::prefer;
use crate::dicomweb::qido::{self, Limits, QidoError, Query};
use crate::peers::{Node, Origin};
use crate::priors::archive::widen;
use crate::priors::marker::is_marker;
use crate::priors::search::Wanted;
use crate::priors::whom::Patient;
use crate::records::{FindInstances, RecordsError, SeriesRow, StudyRow, StudySize, Texts};
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use elsewhere::tell_site;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use window::{PAGE, Shelf, Window};

/// The keys of which one must be named in a search of studies or series.
const NARROWING: [Tag; 8] = [
    PATIENT_ID,
    PATIENT_NAME,
    PATIENT_BIRTH_DATE,
    ACCESSION_NUMBER,
    STUDY_DATE,
    STUDY_ID,
    STUDY_INSTANCE_UID,
    SERIES_INSTANCE_UID,
];

/// What every handler is given.
pub(super) struct Asked {
    face: WebFace,
    base: Base,
    asker: Asker,
    /// The node of the viewer that asks, if one does.
    viewer: Option<Arc<Node>>,
    behalf: OnBehalf,
    target: Target,
    query: Query,
    /// The number that is asked for, if it can be an NHS number.
    nhs: Option<NhsNumber>,
    /// Whom a viewer's search for studies names.
    patient: Option<Patient>,
    /// The numbers of this site that are surely the same patient's as the NHS number that another site asks for.
    locals: Vec<LocalId>,
    /// How long archives may take, where whoever asks waits for a limited time.
    within: Option<Duration>,
    /// In which media type the results are wanted.
    form: &'static str,
}

type Answered = Result<Response, Box<Response>>;

fn refuse<T>(status: StatusCode, detail: &str) -> Result<T, Box<Response>> {
    Err(Box::new(problem(status, detail)))
}

fn unreadable(error: RecordsError) -> Box<Response> {
    tracing::error!(error = %error, "a query could not be answered");
    Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, "the records cannot be read now"))
}

macro_rules! resource {
    ($name:ident, $search:ident, $level:ident) => {
        pub(super) async fn $name(
            State(face): State<WebFace>,
            Extension(caller): Extension<Caller>,
            Extension(base): Extension<Base>,
            target: Target,
            headers: HeaderMap,
            RawQuery(query): RawQuery,
        ) -> Response {
            let asked = Asked::read(face, caller, base, target, &headers, query.as_deref().unwrap_or(""));
            let answered = match asked {
                Ok(mut asked) => {
                    asked.pass_over(Level::$level);
                    asked.$search().await
                }
                Err(refused) => Err(refused),
            };
            answered.unwrap_or_else(|refused| *refused)
        }
    };
}

resource!(studies, search_studies, Study);
resource!(series, search_series, Series);
resource!(instances, search_instances, Instance);

impl Asked {
    fn read(
        face: WebFace,
        caller: Caller,
        base: Base,
        target: Target,
        headers: &HeaderMap,
        query_string: &str,
    ) -> Result<Self, Box<Response>> {
        let Some(asker) = caller.asker() else {
            return refuse(StatusCode::FORBIDDEN, "your certificate names no peer of this site");
        };
        let query = qido::parse(query_string, Limits::default())
            .and_then(|query| {
                query.matches.iter().try_for_each(|matched| {
                    let wrong = |wanted| QidoError::Value { name: found::keyword(matched), wanted };
                    check(matched).map_err(wrong)
                })?;
                Ok(query)
            })
            .map_err(|error| Box::new(problem(StatusCode::BAD_REQUEST, &error.to_string())))?;
        let id = query.matching(PATIENT_ID).and_then(|matched| matched.values.first());
        let nhs = id.and_then(|id| NhsNumber::parse(id).ok());
        let Caller { viewer, behalf, .. } = caller;
        // What is left of it is for the rest of the work, and for the way.
        let within = prefer::waits(headers).map(|waits| waits * 3 / 4);
        let form = answer::form(headers, query_string)?;
        let (patient, locals) = (None, Vec::new());
        Ok(Self { face, base, asker, viewer, behalf, target, query, nhs, patient, locals, within, form })
    }

    /// Keys that are not matched find more than was meant: the answer names them. Who may not query is told nothing by any but UIDs.
    fn pass_over(&mut self, level: Level) {
        let plain = !self.asker.may.query;
        self.query.pass_over(|key| match key.path.as_slice() {
            [STUDY_INSTANCE_UID | SERIES_INSTANCE_UID | SOP_INSTANCE_UID] if level == Level::Instance => true,
            _ if plain => false,
            [MODALITIES_IN_STUDY] => level == Level::Study,
            _ => query::is_matched(key, level),
        });
    }

    /// Across sites nobody is listed at large: a search names a study, or what narrows it to a patient, an order or a time
    /// (SEC-022). Wildcards alone name nothing, nor does a key of a lower level, which is not matched.
    fn names_something(&self, level: Level) -> Result<(), Box<Response>> {
        let named = |tag: &Tag| {
            let key = self.query.matching(*tag).filter(|key| query::is_matched(key, level));
            let values = key.map_or(&[][..], |matched| &matched.values);
            values.iter().any(|value| value.contains(|c: char| !matches!(c, '*' | '?' | '^' | '-' | ' ')))
        };
        if self.asker.local || self.target.study.is_some() || NARROWING.iter().any(named) {
            return Ok(());
        }
        // A series narrows no list of studies.
        let or = if level == Level::Study { " or a study" } else { ", a study or a series" };
        let detail = format!("the query would list everybody; name a patient, an accession number, a date{or}");
        refuse(StatusCode::BAD_REQUEST, &detail)
    }

    /// Lists are for those who may query.
    async fn may_list(&self) -> Result<(), Box<Response>> {
        if self.asker.may.query {
            return Ok(());
        }
        self.face.records.refused("query", &format!("peer {} may not query here", self.asker.name)).await;
        refuse(StatusCode::FORBIDDEN, "this site does not let yours query")
    }

    /// Whether a row matches in all keys of its level and above. Keys that are not indexed are not supported, and ignored. A
    /// number that can be an NHS number matches in whatever form it is held; whose it is, the answer says.
    ///
    /// What another site sent is not listed under the patient whom a viewer names if it is another's, though its number be the same (IDY-040).
    fn fits(&self, level: Level, origin: &Origin, texts: &Texts) -> bool {
        let anothers = |patient: &Patient| patient.is_anothers(&self.face.registry.borrow(), origin, &texts.0);
        let meant = || self.is_meant(origin, texts) || self.is_linked(origin, texts);
        !self.patient.as_ref().is_some_and(anothers) && self.fits_as(meant(), level, texts)
    }

    /// The same where it is known whether the patient is meant whom a viewer asks for: then the number need not be the one asked for.
    fn fits_as(&self, meant: bool, level: Level, texts: &Texts) -> bool {
        let held = |tag: Tag| texts.0.get(&tag).map(String::as_str);
        let same = |id: &str| self.nhs.is_some_and(|nhs| NhsNumber::parse(id).ok() == Some(nhs));
        let asked = |tag| match held(tag) {
            Some(id) if tag == PATIENT_ID && same(id) => self.query.matching(tag)?.values.first().map(String::as_str),
            held => held,
        };
        let whose = |key: &&Match| [[PATIENT_ID], [ISSUER_OF_PATIENT_ID]].iter().any(|path| key.path == *path);
        let keys = &self.query.matches;
        match meant {
            false => query::fits(keys, level, true, asked),
            true => {
                query::fits(&keys.iter().filter(|key| !whose(key)).cloned().collect::<Vec<_>>(), level, true, asked)
            }
        }
    }

    /// Whether what came from a site, or is held of it, means the patient whom a viewer asks for.
    fn is_meant(&self, origin: &Origin, held: &Texts) -> bool {
        let Some(patient) = &self.patient else { return false };
        patient.is_told_by(&self.face.registry.borrow(), origin, &held.0)
    }

    /// Any modality that matches gives the study.
    fn fits_size(&self, size: &StudySize) -> bool {
        let modalities = self.query.matching(MODALITIES_IN_STUDY);
        modalities.is_none_or(|wanted| matches(wanted, Some(&size.modalities.join("\\"))))
    }

    fn wants_classes(&self) -> bool {
        found::asked(&self.query.include, SOP_CLASSES_IN_STUDY)
    }

    /// A study as it is shown; `nearline` says that it can be had and is not all here.
    fn described(&self, row: &StudyRow, size: &StudySize, nearline: bool) -> Dataset {
        let issuer = self.issuer(&row.origin);
        let told = self.viewer.as_ref().filter(|_| !is_marker(&row.study)).map(|node| {
            let mut told = row.clone();
            tell_site(node, &row.origin, &mut told.attributes.0);
            told
        });
        let row = told.as_ref().unwrap_or(row);
        let mut set = found::study(&self.base, &self.query.include, row, size, issuer.as_deref());
        if nearline {
            found::nearline(&mut set);
        }
        if let Some(nhs) = self.nhs.filter(|_| self.is_linked(&row.origin, &row.attributes)) {
            found::other_number(&mut set, nhs);
        }
        set
    }

    /// The one UID of a key, if it names one.
    fn one(&self, tag: Tag) -> Option<&str> {
        match self.query.matching(tag)?.values.as_slice() {
            [uid] => Some(uid),
            _ => None,
        }
    }

    async fn search_studies(mut self) -> Answered {
        self.may_list().await?;
        self.names_something(Level::Study)?;
        self.patient = self.named_patient().await;
        self.locals = self.local_numbers().await?;
        let (mut walk, mut window) = (self.walk(), Window::of(&self.query));
        walk.candidates = self.face.records.candidates(walk.narrow.clone()).await.map_err(unreadable)?;
        let (mut elsewhere, mut told) = (self.ask_for_patient(&mut window), BTreeSet::new());
        let mut archived = self.archived_studies(&mut window).await;
        let all = self.query.matches.is_empty() && self.target.study.is_none() && archived.is_empty();
        if all && let Some(row) = self.face.records.skip_studies(*window.skip()).await.map_err(unreadable)? {
            (walk.after, *window.skip()) = (row, 0);
        }
        loop {
            let rows = self.face.records.walk_studies(walk.clone()).await.map_err(unreadable)?;
            let Some(last) = rows.last() else { break };
            walk.after = last.row;
            let looked = rows.len();
            let fitting = rows.into_iter().filter(|row| self.fits(Level::Study, &row.origin, &row.attributes));
            let page = fitting.map(|row| {
                let theirs = archived.remove(&row.study).map(|(_, size)| size);
                (row, theirs)
            });
            let mut page: Vec<_> = page.collect();
            // Of a list at large nothing is remembered.
            if self.query.matching(STUDY_INSTANCE_UID).is_some() {
                told.extend(page.iter().map(|(row, _)| row.study.clone()));
            }
            if let Some(elsewhere) = &mut elsewhere {
                page = self.without_copies(elsewhere, page).await?;
            }
            self.tell_studies(&mut window, page).await?;
            // The page is full: what is left is counted without a look at it.
            if all
                && window.more > 0
                && let Some(left) = self.face.records.studies_after(walk.after).await.map_err(unreadable)?
            {
                window.more += left;
                break;
            }
            if window.looked(looked)? {
                break;
            }
        }
        let alone = archived.into_values().map(|(row, size)| (row, Some(size)));
        let alone: Vec<_> = alone.filter(|(row, _)| self.fits(Level::Study, &row.origin, &row.attributes)).collect();
        if let Some(elsewhere) = &mut elsewhere {
            alone.iter().for_each(|(row, _)| elsewhere.own(row));
        }
        told.extend(alone.iter().map(|(row, _)| row.study.clone()));
        self.tell_studies(&mut window, alone).await?;
        if self.patient.is_none() {
            elsewhere = self.ask_for_named(&told, &mut window).await?;
        }
        if let Some(elsewhere) = elsewhere {
            self.tell_elsewhere(elsewhere, &mut window).await?;
        }
        self.answer(window).await
    }

    /// Those of the studies that belong on the page, with what is held of each here and at an archive.
    async fn tell_studies(
        &self,
        window: &mut Window,
        mut studies: Vec<(StudyRow, Option<StudySize>)>,
    ) -> Result<(), Box<Response>> {
        let by_size = self.query.matching(MODALITIES_IN_STUDY).is_some();
        if !by_size {
            studies.retain(|_| window.admits());
        }
        // What an archive alone holds has no row.
        let rows = studies.iter().map(|(row, _)| row.row).filter(|row| *row != 0).collect();
        let mut sizes = self.face.records.study_sizes(rows, self.wants_classes()).await.map_err(unreadable)?;
        for (row, theirs) in studies {
            let mut size = sizes.remove(&row.row).unwrap_or_default();
            let nearline = theirs.is_some_and(|theirs| widen(&mut size, &theirs));
            if !by_size || (self.fits_size(&size) && window.admits()) {
                window.sets.push(self.described(&row, &size, nearline));
            }
        }
        Ok(())
    }

    async fn search_series(self) -> Answered {
        self.may_list().await?;
        self.names_something(Level::Series)?;
        let (mut walk, mut window) = (self.walk(), Window::of(&self.query));
        let mut below = self.ask_below(walking::only(&walk.studies), Wanted::Series, &mut window).await;
        let mut archived = self.archived_series(&walk, &mut window).await;
        loop {
            let rows = self.face.records.walk_series(walk.clone()).await.map_err(unreadable)?;
            let Some(last) = rows.last() else { break };
            walk.after = last.row;
            let looked = rows.len();
            for row in rows {
                let theirs = archived.remove(&row.series).map_or(0, |theirs| theirs.instances);
                if let Some(row) = set_aside(&mut below, row) {
                    self.tell_series(&mut window, row, theirs);
                }
            }
            if window.looked(looked)? {
                break;
            }
        }
        for mut row in archived.into_values() {
            let theirs = std::mem::take(&mut row.instances);
            if let Some(row) = set_aside(&mut below, row) {
                self.tell_series(&mut window, row, theirs);
            }
        }
        if let Some(below) = below {
            self.tell_below(below, &mut window).await?;
        }
        self.answer(window).await
    }

    /// A series on the page if it belongs there; an archive holds so many instances of it.
    fn tell_series(&self, window: &mut Window, mut row: SeriesRow, theirs: u64) {
        if !self.fits(Level::Series, &row.origin, &row.attributes) || !window.admits() {
            return;
        }
        let nearline = theirs > row.instances || row.row == 0;
        row.instances = row.instances.max(theirs);
        window.sets.push(self.series_set(&row, nearline));
    }

    /// A series as it is shown.
    fn series_set(&self, row: &SeriesRow, nearline: bool) -> Dataset {
        let mut set = found::series(&self.base, &self.query.include, row, self.target.study.is_some());
        if nearline {
            found::nearline(&mut set);
        }
        set
    }

    async fn search_instances(self) -> Answered {
        let mut find = FindInstances::default();
        for uid in self.query.matching(SOP_INSTANCE_UID).map_or(&[][..], |matched| &matched.values) {
            let uid = InstanceUid::parse(uid);
            find.instances.push(uid.map_err(|error| Box::new(problem(StatusCode::BAD_REQUEST, &error.to_string())))?);
        }
        // A peer that may only store can verify what it sent, by name; it cannot list what we hold.
        if !self.asker.may.store || find.instances.is_empty() {
            self.may_list().await?;
        }
        let walk = self.walk();
        (find.study, find.series) = (walking::only(&walk.studies).cloned(), walk.series);
        if find.study.is_none() && find.instances.is_empty() {
            return refuse(StatusCode::BAD_REQUEST, "name a study or at least one SOPInstanceUID");
        }
        let mut window = Window::of(&self.query);
        let wanted = |study| Wanted::Instances(study, find.series.clone());
        let mut below = self.ask_below(find.study.as_ref(), wanted, &mut window).await;
        let mut archived = self.archived_instances(&find, &mut window).await;
        // By name it sees what verification needs, and nothing of the patient, not even by asking whether a value matches.
        let plain = !self.asker.may.query;
        loop {
            let rows = self.face.records.find_instances(find.clone()).await.map_err(unreadable)?;
            let looked = rows.len();
            find.after = rows.last().map_or(find.after, |last| last.id);
            for row in &rows {
                archived.remove(&row.instance);
                let fits = plain || self.fits(Level::Instance, &row.origin, &row.attributes);
                let set = || match plain {
                    true => found::verified(row),
                    false => found::instance(&self.base, &self.query.include, row, &self.target),
                };
                let own =
                    below.as_mut().is_none_or(|below| below.instance(&row.instance, &row.origin, || fits.then(set)));
                if own && fits && window.admits() {
                    window.sets.push(set());
                }
            }
            if looked < PAGE || window.looked(looked)? {
                break;
            }
        }
        for row in archived.values() {
            let fits = self.fits(Level::Instance, &row.origin, &row.attributes);
            let own = below.as_mut().is_none_or(|below| below.instance(&row.instance, &row.origin, || None));
            if own && fits && window.admits() {
                window.sets.push(found::archived(&self.base, &self.query.include, row, &self.target));
            }
        }
        if let Some(below) = below {
            self.tell_below(below, &mut window).await?;
        }
        self.answer(window).await
    }
}

/// A series of our catalogue or of an archive that is told by itself: one that waits for what other sites say of it is not.
fn set_aside(below: &mut Option<elsewhere::Below>, row: SeriesRow) -> Option<SeriesRow> {
    match below {
        Some(below) => below.series(row),
        None => Some(row),
    }
}
