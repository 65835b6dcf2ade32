//! How a search is answered: the page in the media type that is wanted, and in Warning headers what is not on it (PS3.18 section 10.6.3).

use super::window::Window;
use super::{Answered, Asked, archived, elsewhere, refuse};
use crate::dicom::attributes::STUDY_INSTANCE_UID;
use crate::dicom::uid::StudyUid;
use crate::dicomweb::dataset::Dataset;
use crate::dicomweb::json;
use crate::dicomweb::media_type::{self, DICOM_JSON, DICOM_XML, JSON};
use crate::dicomweb::multipart::Writer;
use crate::dicomweb::qido;
use crate::dicomweb::xml;
use crate::edge::http::problem;
use crate::edge::wado;
use crate::priors::marker;
use crate::records::Question;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;

impl Asked {
    /// The page, and in Warning headers what was asked and not done, and how much is left (WEB-093, WEB-094).
    pub(super) async fn answer(&self, window: Window) -> Answered {
        // Who only verifies by name what it sent learns nothing that it does not know; each check would be an entry.
        let searches = self.asker.may.query;
        if searches {
            let one = self.one(STUDY_INSTANCE_UID).and_then(|uid| StudyUid::parse(uid).ok());
            let (study, given) = (self.target.study.clone().or(one), window.sets.len() as u64);
            let uid = |set: &Dataset| set.first_text(STUDY_INSTANCE_UID).and_then(|uid| StudyUid::parse(uid).ok());
            let told: BTreeSet<StudyUid> =
                window.sets.iter().filter_map(uid).filter(|uid| !marker::is_marker(uid)).collect();
            let told = if study.is_some() { Vec::new() } else { told.into_iter().collect() };
            let (peer, behalf) = (self.asker.name.clone(), self.behalf.clone());
            self.face.records.asked(Question { peer, behalf, what: "query", study, told, given }).await;
        }
        if window.silent && window.sets.is_empty() {
            // No answer is not the answer that there is nothing.
            return Err(Box::new(archived::not_answering()));
        }
        self.or_failure(&window)?;
        let service = self.base.as_str();
        let mut warnings = self.query.unsupported(service);
        if window.more > 0 {
            warnings.push(qido::more_results(service, window.more));
        }
        if window.silent {
            warnings.push(archived::warning(service));
        }
        warnings.extend(elsewhere::warnings(service, &window));
        let mut response = match window.sets.is_empty() {
            true => StatusCode::NO_CONTENT.into_response(),
            false => self.results(&window.sets)?,
        };
        if window.silent {
            response.headers_mut().insert(qido::INCOMPLETE, HeaderValue::from_static("archive"));
        }
        for warning in warnings {
            if let Ok(warning) = HeaderValue::from_str(&warning) {
                response.headers_mut().append(header::WARNING, warning);
            }
        }
        Ok(response)
    }

    /// One array of JSON, or a part of XML for each result (PS3.18 section 10.6.3).
    fn results(&self, sets: &[Dataset]) -> Answered {
        if self.form != DICOM_XML {
            return Ok((StatusCode::OK, [(header::CONTENT_TYPE, self.form)], json::write_list(sets)).into_response());
        }
        let no_randomness = |_| Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, "the system gave no randomness"));
        let writer = Writer::new(DICOM_XML).map_err(no_randomness)?;
        let mut body = Vec::new();
        for (at, set) in sets.iter().enumerate() {
            let document = xml::write::document(set);
            body.extend_from_slice(&writer.found_head(document.len() as u64, at == 0));
            body.extend_from_slice(&document);
        }
        body.extend_from_slice(&writer.end());
        Ok((StatusCode::OK, [(header::CONTENT_TYPE, writer.content_type())], body).into_response())
    }
}

/// The media type of the results; 406 where none is acceptable (PS3.18 sections 8.3.3.1, 8.7.5). The query parameter counts more than the header.
pub(super) fn form(headers: &HeaderMap, query: &str) -> Result<&'static str, Box<Response>> {
    let accept = wado::accept(headers, query)?;
    match media_type::settled(accept.as_deref(), &[DICOM_JSON, JSON, DICOM_XML], &[DICOM_XML]) {
        Some((form, _)) => Ok(form),
        None => {
            let detail =
                "results can be had as application/dicom+json or as multipart/related; type=\"application/dicom+xml\"";
            refuse(StatusCode::NOT_ACCEPTABLE, detail)
        }
    }
}
