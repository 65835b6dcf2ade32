//! What the archives hold, beside what is held here, as a search by another site finds it.

use super::walking::forms;
use super::{Asked, Window};
use crate::dicom::attributes::PATIENT_ID;
use crate::dicom::query::Match;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::edge::http::problem;
use crate::priors::archive::{ArchivedInstance, Found, Wanted};
use crate::records::{Elsewhere, FindInstances, SeriesRow, StudyRow, StudySize, Walk};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// Seconds after which a search may be repeated that met a silent archive.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

/// What a search says that found something although an archive did not answer.
pub(super) fn warning(service: &str) -> String {
    format!("299 {service}: an archive of this site did not answer; what it alone holds is not shown")
}

/// What a search says that found nothing, where an archive did not answer.
pub(super) fn not_answering() -> Response {
    let detail = "an archive of this site did not answer; whether there is anything is not known";
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// Where a study of an archive stands.
pub(in crate::edge) fn study_elsewhere((row, size): &(StudyRow, StudySize)) -> Elsewhere {
    let StudyRow { study, attributes, origin, .. } = row.clone();
    Elsewhere { study, series: None, instance: None, attributes, modalities: size.modalities.clone(), origin }
}

/// Where a series of an archive stands.
pub(in crate::edge) fn series_elsewhere(row: &SeriesRow) -> Elsewhere {
    let SeriesRow { study, series, attributes, origin, .. } = row.clone();
    Elsewhere { study, series: Some(series), instance: None, attributes, modalities: Vec::new(), origin }
}

/// Where an instance of an archive stands.
pub(in crate::edge) fn instance_elsewhere(row: &ArchivedInstance) -> Elsewhere {
    let (study, series, attributes) = (row.study.clone(), Some(row.series.clone()), row.attributes.clone());
    let (instance, origin) = (Some(row.instance.clone()), row.origin.clone());
    Elsewhere { study, series, instance, attributes, modalities: Vec::new(), origin }
}

impl Asked {
    /// Those that may be shown; where that cannot be told none, which is not taken for all.
    async fn shown<T: Send + 'static>(
        &self,
        found: Found<T>,
        window: &mut Window,
        described: fn(&T) -> Elsewhere,
    ) -> Vec<T> {
        window.silent |= !found.silent.is_empty();
        self.face.records.shown_elsewhere(found.rows, described).await.unwrap_or_else(|error| {
            tracing::error!(error = %error, "what an archive holds is not shown: whether it may be cannot be read");
            window.silent = true;
            Vec::new()
        })
    }

    pub(super) async fn archived_studies(&self, window: &mut Window) -> BTreeMap<StudyUid, (StudyRow, StudySize)> {
        let (questions, archives) = (self.in_every_form(), self.face.archives.within(self.within));
        let asked = questions.iter().map(|matches| {
            let wanted = Wanted { matches, combined: true, study: self.target.study.as_ref(), series: None };
            archives.studies(None, wanted)
        });
        let mut all = BTreeMap::new();
        for found in join_all(asked).await {
            let rows = self.shown(found, window, study_elsewhere).await;
            all.extend(rows.into_iter().map(|row| (row.0.study.clone(), row)));
        }
        all
    }

    /// The keys as an archive is asked them, which compares numbers as texts: an NHS number in each form in which it may be held,
    /// and the local numbers that are surely the same patient's. What an archive answers to those is matched with their issuer.
    fn in_every_form(&self) -> Vec<Vec<Match>> {
        let id = self.query.matching(PATIENT_ID).and_then(|matched| matched.values.first());
        let Some(id) = id.filter(|_| self.nhs.is_some()) else { return vec![self.query.matches.clone()] };
        let written = |form: String| {
            let mut keys = self.query.matches.clone();
            keys.iter_mut().filter(|key| key.path == [PATIENT_ID]).for_each(|key| key.values = vec![form.clone()]);
            keys
        };
        let locals = self.locals.iter().map(|local| local.id.clone());
        forms(id).into_iter().chain(locals).map(written).collect()
    }

    /// The keys by which an archive's answer can be matched below a study: it does not tell the requests of a series, which are matched by
    /// what is known of it here; and an NHS number is matched by what it means, and not by how an archive writes it (IDY-042).
    fn top_level(&self) -> Vec<Match> {
        let other = |key: &&Match| self.nhs.is_none() || key.path != [PATIENT_ID];
        self.query.matches.iter().filter(|key| key.path.len() == 1).filter(other).cloned().collect()
    }

    /// Series of the one study that is named; of several, archives are not asked.
    pub(super) async fn archived_series(&self, walk: &Walk, window: &mut Window) -> BTreeMap<SeriesUid, SeriesRow> {
        let [study] = walk.studies.as_slice() else { return BTreeMap::new() };
        let matches = &self.top_level();
        let wanted = Wanted { matches, combined: true, study: Some(study), series: walk.series.as_ref() };
        let found = self.face.archives.within(self.within).series(None, wanted).await;
        let rows = self.shown(found, window, series_elsewhere).await;
        rows.into_iter().map(|row| (row.series.clone(), row)).collect()
    }

    /// Instances of the study that is named, for a peer that may query: who only verifies what it sent asks about our own copy.
    pub(super) async fn archived_instances(
        &self,
        find: &FindInstances,
        window: &mut Window,
    ) -> BTreeMap<InstanceUid, ArchivedInstance> {
        let Some(study) = find.study.as_ref().filter(|_| self.asker.may.query) else { return BTreeMap::new() };
        let matches = &self.top_level();
        let wanted = Wanted { matches, combined: true, study: Some(study), series: find.series.as_ref() };
        let found = self.face.archives.within(self.within).instances(None, wanted).await;
        let named = |row: &ArchivedInstance| find.instances.is_empty() || find.instances.contains(&row.instance);
        let rows = self.shown(found, window, instance_elsewhere).await.into_iter().filter(named);
        rows.map(|row| (row.instance.clone(), row)).collect()
    }
}
