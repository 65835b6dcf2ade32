//! Pulling a study of other sites for a person at the command line, told of as it goes, and dropping the copies of one.

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::dicom::uid::StudyUid;
use crate::priors::gather::Gathering;
use crate::priors::watch::Came;
use crate::records::{InstanceId, Picked, Purging};
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

/// Between two lines of progress.
const EVERY: Duration = Duration::from_millis(500);
/// Instances that did not come and are named.
const NAMED: usize = 100;
/// Instances of one commit.
const PAGE: usize = 500;

/// Pull a study.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PullOrder {
    /// Study Instance UID.
    pub(crate) study: String,
    /// From this peer alone.
    pub(crate) from: Option<String>,
    /// Who asks; the other site is told.
    pub(crate) who: String,
    /// What for; the other site is told. The site's purpose if absent.
    pub(crate) purpose: Option<String>,
}

/// Drop the copies of a study.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopiesDrop {
    /// Study Instance UID.
    pub(crate) study: String,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

/// Answers with a line of JSON now and then, and one with `how` at the end. When the caller goes away the pull stops where it is,
/// unless others follow it.
pub(super) async fn pull(State(face): State<AdminFace>, Posted(order): Posted<PullOrder>) -> Response {
    let study = match StudyUid::parse(&order.study) {
        Ok(study) => study,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let sites = face.fetcher.priors().sites();
    if let Some(from) = order.from.as_deref().filter(|from| sites.site(from).is_none()) {
        let why = format!("{from} is no peer of this site that is asked for priors: see `priors` in its [[peer]]");
        return problem(StatusCode::BAD_REQUEST, &why);
    }
    let behalf = face.registry.borrow().behalf_of_user(&order.who, order.purpose.as_deref());
    let picked = Picked { studies: vec![study.clone()], ..Picked::default() };
    let mut gathering = match face.fetcher.gather(&picked, order.from.as_deref(), &behalf).await {
        Ok(gathering) => gathering,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    gathering.start();
    let began = Instant::now();
    let course = Course { face, study, gathering, began, came: 0, lost: Vec::new(), failed: 0, ended: false };
    let lines = stream::unfold(course, |mut course| async move {
        let line = course.line().await?;
        Some((Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))), course))
    });
    Body::from_stream(lines).into_response()
}

/// A pull that a person watches.
struct Course {
    face: AdminFace,
    study: StudyUid,
    gathering: Gathering,
    began: Instant,
    came: u64,
    failed: u64,
    lost: Vec<(String, String)>,
    ended: bool,
}

impl Course {
    /// The next line; `None` after the last.
    async fn line(&mut self) -> Option<Value> {
        if self.ended {
            return None;
        }
        let until = tokio::time::Instant::now() + EVERY;
        while let Ok(came) = tokio::time::timeout_at(until, self.gathering.next()).await {
            match came {
                Some(Came::Here(..)) => self.came += 1,
                Some(Came::Lost(instance, why)) => {
                    self.failed += 1;
                    if self.lost.len() < NAMED {
                        self.lost.push((instance.to_string(), why.to_string()));
                    }
                }
                None => {
                    self.ended = true;
                    return Some(self.end().await);
                }
            }
        }
        let awaited = self.gathering.awaited();
        let each = u32::try_from(self.came).ok().and_then(|came| self.began.elapsed().checked_div(came));
        let left = each.map(|each| each.as_secs_f64() * awaited as f64);
        Some(
            json!({ "awaited": awaited, "came": self.came, "failed": self.failed, "left_seconds": left.map(f64::ceil) }),
        )
    }

    async fn end(&self) -> Value {
        let held = self.face.records.held_of(&self.study).await;
        let held = held.map(|held| held.len()).unwrap_or_default();
        let silent: Vec<&str> = self.gathering.silent.iter().map(|silent| silent.site.as_str()).collect();
        let failed: Vec<Value> =
            self.lost.iter().map(|(instance, why)| json!({ "sop_instance_uid": instance, "why": why })).collect();
        let how = match (self.failed, silent.is_empty(), held) {
            (0, true, 0) => "nowhere",
            (0, true, _) => "done",
            (0, false, 0) => "silent",
            _ => "in part",
        };
        json!({
            "study_instance_uid": self.study.as_str(),
            "how": how,
            "came": self.came,
            "failed": self.failed,
            "kept": held,
            "not_answering": silent,
            "instances": failed,
            "seconds": self.began.elapsed().as_secs_f64(),
        })
    }
}

/// Drops the bytes of copies: of what a node or peer sent nothing goes, and nothing that is pulled just now.
pub(super) async fn drop_copies(State(face): State<AdminFace>, Posted(asked): Posted<CopiesDrop>) -> Response {
    let wrong = |why: &dyn std::fmt::Display| problem(StatusCode::BAD_REQUEST, &why.to_string());
    let purging = match Purging::by(&asked.who, &asked.reason) {
        Ok(purging) => purging,
        Err(error) => return wrong(&error),
    };
    let study = match StudyUid::parse(&asked.study) {
        Ok(study) => study,
        Err(error) => return wrong(&error),
    };
    let held = match face.records.held_of(&study).await {
        Ok(held) => held,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let copies: Vec<InstanceId> = held.into_iter().filter(|held| held.pulled).map(|held| held.instance).collect();
    let (mut dropped, mut bytes) = (0, 0);
    let mut kept: BTreeMap<String, u64> = BTreeMap::new();
    for page in copies.chunks(PAGE) {
        match face.janitor.drop_bytes(page.to_vec(), purging.clone()).await {
            Ok(purged) => {
                dropped += purged.instances;
                bytes += purged.bytes;
                purged.kept.iter().for_each(|(_, why)| *kept.entry(why.to_string()).or_default() += 1);
            }
            Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }
    let now = SystemTime::now();
    if kept.is_empty()
        && let Err(error) = face.records.flushed(&study, now, now).await
    {
        tracing::warn!(error = %error, "that copies were dropped could not be noted with their pull");
    }
    Json(json!({ "instances": dropped, "bytes": bytes, "kept": kept })).into_response()
}
