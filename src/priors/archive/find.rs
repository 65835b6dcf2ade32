//! What the archives hold, as rows like those of the catalogue; each answer is matched again before it is believed.

use super::keys;
use super::line::{Failure, Line, Values};
use super::plan::Listed;
use super::{Archive, Archives};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::*;
use crate::dicom::query::{Match, fits, matching, matching::matches};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::dimse::Operation;
use crate::peers::Origin;
use crate::records::{Resource, SeriesRow, StudyRow, StudySize, Texts};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Studies, or series of a study, that one answer may hold.
const MOST_ROWS: usize = 5000;

/// Instances of a study that one answer may hold with their attributes, and by name alone.
const MOST_INSTANCES: usize = 10_000;
const MOST_NAMES: usize = 100_000;

/// Studies, or series, of one answer that are counted where an archive does not tell how much they hold.
const MOST_COUNTED: usize = 50;

/// Modality of a series of key objects, rejection notes among them (PS3.3 section C.17.6.1).
const KEY_OBJECTS: &str = "KO";

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The keys, of any level.
    pub matches: &'a [Match],
    /// Ranges of date and time are one range of moments.
    pub combined: bool,
    /// The study, below the level of studies.
    pub study: Option<&'a StudyUid>,
    /// Only this series.
    pub series: Option<&'a SeriesUid>,
}

/// What archives answered.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// The rows; what two archives hold stands once, with the larger counts and the modalities of both.
    pub rows: Vec<T>,
    /// The archives that did not answer, or not in full: what they hold is not told.
    pub silent: Vec<AeTitle>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), silent: Vec::new() }
    }
}

/// An instance that an archive holds. `Debug` prints no values (SEC-010).
#[derive(Debug, Clone)]
pub struct ArchivedInstance {
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// SOP Instance UID.
    pub instance: InstanceUid,
    /// SOP Class UID, if the archive tells it.
    pub sop_class: Option<SopClassUid>,
    /// Attributes of patient, study, series and instance.
    pub attributes: Texts,
    /// The archive.
    pub origin: Origin,
}

/// What one archive answered.
struct Answer {
    rows: Vec<Values>,
    /// Answers that could not be read.
    unreadable: usize,
}

impl Archives {
    /// Studies that match, each with what it holds. Nothing is asked if the keys name nobody and no time.
    pub async fn studies(&self, by: Option<&AeTitle>, wanted: Wanted<'_>) -> Found<(StudyRow, StudySize)> {
        if wanted.study.is_none() && !keys::name_something(wanted.matches) {
            return Found::default();
        }
        let both = |known: &mut (StudyRow, StudySize), (_, size): (StudyRow, StudySize)| {
            widen(&mut known.1, &size);
        };
        self.ask(by, wanted, Level::Study, both, |archive, values| {
            let study = uid(values, STUDY_INSTANCE_UID, StudyUid::parse)?;
            let size = size(values);
            let row = StudyRow { row: 0, study: study.clone(), attributes: texts(values), origin: archive.origin() };
            Some((study.to_string(), (row, size)))
        })
        .await
    }

    /// Series of a study that match in the keys of their level and above.
    pub async fn series(&self, by: Option<&AeTitle>, wanted: Wanted<'_>) -> Found<SeriesRow> {
        let both = |known: &mut SeriesRow, other: SeriesRow| known.instances = known.instances.max(other.instances);
        self.ask(by, wanted, Level::Series, both, |archive, values| {
            let row = SeriesRow {
                row: 0,
                study: uid(values, STUDY_INSTANCE_UID, StudyUid::parse)?,
                series: uid(values, SERIES_INSTANCE_UID, SeriesUid::parse)?,
                attributes: texts(values),
                instances: number(values, SERIES_RELATED_INSTANCES),
                origin: archive.origin(),
            };
            Some((row.series.to_string(), row))
        })
        .await
    }

    /// Instances of a study that match.
    pub async fn instances(&self, by: Option<&AeTitle>, wanted: Wanted<'_>) -> Found<ArchivedInstance> {
        self.ask(
            by,
            wanted,
            Level::Instance,
            |_, _| {},
            |archive, values| {
                let row = ArchivedInstance {
                    study: uid(values, STUDY_INSTANCE_UID, StudyUid::parse)?,
                    series: uid(values, SERIES_INSTANCE_UID, SeriesUid::parse)?,
                    instance: uid(values, SOP_INSTANCE_UID, InstanceUid::parse)?,
                    sop_class: uid(values, SOP_CLASS_UID, SopClassUid::parse),
                    attributes: texts(values),
                    origin: archive.origin(),
                };
                Some((row.instance.to_string(), row))
            },
        )
        .await
    }

    /// Asks every archive at once, each within its time.
    async fn ask<T>(
        &self,
        by: Option<&AeTitle>,
        wanted: Wanted<'_>,
        level: Level,
        both: impl Fn(&mut T, T),
        row: impl Fn(&Archive, &Values) -> Option<(String, T)>,
    ) -> Found<T> {
        let archives = self.asked(by);
        let asked = archives.iter().map(|archive| {
            let within = archive.query_timeout();
            self.in_time(archive, wanted, (level, false), self.within.unwrap_or(within).min(within))
        });
        let (mut found, mut seen) = (Found::default(), BTreeMap::new());
        for (archive, answer) in archives.iter().zip(join_all(asked).await) {
            match answer {
                Ok(answers) => {
                    let all = answers.rows.len() + answers.unreadable;
                    let named: Vec<_> = answers.rows.iter().filter_map(|values| row(archive, values)).collect();
                    if named.len() < all {
                        // What cannot be read may be what was asked for.
                        let unread = all - named.len();
                        tracing::warn!(archive = %archive.name, unread, "what an archive answers cannot all be read");
                        found.silent.push(archive.name.clone());
                    }
                    for (key, row) in named {
                        let next = found.rows.len();
                        let at = *seen.entry(key).or_insert(next);
                        match found.rows.get_mut(at) {
                            Some(known) => both(known, row),
                            None => found.rows.push(row),
                        }
                    }
                }
                Err(failure) => {
                    tracing::warn!(archive = %archive.name, reason = %failure, "an archive did not answer a query");
                    found.silent.push(archive.name.clone());
                }
            }
        }
        found
    }

    /// The answers of one archive within a time. Of one that kept silent lately no more is waited for than the grace, and one question at
    /// a time goes on without whoever asked it, so that its return is noticed (UIX-12).
    async fn in_time(
        &self,
        archive: &Arc<Archive>,
        wanted: Wanted<'_>,
        what: (Level, bool),
        within: Duration,
    ) -> Result<Answer, Failure> {
        let (silences, name) = (&self.inner.silences, archive.name.as_str());
        if silences.of(name, std::time::Instant::now()).is_none() {
            return self.patiently(archive, wanted, what, within).await;
        }
        let grace = within.min(self.inner.memory.grace);
        let late = |_| Failure::Late(grace);
        let Some(watching) = silences.watch(name) else {
            return timeout(grace, self.patiently(archive, wanted, what, within)).await.map_err(late)?;
        };
        let (archives, archive) = (self.clone(), Arc::clone(archive));
        let (matches, combined) = (wanted.matches.to_vec(), wanted.combined);
        let (study, series) = (wanted.study.cloned(), wanted.series.cloned());
        let asking = tokio::spawn(async move {
            let wanted = Wanted { matches: &matches, combined, study: study.as_ref(), series: series.as_ref() };
            let answer = archives.patiently(&archive, wanted, what, archive.query_timeout()).await;
            drop(watching);
            answer
        });
        // A question that failed unexpectedly has no answer either.
        timeout(grace, asking).await.map_err(late)?.unwrap_or(Err(Failure::Late(grace)))
    }

    /// The answers of one archive within a time, and it is remembered whether it kept silent for as long as it may take.
    async fn patiently(
        &self,
        archive: &Archive,
        wanted: Wanted<'_>,
        (level, names): (Level, bool),
        within: Duration,
    ) -> Result<Answer, Failure> {
        let asked = std::time::Instant::now();
        let answer = timeout(within, rows(archive, wanted, level, names)).await;
        let answer = answer.unwrap_or(Err(Failure::Late(within)));
        match &answer {
            Ok(_) => self.inner.silences.forget(archive.name.as_str()),
            // Who asked had less time: it might have answered.
            Err(Failure::Late(_)) if within < archive.query_timeout() => {}
            Err(_) => {
                let now = std::time::Instant::now();
                self.inner.silences.note(archive.name.as_str(), asked, now, &self.inner.memory);
            }
        }
        answer
    }

    /// What one archive lists of a resource, within a time; what names no instance or no series makes the list one in part. Whoever waits longer than a query takes waits for it even if it kept silent.
    pub(super) async fn listed(
        &self,
        archive: &Arc<Archive>,
        of: &Resource,
        named: &[InstanceUid],
        within: Duration,
    ) -> Result<Listed, Failure> {
        let level = match (&of.series, &of.instance) {
            (_, Some(_)) => Level::Instance,
            _ if !named.is_empty() => Level::Instance,
            (Some(_), None) => Level::Series,
            (None, None) => Level::Study,
        };
        let wanted = Wanted { matches: &[], combined: false, study: Some(&of.study), series: of.series.as_ref() };
        let answer = match within > archive.query_timeout() {
            true => self.patiently(archive, wanted, (Level::Instance, true), within).await?,
            false => self.in_time(archive, wanted, (Level::Instance, true), within).await?,
        };
        let mut listed = Listed { of: Some(level), in_part: answer.unreadable > 0, ..Listed::default() };
        for values in &answer.rows {
            let (Some(series), Some(instance)) =
                (uid(values, SERIES_INSTANCE_UID, SeriesUid::parse), uid(values, SOP_INSTANCE_UID, InstanceUid::parse))
            else {
                listed.in_part = true;
                continue;
            };
            let is_wanted = of.instance.as_ref().is_none_or(|wanted| *wanted == instance);
            if is_wanted && (named.is_empty() || named.contains(&instance)) {
                if values.get(&MODALITY).is_some_and(|modality| modality == KEY_OBJECTS) {
                    listed.notes.insert(instance.clone());
                }
                listed.series.entry(series).or_default().insert(instance);
            }
        }
        Ok(listed)
    }
}

/// Adds what an archive holds of a study to what is held here; whether the archive holds more.
pub fn widen(size: &mut StudySize, theirs: &StudySize) -> bool {
    let more = size.instances == 0 || theirs.instances > size.instances || theirs.series > size.series;
    size.instances = size.instances.max(theirs.instances);
    size.series = size.series.max(theirs.series);
    for modality in &theirs.modalities {
        if !size.modalities.contains(modality) {
            size.modalities.push(modality.clone());
        }
    }
    more
}

impl Archive {
    fn origin(&self) -> Origin {
        Origin::Archive(self.name.clone())
    }
}

/// The answers of one archive, from the study down to the level: an archive need not answer below the study without the unique
/// keys above (PS3.4 section C.4.1.3.1).
async fn rows(archive: &Archive, wanted: Wanted<'_>, level: Level, names: bool) -> Result<Answer, Failure> {
    // The semaphore is never closed.
    let _seat = archive.queries.acquire().await.ok();
    let mut line = Line::open(archive, Operation::Find).await?;
    let rows = down(&mut line, archive, wanted, level, names).await;
    let unreadable = line.unreadable;
    line.close().await;
    Ok(Answer { rows: rows?, unreadable })
}

/// With `names`, only the UIDs of instances are wanted, and the Modality of their series.
async fn down(
    line: &mut Line,
    archive: &Archive,
    wanted: Wanted<'_>,
    level: Level,
    names: bool,
) -> Result<Vec<Values>, Failure> {
    let quiet = archive.query_timeout();
    let fitting = |values: &Values, level| {
        let issuer = |tag: Tag| (tag == ISSUER_OF_PATIENT_ID).then_some(archive.issuer.as_str());
        let held =
            |tag: Tag| values.get(&tag).map(String::as_str).filter(|held| !held.is_empty()).or_else(|| issuer(tag));
        fits(wanted.matches, level, wanted.combined, held)
    };
    let mut keys = keys::of_studies(wanted.matches);
    if let Some(study) = wanted.study {
        keys.insert(STUDY_INSTANCE_UID, study.to_string());
    }
    let mut studies = line.find(&keys, quiet, MOST_ROWS).await?;
    studies.retain(|values| {
        fitting(values, Level::Study) && is(values, STUDY_INSTANCE_UID, wanted.study.map(StudyUid::as_str))
    });
    if level == Level::Study {
        let until = Instant::now() + quiet / 2;
        let modality = matching(wanted.matches, MODALITIES_IN_STUDY);
        let (mut left, mut unsaid) = (MOST_COUNTED, 0);
        for study in &mut studies {
            let says = |tag| study.get(&tag).is_some_and(|text| !text.is_empty());
            let wants = modality.is_some_and(|modality| !matches(modality, None)) && !says(MODALITIES_IN_STUDY);
            if left > 0 && Instant::now() < until && (wants || number(study, STUDY_RELATED_INSTANCES) == 0) {
                left -= 1;
                counted(line, study, quiet).await?;
            } else {
                unsaid += usize::from(wants);
            }
        }
        if let Some(modality) = modality {
            studies.retain(|values| matches(modality, values.get(&MODALITIES_IN_STUDY).map(String::as_str)));
        }
        // Of what modalities those are nobody has said: they may be wanted.
        line.unreadable += unsaid;
        return Ok(studies);
    }
    let Some(study) = studies.into_iter().next() else { return Ok(Vec::new()) };
    let mut keys = keys::of_level(Level::Series);
    keys.insert(STUDY_INSTANCE_UID, study.get(&STUDY_INSTANCE_UID).cloned().unwrap_or_default());
    if let Some(series) = wanted.series {
        keys.insert(SERIES_INSTANCE_UID, series.to_string());
    }
    let mut all = line.find(&keys, quiet, MOST_ROWS).await?;
    below(&mut all, &study, STUDY_INSTANCE_UID);
    all.retain(|values| {
        fitting(values, Level::Series) && is(values, SERIES_INSTANCE_UID, wanted.series.map(SeriesUid::as_str))
    });
    if level == Level::Series {
        for series in all.iter_mut().filter(|series| number(series, SERIES_RELATED_INSTANCES) == 0).take(MOST_COUNTED) {
            let count = names_in(line, series, quiet).await?;
            series.insert(SERIES_RELATED_INSTANCES, count.to_string());
        }
        return Ok(all);
    }
    let mut instances = in_series(line, all, quiet, names).await?;
    instances.retain(|values| names || fitting(values, Level::Instance));
    Ok(instances)
}

/// The instances of these series of one study: by one question where the archive answers that, else by one for each series. With
/// `names` their UIDs and Modality alone.
async fn in_series(
    line: &mut Line,
    mut all: Vec<Values>,
    quiet: Duration,
    names: bool,
) -> Result<Vec<Values>, Failure> {
    let most = if names { MOST_NAMES } else { MOST_INSTANCES };
    let wanted = if names { keys::of_names() } else { keys::of_level(Level::Instance) };
    let mut study = wanted.clone();
    let uid = |values: &Values, tag| values.get(&tag).cloned().unwrap_or_default();
    study.insert(STUDY_INSTANCE_UID, all.first().map(|series| uid(series, STUDY_INSTANCE_UID)).unwrap_or_default());
    study.insert(SERIES_INSTANCE_UID, String::new());
    if names {
        all.iter_mut().for_each(|series| series.retain(|tag, _| UNIQUE.contains(tag) || *tag == MODALITY));
    }
    let mut instances: Vec<Values> = Vec::new();
    if line.relational && all.len() > 1 {
        let held = line.find(&study, quiet, most).await?;
        let told = held.len();
        for series in &all {
            let own = uid(series, SERIES_INSTANCE_UID);
            let mut mine: Vec<Values> =
                held.iter().filter(|values| uid(values, SERIES_INSTANCE_UID) == own).cloned().collect();
            below(&mut mine, series, SERIES_INSTANCE_UID);
            instances.extend(mine);
        }
        // Of one that does not say to which series each belongs, or tells of others, nothing is believed.
        if instances.len() == told {
            return Ok(instances);
        }
        instances.clear();
    }
    for series in all {
        let mut keys = wanted.clone();
        keys.extend(UNIQUE.map(|tag| (tag, uid(&series, tag))));
        let mut held = line.find(&keys, quiet, most - instances.len()).await?;
        below(&mut held, &series, SERIES_INSTANCE_UID);
        instances.extend(held);
    }
    Ok(instances)
}

/// The unique keys above an instance.
const UNIQUE: [Tag; 2] = [STUDY_INSTANCE_UID, SERIES_INSTANCE_UID];

/// Counts what a study holds at an archive that does not tell it: these keys are optional (PS3.4 table C.6-5).
async fn counted(line: &mut Line, study: &mut Values, quiet: Duration) -> Result<(), Failure> {
    let mut keys = keys::of_level(Level::Series);
    keys.insert(STUDY_INSTANCE_UID, study.get(&STUDY_INSTANCE_UID).cloned().unwrap_or_default());
    let mut all = line.find(&keys, quiet, MOST_ROWS).await?;
    below(&mut all, study, STUDY_INSTANCE_UID);
    let (mut instances, mut modalities) = (0, BTreeSet::new());
    for series in &all {
        instances += match number(series, SERIES_RELATED_INSTANCES) {
            0 => names_in(line, series, quiet).await?,
            told => told,
        };
        modalities.extend(series.get(&MODALITY).filter(|modality| !modality.is_empty()).cloned());
    }
    study.insert(STUDY_RELATED_SERIES, all.len().to_string());
    study.insert(STUDY_RELATED_INSTANCES, instances.to_string());
    study.insert(MODALITIES_IN_STUDY, modalities.into_iter().collect::<Vec<_>>().join("\\"));
    Ok(())
}

/// How many instances a series has at the archive.
async fn names_in(line: &mut Line, series: &Values, quiet: Duration) -> Result<u64, Failure> {
    let mut keys = keys::of_names();
    for tag in [STUDY_INSTANCE_UID, SERIES_INSTANCE_UID] {
        keys.insert(tag, series.get(&tag).cloned().unwrap_or_default());
    }
    Ok(line.find(&keys, quiet, MOST_NAMES).await?.len() as u64)
}

/// Whether a value is the one that was asked for, if one was.
fn is(values: &Values, tag: Tag, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| values.get(&tag).is_some_and(|held| held == wanted))
}

/// Gives each row what is known above it; rows that say that they belong elsewhere are dropped.
fn below(rows: &mut Vec<Values>, above: &Values, key: Tag) {
    rows.retain(|values| values.get(&key).is_none_or(|held| held.is_empty() || above.get(&key) == Some(held)));
    for values in rows {
        for (tag, value) in above {
            let own = values.entry(*tag).or_default();
            if own.is_empty() || *tag == key {
                own.clone_from(value);
            }
        }
    }
}

fn uid<T, E>(values: &Values, tag: Tag, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    values.get(&tag).and_then(|text| parse(text).ok())
}

fn number(values: &Values, tag: Tag) -> u64 {
    values.get(&tag).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The indexed attributes among the values.
fn texts(values: &Values) -> Texts {
    let indexed = |tag: &Tag| INDEXED.iter().any(|indexed| indexed.tag == *tag);
    Texts(values.iter().filter(|(tag, _)| indexed(tag)).map(|(tag, text)| (*tag, text.clone())).collect())
}

fn size(values: &Values) -> StudySize {
    let modalities = values.get(&MODALITIES_IN_STUDY).map(String::as_str).unwrap_or_default();
    StudySize {
        series: number(values, STUDY_RELATED_SERIES),
        instances: number(values, STUDY_RELATED_INSTANCES),
        modalities: modalities.split('\\').filter(|text| !text.is_empty()).map(str::to_owned).collect(),
        sop_classes: Vec::new(),
    }
}
