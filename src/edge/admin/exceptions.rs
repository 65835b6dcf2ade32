//! What a person decides about an exception: a conflict, a transfer that was given up, one that is held (UIX-09).

use super::posted::Posted;
use super::{AdminFace, problem};
use crate::records::{ExceptionId, ExceptionView, Resolution, Selection, Verb};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// What the command line sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Decision {
    /// The exception's number.
    pub(crate) exception: i64,
    /// `accept`, `reject`, `retry`, `release`, `cancel` or `seen`.
    pub(crate) decision: String,
    /// Who decides.
    pub(crate) who: String,
    /// Why.
    pub(crate) reason: String,
}

/// What can be done.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Conflict(Resolution),
    Transfer(Verb),
    Damage,
}

/// The decisions that end an exception of a kind.
fn ways(kind: &str) -> &'static [(&'static str, Way)] {
    match kind {
        "conflict" => &[("accept", Way::Conflict(Resolution::Accept)), ("reject", Way::Conflict(Resolution::Reject))],
        "dead" => &[("retry", Way::Transfer(Verb::Retry)), ("cancel", Way::Transfer(Verb::Cancel))],
        "held" | "poison" => &[("release", Way::Transfer(Verb::Release)), ("cancel", Way::Transfer(Verb::Cancel))],
        "corrupt" => &[("seen", Way::Damage)],
        _ => &[],
    }
}

/// The words of the decisions that end an exception of a kind.
pub(crate) fn decisions(kind: &str) -> Vec<&'static str> {
    ways(kind).iter().map(|(word, _)| *word).collect()
}

/// What else ends an exception of a kind, for people; empty if nothing does.
pub(crate) fn end_by_itself(kind: &str) -> &'static str {
    match kind {
        "corrupt" => {
            "it also ends when the same instance arrives again, and only that heals it: have it sent once more"
        }
        _ => "",
    }
}

pub(super) async fn resolve(State(face): State<AdminFace>, Posted(asked): Posted<Decision>) -> Response {
    if asked.who.trim().is_empty() || asked.reason.trim().is_empty() {
        return problem(StatusCode::BAD_REQUEST, "to resolve an exception needs a name and a reason");
    }
    let id = ExceptionId(asked.exception);
    let exception = match face.records.exception(id).await {
        Ok(Some(exception)) => exception,
        Ok(None) => return problem(StatusCode::NOT_FOUND, &format!("there is no exception {id}")),
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    if exception.closed.is_some() {
        return problem(StatusCode::CONFLICT, &format!("exception {id} is closed already"));
    }
    let ways = ways(&exception.kind);
    let Some((_, way)) = ways.iter().find(|(word, _)| *word == asked.decision) else {
        return problem(StatusCode::BAD_REQUEST, &other_ways(&exception.kind));
    };
    match decide(&face, &exception, way, &asked).await {
        Ok(changed) => Json(serde_json::json!({"changed": changed})).into_response(),
        Err(why) => problem(StatusCode::CONFLICT, &why),
    }
}

fn other_ways(kind: &str) -> String {
    let hint = match end_by_itself(kind) {
        "" => String::new(),
        hint => format!("; {hint}"),
    };
    format!("a {kind} exception is resolved as one of: {}{hint}", decisions(kind).join(", "))
}

async fn decide(face: &AdminFace, exception: &ExceptionView, way: &Way, asked: &Decision) -> Result<u64, String> {
    let (who, reason, now) = (&asked.who, &asked.reason, SystemTime::now());
    match way {
        Way::Conflict(resolution) => {
            let resolved = face.records.resolve(exception.exception, *resolution, who, reason, now).await;
            resolved.map_err(|error| error.to_string())
        }
        Way::Damage => {
            let seen = face.records.damage_seen(exception.exception, who, reason, now).await;
            seen.map(|()| 0).map_err(|error| error.to_string())
        }
        Way::Transfer(verb) => {
            let transfers = exception.transfer.into_iter().collect();
            let acted = face.records.act(*verb, Selection::Transfers(transfers), who, reason, now).await;
            let acted = acted.map_err(|error| error.to_string())?;
            match acted.skipped.into_iter().next() {
                Some((transfer, why)) if acted.changed == 0 => Err(format!("transfer {}: {why}", transfer.0)),
                _ => Ok(acted.changed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_ways_out() {
        let rows: &[(&str, &[&str])] = &[
            ("conflict", &["accept", "reject"]),
            ("dead", &["retry", "cancel"]),
            ("held", &["release", "cancel"]),
            ("poison", &["release", "cancel"]),
            ("corrupt", &["seen"]),
            ("of another kind", &[]),
        ];
        for (kind, want) in rows {
            assert_eq!(decisions(kind), *want, "{kind}");
        }
    }
}
