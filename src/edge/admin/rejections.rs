//! What a person undoes of rejection notes (WEB-105).

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::dicom::uid::InstanceUid;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// What the command line sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Undo {
    /// The note's SOP Instance UID.
    pub(crate) note: String,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

pub(super) async fn undo(State(face): State<AdminFace>, Posted(asked): Posted<Undo>) -> Response {
    let note = match InstanceUid::parse(&asked.note) {
        Ok(note) => note,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match face.records.lift_rejection(&note, &asked.who, &asked.reason, SystemTime::now()).await {
        Ok(()) => Json(serde_json::json!({"undone": note.as_str()})).into_response(),
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}
