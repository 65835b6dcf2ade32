//! QIDO-RS in: a peer asks which instances we show, to verify what it sent (PS3.18 section 10.6).

use super::http::{Caller, Target, WebFace, problem};
use crate::dicom::attributes::{
    INSTANCE_NUMBER, SERIES_INSTANCE_UID, SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID,
};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::dicomweb::dataset::{Dataset, Element, VR};
use crate::dicomweb::json;
use crate::dicomweb::qido::{self, Limits, Query};
use crate::records::{FindInstances, FoundInstance};
use axum::extract::{Extension, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Most instances in one answer; who wants more pages on with `offset` (WEB-094).
const PAGE: usize = 1000;

pub(super) async fn instances(
    State(face): State<WebFace>,
    Extension(caller): Extension<Caller>,
    target: Target,
    RawQuery(query): RawQuery,
) -> Response {
    search(face, caller, target.study, query.as_deref().unwrap_or("")).await
}

async fn search(face: WebFace, caller: Caller, study: Option<StudyUid>, query: &str) -> Response {
    let Some(peer) = caller.peer else {
        return problem(StatusCode::FORBIDDEN, "your certificate names no peer of this site");
    };
    let filter = match filter(study, query) {
        Ok(filter) => filter,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    // A peer that may only store can verify what it sent, by name; it cannot list what we hold.
    let allowed = peer.may.query || (peer.may.store && !filter.instances.is_empty());
    if !allowed {
        face.records.refused("query", &format!("peer {} may not query here", peer.name)).await;
        return problem(StatusCode::FORBIDDEN, "this site does not let yours query");
    }
    match face.records.find_instances(filter).await {
        Ok(found) if found.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(found) => {
            let sets: Vec<Dataset> = found.iter().map(dataset).collect();
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/dicom+json")], json::write_list(&sets))
                .into_response()
        }
        Err(error) => {
            tracing::error!(error = %error, "a query could not be answered");
            problem(StatusCode::SERVICE_UNAVAILABLE, "the records cannot be read now; ask again later")
        }
    }
}

fn filter(study: Option<StudyUid>, query: &str) -> Result<FindInstances, String> {
    let query = qido::parse(query, Limits::default()).map_err(|error| error.to_string())?;
    let mut filter = FindInstances { study, offset: query.offset, limit: PAGE, ..FindInstances::default() };
    if let Some(matched) = query.matching(SOP_INSTANCE_UID) {
        for uid in &matched.values {
            filter.instances.push(InstanceUid::parse(uid).map_err(|error| format!("SOPInstanceUID: {error}"))?);
        }
    }
    if let Some(uid) = single(&query, STUDY_INSTANCE_UID) {
        let asked = StudyUid::parse(uid).map_err(|error| format!("StudyInstanceUID: {error}"))?;
        match &filter.study {
            Some(study) if *study != asked => return Err("the query names another study than the path".into()),
            _ => filter.study = Some(asked),
        }
    }
    if let Some(uid) = single(&query, SERIES_INSTANCE_UID) {
        filter.series = Some(SeriesUid::parse(uid).map_err(|error| format!("SeriesInstanceUID: {error}"))?);
    }
    if filter.study.is_none() && filter.instances.is_empty() {
        return Err("name a study or at least one SOPInstanceUID".into());
    }
    let limit = query.limit.and_then(|limit| usize::try_from(limit).ok());
    filter.limit = limit.map_or(PAGE, |limit| limit.min(PAGE));
    Ok(filter)
}

fn single(query: &Query, tag: Tag) -> Option<&str> {
    query.matching(tag)?.values.first().map(String::as_str)
}

/// The attributes of one instance that a verifying peer needs (PS3.18 table 10.6.3-5, the required ones that we index).
fn dataset(found: &FoundInstance) -> Dataset {
    let mut set = Dataset::default();
    let mut insert = |tag, text: &str| {
        set.insert(tag, Element::text(VR::UI, text));
    };
    insert(SOP_CLASS_UID, found.sop_class.as_str());
    insert(SOP_INSTANCE_UID, found.instance.as_str());
    insert(STUDY_INSTANCE_UID, found.study.as_str());
    insert(SERIES_INSTANCE_UID, found.series.as_str());
    if let Some(number) = found.attributes.0.get(&INSTANCE_NUMBER) {
        set.insert(INSTANCE_NUMBER, Element::text(VR::IS, number));
    }
    set
}
