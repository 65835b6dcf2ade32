//! The way to a peer step by step: which of name, connection, TLS, identity, permission, service, QIDO-RS or STOW-RS fails (UIX-06).

use crate::cli::Failure;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dicomweb::client::{PartsBody, PeerClient, QueryFailure, SendFailure, Stage};
use crate::dicomweb::tls::TlsReason;

/// A UID under which nothing is stored anywhere.
const NOBODY: &str = "2.25.0";

/// The steps, in the order in which they can fail.
pub(super) const STEPS: [&str; 8] =
    ["name", "connection", "TLS", "identity", "permission", "service", "query", "store"];

const CONNECTION: usize = 1;
const TLS: usize = 2;
const IDENTITY: usize = 3;
const PERMISSION: usize = 4;
const SERVICE: usize = 5;
pub(super) const QUERY: usize = 6;
const STORE: usize = 7;

/// Stands for a page about our certificate, as nginx counts it before it makes it 400.
const NOT_OURS: u16 = 495;

/// What was found out on the way.
pub(super) struct Way {
    /// Steps that failed, each with what was said, in order.
    pub(super) failed: Vec<(usize, String)>,
    /// Nothing behind this step was tried.
    pub(super) ends: Option<usize>,
}

impl Way {
    /// What is told of a step.
    pub(super) fn told(&self, step: usize) -> String {
        match self.failed.iter().find(|(at, _)| *at == step) {
            Some((_, why)) => why.clone(),
            None if self.ends.is_some_and(|end| step > end) => "not tried".into(),
            None => "ok".into(),
        }
    }

    /// The failure with which a command ends; `None` if every step is passed.
    pub(super) fn failure(&self, peer: &str) -> Option<Failure> {
        let (first, _) = self.failed.first()?;
        Some(match *first {
            TLS..=IDENTITY => Failure::forbidden(format!(
                "{peer} cannot be trusted with anything: see the step that failed; no instance was sent"
            )),
            PERMISSION => Failure::forbidden(format!("{peer} does not let us in; no instance was sent")),
            _ => Failure::unreachable(format!("{peer} cannot be used; no instance was sent")),
        })
    }
}

/// Goes the way: one query for nothing, one STOW-RS request without instances.
pub(super) async fn walk(client: &PeerClient) -> Result<Way, Failure> {
    let study = StudyUid::parse(NOBODY).map_err(Failure::some)?;
    let instance = InstanceUid::parse(NOBODY).map_err(Failure::some)?;
    let asked = client.present(&study, &[instance]).await;
    if let Err(QueryFailure::NotAnswered(failure)) = &asked {
        let step = step(failure);
        let (step, why) = match may_listen(failure) && client.is_listening().await {
            true => (TLS, unshaken(failure)),
            false => (step, failure.to_string()),
        };
        return Ok(Way { failed: vec![(step, why)], ends: Some(step) });
    }
    let mut stored = store_nothing(client, &study).await?;
    if stored.as_ref().is_ok_and(|(status, _)| *status == 406) {
        // It may have only the other form of answers (WEB-052).
        client.ask_for(client.form().other());
        stored = store_nothing(client, &study).await?;
    }
    Ok(judge(asked.err(), stored.map(|(status, refuses_us)| if refuses_us { NOT_OURS } else { status })))
}

/// The status that a STOW-RS request without instances gets, and whether it is for our certificate; or why it gets none, or none of a
/// service.
async fn store_nothing(client: &PeerClient, study: &StudyUid) -> Result<Result<(u16, bool), String>, Failure> {
    let nothing = PartsBody::related(Vec::new()).map_err(Failure::some)?;
    let answer = match client.store(study, nothing).await {
        Ok(answer) => answer,
        Err(failure) => return Ok(Err(failure.to_string())),
    };
    let (status, page) = (answer.status, answer.is_page());
    let anything = is_success(status) && !page && client.takes_anything(study).await;
    Ok(match no_service(status, page, anything) {
        Some(why) => Err(why),
        None => Ok((status, answer.refuses_us)),
    })
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Why a success is not that of a STOW-RS service, which tells what it stored in DICOM JSON or XML, or nothing (PS3.18 section 10.5.3): a
/// web page, or what is said to anything that is sent there.
fn no_service(status: u16, page: bool, anything: bool) -> Option<String> {
    let who = match (is_success(status), page, anything) {
        (false, ..) | (_, false, false) => return None,
        (true, true, _) => "with a web page",
        (true, false, true) => "as it answers anything that is sent to it",
    };
    Some(format!("this is no STOW-RS service: it answered a request without instances {who} (status {status})"))
}

/// Where a request failed that got no answer.
fn step(failure: &SendFailure) -> usize {
    match failure.stage {
        Stage::Dns => 0,
        Stage::Unreachable | Stage::Connect => CONNECTION,
        Stage::Tls(TlsReason::WrongName) => IDENTITY,
        Stage::Tls(TlsReason::OursRefused) => PERMISSION,
        Stage::Tls(_) => TLS,
        _ => SERVICE,
    }
}

/// Whether somebody may listen there all the same: the connection was neither refused, nor is there no way.
fn may_listen(failure: &SendFailure) -> bool {
    failure.stage == Stage::Connect
}

/// What is told of a peer that takes connections and ends them, or keeps silent, before TLS stands.
fn unshaken(failure: &SendFailure) -> String {
    format!(
        "a connection comes about, but no TLS handshake; does the peer speak TLS on this port? ({})",
        failure.detail
    )
}

/// What the two answers mean together: what both are refused for lies deeper than either service.
fn judge(query: Option<QueryFailure>, store: Result<u16, String>) -> Way {
    let asked = match &query {
        Some(QueryFailure::Refused { status, .. }) => Some(*status),
        _ => None,
    };
    // Without instances a service has nothing to store: it says so with 400 or 409, or does not mind.
    let refused = store.as_ref().ok().copied().filter(|status| !matches!(status, 200..=299 | 400 | 409 | 415 | 422));
    let query = query.map(|failure| failure.to_string());
    let store = match (&store, refused) {
        (Err(why), _) => Some(why.clone()),
        (_, Some(status)) => {
            Some(format!("the peer answered a STOW-RS request without instances with status {status}"))
        }
        _ => None,
    };
    let both = |statuses: &[u16]| {
        asked.is_some_and(|status| statuses.contains(&status))
            && refused.is_some_and(|status| statuses.contains(&status))
    };
    let deep = if both(&[401, 403, 407]) {
        Some(PERMISSION)
    } else if both(&[404, 405]) {
        Some(SERVICE)
    } else {
        None
    };
    if refused == Some(NOT_OURS) {
        let why = "a server in front of the peer does not accept our certificate".to_owned();
        return Way { failed: vec![(PERMISSION, why)], ends: Some(PERMISSION) };
    }
    if let (Some(step), Some(why)) = (deep, &query) {
        return Way { failed: vec![(step, why.clone())], ends: Some(step) };
    }
    let failed = [(QUERY, query), (STORE, store)].into_iter().filter_map(|(step, why)| Some((step, why?)));
    Way { failed: failed.collect(), ends: None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What a query and a store are answered, and the steps that fail.
    type Row = (Option<QueryFailure>, Result<u16, String>, &'static [usize]);

    /// UIX-06: what is no service says 2xx as well.
    #[test]
    fn a_success_of_a_page_or_to_anything_is_not_that_of_a_service() {
        let rows = [
            // The status, whether it is a web page, whether anything else gets a success too; what is told.
            (200, false, false, None),
            (202, false, false, None),
            (204, false, false, None),
            (200, true, false, Some("with a web page (status 200)")),
            (200, false, true, Some("anything that is sent to it (status 200)")),
            (204, false, true, Some("anything that is sent to it (status 204)")),
            // A page that refuses may be that of a service.
            (400, true, false, None),
            (409, false, false, None),
        ];
        for (status, page, anything, want) in rows {
            let told = no_service(status, page, anything);
            assert_eq!(told.is_some(), want.is_some(), "{status} {page} {anything}");
            assert!(want.is_none_or(|want| told.as_ref().is_some_and(|told| told.contains(want))), "{told:?}");
        }
    }

    /// UIX-06: who dials again where nobody listens hears the same, or waits for nothing.
    #[test]
    fn only_a_connection_that_was_neither_refused_nor_without_a_way_is_tried_again() {
        let rows = [
            (Stage::Dns, 0, false),
            (Stage::Unreachable, CONNECTION, false),
            (Stage::Connect, CONNECTION, true),
            (Stage::Tls(TlsReason::Other), TLS, false),
            (Stage::Tls(TlsReason::WrongName), IDENTITY, false),
            (Stage::Tls(TlsReason::OursRefused), PERMISSION, false),
            (Stage::BeforeBody, SERVICE, false),
            (Stage::Timeout, SERVICE, false),
        ];
        for (stage, want, again) in rows {
            let failure = SendFailure { stage, sent: 0, detail: String::new() };
            assert_eq!((step(&failure), may_listen(&failure)), (want, again), "{stage:?}");
        }
    }

    #[test]
    fn what_both_services_are_refused_for_lies_deeper() {
        let refused = |status| Some(QueryFailure::Refused { status, retry_after: None });
        let rows: Vec<Row> = vec![
            (None, Ok(400), &[]),
            (None, Ok(200), &[]),
            (None, Ok(409), &[]),
            (refused(400), Ok(NOT_OURS), &[PERMISSION]),
            (refused(401), Ok(401), &[PERMISSION]),
            (refused(403), Ok(401), &[PERMISSION]),
            (refused(404), Ok(404), &[SERVICE]),
            (refused(404), Ok(405), &[SERVICE]),
            (refused(403), Ok(400), &[QUERY]),
            (refused(404), Ok(200), &[QUERY]),
            (None, Ok(403), &[STORE]),
            (None, Ok(404), &[STORE]),
            (None, Ok(503), &[STORE]),
            (None, Err("reset".into()), &[STORE]),
            (refused(500), Ok(500), &[QUERY, STORE]),
            (Some(QueryFailure::Unreadable("html".into())), Ok(400), &[QUERY]),
        ];
        for (query, store, want) in rows {
            let row = format!("{query:?} {store:?}");
            let way = judge(query, store);
            let failed: Vec<usize> = way.failed.iter().map(|(step, _)| *step).collect();
            assert_eq!(failed, want, "{row}");
            assert_eq!(way.failure("b").is_none(), want.is_empty(), "{row}");
        }
    }
}
