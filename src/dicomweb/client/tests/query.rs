//! QIDO-RS: asking for instances of servers that do as the standard says, and of others.

use super::retrieve::row_of;
use super::*;
use crate::dicom::attributes::PATIENT_ID;
use crate::dicom::fired::note_fired;
use crate::dicomweb::qido;
use std::collections::BTreeSet;

/// How a server treats queries.
#[derive(Clone, Copy, Default)]
struct Manners {
    /// Shows the whole study, whatever UIDs are asked for.
    ignores_uids: bool,
    /// Shows only the first of a list.
    first_only: bool,
    /// The status for a list.
    list_status: Option<&'static str>,
    /// The status for queries across studies.
    relational_status: Option<&'static str>,
    /// Its largest page.
    page: Option<usize>,
    /// Ignores the offset.
    ignores_offset: bool,
    /// Says in which study each instance is.
    study: Option<&'static str>,
}

/// A server that holds some instances.
async fn holding(held: Vec<usize>, manners: Manners) -> (Server, Authority) {
    let held: Arc<Vec<String>> = Arc::new(held.into_iter().map(|n| uid(n).to_string()).collect());
    with_server(move |mut conn| {
        let held = held.clone();
        async move {
            while let Some(head) = conn.head().await {
                let (status, body) = result(&held, manners, head.target());
                let kind = if body.is_empty() { "" } else { "Content-Type: application/dicom+json\r\n" };
                conn.answer(status, kind, &body).await;
            }
        }
    })
    .await
}

fn result(held: &[String], manners: Manners, target: &str) -> (&'static str, String) {
    let (path, query) = target.split_once('?').unwrap();
    let query = qido::parse(query, qido::Limits::default()).unwrap();
    let relational = path == "/dicom-web/instances";
    assert!(relational || path == "/dicom-web/studies/1.2.3/instances", "{path}");
    let asked = &query.matches[0].values;
    if let (true, Some(status)) = (asked.len() > 1, manners.list_status) {
        return (status, String::new());
    }
    if let (true, Some(status)) = (relational, manners.relational_status) {
        return (status, String::new());
    }
    let wanted = |uid: &&String| {
        if manners.first_only { asked.first() == Some(uid) } else { manners.ignores_uids || asked.contains(uid) }
    };
    let offset = if manners.ignores_offset { 0 } else { query.offset as usize };
    let most = query.limit.unwrap_or(u64::MAX).min(manners.page.unwrap_or(usize::MAX) as u64) as usize;
    let shown: Vec<String> = held
        .iter()
        .filter(wanted)
        .skip(offset)
        .take(most)
        .map(|uid| {
            let study = manners.study.map(|study| format!(r#","0020000D":{{"vr":"UI","Value":["{study}"]}}"#));
            format!(r#"{{"00080018":{{"vr":"UI","Value":["{uid}"]}}{}}}"#, study.unwrap_or_default())
        })
        .collect();
    if shown.is_empty() { ("204 No Content", String::new()) } else { ("200 OK", format!("[{}]", shown.join(","))) }
}

async fn ask(
    held: Vec<usize>,
    manners: Manners,
    asked: std::ops::Range<usize>,
) -> (Result<Presence, QueryFailure>, usize) {
    let (server, authority) = holding(held, manners).await;
    let instances: Vec<InstanceUid> = asked.map(uid).collect();
    let presence = client(&server, &authority).present(&study(), &instances).await;
    (presence, server.requests())
}

fn found(uids: impl IntoIterator<Item = usize>) -> Result<Presence, QueryFailure> {
    Ok(Presence { found: uids.into_iter().map(uid).collect(), elsewhere: BTreeSet::new() })
}

#[tokio::test]
async fn what_is_held_is_found_whatever_the_servers_manners() {
    let plain = Manners { study: Some("1.2.3"), ..Manners::default() };
    let rows = [
        ("lists work", plain, 3),
        ("no study in the answer", Manners { study: None, ..plain }, 3),
        ("pages of seven", Manners { page: Some(7), ..plain }, 6 + 6 + 3),
        ("only the first of a list", Manners { first_only: true, ..plain }, 2 + 2 + 2 + 97),
        ("lists are refused", Manners { list_status: Some("400 Bad Request"), ..plain }, 3 + 100),
        ("a list is too long", Manners { list_status: Some("414 URI Too Long"), ..plain }, 3 + 100),
        ("UIDs are ignored", Manners { ignores_uids: true, ..plain }, 3),
        ("UIDs and offsets are ignored", Manners { ignores_uids: true, ignores_offset: true, ..plain }, 3),
    ];
    for (name, manners, requests) in rows {
        let (presence, asked) = ask((0..100).collect(), manners, 0..100).await;
        assert_eq!(presence, found(0..100), "{name}");
        assert_eq!(asked, requests, "{name}");
    }
}

#[tokio::test]
async fn what_is_not_held_is_not_found() {
    let plain = Manners { study: Some("1.2.3"), ..Manners::default() };
    let rows = [
        ("lists work", plain),
        ("UIDs are ignored", Manners { ignores_uids: true, page: Some(3), ..plain }),
        ("UIDs and offsets are ignored", Manners { ignores_uids: true, ignores_offset: true, page: Some(3), ..plain }),
        ("only below the study", Manners { relational_status: Some("501 Not Implemented"), ..plain }),
        ("a proxy lets only studies pass", Manners { relational_status: Some("403 Forbidden"), ..plain }),
        ("fails across studies", Manners { relational_status: Some("500 Internal Server Error"), ..plain }),
    ];
    for (name, manners) in rows {
        let (presence, _) = ask(vec![1, 3, 90, 91], manners, 0..5).await;
        assert_eq!(presence, found([1, 3]), "{name}");
        let (presence, _) = ask(vec![], manners, 0..2).await;
        assert_eq!(presence, found([]), "{name}, nothing held");
        // Each was asked twice, and had not all.
        note_fired(2);
    }
}

#[tokio::test]
async fn an_instance_in_another_study_is_not_taken_for_ours() {
    let manners = Manners { study: Some("9.9.9"), ..Manners::default() };
    let (presence, _) = ask(vec![1], manners, 0..2).await;
    let want = Presence { found: BTreeSet::new(), elsewhere: BTreeSet::from([uid(1)]) };
    assert_eq!(presence, Ok(want));
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_no_proof_of_absence() {
    let not_found =
        Manners { list_status: Some("404 Not Found"), relational_status: Some("404 Not Found"), ..Manners::default() };
    // Below the study it answers 204, and that is believed.
    assert_eq!(ask(vec![], not_found, 0..2).await.0, found([]));

    for (status, headers, body) in [
        ("404 Not Found", "", ""),
        ("401 Unauthorized", "", ""),
        ("503 Service Unavailable", "Retry-After: 9\r\n", ""),
        ("200 OK", "Content-Type: text/html\r\n", "<html>"),
        ("200 OK", "Content-Type: application/dicom+json\r\n", "[{"),
    ] {
        let (server, authority) = with_server(move |mut conn| async move {
            while conn.head().await.is_some() {
                conn.answer(status, headers, body).await;
            }
        })
        .await;
        let failure = client(&server, &authority).present(&study(), &[uid(1)]).await.unwrap_err();
        match failure {
            QueryFailure::Refused { status: code, retry_after } => {
                assert_eq!(code.to_string(), status[..3]);
                assert_eq!(retry_after.is_some(), code == 503);
            }
            QueryFailure::Unreadable(why) => assert_eq!(status, "200 OK", "{why}"),
            failure => panic!("{failure}"),
        }
    }
}

/// WEB-045, WEB-090: who refuses to be asked across studies is asked below the study; what it says there counts.
#[tokio::test]
async fn who_refuses_to_be_asked_across_studies_is_asked_below_one() {
    let rows = [
        ("403 Forbidden", "", "204 No Content", None),
        ("422 Unprocessable Content", "", "204 No Content", None),
        ("422 Unprocessable Content", "", "404 Not Found", None),
        ("403 Forbidden", "", "404 Not Found", Some(404)),
        ("403 Forbidden", "", "400 Bad Request", Some(400)),
        ("500 Internal Server Error", "", "401 Unauthorized", Some(401)),
        ("500 Internal Server Error", "Retry-After: 9\r\n", "204 No Content", Some(500)),
        ("401 Unauthorized", "", "204 No Content", Some(401)),
        ("404 Not Found", "", "404 Not Found", Some(404)),
    ];
    for (across, headers, below, want) in rows {
        let (server, authority) = with_server(move |mut conn| async move {
            while let Some(head) = conn.head().await {
                let target = head.target();
                match target.starts_with("/dicom-web/instances?") {
                    true => conn.answer(across, headers, "").await,
                    false if target.contains("limit=") => conn.answer("204 No Content", "", "").await,
                    false => conn.answer(below, "", "").await,
                }
            }
        })
        .await;
        let told = client(&server, &authority).present(&study(), &[uid(1)]).await;
        match (told, want) {
            (Ok(presence), None) => assert_eq!(presence, Presence::default(), "{across}, {below}"),
            (Err(QueryFailure::Refused { status, .. }), Some(want)) => assert_eq!(status, want, "{across}, {below}"),
            other => panic!("{across}, {below}: {other:?}"),
        }
    }
}

/// WEB-094: a server may have lists of single series only, and refuse to be asked for more than 200 results.
#[tokio::test]
async fn a_study_is_listed_as_its_server_can() {
    let whole = Some((2, None));
    let rows = [
        ("200 OK", "", true, whole),
        ("404 Not Found", "", true, whole),
        ("405 Method Not Allowed", "", true, whole),
        ("400 Bad Request", "", true, whole),
        ("501 Not Implemented", "", true, whole),
        ("404 Not Found", "", false, Some((1, Some(InPart::Unreadable)))),
        ("403 Forbidden", "", true, None),
        ("404 Not Found", "Server: Weybridge/1\r\n", true, None),
    ];
    for (status, ours, second, want) in rows {
        let (server, authority) = with_server(move |mut conn| async move {
            while let Some(head) = conn.head().await {
                let (status, body) = listed(status, second, ours.is_empty(), head.target());
                let kind = if body.is_empty() { "" } else { "Content-Type: application/dicom+json\r\n" };
                conn.answer(status, &format!("{ours}{kind}"), &body).await;
            }
        })
        .await;
        let listing = client(&server, &authority).listing(&study(), Duration::from_secs(10)).await;
        assert_eq!(listing.ok().map(|list| (list.instances.len(), list.in_part)), want, "{status} {ours} {second}");
    }
}

/// What a server says to a question for a list that answers with this status below the study, and with two series.
fn listed(below: &'static str, second: bool, strict: bool, target: &str) -> (&'static str, String) {
    let (path, query) = target.split_once('?').unwrap();
    let limit = query.split('&').find_map(|pair| pair.strip_prefix("limit=")).unwrap();
    let row = |n: usize, series| row_of(&uid(n).to_string(), series);
    let rows = match path.strip_prefix("/dicom-web/studies").unwrap() {
        _ if strict && limit.parse::<usize>().unwrap() > 200 => return ("400 Bad Request", String::new()),
        "/1.2.3/instances" if below != "200 OK" => return (below, String::new()),
        _ if !query.ends_with("offset=0") => vec![],
        "" => vec![r#"{"0020000D":{"vr":"UI","Value":["1.2.3"]}}"#.to_owned()],
        "/1.2.3/instances" => vec![row(1, Some("1.2.4")), row(2, Some("1.2.5"))],
        "/1.2.3/series" => {
            ["1.2.4", "1.2.5"].map(|uid| format!(r#"{{"0020000E":{{"vr":"UI","Value":["{uid}"]}}}}"#)).to_vec()
        }
        "/1.2.3/series/1.2.4/instances" => vec![row(1, None)],
        "/1.2.3/series/1.2.5/instances" if second => vec![row(2, None)],
        _ => vec![],
    };
    if rows.is_empty() { ("204 No Content", String::new()) } else { ("200 OK", format!("[{}]", rows.join(","))) }
}

/// WEB-094: behind a page "not found" is the end, of studies too.
#[tokio::test]
async fn not_found_behind_a_page_is_the_end() {
    let (server, authority) = with_server(|mut conn| async move {
        let (kind, row) =
            ("Content-Type: application/dicom+json\r\n", r#"[{"0020000D":{"vr":"UI","Value":["1.2.3"]}}]"#);
        while let Some(head) = conn.head().await {
            match head.target().ends_with("offset=0") {
                true => conn.answer("200 OK", kind, row).await,
                false => conn.answer("404 Not Found", "", "").await,
            }
        }
    })
    .await;
    let search = Search {
        resource: Resource::Studies,
        matches: vec![(PATIENT_ID, "4711".into())],
        include: Vec::new(),
        page: 100,
        most: 100,
    };
    let client = client(&server, &authority);
    let mut pages = client.search(&search);
    for want in [Some(1), None] {
        let page = pages.next().await.map(|page| page.map(|sets| sets.len()));
        assert_eq!(page, Ok(want));
    }
}

#[tokio::test]
async fn a_query_without_an_answer_fails_by_its_stage() {
    let (server, authority) = with_server(|mut conn| async move {
        conn.head().await;
        conn.reset();
    })
    .await;
    let failure = client(&server, &authority).present(&study(), &[uid(1)]).await.unwrap_err();
    let QueryFailure::NotAnswered(failure) = failure else { panic!("{failure}") };
    assert_eq!((failure.stage, failure.surely_not_sent()), (Stage::BeforeBody, true));
}

/// What is asked for is asked for as it is; an answer that comes compressed all the same is called so. A byte order mark says nothing.
#[tokio::test]
async fn a_compressed_answer_is_called_so() {
    for (headers, body, want) in [
        ("Content-Encoding: gzip\r\n", "xx", Some("Content-Encoding gzip")),
        ("Content-Encoding: Identity\r\n", "[]", None),
        ("Content-Type: application/dicom+json\r\n", "\u{FEFF}[]", None),
    ] {
        let (server, authority) = with_server(move |mut conn| async move {
            while let Some(head) = conn.head().await {
                assert_eq!(head.header("accept-encoding"), Some("identity"));
                conn.answer("200 OK", headers, body).await;
            }
        })
        .await;
        match (client(&server, &authority).present(&study(), &[uid(1)]).await, want) {
            (Err(QueryFailure::Unreadable(why)), Some(words)) => assert!(why.contains(words), "{why}"),
            (Ok(presence), None) => assert!(presence.found.is_empty(), "{headers}"),
            other => panic!("{headers}: {other:?}"),
        }
    }
}

/// SEC-023: a client that asks on somebody's behalf says so in each request, over the same connections; another says nothing.
#[tokio::test]
async fn the_peer_is_told_for_whom_it_is_asked() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let (server, authority) = with_server(move |mut conn| {
        let seen = seen.clone();
        async move {
            while let Some(head) = conn.head().await {
                let said = ["weybridge-site", "weybridge-caller", "weybridge-purpose"];
                let said = said.map(|name| head.header(name).map(str::to_owned));
                seen.lock().unwrap().push(said);
                conn.answer("204 No Content", "", "").await;
            }
        }
    })
    .await;
    let client = client(&server, &authority);
    let behalf = OnBehalf { site: "Hampshire".into(), caller: "node CT1".into(), purpose: "direct-care".into() };
    client.on_behalf(&behalf).present(&study(), &[uid(1)]).await.unwrap();
    let told = heads.lock().unwrap().clone();
    let want = [Some("Hampshire".to_owned()), Some("node CT1".to_owned()), Some("direct-care".to_owned())];
    assert!(!told.is_empty() && told.iter().all(|said| *said == want), "{told:?}");
    heads.lock().unwrap().clear();
    client.present(&study(), &[uid(1)]).await.unwrap();
    assert!(heads.lock().unwrap().iter().all(|said| *said == [None, None, None]), "the other client says nothing");
}
