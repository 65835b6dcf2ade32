//! STOW-RS: what goes over the wire, what each answer becomes, and how requests end early.

use super::*;
use crate::dicom::fired::note_fired;
use crate::dicomweb::multipart::{Event, Limits, Parser, boundary_of};
use crate::dicomweb::stow::{Referenced, StoreResponse};
use std::sync::Mutex;
use tokio::sync::oneshot;

const JSON: &str = "Content-Type: application/dicom+json\r\n";

fn module(uids: &[usize]) -> String {
    let referenced = uids.iter().map(|&n| Referenced {
        sop_class: None,
        sop_instance: uid(n),
        retrieve_url: None,
        warning_reason: None,
    });
    String::from_utf8(StoreResponse { referenced: referenced.collect(), ..StoreResponse::default() }.to_json()).unwrap()
}

/// A server that reads each request whole and gives one answer.
async fn answering(status: &'static str, headers: String, body: String) -> (Server, Authority) {
    with_server(move |mut conn| {
        let (headers, body) = (headers.clone(), body.clone());
        async move {
            while let Some(head) = conn.head().await {
                conn.skip(head.length()).await;
                conn.answer(status, &headers, &body).await;
            }
        }
    })
    .await
}

/// The module of a compressed answer is not known, and it is said why; an answer without a body has none to be compressed.
#[tokio::test]
async fn an_answer_that_is_compressed_tells_nothing_of_the_instances() {
    for (body, unread) in [("xx", true), ("", false)] {
        let headers = format!("{JSON}Content-Encoding: br\r\n");
        let (server, authority) = answering("409 Conflict", headers, body.to_owned()).await;
        let answer = client(&server, &authority).store(&study(), self::body(10)).await.unwrap();
        assert_eq!(answer.status, 409);
        match answer.module {
            Err(why) => assert!(unread && why.contains("Content-Encoding br"), "{why}"),
            Ok(module) => assert!(!unread && module.is_none()),
        }
    }
}

#[tokio::test]
async fn a_sized_multipart_body_goes_out_and_the_module_comes_back() {
    let (seen, saw) = oneshot::channel();
    let seen = Mutex::new(Some(seen));
    let (server, authority) = with_server(move |mut conn| {
        let seen = seen.lock().unwrap().take();
        async move {
            let head = conn.head().await.unwrap();
            let body = conn.body(head.length()).await;
            conn.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            conn.answer("200 OK", &format!("{JSON}Warning: 299 x: all is well\r\n"), &module(&[7])).await;
            let _ = seen.unwrap().send((head, body));
        }
    })
    .await;
    let options = ClientOptions { token: Some("s3cret".into()), ..options(&server, &authority) };
    let parts = PartsBody::related(vec![bytes_part(100_000), bytes_part(0), bytes_part(3)]).unwrap();
    let length = parts.length();
    let answer = PeerClient::new(options).unwrap().store(&study(), parts).await.unwrap();
    assert_eq!((answer.status, answer.body_sent, answer.sent), (200, true, length));
    assert_eq!(answer.module.unwrap().unwrap().referenced[0].sop_instance, uid(7));
    assert_eq!(answer.warnings, ["299 x: all is well"]);

    let (head, body) = saw.await.unwrap();
    assert!(head.0.starts_with("POST /dicom-web/studies/1.2.3 HTTP/1.1\r\n"), "{}", head.0);
    assert_eq!(head.length() as u64, length);
    assert_eq!((head.header("transfer-encoding"), head.header("accept")), (None, Some("application/dicom+json")));
    assert_eq!(head.header("authorization"), Some("Bearer s3cret"));
    let related = boundary_of(head.header("content-type").unwrap()).unwrap();
    let mut parser = Parser::new(&related.boundary, Limits::default()).unwrap();
    parser.push(Bytes::from(body));
    let mut lengths = Vec::new();
    loop {
        match parser.next().unwrap() {
            Event::PartStart(part) => {
                assert_eq!(part.transfer_syntax(), Some("1.2.840.10008.1.2.1"));
                lengths.push((part.content_length.unwrap(), 0));
            }
            Event::Data(data) => lengths.last_mut().unwrap().1 += data.len() as u64,
            Event::PartEnd => {}
            Event::End => break,
            Event::NeedMore => panic!("the body has no end"),
        }
    }
    assert_eq!(lengths, [(100_000, 100_000), (0, 0), (3, 3)]);
}

/// WEB-051: where a peer takes nothing below a study, all of it goes to its studies.
#[tokio::test]
async fn a_request_goes_below_its_study_or_to_all_studies() {
    let targets = Arc::new(Mutex::new(Vec::new()));
    let seen = targets.clone();
    let (server, authority) = with_server(move |mut conn| {
        let seen = seen.clone();
        async move {
            while let Some(head) = conn.head().await {
                seen.lock().unwrap().push(head.target().to_owned());
                conn.skip(head.length()).await;
                conn.answer("200 OK", JSON, &module(&[1])).await;
            }
        }
    })
    .await;
    let client = client(&server, &authority);
    for answer in [client.store(&study(), body(10)).await, client.store_plainly(body(10)).await] {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(*targets.lock().unwrap(), ["/dicom-web/studies/1.2.3", "/dicom-web/studies"]);
}

#[tokio::test]
async fn each_answer_is_handed_over_as_it_is() {
    let rows = [
        ("200 OK", JSON.to_owned(), module(&[1]), Ok(Some(1))),
        ("200 OK", String::new(), String::new(), Ok(None)),
        ("202 Accepted", JSON.to_owned(), module(&[1, 2]), Ok(Some(2))),
        ("204 No Content", String::new(), String::new(), Ok(None)),
        ("200 OK", "Content-Type: text/html\r\n".into(), "<html>login</html>".into(), Err("text/html")),
        ("200 OK", JSON.into(), module(&[1])[..30].into(), Err("ends too early")),
        ("308 Permanent Redirect", "Location: https://elsewhere.test/\r\n".into(), String::new(), Ok(None)),
        ("409 Conflict", JSON.to_owned(), module(&[1]), Ok(Some(1))),
        ("500 Internal Server Error", "Content-Type: text/plain\r\n".into(), "oops".into(), Err("text/plain")),
    ];
    for (status, headers, text, want) in rows {
        let (server, authority) = answering(status, headers, text).await;
        let answer = client(&server, &authority).store(&study(), body(5000)).await.unwrap();
        assert_eq!(answer.status.to_string(), status[..3]);
        let says_nothing = !matches!(want, Ok(Some(_)));
        match (answer.module, want) {
            (Ok(module), Ok(count)) => assert_eq!(module.map(|m| m.referenced.len()), count, "{status}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, want) => panic!("{status}: {got:?}, wanted {want:?}"),
        }
        assert_eq!(server.requests(), 1, "{status}: neither redirects nor retries");
        if says_nothing {
            note_fired(1);
        }
    }
}

#[tokio::test]
async fn retry_after_comes_clamped() {
    for (value, want) in [("120", Some(120)), ("-1", Some(1)), ("999999999", Some(3600)), ("soon", None)] {
        let (server, authority) =
            answering("503 Service Unavailable", format!("Retry-After: {value}\r\n"), String::new()).await;
        let answer = client(&server, &authority).store(&study(), body(10)).await.unwrap();
        assert_eq!((answer.status, answer.retry_after.map(|d| d.as_secs())), (503, want), "{value}");
    }
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_not_read() {
    let long = " ".repeat(5000);
    let sized = format!("Content-Length: 5000\r\n\r\n{long}");
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n1388\r\n{long}\r\n0\r\n\r\n");
    for rest in [sized, chunked] {
        let (server, authority) = with_server(move |mut conn| {
            let text = format!("HTTP/1.1 200 OK\r\n{JSON}{rest}");
            async move {
                let head = conn.head().await.unwrap();
                conn.skip(head.length()).await;
                conn.send(&text).await;
                conn.head().await;
            }
        })
        .await;
        let options = ClientOptions { answer_bytes: 4999, ..options(&server, &authority) };
        let answer = PeerClient::new(options).unwrap().store(&study(), body(10)).await.unwrap();
        assert_eq!((answer.status, answer.module), (200, Err("the answer is longer than 4999 bytes".into())));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_trickles_keeps_its_status() {
    for trickle in [false, true] {
        let (server, authority) = with_server(move |mut conn| async move {
            let head = conn.head().await.unwrap();
            conn.skip(head.length()).await;
            conn.send(&format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 1000\r\n\r\n{{")).await;
            if trickle {
                conn.head().await;
            }
        })
        .await;
        let timing = Timing { window: Duration::from_millis(300), ..timing() };
        let options = ClientOptions { timing, ..options(&server, &authority) };
        let answer = PeerClient::new(options).unwrap().store(&study(), body(10)).await.unwrap();
        let why = answer.module.unwrap_err();
        assert_eq!(answer.status, 200);
        assert!(why.contains(if trickle { "too slowly" } else { "broke off after 1 bytes" }), "{why}");
        note_fired(1);
    }
}

#[tokio::test]
async fn an_early_refusal_is_read_and_the_rest_is_not_sent() {
    const LENGTH: usize = 64 << 20;
    let (told, rest) = oneshot::channel();
    let told = Mutex::new(Some(told));
    let (server, authority) = with_server(move |mut conn| {
        let told = told.lock().unwrap().take();
        async move {
            let head = conn.head().await.unwrap();
            let mut read = conn.body(100_000).await.len();
            conn.answer("413 Content Too Large", JSON, &module(&[1])).await;
            loop {
                match conn.body(64 << 10).await.len() {
                    0 => break,
                    some => read += some,
                }
            }
            let _ = told.unwrap().send((head.length(), read));
        }
    })
    .await;
    let answer = client(&server, &authority).store(&study(), body(LENGTH)).await.unwrap();
    assert_eq!((answer.status, answer.body_sent), (413, false));
    assert_eq!(answer.module.unwrap().unwrap().referenced.len(), 1);
    let (announced, read) = rest.await.unwrap();
    assert!(announced > LENGTH && read < LENGTH / 2, "{read} of {announced} bytes came");
    assert!(answer.sent < LENGTH as u64 / 2);
    note_fired(1);
}

#[tokio::test]
async fn our_own_failure_breaks_the_request_off_before_its_end() {
    let chunk = |n: usize| Ok::<_, SourceError>(Bytes::from(vec![1; n]));
    type Make = Box<dyn Fn() -> PartsBody>;
    let failing = move || {
        let end = Err(SourceError::from("the digest differs"));
        PartsBody::related(vec![part(stream::iter([chunk(50_000), end]), 50_000), bytes_part(10)]).unwrap()
    };
    let shorter = move || PartsBody::related(vec![part(stream::iter([chunk(10)]), 11)]).unwrap();
    let longer = move || PartsBody::related(vec![part(stream::iter([chunk(12)]), 11)]).unwrap();
    let whole_longer = move || PartsBody::new("a/b".into(), 11, stream::iter([chunk(11), chunk(1)]).boxed());
    let whole_fails = move || PartsBody::new("a/b".into(), 11, stream::iter([chunk(11), Err("late".into())]).boxed());
    let rows: Vec<(Make, &str)> = vec![
        (Box::new(failing), "the digest differs"),
        (Box::new(shorter), "shorter than announced"),
        (Box::new(longer), "longer than announced"),
        (Box::new(whole_longer), "longer than announced"),
        (Box::new(whole_fails), "late"),
    ];
    for (make, why) in rows {
        let (told, rest) = oneshot::channel();
        let told = Mutex::new(Some(told));
        let (server, authority) = with_server(move |mut conn| {
            let told = told.lock().unwrap().take();
            async move {
                let head = conn.head().await;
                let announced = head.map_or(usize::MAX, |head| head.length());
                let read = conn.body(announced).await.len();
                let _ = told.unwrap().send((announced, read));
            }
        })
        .await;
        let failure = client(&server, &authority).store(&study(), make()).await.unwrap_err();
        assert_eq!(failure.stage, Stage::Source, "{failure}");
        assert!(failure.detail.contains(why), "{failure}");
        assert_eq!(failure.surely_not_sent(), failure.sent == 0);
        let (announced, read) = rest.await.unwrap();
        assert!(read < announced, "{why}: the whole request came");
    }
}

#[tokio::test]
async fn dropping_the_request_breaks_it_off() {
    let (told, rest) = oneshot::channel();
    let (started, start) = oneshot::channel();
    let senders = Mutex::new(Some((told, started)));
    let (server, authority) = with_server(move |mut conn| {
        let (told, started) = senders.lock().unwrap().take().unwrap();
        async move {
            let head = conn.head().await.unwrap();
            let _ = conn.body(1000).await;
            let _ = started.send(());
            let _ = told.send(conn.skip(head.length() - 1000).await);
        }
    })
    .await;
    let endless = part(stream::iter([Ok(Bytes::from(vec![0; 5000]))]).chain(stream::pending()), 6000);
    let client = client(&server, &authority);
    let sending = tokio::spawn(async move { client.store(&study(), PartsBody::related(vec![endless]).unwrap()).await });
    start.await.unwrap();
    sending.abort();
    assert!(!rest.await.unwrap(), "the request came whole");
}

#[tokio::test]
async fn stalls_end_the_request() {
    let quick = Timing { window: Duration::from_millis(400), answer: Duration::from_millis(400), ..timing() };
    // A peer that takes nothing; a peer that takes all and never answers; a source that never comes.
    let stuck = || part(stream::iter([Ok(Bytes::from(vec![0; 5000]))]).chain(stream::pending()), 6000);
    let rows = [
        (false, body(64 << 20), Stage::Timeout, "took less than"),
        (true, body(1000), Stage::Timeout, "no answer within"),
        (true, PartsBody::related(vec![stuck()]).unwrap(), Stage::Source, "our own data came too slowly"),
    ];
    for (reads, body, stage, why) in rows {
        let (server, authority) = with_server(move |mut conn| async move {
            let head = conn.head().await.unwrap();
            if reads && conn.skip(head.length()).await {
                conn.head().await;
            }
            if !reads {
                std::future::pending::<()>().await;
            }
        })
        .await;
        let options = ClientOptions { timing: quick, ..options(&server, &authority) };
        let failure = PeerClient::new(options).unwrap().store(&study(), body).await.unwrap_err();
        assert_eq!(failure.stage, stage, "{failure}");
        assert!(failure.detail.contains(why) && !failure.surely_not_sent(), "{failure}");
        note_fired(1);
    }
}

#[tokio::test]
async fn a_slow_but_steady_peer_is_waited_for() {
    let (server, authority) = with_server(move |mut conn| async move {
        let head = conn.head().await.unwrap();
        let mut left = head.length();
        // Some 2 MB in slices, each well within the window.
        while left > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            left -= conn.body(left.min(64 << 10)).await.len();
        }
        conn.answer("200 OK", JSON, "{}").await;
    })
    .await;
    let timing = Timing { window: Duration::from_millis(500), ..timing() };
    let options = ClientOptions { timing, ..options(&server, &authority) };
    let answer = PeerClient::new(options).unwrap().store(&study(), body(2 << 20)).await.unwrap();
    assert_eq!((answer.status, answer.body_sent), (200, true));
}

#[tokio::test]
async fn a_success_that_begins_early_does_not_stop_the_request() {
    let (server, authority) = with_server(|mut conn| async move {
        let head = conn.head().await.unwrap();
        let json = module(&[1]);
        conn.send(&format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: {}\r\n\r\n", json.len())).await;
        if conn.skip(head.length()).await {
            conn.send(&json).await;
        }
    })
    .await;
    let answer = client(&server, &authority).store(&study(), body(32 << 20)).await.unwrap();
    assert_eq!((answer.status, answer.body_sent), (200, true));
    assert_eq!(answer.module.unwrap().unwrap().referenced[0].sop_instance, uid(1));
}

/// A peer that closes right behind its early answer resets the connection under our writing; the answer may be lost
/// with it. Then the request is told as ambiguous, never as unsent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_refusal_with_a_reset_behind_it_is_read_or_ambiguous() {
    for _ in 0..10 {
        let (server, authority) = with_server(|mut conn| async move {
            conn.head().await.unwrap();
            conn.body(100_000).await;
            conn.answer("413 Content Too Large", JSON, &module(&[1])).await;
        })
        .await;
        match client(&server, &authority).store(&study(), body(64 << 20)).await {
            Ok(answer) => assert_eq!((answer.status, answer.body_sent), (413, false)),
            Err(failure) => assert!(failure.stage == Stage::AfterFirstByte && !failure.surely_not_sent(), "{failure}"),
        }
        assert_eq!(server.requests(), 1);
        note_fired(1);
    }
}
