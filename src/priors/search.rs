//! Asking every site at once, each within its own time; answers are told as they come, and none that means somebody else.

use super::merge::Found;
use super::silence::{Memory, Silences};
use super::whom::{Meant, NotAsked, Patient, Said, word_apart};
use super::{Priors, Site, marker};
use crate::dicom::attributes::*;
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::tag::Tag;
use crate::dicom::uid::{SeriesUid, SopClassUid, StudyUid};
use crate::dicomweb::client::{InPart, QueryFailure, Resource, Search};
use crate::dicomweb::dataset::Dataset;
use crate::records::{Inquiry, Records, SeenStudy, StudySize, Texts};
use futures_util::future::try_join_all;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Searches that are under way at once; what comes beyond is told that nobody answers.
pub(super) const AT_ONCE: usize = 64;
/// Pages that may wait for whoever asked.
const WAITING: usize = 4;
/// The most studies of a patient, and the most series or instances of a study, that a site may show.
const MOST_STUDIES: usize = 2_000;
const MOST_BELOW: usize = 100_000;
/// Results of a page: Azure's DICOM service refuses to be asked for more.
const PAGE: usize = 200;
/// Longer values, in characters, are not shown.
const LONGEST: usize = 1_024;

/// What is asked of other sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The studies of a patient.
    Patient(Patient),
    /// A study.
    Study(StudyUid),
    /// The series of a study.
    Series(StudyUid),
    /// The instances of a study, or of one of its series.
    Instances(StudyUid, Option<SeriesUid>),
}

impl Wanted {
    /// What is entered of it: what it asks for, and the study if it names one.
    fn entered(&self) -> (&'static str, Option<&StudyUid>) {
        match self {
            Self::Patient(_) => ("patient", None),
            Self::Study(study) => ("study", Some(study)),
            Self::Series(study) => ("series", Some(study)),
            Self::Instances(study, _) => ("instances", Some(study)),
        }
    }
}

/// What one site says.
#[derive(Debug)]
pub struct Part {
    /// The peer's name.
    pub site: String,
    /// What it says.
    pub what: What,
}

/// Results, or the end of a site's answer.
#[derive(Debug)]
pub enum What {
    /// Results, each checked: they mean the patient or the study that was asked for.
    Found(Vec<Found>),
    /// Nothing more comes from this site.
    Ended(Outcome),
}

/// How a site's answer ended; never to be shown as "nothing there" but where it is [`Outcome::Answered`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Answered {
        /// Results that were told.
        found: u64,
        /// Results that were left out, since another issued their number: other people, as happens.
        namesakes: u64,
        /// Results that were left out, since they mean nobody and no study that was asked for.
        others: u64,
        /// Results that were left out, since nothing says who issued their number.
        untold: u64,
    },
    /// It did not answer, or not to the end; why, for people.
    NotAnswering(String),
    /// It was not asked.
    NotAsked(NotAsked),
    /// It showed studies that the asker is not shown before a person has decided (`foreign = "hold"`).
    HeldBack,
}

impl Outcome {
    /// Whether the answer can be relied on: nothing of it is missing.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Answered { untold: 0, others: 0, .. })
    }
}

/// A search under way; who drops it has it end.
pub struct Answers {
    parts: mpsc::Receiver<Part>,
    _tasks: JoinSet<()>,
    _seat: Option<OwnedSemaphorePermit>,
}

impl Answers {
    /// What a site says next; `None` when every site's answer has ended. May be dropped at any time.
    pub async fn next(&mut self) -> Option<Part> {
        self.parts.recv().await
    }
}

impl Priors {
    /// Asks these sites at once, and tells them for whom; that is entered before the answers end (SEC-023). What they show is kept as where
    /// it is (DIM-070).
    pub fn search(&self, wanted: &Wanted, sites: Vec<Site>, behalf: &OnBehalf) -> Answers {
        // A page and the end of each have room, so that nobody need be heard at once.
        let (to, parts) = mpsc::channel(WAITING.max(2 * sites.len()));
        let seat = self.seats.clone().try_acquire_owned().ok();
        let (mut tasks, mut asked) = (JoinSet::new(), Vec::new());
        for mut site in sites {
            site.client = site.client.on_behalf(behalf);
            let memory = self.sites().memory;
            let silences = self.silences.clone();
            let (wanted, records, to) = (wanted.clone(), self.records.clone(), to.clone());
            let asking = Asking { site, wanted, records, silences, memory, to };
            match seat {
                Some(_) => {
                    asked.extend(asking.searches().is_ok().then(|| asking.site.name.clone()));
                    tasks.spawn(asking.run())
                }
                None => tasks.spawn(asking.turned_away()),
            };
        }
        self.enter(wanted, asked, behalf, to);
        Answers { parts, _tasks: tasks, _seat: seat }
    }

    /// Enters who asks these sites, and what for, whether or not anybody waits for what they say. Until it is entered the answers have not
    /// ended: `to` is one of their ends.
    fn enter(&self, wanted: &Wanted, peers: Vec<String>, behalf: &OnBehalf, to: mpsc::Sender<Part>) {
        if peers.is_empty() {
            return;
        }
        let (what, study) = wanted.entered();
        let whom = match wanted {
            Wanted::Patient(patient) => format!("{} {}", patient.issuer, patient.id),
            _ => String::new(),
        };
        let inquiry = Inquiry { peers, behalf: behalf.clone(), what, study: study.cloned(), whom };
        let records = self.records.clone();
        tokio::spawn(async move {
            records.asks(inquiry).await;
            drop(to);
        });
    }
}

/// One site that is asked.
struct Asking {
    site: Site,
    wanted: Wanted,
    records: Records,
    silences: Silences,
    memory: Memory,
    to: mpsc::Sender<Part>,
}

/// Counts of what a site showed.
#[derive(Default, Clone, Copy)]
struct Counts {
    found: u64,
    namesakes: u64,
    others: u64,
    untold: u64,
    /// The site says that it may have more than it shows, or counts more.
    in_part: Option<InPart>,
}

impl Asking {
    async fn turned_away(self) {
        self.end(Outcome::NotAnswering("too many searches are under way here; ask again".into())).await;
    }

    async fn run(self) {
        match self.silences.of(self.site.client.base_url(), Instant::now()) {
            None => self.ask_patiently().await,
            Some(silent) => self.in_short(silent).await,
        }
    }

    /// Asks for as long as the site may take.
    async fn ask_patiently(self) {
        let outcome = match self.searches() {
            Err(not_asked) => Outcome::NotAsked(not_asked),
            Ok(searches) => match self.heeded(&searches).await {
                Ok(counts) => self.answered(counts).await,
                Err(why) => {
                    tracing::warn!(site = %self.site.name, why, "a site does not answer a query");
                    Outcome::NotAnswering(why)
                }
            },
        };
        self.end(outcome).await;
    }

    /// The same, and it is remembered whether the site kept silent.
    async fn heeded(&self, searches: &[Search]) -> Result<Counts, String> {
        let (site, asked) = (self.site.client.base_url().to_owned(), Instant::now());
        let counts = self.all(searches).await;
        match counts {
            Ok(_) => self.silences.forget(&site),
            Err(_) => self.silences.note(&site, asked, Instant::now(), &self.memory),
        }
        counts
    }

    /// Asks a site that kept silent lately: it is waited for no longer than the grace, unless it begins to answer. One question
    /// goes on without whoever asked it, so that the site's return is noticed.
    async fn in_short(self, silent: Duration) {
        let (grace, to, site) = (self.memory.grace, self.to.clone(), self.site.name.clone());
        let (inner, mut parts) = mpsc::channel(WAITING);
        let watching = self.silences.watch(self.site.client.base_url());
        let asking = Self { to: inner, ..self };
        let (mut tasks, asked_on) = (JoinSet::new(), watching.is_some());
        match watching {
            Some(watching) => drop(tokio::spawn(async move {
                asking.ask_patiently().await;
                drop(watching);
            })),
            None => drop(tasks.spawn(asking.ask_patiently())),
        }
        let Ok(mut next) = timeout(grace, parts.recv()).await else {
            tracing::info!(site, silent = silent.as_secs(), asked_on, "a site that kept silent is not waited for");
            let why = format!("no answer for {} s, and none within {} ms", silent.as_secs(), grace.as_millis());
            let _ = to.send(Part { site, what: What::Ended(Outcome::NotAnswering(why)) }).await;
            return;
        };
        while let Some(part) = next {
            if to.send(part).await.is_err() {
                return;
            }
            next = parts.recv().await;
        }
    }

    async fn end(&self, outcome: Outcome) {
        // Who asked may be gone.
        let _ = self.to.send(Part { site: self.site.name.clone(), what: What::Ended(outcome) }).await;
    }

    async fn answered(&self, counts: Counts) -> Outcome {
        let Counts { found, namesakes, others, untold, in_part } = counts;
        if let Some(why) = in_part {
            let why = match why {
                InPart::Fewer(counted) => format!("it shows {found} of the {counted} that it counts itself"),
                _ => QueryFailure::InPart.to_string(),
            };
            tracing::warn!(site = %self.site.name, why, "a site answers a query in part");
            return Outcome::NotAnswering(why);
        }
        if others + untold > 0 {
            tracing::warn!(site = %self.site.name, others, untold, "a site answered with what was not asked for; it is not shown");
        }
        if let Wanted::Study(study) | Wanted::Series(study) = &self.wanted
            && counts.found + others == 0
            && let Err(error) = self.records.study_not_at(&self.site.name, study).await
        {
            tracing::error!(error = %error, "that a site holds a study no longer could not be kept");
        }
        Outcome::Answered { found, namesakes, others, untold }
    }

    /// The searches to be made: one for each form of a number.
    fn searches(&self) -> Result<Vec<Search>, NotAsked> {
        let below =
            |resource| Search { resource, matches: Vec::new(), include: included(), page: PAGE, most: MOST_BELOW };
        let studies = |key: (Tag, String)| Search {
            resource: Resource::Studies,
            matches: vec![key],
            include: included(),
            page: PAGE,
            most: MOST_STUDIES,
        };
        Ok(match &self.wanted {
            Wanted::Patient(patient) => {
                let ids = patient.ask(&self.site.name, self.site.issuer.as_deref(), self.site.client.is_ours())?;
                ids.into_iter().map(|id| studies((PATIENT_ID, id))).collect()
            }
            Wanted::Study(study) => vec![studies((STUDY_INSTANCE_UID, study.to_string()))],
            Wanted::Series(study) => vec![below(Resource::Series(study.clone()))],
            Wanted::Instances(study, series) => vec![below(Resource::Instances(study.clone(), series.clone()))],
        })
    }

    async fn all(&self, searches: &[Search]) -> Result<Counts, String> {
        let counts = try_join_all(searches.iter().map(|search| self.one(search))).await?;
        Ok(counts.into_iter().fold(Counts::default(), |sum, counts| Counts {
            found: sum.found + counts.found,
            namesakes: sum.namesakes + counts.namesakes,
            others: sum.others + counts.others,
            untold: sum.untold + counts.untold,
            in_part: sum.in_part.or(counts.in_part),
        }))
    }

    /// A search for studies has its time as a whole; one below has it for each page, since there may be many. Only the site's own time
    /// counts: whoever asked may be busy meanwhile with what others say.
    async fn one(&self, search: &Search) -> Result<Counts, String> {
        let (mut pages, mut counts) = (self.site.client.search(search).within(self.site.timeout), Counts::default());
        let whole = matches!(self.wanted, Wanted::Patient(_) | Wanted::Study(_));
        let limit = self.site.timeout;
        let mut left = limit;
        loop {
            let asked = Instant::now();
            let page = timeout(left, pages.next()).await.map_err(|_| late(limit))?;
            if whole {
                left = left.saturating_sub(asked.elapsed());
            }
            let in_part = match page {
                Ok(Some(sets)) => {
                    if self.tell(&sets, &mut counts, pages.in_part()).await {
                        continue;
                    }
                    return Ok(counts);
                }
                Ok(None) => None,
                // It has answered, and what it showed is shown; who hears its end hears that there may be more.
                Err(QueryFailure::InPart) => Some(InPart::Said),
                Err(QueryFailure::Fewer { counted, .. }) => Some(InPart::Fewer(counted)),
                Err(failure) => return Err(failure.to_string()),
            };
            // What has no UID is no result, and no nothing either.
            counts.others += pages.unread();
            return Ok(Counts { in_part, ..counts });
        }
    }

    /// Keeps and tells what of a page means what was asked for; false if nobody hears it.
    async fn tell(&self, sets: &[Dataset], counts: &mut Counts, in_part: bool) -> bool {
        let found = self.checked(sets, counts);
        self.keep(&found, in_part).await;
        self.to.send(Part { site: self.site.name.clone(), what: What::Found(found) }).await.is_ok()
    }

    /// What of a page means what was asked for.
    fn checked(&self, sets: &[Dataset], counts: &mut Counts) -> Vec<Found> {
        let mut all = Vec::new();
        for set in sets {
            match (self.meant(set), found(&self.site.name, set, &self.wanted)) {
                (Meant::Yes, Some(mut found)) => {
                    counts.found += 1;
                    let word = word_apart(&said(set), self.site.issuer.as_deref());
                    found.values.0.extend(word.map(|word| (ISSUER_OF_PATIENT_ID, word)));
                    all.push(found);
                }
                (Meant::Namesake, Some(_)) => counts.namesakes += 1,
                (Meant::Untold, Some(_)) => counts.untold += 1,
                _ => counts.others += 1,
            }
        }
        all
    }

    fn meant(&self, set: &Dataset) -> Meant {
        match &self.wanted {
            Wanted::Patient(patient) => patient.is_meant(&said(set), &self.site.name, self.site.issuer.as_deref()),
            Wanted::Study(_) | Wanted::Series(_) | Wanted::Instances(..) => Meant::Yes,
        }
    }

    /// Keeps where studies are; of a site that does not know all that it has, no counts.
    async fn keep(&self, found: &[Found], in_part: bool) {
        let mut seen: Vec<SeenStudy> = match self.wanted {
            Wanted::Patient(_) | Wanted::Study(_) => {
                let one = |found: &Found| SeenStudy {
                    study: found.study.clone(),
                    instances: Some(found.size.instances).filter(|count| *count > 0 && !in_part),
                };
                found.iter().map(one).collect()
            }
            _ => found.iter().map(|found| SeenStudy { study: found.study.clone(), instances: None }).collect(),
        };
        seen.dedup();
        let kept = self.records.studies_seen_at(&self.site.name, seen, SystemTime::now()).await;
        if let Err(error) = kept {
            tracing::error!(error = %error, "where studies are could not be kept");
        }
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} ms", limit.as_millis())
}

/// What is asked for beyond what every server returns: whatever we index of patient, study and series, and whose numbers they are. Not what
/// says only how an answer is written: some servers refuse to be asked for a character set that their studies have in two values.
fn included() -> Vec<Tag> {
    let counts = [MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY, STUDY_RELATED_SERIES, STUDY_RELATED_INSTANCES];
    let people = [ISSUER_QUALIFIERS, OTHER_PATIENT_IDS];
    let unasked = [SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET];
    let indexed = INDEXED.iter().map(|indexed| indexed.tag).filter(|tag| !unasked.contains(tag));
    indexed.chain(counts).chain([SERIES_RELATED_INSTANCES]).chain(people).collect()
}

/// What a result says of its patient.
pub(super) fn said(set: &Dataset) -> Said {
    let text = |set: &Dataset, tag| set.text(tag).unwrap_or_default();
    let word = |set: &Dataset| {
        let item = set.sequence(ISSUER_QUALIFIERS).first();
        item.and_then(|item| item.text(UNIVERSAL_ENTITY).or_else(|| item.text(LOCAL_NAMESPACE))).unwrap_or_default()
    };
    let other = |item: &Dataset| {
        let own = text(item, ISSUER_OF_PATIENT_ID);
        (text(item, PATIENT_ID), if own.is_empty() { word(item) } else { own })
    };
    Said {
        id: text(set, PATIENT_ID),
        issuer: text(set, ISSUER_OF_PATIENT_ID),
        word: word(set),
        others: set.sequence(OTHER_PATIENT_IDS).iter().take(16).map(other).collect(),
        birth_date: text(set, PATIENT_BIRTH_DATE),
    }
}

/// A result as it is shown; `None` if it names no study, another one than was asked for, or one of our markers.
fn found(site: &str, set: &Dataset, wanted: &Wanted) -> Option<Found> {
    let named = set.first_text(STUDY_INSTANCE_UID).map(StudyUid::parse).transpose().ok()?;
    let study = match wanted {
        Wanted::Patient(_) => named?,
        Wanted::Study(asked) => named.filter(|study| study == asked)?,
        Wanted::Series(asked) | Wanted::Instances(asked, _) => {
            Some(named.unwrap_or_else(|| asked.clone())).filter(|study| study == asked)?
        }
    };
    if let Wanted::Instances(_, Some(asked)) = wanted
        && set.first_text(SERIES_INSTANCE_UID).is_some_and(|series| series != asked.as_str())
    {
        return None;
    }
    let mut values = Texts::default();
    for tag in INDEXED.iter().map(|indexed| indexed.tag) {
        let text = set.text(tag).filter(|text| text.chars().count() <= LONGEST);
        values.0.extend(text.map(|text| (tag, text.chars().filter(|c| !c.is_control()).collect())));
    }
    values.0.insert(STUDY_INSTANCE_UID, study.to_string());
    if let Wanted::Instances(_, Some(asked)) = wanted {
        values.0.insert(SERIES_INSTANCE_UID, asked.to_string());
    }
    let list = |tag| set.text(tag).unwrap_or_default();
    let split = |text: String| -> Vec<String> {
        text.split('\\').filter(|one| !one.is_empty()).take(64).map(str::to_owned).collect()
    };
    let size = StudySize {
        series: set.first_number(STUDY_RELATED_SERIES).unwrap_or_default(),
        instances: set
            .first_number(STUDY_RELATED_INSTANCES)
            .or_else(|| set.first_number(SERIES_RELATED_INSTANCES))
            .unwrap_or_default(),
        modalities: split(list(MODALITIES_IN_STUDY)),
        sop_classes: split(list(SOP_CLASSES_IN_STUDY)).iter().filter_map(|uid| SopClassUid::parse(uid).ok()).collect(),
    };
    Some(Found { site: site.to_owned(), study, values, size }).filter(|found| !marker::is_marker(&found.study))
}
