//! Orders and changes of patients by HL7 over MLLP: kept before they are acknowledged, bounded, and only from whom they may come.

use crate::support::config::free_port;
use crate::support::gateway::Gateway;
use crate::support::mllp::{connect, framed, hear, say};
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use serde_json::json;
use std::io::Write;

fn start(from: &str) -> (Gateway, u16, Stage) {
    let (stage, port) = (Stage::new(), free_port());
    let table = format!("[hl7]\nlisten = \"127.0.0.1:{port}\"\nfrom_addresses = [\"{from}\"]\nissuer = \"ZZ001\"");
    let site = Gateway::start(&stage.path().join("a"), stage.site_b().with(&table));
    (site, port, stage)
}

const PID: &str = "PID|||R7^^^^MR~4000000004^^^NHS^NH||SECRET^NAME||19600229|F";

/// The beginning of another header.
const SECOND: &str = "MSH|^~\\&|RIS|ROYAL|||20250310|";

/// IDY-040, INV-01: an order is acknowledged when it is kept: what it says of numbers is known, also after the process was killed.
/// The ledger names nobody (LED-010).
#[test]
fn orders_feed_the_cross_reference_before_they_are_acknowledged() {
    let (mut site, port, _stage) = start("127.0.0.0/8");
    let mut socket = connect(port);
    let order = format!("{PID}\rORC|NW|P1|F1\rOBR|1|P1|F1|CTCHEST||||||||||||||ACC1||||||CT");
    let answer = say(&mut socket, "ORM^O01", &order);
    assert!(answer.contains("\rMSA|AA|C7|\r") && !answer.contains("SECRET"), "{answer}");
    site.kill();
    site.up();
    let known = statements(&site);
    assert_eq!(known, [["ZZ001", "R7", "hl7 RIS at ROYAL"]].map(|one| one.map(|text| json!(text))));
    let exported = site.cli(&["ledger", "export"]).ok("export");
    assert!(!exported.contains("4000000004") && !exported.contains("SECRET") && !exported.contains("R7"));
    site.verify_ledger(true);
}

/// What is said of the NHS number 4000000004.
fn statements(site: &Gateway) -> Vec<[serde_json::Value; 3]> {
    let shown = site.ask(&["patients", "show", "4000000004", "--json"]);
    let said = shown.iter().filter(|one| one.get("nhs_number").is_some());
    said.map(|one| ["issuer", "patient_id", "source"].map(|key| one[key].clone())).collect()
}

/// Several messages on one connection, in pieces, with line feeds, other delimiters and another character set: each is answered in turn.
#[test]
fn messages_are_taken_however_systems_write_them() {
    let (site, port, _stage) = start("127.0.0.0/8");
    let mut socket = connect(port);
    let two = [framed("ORM^O01", "1", &format!("{PID}\rORC|NW|P1")), framed("ADT^A08", "2", PID)].concat();
    for piece in two.chunks(7) {
        socket.write_all(piece).unwrap();
    }
    assert!(hear(&mut socket).contains("\rMSA|AA|1|\r"));
    assert!(hear(&mut socket).contains("\rMSA|AA|2|\r"));
    let odd = b"\x0bMSH#$*%!#PAS#ROYAL###20250310##OMI$O23#3#P#2.5.1######8859/1\r\n\
        PID###R8*4000000004$$$NHS##M\xDCLLER##19600229\r\nORC#NW#P9\r\nOBR##P9##X\xE9\r\n\x1c\n";
    socket.write_all(odd).unwrap();
    let answer = hear(&mut socket);
    assert!(answer.starts_with("\u{b}MSH#$*%!#WEYBRIDGE#") && answer.contains("\rMSA#AA#3#\r"), "{answer}");
    let utf8 = PID.replace("SECRET", "M\u{dc}LLER");
    socket.write_all(&framed("ADT^A08", "4", &utf8)).unwrap();
    assert!(hear(&mut socket).contains("\rMSA|AA|4|\r"));
    let unread = String::from_utf8(framed("ADT^A08", "5", PID)).unwrap().replace("|2.5.1", "|2.5.1||||||ISO IR87");
    socket.write_all(unread.as_bytes()).unwrap();
    let answer = hear(&mut socket);
    assert!(
        answer.contains("\rMSA|AE|5|the character set in MSH-18") && answer.contains("\rERR||MSH|102^"),
        "{answer}"
    );
    // An old system: no event, a name of its character set that is not HL7's, a line end before the header.
    let old = b"\x0b\r\nMSH|^~\\&|OLD|ROYAL|||20250310||ORM|6|P|2.2||||||iso-8859-1\r\
        PID|||R9~4000000004^^^NHS||M\xDCLLER||19600229\rORC|NW|P6\r\x1c\r";
    socket.write_all(old).unwrap();
    let answer = hear(&mut socket);
    assert!(answer.contains("||ACK|6|P|2.2\rMSA|AA|6|\r"), "{answer}");
    assert_eq!(statements(&site).len(), 3, "R7 by the RIS, R8 by the PAS, R9 by the old one");
    site.verify_ledger(false);
}

/// What cannot be used is answered AE, what is not taken AR, and what is no message ends its connection and no other.
#[test]
fn what_cannot_be_taken_is_answered_and_bounded() {
    let (site, port, _stage) = start("127.0.0.0/8");
    let mut socket = connect(port);
    for (kind, rest, want) in [
        ("ORU^R01", PID, "AR"),
        ("ORM^O01", PID, "AE"),
        ("ORM^O01", "ORC|NW|P1", "AE"),
        ("ORM^O01", &format!("{PID}\rORC|NW"), "AE"),
        ("ADT^A08", PID, "AA"),
        ("ADT^A37", PID, "AR"),
        ("ADT^A04", "PV1||O", "AE"),
        // Two messages in one frame: AA would be said of both, and the second lost.
        ("ORM^O01", &format!("{PID}\rORC|NW|P1\r{SECOND}|ORM^O01|C8|P|2.5.1\r{PID}\rORC|NW|P2"), "AE"),
        ("ADT^A02", &format!("PV1||O\r{SECOND}|ADT^A08|C8|P|2.5.1\r{PID}"), "AE"),
        // Without an answer it would come again for ever, and what waits behind it would not come at all.
        ("ORM^O01", &format!("{PID}\rORC|NW|P1\rOBX|1|ED|||{}", "x".repeat(2 << 20)), "AE"),
    ] {
        let answer = say(&mut socket, kind, rest);
        assert!(answer.contains(&format!("\rMSA|{want}|C7|")), "{kind} {rest:.300}: {answer}");
        assert_eq!(answer.contains("\rERR|"), want != "AA", "{answer}");
    }
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x0bno header\x1c\r".to_vec(),
        [framed("ADT^A08", "8", PID)[..60].to_vec(), framed("ADT^A08", "9", PID)].concat(),
        [&b"\x0b"[..], &vec![b'x'; 2 << 20]].concat(),
    ] {
        let mut other = connect(port);
        // It may be cut off while it still talks.
        let _ = other.write_all(&bytes);
        assert_eq!(hear(&mut other), "");
    }
    assert!(say(&mut socket, "ADT^A08", PID).contains("MSA|AA|"), "the connection beside them goes on");
    site.verify_ledger(false);
}

/// IDY-040, IDY-045: registrations and new persons are what a hospital's system sends all day; each is kept as a change is. What tells of a
/// visit is answered AA, and leaves nothing behind.
#[test]
fn registrations_are_kept_and_visits_are_passed_over() {
    let (site, port, _stage) = start("127.0.0.0/8");
    let mut socket = connect(port);
    for (n, event) in ["A01", "A04", "A05", "A28", "A31"].into_iter().enumerate() {
        let pid = format!("PID|||N{n}^^^^MR~4000000004^^^NHS^NH||SECRET^NAME||19600229|F\rPV1||O");
        assert!(say(&mut socket, &format!("ADT^{event}"), &pid).contains("\rMSA|AA|C7|\r"), "{event}");
    }
    let before = site.cli(&["ledger", "export"]).ok("export");
    assert_eq!(statements(&site).len(), 5);
    for (event, rest) in [("A02", PID), ("A03", PID), ("A13", PID), ("A20", "NPU|BED 4|U")] {
        assert!(say(&mut socket, &format!("ADT^{event}"), rest).contains("\rMSA|AA|C7|\r"), "{event}");
    }
    assert_eq!(statements(&site).len(), 5, "R7 was told of in passing only");
    assert_eq!(site.cli(&["ledger", "export"]).ok("export"), before);
}

/// One that may be silent for an hour, and is gone without a word, or was forgotten by a firewall, does not keep its seat for that hour.
#[test]
fn a_caller_that_is_gone_without_a_word_is_noticed() {
    let (_site, port, _stage) = start("127.0.0.0/8");
    let mut socket = connect(port);
    assert!(say(&mut socket, "ADT^A08", PID).contains("MSA|AA|"));
    let ends = [port, socket.local_addr().unwrap().port()].map(|port| format!(":{port:04X}"));
    let probed = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = fields.len() > 5 && fields[1].ends_with(&ends[0]) && fields[2].ends_with(&ends[1]);
        is_ours && fields[5].starts_with("02:")
    };
    until(seconds(10), "the gateway's end is probed while nothing comes", || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        sockets.lines().any(probed).then_some(())
    });
}

#[test]
fn a_stranger_is_not_heard() {
    let (site, port, _stage) = start("10.9.9.9");
    let mut socket = connect(port);
    let _ = socket.write_all(b"\x0bMSH|^~\\&|RIS\r\x1c\r");
    assert_eq!(hear(&mut socket), "");
    let exported = site.cli(&["ledger", "export"]).ok("export");
    assert!(exported.contains("hl7"), "the refusal is entered");
}

/// IDY-045: `patients show` names what was merged into what, and who said so, whichever number it is asked for, also where nothing else is
/// known of it; taken back by its source, it is gone.
#[test]
fn merges_are_shown_with_their_origin() {
    let (site, port, _stage) = start("127.0.0.0/8");
    let mut socket = connect(port);
    assert!(say(&mut socket, "ADT^A08", PID).contains("MSA|AA|"));
    let merge = "PID|||R8^^^^MR\rMRG|R7^^^^MR";
    assert!(say(&mut socket, "ADT^A40", merge).contains("MSA|AA|"));
    let number = |id: &str| json!({ "issuer": "ZZ001", "patient_id": id });
    for asked in ["R7", "R8", "4000000004"] {
        let shown = site.ask(&["patients", "show", asked, "--json"]);
        let merges: Vec<_> = shown.iter().filter(|one| one.get("merged").is_some()).collect();
        let [one] = merges[..] else { panic!("{asked}: {shown:?}") };
        let said = (&one["merged"], &one["into"], &one["source"]);
        assert_eq!(said, (&number("R7"), &number("R8"), &json!("hl7 RIS at ROYAL")), "{asked}");
        assert!(one["at"].is_string());
    }
    let told = site.cli(&["patients", "show", "R8"]).ok("show");
    assert!(told.contains("R7 of ZZ001 was merged into R8 of ZZ001, said by hl7 RIS at ROYAL"), "{told}");
    let confirms = "R8 of ZZ001: linked to nobody: no birth date confirms the NHS number";
    assert!(told.contains(confirms), "what was said of the former counts for it: {told}");
    let back = ["R7", "--issuer", "ZZ001", "--source", "hl7 RIS at ROYAL", "--by", "jo", "--reason", "a slip"];
    site.cli(&[&["patients", "unlearn"][..], &back].concat()).ok("unlearn");
    assert_eq!(site.cli(&["patients", "show", "R8"]).code, Some(1));
    site.verify_ledger(false);
}

/// UIX-01: `status` tells where order systems are heard, how many messages were taken and when the last was, and what was refused and why.
#[test]
fn status_tells_what_was_heard() {
    let (site, port, _stage) = start("127.0.0.0/8");
    let hl7 = || site.ask(&["status", "--json"])[0]["hl7"].clone();
    let before = hl7();
    assert_eq!((&before["listen"], &before["messages"]), (&json!(format!("127.0.0.1:{port}")), &json!(0)));
    assert!(before["last_message"].is_null() && before["last_refusal"].is_null(), "{before}");
    let mut socket = connect(port);
    for want in ["AA", "AA", "AE"] {
        let rest = if want == "AE" { "PID|||" } else { PID };
        assert!(say(&mut socket, "ADT^A08", rest).contains(&format!("MSA|{want}|")));
    }
    let after = hl7();
    assert_eq!((&after["messages"], &after["refused"]), (&json!(2), &json!(1)), "{after}");
    assert!(after["last_message"].is_string(), "{after}");
    assert!(
        after["last_refusal"].as_str().unwrap().contains("127.0.0.1: the message names no patient in PID-3"),
        "{after}"
    );
    let told = site.cli(&["status"]).ok("status");
    assert!(told.contains(": 2 messages taken since the start, the last ") && told.contains("; 1 refused"), "{told}");
    assert!(told.contains("! HL7: 1 messages or callers were refused since the start; the last at "), "{told}");
}
