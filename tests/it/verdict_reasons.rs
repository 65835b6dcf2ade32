//! Every Failure Reason of a STOW-RS response, and every Warning Reason, over mutual TLS, in each status that lists them: one instance for
//! each row of test-data/verdicts/reasons.tsv, the first and the last code of a range, with what becomes of it and how often it is sent.

use crate::support::gateway::Gateway;
use crate::support::scripted_peer::{Answerer, Said, ScriptedPeer, Step};
use crate::support::store_answer::{self, Item};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until, until_or_tell};
use crate::verdicts::{COURIER, Instance, instances, push, sent, states};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const REASONS: &str = include_str!("../../test-data/verdicts/reasons.tsv");

/// Codes that no row has, but that of all others.
const OTHERS: [u16; 5] = [0x0210, 0x0211, 0x0212, 0x1234, 0xFFFF];

/// Changed, discarded, not of its class, and one that nobody has heard of.
const WARNINGS: [u16; 4] = [0xB000, 0xB006, 0xB007, 0xB123];

/// What is said of one instance, and what comes of it.
#[derive(Clone)]
struct Case {
    code: u16,
    /// As [`instances`] writes it.
    word: &'static str,
    /// Whether the peer holds it already, and whether as it is.
    held: Option<bool>,
    /// So often the code is said; after that it is stored.
    said: usize,
    end: &'static str,
    sent: usize,
}

impl Case {
    fn new(code: u16, end: &'static str, sent: usize) -> Self {
        Self { code, word: "A", held: None, said: usize::MAX, end, sent }
    }

    /// What the table says of a code, case by case.
    fn of(code: u16, outcome: &str) -> Vec<Self> {
        match outcome {
            "dead" => vec![Self::new(code, "dead", 1)],
            "refused" => vec![Self::new(code, "dead", 4)],
            "scarce" => vec![Self { said: 1, ..Self::new(code, "verified", 2) }],
            "there" => vec![
                Self { held: Some(true), ..Self::new(code, "verified", 1) },
                Self { held: Some(false), ..Self::new(code, "dead", 1) },
            ],
            "unsupported" => vec![Self { word: "A'", ..Self::new(code, "parked", 1) }],
            "syntax" => {
                vec![Self { word: "A*", said: 1, ..Self::new(code, "verified", 2) }, Self::new(code, "dead", 1)]
            }
            other => panic!("{other} is not an outcome of one instance"),
        }
    }
}

/// Every code of the table but those that park the destination as a whole.
fn cases() -> (Vec<Case>, Vec<u16>) {
    let (mut cases, mut parks) = (Vec::new(), Vec::new());
    for line in REASONS.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let hex = |text: &str| u16::from_str_radix(text, 16).unwrap();
        let codes = match cells[1].split_once('-') {
            _ if cells[1] == "other" => OTHERS.to_vec(),
            Some((first, last)) => vec![hex(first), hex(last)],
            None => vec![hex(cells[1])],
        };
        match cells[2] {
            "forbidden" => parks.extend(codes),
            outcome => cases.extend(codes.into_iter().flat_map(|code| Case::of(code, outcome))),
        }
    }
    cases.extend(WARNINGS.map(|code| Case::new(code, "verified", 1)));
    (cases, parks)
}

/// Says of each instance what its case says, in an answer of this status; 200 once nothing fails.
fn answerer(status: u16, cases: BTreeMap<String, Case>) -> Answerer {
    let left = Mutex::new(cases);
    Arc::new(move |sent: &[Item]| {
        let mut left = left.lock().unwrap();
        let mut said = |item: &Item| {
            let case = left.get_mut(&item.instance).unwrap();
            let code = Some(case.code).filter(|_| case.said > 0);
            case.said = case.said.saturating_sub(1);
            match WARNINGS.contains(&case.code) {
                true => Item { warning: code, ..item.clone() },
                false => Item { reason: code, ..item.clone() },
            }
        };
        let named: Vec<Item> = sent.iter().map(&mut said).collect();
        let fails = named.iter().any(|item| item.reason.is_some());
        let keep = named.iter().filter(|item| item.reason.is_none()).map(|item| item.instance.clone()).collect();
        let body = store_answer::write(&named).to_string().into_bytes();
        Said { status: if fails { status } else { 200 }, content_type: "application/dicom+json", body, keep }
    })
}

fn uid(one: &Instance) -> String {
    one.names.instance.clone()
}

/// All that the tables have, said in answers of one status.
fn each_in(status: u16) {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(&peer.url()).with(COURIER));
    let (cases, parks) = cases();
    let words: Vec<&str> = cases.iter().map(|case| case.word).collect();
    let all = instances(1, &words.join(" "));
    for (case, one) in cases.iter().zip(&all) {
        case.held.into_iter().for_each(|same| one.is_held_by(&peer, same));
    }
    let forbidden = instances(2, &vec!["A"; parks.len()].join(" "));
    let parking = parks.iter().map(|code| Case::new(*code, "parked", 1));
    // Both at once: to resume a peer sends once more what was parked for its class.
    let by_name = all.iter().chain(&forbidden).map(uid).zip(cases.iter().cloned().chain(parking)).collect();
    peer.always(Some(Step::Say(answerer(status, by_name))));
    push(&site, &all);
    let want: BTreeMap<String, String> =
        all.iter().map(uid).zip(cases.iter().map(|case| case.end.to_owned())).collect();
    let study = &all[0].names.study;
    let differ = || {
        let got = states(&site, study);
        let wrong = all.iter().zip(&cases).filter(|(one, case)| got.get(&uid(one)).is_none_or(|is| is != case.end));
        let wrong = wrong.map(|(one, case)| format!("{:04X} is {:?}, not {}", case.code, got.get(&uid(one)), case.end));
        wrong.collect::<Vec<_>>().join("\n")
    };
    until_or_tell(
        seconds(60),
        || (states(&site, study) == want).then_some(()),
        || format!("in {status}:\n{}", differ()),
    );
    let log = peer.log();
    for (case, one) in cases.iter().zip(&all) {
        assert_eq!(sent(&log, &uid(one)), case.sent, "{:04X} in {status}", case.code);
    }
    let story = site.cli(&["why", study]).ok("why");
    assert!(story.contains("the peer says that it already has it"), "{story}");
    for case in cases.iter().filter(|case| case.held.is_none()) {
        assert!(story.contains(&format!("{:04X}", case.code)), "{:04X} in {status} is told: {story}", case.code);
    }

    let told = site.cli(&["status"]).ok("status");
    for words in ["values changed (B000)", "elements DISCARDED (B006)", "SOP class (B007)", "a warning (B123)"] {
        assert!(told.contains("b: says that it stored 1 instance with") && told.contains(words), "{words}: {told}");
    }

    push(&site, &forbidden);
    let told = site.cli(&["status"]).ok("status");
    assert!(!told.contains("says that it stored"), "whoever resumes it has seen it: {told}");
    let parked = || states(&site, &forbidden[0].names.study).values().all(|state| state == "parked").then_some(());
    until(seconds(30), "what is forbidden parks", parked);
    let log = peer.log();
    assert!(forbidden.iter().all(|one| sent(&log, &uid(one)) == 1), "{log:?}");
    println!("summary: {} reasons in answers of {status}", cases.len() + parks.len());
    site.verify_ledger(false);
}

/// WEB-042, WEB-054, WEB-055, WEB-058, WEB-063.
#[test]
fn each_reason_in_an_answer_200_comes_to_what_the_table_says() {
    each_in(200);
}

/// WEB-044, WEB-054, WEB-055, WEB-058, WEB-063.
#[test]
fn each_reason_in_an_answer_202_comes_to_what_the_table_says() {
    each_in(202);
}

/// WEB-054, WEB-055, WEB-058, WEB-063.
#[test]
fn each_reason_in_an_answer_409_comes_to_what_the_table_says() {
    each_in(409);
}

/// WEB-060.
#[test]
fn each_reason_in_an_answer_422_comes_to_what_the_table_says() {
    each_in(422);
}
