//! C-FIND over the catalogue: matches are sent as they are found, page by page, and none is kept (PS3.4 section C.4.1).

mod awaited;
mod elsewhere;
mod known;
mod whose;

pub(super) use awaited::Awaited;

use super::archived::NEARLINE;
use super::asked::*;
use super::shown::{held_as, patient_of, shown};
use super::{Caller, DimseFace};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::*;
use crate::dicom::charset::Charset;
use crate::dicom::query::{Match, fits, identifier, known, matching, matching::matches, narrow::Narrow};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dimse::{Dialogue, QueryAnswer, QueryRequest, Status};
use crate::edge::qido::elsewhere::tell_site;
use crate::peers::{Node, Origin, Registry};
use crate::priors::archive::widen;
use crate::priors::whom::Patient;
use crate::records::{FindInstances, MOST_NAMED, RecordsError, SeriesRow, StudyRow, StudySize, Texts, Walk};
use elsewhere::Elsewhere;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one query may look through the catalogue; a node that needs longer asks for less at once.
const LONGEST: Duration = Duration::from_secs(600);

/// One query on its way through the catalogue.
pub(super) struct Find<'a, 'd> {
    pub(super) face: &'a DimseFace,
    registry: Arc<Registry>,
    pub(super) node: &'a Node,
    pub(super) asked: &'a Asked,
    pub(super) keys: Keys,
    pub(super) combined: bool,
    pub(super) dialogue: &'a mut Dialogue<'d>,
    began: Instant,
    /// Archives that did not answer.
    pub(super) silent: Vec<AeTitle>,
    /// Whom the query names.
    pub(super) patient: Option<Patient>,
    /// What is said beside the final success.
    pub(super) remark: Option<String>,
}

/// Why a query ends before its last match.
pub(super) enum End {
    /// The requester cancelled, or is gone.
    Over,
    /// With this answer.
    Answer(QueryAnswer),
}

impl From<RecordsError> for End {
    fn from(error: RecordsError) -> Self {
        tracing::error!(error = %error, "a query could not be answered");
        let comment = Some("the records cannot be read now".to_owned());
        Self::Answer(QueryAnswer { comment, ..Status::OUT_OF_RESOURCES.into() })
    }
}

/// Answers a C-FIND of a node that may query.
pub(super) async fn find(
    face: &DimseFace,
    caller: &Caller,
    node: &Node,
    request: &QueryRequest,
    root: Root,
    dialogue: &mut Dialogue<'_>,
) -> QueryAnswer {
    let asked = match Asked::read(request, root, &Charset::declared(node.charset.as_bytes())) {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let keys = match asked.keys() {
        Ok(keys) => keys,
        Err(refused) => return refused,
    };
    let registry = Arc::clone(&face.registry.borrow());
    let combined = caller.combined.contains(&request.abstract_syntax);
    let mut find = Find {
        face,
        registry,
        node,
        asked: &asked,
        keys,
        combined,
        dialogue,
        began: Instant::now(),
        silent: Vec::new(),
        patient: None,
        remark: None,
    };
    find.patient = find.named_patient().await;
    let ended = match asked.level {
        Level::Patient => {
            find.remark_on_patients();
            find.patients().await
        }
        Level::Study => find.studies().await,
        Level::Series => find.series().await,
        Level::Instance => find.instances().await,
    };
    match ended {
        Ok(()) => find.ended(),
        Err(End::Answer(answer)) => answer,
        Err(End::Over) => Status::CANCEL.into(),
    }
}

/// Whether a node is told of something.
enum Told {
    /// It is, with these values.
    As(BTreeMap<Tag, String>),
    /// Not before a person has decided.
    HeldBack,
    /// It is another's, or does not match.
    Not,
}

impl Find<'_, '_> {
    /// Ends the query if nobody waits for it any more, or it takes too long.
    async fn goes_on(&mut self) -> Result<(), End> {
        if self.dialogue.is_over().await {
            return Err(End::Over);
        }
        if self.began.elapsed() > LONGEST {
            let comment = Some("the query took longer than 10 minutes; ask for less".to_owned());
            return Err(End::Answer(QueryAnswer { comment, ..Status::OUT_OF_RESOURCES.into() }));
        }
        Ok(())
    }

    /// The values that the node is shown, if they match in every key but those of what a study holds.
    ///
    /// What means the patient who was asked for need not match in the number: the node is shown it with its issuer.
    fn fitting(&self, origin: &Origin, held: Texts) -> Option<BTreeMap<Tag, String>> {
        match self.told(origin, held) {
            Told::As(values) => Some(values),
            Told::HeldBack | Told::Not => None,
        }
    }

    /// The same, and whether it is not shown before a person has decided.
    fn told(&self, origin: &Origin, held: Texts) -> Told {
        let meant = self.is_meant(origin, &held);
        let anothers = !meant && self.is_anothers(origin, &held);
        let Some(values) = shown(&self.registry, self.node, origin, held) else { return Told::HeldBack };
        let values = if anothers { None } else { self.fitting_shown(meant, origin, values) };
        values.map_or(Told::Not, Told::As)
    }

    /// The same where it is known already whether that patient is meant.
    fn fitting_as(&self, meant: bool, origin: &Origin, held: Texts) -> Option<BTreeMap<Tag, String>> {
        self.fitting_shown(meant, origin, shown(&self.registry, self.node, origin, held)?)
    }

    /// What the node is shown, if it matches.
    fn fitting_shown(
        &self,
        meant: bool,
        origin: &Origin,
        mut values: BTreeMap<Tag, String>,
    ) -> Option<BTreeMap<Tag, String>> {
        self.tell_issuer(origin, &mut values);
        let held = |tag: Tag| values.get(&tag).map(String::as_str);
        let whose = |key: &Match| meant && [PATIENT_ID, ISSUER_OF_PATIENT_ID].contains(&key.path[0]);
        // The unique keys above have been asked for too, whether or not they are to be given back.
        let above = self.asked.unique.iter().all(|key| whose(key) || matches(key, held(key.path[0])));
        let keys: Vec<Match> = self.keys.matches.iter().filter(|key| !whose(key)).cloned().collect();
        let relaxed = self.registry.matches_unknown().then(|| known(&keys, held));
        let wanted = relaxed.as_deref().unwrap_or(&keys);
        if !above || !fits(wanted, self.asked.level, self.combined, held) {
            return None;
        }
        // What is matched is what the objects say.
        if self.asked.level == Level::Study {
            tell_site(self.node, origin, &mut values);
        }
        Some(values)
    }

    /// Sends one match: what was asked for and is supported, the level, and where it can be retrieved (DIM-069).
    async fn tell(&mut self, mut values: BTreeMap<Tag, String>) -> Result<(), End> {
        let mut answer: BTreeMap<Tag, String> =
            self.keys.back.iter().map(|tag| (*tag, values.remove(tag).unwrap_or_default())).collect();
        answer.insert(LEVEL, self.asked.level_name.to_owned());
        answer.insert(RETRIEVE_AE_TITLE, self.face.ae_title.to_string());
        if let Some(availability) = answer.get_mut(&AVAILABILITY).filter(|availability| availability.is_empty()) {
            "ONLINE".clone_into(availability);
        }
        let bytes = identifier::write(&answer, &self.asked.identifier.charset, self.asked.explicit);
        let status = if self.keys.unsupported { Status::PENDING_WITHOUT_SOME_KEYS } else { Status::PENDING };
        self.dialogue.pending(status, None, Some(&bytes)).await.map_err(|_| End::Over)
    }

    /// Where a walk begins. What stands in one exact key narrows it; each key is matched again on every row.
    fn walk(&self) -> Walk {
        let uids = |tag| matching(&self.keys.matches, tag).map_or(self.asked.values(tag), |matched| &matched.values);
        let studies = uids(STUDY_INSTANCE_UID).iter().filter_map(|uid| StudyUid::parse(uid).ok()).collect();
        let series = match uids(SERIES_INSTANCE_UID) {
            [uid] => SeriesUid::parse(uid).ok(),
            _ => None,
        };
        let accession_number = exact(&self.keys.matches, ACCESSION_NUMBER).filter(|_| !self.registry.matches_unknown());
        let accession_number = accession_number.map(str::to_owned);
        Walk {
            after: 0,
            studies,
            series,
            patient_ids: self.patient_ids(),
            accession_number,
            narrow: self.narrow(),
            candidates: None,
        }
    }

    fn narrow(&self) -> Narrow {
        Narrow::of(&self.keys.matches, self.registry.matches_unknown())
    }

    fn patient_ids(&self) -> Vec<String> {
        let asked = exact(&self.keys.matches, PATIENT_ID).or_else(|| exact(&self.asked.unique, PATIENT_ID));
        let mut ids = asked.map_or_else(Vec::new, |id| held_as(self.node, id));
        // Another site may write the same number in another form.
        ids.extend(self.patient.iter().filter_map(|patient| patient.nhs).flat_map(|nhs| nhs.forms()));
        ids
    }

    /// Each patient once: the studies come in order of Patient ID, and of one number only the issuers are remembered.
    async fn patients(&mut self) -> Result<(), End> {
        let (mut after, ids) = ((String::new(), 0), self.patient_ids());
        let mut told: (String, BTreeSet<(String, String)>) = Default::default();
        loop {
            let rows = self.face.records.walk_patients(after, ids.clone(), self.narrow()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = (last.attributes.0.get(&PATIENT_ID).cloned().unwrap_or_default(), last.row);
            for row in rows {
                self.goes_on().await?;
                let held = row.attributes.0.get(&PATIENT_ID).cloned().unwrap_or_default();
                let Some(values) = self.fitting(&row.origin, row.attributes) else { continue };
                let Some(number) = patient_of(&values) else { continue };
                let issuer = values.get(&ISSUER_OF_PATIENT_ID).cloned().unwrap_or_default();
                let who = (number.to_owned(), issuer);
                if told.0 != held {
                    told = (held, BTreeSet::new());
                }
                if told.1.insert(who) {
                    self.tell(values).await?;
                }
            }
        }
    }

    async fn studies(&mut self) -> Result<(), End> {
        let mut walk = self.walk();
        walk.candidates = self.face.records.candidates(walk.narrow.clone()).await?;
        let mut elsewhere = self.ask_for_patient();
        let mut archived = self.archived_studies();
        let (named, mut told) = (!walk.studies.is_empty(), BTreeSet::new());
        loop {
            let rows = self.face.records.walk_studies(walk.clone()).await?;
            let Some(last) = rows.last() else { break };
            walk.after = last.row;
            let mut fitting = Vec::with_capacity(rows.len());
            for mut row in rows {
                self.goes_on().await?;
                let attributes = std::mem::take(&mut row.attributes);
                fitting.extend(self.fitting(&row.origin, attributes).map(|values| (row, values)));
            }
            // Of a list at large nothing is remembered.
            if named {
                told.extend(fitting.iter().map(|(row, _)| row.study.clone()));
            }
            if self.wants_theirs() || archived.is_crowded() {
                self.hear_archives(&mut archived).await?;
            }
            // Of a copy that waits for the other sites it matters whether an archive holds it, too.
            let waits = elsewhere.is_some();
            let (copies, page): (Vec<_>, Vec<_>) =
                fitting.into_iter().partition(|(row, _)| waits && row.origin.site().is_some());
            self.tell_held(page, &mut archived, &mut elsewhere).await?;
            if !copies.is_empty() {
                self.hear_archives(&mut archived).await?;
                self.tell_held(copies, &mut archived, &mut elsewhere).await?;
            }
        }
        self.hear_unless_told(&mut archived, STUDY_INSTANCE_UID).await?;
        // What archives alone hold.
        for (study, (row, size)) in archived.rest() {
            self.goes_on().await?;
            let Some(values) = self.fitting(&row.origin, row.attributes) else { continue };
            if let Some(elsewhere) = &mut elsewhere {
                elsewhere.own(&study, &values);
            }
            if named {
                told.insert(study.clone());
            }
            self.tell_study(study, values, Some(StudySize::default()), Some(size)).await?;
        }
        match elsewhere {
            Some(elsewhere) => self.tell_elsewhere(elsewhere).await,
            None => self.named_studies(&told).await,
        }
    }

    /// Studies of a page that are held here, with what archives hold of each, as far as that is known; a copy may wait.
    async fn tell_held(
        &mut self,
        page: Vec<(StudyRow, BTreeMap<Tag, String>)>,
        archived: &mut Awaited<StudyUid, (StudyRow, StudySize)>,
        elsewhere: &mut Option<Elsewhere>,
    ) -> Result<(), End> {
        let mut sizes = self.sizes_of(&page, elsewhere.is_some(), archived).await?;
        for (row, values) in page {
            self.goes_on().await?;
            let theirs = archived.take(&row.study).map(|(_, size)| size);
            let (copy, size) = (row.origin.site().is_some(), sizes.remove(&row.row));
            if let Some(elsewhere) = elsewhere.as_mut().filter(|_| copy) {
                self.copy((size.unwrap_or_default(), theirs), &row, values, elsewhere).await?;
                continue;
            }
            if let Some(elsewhere) = elsewhere.as_mut() {
                elsewhere.own(&row.study, &values);
            }
            self.tell_study(row.study, values, size, theirs).await?;
        }
        Ok(())
    }

    /// What is held here of those of a page's studies of which it is wanted, or compared with what others hold.
    async fn sizes_of(
        &self,
        page: &[(StudyRow, BTreeMap<Tag, String>)],
        asked_elsewhere: bool,
        archived: &Awaited<StudyUid, (StudyRow, StudySize)>,
    ) -> Result<BTreeMap<i64, StudySize>, RecordsError> {
        let all = self.wants_size();
        let compared = |row: &StudyRow| archived.holds(&row.study) || (asked_elsewhere && row.origin.site().is_some());
        let rows = page.iter().filter(|(row, _)| all || compared(row)).map(|(row, _)| row.row).collect();
        self.face.records.study_sizes(rows, self.wants_classes()).await
    }

    /// One study with what is held of it here, and what an archive holds.
    async fn tell_study(
        &mut self,
        study: StudyUid,
        mut values: BTreeMap<Tag, String>,
        size: Option<StudySize>,
        theirs: Option<StudySize>,
    ) -> Result<(), End> {
        values.insert(STUDY_INSTANCE_UID, study.to_string());
        let Some(mut size) = size else { return self.tell(values).await };
        if theirs.is_some_and(|theirs| widen(&mut size, &theirs)) {
            values.insert(AVAILABILITY, NEARLINE.to_owned());
        }
        with_size(&mut values, &size);
        if !self.fits_size(&values) {
            return Ok(());
        }
        self.tell(values).await
    }

    fn wants_size(&self) -> bool {
        let of_size = [MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY, STUDY_RELATED_SERIES, STUDY_RELATED_INSTANCES];
        self.keys.back.iter().any(|tag| of_size.contains(tag))
    }

    pub(super) fn wants_classes(&self) -> bool {
        self.keys.back.contains(&SOP_CLASSES_IN_STUDY)
    }

    /// Any value that matches gives the study, with all its values (DIM-066).
    fn fits_size(&self, values: &BTreeMap<Tag, String>) -> bool {
        [MODALITIES_IN_STUDY, SOP_CLASSES_IN_STUDY].into_iter().all(|tag| {
            let matched = matching(&self.keys.matches, tag);
            matched.is_none_or(|matched| matches(matched, values.get(&tag).map(String::as_str)))
        })
    }

    async fn series(&mut self) -> Result<(), End> {
        let (mut walk, mut known) = (self.walk(), self.known_below().await);
        let mut archived = self.archived_series(&walk);
        loop {
            let rows = self.face.records.walk_series(walk.clone()).await?;
            let Some(last) = rows.last() else { break };
            walk.after = last.row;
            if self.wants_theirs() || archived.is_crowded() {
                self.hear_archives(&mut archived).await?;
            }
            for row in rows {
                let theirs = archived.take(&row.series).map_or(0, |theirs| theirs.instances);
                known.insert(&row.series, &row.origin)?;
                match row.origin.site() {
                    None => self.tell_series(row, theirs).await?,
                    Some(_) => known.wait(row, theirs)?,
                }
            }
        }
        self.hear_unless_told(&mut archived, SERIES_INSTANCE_UID).await?;
        for mut row in archived.rest().into_values() {
            let theirs = std::mem::take(&mut row.instances);
            known.insert(&row.series, &row.origin)?;
            self.tell_series(row, theirs).await?;
        }
        self.below_study(SERIES_INSTANCE_UID, known).await
    }

    /// One series, of which an archive holds so many instances.
    pub(super) async fn tell_series(&mut self, mut row: SeriesRow, theirs: u64) -> Result<(), End> {
        self.goes_on().await?;
        row.attributes.0.insert(STUDY_INSTANCE_UID, row.study.to_string());
        row.attributes.0.insert(SERIES_INSTANCE_UID, row.series.to_string());
        let Some(mut values) = self.fitting(&row.origin, row.attributes) else { return Ok(()) };
        values.insert(SERIES_RELATED_INSTANCES, row.instances.max(theirs).to_string());
        if theirs > row.instances || row.row == 0 {
            values.insert(AVAILABILITY, NEARLINE.to_owned());
        }
        self.tell(values).await
    }

    async fn instances(&mut self) -> Result<(), End> {
        let walk = self.walk();
        let mut find =
            FindInstances { study: walk.studies.first().cloned(), series: walk.series.clone(), ..Default::default() };
        let named = self.named(SOP_INSTANCE_UID);
        // A longer list is matched row by row.
        if named.len() <= MOST_NAMED {
            find.instances = named.iter().filter_map(|uid| InstanceUid::parse(uid).ok()).collect();
        }
        let unknown = if named.is_empty() { None } else { Some(named.iter().cloned().collect()) };
        let mut archived = self.archived_instances(&walk);
        let mut known = self.known_below().await;
        known.named = unknown;
        loop {
            let rows = self.face.records.find_instances(find.clone()).await?;
            let Some(last) = rows.last() else { break };
            find.after = last.id;
            // Whatever they hold of one that is here, it is told as it is here.
            if archived.is_crowded() {
                self.hear_archives(&mut archived).await?;
            }
            for mut row in rows {
                self.goes_on().await?;
                archived.take(&row.instance);
                known.insert(&row.instance, &row.origin)?;
                row.attributes.0.extend([
                    (SOP_CLASS_UID, row.sop_class.to_string()),
                    (SOP_INSTANCE_UID, row.instance.to_string()),
                    (STUDY_INSTANCE_UID, row.study.to_string()),
                    (SERIES_INSTANCE_UID, row.series.to_string()),
                ]);
                match self.told(&row.origin, row.attributes) {
                    Told::As(values) => self.tell(values).await?,
                    Told::HeldBack => drop(known.held_back.insert(row.origin.name().to_owned())),
                    Told::Not => {}
                }
            }
        }
        self.hear_unless_told(&mut archived, SOP_INSTANCE_UID).await?;
        for (instance, row) in archived.rest() {
            self.goes_on().await?;
            known.insert(&instance, &row.origin)?;
            let Some(mut values) = self.fitting(&row.origin, row.attributes) else { continue };
            values.insert(AVAILABILITY, NEARLINE.to_owned());
            self.tell(values).await?;
        }
        self.below_study(SOP_INSTANCE_UID, known).await
    }
}

/// What a study holds, as values.
fn with_size(values: &mut BTreeMap<Tag, String>, size: &StudySize) {
    let classes: Vec<&str> = size.sop_classes.iter().map(|class| class.as_str()).collect();
    values.extend([
        (MODALITIES_IN_STUDY, size.modalities.join("\\")),
        (SOP_CLASSES_IN_STUDY, classes.join("\\")),
        (STUDY_RELATED_SERIES, size.series.to_string()),
        (STUDY_RELATED_INSTANCES, size.instances.to_string()),
    ]);
}
