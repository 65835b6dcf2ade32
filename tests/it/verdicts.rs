//! Every answer of a peer over mutual TLS, and every status of a node, row by row of test-data/verdicts: what becomes of each
//! instance, how often it was sent, and that nothing was sent again unasked where its fate was in doubt.

use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::odd_node::OddNode;
use crate::support::pacs::{Association, Status};
use crate::support::scripted_peer::{Answerer, Said, ScriptedPeer, Seen, Step};
use crate::support::store_answer::{self, Item};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

const PEER: &str = include_str!("../../test-data/verdicts/peer.tsv");
const C_STORE: &str = include_str!("../../test-data/verdicts/c_store.tsv");
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const OTHER_CLASS: &str = "1.2.840.10008.5.1.4.1.1.7.2";

/// Short waits; four refusals end it.
pub const COURIER: &str = "[courier]\nretry_first = \"100ms\"\nretry_longest = \"200ms\"\nrefusals = 4";

/// One instance of a row: its letter, whether it goes deflated, whether it is of another class.
pub struct Instance {
    pub letter: char,
    pub names: Names,
    syntax: &'static str,
    class: &'static str,
    data: Vec<u8>,
}

impl Instance {
    /// Has a peer hold what it made of this: in another transfer syntax, or with other text in it.
    pub fn is_held_as(&self, peer: &ScriptedPeer, change: Change<'_>) {
        let (syntax, data) = match change {
            Change::Deflated => (DEFLATED, deflated(&self.data)),
            Change::Text(from, to) => {
                assert_eq!(from.len(), to.len(), "lengths stay");
                let at = memchr::memmem::find(&self.data, from.as_bytes()).unwrap();
                (self.syntax, [&self.data[..at], to.as_bytes(), &self.data[at + to.len()..]].concat())
            }
        };
        peer.hold(&self.names.study, &self.names.series, part10(self.class, &self.names.instance, syntax, &data));
    }

    /// Has a peer hold it already: the same, or other content under its UID.
    pub fn is_held_by(&self, peer: &ScriptedPeer, same: bool) {
        let data = if same { self.data.clone() } else { data_set(&self.names, 2048, 77) };
        let file = part10(self.class, &self.names.instance, self.syntax, &data);
        peer.hold(&self.names.study, &self.names.series, file);
    }
}

/// What a peer makes of an instance.
pub enum Change<'a> {
    Deflated,
    Text(&'a str, &'a str),
}

pub fn instances(row: u64, text: &str) -> Vec<Instance> {
    let one = |(n, word): (usize, &str)| {
        let names = names(900, row, n as u64 + 1);
        let class = if word.ends_with('\'') { OTHER_CLASS } else { SECONDARY_CAPTURE };
        let plain = data_set(&names, 2048, row * 10 + n as u64);
        // Both class UIDs may differ in length, so that the data set is told again.
        let plain = with_class(plain, class);
        let (syntax, data) = match word.ends_with('*') {
            true => (DEFLATED, deflated(&plain)),
            false => (EXPLICIT_LE, plain),
        };
        Instance { letter: word.chars().next().unwrap(), names, syntax, class, data }
    };
    text.split(' ').enumerate().map(one).collect()
}

/// The data set with another SOP Class UID.
fn with_class(data: Vec<u8>, class: &str) -> Vec<u8> {
    let mut value = class.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    let tag = [0x08, 0, 0x16, 0, b'U', b'I'];
    let at = memchr::memmem::find(&data, &tag).unwrap() + 6;
    let old = usize::from(u16::from_le_bytes([data[at], data[at + 1]]));
    let length = u16::try_from(value.len()).unwrap().to_le_bytes();
    [&data[..at], &length, &value, &data[at + 2 + old..]].concat()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(data).unwrap();
    let mut bytes = out.finish().unwrap();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// `STATUS[+|-] BODY`, as in the tables: with a plus everything is kept, with a minus nothing, else what the body names as stored.
pub fn answerer(text: &str, letters: &BTreeMap<char, String>) -> Answerer {
    let (status, body) = text.split_once(' ').unwrap();
    let (all, none) = (status.ends_with('+'), status.ends_with('-'));
    let (status, body) = (status.trim_end_matches(['+', '-']).parse().unwrap(), body.to_owned());
    let letters = letters.clone();
    Arc::new(move |sent: &[Item]| {
        let named = named(&body, sent, &letters);
        let failed = |uid: &String| named.iter().any(|item| item.instance == *uid && item.reason.is_some());
        let stored = named.iter().filter(|item| item.reason.is_none()).map(|item| item.instance.clone());
        let keep: Vec<String> = match all {
            true => sent.iter().map(|item| item.instance.clone()).collect(),
            false if none => Vec::new(),
            false => stored.filter(|uid| !failed(uid)).collect(),
        };
        let json = store_answer::write(&named).to_string().into_bytes();
        let (content_type, body) = match body.as_str() {
            "-" => ("", Vec::new()),
            "html" => ("text/html", b"<html><body>It works!</body></html>".to_vec()),
            "room" => ("application/problem+json", br#"{"detail": "no room: send less at once"}"#.to_vec()),
            "cut" => ("application/dicom+json", json[..json.len().min(30)].to_vec()),
            xml if xml.starts_with("xml ") => ("application/dicom+xml", store_answer::write_xml(&named).into_bytes()),
            _ => ("application/dicom+json", json),
        };
        Said { status, content_type, body, keep }
    })
}

/// What a body names: the row's instances, whether this request carried them or not, and by any other letter a stranger.
fn named(body: &str, sent: &[Item], letters: &BTreeMap<char, String>) -> Vec<Item> {
    if body == "cut" {
        return sent.to_vec();
    }
    let words = body.split(' ').filter(|word| word.starts_with(char::is_uppercase));
    let items = words.map(|word| {
        let uid = letters.get(&word.chars().next().unwrap()).map_or("2.25.7000000000900.0", String::as_str);
        let item = sent.iter().find(|item| item.instance == *uid).cloned();
        let code = |mark: char| word.split_once(mark).map(|(_, code)| u16::from_str_radix(code, 16).unwrap());
        Item { reason: code('!'), warning: code(':'), ..item.unwrap_or_else(|| Item::stored(SECONDARY_CAPTURE, uid)) }
    });
    items.collect()
}

/// Sends the instances of a row, all before any of them goes on: the peer is paused meanwhile.
pub fn push(site: &Gateway, instances: &[Instance]) {
    site.cli(&["peers", "pause", "b", "--reason", "the row is being prepared"]).ok("pause");
    store(site, instances);
    site.cli(&["peers", "resume", "b"]).ok("resume");
}

/// Sends instances to a site.
pub fn store(site: &Gateway, instances: &[Instance]) {
    for Instance { names, syntax, class, data, .. } in instances {
        let port = site.config.dicom_port;
        let mut association = Association::open(port, "SENDER", "WB_A", class, syntax).unwrap();
        assert_eq!(association.store(class, &names.instance, data).unwrap(), Status::SUCCESS);
        association.release();
    }
}

/// The state of each instance of a study at its one destination.
pub fn states(site: &Gateway, study: &str) -> BTreeMap<String, String> {
    let one = |line: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&line["sop_instance_uid"]), text(&line["transfers"][0]["state"]))
    };
    site.study(study).iter().map(one).collect()
}

/// How often an instance was sent.
pub fn sent(log: &[Seen], uid: &str) -> usize {
    let carries =
        |seen: &&Seen| matches!(seen, Seen::Sent { instances, .. } if instances.iter().any(|(one, _)| one == uid));
    log.iter().filter(carries).count()
}

/// Whether the peer was asked for an instance between any two times that it was sent.
fn asked_between(log: &[Seen], uid: &str) -> bool {
    let mut asked = true;
    log.iter().all(|seen| match seen {
        Seen::Sent { instances, .. } if instances.iter().any(|(one, _)| one == uid) => {
            std::mem::replace(&mut asked, false)
        }
        Seen::Asked(uids) => {
            asked |= uids.iter().any(|one| one == uid);
            true
        }
        _ => true,
    })
}

fn row(site: &Gateway, peer: &ScriptedPeer, number: u64, cells: &[&str]) {
    let &[_, list, holds, said, ends, times] = cells else { panic!("{cells:?}") };
    let instances = instances(number, list);
    let letters: BTreeMap<char, String> =
        instances.iter().map(|one| (one.letter, one.names.instance.clone())).collect();
    for held in holds.split(' ').filter(|held| *held != "-") {
        let one = instances.iter().find(|one| held.starts_with(one.letter)).unwrap();
        one.is_held_by(peer, held.ends_with("same"));
    }
    let forever = said.strip_suffix(" ...");
    let mut steps = forever.unwrap_or(said).split(';').map(|step| Step::Say(answerer(step, &letters)));
    match forever {
        Some(_) => peer.always(steps.next_back()),
        None => peer.then(steps),
    }
    let from = peer.log().len();
    push(site, &instances);
    let study = &instances[0].names.study;
    let want: BTreeMap<String, String> =
        ends.split(' ').map(|end| (letters[&end.chars().next().unwrap()].clone(), end[2..].to_owned())).collect();
    let end = std::time::Instant::now() + seconds(30);
    while states(site, study) != want {
        let story = || site.cli(&["why", study]).stdout;
        let seen = || peer.log().split_off(from).into_iter().take(8).collect::<Vec<_>>();
        assert!(std::time::Instant::now() < end, "{cells:?}\n{:?}\n{}", seen(), story());
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
    let log = peer.log().split_off(from);
    for time in times.split(' ') {
        let uid = &letters[&time.chars().next().unwrap()];
        let often: usize = time[2..3].parse().unwrap();
        assert_eq!(sent(&log, uid), often, "{cells:?}: {time}\n{log:?}");
        assert!(!time.ends_with('?') || asked_between(&log, uid), "{cells:?}: {time} unasked\n{log:?}");
    }
    // Once the peer relents, what was parked goes by a person's word.
    peer.always(None);
    if ends.contains("parked") {
        site.cli(&["transfers", "retry", "--study", study]).ok("retry");
        let done = |state: &String| state == "verified" || state == "dead";
        until(seconds(30), "what was parked goes", || states(site, study).values().all(done).then_some(()));
    }
}

/// WEB-058: whom a 415 for several does not mean is not judged for it; here the peer has refused no syntax before.
#[test]
fn a_refused_syntax_costs_nobody_who_came_in_another() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let said = "415 -;200 A B;415 -";
    row(&site, &peer, 1, &["WEB-058", "A* B", "-", said, "A=verified B=verified", "A=3 B=2"]);
}

#[test]
fn each_answer_of_a_peer_comes_to_what_the_table_says() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let mut count = 0;
    for (number, line) in PEER.lines().enumerate().skip(1) {
        row(&site, &peer, number as u64, &line.split('\t').collect::<Vec<_>>());
        count += 1;
    }
    println!("summary: {count} answers of a peer");
    site.verify_ledger(false);
    note_fired(count);
}

/// One site that passes everything on to the node `OUT`; `lines` go to the configuration.
fn site_with_node(stage: &Stage, port: u16, lines: &str) -> Gateway {
    let config = crate::support::config::SiteConfig::new("a", stage.identity_of_a())
        .node("SENDER", None)
        .node("OUT", Some(port))
        .route("all to the node", "OUT", "from = [\"SENDER\"]")
        .with(COURIER)
        .with(lines);
    Gateway::start(&stage.path().join("a"), config)
}

fn push_to_node(site: &Gateway, all: &[Instance]) {
    site.cli(&["nodes", "pause", "OUT", "--reason", "all of it is to go together"]).ok("pause");
    for Instance { names, syntax, class, data, .. } in all {
        let mut association = Association::open(site.config.dicom_port, "SENDER", "WB_A", class, syntax).unwrap();
        assert_eq!(association.store(class, &names.instance, data).unwrap(), Status::SUCCESS);
        association.release();
    }
    site.cli(&["nodes", "resume", "OUT"]).ok("resume");
}

/// How often the node got an instance, and in which syntaxes.
fn got(node: &OddNode, uid: &str) -> Vec<String> {
    let mine = node.seen("store").into_iter().filter(|store| store["sop_instance"] == uid);
    mine.map(|store| store["syntax"].as_str().unwrap().to_owned()).collect()
}

/// DIM-054, DIM-039: the first and the last code of each row of the table, and one that no row has.
#[test]
fn each_status_of_a_node_comes_to_what_the_table_says() {
    let stage = Stage::new();
    let mut codes: Vec<(u16, &str)> = Vec::new();
    for line in C_STORE.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let range = if cells[1] == "other" { "1234" } else { cells[1] };
        let ends = range.split_once('-').map_or(vec![range], |(first, last)| vec![first, last]);
        codes.extend(ends.iter().map(|code| (u16::from_str_radix(code, 16).unwrap(), cells[2])));
    }
    // Pending is no answer: pynetdicom does not send it. 0124 comes last, by itself; what parks a class has a test of its own.
    codes
        .retain(|(code, outcome)| !matches!(code, 0xFF00 | 0xFF01) && !matches!(*outcome, "forbidden" | "unsupported"));
    let words = vec!["A"; codes.len()].join(" ");
    let all = instances(1, &words);
    let forbidden = instances(2, "A");
    // One that goes deflated and is understood only natively, one that is never understood, one that is full at first.
    let more = instances(3, "A* B* C");
    let uid = |one: &Instance| one.names.instance.clone();
    // What is out of resources has room the second time: how often it may be so, the rules of the ledger say.
    let turns = |code: u16, outcome: &str| if outcome == "scarce" { vec![code, 0] } else { vec![code] };
    let mut script: BTreeMap<String, Vec<u16>> =
        all.iter().zip(&codes).map(|(one, (code, outcome))| (uid(one), turns(*code, outcome))).collect();
    script.insert(uid(&forbidden[0]), vec![0x0124]);
    script.extend([(uid(&more[0]), vec![0xA900, 0]), (uid(&more[1]), vec![0xC000]), (uid(&more[2]), vec![0xA700, 0])]);
    let file = stage.path().join("statuses.json");
    std::fs::write(&file, serde_json::to_string(&script).unwrap()).unwrap();
    let node = OddNode::start(stage.path(), &["--statuses", file.to_str().unwrap()]);
    let site = site_with_node(&stage, node.port, "");

    push_to_node(&site, &all);
    let end = |outcome: &str| match outcome {
        "accepted" => ("accepted", 1),
        "scarce" => ("accepted", 2),
        "refused" => ("dead", 4),
        _ => ("dead", 1),
    };
    let want: BTreeMap<String, String> =
        all.iter().zip(&codes).map(|(one, (_, outcome))| (uid(one), end(outcome).0.to_owned())).collect();
    let study = &all[0].names.study;
    until(seconds(90), "each has come to its end", || (states(&site, study) == want).then_some(()));
    for (one, (code, outcome)) in all.iter().zip(&codes) {
        assert_eq!(got(&node, &uid(one)).len(), end(outcome).1, "{code:04X} is {outcome}");
    }
    println!("summary: {} statuses of a node", codes.len());
    let told = site.cli(&["status"]).ok("status");
    for code in ["(0001)", "(0107)", "(0116)", "values changed (B000)", "a warning (BFFF)"] {
        assert!(told.contains("OUT: says that it stored") && told.contains(code), "{code}: {told}");
    }

    push_to_node(&site, &more);
    let want = [(uid(&more[0]), "accepted"), (uid(&more[1]), "dead"), (uid(&more[2]), "accepted")];
    let want: BTreeMap<String, String> = want.into_iter().map(|(uid, state)| (uid, state.to_owned())).collect();
    until(seconds(60), "the rest too", || (states(&site, &more[0].names.study) == want).then_some(()));
    assert_eq!(got(&node, &uid(&more[0])), [DEFLATED, EXPLICIT_LE], "once more natively");
    assert_eq!(got(&node, &uid(&more[1])), [DEFLATED, EXPLICIT_LE], "and then no more");

    push_to_node(&site, &forbidden);
    let parked = || states(&site, &forbidden[0].names.study).values().all(|state| state == "parked").then_some(());
    until(seconds(30), "what is forbidden parks", parked);
    assert_eq!(got(&node, &uid(&forbidden[0])).len(), 1);
    site.verify_ledger(false);
}

/// WEB-063, DIM-054: a class that a node refuses is parked there, others go on, and a person lifts it.
#[test]
fn a_class_that_a_node_refuses_is_parked_there_until_it_is_resumed() {
    for code in [0x0118, 0x0122, 0xA800] {
        a_class_is_refused_with(code);
    }
}

fn a_class_is_refused_with(code: u16) {
    let stage = Stage::new();
    // One whose class is refused once, and of which another is taken.
    let choosy = instances(5, "A' B'");
    let uid = |one: &Instance| one.names.instance.clone();
    let script = BTreeMap::from([(uid(&choosy[0]), vec![code, 0])]);
    let file = stage.path().join("statuses.json");
    std::fs::write(&file, serde_json::to_string(&script).unwrap()).unwrap();
    let node = OddNode::start(stage.path(), &["--statuses", file.to_str().unwrap()]);
    let site = site_with_node(&stage, node.port, "");
    push_to_node(&site, &choosy);
    let stands = |state: &str| {
        let want = [(uid(&choosy[0]), state.to_owned()), (uid(&choosy[1]), "accepted".to_owned())];
        let want: BTreeMap<String, String> = want.into();
        until(seconds(30), state, || (states(&site, &choosy[0].names.study) == want).then_some(()));
    };
    stands("parked");
    let told = site.cli(&["status"]).ok("status");
    assert!(told.contains(&format!("OUT: does not take SOP class {OTHER_CLASS}")), "{told}");
    site.cli(&["nodes", "resume", "OUT"]).ok("resume");
    stands("accepted");
    assert!(site.log().contains("does not take a SOP class"), "the log tells of it");
    site.verify_ledger(false);
}

/// FLT-042, FLT-043: the node takes everything and never answers, or is gone before it does.
#[test]
fn a_node_that_is_silent_or_gone_after_the_last_fragment_leaves_it_unknown_and_gets_it_again() {
    for (options, timers) in [(["--slow-first", "20"], "[timers]\nresponse = \"1s\""), (["--abort-after", "1"], "")] {
        let stage = Stage::new();
        let node = OddNode::start(stage.path(), &options);
        let site = site_with_node(&stage, node.port, timers);
        let one = instances(4, "A");
        push_to_node(&site, &one);
        site.all_become("OUT", "accepted", 1, seconds(60));
        let story = site.cli(&["why", &one[0].names.instance]).ok("why");
        assert!(story.contains("unknown (sent, but not answered"), "{options:?}: {story}");
        assert!(story.contains("a node cannot be asked"), "{options:?}: {story}");
        assert!(node.seen("association").len() >= 2, "{options:?}: the first association was aborted");
        site.verify_ledger(false);
        note_fired(1);
    }
}

/// WEB-052: some servers have only XML, for what is stored and for what is asked.
#[test]
fn a_peer_that_has_only_xml_is_asked_for_xml_and_read() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    peer.only_xml();
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    for number in [1, 2] {
        let two = instances(number, "A B");
        push(&site, &two);
        let study = &two[0].names.study;
        let done = || states(&site, study).values().all(|state| state == "verified").then_some(());
        until(seconds(30), "both are verified", done);
    }
    let accepts: Vec<String> = peer
        .log()
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Sent { accept, .. } => Some(accept),
            _ => None,
        })
        .collect();
    // The first request was stored, and its answer refused: asked for, not sent again.
    assert_eq!(accepts, ["application/dicom+json", "application/dicom+xml"]);
}
