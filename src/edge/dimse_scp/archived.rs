//! What the archives hold, beside what is held here, as a node's query finds it.

use super::find::{End, Find};
use crate::dicom::query::Match;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dimse::{QueryAnswer, Status};
use crate::edge::qido::archived::{instance_elsewhere, series_elsewhere, study_elsewhere};
use crate::priors::archive::{ArchivedInstance, Found, Wanted};
use crate::records::{SeriesRow, StudyRow, StudySize, Walk};
use std::collections::BTreeMap;
use std::future::Future;

/// Instance Availability of what an archive holds, and we do not (DIM-070).
pub(super) const NEARLINE: &str = "NEARLINE";

impl Find<'_, '_> {
    /// What the archives answer, unless nobody waits for it any more. Those that do not answer are remembered.
    async fn heard<T>(&mut self, asking: impl Future<Output = Found<T>>) -> Result<Vec<T>, End> {
        let found = tokio::select! {
            found = asking => found,
            () = self.dialogue.heard() => return Err(End::Over),
        };
        self.silent.extend(found.silent);
        Ok(found.rows)
    }

    /// The keys, with the unique ones of the levels above.
    fn all_keys(&self) -> Vec<Match> {
        let mut matches = self.keys.matches.clone();
        let above = self.asked.unique.iter().filter(|key| !matches.iter().any(|known| known.path == key.path));
        matches.extend(above.cloned().collect::<Vec<_>>());
        matches
    }

    pub(super) async fn archived_studies(&mut self) -> Result<BTreeMap<StudyUid, (StudyRow, StudySize)>, End> {
        let (archives, by, matches) = (self.face.archives.clone(), self.node.ae_title.clone(), self.all_keys());
        let wanted = Wanted { matches: &matches, combined: self.combined, study: None, series: None };
        let rows = self.heard(archives.studies(Some(&by), wanted)).await?;
        let rows = self.face.records.shown_elsewhere(rows, study_elsewhere).await?;
        Ok(rows.into_iter().map(|row| (row.0.study.clone(), row)).collect())
    }

    pub(super) async fn archived_series(&mut self, walk: &Walk) -> Result<BTreeMap<SeriesUid, SeriesRow>, End> {
        let [study] = walk.studies.as_slice() else { return Ok(BTreeMap::new()) };
        let (archives, by, matches) = (self.face.archives.clone(), self.node.ae_title.clone(), self.all_keys());
        let wanted =
            Wanted { matches: &matches, combined: self.combined, study: Some(study), series: walk.series.as_ref() };
        let rows = self.heard(archives.series(Some(&by), wanted)).await?;
        let rows = self.face.records.shown_elsewhere(rows, series_elsewhere).await?;
        Ok(rows.into_iter().map(|row| (row.series.clone(), row)).collect())
    }

    pub(super) async fn archived_instances(
        &mut self,
        walk: &Walk,
    ) -> Result<BTreeMap<InstanceUid, ArchivedInstance>, End> {
        let [study] = walk.studies.as_slice() else { return Ok(BTreeMap::new()) };
        let (archives, by, matches) = (self.face.archives.clone(), self.node.ae_title.clone(), self.all_keys());
        let wanted =
            Wanted { matches: &matches, combined: self.combined, study: Some(study), series: walk.series.as_ref() };
        let rows = self.heard(archives.instances(Some(&by), wanted)).await?;
        let rows = self.face.records.shown_elsewhere(rows, instance_elsewhere).await?;
        Ok(rows.into_iter().map(|row| (row.instance.clone(), row)).collect())
    }

    /// The end of a query that was answered as far as it could be. What a silent archive holds is not passed over in silence:
    /// "nothing more" would be taken for "no priors".
    pub(super) fn ended(&self) -> QueryAnswer {
        let Some(archive) = self.silent.first() else { return Status::SUCCESS.into() };
        let comment = Some(format!("archive {archive} did not answer; there may be more"));
        QueryAnswer { comment, ..Status::OUT_OF_RESOURCES.into() }
    }
}
