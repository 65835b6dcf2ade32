//! Messages, and what they mean for the records: nobody becomes somebody else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::hl7::acknowledgement::Refused;

const PID: &str = "PID|||R7^^^ROYAL^MR~4000000004^^^NHS^NH||SECRET^NAME||19600229|F\r";

fn read(kind: &str, rest: &str) -> Result<ToldMessage, Refusal> {
    heard(kind, rest).map(|told| told.expect("something of it is used"))
}

fn heard(kind: &str, rest: &str) -> Result<Option<ToldMessage>, Refusal> {
    let terms = Terms {
        issuer: "ZZ001".into(),
        authorities: ["ROYAL", "1.2.9"].map(str::to_owned).into(),
        processing: vec!["P".into()],
    };
    let text = format!("MSH|^~\\&|RIS|ROYAL|||20250310||{kind}|C7|P|2.5.1\r{rest}");
    told(&Header::read(text.as_bytes()).unwrap(), text.as_bytes(), &terms)
}

fn ids(list: &[(LocalId, Said)]) -> Vec<String> {
    list.iter().map(|(id, said)| format!("{}:{}={}", id.issuer, id.id, said.number.digits())).collect()
}

/// IDY-040, IDY-043, IDY-045: which numbers a message says are one person's, and which it does not.
#[test]
fn each_local_number_is_said_to_be_the_nhs_number_beside_it() {
    let rows: &[(&str, &[&str])] = &[
        ("R7^^^ROYAL^MR~4000000004^^^NHS^NH", &["ZZ001:R7=4000000004"]),
        ("R7~400 000 0004^^^^NH", &["ZZ001:R7=4000000004"]),
        ("R7^^^X&1.2.9&ISO~4000000004^^^&2.16.840.1.113883.2.1.4.1&ISO", &["ZZ001:R7=4000000004"]),
        ("R7^^^OTHER^MR~S1~4000000004^^^NHS", &["OTHER:R7=4000000004", "ZZ001:S1=4000000004"]),
        // The type alone does not make a number of another authority one of the NHS.
        ("R7~4000000004^^^OTHER^NH", &[]),
        // A number for tests, one with a wrong digit, and one number alone say nothing.
        ("R7~9434765919^^^NHS", &[]),
        ("R7~4000000005^^^NHS", &[]),
        ("R7^^^ROYAL^MR", &[]),
        ("4000000004^^^NHS", &[]),
        // Nor does that of an account, a visit or a paper, which may be another patient's number too.
        ("R8^^^ROYAL^AN~V9^^^ROYAL^vn~99^^^^SS~R7^^^ROYAL^MR~4000000004^^^NHS^NH", &["ZZ001:R7=4000000004"]),
        ("R8^^^ROYAL^AN~4000000004^^^NHS^NH", &[]),
    ];
    for (numbers, want) in rows {
        let got = read("ADT^A08", &format!("PID|||{numbers}||X||19600229")).unwrap();
        assert_eq!(ids(&got.statements), *want, "{numbers}");
        assert!(got.statements.iter().all(|(_, said)| said.birth_date == "19600229"));
        assert!(got.merges.is_empty() && got.orders.is_empty());
    }
}

/// IDY-045: only MRG joins numbers, and only in a merge; what is said of the former number's NHS number stays beside it.
#[test]
fn only_a_merge_joins_numbers() {
    let merges = |kind: &str, rest: &str| -> Vec<String> {
        let pair = |(former, stays): &(LocalId, LocalId)| format!("{}:{}>{}", former.issuer, former.id, stays.id);
        read(kind, rest).unwrap().merges.iter().map(pair).collect()
    };
    let merge = format!("{PID}MRG|R6^^^ROYAL^MR~6000000006^^^NHS~R7^^^ROYAL");
    for kind in ["ADT^A40^ADT_A39", "ADT^A34", "ADT^A18", "ADT^A47"] {
        assert_eq!(merges(kind, &merge), ["ZZ001:R6>R7"], "{kind}");
    }
    let said = read("ADT^A40", &merge).unwrap().statements;
    assert_eq!(ids(&said), ["ZZ001:R7=4000000004", "ZZ001:R6=6000000006", "ZZ001:R7=6000000006"]);
    assert_eq!(said[1].1.birth_date, "", "the birth date is of who stays");
    assert!(merges("ADT^A08", &merge).is_empty());
    assert!(merges("ORM^O01", &format!("{merge}\rORC|NW|P1")).is_empty());
    // An account's number is no patient's, whatever stands in MRG-1.
    let accounts = "PID|||R8^^^ROYAL^AN~R7^^^ROYAL^MR\rMRG|R5^^^ROYAL^AN~R6^^^ROYAL^MR";
    assert_eq!(merges("ADT^A40", accounts), ["ZZ001:R6>R7"]);
    // Two merges of one message stay apart.
    let two = "PID|||R7\rMRG|R6\rPID|||R9\rMRG|R8\r";
    assert_eq!(merges("ADT^A40", two), ["ZZ001:R6>R7", "ZZ001:R8>R9"]);
}

/// IDY-045: every event that tells of a patient says the same as A08, and joins nobody. One that tells of anything else is sound, and
/// nothing of it is used, whatever stands in it: its sender's queue goes on.
#[test]
fn registrations_say_what_updates_say_and_visits_say_nothing() {
    for event in ["A01", "A04^ADT_A01", "A05", "A08", "A28^ADT_A05", "A31"] {
        let said = read(&format!("ADT^{event}"), &format!("{PID}MRG|R6^^^ROYAL^MR")).unwrap();
        assert_eq!(ids(&said.statements), ["ZZ001:R7=4000000004"], "{event}");
        assert!(said.merges.is_empty() && said.orders.is_empty(), "{event}");
    }
    for event in ["A02", "A03", "A11", "A20", "A23", "A60"] {
        for rest in [PID, "PV1||O", "PID|||", "PID|||R7~4000000004^^^NHS\rMRG|R6"] {
            assert!(heard(&format!("ADT^{event}"), rest).unwrap().is_none(), "{event} {rest}");
        }
    }
    let long = "NTE|\r".repeat(1001);
    assert_eq!(heard("ADT^A02", &long).err().unwrap().answer, Refused::Error, "what cannot be read is not sound");
}

/// What cannot be used is refused with the place and the reason, and never half taken.
#[test]
fn what_cannot_be_used_is_refused_where_it_stands() {
    let long = format!("PID|||{}\rORC|NW|P1", "7".repeat(65));
    let many = |letter: char, count: usize| (0..count).map(|n| format!("{letter}{n}")).collect::<Vec<_>>().join("~");
    let numbers = format!("PID|||{}~4000000004^^^NHS", many('R', 20));
    assert_eq!(read("ADT^A08", &numbers).unwrap().statements.len(), 20, "none of them is left out");
    let too_many = format!("PID|||{}", many('R', 65));
    let merges = format!("PID|||{}\rMRG|{}", many('R', 40), many('S', 40));
    let rows: &[(&str, &str, Refused, &str)] = &[
        ("ORU^R01", PID, Refused::Rejected, "MSH^1^9"),
        ("ADT^A24", PID, Refused::Rejected, "MSH^1^9"),
        ("ADT^A37", PID, Refused::Rejected, "MSH^1^9"),
        ("ADT^A43", PID, Refused::Rejected, "MSH^1^9"),
        ("ADT", PID, Refused::Rejected, "MSH^1^9"),
        ("ADT^A4", PID, Refused::Rejected, "MSH^1^9"),
        ("ADT^A04", "PID|||", Refused::Error, "PID^1^3"),
        ("ADT^A31", "PV1||O", Refused::Error, "PID^1^3"),
        ("ORM^O01", "ORC|NW|P1", Refused::Error, "PID^1^3"),
        ("ORM^O01", "PID|||\rORC|NW|P1", Refused::Error, "PID^1^3"),
        ("ORM^O01", PID, Refused::Error, "ORC"),
        ("ORM^O01", &[PID, "ORC|NW"].concat(), Refused::Error, "ORC^1^2"),
        ("ORM^O01", &[PID, "ORC||P1"].concat(), Refused::Error, "ORC^1^1"),
        ("ORM^O01", &[PID, PID, "ORC|NW|P1"].concat(), Refused::Error, "PID^2"),
        ("ORM^O01", "PID|||4000000005^^^NHS\rORC|NW|P1", Refused::Error, "PID^1^3"),
        ("ORM^O01", &long, Refused::Error, "PID^1^3"),
        ("ORM^O01", "PID|||V9^^^ROYAL^VN\rORC|NW|P1", Refused::Error, "PID^1^3"),
        ("ADT^A08", &too_many, Refused::Error, "PID^1^3"),
        ("ADT^A40", &merges, Refused::Error, "PID^1^3"),
        ("ADT^A40", "PID|||R7\rMRG|R5^^^ROYAL^AN", Refused::Error, "MRG^1^1"),
        ("ADT^A40", PID, Refused::Error, "MRG^1^1"),
        ("ADT^A40", "PID|||4000000004^^^NHS\rMRG|R6", Refused::Error, "PID^1^3"),
    ];
    for (kind, rest, answer, place) in rows {
        let refusal = read(kind, rest).err().unwrap();
        assert_eq!((refusal.answer, refusal.place), (*answer, *place), "{kind} {rest}");
        assert!(!refusal.why.contains("400") && !refusal.why.contains("SECRET"));
    }
    for (header, place) in [("|C|T|2.5.1", "MSH^1^11"), ("|C|D|2.5.1", "MSH^1^11"), ("|C|P|3", "MSH^1^12")] {
        let text = format!("MSH|^~\\&|RIS||||||ADT^A08{header}\r{PID}");
        let terms = Terms { issuer: "A".into(), authorities: vec![], processing: vec!["P".into()] };
        let refusal = told(&Header::read(text.as_bytes()).unwrap(), text.as_bytes(), &terms).err().unwrap();
        assert_eq!(refusal.place, place, "{text}");
    }
}

/// A frame that holds the beginning of another message, a batch or a file is refused whole, whatever the first one is: one acknowledgement
/// would be taken for both.
#[test]
fn of_two_messages_in_one_frame_neither_is_taken() {
    let another = [
        "MSH|^~\\&|RIS|ROYAL|||20250310||ADT^A08|C8|P|2.5.1",
        "MSH#$~%&#RIS",
        "BHS|^~\\&",
        "FHS|^~\\&",
        " MSH|^~\\&|RIS",
        "MSH|",
    ];
    for begins in another {
        for (kind, rest) in [("ORM^O01", "ORC|NW|P1\r"), ("ADT^A08", ""), ("ADT^A02", "")] {
            let refusal = heard(kind, &format!("{PID}{rest}{begins}\r{PID}")).err().expect(begins);
            let told = (refusal.answer, refusal.fault, refusal.place);
            assert_eq!(told, (Refused::Error, Fault::Sequence, "MSH^2"), "{kind} {begins}");
        }
    }
    // Text that begins so, or a segment of another name, is none.
    for rest in ["NTE|1||MSH|^~", "MSHX|1", "ZZZ|BHS|1"] {
        assert!(heard("ADT^A08", &format!("{PID}{rest}")).is_ok(), "{rest}");
    }
}

/// IDY-040: an order is of the number that this site issued, else of another local one, else of the NHS number.
#[test]
fn an_order_is_of_a_number_with_its_issuer() {
    for (numbers, issuer, id) in [
        ("4000000004^^^NHS~S1^^^OTHER~R7", "ZZ001", "R7"),
        ("V9^^^ROYAL^VN~4000000004^^^NHS~R7^^^ROYAL^MR", "ZZ001", "R7"),
        ("4000000004^^^NHS~S1^^^OTHER", "OTHER", "S1"),
        ("4000000004^^^NHS", "NHS", "4000000004"),
    ] {
        let orders = read("OMI^O23", &format!("PID|||{numbers}\rORC|NW|P1\rORC|CA|P2")).unwrap().orders;
        assert_eq!(orders.len(), 2);
        assert_eq!((orders[0].patient.issuer.as_str(), orders[0].patient.id.as_str()), (issuer, id));
        assert!(!orders[0].is_cancelled() && orders[1].is_cancelled());
    }
}

/// MSH-18 says UTF-8, and the text is something else: a name, which nobody reads, costs no order; a number is not guessed.
#[test]
fn a_name_in_another_character_set_costs_no_order_and_no_number_is_guessed() {
    let orders = |pid: &[u8], order: &[u8]| {
        let head = b"MSH|^~\\&|RIS|ROYAL|||20250310||ORM^O01|C7|P|2.5.1||||||UNICODE UTF-8\r";
        let bytes = [&head[..], pid, order].concat();
        let terms = Terms { issuer: "ZZ001".into(), authorities: vec![], processing: vec!["P".into()] };
        told(&Header::read(&bytes).unwrap(), &bytes, &terms).map(|told| told.unwrap().orders.len())
    };
    let named = b"PID|||R7^^^ROYAL||M\xDCLLER^J\xD6RG||19600229\r";
    type Row = (&'static [u8], &'static [u8], Result<usize, &'static str>);
    let rows: [Row; 6] = [
        (named, b"ORC|NW|P1\rOBR|1|||X^Sch\xE4del\r", Ok(1)),
        (b"PID|||R\xDC7\r", b"ORC|NW|P1\r", Err("PID^1^3")),
        (b"PID|||R7^^^R\xDCYAL\r", b"ORC|NW|P1\r", Err("PID^1^3")),
        (named, b"ORC|NW|P\xDC1\r", Err("ORC")),
        (named, b"ORC|NW||F\xDC1\r", Err("ORC")),
        (named, b"ORC|NW|P1\rOBR|1|||||||||||||||||A\xDC1\r", Err("ORC")),
    ];
    for (at, (pid, order, want)) in rows.into_iter().enumerate() {
        assert_eq!(orders(pid, order).map_err(|refusal| refusal.place), want, "{at}");
    }
}
