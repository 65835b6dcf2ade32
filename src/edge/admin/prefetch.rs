//! Having a patient's priors pulled ahead, by the rules of `[[prefetch]]`, for whoever can speak to the admin socket.

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::nhs_number::is_issuer;
use crate::peers::Origin;
use crate::priors::prefetch::{Taken, of_patient};
use crate::priors::whom;
use crate::records::{PrefetchCause, RecordsError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most modalities of one request.
const MOST_MODALITIES: usize = 16;

/// Whose priors are wanted: exactly one of patient and nhs. `Debug` is not derived: it names a patient.
#[derive(Serialize, Deserialize)]
pub(crate) struct PrefetchAsked {
    /// Patient ID of this site, or of `issuer`.
    pub(crate) patient: Option<String>,
    /// Who issued it.
    pub(crate) issuer: Option<String>,
    /// An NHS number.
    pub(crate) nhs: Option<String>,
    /// Patient's Birth Date as YYYYMMDD, if it is known: the cross-reference believes nobody whose date differs.
    pub(crate) birth_date: Option<String>,
    /// Modalities of the examination that they are wanted for; none: only rules for any modality concern it.
    #[serde(default)]
    pub(crate) modality: Vec<String>,
    /// Who asks; the other sites are told.
    pub(crate) who: String,
    /// An id of the caller's: the same id of the same caller again changes nothing. One is made up if it is absent.
    pub(crate) id: Option<String>,
}

/// Answers 202 with the number of the prefetch and the rules that concern it, 200 if the caller's id is known already, 409 if it is known
/// for another patient.
pub(super) async fn prefetch(State(face): State<AdminFace>, Posted(asked): Posted<PrefetchAsked>) -> Response {
    let wrong = |why: &str| problem(StatusCode::BAD_REQUEST, why);
    let own = face.registry.borrow().issuer(&Origin::Operator(String::new()));
    let patient = match (&asked.patient, &asked.nhs) {
        (Some(id), None) => {
            let issuer = asked.issuer.clone().unwrap_or(own);
            whom::patient(id, &issuer, is_issuer(&issuer))
        }
        (None, Some(number)) => whom::patient(number, "NHS", true).filter(|patient| patient.nhs.is_some()),
        _ => return wrong("name one of: `patient`, a Patient ID, or `nhs`, an NHS number"),
    };
    let Some(patient) = patient else {
        return wrong(
            "that number names nobody: an NHS number has ten digits, of which the last checks the others; a Patient ID has no wildcards",
        );
    };
    if asked.modality.len() > MOST_MODALITIES || asked.modality.iter().any(|one| AeTitle::parse(one).is_err()) {
        return wrong("`modality` is a list of at most 16 words, such as [\"CT\"]");
    }
    if asked.who.trim().is_empty() || asked.who.len() > 64 || asked.id.as_ref().is_some_and(|id| id.len() > 128) {
        return wrong("`who` names who asks, in 64 bytes at most; `id` has 128 at most");
    }
    let rules = face.prefetcher.concerned(&asked.modality);
    if rules.is_empty() {
        return problem(StatusCode::CONFLICT, "no rule of [[prefetch]] concerns it; nothing is pulled");
    }
    let made_up = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let cause = PrefetchCause::request(&asked.who, &asked.id.clone().unwrap_or_else(made_up));
    let birth_date = asked.birth_date.clone().unwrap_or_default();
    let what = of_patient(cause, format!("user {}", asked.who), &patient, &birth_date, asked.modality);
    match face.prefetcher.ask(what).await {
        Ok(Taken::New(id)) => (StatusCode::ACCEPTED, Json(json!({ "prefetch": id, "rules": rules }))).into_response(),
        Ok(Taken::Known) => Json(json!({ "prefetch": null, "rules": rules })).into_response(),
        Ok(Taken::Another) => {
            problem(StatusCode::CONFLICT, "that id is known already, and was for another patient; nothing is pulled")
        }
        Err(error @ RecordsError::Refused(_)) => problem(StatusCode::TOO_MANY_REQUESTS, &error.to_string()),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}
