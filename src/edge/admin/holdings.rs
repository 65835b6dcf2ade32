//! `weybridge send` of what is held, here or at an archive: which studies are meant, without taking one person's for another's, and the order itself.

use super::posted::Posted;
use super::{AdminFace, archived, problem};
use crate::dicom::uid::StudyUid;
use crate::peers::{Destination, Origin, Party, Priority, Registry, Verify};
use crate::records::{Holding, Order, Wanted};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

/// Which studies a person means: exactly one of study, accession and patient. `Debug` is not derived: it names a patient.
#[derive(Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Study Instance UID.
    pub(crate) study: Option<String>,
    /// Accession Number.
    pub(crate) accession: Option<String>,
    /// Patient ID.
    pub(crate) patient: Option<String>,
    /// Who issued the number.
    pub(crate) issuer: Option<String>,
    /// Only what came from this node or peer.
    pub(crate) from: Option<String>,
}

/// A study that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Study Instance UID.
    pub(crate) study_instance_uid: String,
    /// Study Date, as it was received.
    pub(crate) study_date: Option<String>,
    /// Who issued its Patient ID, by the object or else by who sent it.
    pub(crate) issuers: Vec<String>,
    /// Nodes and peers that sent it.
    pub(crate) sources: Vec<String>,
    /// Instances that can be sent, here or at an archive.
    pub(crate) instances: u64,
    /// The bytes of those that are here.
    pub(crate) bytes: u64,
    /// Versions that cannot be sent.
    pub(crate) unsendable: u64,
}

/// An order for one study.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instruction {
    /// Study Instance UID.
    pub(crate) study: String,
    /// Only what came from this node or peer.
    pub(crate) from: Option<String>,
    /// Where to.
    pub(crate) to: String,
    /// Whether somebody waits for it.
    pub(crate) urgent: bool,
    /// Also what is there already.
    pub(crate) again: bool,
    /// Who orders it.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

pub(super) async fn find(State(face): State<AdminFace>, Posted(asked): Posted<Asked>) -> Response {
    let registry = Arc::clone(&face.registry.borrow());
    if let Some(from) = &asked.from
        && registry.destination(&Destination(from.clone())).is_none()
    {
        return problem(StatusCode::BAD_REQUEST, &format!("{from} is neither a node nor a peer of this site"));
    }
    let wanted = match wanted(&asked) {
        Ok(wanted) => wanted,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let by_number = !matches!(wanted, Wanted::Study(_));
    let mut holdings = match face.records.holdings(wanted.clone(), asked.from.clone()).await {
        Ok(holdings) => holdings,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let archived = archived::find(&face, &wanted, asked.from.as_deref(), &holdings).await;
    holdings.extend(archived.holdings);
    let issued = |holding: &Holding| issuers(holding, &registry);
    let meant = |holding: &&Holding| asked.issuer.as_ref().is_none_or(|issuer| issued(holding).contains(issuer));
    let chosen: Vec<&Holding> = holdings.iter().filter(meant).collect();
    // IDY-046: a bare number is no key. Whose it is must be beyond doubt before anything leaves.
    let owners: BTreeSet<_> = chosen.iter().map(|holding| (&holding.patient_id, issued(holding))).collect();
    let doubtful = by_number && (owners.len() > 1 || owners.iter().any(|(_, issuers)| issuers.len() > 1));
    let mut studies: Vec<Held> = chosen.iter().map(|holding| held(holding, issued(holding))).collect();
    for study in &mut studies {
        let more = archived.more.iter().find(|(uid, _)| uid.as_str() == study.study_instance_uid);
        study.instances = more.map_or(study.instances, |(_, instances)| *instances);
    }
    let silent = archived.silent;
    Json(serde_json::json!({"studies": studies, "doubtful": doubtful, "silent_archives": silent})).into_response()
}

fn wanted(asked: &Asked) -> Result<Wanted, String> {
    let plain = |text: &String| text.trim().to_owned();
    let wanted = match (&asked.study, &asked.accession, &asked.patient) {
        (Some(study), None, None) => Wanted::Study(StudyUid::parse(study.trim()).map_err(|error| error.to_string())?),
        (None, Some(number), None) => Wanted::Accession(plain(number)),
        (None, None, Some(id)) => Wanted::Patient(plain(id)),
        _ => return Err("say which: a study, an accession number or a patient".into()),
    };
    match &wanted {
        Wanted::Accession(number) | Wanted::Patient(number) if number.is_empty() => {
            Err("an empty number means nobody".into())
        }
        _ => Ok(wanted),
    }
}

/// Who issued the number of a study's patient: as the objects say; else the issuer of each who sent them, or their name.
fn issuers(holding: &Holding, registry: &Registry) -> Vec<String> {
    if let Some(issuer) = holding.issuer.as_ref().filter(|issuer| !issuer.is_empty()) {
        return vec![issuer.clone()];
    }
    let of = |origin: &Origin| registry.issuer(origin);
    holding.origins.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
}

fn held(holding: &Holding, issuers: Vec<String>) -> Held {
    Held {
        study_instance_uid: holding.study.to_string(),
        study_date: holding.study_date.clone(),
        issuers,
        sources: holding.origins.iter().map(|origin| origin.name().to_owned()).collect(),
        instances: holding.instances,
        bytes: holding.bytes,
        unsendable: holding.unsendable,
    }
}

/// What makes a transfer to the destination done; or why nothing can be sent there.
pub(super) fn verify_at(registry: &Registry, destination: &Destination) -> Result<Verify, String> {
    match registry.destination(destination) {
        Some(Party::Peer(peer)) => Ok(peer.verify),
        Some(Party::Node(node)) if node.may.receive => Ok(node.verify),
        Some(Party::Node(_)) => Err(format!("{destination} may not receive; add \"receive\" to its `may`")),
        None => Err(format!("{destination} is neither a peer nor a node of this site")),
    }
}

pub(super) async fn order(State(face): State<AdminFace>, Posted(said): Posted<Instruction>) -> Response {
    let destination = Destination(said.to);
    let registry = Arc::clone(&face.registry.borrow());
    let verify = match verify_at(&registry, &destination) {
        Ok(verify) => verify,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let study = match StudyUid::parse(&said.study) {
        Ok(study) => study,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    // What an archive holds of it is owed only once it is here.
    let (not_given, why) = match archived::bring(&face, &study, said.from.as_deref()).await {
        Ok(brought) => brought,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let order = Order {
        study,
        from: said.from,
        destination,
        verify,
        priority: if said.urgent { Priority::Urgent } else { Priority::Routine },
        who: said.who,
        reason: said.reason,
        again: said.again,
        resend_after: face.resend_after,
        now: SystemTime::now(),
    };
    match face.records.order(order).await {
        Ok(ordered) => Json(serde_json::json!({
            "owed": ordered.owed,
            "under_way": ordered.under_way,
            "done": ordered.done,
            "came_from_there": ordered.came_from_there,
            "unsendable": ordered.unsendable,
            "not_given": not_given,
            "why_not_given": why,
        }))
        .into_response(),
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}
