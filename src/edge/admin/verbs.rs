//! What a person decides about transfers: retry, hold, release, cancel, expedite; and about destinations: pause, resume.

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::dicom::uid::StudyUid;
use crate::ledger::transfer::{self, TransferId};
use crate::peers::Destination;
use crate::records::{Selection, Verb};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// The longest profile of a peer that is kept, in bytes.
const PROFILE_BYTES: usize = 64 << 10;

/// What the command line sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Transfers by number.
    pub(crate) ids: Vec<i64>,
    /// Or all of a study.
    pub(crate) study: Option<String>,
    /// Or all to a destination; narrows a study.
    pub(crate) destination: Option<String>,
    /// Of these only those in a state.
    #[serde(default)]
    pub(crate) state: Option<String>,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

/// What the command line sends about a destination.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// Which.
    pub(crate) destination: String,
    /// Whether it is paused, or resumed.
    pub(crate) paused: bool,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

pub(super) async fn pause(State(face): State<AdminFace>, Posted(asked): Posted<Pause>) -> Response {
    let destination = Destination(asked.destination);
    if asked.paused && face.registry.borrow().destination(&destination).is_none() {
        return problem(StatusCode::BAD_REQUEST, &format!("{destination} is neither a peer nor a node of this site"));
    }
    let now = SystemTime::now();
    match face.records.pause(&destination, asked.paused, &asked.who, &asked.reason, now).await {
        Ok(changed) => Json(serde_json::json!({"changed": changed})).into_response(),
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}

/// Keeps what a peer was found to do (WEB-073).
pub(super) async fn profile(State(face): State<AdminFace>, Posted(found): Posted<serde_json::Value>) -> Response {
    let peer = Destination(found["peer"].as_str().unwrap_or_default().to_owned());
    let text = found.to_string();
    if text.len() > PROFILE_BYTES || face.registry.borrow().destination(&peer).is_none() {
        return problem(StatusCode::BAD_REQUEST, "a profile names a peer of this site and is short");
    }
    match face.records.keep_profile(&peer.0, &text, SystemTime::now()).await {
        Ok(()) => Json(serde_json::json!({"kept": true})).into_response(),
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}

/// Of so many transfers that were left as they are it is told why.
const TOLD: usize = 20;

pub(super) async fn decide(
    State(face): State<AdminFace>,
    Path(verb): Path<String>,
    Posted(request): Posted<Request>,
) -> Response {
    let known = Verb::ALL.into_iter().find(|known| known.word() == verb);
    let Some(decision) = known else {
        return problem(StatusCode::NOT_FOUND, &format!("{verb} is not something to do with transfers"));
    };
    let study = match request.study.as_deref().map(StudyUid::parse).transpose() {
        Ok(study) => study,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let state = match request.state.as_deref().map(|word| transfer::State::parse(word).ok_or(word)).transpose() {
        Ok(state) => state,
        Err(word) => {
            let known = transfer::State::ALL.map(transfer::State::word).join(", ");
            let why = format!("{word} is not a state of a transfer; known: {known}");
            return problem(StatusCode::BAD_REQUEST, &why);
        }
    };
    let selection = match request.ids.is_empty() {
        true => Selection::Matching { study, destination: request.destination.map(Destination), state },
        false => Selection::Transfers(request.ids.into_iter().map(TransferId).collect()),
    };
    match face.records.act(decision, selection, &request.who, &request.reason, SystemTime::now()).await {
        Ok(acted) => {
            let why: Vec<_> = acted.skipped.iter().take(TOLD).map(|(id, why)| serde_json::json!([id.0, why])).collect();
            let skipped = acted.skipped.len();
            Json(serde_json::json!({"changed": acted.changed, "skipped": skipped, "why": why})).into_response()
        }
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}
