//! One row, one verdict: what each answer of a destination comes to, by the tables of test-data/verdicts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::dicom::fired::note_fired;
use crate::dicomweb::stow::{Failed, Form, Pieces, Referenced};
use crate::ledger::outcome::Refusal;
use std::collections::BTreeSet;

const STOW: &str = include_str!("../../../test-data/verdicts/stow.tsv");
const REASONS: &str = include_str!("../../../test-data/verdicts/reasons.tsv");
const C_STORE: &str = include_str!("../../../test-data/verdicts/c_store.tsv");

/// The rows of a table below its heading, cell by cell.
fn table(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).map(|line| line.split('\t').collect())
}

fn uid(letter: &str) -> InstanceUid {
    InstanceUid::parse(&format!("1.2.3.{}", letter.as_bytes()[0])).unwrap()
}

/// `A B`; an asterisk means compressed, a plus compressed in another way, a prime of another class, a caret of a class that was taken.
fn items(text: &str) -> Vec<Item> {
    let class = |other: bool| SopClassUid::parse(if other { "1.2.9" } else { "1.2.8" }).unwrap();
    let syntax = |uid| TransferSyntaxUid::parse(uid).unwrap();
    let (jpeg, mpeg) = (syntax("1.2.840.10008.1.2.4.70"), syntax("1.2.840.10008.1.2.4.102"));
    let item = |(n, word): (usize, &str)| Item {
        transfer: TransferId(n as i64 + 1),
        instance: uid(word),
        sop_class: class(word.ends_with('\'')),
        compressed: word.find(['*', '+']).map(|at| if word[at..] == *"*" { jpeg.clone() } else { mpeg.clone() }),
        familiar: word.ends_with('^'),
    };
    text.split(' ').enumerate().map(item).collect()
}

/// `A` is stored, `A:B006` with a warning, `A!C000` failed, `?0110` failed without a name.
fn module(text: &str) -> StoreResponse {
    let code = |text: &str| u16::from_str_radix(text, 16).unwrap();
    let mut module = StoreResponse::default();
    for word in text.split(' ').filter(|word| !matches!(*word, "empty" | "xml")) {
        if let Some(reason) = word.strip_prefix('?') {
            module.other_failures.push(code(reason));
        } else if let Some((name, reason)) = word.split_once('!') {
            let sop_instance = uid(name);
            module.failed.push(Failed { sop_class: None, sop_instance, failure_reason: code(reason) });
        } else {
            let (name, warning) = word.split_once(':').unzip();
            let sop_instance = uid(name.unwrap_or(word));
            let warning_reason = warning.map(code);
            module.referenced.push(Referenced { sop_class: None, sop_instance, retrieve_url: None, warning_reason });
        }
    }
    module
}

/// The answer with this body, read as the client reads it. `bare` names no time to wait; `early` neither, and came before the request was whole.
fn answer(status: &str, body: &str) -> Answer {
    let json = "application/dicom+json";
    let (manner, body) = match body.split_once(' ') {
        Some((manner @ ("bare" | "early"), body)) => (manner, body),
        _ => ("", body),
    };
    let whole = || module(body).to_json();
    let read = match body {
        "-" => Ok(None),
        "html" | "certificate" | "pages" => StoreResponse::from_body(Some("text/html"), b"<html>It works!</html>"),
        "cut" => StoreResponse::from_body(Some(json), &module("A B").to_json()[..40]),
        "room" => Err("there is no room".to_owned()),
        "problem" => Err("the records cannot be read now".to_owned()),
        xml if xml.starts_with("xml ") => {
            let StoreResponse { referenced, failed, other_failures, .. } = module(xml);
            let pieces = Pieces::new(Form::Xml, None, referenced.into_iter(), failed.into_iter(), other_failures);
            let text = pieces.collect::<Vec<_>>().concat();
            StoreResponse::from_body(Some("application/dicom+xml"), &text)
        }
        _ => StoreResponse::from_body(Some(json), &whole()),
    };
    let (module, remark) = match read {
        Ok(module) => (module, String::new()),
        Err(why) => (None, why),
    };
    let (status, retry_after) = (status.parse().unwrap(), manner.is_empty().then_some(Duration::from_secs(7)));
    let (refuses_us, pages, no_room) = (body == "certificate", body == "pages", body == "room");
    let (problem, whole) = (no_room || body == "problem", manner != "early");
    Answer { status, module, remark, refuses_us, pages, no_room, problem, whole, retry_after }
}

/// The word of the tables for an outcome.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Refused { refusal: Refusal::Scarce, .. } => "scarce",
        Outcome::Refused { refusal: Refusal::Forbidden, .. } => "forbidden",
        Outcome::Deferred { charge, .. } => {
            assert_eq!(*charge, Charge::Destination, "no instance pays for a destination (REL-21)");
            "deferred"
        }
        other => other.word(),
    }
}

fn then_word(then: &Then) -> &'static str {
    match then {
        Then::Nothing => "-",
        Then::Halve => "halve",
        Then::ByClass => "class",
        Then::BySyntax => "syntax",
        Then::Natively { .. } => "natively",
        Then::Ask { absent: Absent::Alone, .. } => "ask-alone",
        Then::Ask { absent: Absent::Dead, .. } => "ask-dead",
        Then::Ask { absent: Absent::Later, .. } => "ask-later",
        Then::Doubt { .. } => "doubt",
    }
}

/// Checks all rows of one requirement, and says how many they are.
fn rows(id: &str) -> usize {
    let mut seen = 0;
    for row in table(STOW).filter(|row| row[0] == id) {
        let &[_, status, sent, body, outcomes, then, alone, _] = &row[..] else { panic!("{row:?}") };
        let items = items(sent);
        let verdict = stow(&answer(status, body), &items);
        let name = |id: &TransferId| sent.split(' ').nth(id.0 as usize - 1).unwrap()[..1].to_owned();
        let said = &verdict.report.outcomes;
        let mut got: Vec<String> = said.iter().map(|(id, o)| format!("{}={}", name(id), word(o))).collect();
        got.sort();
        let got = if got.is_empty() { "-".to_owned() } else { got.join(" ") };
        assert_eq!((got.as_str(), then_word(&verdict.then)), (outcomes, then), "{row:?}");
        assert_eq!(verdict.report.unusable, alone == "yes", "{row:?}");
        assert!(
            said.iter().all(|(_, outcome)| outcome.words().contains(status)),
            "{row:?}: people are told the status"
        );
        if let Then::Natively { why, .. } | Then::Ask { why, .. } | Then::Doubt { why } = &verdict.then {
            assert!(why.contains(status), "{row:?}: people are told the status");
        }
        // Nobody is forgotten, and nobody is judged twice.
        let rest: Vec<TransferId> = match &verdict.then {
            Then::Nothing => Vec::new(),
            Then::Halve | Then::ByClass | Then::BySyntax | Then::Doubt { .. } => {
                items.iter().map(|item| item.transfer).collect()
            }
            Then::Natively { of, .. } | Then::Ask { of, .. } => of.clone(),
        };
        let all: Vec<TransferId> = said.iter().map(|(id, _)| *id).chain(rest).collect();
        let once: BTreeSet<TransferId> = all.iter().copied().collect();
        assert_eq!((all.len(), once.len()), (items.len(), items.len()), "{row:?}");
        seen += 1;
    }
    assert!(seen > 0, "there is no row for {id}");
    seen
}

#[test]
fn web_012_an_incomplete_answer_and_too_many_requests_are_understood() {
    rows("WEB-012");
}

#[test]
fn web_040_only_what_a_2xx_names_as_stored_and_not_as_failed_is_accepted() {
    rows("WEB-040");
}

#[test]
fn web_041_an_answer_that_names_all_as_stored() {
    rows("WEB-041");
}

#[test]
fn web_042_an_answer_200_that_names_failures() {
    rows("WEB-042");
}

#[test]
fn web_043_a_success_that_says_nothing_usable() {
    rows("WEB-043");
}

#[test]
fn web_044_an_answer_202_by_name_and_without_names() {
    rows("WEB-044");
}

#[test]
fn web_046_an_answer_206_is_read_like_202() {
    rows("WEB-046");
}

#[test]
fn web_047_redirects_park() {
    rows("WEB-047");
}

#[test]
fn web_048_a_bad_request_is_halved_until_one_instance_is_left() {
    rows("WEB-048");
}

#[test]
fn web_049_an_unknown_caller_parks() {
    rows("WEB-049");
}

#[test]
fn web_050_a_forbidden_store_parks() {
    rows("WEB-050");
}

#[test]
fn web_051_a_wrong_address_parks() {
    rows("WEB-051");
}

#[test]
fn web_052_a_form_that_the_peer_does_not_have_leaves_all_unknown() {
    rows("WEB-052");
}

#[test]
fn web_053_what_was_not_processed_is_sent_again() {
    rows("WEB-053");
}

#[test]
fn web_054_a_conflict_goes_by_each_reason() {
    rows("WEB-054");
}

#[test]
fn web_055_a_conflict_without_names_is_asked_about() {
    rows("WEB-055");
}

#[test]
fn web_056_a_length_that_is_asked_for_although_it_was_told_parks() {
    rows("WEB-056");
}

#[test]
fn web_057_what_is_too_large_is_halved_until_one_instance_is_left() {
    rows("WEB-057");
}

#[test]
fn web_058_a_syntax_that_is_not_taken_is_re_encoded_once() {
    note_fired(rows("WEB-058"));
}

#[test]
fn web_059_an_expectation_that_failed_is_sent_again() {
    rows("WEB-059");
}

#[test]
fn web_060_what_cannot_be_processed_is_as_a_conflict() {
    rows("WEB-060");
}

#[test]
fn web_061_too_many_requests_pause_the_peer() {
    rows("WEB-061");
}

#[test]
fn web_062_a_failed_server_and_whatever_is_unheard_of_are_ambiguous() {
    rows("WEB-062");
    // Whatever a table leaves out: nothing but a 2xx ever makes anything accepted (WEB-040).
    for status in (300..=999u16).filter(|status| !(300..400).contains(status)) {
        let verdict = stow(&answer(&status.to_string(), "A B"), &items("A B"));
        let accepted = verdict.report.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Accepted { .. }));
        assert!(!accepted, "{status}");
    }
}

#[test]
fn web_063_a_class_that_is_not_supported_is_parked() {
    rows("WEB-063");
}

#[test]
fn web_064_a_busy_peer_is_left_alone() {
    rows("WEB-064");
}

/// WEB-064: a proxy says the same for a peer that was given all and may have taken it.
#[test]
fn web_064_who_was_given_all_and_is_said_to_be_busy_is_asked() {
    for (body, asked) in
        [("bare -", true), ("bare html", true), ("bare cut", true), ("bare problem", false), ("-", false)]
    {
        for sent in ["A", "A B"] {
            let Verdict { report, then } = stow(&answer("503", body), &items(sent));
            assert_eq!(matches!(then, Then::Doubt { .. }), asked, "{body}");
            assert_eq!((report.outcomes.is_empty(), report.unusable), (asked, true), "{body}");
        }
        assert!(!matches!(stow(&answer("429", body), &items("A")).then, Then::Doubt { .. }), "no other status: {body}");
    }
}

#[test]
fn web_065_a_full_peer_is_left_alone() {
    rows("WEB-065");
}

#[test]
fn faults_of_an_answer_are_judged_by_the_same_rules() {
    for id in
        ["FLT-050", "FLT-051", "FLT-052", "FLT-054", "FLT-055", "FLT-056", "FLT-057", "FLT-058", "FLT-059", "FLT-061"]
    {
        note_fired(rows(id));
    }
    // FLT-064, FLT-063, FLT-060 and FLT-062 have the answers of these.
    for id in ["WEB-047", "WEB-049", "WEB-061", "WEB-062"] {
        note_fired(rows(id));
    }
}

#[test]
fn each_row_of_the_table_of_answers_has_a_test() {
    let ids: BTreeSet<&str> = table(STOW).map(|row| row[0]).collect();
    let source = include_str!("tests.rs");
    for id in ids {
        assert!(source.contains(&format!("\"{id}\"")), "no test reads the rows of {id}");
    }
}

#[test]
fn retry_after_is_carried_to_the_lane_and_charged_to_nobody() {
    for status in ["429", "503", "507", "408"] {
        let verdict = stow(&answer(status, "-"), &items("A"));
        assert!(verdict.report.unusable);
        assert!(matches!(
            &verdict.report.outcomes[0].1,
            Outcome::Deferred { charge: Charge::Destination, after: Some(wait), .. } if wait.as_secs() == 7
        ));
    }
}

#[test]
fn warnings_are_told_in_words() {
    let rows = [("A:B000", "changed"), ("A:B006", "discarded"), ("A:B007", "does not match"), ("A:B123", "B123")];
    for (body, words) in rows {
        let verdict = stow(&answer("200", body), &items("A"));
        assert!(verdict.report.outcomes[0].1.words().contains(words), "{body}: {verdict:?}");
    }
}

fn judged_word(judged: &Judged) -> &'static str {
    match judged {
        Judged::Outcome(outcome) => word(outcome),
        Judged::Syntax(outcome) => {
            assert_eq!(word(outcome), "dead", "what no other syntax helps is given up");
            "syntax"
        }
        Judged::There => "there",
    }
}

/// Every one of the 65,536 values of a code, by the row that has it or the row of all others.
fn each_code(text: &'static str, judge: impl Fn(u16) -> Judged) {
    let hex = |text: &str| u16::from_str_radix(text, 16).unwrap();
    let mut rows = Vec::new();
    let mut others = None;
    for row in table(text) {
        match row[1].split_once('-') {
            _ if row[1] == "other" => others = Some(row),
            Some((first, last)) => rows.push((hex(first)..=hex(last), row)),
            None => rows.push((hex(row[1])..=hex(row[1]), row)),
        }
    }
    let others = others.expect("a row for all others");
    for code in 0..=u16::MAX {
        let mine: Vec<_> = rows.iter().filter(|(range, _)| range.contains(&code)).collect();
        assert!(mine.len() <= 1, "{code:04X} stands in two rows");
        let row = mine.first().map_or(&others, |(_, row)| row);
        let judged = judge(code);
        assert_eq!(judged_word(&judged), row[2], "{code:04X}: {row:?}");
        if let Judged::Outcome(outcome) | Judged::Syntax(outcome) = &judged {
            assert!(outcome.words().contains(&format!("{code:04X}")), "{code:04X}: people are told the code");
        }
    }
}

#[test]
fn each_failure_reason_has_its_meaning() {
    each_code(REASONS, |reason| failure_reason(reason, "HTTP 202", None));
}

/// DIM-054, DIM-039.
#[test]
fn each_status_of_c_store_has_its_meaning() {
    each_code(C_STORE, |status| c_store(status, "ON STRIKE"));
    let Judged::Outcome(outcome) = c_store(0xA700, "ON STRIKE") else { panic!("A700 is no matter of syntax") };
    assert!(outcome.words().contains("ON STRIKE"), "people are told what the node said");
}
