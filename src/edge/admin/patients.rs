//! The cross-reference of patients' numbers: what the command line brings and takes back.

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::dicom::cross_reference::{LocalId, Said, birth_date};
use crate::dicom::nhs_number::NhsNumber;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// One statement. `Debug` is not derived: it names a patient.
#[derive(Serialize, Deserialize)]
pub(crate) struct Line {
    /// Who issued the local number.
    pub(crate) issuer: String,
    /// The local number.
    pub(crate) id: String,
    /// The NHS number of the same person.
    pub(crate) number: String,
    /// That person's birth date, YYYYMMDD.
    pub(crate) birth_date: String,
}

/// Statements of one source, 1,000 at most.
#[derive(Serialize, Deserialize)]
pub(crate) struct Learn {
    /// The statements.
    pub(crate) lines: Vec<Line>,
    /// The name of the source.
    pub(crate) source: String,
    /// Who brings them.
    pub(crate) who: String,
}

/// What a source said of a number is taken back.
#[derive(Serialize, Deserialize)]
pub(crate) struct Unlearn {
    /// Who issued the local number.
    pub(crate) issuer: String,
    /// The local number.
    pub(crate) id: String,
    /// The source.
    pub(crate) source: String,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

fn statement(line: &Line) -> Option<(LocalId, Said)> {
    let who = LocalId::new(&line.issuer, &line.id)?;
    let number = NhsNumber::parse(&line.number).ok().filter(|number| !number.is_test())?;
    Some((who, Said { number, birth_date: birth_date(&line.birth_date)? }))
}

pub(super) async fn learn(State(face): State<AdminFace>, Posted(said): Posted<Learn>) -> Response {
    let Some(statements) = said.lines.iter().map(statement).collect::<Option<Vec<_>>>() else {
        return problem(StatusCode::BAD_REQUEST, "one of the statements is none; nothing of these was kept");
    };
    match face.records.learn(statements, &said.source, &said.who, SystemTime::now()).await {
        Ok(learned) => Json(serde_json::json!({"new": learned.new, "known": learned.known, "beyond": learned.beyond}))
            .into_response(),
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}

pub(super) async fn unlearn(State(face): State<AdminFace>, Posted(said): Posted<Unlearn>) -> Response {
    let Some(who) = LocalId::new(&said.issuer, &said.id) else {
        return problem(StatusCode::BAD_REQUEST, "a number and its issuer have 1 to 64 characters");
    };
    match face.records.unlearn(who, &said.source, &said.who, &said.reason, SystemTime::now()).await {
        Ok(gone) => Json(serde_json::json!({"statements": gone})).into_response(),
        Err(error) => problem(StatusCode::CONFLICT, &error.to_string()),
    }
}
