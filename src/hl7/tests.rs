//! Messages as systems write them, and bytes as nobody should.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::acknowledgement::{Fault, Refusal};
use super::framing::{Framed, Framer, frame};
use super::message::{Header, Message, MessageError};
use super::order::orders;
use super::patient::people;
use proptest::prelude::*;

const ORM: &str = "MSH|^~\\&|RIS|ROYAL|WEYBRIDGE||20250310120000||ORM^O01^ORM_O01|C\\T\\1|P|2.3.1\r\
    PID|1||R7^^^Royal&1.2.3&ISO^MR~4000000004^^^NHS^NH||SECRET^NAME||19600229|F\r\
    ORC|NW|P1|F1||||^^^202503111430\r\
    OBR|1|P1|F1|CTCHEST^CT of the chest||||||||||||||ACC1||||||CT\r\
    ZDS|1.2.840.5^^RIS^DICOM\r";

const OMI: &str = "MSH#$~\\&#RIS##WEYBRIDGE##20250310##OMI$O23#77#P#2.5.1######8859/1\n\
    PID###K9$$$&1.2.826&ISO$MR\n\
    ORC#SC#P2###CA\n\
    TQ1#######20250312\n\
    OBR##P2##MRHEAD\n\
    IPC#ACC\\S\\2#RP#1.2.3#SPS#MR\n";

fn head(text: &str) -> Header {
    Header::read(text.as_bytes()).unwrap()
}

fn read(text: &str) -> Message {
    head(text).message(text.as_bytes()).unwrap()
}

/// Messages as two systems write them: other delimiters, other line ends, numbers of several authorities, escapes.
#[test]
fn orders_and_numbers_are_found_whatever_the_delimiters() {
    let header = head(ORM);
    assert_eq!(header.kind(), ("ORM".into(), "O01".into()));
    assert_eq!((header.sender().as_str(), header.control()), ("RIS at ROYAL", "C\\T\\1"));
    assert_eq!((header.processing().as_str(), header.version().as_str()), ("P", "2.3.1"));
    let [who] = &people(&read(ORM))[..] else { panic!("one patient") };
    let numbers: Vec<_> = who.numbers.iter().map(|n| [n.id.as_str(), &n.authority, &n.universal, &n.kind]).collect();
    assert_eq!(numbers, [["R7", "Royal", "1.2.3", "MR"], ["4000000004", "NHS", "", "NH"]]);
    assert_eq!(who.birth_date, "19600229");
    let [order] = &orders(&read(ORM))[..] else { panic!("one order") };
    let found = [&order.control, &order.placer, &order.filler, &order.accession, &order.modality, &order.procedure];
    assert_eq!(found, ["NW", "P1", "F1", "ACC1", "CT", "CTCHEST"]);
    let found = [&order.scheduled, &order.study, &order.description];
    assert_eq!(found, ["202503111430", "1.2.840.5", "CT of the chest"]);
    let [order] = &orders(&read(OMI))[..] else { panic!("one order") };
    assert_eq!([&order.placer, &order.accession, &order.modality, &order.scheduled], ["P2", "ACC$2", "MR", "20250312"]);
    assert_eq!((order.study.as_str(), order.control.as_str()), ("1.2.3", "CA"), "what ended is cancelled");
    let [who] = &people(&read(OMI))[..] else { panic!("one patient") };
    assert_eq!((who.numbers[0].universal.as_str(), who.numbers[0].authority.as_str()), ("1.2.826", ""));
}

/// IPC-5: a PET with CT is one order with a procedure step for each; a rule about either concerns it.
#[test]
fn an_order_has_the_modalities_of_all_its_steps() {
    let steps =
        |modalities: &[&str]| modalities.iter().map(|one| format!("IPC|ACC2|RP|1.2.3|SPS|{one}\r")).collect::<String>();
    let many: Vec<String> = (0..30).map(|n| format!("M{n:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (obr, ipc, want) in [
        ("", &["PT", "CT"][..], "PT\\CT"),
        ("CT", &["PT", "CT"], "PT\\CT"),
        ("PT", &["MR"], "MR"),
        ("PT", &["", ""], "PT"),
        ("", &["", "CT", "CT", ""], "CT"),
        ("CT", &[], "CT"),
        ("", &many, &many[..16].join("\\")),
    ] {
        let text = format!(
            "MSH|^~\\&|RIS|ROYAL|||20250310||OMI^O23|7|P|2.5.1\rPID|||R7\rORC|NW|P1\rOBR|1|P1||X||||||||||||||||||||{obr}\r{}",
            steps(ipc)
        );
        let [order] = &orders(&read(&text))[..] else { panic!("one order") };
        assert_eq!(
            (order.modality.as_str(), order.accession.as_str()),
            (want, if ipc.is_empty() { "" } else { "ACC2" })
        );
    }
}

/// Several requests under one order: each one's modality counts, until procedure steps say better; the order keeps its first number.
#[test]
fn the_modalities_of_all_requests_of_an_order_count() {
    let request = |number: &str, modality: &str| format!("OBR|1|{number}||X||||||||||||||ACC1||||||{modality}\r");
    let step = "IPC|ACC2|RP|1.2.3|SPS|MR\r";
    let rows = [
        (vec![request("P1", "CT"), request("P2", "MR"), request("", "CT")], "", "CT\\MR"),
        (vec![request("", "CT"), request("", "")], "", "CT"),
        (vec![request("P1", "RAD"), request("P1", "CT")], step, "MR"),
    ];
    for (requests, steps, want) in rows {
        let requests = requests.concat();
        let text = format!("MSH|^~\\&|RIS|ROYAL|||20250310||ORM^O01|7|P|2.3.1\rPID|||R7\rORC|NW|P1\r{requests}{steps}");
        let [order] = &orders(&read(&text))[..] else { panic!("one order") };
        assert_eq!((order.placer.as_str(), order.modality.as_str()), ("P1", want), "{text}");
    }
}

/// Two systems behind one sender may give out one number: its namespace belongs to it, wherever it is written.
#[test]
fn a_number_of_an_order_keeps_its_namespace() {
    for (written, want) in [
        ("1001", "1001"),
        ("1001^WARD", "1001^WARD"),
        ("1001^^1.2.3^ISO", "1001^^1.2.3"),
        ("1001^WARD^1.2.3^ISO~1002", "1001^WARD^1.2.3"),
        ("1001^\"\"", "1001"),
        ("^WARD", ""),
    ] {
        for order in [format!("ORC|NW|{written}|{written}\r"), format!("ORC|NW\rOBR|1|{written}|{written}\r")] {
            let [order] = &orders(&read(&format!("MSH|^~\\&|RIS\r{order}")))[..] else { panic!("one order") };
            assert_eq!([&order.placer, &order.filler], [want; 2], "{written}");
        }
    }
}

/// An escape sequence that is not one of the five stays as it is: it must not make one number out of another.
#[test]
fn escapes_never_make_another_number() {
    for (written, want) in [
        ("R7", "R7"),
        ("R\\T\\7", "R&7"),
        ("R\\F\\\\E\\7", "R|\\7"),
        ("R\\X37\\7", "R\\X37\\7"),
        ("R\\7", "R\\7"),
        ("\\H\\R7\\N\\", "\\H\\R7\\N\\"),
        ("\"\"", ""),
    ] {
        let text = format!("MSH|^~\\&|RIS\rPID|||{written}^^^Royal\r");
        let got: Vec<String> = people(&read(&text))[0].numbers.iter().map(|number| number.id.clone()).collect();
        assert_eq!(got.concat(), want, "{written}");
    }
}

/// IDY-045: a merge names the number that stays and the one that was.
#[test]
fn a_merge_names_both_numbers() {
    let merge = "MSH|^~\\&|PAS|ROYAL|||2025||ADT^A40|9|P|2.4\rEVN|A40\rPID|1||R7^^^Royal^MR||X||19600229\r\
        MRG|R6^^^Royal^MR~\"\"\rPID|2||R9\rMRG|R8\r";
    let who = people(&read(merge));
    let numbers: Vec<_> = who
        .iter()
        .map(|who| [&who.numbers, &who.merged].map(|list| list.iter().map(|n| n.id.as_str()).collect::<Vec<_>>()))
        .collect();
    assert_eq!(numbers, [[["R7"], ["R6"]], [["R9"], ["R8"]]]);
}

#[test]
fn the_answer_names_the_message_and_nothing_of_the_patient() {
    let refusal = Refusal::error(Fault::Missing, "PID^1^3", "no | such ^ thing");
    let answer = head(ORM).answered(Some(&refusal), "20250310120001", "Hampshire");
    assert_eq!(head(&answer).kind(), ("ACK".into(), "O01".into()));
    let ack = read(&answer);
    let msa = ack.segments().find(|segment| segment.name() == "MSA").unwrap();
    assert_eq!((msa.part(1, 1), msa.raw(2), msa.part(3, 1)), ("AE".into(), "C\\T\\1", "no   such   thing".into()));
    let err = ack.segments().find(|segment| segment.name() == "ERR").unwrap();
    assert_eq!(err.raw(1), "PID^1^3^101&Required field missing&HL70357");
    assert!(!answer.contains("SECRET") && !answer.contains("4000000004") && answer.ends_with('\r'), "{answer}");
    assert!(
        answer.starts_with("MSH|^~\\&|WEYBRIDGE|Hampshire|RIS|ROYAL|20250310120001||ACK^O01^ACK|C\\T\\1|P|2.3.1\r"),
        "{answer}"
    );
    let answer = head(OMI).answered(None, "20250310120001", "Hampshire");
    assert!(answer.contains("\rMSA#AA#77#\r") && !answer.contains("ERR"), "{answer}");
}

/// What a version does not know yet, or no more, is not in the answer to it.
#[test]
fn the_answer_is_of_the_version_of_its_message() {
    let refusal = Refusal::error(Fault::Sequence, "PID^2", "two patients");
    for (version, kind, refused) in [
        ("2.1", "ACK", "|two patients\rERR|PID^2^^100&Segment sequence error&HL70357\r"),
        ("2.2", "ACK^O01", "|two patients\rERR|PID^2^^100&Segment sequence error&HL70357\r"),
        ("2.3", "ACK^O01", "|two patients\rERR|PID^2^^100&Segment sequence error&HL70357\r"),
        ("2.3.1", "ACK^O01^ACK", "|two patients\rERR|PID^2^^100&Segment sequence error&HL70357\r"),
        ("2.4", "ACK^O01^ACK", "|two patients\rERR|PID^2^^100&Segment sequence error&HL70357\r"),
        ("2.5^GBR", "ACK^O01^ACK", "|two patients\rERR||PID^2|100^Segment sequence error^HL70357|E||||two patients\r"),
        ("2.7.1", "ACK^O01^ACK", "|\rERR||PID^2|100^Segment sequence error^HL70357|E||||two patients\r"),
        ("", "ACK^O01^ACK", "|two patients\rERR||PID^2|100^Segment sequence error^HL70357|E||||two patients\r"),
        ("3.1", "ACK^O01^ACK", "|two patients\rERR||PID^2|100^Segment sequence error^HL70357|E||||two patients\r"),
    ] {
        let message = ORM.replace("|P|2.3.1", &format!("|P|{version}"));
        let answer = head(&message).answered(Some(&refusal), "2025", "Hampshire");
        let want = format!(
            "MSH|^~\\&|WEYBRIDGE|Hampshire|RIS|ROYAL|2025||{kind}|C\\T\\1|P|{version}\rMSA|AE|C\\T\\1{refused}"
        );
        assert_eq!(answer, want);
    }
    let bare = Header::read(b"MSH|^~|RIS||||||ORM|7|P|2.1").unwrap();
    let answer = bare.answered(Some(&refusal), "2025", "Hampshire");
    assert!(answer.contains("||ACK|7|P|2.1\r") && answer.ends_with("\rERR|PID^2^^100\r"), "{answer}");
}

/// A line end or the mark of UTF-8 before the header is passed over.
#[test]
fn what_stands_before_a_message_is_passed_over() {
    for before in ["\r\n", " ", "\u{feff}", "\u{feff}\r"] {
        let text = format!("{before}{ORM}");
        assert_eq!((head(&text).control(), orders(&read(&text)).len()), ("C\\T\\1", 1), "{before:?}");
        assert!(read(&text).segments().next().is_some_and(|segment| segment.name() == "MSH"));
    }
}

#[test]
fn what_is_no_message_is_told_apart() {
    for text in ["PID|1", "MSH", "MSHabc", "MSH|", "MSH|^|RIS", "MSH|^^\\&|RIS", "MSH||~\\&|RIS", "MSH \r^~"] {
        assert_eq!(Header::read(text.as_bytes()).err(), Some(MessageError::Header), "{text}");
    }
    let with = |set: &str| ORM.replace("|P|2.3.1", &format!("|P|2.3.1||||||{set}"));
    let japanese = with("ISO IR87");
    assert_eq!(head(&japanese).message(japanese.as_bytes()).err(), Some(MessageError::Charset));
    let long = format!("{ORM}{}", "ZZZ|1\r".repeat(1000));
    assert_eq!(head(&long).message(long.as_bytes()).err(), Some(MessageError::TooLong));
    assert!(!format!("{:?}", read(ORM)).contains("SECRET"));
    // MSH-18 says how bytes beyond ASCII are read.
    for (set, bytes, want) in [
        ("", &b"\xC3\xA9"[..], Ok("\u{e9}")),
        ("", b"\xE9", Ok("\u{e9}")),
        ("ASCII", b"\xE9", Ok("\u{e9}")),
        ("UNICODE UTF-8", b"\xC3\xA9", Ok("\u{e9}")),
        ("UNICODE UTF-8", b"\xE9", Ok("\u{fffd}")),
        ("8859/1", b"\xC3\xA9", Ok("\u{c3}\u{a9}")),
        ("8859/5~8859/1", b"\xC0", Ok("\u{420}")),
        ("8859/9", b"\xFE", Ok("\u{15f}")),
        ("8859/15", b"\xA4", Ok("\u{20ac}")),
        // Other names of the same, as engines write them.
        ("ISO-8859-1", b"\xE9", Ok("\u{e9}")),
        ("iso8859-2", b"\xB1", Ok("\u{105}")),
        ("8859-1", b"\xE9", Ok("\u{e9}")),
        ("utf8", b"\xC3\xA9", Ok("\u{e9}")),
        ("UTF-8", b"\xE9", Ok("\u{fffd}")),
        ("US-ASCII", b"\xE9", Ok("\u{e9}")),
        ("ISO IR6", b"X", Ok("X")),
        ("windows-1252", b"\x80", Ok("\u{20ac}")),
        ("UNICODE UTF-16", b"X", Err(MessageError::Charset)),
        ("8859/16", b"X", Err(MessageError::Charset)),
    ] {
        let text = with(set);
        let (before, after) = text.split_once("CTCHEST").unwrap();
        let bytes = [before.as_bytes(), bytes, after.as_bytes()].concat();
        let got = Header::read(&bytes).unwrap().message(&bytes).map(|message| orders(&message)[0].procedure.clone());
        assert_eq!(got, want.map(str::to_owned), "{set}");
    }
}

fn framed(limit: usize, bytes: &[u8]) -> Framed {
    let mut framer = Framer::new(limit);
    framer.take(bytes);
    framer.next_message()
}

/// Frames are found in whatever pieces they come; half of one message is never read with half of another.
#[test]
fn frames_are_found_in_whatever_pieces_they_come() {
    let whole = frame("MSH|x");
    assert_eq!(whole, b"\x0bMSH|x\x1c\r");
    let mut framer = Framer::new(5);
    for byte in [b"\r\n", &whole[..7]].concat().iter().take(8) {
        framer.take(&[*byte]);
        assert_eq!(framer.next_message(), Framed::NeedMore);
    }
    // The second follows without the carriage return that should end the first.
    framer.take(b"\x1c\x0bMSH|y\x1c\r\n");
    assert_eq!(
        [framer.next_message(), framer.next_message()],
        [b"MSH|x", b"MSH|y"].map(|text| Framed::Message(text.to_vec()))
    );
    assert_eq!((framer.next_message(), framer.is_idle()), (Framed::NeedMore, true));
    for (limit, bytes, why) in [
        (4, &whole[..], "a message over the limit"),
        (10, &[b"\x0b", &[b'x'; 50][..]].concat(), "a message over the limit"),
        (100, b"\x0bMSH|PID of one\x0bMSH|PID of another\x1c\r", "a message that begins within another"),
        (100, b"GET / HTTP/1.1", "bytes that belong to no message"),
    ] {
        assert_eq!(framed(limit, bytes), Framed::Broken(why));
    }
    assert_eq!(framed(10, &[b' '; 50]), Framed::NeedMore, "white space is not kept");
}

/// A frame within a frame, as an engine makes that frames what is framed already, is one message; nothing is lost by it.
#[test]
fn what_is_framed_twice_is_one_message() {
    let bytes = [&b"\x0b\x0bMSH|x\x1c\r\x1c\r"[..], &frame("MSH|y")].concat();
    for size in [1, 2, bytes.len()] {
        assert_eq!(all(100, &bytes, size), [b"MSH|x", b"MSH|y"].map(|text| Framed::Message(text.to_vec())), "{size}");
    }
}

/// What comes in pieces of this size.
fn all(limit: usize, bytes: &[u8], size: usize) -> Vec<Framed> {
    let (mut framer, mut found) = (Framer::new(limit), Vec::new());
    for piece in bytes.chunks(size) {
        framer.take(piece);
        loop {
            match framer.next_message() {
                Framed::NeedMore => break,
                Framed::Broken(why) => panic!("{why} after {found:?}"),
                framed => found.push(framed),
            }
        }
    }
    assert!(framer.is_idle());
    found
}

/// A message over the limit can be answered, since its header is kept, and the next one is read.
#[test]
fn a_message_over_the_limit_is_passed_over_to_its_end() {
    let bytes = [frame(&format!("{ORM}OBX|1|ED|||{}\r", "x".repeat(20_000))), frame("MSH|y")].concat();
    for size in [1, 7, 5_000, bytes.len()] {
        let found = all(1_000, &bytes, size);
        let [Framed::TooLong(head), Framed::Message(next)] = &found[..] else { panic!("{size}: {found:?}") };
        assert_eq!(Header::read(head).unwrap().control(), "C\\T\\1", "{size}");
        assert!(head.len() <= 4096 && next == b"MSH|y", "{size}");
    }
    let mut framer = Framer::new(1_000);
    framer.take(&bytes[..10_000]);
    assert_eq!((framer.next_message(), framer.is_idle()), (Framed::NeedMore, false), "the rest is still to come");
    framer.take(&bytes[..10]);
    assert_eq!(framer.next_message(), Framed::Broken("a message that begins within another"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), head in any::<bool>()) {
        let bytes = if head { [b"MSH|^~\\&|", &bytes[..]].concat() } else { bytes };
        framed(100, &bytes);
        if let Ok(header) = Header::read(&bytes) {
            let _ = (header.sender(), header.kind(), header.answered(None, "", ""));
            if let Ok(message) = header.message(&bytes) {
                let _ = (people(&message), orders(&message));
            }
        }
    }
}
