//! How worklists stand, and asking one at once.

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::priors::worklist::{Polled, Standing};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Which worklist is asked now.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Poll {
    /// Its AE title.
    pub(crate) node: String,
}

/// A worklist as `status` and `nodes poll` show it.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorklistStatus {
    /// Its AE title.
    pub node: String,
    /// When it was last asked, UTC.
    pub last_poll: Option<String>,
    /// When it last answered in full since the start, UTC.
    pub last_answer: Option<String>,
    /// Entries of the last poll.
    pub entries: u64,
    /// Orders that they are.
    pub orders: u64,
    /// Orders that were new or changed.
    pub new: u64,
    /// Entries that were not asked for, and were passed over.
    pub not_asked_for: u64,
    /// Entries that could not be used, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Why not all of it was read, if it has more than is taken.
    pub cut: Option<String>,
    /// Why it does not answer, or not in full.
    pub trouble: Option<String>,
    /// Since when, UTC.
    pub failing_since: Option<String>,
    /// Seconds until it is asked again.
    pub next_poll_seconds: Option<u64>,
}

impl WorklistStatus {
    pub(super) fn of(standing: Standing) -> Self {
        let Standing { node, last, answered, failing_since, next, .. } = standing;
        let asked = last.is_some();
        let Polled { at, entries, orders, new, elsewhere, refused, cut, trouble } = last.unwrap_or_default();
        let utc = |at: SystemTime| Timestamp::try_from(at).map_or_else(|_| "?".into(), |at| at.to_string());
        Self {
            node,
            last_poll: asked.then(|| utc(at)),
            last_answer: answered.map(utc),
            entries,
            orders,
            new,
            not_asked_for: elsewhere,
            refused,
            cut,
            trouble,
            failing_since: failing_since.map(utc),
            next_poll_seconds: next.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default().as_secs()),
        }
    }
}

/// Asks a worklist and answers how it stands then; 400 if the configuration in force has none of that name.
pub(super) async fn poll(State(face): State<AdminFace>, Posted(asked): Posted<Poll>) -> Response {
    match face.worklists.ask_now(&asked.node).await {
        Some(standing) => Json(WorklistStatus::of(standing)).into_response(),
        None => {
            let why = format!("no [[worklist]] in force names {}; reload the configuration if it is new", asked.node);
            problem(StatusCode::BAD_REQUEST, &why)
        }
    }
}
