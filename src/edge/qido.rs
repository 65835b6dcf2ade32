//! QIDO-RS in: a peer asks which instances we show, to verify what it sent (PS3.18 section 10.6).

use super::http::{Caller, WebFace, problem};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::qido::Query;
use crate::records::InstanceFilter;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Most instances in one answer; who wants more pages on with `offset` (WEB-094).
const PAGE: usize = 1000;

pub(super) async fn instances(face: State<WebFace>, caller: Extension<Caller>, RawQuery(query): RawQuery) -> Response {
    search(face.0, caller.0, None, query.as_deref().unwrap_or("")).await
}

pub(super) async fn study_instances(
    face: State<WebFace>,
    caller: Extension<Caller>,
    Path(study): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    match StudyUid::parse(&study) {
        Ok(study) => search(face.0, caller.0, Some(study), query.as_deref().unwrap_or("")).await,
        Err(error) => problem(StatusCode::BAD_REQUEST, &format!("the study in the path: {error}")),
    }
}

async fn search(face: WebFace, caller: Caller, study: Option<StudyUid>, query: &str) -> Response {
    let Some(peer) = caller.peer else {
        return problem(StatusCode::FORBIDDEN, "your certificate names no peer of this site; ask its administrator");
    };
    let filter = match filter(study, query) {
        Ok(filter) => filter,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    // A peer that may only store sees what it sent itself, so that it can verify it.
    let filter = match (peer.may.query, peer.may.store) {
        (true, _) => filter,
        (false, true) => InstanceFilter { sent_by: Some(peer.name.clone()), ..filter },
        (false, false) => {
            face.records.refused("query", &format!("peer {} may not query here", peer.name)).await;
            return problem(StatusCode::FORBIDDEN, "this site does not let yours query; ask its administrator");
        }
    };
    match face.records.find_instances(filter).await {
        Ok(found) if found.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(found) => {
            let body = crate::dicomweb::qido::instances_json(found.iter().map(|found| crate::dicomweb::qido::FoundInstance {
                sop_class: found.sop_class.as_str(),
                sop_instance: found.sop_instance.as_str(),
                study: found.study.as_str(),
                series: found.series.as_str(),
            }));
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/dicom+json")], body).into_response()
        }
        Err(error) => {
            tracing::error!(error = %error, "a query could not be answered");
            problem(StatusCode::SERVICE_UNAVAILABLE, "the records cannot be read now; ask again later")
        }
    }
}

fn filter(study: Option<StudyUid>, query: &str) -> Result<InstanceFilter, String> {
    let query = Query::parse(query).map_err(|error| error.to_string())?;
    let mut filter = InstanceFilter { study, limit: PAGE, ..InstanceFilter::default() };
    for uid in query.uids("SOPInstanceUID") {
        filter.instances.push(InstanceUid::parse(uid).map_err(|error| format!("SOPInstanceUID {uid}: {error}"))?);
    }
    if filter.study.is_none() && filter.instances.is_empty() {
        return Err("name a study or at least one SOPInstanceUID".into());
    }
    filter.offset = query.offset;
    filter.limit = query.limit.map_or(PAGE, |limit| limit.min(PAGE));
    Ok(filter)
}
