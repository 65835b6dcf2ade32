//! What a neighbouring site holds, opened by a viewer at this one: pulled once for all who ask, whole or said not to be, and never for a peer.

use crate::support::certs::Identity;
use crate::support::config::{SiteConfig, free_port};
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, digest, names, read_part10};
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::multipart::{boundary_of, complete_parts};
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::proxy::Proxy;
use crate::support::tools::tool;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::web;
use crate::viewer::TOKEN;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

/// Site A with a viewer; its neighbour B, behind a proxy.
struct Neighbours {
    a: Gateway,
    b: Gateway,
    proxy: Proxy,
    port: u16,
    peer: Identity,
    _stage: Stage,
}

impl Neighbours {
    /// `tables` go into the configuration of A.
    fn start(tables: &str) -> Self {
        let stage = Stage::new();
        let b = Gateway::start(&stage.path().join("b"), stage.site_b().node("SENDER", None));
        let proxy = Proxy::to(b.config.web_port);
        let (token, port) = (stage.path().join("viewer.token"), free_port());
        std::fs::write(&token, TOKEN).unwrap();
        let viewer = format!(
            "[[node]]\nae_title = \"VIEWER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nforeign = \"as_is\"\n\
             [viewer]\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"{}\"\nnode = \"VIEWER\"\n{tables}",
            token.display()
        );
        let url = format!("https://127.0.0.1:{}/dicom-web", proxy.port);
        let config = SiteConfig::new("a", stage.identity_of_a()).peer("b", &url, B_IDENTITY, "present").with(&viewer);
        let a = Gateway::start(&stage.path().join("a"), config);
        let peer = stage.authority.issue(B_IDENTITY);
        Self { a, b, proxy, port, peer, _stage: stage }
    }

    /// A PACS of B sends so many instances of a study; gives digests by UID.
    fn send(&self, story: u64, instances: u64) -> BTreeMap<String, String> {
        self.send_of(story, instances, 3000)
    }

    /// The same, each of so many bytes of pixels.
    fn send_of(&self, story: u64, instances: u64, bytes: u32) -> BTreeMap<String, String> {
        let mut pacs =
            Association::open(self.b.config.dicom_port, "SENDER", "WB_B", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        let sent = (1..=instances).map(|n| {
            let names = names(story, 1, n);
            let data = data_set(&names, bytes, story + n);
            assert_eq!(pacs.store(SECONDARY_CAPTURE, &names.instance, &data).unwrap(), Status::SUCCESS);
            (names.instance, digest(&data))
        });
        let sent = sent.collect();
        pacs.release();
        sent
    }

    /// As the viewer asks.
    fn shown(&self, resource: &str) -> Got {
        let body = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(tool("curl"));
        command.args(["--silent", "--show-error", "--noproxy", "*", "--dump-header", "-", "--output"]).arg(body.path());
        command.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--header", "Accept: */*"]);
        command.arg(format!("http://127.0.0.1:{}/dicom-web/{resource}", self.port));
        let head = finish(&mut command, seconds(120)).ok(resource);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Got { status, head, body: std::fs::read(body.path()).unwrap() }
    }

    /// How often B was asked by A to retrieve from it.
    fn retrieved(&self) -> usize {
        let entries = ledger::export(&self.b);
        entries.iter().filter(|entry| entry["facts"]["what"] == "retrieve").count()
    }
}

/// One answer.
#[derive(Debug)]
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

fn study(story: u64) -> String {
    format!("studies/{}", names(story, 1, 1).study)
}

fn came(reply: &Got) -> BTreeMap<String, String> {
    let boundary = boundary_of(reply.header("content-type").unwrap()).unwrap();
    let one = |part: &[u8]| {
        let file = read_part10(part).expect("a Part 10 file");
        (file.instance.clone(), digest(&part[file.data_set_at..]))
    };
    complete_parts(&reply.body, &boundary).into_iter().map(one).collect()
}

/// WEB-100, "Below the study", freshness: whoever of the viewers asks first has it pulled, all get it whole, and what came meanwhile too.
#[test]
fn a_neighbours_study_is_opened_and_pulled_once() {
    let sites = Neighbours::start("");
    let mut sent = sites.send(800, 5);
    let counts: Vec<(u16, usize)> = std::thread::scope(|scope| {
        let ask = || {
            let reply = sites.shown(&format!("{}/metadata", study(800)));
            (reply.status, serde_json::from_slice::<Vec<Value>>(&reply.body).unwrap().len())
        };
        let all: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(counts, [(200, 5); 4]);
    assert_eq!(sites.retrieved(), 1, "one fetch however many ask");
    let reply = sites.shown(&study(800));
    assert_eq!((reply.status, reply.header("warning"), came(&reply)), (200, None, sent.clone()));
    let of = names(800, 1, 2);
    let instance = format!("{}/series/{}/instances/{}", study(800), of.series, of.instance);
    assert_eq!(sites.shown(&format!("{instance}/frames/1")).status, 200);
    assert_eq!(sites.retrieved(), 1, "what is here is not fetched again");
    sent.extend(sites.send(800, 6));
    let reply = sites.shown(&study(800));
    assert_eq!((reply.status, came(&reply)), (200, sent));
    assert_eq!(sites.shown("studies/1.2.3.4/metadata").status, 404, "everybody was asked and nobody has it");
    sites.a.verify_ledger(true);
}

/// "A silent site is visible": what a silent site may hold is never "nothing", and a copy of its study is never called complete.
#[test]
fn a_silent_site_is_no_empty_site_to_a_viewer() {
    let sites = Neighbours::start("");
    let sent = sites.send(810, 3);
    assert_eq!(sites.shown(&format!("{}/metadata", study(810))).status, 200);
    sites.send(811, 1);
    sites.proxy.refuse(true);
    sites.proxy.cut_now();
    for form in ["", "/metadata", "/thumbnail"] {
        let reply = sites.shown(&format!("{}{form}", study(811)));
        assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true), "{form}: {reply:?}");
    }
    let reply = sites.shown(&study(810));
    assert_eq!((reply.status, came(&reply)), (206, sent), "the copy is given, and not as the whole");
    let warning = reply.header("warning").unwrap_or_default();
    assert!(warning.contains("site b does not say what it holds of this; it did last at 20"), "{warning}");
    assert_eq!(sites.shown(&format!("{}/metadata", study(810))).status, 206);
}

/// Some viewers open nothing that comes with 206: for them the part that is here comes with 200, if somebody says so; the Warning stays, and
/// what nobody has is still no success.
#[test]
fn a_viewer_that_takes_no_206_is_given_what_is_here() {
    let sites = Neighbours::start("partial_metadata_as_ok = true\n");
    let metadata = |story| sites.shown(&format!("{}/metadata", study(story)));
    sites.send(812, 2);
    assert_eq!(metadata(812).status, 200);
    sites.send(813, 1);
    sites.proxy.refuse(true);
    sites.proxy.cut_now();
    let reply = metadata(812);
    let told = reply.header("warning").is_some_and(|warning| warning.contains("site b does not say"));
    assert!(reply.status == 200 && told, "{reply:?}");
    assert_eq!(sites.shown(&study(812)).status, 206, "the images themselves say what they are");
    assert_eq!(metadata(813).status, 503);
}

/// SEC-022, "Whom to ask for priors": what a peer asks for is passed on to nobody; what is withheld from the viewer's node stays so.
#[test]
fn nothing_is_pulled_for_a_peer_nor_shown_against_a_rule() {
    let sites = Neighbours::start("[[withhold]]\nname = \"all of b\"\nfrom = [\"b\"]\nto = [\"VIEWER\"]\n");
    sites.send(820, 2);
    let url = format!("{}/{}/metadata", sites.a.config.url(), study(820));
    assert_eq!(web::request(Some(&sites.peer), &sites.peer.trust, &url, &[]).status, 404);
    assert_eq!((sites.a.holds(&names(820, 1, 1).study), sites.retrieved()), (0, 0));
    for form in ["", "/metadata", "/thumbnail"] {
        assert_eq!(sites.shown(&format!("{}{form}", study(820))).status, 404, "{form}");
    }
    sites.a.verify_ledger(true);
}

/// IDY-051: copies that a viewer reads are not flushed, though it reads for longer than copies are kept; afterwards they are.
#[test]
fn copies_that_a_viewer_reads_slowly_stay_until_it_has_them() {
    let sites = Neighbours::start("[priors]\nkeep = \"4s\"\n[retention]\nevery = \"1s\"\n");
    sites.send_of(830, 24, 1 << 20);
    sites.send(831, 1);
    let mut slow = TcpStream::connect(("127.0.0.1", sites.port)).unwrap();
    slow.set_read_timeout(Some(seconds(60))).unwrap();
    let head = format!("Host: 127.0.0.1:{}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close", sites.port);
    write!(slow, "GET /dicom-web/{} HTTP/1.1\r\n{head}\r\nAccept: */*\r\n\r\n", study(830)).unwrap();
    let mut first = [0; 4096];
    slow.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&first));
    let states = |story: u64| -> Vec<String> {
        let held = sites.a.study(&names(story, 1, 1).study);
        held.iter().map(|row| row["state"].as_str().unwrap().to_owned()).collect()
    };
    until(seconds(60), "all of it is here", || (states(830).len() == 24).then_some(()));
    assert_eq!(sites.shown(&format!("{}/metadata", study(831))).status, 200);
    until(seconds(60), "what nobody reads is flushed", || (states(831) == ["purged"]).then_some(()));
    assert_eq!(states(830), ["stored"; 24], "what is read stays");
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    let body = [&first[..], &rest].concat();
    let head = String::from_utf8_lossy(&body[..2048]).into_owned();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    let closed = memchr::memmem::rfind(&body, format!("--{}--", boundary_of(kind).unwrap()).as_bytes());
    assert!(closed.is_some() && body.len() > 24 << 20, "it came whole: {}", body.len());
    until(seconds(60), "the copies are flushed", || (states(830) == ["purged"; 24]).then_some(()));
}
