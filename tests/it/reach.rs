//! `peers test`, `peers probe` and `nodes test`: each layer on the way to the other side fails once, and is named (UIX-06, WEB-073).

mod taking;

use crate::support::caller::{
    APPLICATION_CONTEXT, Caller, IMPLICIT_LE, Pdu, VERIFICATION, command, item, pdu, read_pdu, read_request,
};
use crate::support::certs::{Authority, Identity};
use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::StoreScp;
use crate::support::gateway::Gateway;
use crate::support::scripted_peer::{ScriptedPeer, Step, tls};
use crate::support::searched_peer::{Manner, SearchedPeer};
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wait::seconds;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, mpsc};

/// A site with one peer `b` that is not started.
fn site(stage: &Stage, folder: &str, config: SiteConfig) -> Gateway {
    Gateway::prepare(&stage.path().join(folder), config)
}

/// A listener that answers whatever it is told with a line of another protocol.
fn chatterer() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut some = [0; 64];
            let _ = stream.read(&mut some);
            let _ = stream.write_all(b"220 mail.example ESMTP ready, who are you?\r\n");
        }
    });
    port
}

/// A node that rejects every association so: result, source, reason.
fn rejecting(answer: [u8; 3]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if read_pdu(&mut stream).is_ok() {
                let _ = stream.write_all(&pdu(3, &[&[0], &answer[..]].concat()));
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    });
    port
}

/// A port that neither takes a connection nor refuses one, as long as this lives: the queue of its listener is full.
struct BlackHole {
    port: u16,
    _full: (TcpListener, Vec<TcpStream>),
}

impl BlackHole {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let (address, mut queue) = (listener.local_addr().unwrap(), Vec::new());
        loop {
            match TcpStream::connect_timeout(&address, seconds(1)) {
                Ok(stream) => queue.push(stream),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    return Self { port: address.port(), _full: (listener, queue) };
                }
            }
            assert!(queue.len() < 100, "its queue has an end");
        }
    }
}

/// A node that does this on each connection and closes it then, one after another.
fn node_that(does: impl Fn(&mut Caller) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            does(&mut Caller { stream });
        }
    });
    port
}

/// Says nothing until the other side goes.
fn is_silent(node: &mut Caller) {
    let _ = node.stream.read_to_end(&mut Vec::new());
}

/// Answers the request for an association, with this result for its first context (PS3.8 section 9.3.3.2); what comes next.
fn accepts(node: &mut Caller, result: u8) -> Option<Pdu> {
    let request = read_request(&mut node.stream).ok()?;
    let context = item(0x21, &[&[1, 0, result, 0][..], &item(0x40, IMPLICIT_LE.as_bytes())].concat());
    let user = item(0x50, &item(0x51, &[0; 4]));
    node.send(&pdu(2, &[&request[..68], &item(0x10, APPLICATION_CONTEXT), &context, &user].concat())).ok()?;
    node.read().ok()
}

/// Answers C-ECHO with this status, and the release.
fn answers(node: &mut Caller, status: u16) {
    if accepts(node, 0).is_none() {
        return;
    }
    let answer = command(&[
        (0x0002, VERIFICATION.as_bytes()),
        (0x0100, &[0x30, 0x80]),
        (0x0120, &[1, 0]),
        (0x0800, &[1, 1]),
        (0x0900, &status.to_le_bytes()),
    ]);
    let _ = node.fragment(1, true, true, &answer);
    if let Ok(Pdu::ReleaseRequest) = node.read() {
        let _ = node.send(&pdu(6, &[0; 4]));
    }
}

/// One that speaks TLS as it should, and another protocol over it.
fn chatterer_over_tls(identity: &Identity) -> u16 {
    let config = tls(identity);
    node_that(move |node| {
        let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(session, node.stream.try_clone().unwrap());
        let _ = stream.read(&mut [0; 16 << 10]);
        let _ = stream.write_all(b"220 mail.example ESMTP ready, who are you?\r\n");
        let _ = stream.flush();
    })
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Whether this is told of a step that was passed, or that there was no need to go.
fn passed(result: &str) -> bool {
    result == "ok" || result.starts_with("none (")
}

/// Which step fails, with which exit code; all before it are passed.
fn failing(site: &Gateway, command: &[&str]) -> (Option<String>, Option<i32>, String) {
    let said = site.cli(&[command, &["--json"]].concat());
    let steps: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = steps.iter().find(|step| !passed(step["result"].as_str().unwrap()));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    (failed.map(|step| word(&step["step"])), said.code, failed.map(|step| word(&step["result"])).unwrap_or_default())
}

#[test]
fn each_layer_on_the_way_to_a_peer_is_named_when_it_fails() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let url = |port: u16| format!("https://{}/dicom-web", at(port));
    let other = Authority::new(&stage.path().join("other"), "others").issue(A_IDENTITY);
    let stranger = |mut config: SiteConfig| {
        // Our certificate is one that the peer's authority did not sign; whom we trust stays.
        config.identity.certificate = other.certificate.clone();
        config.identity.key = other.key.clone();
        config
    };
    let wrong = SiteConfig::new("a", stage.identity_of_a()).peer("b", &peer.url(), "c.weybridge.test", "present");
    let rows = [
        ("all", stage.site_a(&peer.url()), None, 0, ""),
        ("dns", stage.site_a("https://no-such-host.invalid/dicom-web"), Some("name"), 3, "cannot be resolved"),
        ("closed", stage.site_a(&url(free_port())), Some("connection"), 3, "refused"),
        ("plain", stage.site_a(&url(chatterer())), Some("TLS"), 4, "TLS"),
        ("wrong", wrong, Some("identity"), 4, "identity"),
        ("stranger", stranger(stage.site_a(&peer.url())), Some("permission"), 4, "refuses our certificate"),
        ("path", stage.site_a(&peer.url().replace("dicom-web", "elsewhere")), Some("query"), 3, "404"),
    ];
    for (name, config, step, code, words) in rows {
        let (failed, exit, said) = failing(&site(&stage, name, config), &["peers", "test", "b"]);
        assert_eq!((failed.as_deref(), exit), (step, Some(code)), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
    }
    // The same peer, by what it says to a query and to a request without instances.
    let site = site(&stage, "said", stage.site_a(&peer.url()));
    let rows = [
        (Some(401), Some(401), Some("permission"), 4),
        (Some(403), Some(403), Some("permission"), 4),
        (Some(404), Some(404), Some("service"), 3),
        (None, Some(403), Some("store"), 3),
        (None, Some(404), Some("store"), 3),
        (Some(403), Some(400), Some("query"), 3),
        (Some(500), Some(400), Some("query"), 3),
        (None, Some(400), None, 0),
    ];
    for (query, store, step, code) in rows {
        peer.refuse_queries(query);
        peer.always(store.map(|status| Step::Refuse(status, None)));
        let (failed, exit, said) = failing(&site, &["peers", "test", "b"]);
        assert_eq!((failed.as_deref(), exit), (step, Some(code)), "{query:?} {store:?}: {said}");
    }
    assert_eq!(peer.held(), 0, "nothing was stored");
}

#[test]
fn each_layer_on_the_way_to_a_node_is_named_when_it_fails() {
    let stage = Stage::new();
    let out = stage.path().join("out");
    std::fs::create_dir_all(&out).unwrap();
    let node = StoreScp::start(&out, "OUT");
    let closed = free_port();
    let chatterer = chatterer();
    // One that shows a good certificate, and one that believes another authority than ours.
    let ours = stage.authority.issue("node.test");
    let good = StoreScp::start_tls(&stage.path().join("good"), "GOOD", &ours);
    let trust = Authority::new(&stage.path().join("other"), "others").trust();
    let strict = StoreScp::start_tls(&stage.path().join("strict"), "STRICT", &Identity { trust, ..ours });
    // One that does not know us, and one that is full.
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let full = rejecting([2, 3, 2]);
    let named = |name: &str| format!("identity = \"{name}\"");
    let rows = [
        ("OUT", at(node.port), String::new(), None, 0),
        ("DNS", "no-such-host.invalid:104".into(), String::new(), Some("name"), 3),
        ("CLOSED", at(closed), String::new(), Some("connection"), 3),
        ("TLSLESS", at(chatterer), named("node.test"), Some("TLS"), 4),
        ("GOOD", at(good.port), named("node.test"), None, 0),
        ("WRONG", at(good.port), named("another.test"), Some("identity"), 4),
        ("STRICT", at(strict.port), named("node.test"), Some("permission"), 4),
        ("STRANGER", at(b.config.dicom_port), String::new(), Some("permission"), 4),
        // storescp passes a user identity over in silence.
        ("SILENT", at(node.port), "user = \"gateway\"".into(), Some("permission"), 4),
        ("FULL", at(full), String::new(), Some("association"), 3),
        ("CHATTER", at(chatterer), String::new(), Some("association"), 3),
    ];
    let mut config = stage.site_a("https://127.0.0.1:9/dicom-web");
    for (title, address, more, ..) in &rows {
        config = config.with(&format!(
            "[[node]]\nae_title = \"{title}\"\naddress = \"{address}\"\nmay = [\"receive\"]\nfrom_addresses = [\"127.0.0.1/32\"]\n{more}"
        ));
    }
    let site = site(&stage, "a", config);
    for (title, _, _, step, code) in rows {
        let (failed, exit, said) = failing(&site, &["nodes", "test", title]);
        assert_eq!((failed.as_deref(), exit), (step, Some(code)), "{title}: {said}");
        let words = match title {
            "TLSLESS" => "does not speak TLS on this port",
            "WRONG" => "does not carry the configured `identity`",
            "STRICT" => "our certificate",
            _ => "",
        };
        assert!(said.contains(words), "{title}: {said}");
    }
    // Who is spoken to in the clear has shown nothing.
    for (title, plain) in [("OUT", true), ("GOOD", false)] {
        let said = site.cli(&["nodes", "test", title]).ok("nodes test");
        for step in ["TLS", "identity"] {
            let line = said.lines().find(|line| line.starts_with(step)).unwrap();
            assert_eq!(line.ends_with("none (plain)"), plain, "{title}: {said}");
        }
    }
}

/// What people are told: all before the step that fails are passed, none behind it is tried, and the reason stands in its line.
fn told_to_people(site: &Gateway, command: &[&str], step: &str, code: i32, words: &str) {
    let said = site.cli(command);
    let lines: Vec<&str> = said.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with(step)).unwrap();
    let result = |line: &str| line.split_once(' ').unwrap().1.trim_start().to_owned();
    assert!(lines[..at].iter().all(|line| passed(&result(line))), "{said:?}");
    assert!(lines[at].contains(words), "{said:?}");
    assert!(lines[at + 1..].iter().all(|line| line.ends_with("not tried")), "{said:?}");
    assert_eq!((said.code, said.stderr.is_empty()), (Some(code), false), "{said:?}");
}

/// Long enough for a handshake on a busy machine, and short enough to be waited for.
const SHORT: &str =
    "[timers]\nconnect = \"3s\"\ntls_handshake = \"3s\"\nnegotiation = \"3s\"\nresponse = \"3s\"\nrelease = \"3s\"";

/// A node: its title, its port, further keys, the step at which it fails, the exit code, and words that are said of it.
type Tested<'a> = (&'a str, u16, &'a str, Option<&'a str>, i32, &'a str);

/// A site at which each of these nodes was tested, and told as its row says.
fn tested(stage: &Stage, rows: &[Tested<'_>]) -> Gateway {
    let mut config = stage.site_a("https://127.0.0.1:9/dicom-web").with(SHORT);
    for (title, port, more, ..) in rows.iter().copied() {
        let address = at(port);
        config = config.with(&format!("[[node]]\nae_title = \"{title}\"\naddress = \"{address}\"\n{more}"));
    }
    let site = site(stage, "a", config);
    for (title, _, _, step, code, words) in rows.iter().copied() {
        let (failed, exit, said) = failing(&site, &["nodes", "test", title]);
        assert_eq!((failed.as_deref(), exit), (step, Some(code)), "{title}: {said}");
        assert!(said.contains(words), "{title}: {said}");
    }
    site
}

#[test]
fn a_node_that_falls_silent_leaves_or_refuses_is_named_by_the_step_at_which_it_did() {
    let stage = Stage::new();
    let hole = BlackHole::open();
    let (silent, leaves) = (node_that(is_silent), node_that(|_| {}));
    let abort = pdu(7, &[0; 4]);
    let also = abort.clone();
    let aborts = node_that(move |node| {
        let _ = read_request(&mut node.stream).and_then(|_| node.send(&abort));
    });
    let aborts_later = node_that(move |node| {
        let _ = (accepts(node, 0), node.send(&also));
    });
    let silent_later = node_that(|node| {
        let _ = (accepts(node, 0), is_silent(node));
    });
    let (told, heard) = mpsc::channel();
    let knows_no_echo = node_that(move |node| {
        let next = accepts(node, 3);
        let _ = (told.send(next), node.send(&pdu(6, &[0; 4])));
    });
    let (refuses, takes) = (node_that(|node| answers(node, 0x0122)), node_that(|node| answers(node, 0)));
    // Certificates that count for nothing: one that ran out, and one of an authority that nobody here knows.
    let expired = ScriptedPeer::start(&stage.authority.issue_expired("node.test"));
    let unknown = Authority::new(&stage.path().join("other"), "others").issue("node.test");
    let unknown = ScriptedPeer::start(&Identity { trust: stage.authority.trust(), ..unknown });
    let tls = "identity = \"node.test\"";
    let rows = [
        ("HOLE", hole.port, "", Some("connection"), 3, "took too long"),
        ("TLSSILENT", silent, tls, Some("TLS"), 4, "took too long"),
        ("TLSLEAVES", leaves, tls, Some("TLS"), 4, "TLS with"),
        ("EXPIRED", expired.port, tls, Some("TLS"), 4, ""),
        ("UNKNOWN", unknown.port, tls, Some("TLS"), 4, ""),
        ("SILENT", silent, "", Some("association"), 3, "took too long"),
        ("LEAVES", leaves, "", Some("association"), 3, ""),
        ("ABORTS", aborts, "", Some("association"), 3, "aborted"),
        ("NOECHO", knows_no_echo, "", Some("echo"), 3, "was not accepted"),
        ("REFUSES", refuses, "", Some("echo"), 1, "answered C-ECHO with 0122"),
        ("ECHOSILENT", silent_later, "", Some("echo"), 3, "waiting for the response"),
        ("ECHOABORTS", aborts_later, "", Some("echo"), 3, "aborted"),
        ("TAKES", takes, "", None, 0, ""),
    ];
    let site = tested(&stage, &rows);
    assert_eq!(heard.recv_timeout(seconds(10)), Ok(Some(Pdu::ReleaseRequest)), "what is of no use is released");
    told_to_people(&site, &["nodes", "test", "HOLE"], "connection", 3, "took too long: connecting");
    told_to_people(&site, &["nodes", "test", "REFUSES"], "echo", 1, "REFUSES answered C-ECHO with 0122");
}

#[test]
fn a_peer_that_falls_silent_leaves_or_is_another_service_is_named_by_the_step_at_which_it_did() {
    let stage = Stage::new();
    let ours = stage.authority.issue(B_IDENTITY);
    let url = |port: u16| format!("https://{}/dicom-web", at(port));
    let hole = BlackHole::open();
    let (silent, leaves) = (node_that(is_silent), node_that(|_| {}));
    let expired = ScriptedPeer::start(&stage.authority.issue_expired(B_IDENTITY));
    let unknown = Authority::new(&stage.path().join("other"), "others").issue(B_IDENTITY);
    let unknown = ScriptedPeer::start(&Identity { trust: stage.authority.trust(), ..unknown });
    let late = SearchedPeer::start(&ours, Manner::says("[]").after(seconds(600)));
    let page = Manner { content_type: "text/html", ..Manner::says("<html><body>It works!</body></html>") };
    let page = SearchedPeer::start(&ours, page);
    let chatters = chatterer_over_tls(&ours);
    let peers = [Step::Hang, Step::Reset, Step::Refuse(401, None), Step::Refuse(503, Some(60))].map(|step| {
        let peer = ScriptedPeer::start(&ours);
        peer.always(Some(step));
        peer
    });
    let [hangs, resets, shut, busy] = &peers;
    let rows = [
        ("hole", url(hole.port), "connection", 3, "cannot be reached"),
        ("silent", url(silent), "TLS", 4, "no TLS handshake"),
        ("leaves", url(leaves), "TLS", 4, "no TLS handshake"),
        ("expired", expired.url(), "TLS", 4, "has expired"),
        ("unknown", unknown.url(), "TLS", 4, "not vouched for"),
        ("late", late.url(), "service", 3, "too slow"),
        ("chatters", url(chatters), "service", 3, ""),
        ("page", page.url(), "query", 3, "neither DICOM JSON nor XML"),
        ("hangs", hangs.url(), "store", 3, "too slow"),
        ("resets", resets.url(), "store", 3, ""),
        ("shut", shut.url(), "store", 3, "401"),
        ("busy", busy.url(), "store", 3, "503"),
    ];
    for (name, url, step, code, words) in &rows {
        // What says something itself is given the time that it takes.
        let timers = if ["expired", "unknown"].contains(name) { "" } else { SHORT };
        let site = site(&stage, name, stage.site_a(url).with(timers));
        let (failed, exit, said) = failing(&site, &["peers", "test", "b"]);
        assert_eq!((failed.as_deref(), exit), (Some(*step), Some(*code)), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
        if ["silent", "hangs"].contains(name) {
            told_to_people(&site, &["peers", "test", "b"], step, *code, words);
        }
    }
    assert!(peers.iter().all(|peer| peer.held() == 0), "nothing was stored");
}

/// What is found out is kept, shown, and used: a peer that has only XML is asked for XML by the first request.
#[test]
fn what_a_peer_can_do_is_found_out_kept_and_used() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()));
    let found = a.ask(&["peers", "probe", "b", "--json"]).remove(0);
    assert_eq!((found["query"].as_str(), &found["store"]), (Some("json"), &Value::Null));
    assert_eq!(peer.held(), 0, "nothing is stored unasked");

    let found = a.ask(&["peers", "probe", "b", "--store", "--json"]).remove(0);
    let store = &found["store"];
    assert_eq!((store["first"]["said"].as_str(), store["again"]["said"].as_str()), (Some("stored"), Some("stored")));
    assert_eq!(
        (store["shown"].as_bool(), store["read_back"].as_str(), store["form"].as_str()),
        (Some(true), Some("same"), Some("json"))
    );
    assert!(store["delete"].as_str().unwrap().contains("delete it at the peer"), "{store}");
    assert_eq!(peer.held(), 1);

    peer.only_xml();
    let found = a.ask(&["peers", "probe", "b", "--store", "--json"]).remove(0);
    assert_eq!((found["query"].as_str(), found["store"]["form"].as_str()), (Some("xml"), Some("xml")));
    a.stop();
    a.up();
    let listed = a.ask(&["peers", "list", "--json"]).remove(0);
    assert_eq!(listed["profile"]["store"]["form"], "xml", "{listed}");
    let from = peer.log().len();
    crate::support::load::send_one(901, 1, 2048, a.config.dicom_port, "WB_A");
    a.all_become("b", "verified", 1, crate::support::wait::seconds(30));
    let log = peer.log().split_off(from);
    assert!(format!("{:?}", log[0]).contains("accept: \"application/dicom+xml\""), "{log:?}");
    a.verify_ledger(false);
}

/// Another Weybridge is probed like anybody else.
#[test]
fn another_weybridge_passes_every_step() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let a = site(&stage, "a", stage.site_a(&b.config.url()));
    assert_eq!(failing(&a, &["peers", "test", "b"]).0, None);
    let found = a.ask(&["peers", "probe", "b", "--store", "--json"]).remove(0);
    assert_eq!(
        (found["capabilities"]["status"].as_u64(), found["store"]["read_back"].as_str()),
        (Some(200), Some("same")),
        "{found}"
    );
    assert!(Path::new(&b.data_dir()).exists());
}
