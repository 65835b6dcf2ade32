//! What a person asks of the store: purge now, drop the bytes of a study, look at a blob that was found damaged.

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::janitor::JanitorError;
use crate::records::{BlobId, InstanceId, Purging, RecordsError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Instances of one commit.
const PAGE: usize = 500;

/// Drop the bytes of a study or an instance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drop {
    /// Study Instance UID or SOP Instance UID.
    pub(crate) uid: String,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

/// Who asks for something, and perhaps why.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct By {
    /// Who; an older command says nothing of it, and is told that a name is needed.
    #[serde(default)]
    pub(crate) who: String,
    /// Why; may be empty.
    #[serde(default)]
    pub(crate) reason: String,
}

/// Look at blobs that were found damaged.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Examine {
    /// Their generations.
    pub(crate) blobs: Vec<i64>,
}

pub(super) async fn purge(State(face): State<AdminFace>, Posted(asked): Posted<By>) -> Response {
    match face.janitor.purge_for(Some((&asked.who, &asked.reason))).await {
        Ok(report) => Json(json!({
            "by_age": report.by_age,
            "for_room": report.for_room,
            "bytes": report.bytes,
            "paused": report.is_paused,
        }))
        .into_response(),
        Err(error) => failed(&error),
    }
}

/// A person says that the records in place were meant to be begun. That records are the right ones for other blobs is said while no
/// gateway runs.
pub(super) async fn accept(State(face): State<AdminFace>, Posted(asked): Posted<By>) -> Response {
    if face.store.is_doubted() {
        return Json(json!({"doubted": true})).into_response();
    }
    match face.records.beginning_was_meant(&asked.who, &asked.reason, SystemTime::now()).await {
        Ok(meant) => Json(json!({"doubted": false, "meant": meant})).into_response(),
        Err(error) => failed(&error.into()),
    }
}

/// The times before which something must have been done to be due now, in microseconds since 1970, by the clock that is believed.
pub(super) async fn due(State(face): State<AdminFace>) -> Response {
    let micros = |at: SystemTime| {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    };
    let due = face.janitor.due();
    Json(json!({"by_age": micros(due.by_age), "for_room": micros(due.for_room)})).into_response()
}

pub(super) async fn drop_bytes(State(face): State<AdminFace>, Posted(asked): Posted<Drop>) -> Response {
    match try_drop(&face, &asked).await {
        Ok(Some(value)) => Json(value).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, &format!("this site holds nothing of {}", asked.uid)),
        Err(Failed::Asked(why)) => problem(StatusCode::BAD_REQUEST, &why),
        Err(Failed::Janitor(error)) => failed(&error),
    }
}

/// Free and move nothing for a while: a backup is being made.
#[derive(Debug, Deserialize)]
pub(super) struct Pause {
    /// So long from now, an hour at most; 0 ends it.
    seconds: u64,
    /// Which backup it is; another's pause is not its own.
    #[serde(default)]
    by: String,
}

/// The longest name of a backup, in bytes.
const NAME_BYTES: usize = 100;

pub(super) async fn pause(State(face): State<AdminFace>, Posted(asked): Posted<Pause>) -> Response {
    if asked.by.len() > NAME_BYTES {
        return problem(StatusCode::BAD_REQUEST, "the name of a backup is short");
    }
    match face.janitor.pause(&asked.by, Duration::from_secs(asked.seconds.min(3600))).await {
        true => Json(json!({"paused_seconds": asked.seconds})).into_response(),
        false => problem(StatusCode::CONFLICT, "too many backups are being made at once; wait until one is done"),
    }
}

/// What is wrong with what was asked, or with us.
enum Failed {
    Asked(String),
    Janitor(JanitorError),
}

impl From<JanitorError> for Failed {
    fn from(error: JanitorError) -> Self {
        Self::Janitor(error)
    }
}

impl From<RecordsError> for Failed {
    fn from(error: RecordsError) -> Self {
        Self::Janitor(error.into())
    }
}

async fn try_drop(face: &AdminFace, asked: &Drop) -> Result<Option<serde_json::Value>, Failed> {
    let wrong = |why: &dyn std::fmt::Display| Failed::Asked(why.to_string());
    let purging = Purging::by(&asked.who, &asked.reason).map_err(|error| wrong(&error))?;
    let ids = instances(face, &asked.uid).await?;
    if ids.is_empty() {
        return Ok(None);
    }
    let (mut dropped, mut bytes) = (0, 0);
    let mut kept: BTreeMap<String, u64> = BTreeMap::new();
    for page in ids.chunks(PAGE) {
        let purged = face.janitor.drop_bytes(page.to_vec(), purging.clone()).await?;
        dropped += purged.instances;
        bytes += purged.bytes;
        purged.kept.iter().for_each(|(_, why)| *kept.entry(why.to_string()).or_default() += 1);
    }
    Ok(Some(json!({"instances": dropped, "bytes": bytes, "kept": kept})))
}

async fn instances(face: &AdminFace, uid: &str) -> Result<Vec<InstanceId>, Failed> {
    let wrong = |why: &dyn std::fmt::Display| Failed::Asked(why.to_string());
    let now = SystemTime::now();
    let instance = InstanceUid::parse(uid).map_err(|error| wrong(&error))?;
    let versions = face.records.instance(&instance, now).await?;
    if !versions.is_empty() {
        return Ok(versions.into_iter().map(|version| version.instance).collect());
    }
    let study = StudyUid::parse(uid).map_err(|error| wrong(&error))?;
    let mut ids: Vec<InstanceId> = Vec::new();
    loop {
        let after = ids.last().copied().unwrap_or(InstanceId(0));
        let page = face.records.study(&study, after, 0, now).await?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page.into_iter().map(|instance| instance.instance));
    }
}

pub(super) async fn examine(State(face): State<AdminFace>, Posted(asked): Posted<Examine>) -> Response {
    let mut set_aside = 0;
    for blob in asked.blobs.into_iter().take(PAGE) {
        let examined = match face.records.blob_at(BlobId(blob)).await {
            Ok(Some((digest, place))) => face.janitor.examine(BlobId(blob), digest, place).await,
            Ok(None) => Ok(false),
            Err(error) => Err(error.into()),
        };
        match examined {
            Ok(damaged) => set_aside += u64::from(damaged),
            Err(error) => return failed(&error),
        }
    }
    Json(json!({"set_aside": set_aside})).into_response()
}

fn failed(error: &JanitorError) -> Response {
    problem(status(error), &error.to_string())
}

fn status(error: &JanitorError) -> StatusCode {
    match error {
        JanitorError::Records(RecordsError::Refused(_)) => StatusCode::BAD_REQUEST,
        // The gateway is there and answers: something else has to end first.
        JanitorError::Paused | JanitorError::Doubted => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UIX-04: what may not go now has failed (409 is exit code 1), and is no gateway that cannot be reached (503 is exit code 3).
    #[test]
    fn what_may_not_go_now_conflicts_with_what_is_being_done() {
        let rows = [
            (JanitorError::Paused, StatusCode::CONFLICT),
            (JanitorError::Doubted, StatusCode::CONFLICT),
            (JanitorError::NoRoom, StatusCode::SERVICE_UNAVAILABLE),
        ];
        for (error, want) in rows {
            assert_eq!(status(&error), want, "{error}");
        }
    }
}
