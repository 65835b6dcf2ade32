//! What `nodes test` and `peers test` say of what the other side takes, without giving it anything (UIX-06).

use super::{answers, failing, is_silent, node_that, rejecting, site, tested, told_to_people};
use crate::support::caller::{APPLICATION_CONTEXT, Caller, IMPLICIT_LE, Pdu, item, pdu, read_request};
use crate::support::scripted_peer::{Said, ScriptedPeer, Seen, Step};
use crate::support::searched_peer::{Manner, SearchedPeer};
use crate::support::store_answer::Item;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::seconds;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// Answers a request by taking these classes and refusing all others (PS3.8 section 9.3.3.2), and what comes next as if it were a release;
/// that.
fn accepts_classes(node: &mut Caller, request: &[u8], takes: &[&str]) -> Option<Pdu> {
    let (mut at, mut results) = (68, Vec::new());
    while let Some(&[kind, _, high, low]) = request.get(at..at + 4) {
        let value = &request[at + 4..at + 4 + usize::from(u16::from_be_bytes([high, low]))];
        at += 4 + value.len();
        if kind == 0x20 {
            // Its ID, three bytes without meaning, and the abstract syntax as the first item.
            let length = usize::from(u16::from_be_bytes([value[6], value[7]]));
            let class = std::str::from_utf8(&value[8..8 + length]).unwrap();
            let result = if takes.contains(&class) { 0 } else { 3 };
            let syntax = item(0x40, IMPLICIT_LE.as_bytes());
            results.extend(item(0x21, &[&[value[0], 0, result, 0][..], &syntax].concat()));
        }
    }
    let user = item(0x50, &item(0x51, &[0; 4]));
    let accept = [&request[..68], &item(0x10, APPLICATION_CONTEXT), &results, &user].concat();
    node.send(&pdu(2, &accept)).ok()?;
    let next = node.read().ok();
    let _ = node.send(&pdu(6, &[0; 4]));
    next
}

/// A node that answers C-ECHO, takes these classes, and tells what it is sent on an association for storage.
fn storing(takes: &'static [&'static str]) -> (u16, mpsc::Receiver<Option<Pdu>>) {
    let (told, heard) = mpsc::channel();
    let echoed = AtomicBool::new(false);
    let port = node_that(move |node| {
        // One association for C-ECHO, then one for storage.
        if !echoed.fetch_not(Ordering::SeqCst) {
            return answers(node, 0);
        }
        let Ok(request) = read_request(&mut node.stream) else { return };
        let _ = told.send(accepts_classes(node, &request, takes));
    });
    (port, heard)
}

/// A node that has room for one association, and sees late that the one for C-ECHO is over; it takes these classes.
fn crowded(takes: &'static [&'static str]) -> u16 {
    let calls = AtomicUsize::new(0);
    node_that(move |node| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => answers(node, 0),
        1 => {
            let _ = read_request(&mut node.stream).and_then(|_| node.send(&pdu(3, &[0, 2, 3, 2])));
            is_silent(node);
        }
        _ => {
            let _ = read_request(&mut node.stream).map(|request| accepts_classes(node, &request, takes));
        }
    })
}

/// What a node takes is found out without sending anything; one that takes nothing of what is sent there is of no use, and one that is given
/// nothing need not take any.
#[test]
fn the_storage_classes_that_a_node_takes_are_told_and_nothing_is_sent() {
    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const OWN: &str = "1.3.12.2.1107.5.9.1";
    let stage = Stage::new();
    let ((some, sent_to_some), (none, sent_to_none)) = (storing(&[CT, OWN]), storing(&[]));
    let (asks, _) = storing(&[]);
    let full = rejecting([2, 3, 2]);
    let receive = "may = [\"store\", \"receive\"]\nfrom_addresses = [\"127.0.0.1/32\"]";
    let own = format!("{receive}\nsop_classes = [\"{OWN}\"]");
    let rows = [
        ("SOME", some, own.as_str(), None, 0, ""),
        ("NONE", none, receive, Some("storage"), 3, "NONE takes none of the"),
        ("ASKS", asks, "", None, 0, ""),
        ("FULL", full, receive, Some("association"), 3, ""),
        ("CROWDED", crowded(&[CT]), receive, None, 0, ""),
    ];
    let site = tested(&stage, &rows);
    let steps = site.ask(&["nodes", "test", "SOME", "--json"]);
    let storage = steps.iter().find(|line| line["step"] == "storage").unwrap();
    assert_eq!(storage["takes"], json!([OWN, CT]), "{storage}");
    let refuses = storage["refuses"].as_array().unwrap();
    assert!(refuses.iter().any(|class| class == "1.2.840.10008.5.1.4.1.1.4"), "{storage}");
    let said = site.cli(&["nodes", "test", "SOME"]).ok("nodes test");
    assert!(said.lines().any(|line| line.starts_with("takes ") && line.ends_with(&format!("{OWN}, CT"))), "{said}");
    told_to_people(&site, &["nodes", "test", "NONE"], "storage", 3, "abstract syntax not supported");
    for (heard, times) in [(sent_to_some, 3), (sent_to_none, 2)] {
        for _ in 0..times {
            assert_eq!(heard.recv_timeout(seconds(10)), Ok(Some(Pdu::ReleaseRequest)), "nothing is sent");
        }
    }
}

/// A peer whose queries are answered as they should be, and whose requests to store get this.
fn storing_so(stage: &Stage, status: u16, content_type: &'static str, body: &'static str) -> ScriptedPeer {
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let said = move |_: &[Item]| Said { status, content_type, body: body.as_bytes().to_vec(), keep: Vec::new() };
    peer.always(Some(Step::Say(Arc::new(said))));
    peer
}

/// PS3.18 section 10.5.3: a success of a service is told from one that anything gets.
#[test]
fn a_page_that_says_yes_to_everything_is_no_service_that_stores() {
    const JSON: &str = "application/dicom+json";
    let stage = Stage::new();
    let page = "<html><body>Welcome to the guest network</body></html>";
    let rows = [
        (200, "text/html", page, false),
        (201, "text/html; charset=utf-8", page, false),
        // What services say to a request without instances.
        (200, JSON, "{}", true),
        (200, "", "", true),
        (202, "application/json", "[]", true),
        (204, "", "", true),
        (400, "text/html", page, true),
        (400, "application/problem+json", "{\"detail\": \"the body holds no instance\"}", true),
        (409, "", "", true),
    ];
    let yes = SearchedPeer::start(&stage.authority.issue(B_IDENTITY), Manner::says("[]"));
    let folder = |n: usize| format!("a{n}");
    for (n, (status, content_type, body, good)) in rows.into_iter().enumerate() {
        let peer = storing_so(&stage, status, content_type, body);
        let site = site(&stage, &folder(n), stage.site_a(&peer.url()));
        let (failed, exit, said) = failing(&site, &["peers", "test", "b"]);
        let want = if good { (None, Some(0)) } else { (Some("store"), Some(3)) };
        assert_eq!((failed.as_deref(), exit), want, "{status} {content_type}: {said}");
        assert!(good || said.contains("a web page"), "{said}");
        let brings = |seen: &Seen| matches!(seen, Seen::Sent { instances, .. } if !instances.is_empty());
        assert!(!peer.log().iter().any(brings) && peer.held() == 0, "nothing is stored: {:?}", peer.log());
    }
    // Whoever says yes to every query and to every request to store says it to what no service has, too.
    let site = site(&stage, "yes", stage.site_a(&yes.url()));
    for status in [200, 204] {
        let body = if status == 200 { "[]" } else { "" };
        yes.manner(Manner { status, ..Manner::says(body) });
        let (failed, exit, said) = failing(&site, &["peers", "test", "b"]);
        assert_eq!((failed.as_deref(), exit), (Some("store"), Some(3)), "{status}: {said}");
        assert!(said.contains("anything that is sent to it"), "{said}");
    }
}
