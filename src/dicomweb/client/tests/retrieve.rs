//! WADO-RS as client: what comes whole counts, what is cut off or not as it was said does not; and listings page by page.

use super::*;
use crate::dicom::part10::{FileMeta, prefix};
use crate::dicom::uid::{SeriesUid, SopClassUid};
use crate::dicomweb::multipart::{DATA_SET_DIGEST, digest_field};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

const KIND: &str = "Content-Type: multipart/related; type=\"application/dicom\"; boundary=edge\r\n";
/// The beginning of a data set in Explicit VR Little Endian.
pub(super) const DATA: &[u8] = b"\x08\x00\x16\x00UI\x04\x001.2\0";

pub(super) fn file(n: usize) -> Vec<u8> {
    let meta = FileMeta {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.7").unwrap(),
        sop_instance: uid(n),
        transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
    };
    [prefix(&meta), DATA.to_vec()].concat()
}

fn part_of(headers: &str, file: &[u8]) -> Vec<u8> {
    [format!("\r\n--edge\r\nContent-Type: application/dicom\r\n{headers}\r\n").as_bytes(), file].concat()
}

const END: &[u8] = b"\r\n--edge--\r\n";

/// What comes of an answer with a body, of which `cut` bytes are not sent: the pieces in short words, and how it ended.
async fn came(kind: &'static str, body: Vec<u8>, cut: usize) -> (Vec<String>, Result<(), String>) {
    let (server, authority) = with_server(move |mut conn| {
        let body = body.clone();
        async move {
            while let Some(head) = conn.head().await {
                assert_eq!(
                    head.header("accept"),
                    Some("multipart/related; type=\"application/dicom\"; transfer-syntax=*")
                );
                conn.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{kind}\r\n", body.len())).await;
                let _ = conn.stream.write_all(&body[..body.len() - cut]).await;
                let _ = conn.stream.flush().await;
                if cut > 0 {
                    return;
                }
            }
        }
    })
    .await;
    let client = client(&server, &authority);
    let mut retrieval = client.retrieve(&study(), &Part::Study, 4).await.unwrap();
    let mut words: Vec<String> = Vec::new();
    loop {
        match retrieval.next().await {
            Ok(Some(Piece::Begin { meta, digest })) => {
                words.push(format!("{} {}", meta.sop_instance.unwrap(), digest.is_some()));
            }
            Ok(Some(Piece::Data(bytes))) => assert!(DATA.ends_with(&bytes) || DATA.starts_with(&bytes)),
            Ok(Some(Piece::End)) => words.push("end".into()),
            Ok(Some(Piece::Bad(_))) => words.push("bad".into()),
            Ok(None) => return (words, Ok(())),
            Err(failure) => return (words, Err(failure.to_string())),
        }
    }
}

/// WEB-004, WEB-104: whole instances only, and an end only behind the closing boundary.
#[tokio::test]
async fn instances_come_one_after_the_other_and_a_cut_is_seen() {
    let two = || [part_of("", &file(1)), part_of("", &file(2)), END.to_vec()].concat();
    assert_eq!(
        came(KIND, two(), 0).await,
        (["1.2.3.1 false", "end", "1.2.3.2 false", "end"].map(String::from).into(), Ok(()))
    );
    let (words, ended) = came(KIND, two(), 20).await;
    assert_eq!(words, ["1.2.3.1 false", "end", "1.2.3.2 false"]);
    assert!(ended.unwrap_err().contains("broke off"));
    // The connection ends in order, and the body does not.
    let open = [part_of("", &file(1)), part_of("", &file(2))].concat();
    let (words, ended) = came(KIND, open, 0).await;
    assert_eq!(words, ["1.2.3.1 false", "end", "1.2.3.2 false"]);
    assert!(ended.unwrap_err().contains("closing boundary"));
    let single = came("Content-Type: application/dicom\r\n", file(3), 0).await;
    assert_eq!(single, (["1.2.3.3 false", "end"].map(String::from).into(), Ok(())));
}

/// WEB-104: a part that is not what the peer says of it does not count, and more parts than can be are an error.
#[tokio::test]
async fn parts_that_are_not_as_said_do_not_count() {
    let right: [u8; 32] = Sha256::digest(file(1)).into();
    let field = |digest: &[u8; 32]| format!("Repr-Digest: {}\r\n", digest_field(digest));
    let own = format!("{DATA_SET_DIGEST}: {}\r\n", digest_field(&right));
    let rows: [(Vec<u8>, &[&str]); 5] = [
        (part_of(&field(&right), &file(1)), &["1.2.3.1 false", "end"]),
        (part_of(&field(&[7; 32]), &file(1)), &["1.2.3.1 false", "bad"]),
        (part_of(&own, &file(1)), &["1.2.3.1 true", "end"]),
        (part_of("", b"no DICOM file"), &["bad"]),
        (part_of("Content-Encoding: gzip\r\n", &file(1)), &["bad"]),
    ];
    for (part, want) in rows {
        let body = [part, part_of("", &file(2)), END.to_vec()].concat();
        let (words, ended) = came(KIND, body, 0).await;
        let want: Vec<&str> = want.iter().copied().chain(["1.2.3.2 false", "end"]).collect();
        assert_eq!((words, ended), (want.into_iter().map(String::from).collect(), Ok(())));
    }
    let five = [(1..=5).flat_map(|n| part_of("", &file(n))).collect(), END.to_vec()].concat();
    let (words, ended) = came(KIND, five, 0).await;
    assert_eq!(words.len(), 8);
    assert!(ended.unwrap_err().contains("too many parts"));
}

/// WEB-104: an answer that is compressed as a whole is called so, and nothing of it counts.
#[tokio::test]
async fn a_retrieval_that_comes_compressed_is_called_so() {
    let (server, authority) = with_server(|mut conn| async move {
        while let Some(head) = conn.head().await {
            assert_eq!(head.header("accept-encoding"), Some("identity"));
            conn.answer("200 OK", &format!("{KIND}Content-Encoding: gzip\r\n"), "xx").await;
        }
    })
    .await;
    let failure = client(&server, &authority).retrieve(&study(), &Part::Study, 1).await.err().unwrap();
    let RetrieveFailure::Unreadable(why) = failure else { panic!("{failure}") };
    assert!(why.contains("Content-Encoding gzip"), "{why}");
}

/// WEB-004: a server that does not know the parameter is asked without it.
#[tokio::test]
async fn a_server_that_knows_no_wildcard_gives_what_it_likes() {
    let (server, authority) = with_server(|mut conn| async move {
        while let Some(head) = conn.head().await {
            match head.header("accept").unwrap().contains('*') {
                true => conn.answer("406 Not Acceptable", "", "").await,
                false => conn.answer("404 Not Found", "", "").await,
            }
        }
    })
    .await;
    let client = client(&server, &authority);
    let part = Part::Instance(SeriesUid::parse("1.2.4").unwrap(), uid(1));
    let failure = client.retrieve(&study(), &part, 1).await.err().unwrap();
    assert_eq!(failure, RetrieveFailure::Refused { status: 404, retry_after: None });
    assert_eq!(server.requests(), 2);
}

/// WEB-094: pages are read to their end, and what belongs elsewhere is passed over.
#[tokio::test]
async fn a_listing_is_read_to_its_end() {
    let (server, authority) = with_server(|mut conn| async move {
        let row = |n: usize, study: &str| {
            format!(
                r#"{{"00080018":{{"vr":"UI","Value":["{}"]}},"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["1.2.4"]}}}}"#,
                uid(n)
            )
        };
        while let Some(head) = conn.head().await {
            let rows = match head.target().rsplit_once("offset=").unwrap().1 {
                "0" => vec![row(1, "1.2.3"), row(2, "1.2.3")],
                "2" => vec![row(3, "1.2.3"), row(4, "1.2.9")],
                _ => vec![],
            };
            let kind = "Content-Type: application/dicom+json\r\n";
            match rows.is_empty() {
                true => conn.answer("204 No Content", "", "").await,
                false => conn.answer("200 OK", kind, &format!("[{}]", rows.join(","))).await,
            }
        }
    })
    .await;
    let listing = client(&server, &authority).listing(&study(), Duration::from_secs(10)).await.unwrap();
    assert_eq!(listing.in_part, None);
    assert_eq!(listing.instances.into_keys().collect::<Vec<_>>(), [uid(1), uid(2), uid(3)]);
}

/// One row of a list: a SOP Instance UID, and the series where it is told.
pub(super) fn row_of(instance: &str, series: Option<&str>) -> String {
    let series = series.map(|uid| format!(r#","0020000E":{{"vr":"UI","Value":["{uid}"]}}"#)).unwrap_or_default();
    format!(r#"{{"00080018":{{"vr":"UI","Value":["{instance}"]}}{series}}}"#)
}

/// DIM-089: what cannot be read of a list makes it one in part, not a shorter one; a peer that tells no series is asked for each of them.
#[tokio::test]
async fn what_cannot_be_read_of_a_listing_is_not_passed_over() {
    let one = uid(1).to_string();
    let cases: [(Vec<String>, bool); 4] = [
        (vec![row_of(&one, Some("1.2.4")), row_of("no uid", Some("1.2.4"))], true),
        (vec![row_of(&one, None), row_of(&uid(2).to_string(), None)], true),
        (vec![row_of(&one, None), row_of(&uid(2).to_string(), Some("1.2.5"))], false),
        (vec![row_of("no uid", Some("1.2.4"))], true),
    ];
    let mut told = Vec::new();
    for (rows, knows_series) in cases {
        let all = format!("[{}]", rows.join(","));
        let (server, authority) = with_server(move |mut conn| {
            let all = all.clone();
            async move {
                let kind = "Content-Type: application/dicom+json\r\n";
                while let Some(head) = conn.head().await {
                    let (path, query) = head.target().split_once('?').unwrap();
                    let series =
                        r#"[{"0020000E":{"vr":"UI","Value":["1.2.4"]}},{"0020000E":{"vr":"UI","Value":["1.2.5"]}}]"#;
                    let body = match path.rsplit('/').take(2).collect::<Vec<_>>()[..] {
                        _ if !query.ends_with("offset=0") => String::new(),
                        ["instances", "1.2.4"] => format!("[{}]", row_of(&uid(1).to_string(), None)),
                        ["instances", "1.2.5"] => format!("[{}]", row_of(&uid(2).to_string(), None)),
                        ["instances", _] => all.clone(),
                        ["studies", _] => String::new(),
                        _ if knows_series => series.to_owned(),
                        _ => String::new(),
                    };
                    match body.is_empty() {
                        true if path.ends_with("series") && !knows_series => {
                            conn.answer("400 Bad Request", "", "").await
                        }
                        true => conn.answer("204 No Content", "", "").await,
                        false => conn.answer("200 OK", kind, &body).await,
                    }
                }
            }
        })
        .await;
        let listing = client(&server, &authority).listing(&study(), Duration::from_secs(10)).await;
        let words = |list: StudyList| {
            let rows = list.instances.iter().map(|(uid, listed)| format!("{uid} {}", listed.series));
            (rows.collect::<Vec<_>>(), list.in_part)
        };
        told.push(listing.map(words));
    }
    let [first, second] = [format!("{one} 1.2.4"), format!("{} 1.2.5", uid(2))];
    assert_eq!(told[0], Ok((vec![first.clone()], Some(InPart::Unreadable))));
    assert_eq!(told[1], Ok((vec![first, second.clone()], None)));
    assert_eq!(told[2], Ok((vec![second], Some(InPart::Unreadable))));
    assert!(matches!(&told[3], Err(QueryFailure::Unreadable(_))), "{told:?}");
}

/// A server with one answer to a search for studies and one to a search for instances; behind the first page there is nothing.
async fn answering(studies: (&'static str, String), instances: (&'static str, String)) -> (Server, Authority) {
    with_server(move |mut conn| {
        let (studies, instances) = (studies.clone(), instances.clone());
        async move {
            while let Some(head) = conn.head().await {
                let (path, query) = head.target().split_once('?').unwrap();
                let (status, body) = match (path.ends_with("/studies"), query.ends_with("offset=0")) {
                    (true, _) => studies.clone(),
                    (false, true) => instances.clone(),
                    (false, false) => ("200 OK", "[]".to_owned()),
                };
                let kind = if body.is_empty() { "" } else { "Content-Type: application/dicom+json\r\n" };
                conn.answer(status, kind, &body).await;
            }
        }
    })
    .await
}

/// WEB-094, DIM-089: a list is believed as far as the server's own word on the study goes; "not found" counts only where the server's studies are
/// found and do not have it.
#[tokio::test]
async fn a_listing_is_believed_as_far_as_the_study_is() {
    let study_of = |count: &str| {
        let count =
            if count.is_empty() { String::new() } else { format!(r#","00201208":{{"vr":"IS","Value":[{count}]}}"#) };
        ("200 OK", format!(r#"[{{"0020000D":{{"vr":"UI","Value":["1.2.3"]}}{count}}}]"#))
    };
    let list = |count: usize| {
        let rows: Vec<String> = (1..=count).map(|n| row_of(&uid(n).to_string(), Some("1.2.4"))).collect();
        ("200 OK", format!("[{}]", rows.join(",")))
    };
    let (gone, none) = (("404 Not Found", String::new()), ("204 No Content", String::new()));
    type Row = ((&'static str, String), (&'static str, String), Option<(usize, Option<InPart>)>);
    let refused = |status| (status, String::new());
    let rows: [Row; 21] = [
        (study_of("2"), list(2), Some((2, None))),
        (study_of("5"), list(2), Some((2, Some(InPart::Fewer(5))))),
        (study_of("5"), none.clone(), Some((0, Some(InPart::Fewer(5))))),
        (study_of("1"), list(2), Some((2, None))),
        (study_of(""), list(2), Some((2, None))),
        (none.clone(), none.clone(), Some((0, None))),
        (none.clone(), gone.clone(), Some((0, None))),
        (gone.clone(), gone.clone(), None),
        (study_of("5"), gone.clone(), None),
        (("400 Bad Request", String::new()), gone, None),
        (("400 Bad Request", String::new()), list(2), Some((2, None))),
        (("200 OK", "[{}]".into()), none, None),
        (refused("401 Unauthorized"), list(2), Some((2, None))),
        (refused("403 Forbidden"), list(2), Some((2, None))),
        (refused("500 Internal Server Error"), list(2), Some((2, None))),
        (refused("500 Internal Server Error"), refused("404 Not Found"), None),
        // Who says later has said nothing.
        (refused("429 Too Many Requests"), list(2), None),
        (refused("503 Service Unavailable"), list(2), None),
        (refused("408 Request Timeout"), list(2), None),
        (refused("502 Bad Gateway"), list(2), None),
        (refused("504 Gateway Timeout"), list(2), None),
    ];
    for (studies, instances, want) in rows {
        let told = format!("{studies:?} {instances:?}");
        let (server, authority) = answering(studies, instances).await;
        let listing = client(&server, &authority).listing(&study(), Duration::from_secs(10)).await;
        assert_eq!(listing.ok().map(|list| (list.instances.len(), list.in_part)), want, "{told}");
    }
}

/// DIM-089: a study that grows between its list and its count is not one of which the list is cut short.
#[tokio::test]
async fn a_study_that_grows_is_listed_once_more_before_it_is_called_short() {
    let (lists, kind) = (Arc::new(AtomicUsize::new(0)), "Content-Type: application/dicom+json\r\n");
    let (server, authority) = with_server(move |mut conn| {
        let lists = Arc::clone(&lists);
        async move {
            while let Some(head) = conn.head().await {
                let (path, query) = head.target().split_once('?').unwrap();
                let body = match (path.ends_with("/studies"), query.ends_with("offset=0")) {
                    (true, _) => {
                        r#"[{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00201208":{"vr":"IS","Value":[2]}}]"#.into()
                    }
                    (false, true) => {
                        let here = (lists.fetch_add(1, Ordering::SeqCst) + 1).min(2);
                        let rows: Vec<String> =
                            (1..=here).map(|n| row_of(&uid(n).to_string(), Some("1.2.4"))).collect();
                        format!("[{}]", rows.join(","))
                    }
                    (false, false) => "[]".to_owned(),
                };
                conn.answer("200 OK", kind, &body).await;
            }
        }
    })
    .await;
    let listing = client(&server, &authority).listing(&study(), Duration::from_secs(10)).await.unwrap();
    assert_eq!((listing.instances.len(), listing.in_part), (2, None));
}

/// WEB-094: a server that does not take what is asked for besides, or fails at it, is asked without; one that says later is not pressed.
#[tokio::test]
async fn a_server_that_fails_at_what_is_asked_for_besides_is_asked_without() {
    let rows = [
        ("400 Bad Request", Some(5)),
        ("500 Internal Server Error", Some(5)),
        ("429 Too Many Requests", None),
        ("503 Service Unavailable", None),
    ];
    for (status, want) in rows {
        let (server, authority) = with_server(move |mut conn| async move {
            let kind = "Content-Type: application/dicom+json\r\n";
            let row = r#"[{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00201208":{"vr":"IS","Value":[5]}}]"#;
            while let Some(head) = conn.head().await {
                let (path, query) = head.target().split_once('?').unwrap();
                match (path.ends_with("/studies"), query.contains("includefield=")) {
                    (true, true) => conn.answer(status, "", "").await,
                    (true, false) => conn.answer("200 OK", kind, row).await,
                    (false, _) => conn.answer("204 No Content", "", "").await,
                }
            }
        })
        .await;
        let listing = client(&server, &authority).listing(&study(), Duration::from_secs(10)).await;
        assert_eq!(listing.ok().and_then(|list| list.counted), want, "{status}");
    }
}

/// IDY-040: a server that takes no more than some of what is asked for besides is still asked who issued the patient's number: the row says so.
#[tokio::test]
async fn a_server_that_takes_less_is_still_asked_whose_number_it_is() {
    use crate::dicom::attributes::{ISSUER_OF_PATIENT_ID, PATIENT_ID, STUDY_INSTANCE_UID, STUDY_RELATED_INSTANCES};
    use crate::dicomweb::dataset::Dataset;
    for (status, finds_patients) in [("400 Bad Request", true), ("500 Internal Server Error", false)] {
        let (server, authority) = with_server(move |mut conn| async move {
            let kind = "Content-Type: application/dicom+json\r\n";
            let row = r#"[{"0020000D":{"vr":"UI","Value":["1.2.3"]},"00100021":{"vr":"LO","Value":["RBB"]}}]"#;
            while let Some(head) = conn.head().await {
                let (path, query) = head.target().split_once('?').unwrap();
                let asked = query.split_once("includefield=").map(|(_, rest)| rest.split('&').next().unwrap());
                let takes = |tags: &str| tags.split(',').all(|tag| tag.starts_with("0010"));
                match (path.ends_with("/studies"), asked) {
                    (true, Some(tags)) if takes(tags) && query.ends_with("offset=0") => {
                        conn.answer("200 OK", kind, row).await
                    }
                    (true, Some(tags)) if !takes(tags) => conn.answer(status, "", "").await,
                    _ => conn.answer("204 No Content", "", "").await,
                }
            }
        })
        .await;
        let client = client(&server, &authority);
        let row = client.listing(&study(), Duration::from_secs(10)).await.unwrap().row.unwrap();
        assert_eq!(row.first_text(ISSUER_OF_PATIENT_ID), Some("RBB"), "{status}");
        let search = Search {
            resource: Resource::Studies,
            matches: vec![(PATIENT_ID, "4711".into())],
            include: vec![STUDY_RELATED_INSTANCES, ISSUER_OF_PATIENT_ID],
            page: 100,
            most: 100,
        };
        let found = client.search(&search).next().await.map(Option::unwrap_or_default);
        let issuers = found.map(|rows| {
            let of = |row: &Dataset| {
                row.first_text(STUDY_INSTANCE_UID).and(row.first_text(ISSUER_OF_PATIENT_ID)).map(str::to_owned)
            };
            rows.iter().map(of).collect::<Vec<_>>()
        });
        let want = finds_patients.then(|| vec![Some("RBB".to_owned())]);
        assert_eq!(issuers.ok(), want, "{status}: who fails at a search for a patient has not answered it");
    }
}

/// The same of a search below a study; and a success that holds no list is no empty one.
#[tokio::test]
async fn a_search_below_a_study_is_believed_as_far_as_the_study_is() {
    let counted = |count: u32| {
        let row = r#""0020000D":{"vr":"UI","Value":["1.2.3"]},"00201208":{"vr":"IS","Value":[COUNT]}"#;
        ("200 OK", format!("[{{{}}}]", row.replace("COUNT", &count.to_string())))
    };
    let one = || ("200 OK", format!("[{}]", row_of(&uid(1).to_string(), Some("1.2.4"))));
    let (gone, none) = (("404 Not Found", String::new()), ("204 No Content", String::new()));
    let rows: [(_, _, Result<(usize, u64), ()>); 9] = [
        (counted(1), one(), Ok((1, 0))),
        (counted(3), one(), Err(())),
        (none.clone(), gone.clone(), Ok((0, 0))),
        (gone.clone(), gone.clone(), Err(())),
        (gone.clone(), one(), Ok((1, 0))),
        (none.clone(), none.clone(), Ok((0, 0))),
        (none.clone(), ("200 OK", "[{}]".to_owned()), Ok((0, 1))),
        (none.clone(), ("200 OK", r#"{"message":"no such index"}"#.to_owned()), Err(())),
        (none, ("200 OK", " ".to_owned()), Err(())),
    ];
    for (studies, instances, want) in rows {
        let told = format!("{studies:?} {instances:?}");
        let (server, authority) = answering(studies, instances).await;
        let search = Search {
            resource: Resource::Instances(study(), None),
            matches: Vec::new(),
            include: Vec::new(),
            page: 100,
            most: 100,
        };
        let client = client(&server, &authority);
        let mut pages = client.search(&search);
        let mut found = 0;
        let ended = loop {
            match pages.next().await {
                Ok(Some(sets)) => found += sets.len(),
                Ok(None) => break Ok((found, pages.unread())),
                Err(_) => break Err(()),
            }
        };
        assert_eq!(ended, want, "{told}");
    }
}
