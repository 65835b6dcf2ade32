//! C-MOVE and C-GET over what is held: what is meant, who is given it, and how the sub-operations are counted (PS3.4 sections C.4.2, C.4.3).

use super::asked::{Asked, Root};
use super::given::Given;
use super::shown::{held_as, patient_of, shown};
use super::{Caller, DimseFace};
use crate::courier::mover::Mover;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::*;
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dimse::{Dialogue, Operation, QueryAnswer, QueryRequest, Status};
use crate::peers::{Node, Registry};
use crate::records::{Picked, RecordsError, RetrievalBegan, StudyRow, Walk};
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
    match prepared(face, node, request, root).await {
        Ok(plan) => run(face, caller, request, plan, dialogue).await,
        Err(refused) => *refused,
    }
}

/// A retrieval that may begin.
struct Prepared {
    to: AeTitle,
    mover: Arc<Mover>,
    picked: Picked,
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
    let asked = Asked::read(request, root)?;
    let picked = picked(face, &registry, node, &asked).await?;
    Ok(Prepared { to, mover, picked })
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

/// What the identifier means; A900 where it means nothing that can be given (DIM-080).
async fn picked(face: &DimseFace, registry: &Registry, node: &Node, asked: &Asked) -> Result<Picked, Box<QueryAnswer>> {
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
        let ids = held_as(node, patient);
        let walk = Walk { studies: picked.studies.clone(), patient_ids: ids, ..Walk::default() };
        picked.studies = of_patient(face, registry, node, patient, walk).await?;
    }
    Ok(picked)
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
    loop {
        let rows = face.records.walk_studies(walk.clone()).await.map_err(|error| unreadable(&error))?;
        let Some(last) = rows.last() else { break };
        walk.after = last.row;
        for row in rows {
            let StudyRow { study, attributes, origin, .. } = row;
            let Some(values) = shown(registry, node, &origin, attributes) else { continue };
            if patient_of(&values) != Some(patient) {
                continue;
            }
            let peer = origin.site().unwrap_or_default().to_owned();
            issuers
                .insert(values.get(&ISSUER_OF_PATIENT_ID).filter(|issuer| !issuer.is_empty()).cloned().unwrap_or(peer));
            studies.push(study);
        }
    }
    match issuers.len() {
        0 | 1 => Ok(studies),
        _ => {
            let why = "several parties issued this Patient ID; name a study";
            Err(Box::new(refuse(Status::IDENTIFIER_MISMATCH, why, Some(PATIENT_ID))))
        }
    }
}

async fn run(
    face: &DimseFace,
    caller: &Caller,
    request: &QueryRequest,
    plan: Prepared,
    dialogue: &mut Dialogue<'_>,
) -> QueryAnswer {
    let Ok(_seat) = face.retrievals.try_acquire() else {
        return refuse(Status::NO_SUB_OPERATIONS, "too many retrievals at once; ask again later", None);
    };
    // An empty list of studies would mean all of them.
    let found = match plan.picked.studies.is_empty() {
        true => Ok(Default::default()),
        false => face.records.expected(plan.picked.clone()).await,
    };
    let expected = match found {
        Ok(expected) => expected,
        Err(error) => return unreadable(&error),
    };
    let began = RetrievalBegan {
        operation: if request.operation == Operation::Move { "C-MOVE" } else { "C-GET" },
        node: caller.node.to_string(),
        destination: plan.to.to_string(),
        studies: plan.picked.studies,
        instances: expected.instances.len() as u64,
    };
    let entry = match face.records.retrieval_began(began).await {
        Ok(entry) => entry,
        Err(error) => {
            tracing::error!(error = %error, "a retrieval could not be entered in the ledger");
            return refuse(Status::NO_SUB_OPERATIONS, "the gateway's storage has failed; see its administrator", None);
        }
    };
    let mut given = Given::new(&face.records, &plan.mover, dialogue, &expected);
    match request.operation {
        Operation::Move => given.moved((caller.node.to_string(), request.message_id)).await,
        _ => given.got(&caller.receives).await,
    }
    let ended = given.ended();
    tracing::info!(node = %caller.node, destination = %plan.to, how = ended.how, completed = ended.completed,
        warning = ended.warning, failed = ended.failed, remaining = ended.remaining, "retrieval ended");
    if let Err(error) = face.records.retrieval_ended(entry, ended).await {
        tracing::error!(error = %error, "the end of a retrieval could not be entered in the ledger");
    }
    given.answer(request)
}
