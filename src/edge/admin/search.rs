//! Asking other sites for a patient's studies, or for one study, for a person at the command line.

use super::posted::Posted;
use super::status::utc;
use super::{AdminFace, problem};
use crate::dicom::attributes::{STUDY_DATE, STUDY_DESCRIPTION};
use crate::dicom::uid::StudyUid;
use crate::peers::{Origin, Registry};
use crate::priors::merge::Found;
use crate::priors::search::{Outcome, Wanted, What};
use crate::priors::whom::{self, Patient};
use crate::records::RecordsError;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::SystemTime;

/// What is looked for: a patient or a study. `Debug` is not derived: it holds a patient's number.
#[derive(Serialize, Deserialize)]
pub(crate) struct Search {
    /// Patient ID of this site, or of `issuer`.
    pub(crate) patient: Option<String>,
    /// Who issued it.
    pub(crate) issuer: Option<String>,
    /// An NHS number.
    pub(crate) nhs: Option<String>,
    /// Study Instance UID.
    pub(crate) study: Option<String>,
    /// Who asks; the other sites are told.
    pub(crate) who: String,
    /// What for; the other sites are told. The site's purpose if absent.
    pub(crate) purpose: Option<String>,
}

/// Answers with the studies and with how each site's answer ended: nobody's silence is taken for "nothing there" (UIX-12).
pub(super) async fn search(State(face): State<AdminFace>, Posted(search): Posted<Search>) -> Response {
    let priors = face.fetcher.priors();
    let wanted = match wanted(&search, &face.registry.borrow()) {
        Ok(wanted) => wanted,
        Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    let wanted = match wanted {
        Wanted::Patient(patient) => Wanted::Patient(priors.linked(patient, None).await),
        study => study,
    };
    let behalf = face.registry.borrow().behalf_of_user(&search.who, search.purpose.as_deref());
    let mut answers = priors.search(&wanted, priors.sites().sites.clone(), &behalf);
    let (mut studies, mut sites, mut listed) = (Vec::new(), Vec::new(), BTreeSet::new());
    while let Some(part) = answers.next().await {
        match part.what {
            What::Ended(outcome) => match answered(&face, &part.site, &outcome).await {
                Ok(answered) => sites.push(ended(&part.site, &outcome, answered)),
                Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
            },
            What::Found(found) => {
                // A site may be asked for a number in several forms, and find the same by each.
                let mut unlisted = |found: &Found| listed.insert((found.site.clone(), found.study.clone()));
                let new: Vec<Found> = found.into_iter().filter(|found| unlisted(found)).collect();
                for found in new {
                    match told(&face, &found).await {
                        Ok(told) => studies.push(told),
                        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
                    }
                }
            }
        }
    }
    Json(json!({ "studies": studies, "sites": sites })).into_response()
}

fn wanted(search: &Search, registry: &Registry) -> Result<Wanted, String> {
    let own = || registry.issuer(&Origin::Operator(String::new()));
    match (&search.patient, &search.nhs, &search.study) {
        (Some(id), None, None) => {
            let issuer = search.issuer.clone().unwrap_or_else(own);
            patient(id, &issuer, false).ok_or_else(|| "name one Patient ID, without wildcards, and its issuer".into())
        }
        (None, Some(number), None) => patient(number, "NHS", true)
            .filter(|wanted| matches!(wanted, Wanted::Patient(Patient { nhs: Some(_), .. })))
            .ok_or_else(|| "that is no NHS number: it has ten digits, of which the last checks the others".into()),
        (None, None, Some(uid)) => StudyUid::parse(uid).map(Wanted::Study).map_err(|error| error.to_string()),
        _ => Err("name one of: a Patient ID, an NHS number, a Study Instance UID".into()),
    }
}

fn patient(id: &str, issuer: &str, nhs: bool) -> Option<Wanted> {
    whom::patient(id, issuer, nhs).map(Wanted::Patient)
}

/// One study at one site, and how much of it is here. How many bytes a study has no site tells in an answer to a query (PS3.18 section 10.6.3):
/// what is known is what is here.
async fn told(face: &AdminFace, found: &Found) -> Result<Value, RecordsError> {
    let here = face.records.held_of(&found.study).await?.len() as u64;
    let bytes_here = face.records.bytes_of(&found.study).await?;
    let text = |tag| found.values.0.get(&tag).cloned().unwrap_or_default();
    let state = match (here, found.size.instances) {
        (0, _) => "there",
        (here, there) if here < there => "in part",
        _ => "here",
    };
    Ok(json!({
        "site": found.site,
        "study_instance_uid": found.study.as_str(),
        "state": state,
        "instances": found.size.instances,
        "instances_here": here,
        "bytes_here": bytes_here,
        "answered": utc(SystemTime::now()),
        "modalities": found.size.modalities,
        "study_date": text(STUDY_DATE),
        "description": text(STUDY_DESCRIPTION),
    }))
}

/// When a site last told what it has: just now, or when it last showed a study; `None` if it never has.
async fn answered(face: &AdminFace, site: &str, outcome: &Outcome) -> Result<Option<SystemTime>, RecordsError> {
    match outcome {
        Outcome::Answered { .. } | Outcome::HeldBack => Ok(Some(SystemTime::now())),
        Outcome::NotAnswering(_) | Outcome::NotAsked(_) => face.records.last_shown(site).await,
    }
}

fn ended(site: &str, outcome: &Outcome, answered: Option<SystemTime>) -> Value {
    let (how, why) = match outcome {
        Outcome::Answered { found: 0, .. } if outcome.is_whole() => ("nothing", String::new()),
        Outcome::Answered { .. } if outcome.is_whole() => ("answered", String::new()),
        Outcome::Answered { others, untold, .. } => {
            let why = format!("{others} results mean somebody else, of {untold} nothing says who issued the number");
            ("answer not usable", why)
        }
        Outcome::NotAnswering(why) => ("not answering", why.clone()),
        Outcome::NotAsked(why) => ("not asked", why.to_string()),
        Outcome::HeldBack => ("answered", String::new()),
    };
    let age = answered.map(|at| at.elapsed().unwrap_or_default().as_secs());
    json!({ "site": site, "how": how, "why": why, "answered": answered.map(utc), "age_seconds": age })
}
