//! What a person decides about transfers: retry, hold, release, cancel.

use super::{AdminFace, problem};
use crate::dicom::uid::StudyUid;
use crate::ledger::transfer::TransferId;
use crate::peers::Destination;
use crate::records::{Decision, Selection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};

/// What the command line sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Transfers by number.
    pub(crate) ids: Vec<i64>,
    /// Or all of a study.
    pub(crate) study: Option<String>,
    /// Or all to a destination; narrows a study.
    pub(crate) destination: Option<String>,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

pub(super) async fn decide(State(face): State<AdminFace>, Path(verb): Path<String>, Json(request): Json<Request>) -> Response {
    let Some(decision) = Decision::parse(&verb) else {
        return problem(StatusCode::NOT_FOUND, &format!("{verb} is not something to do with transfers"));
    };
    let study = match request.study.as_deref().map(StudyUid::parse).transpose() {
        Ok(study) => study,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let destination = request.destination.map(Destination);
    if request.ids.is_empty() && study.is_none() && destination.is_none() {
        return problem(StatusCode::BAD_REQUEST, "say which transfers: numbers, a study or a destination");
    }
    let ids = request.ids.into_iter().map(TransferId).collect();
    let selection = Selection { ids, study, destination: destination.clone() };
    match face.records.decide(decision, selection, &request.who, &request.reason).await {
        Ok(changed) => {
            match &destination {
                Some(destination) => face.courier.wake(destination),
                None => face.courier.wake_all(),
            }
            Json(serde_json::json!({"changed": changed})).into_response()
        }
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}
