//! Series and instances of a study that other sites hold: whoever has shown it is asked, or everybody if it is unknown here too
//! ("Below the study").

use super::super::{Asked, Shelf, Window, found, unreadable};
use super::{NOT_BY_THESE, found_elsewhere};
use crate::dicom::attributes::{Level, SERIES_INSTANCE_UID, SOP_CLASS_UID, SOP_INSTANCE_UID};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::dicomweb::dataset::Dataset;
use crate::peers::Origin;
use crate::priors::archive::ArchivedInstance;
use crate::priors::marker::{self, Silence};
use crate::priors::merge::Found;
use crate::priors::search::{Answers, Outcome, Part, Wanted, What};
use crate::records::SeriesRow;
use axum::response::Response;
use std::collections::BTreeMap;

/// The other sites while they answer.
pub(in crate::edge::qido) struct Below {
    wanted: Wanted,
    /// The answers of those that have shown the study.
    answers: Option<Answers>,
    shelf: Shelf,
    /// Series of which a copy is held here, which may have grown where they came from.
    copies: BTreeMap<SeriesUid, SeriesRow>,
    /// Something of the study is here, or at an archive.
    told: bool,
    /// Some of it came from another site.
    foreign: bool,
}

impl Below {
    /// Whether somebody is asked already: then copies wait for what they say.
    fn is_asked(&self) -> bool {
        self.answers.is_some()
    }

    /// A series of our catalogue; given back if it is told by itself.
    pub(in crate::edge::qido) fn series(&mut self, row: SeriesRow) -> Option<SeriesRow> {
        self.told = true;
        self.foreign |= row.origin.site().is_some();
        if self.is_asked() && row.origin.site().is_some() {
            self.copies.insert(row.series.clone(), row);
            return None;
        }
        self.shelf.own(row.series.as_str());
        Some(row)
    }

    /// An instance of our catalogue; whether it is told by itself. Else `set` is what is told of it.
    pub(in crate::edge::qido) fn instance(
        &mut self,
        uid: &InstanceUid,
        origin: &Origin,
        set: impl FnOnce() -> Option<Dataset>,
    ) -> bool {
        self.told = true;
        self.foreign |= origin.site().is_some();
        if self.is_asked() && origin.site().is_some() {
            match set() {
                Some(set) => self.shelf.put(uid.as_str(), || set),
                None => self.shelf.own(uid.as_str()),
            }
            return false;
        }
        self.shelf.own(uid.as_str());
        true
    }
}

impl Asked {
    /// Asks whoever has shown the study for what is below it; `None` where nobody is asked at all.
    pub(in crate::edge::qido) async fn ask_below(
        &self,
        study: Option<&StudyUid>,
        wanted: impl FnOnce(StudyUid) -> Wanted,
        window: &mut Window,
    ) -> Option<Below> {
        let (priors, _) = self.asking()?;
        let Some(study) = study else {
            window.remarks.push(NOT_BY_THESE);
            return None;
        };
        if marker::is_marker(study) {
            return None;
        }
        let shelf = self.shelf(window)?;
        let (wanted, known) = (wanted(study.clone()), priors.known_holders(study).await);
        let answers = if known.is_empty() { None } else { self.ask(&wanted, known) };
        Some(Below { wanted, answers, shelf, copies: BTreeMap::new(), told: false, foreign: false })
    }

    /// Whether the study is here and in sight: then what is asked for is no part of it, and nobody is asked who has not shown it.
    async fn is_here(&self, wanted: &Wanted) -> Result<bool, Box<Response>> {
        let (Wanted::Study(study) | Wanted::Series(study) | Wanted::Instances(study, _)) = wanted else {
            return Ok(false);
        };
        self.face.records.is_in_sight(study).await.map_err(unreadable)
    }

    /// Hears the sites to their end, and tells what they show and who kept silent.
    pub(in crate::edge::qido) async fn tell_below(
        &self,
        mut below: Below,
        window: &mut Window,
    ) -> Result<(), Box<Response>> {
        let unknown = below.answers.is_none() && !below.told && !self.is_here(&below.wanted).await?;
        if let Some((priors, _)) = self.asking().filter(|_| unknown) {
            below.answers = self.ask(&below.wanted, priors.sites().sites.clone());
        }
        let mut silent: Vec<(String, Outcome)> = Vec::new();
        window.ours = below.told && !below.foreign;
        let Below { answers, mut shelf, mut copies, wanted, .. } = below;
        let Some(mut answers) = answers else { return Ok(()) };
        while let Some(Part { site, what }) = answers.next().await {
            match what {
                What::Ended(outcome) if outcome.is_whole() => {}
                What::Ended(outcome) => silent.push((site, outcome)),
                What::Found(found) => {
                    let found = self.face.records.shown_elsewhere(found, found_elsewhere).await.map_err(unreadable)?;
                    for found in found {
                        match wanted {
                            Wanted::Series(_) => self.series_there(found, &mut copies, &mut shelf),
                            _ => self.instance_there(found, &mut shelf),
                        };
                    }
                }
            }
        }
        for row in copies.into_values().filter(|row| self.fits(Level::Series, &row.origin, &row.attributes)) {
            shelf.put(row.series.as_str(), || self.series_set(&row, row.row == 0));
        }
        if self.fits_page(window, Silence::of(&silent)) {
            shelf.tell(window);
        }
        Ok(())
    }

    /// A series as a site has shown it: put on the shelf, or counted with the copy of it that is here.
    fn series_there(&self, found: Found, copies: &mut BTreeMap<SeriesUid, SeriesRow>, shelf: &mut Shelf) -> Option<()> {
        let Found { site, study, values, size } = found;
        let series = SeriesUid::parse(values.0.get(&SERIES_INSTANCE_UID)?).ok()?;
        if let Some(copy) = copies.get_mut(&series) {
            if size.instances > copy.instances {
                // There is more of it than is here.
                (copy.instances, copy.row) = (size.instances, 0);
            }
            return Some(());
        }
        let origin = Origin::Peer(site);
        let row = SeriesRow { row: 0, study, series, attributes: values, instances: size.instances, origin };
        if self.fits(Level::Series, &row.origin, &row.attributes) {
            shelf.put(row.series.as_str(), || self.series_set(&row, true));
        }
        Some(())
    }

    /// An instance as a site has shown it.
    fn instance_there(&self, found: Found, shelf: &mut Shelf) -> Option<()> {
        let Found { site, study, values, .. } = found;
        let series = SeriesUid::parse(values.0.get(&SERIES_INSTANCE_UID)?).ok()?;
        let instance = InstanceUid::parse(values.0.get(&SOP_INSTANCE_UID)?).ok()?;
        let sop_class = values.0.get(&SOP_CLASS_UID).and_then(|class| SopClassUid::parse(class).ok());
        let origin = Origin::Peer(site);
        if self.fits(Level::Instance, &origin, &values) {
            let row = ArchivedInstance { study, series, instance, sop_class, attributes: values, origin };
            shelf.put(row.instance.as_str(), || found::archived(&self.base, &self.query.include, &row, &self.target));
        }
        Some(())
    }
}
