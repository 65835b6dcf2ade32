//! What an archive holds of what a peer retrieves: fetched, and waited for as far as the answer needs it.

use super::elsewhere::Elsewhere;
use super::{busy, unreadable};
use crate::dicomweb::qido::INCOMPLETE;
use crate::edge::http::{WebFace, problem};
use crate::priors::archive::Fetching;
use crate::records::{Extent, Resource};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

/// Seconds after which a retrieval may be repeated that met a silent archive.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

/// What there is of a resource, and what comes still.
pub(super) struct Awaited {
    pub(super) extent: Extent,
    /// The fetch of what is not here.
    pub(super) fetching: Option<Fetching>,
    /// An archive did not answer: there may be more.
    pub(super) silent: bool,
    /// What could not be had from other sites.
    pub(super) elsewhere: Elsewhere,
}

/// What an answer will not hold.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    /// Instances that are deleted or damaged here, and that no archive brings.
    pub(super) missing: u64,
    /// Instances that fit no transfer syntax that is accepted.
    pub(super) unfit: u64,
    /// An archive did not answer: there may be more.
    pub(super) silent: bool,
    /// What could not be had from other sites.
    pub(super) elsewhere: Elsewhere,
}

impl Awaited {
    pub(super) fn missing(&self) -> Missing {
        let missing = if self.fetching.is_some() { 0 } else { self.extent.purged + self.extent.damaged };
        Missing { missing, unfit: 0, silent: self.silent, elsewhere: self.elsewhere.clone() }
    }
}

pub(super) fn not_given(detail: &str) -> Box<Response> {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    Box::new(response)
}

/// Asks the archives, and waits until something can be given: of one instance all, of more the first.
pub(super) async fn awaited(face: &WebFace, resource: &Resource) -> Result<Awaited, Box<Response>> {
    let mut extent = face.records.extent(resource).await.map_err(unreadable)?;
    // What is withheld is not fetched either.
    let hidden = face.records.hides(resource).await.map_err(unreadable)?;
    if hidden || !face.archives.any(None) || (resource.instance.is_some() && extent.stored > 0) {
        return Ok(Awaited { extent, fetching: None, silent: false, elsewhere: Elsewhere::default() });
    }
    let brought = face.archives.bring(None, resource, &[], extent.stored > 0).await.map_err(unreadable)?;
    let silent = !brought.silent.is_empty();
    if brought.busy {
        return Err(Box::new(busy()));
    }
    let Some(mut fetching) = brought.fetching else {
        return match silent && extent.stored == 0 {
            true => Err(not_given("an archive of this site did not answer; whether there is anything is not known")),
            false => Ok(Awaited { extent, fetching: None, silent, elsewhere: Elsewhere::default() }),
        };
    };
    while extent.stored == 0 {
        let ended = fetching.more().await;
        extent = face.records.extent(resource).await.map_err(unreadable)?;
        if extent.stored == 0 && face.records.hides(resource).await.map_err(unreadable)? {
            return Ok(Awaited { extent, fetching: None, silent: false, elsewhere: Elsewhere::default() });
        }
        if let (0, Some(fetched)) = (extent.stored, ended) {
            // All of it came, and all of it is withheld; what did not come might not be.
            let known = face.records.hides_what_is_known(resource).await.map_err(unreadable)?;
            return match known && fetched.missing == 0 {
                true => Ok(Awaited { extent, fetching: None, silent: false, elsewhere: Elsewhere::default() }),
                false => Err(not_given("an archive of this site holds it, and did not give it")),
            };
        }
    }
    // Of one instance that came nothing is missing, whoever is silent.
    let whole = resource.instance.is_some();
    let fetching = Some(fetching).filter(|_| !whole);
    Ok(Awaited { extent, fetching, silent: silent && !whole, elsewhere: Elsewhere::default() })
}

/// An answer that may not hold everything says so, to programs too.
pub(super) fn warned(mut response: Response, silent: bool, service: &str) -> Response {
    let text = format!("299 {service}: an archive of this site did not answer; what it alone holds is not given");
    if silent {
        response.headers_mut().insert(INCOMPLETE, HeaderValue::from_static("archive"));
        if let Ok(text) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, text);
        }
    }
    response
}
