//! C-MOVE and C-GET over what is held: what is meant, who is given it, and how the sub-operations are counted (PS3.4 sections C.4.2, C.4.3).

use super::archived::{self, Brought, unless_over};
use super::asked::{Asked, Root};
use super::given::Given;
use super::passing::Way;
use super::shown::{held_as, issued_by, patient_of, shown};
use super::{Caller, DimseFace};
use crate::courier::mover::Mover;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::*;
use crate::dicom::charset::Charset;
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dimse::{Dialogue, Operation, QueryAnswer, QueryRequest, Status};
use crate::peers::{Node, Origin, Registry};
use crate::priors::gather::Gathering;
use crate::records::{Expected, Picked, RecordsError, RetrievalBegan, StudyRow, Texts, Walk};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Retrievals that are answered at once.
pub(super) const AT_ONCE: usize = 16;

/// A final answer without sub-operations.
pub(super) fn refuse(status: Status, comment: &str, offending: Option<Tag>) -> QueryAnswer {
    let offending = offending.map(|tag| tag.0);
    QueryAnswer { comment: Some(comment.to_owned()), offending, ..status.into() }
}

fn unreadable(error: &RecordsError) -> QueryAnswer {
    tracing::error!(error = %error, "a retrieval could not be answered");
    refuse(Status::CANNOT_COUNT, "the records cannot be read now, or too much is asked for", None)
}

/// Answers a C-MOVE or C-GET of a node that may retrieve.
pub(super) async fn retrieve(
    face: &DimseFace,
    caller: &Caller,
    node: &Node,
    request: &QueryRequest,
    root: Root,
    dialogue: &mut Dialogue<'_>,
) -> QueryAnswer {
    let plan = match prepared(face, node, request, root).await {
        Ok(plan) => plan,
        Err(refused) => return *refused,
    };
    // Copies that are being given are not flushed, however long it takes.
    let held = match face.fetcher.hold(plan.studies.clone()).await {
        Ok(held) => held,
        Err(error) => return unreadable(&error),
    };
    let answer = run(face, caller, node, request, plan, dialogue).await;
    drop(held);
    answer
}

/// A retrieval that may begin.
pub(super) struct Prepared {
    pub(super) to: AeTitle,
    pub(super) mover: Arc<Mover>,
    pub(super) picked: Picked,
    /// What archives and other sites are asked for, besides: without what is withheld for certain from who asks.
    pub(super) sought: Picked,
    /// The studies that were asked for, for the ledger.
    studies: Vec<StudyUid>,
    /// The patient who was named, if one was.
    patient: Option<String>,
}

async fn prepared(
    face: &DimseFace,
    node: &Node,
    request: &QueryRequest,
    root: Root,
) -> Result<Prepared, Box<QueryAnswer>> {
    let registry = Arc::clone(&face.registry.borrow());
    let to = match request.operation {
        Operation::Move => destination(face, &registry, node, &request.destination).await?,
        _ => node.ae_title.clone(),
    };
    let mover = face.movers.borrow().get(&to).cloned();
    let mover = mover.filter(|mover| request.operation != Operation::Move || mover.can_call());
    let unknown = || refuse(Status::DESTINATION_UNKNOWN, "the move destination has no address here", None);
    let mover = mover.ok_or_else(|| Box::new(unknown()))?;
    let asked = Asked::read(request, root, &Charset::declared(node.charset.as_bytes()))?;
    let (picked, sought) = picked(face, &registry, node, &asked).await?;
    let studies = sought.studies.clone();
    let sought = face.records.may_be_sought(sought).await.map_err(|error| Box::new(unreadable(&error)))?;
    let patient = asked.values(PATIENT_ID).first().cloned();
    Ok(Prepared { to, mover, picked, sought, studies, patient })
}

/// A destination is a node that may receive; whoever asks is that node, or lists it in `move_to` (DIM-081).
async fn destination(
    face: &DimseFace,
    registry: &Registry,
    node: &Node,
    named: &str,
) -> Result<AeTitle, Box<QueryAnswer>> {
    let title = AeTitle::parse(named).ok();
    let Some(to) = title.as_ref().and_then(|title| registry.node(title)) else {
        return Err(Box::new(refuse(
            Status::DESTINATION_UNKNOWN,
            "the move destination is no node of this site",
            None,
        )));
    };
    let listed = to.ae_title == node.ae_title || node.move_to.contains(&to.ae_title);
    if listed && to.may.receive {
        return Ok(to.ae_title.clone());
    }
    face.records.refused("move", &format!("{} may not move to {}", node.ae_title, to.ae_title)).await;
    Err(Box::new(refuse(Status::NOT_AUTHORISED, "this node may not move to that destination", None)))
}

/// What the identifier means, here and at other sites; A900 where it means nothing that can be given (DIM-080).
async fn picked(
    face: &DimseFace,
    registry: &Registry,
    node: &Node,
    asked: &Asked,
) -> Result<(Picked, Picked), Box<QueryAnswer>> {
    let own = asked.own_key();
    let given = asked.values(own);
    if given.is_empty() || (own == PATIENT_ID && given.iter().any(|id| id.contains(['*', '?', '\\']))) {
        return Err(Box::new(refuse(Status::IDENTIFIER_MISMATCH, "the unique key of the level is missing", Some(own))));
    }
    let uids = |tag| asked.values(tag).iter();
    let mut picked = Picked {
        studies: uids(STUDY_INSTANCE_UID).filter_map(|uid| StudyUid::parse(uid).ok()).collect(),
        series: uids(SERIES_INSTANCE_UID).filter_map(|uid| SeriesUid::parse(uid).ok()).collect(),
        instances: uids(SOP_INSTANCE_UID).filter_map(|uid| InstanceUid::parse(uid).ok()).collect(),
    };
    if let [patient] = asked.values(PATIENT_ID) {
        let walk = Walk { studies: picked.studies.clone(), ..Walk::default() };
        let named = std::mem::replace(&mut picked.studies, of_patient(face, registry, node, patient, walk).await?);
        // Only patient-level retrieval stays here. A study that is here and not this patient's is not asked for elsewhere.
        let mut sought = picked.clone();
        for study in named.into_iter().filter(|study| !picked.studies.contains(study)) {
            // A copy is asked for again: its site may file it under this patient by now.
            if face.records.is_only_pulled(&study).await.map_err(|error| Box::new(unreadable(&error)))? {
                sought.studies.push(study);
            }
        }
        return Ok((picked, sought));
    }
    Ok((picked.clone(), picked))
}

/// Tells whether a study that was not here when it was asked for is of the patient who was named.
pub(super) struct Proof<'a> {
    face: &'a DimseFace,
    registry: Arc<Registry>,
    node: &'a Node,
    patient: String,
}

impl Proof<'_> {
    /// Whether the study is here and the node is shown it under that patient.
    pub(super) async fn holds(&self, study: &StudyUid) -> bool {
        let walk = Walk { studies: vec![study.clone()], ..Walk::default() };
        let found = of_patient(self.face, &self.registry, self.node, &self.patient, walk).await;
        found.is_ok_and(|studies| studies.contains(study))
    }
}

/// What is given of what is here: also of studies that were not before an archive brought them, if they are of the patient who was named.
pub(super) async fn here_by_now(
    face: &DimseFace,
    picked: &Picked,
    sought: &Picked,
    proof: Option<&Proof<'_>>,
) -> Result<Expected, RecordsError> {
    let mut picked = picked.clone();
    for study in &sought.studies {
        if let Some(proof) = proof
            && !picked.studies.contains(study)
            && proof.holds(study).await
        {
            picked.studies.push(study.clone());
        }
    }
    // An empty list of studies would mean all of them.
    match picked.studies.is_empty() {
        true => Ok(Expected::default()),
        false => face.records.expected(picked).await,
    }
}

/// The names of what is expected.
async fn names_of(
    face: &DimseFace,
    studies: &[StudyUid],
    expected: &Expected,
) -> Result<BTreeSet<InstanceUid>, RecordsError> {
    let mut names = BTreeSet::new();
    for study in studies {
        let held = face.records.held_of(study).await?.into_iter();
        let given = held.filter(|held| expected.instances.binary_search_by_key(&held.instance, |(id, _)| *id).is_ok());
        names.extend(given.map(|held| held.sop_instance));
    }
    Ok(names)
}

/// What is given of what was asked for, beside what archives brought and was given at once.
struct Plan {
    /// The names of what is here, where it matters whether one of them is.
    names: BTreeSet<InstanceUid>,
    /// What archives brought, or did not.
    archived: Brought,
}

/// What archives bring first, each instance given as it comes; then what is here besides and what other sites list.
async fn planned(
    face: &DimseFace,
    caller: &Caller,
    node: &Node,
    prepared: &Prepared,
    way: Way<'_>,
    given: &mut Given<'_, '_>,
) -> Result<Plan, RecordsError> {
    let sought = &prepared.sought;
    let mut archived = archived::brought(face, caller, prepared, way, given).await;
    let mut expected = here_by_now(face, &prepared.picked, sought, given.proof.as_ref()).await?;
    // The requester hears from us before other sites are asked, which may take seconds (DIM-083).
    let left = expected.instances.iter().filter(|(id, _)| !given.early.contains(id)).count();
    given.counts.remaining = Some(left as u64);
    given.tell().await;
    let (counts, dialogue) = (given.counts, &mut *given.dialogue);
    let behalf = face.registry.borrow().behalf_of_node(&node.ae_title);
    // Who cancels waits for nobody else (DIM-086).
    let asking = face.fetcher.gather(sought, None, &behalf);
    let gathered = if archived.unbegun == 0 { unless_over(dialogue, counts, asking).await } else { None };
    let mut gathering = match gathered {
        Some(gathered) => gathered?,
        None => {
            archived.unbegun = archived.unbegun.max(1);
            Gathering::default()
        }
    };
    if gathering.asked {
        // What came while they were asked is given too, and is not awaited besides.
        expected = here_by_now(face, &prepared.picked, sought, given.proof.as_ref()).await?;
        expected.instances.retain(|(id, _)| !gathering.withdrawn.contains(id));
    }
    let mut names = match gathering.asked || !archived.lacking.is_empty() {
        true => names_of(face, &sought.studies, &expected).await?,
        false => BTreeSet::new(),
    };
    names.extend(given.early_names.iter().cloned());
    gathering.are_here(&names);
    given.expects(expected, gathering);
    Ok(Plan { names, archived })
}

/// The studies of the patient whom the node is shown under this number. A number that several parties issued is nobody's.
async fn of_patient(
    face: &DimseFace,
    registry: &Registry,
    node: &Node,
    patient: &str,
    mut walk: Walk,
) -> Result<Vec<StudyUid>, Box<QueryAnswer>> {
    let (mut studies, mut issuers) = (Vec::new(), BTreeSet::new());
    // Of our own senders: whether the entry of one names an issuer, and whether that of another names none.
    let (mut named_ours, mut unnamed_ours) = (false, false);
    // A number of the NHS is held in several forms; C-FIND shows its studies whichever was asked for.
    let named = face.priors.named(registry, node, patient, None);
    let told = |origin: &Origin, held: &Texts| {
        let Some(named) = named.as_ref().filter(|named| named.nhs.is_some()) else { return false };
        let number = held.0.get(&PATIENT_ID).and_then(|id| NhsNumber::parse(id).ok());
        number == named.nhs && named.is_told_by(registry, origin, &held.0)
    };
    walk.patient_ids = held_as(node, patient);
    walk.patient_ids.extend(named.iter().filter_map(|named| named.nhs).flat_map(|nhs| nhs.forms()));
    loop {
        let rows = face.records.walk_studies(walk.clone()).await.map_err(|error| unreadable(&error))?;
        let Some(last) = rows.last() else { break };
        walk.after = last.row;
        for row in rows {
            let StudyRow { study, attributes, origin, .. } = row;
            let meant = told(&origin, &attributes);
            let Some(values) = shown(registry, node, &origin, attributes) else { continue };
            if patient_of(&values) != Some(patient) && !meant {
                continue;
            }
            // Two nodes of this site may give the same number to two people, as two sites may (IDY-040).
            match issued_by(registry, &origin, &values) {
                // The NHS issued it, whoever holds it.
                _ if meant => drop(issuers.insert("NHS".to_owned())),
                Some((issuer, said)) => {
                    named_ours |= !said && origin.site().is_none();
                    issuers.insert(if is_issuer(&issuer) { "NHS".to_owned() } else { issuer });
                }
                None => unnamed_ours = true,
            }
            studies.push(study);
        }
    }
    // Who names none passes on the numbers of who does.
    match issuers.len() + usize::from(unnamed_ours && !named_ours) {
        0 | 1 => Ok(studies),
        _ => {
            let why = "several parties issued this Patient ID; name a study";
            Err(Box::new(refuse(Status::IDENTIFIER_MISMATCH, why, Some(PATIENT_ID))))
        }
    }
}

/// What is asked for is not here, and a site that may have it does not say: that is no success without sub-operations, which would
/// mean that there is nothing ("A silent site is visible"). What is here is given, and the log and the comment say how old it is.
fn silence(nothing: bool, gathering: &Gathering) -> Option<QueryAnswer> {
    for silent in &gathering.silent {
        let checked = silent.checked.map_or("never".to_owned(), |at| {
            at.elapsed().map_or("just now".to_owned(), |ago| format!("{} s ago", ago.as_secs()))
        });
        tracing::warn!(site = silent.site, study = %silent.study, checked,
            "a site does not say what it has of a study; what is here of it is given as it was when the site was last asked");
    }
    let why = gathering.unsaid()?;
    nothing.then(|| refuse(Status::NO_SUB_OPERATIONS, &why, None))
}

async fn run(
    face: &DimseFace,
    caller: &Caller,
    node: &Node,
    request: &QueryRequest,
    plan: Prepared,
    dialogue: &mut Dialogue<'_>,
) -> QueryAnswer {
    let Ok(_seat) = face.retrievals.try_acquire() else {
        return refuse(Status::NO_SUB_OPERATIONS, "too many retrievals at once; ask again later", None);
    };
    let proof = plan.patient.clone().map(|patient| {
        let registry = Arc::clone(&face.registry.borrow());
        Proof { face, registry, node, patient }
    });
    let began = RetrievalBegan {
        operation: if request.operation == Operation::Move { "C-MOVE" } else { "C-GET" },
        node: caller.node().to_string(),
        purpose: face.registry.borrow().behalf_of_node(caller.node()).purpose,
        destination: plan.to.to_string(),
        studies: plan.studies.clone(),
        instances: 0,
    };
    let mut given = Given::new(&face.records, &plan.mover, dialogue, began);
    given.proof = proof;
    let originator = (caller.node().to_string(), request.message_id);
    let way = match request.operation {
        Operation::Move => Way::Move(Box::default(), &originator),
        _ => Way::Get(&caller.receives),
    };
    match planned(face, caller, node, &plan, way, &mut given).await {
        Ok(Plan { names, archived }) => {
            let nothing = given.is_nothing();
            if let Some(answer) = silence(nothing, &given.gathering).or_else(|| archived.silence(nothing)) {
                return answer;
            }
            given.lack(&archived, &names);
        }
        Err(error) if given.entry().is_none() => return unreadable(&error),
        // Some of it was given already: how that ended is told and entered.
        Err(error) => {
            tracing::error!(error = %error, "a retrieval cannot go on");
            given.breaks_off("the records cannot be read now");
        }
    }
    let entry = match given.begin().await {
        Ok(entry) => entry,
        Err(error) => {
            tracing::error!(error = %error, "a retrieval could not be entered in the ledger");
            return refuse(Status::NO_SUB_OPERATIONS, "the gateway's storage has failed; see its administrator", None);
        }
    };
    match request.operation {
        Operation::Move => given.moved(originator).await,
        _ => given.got(&caller.receives).await,
    }
    let ended = given.ended();
    tracing::info!(node = %caller.node(), destination = %plan.to, how = ended.how, completed = ended.completed,
        warning = ended.warning, failed = ended.failed, remaining = ended.remaining, "retrieval ended");
    if let Err(error) = face.records.retrieval_ended(entry, ended).await {
        tracing::error!(error = %error, "the end of a retrieval could not be entered in the ledger");
    }
    given.answer(request)
}
