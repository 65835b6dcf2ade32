//! One instance as the whole body, cut off and gone on with.

use super::retrieve::{DATA, file};
use super::*;
use crate::dicom::uid::SeriesUid;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

/// One answer of a peer that gives an instance as the whole body: tag, whether it heeds ranges, the object, and how many bytes go before
/// the connection breaks, if it does.
type Turn = (&'static str, bool, usize, Option<usize>);

/// An object of 100,000 bytes and its file meta information.
fn long(n: usize) -> Vec<u8> {
    [file(n), vec![n as u8; 100_000]].concat()
}

/// What comes of such answers, one after the other: how often the instance began, the bytes since then, and how it ended; and the ranges
/// that were asked for.
async fn resumed(turns: &'static [Turn]) -> (usize, Vec<u8>, Result<(), String>, Vec<String>) {
    let (asked, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let told = Arc::clone(&seen);
    let (server, authority) = with_server(move |mut conn| {
        let (asked, told) = (Arc::clone(&asked), Arc::clone(&told));
        async move {
            while let Some(head) = conn.head().await {
                let Some((tag, ranges, object, cut)) = turns.get(asked.fetch_add(1, Ordering::SeqCst)) else { return };
                let given = |name| head.header(name).unwrap_or("none").to_owned();
                told.lock().unwrap().push(format!("{} {}", given("range"), given("if-range")));
                let (file, own) = (long(*object), format!("\"{tag}\""));
                let first = head.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
                let first = first.filter(|_| *ranges && head.header("if-range") == Some(&own));
                let first: usize = first.map_or(0, |first| first.parse().unwrap());
                let (status, span) = match first {
                    0 => ("200 OK", String::new()),
                    _ => {
                        let (last, total) = (file.len() - 1, file.len());
                        ("206 Partial Content", format!("Content-Range: bytes {first}-{last}/{total}\r\n"))
                    }
                };
                let body = &file[first..];
                let kind = format!("Content-Type: application/dicom\r\nContent-Length: {}\r\n", body.len());
                conn.send(&format!("HTTP/1.1 {status}\r\n{kind}ETag: {own}\r\n{span}\r\n")).await;
                let _ = conn.stream.write_all(&body[..cut.unwrap_or(body.len())]).await;
                let _ = conn.stream.flush().await;
                if cut.is_some() {
                    return;
                }
            }
        }
    })
    .await;
    let (series, client) = (SeriesUid::parse("1.2.4").unwrap(), client(&server, &authority));
    let mut retrieval = client.retrieve_alone(&study(), &series, &uid(1)).await.unwrap();
    let (mut begun, mut data) = (0, Vec::new());
    let ended = loop {
        match retrieval.next().await {
            Ok(Some(Piece::Begin { .. })) => {
                begun += 1;
                data.clear();
            }
            Ok(Some(Piece::Data(bytes))) => data.extend_from_slice(&bytes),
            Ok(Some(Piece::End)) => {}
            Ok(Some(Piece::Bad(why))) => break Err(why),
            Ok(None) => break Ok(()),
            Err(RetrieveFailure::BrokeOff(_)) if retrieval.can_resume() => match retrieval.resume().await {
                Ok(()) => {}
                Err(failure) => break Err(failure.to_string()),
            },
            Err(failure) => break Err(failure.to_string()),
        }
    };
    let seen = seen.lock().unwrap().clone();
    (begun, data, ended, seen)
}

/// WEB-103: one instance is gone on with where it broke off; what is another object by now, or comes without a range, begins anew.
#[tokio::test]
async fn one_instance_is_gone_on_with_where_it_broke_off() {
    let data = |n: usize| [DATA.to_vec(), vec![n as u8; 100_000]].concat();
    let (begun, came, ended, seen) =
        resumed(&[("a", true, 1, Some(60_000)), ("a", true, 1, Some(1)), ("a", true, 1, None)]).await;
    assert_eq!((begun, ended, came == data(1)), (1, Ok(()), true));
    assert_eq!(seen, ["none none", "bytes=60000- \"a\"", "bytes=60001- \"a\""]);
    // Another object under another tag: nothing of the first is left, and it is resumed in its turn.
    let (begun, came, ended, seen) =
        resumed(&[("a", true, 1, Some(60_000)), ("b", true, 2, Some(50_000)), ("b", true, 2, None)]).await;
    assert_eq!((begun, ended, came == data(2)), (2, Ok(()), true));
    assert_eq!(seen[2], "bytes=50000- \"b\"");
    // A peer that gives no ranges gives all of it again, and is not asked for a range once more.
    let (begun, came, ended, _) = resumed(&[("a", false, 1, Some(60_000)), ("a", false, 1, None)]).await;
    assert_eq!((begun, ended, came == data(1)), (2, Ok(()), true));
    let (_, _, ended, seen) = resumed(&[("a", false, 1, Some(60_000)), ("a", false, 1, Some(70_000))]).await;
    assert!(ended.unwrap_err().contains("broke off") && seen.len() == 2, "{seen:?}");
    // One that gives another object each time is not asked for ever.
    let turns = &[
        ("a", true, 1, Some(10)),
        ("b", true, 2, Some(10)),
        ("c", true, 3, Some(10)),
        ("d", true, 4, Some(10)),
        ("e", true, 5, Some(10)),
        ("f", true, 6, Some(10)),
    ];
    let (_, _, ended, seen) = resumed(turns).await;
    assert!(ended.unwrap_err().contains("broke off") && seen.len() == 5, "{seen:?}");
}

/// WEB-072, WEB-103: a peer that stalls again and again is noticed as soon the last time as the first.
#[tokio::test]
async fn each_stall_is_noticed_as_soon_as_the_first() {
    let (server, authority) = with_server(|mut conn| async move {
        while let Some(head) = conn.head().await {
            let file = long(1);
            let first = head.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
            let first: usize = first.map_or(0, |first| first.parse().unwrap());
            let (status, given) = if first == 0 { ("200 OK", 1000) } else { ("206 Partial Content", 1) };
            let (last, length, total) = (file.len() - 1, file.len() - first, file.len());
            let kind = format!("Content-Type: application/dicom\r\nContent-Length: {length}\r\nETag: \"a\"\r\n");
            conn.send(&format!("HTTP/1.1 {status}\r\n{kind}Content-Range: bytes {first}-{last}/{total}\r\n\r\n")).await;
            let _ = conn.stream.write_all(&file[first..first + given]).await;
            let _ = conn.stream.flush().await;
        }
    })
    .await;
    let window = Duration::from_millis(300);
    let options = ClientOptions { timing: Timing { window, ..timing() }, ..options(&server, &authority) };
    let client = PeerClient::new(options).unwrap();
    let series = SeriesUid::parse("1.2.4").unwrap();
    let mut retrieval = client.retrieve_alone(&study(), &series, &uid(1)).await.unwrap();
    let began = std::time::Instant::now();
    for _ in 0..6 {
        let failure = loop {
            match retrieval.next().await {
                Ok(piece) => assert!(piece.is_some(), "it does not end"),
                Err(failure) => break failure,
            }
        };
        assert!(failure.to_string().contains("too slowly"), "{failure}");
        retrieval.resume().await.unwrap();
    }
    // Each a window and a little; were each noticed twice as late as the one before, it would be 63 windows.
    assert!(began.elapsed() < window * 30, "{:?}", began.elapsed());
}

/// The head of an answer that does not say how long it is.
const CHUNKED: &str = "ETag: \"a\"\r\nTransfer-Encoding: chunked\r\n";

/// WEB-103: what is not the range that was asked for is not put behind what came, and without a strong tag nothing is resumed.
#[tokio::test]
async fn another_range_than_was_asked_for_is_not_taken() {
    let rows = [
        ("ETag: \"a\"\r\n", "ETag: \"a\"\r\nContent-Range: bytes 10-99/200\r\n", "another range"),
        ("ETag: \"a\"\r\n", "ETag: \"a\"\r\nContent-Range: bytes 100-198/199\r\n", "another range"),
        ("ETag: \"a\"\r\n", "ETag: \"b\"\r\nContent-Range: bytes 100-199/200\r\n", "another range"),
        ("ETag: \"a\"\r\n", "ETag: \"a\"\r\n", "another range"),
        (CHUNKED, "ETag: \"a\"\r\nContent-Range: bytes 100-199/*\r\n", "how long"),
        ("ETag: W/\"a\"\r\n", "", "broke off"),
        ("ETag: \"a\"\r\nAccept-Ranges: none\r\n", "", "broke off"),
        ("", "", "broke off"),
    ];
    for (first, second, want) in rows {
        let (server, authority) = with_server(move |mut conn| async move {
            if let Some(head) = conn.head().await {
                let (status, fields) = match head.header("range") {
                    None => ("200 OK", first),
                    Some(_) => ("206 Partial Content", second),
                };
                let (length, chunk) = match fields {
                    CHUNKED => ("", "c8\r\n"),
                    _ => ("Content-Length: 200\r\n", ""),
                };
                let kind = "Content-Type: application/dicom\r\n";
                conn.send(&format!("HTTP/1.1 {status}\r\n{kind}{length}{fields}\r\n{chunk}")).await;
                let _ = conn.stream.write_all(&[0; 100]).await;
                let _ = conn.stream.flush().await;
            }
        })
        .await;
        let (series, client) = (SeriesUid::parse("1.2.4").unwrap(), client(&server, &authority));
        let mut retrieval = client.retrieve_alone(&study(), &series, &uid(1)).await.unwrap();
        let mut failure = retrieval.next().await.unwrap_err();
        if retrieval.can_resume() {
            failure = retrieval.resume().await.unwrap_err();
        }
        assert!(failure.to_string().contains(want), "{first} {second}: {failure}");
    }
}
