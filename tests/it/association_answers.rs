//! The answer to every C-STORE: condition by condition as docs/conformance.md lists them, by a real toolkit and by hand.

use crate::support::caller::{Answer, Caller, Pdu, Request, command, fragment, release_request, store_command};
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, names};
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::python;
use crate::support::two_sites::Stage;
use serde_json::{Value, json};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const PATIENT: [&str; 3] = ["Specimen", "T0000001", "20250310"];

/// One C-STORE, and what must come of it.
struct Row {
    name: &'static str,
    calling: &'static str,
    /// What the command says; the context is for secondary captures.
    class: &'static str,
    instance: String,
    data: Vec<u8>,
    status: u16,
    offending: Option<(u16, u16)>,
    stored: bool,
}

fn site() -> (Stage, Gateway) {
    let stage = Stage::new();
    let node = |title: &str, rest: &str| {
        format!("\n[[node]]\nae_title = \"{title}\"\nfrom_addresses = [\"127.0.0.1\"]\n{rest}\n")
    };
    let config = stage
        .site_a("https://127.0.0.1:9/dicom-web")
        .with(&node("CLOSED", "may = []"))
        .with(&node("STRICT", "may = [\"store\"]\nconflict_status = \"C010\""))
        .with("[limits]\ninstance = \"1 MiB\"");
    let gateway = Gateway::start(&stage.path().join("a"), config);
    (stage, gateway)
}

/// The data set without one of its elements of short length.
fn without(bytes: &[u8], tag: (u16, u16)) -> Vec<u8> {
    let (at, end) = place(bytes, tag);
    [&bytes[..at], &bytes[end..]].concat()
}

/// The data set with an element emptied.
fn emptied(bytes: &[u8], tag: (u16, u16)) -> Vec<u8> {
    let (at, end) = place(bytes, tag);
    [&bytes[..at + 6], &[0, 0], &bytes[end..]].concat()
}

fn place(bytes: &[u8], (group, element): (u16, u16)) -> (usize, usize) {
    let key = [group.to_le_bytes(), element.to_le_bytes()].concat();
    let at = bytes.windows(4).position(|w| w == key).unwrap();
    (at, at + 8 + usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]])))
}

/// The table; each caller tells a story of its own, so that what is there already is its own doing.
fn rows(story: u64) -> Vec<Row> {
    let row = |name, number: u64, status| {
        let names = names(story, 1, number);
        let data = data_set(&names, 4000, number);
        let (calling, class, instance) = ("SENDER", SECONDARY_CAPTURE, names.instance);
        Row { name, calling, class, instance, data, status, offending: None, stored: status == 0 }
    };
    let names = |number| names(story, 1, number);
    let cut = |row: Row, change: &dyn Fn(&[u8]) -> Vec<u8>, offending| Row {
        data: change(&row.data),
        offending: Some(offending),
        ..row
    };
    let (study, series) = ((0x0020, 0x000D), (0x0020, 0x000E));
    let (class, instance, pixels) = ((0x0008, 0x0016), (0x0008, 0x0018), (0x7FE0, 0x0010));
    let other = data_set(&names(99), 4000, 99);
    vec![
        row("stored", 1, 0),
        row("the same again", 1, 0),
        lenient(story),
        Row { data: data_set(&names(1), 4000, 77), ..row("other content, told by default", 1, 0) },
        Row { calling: "STRICT", ..row("stored by a strict node", 2, 0) },
        Row { calling: "STRICT", data: data_set(&names(2), 4000, 78), stored: true, ..row("other content", 2, 0xC010) },
        Row { class: CT, ..row("class that is not the context's", 3, 0x0122) },
        Row { instance: "1.2.not/a/uid".into(), ..row("a name that is no UID", 4, 0x0117) },
        Row { instance: "../../../etc/passwd".into(), ..row("a path", 5, 0x0117) },
        Row { instance: "1..2".into(), ..row("an empty component", 6, 0x0117) },
        Row { calling: "CLOSED", ..row("a node that may not store", 7, 0x0124) },
        Row { data: data_set(&names(8), 2 << 20, 8), ..row("larger than the limit", 8, 0xA700) },
        cut(row("cut short", 9, 0xC000), &|d| d[..d.len() - 500].to_vec(), pixels),
        cut(row("longer than it says", 10, 0xC000), &|d| [d, &[1; 500]].concat(), (0x0101, 0x0101)),
        cut(row("data set of another class", 11, 0xA900), &|d| altered(d, class), class),
        cut(row("data set without a class", 12, 0xA900), &|d| without(d, class), class),
        cut(row("another instance", 13, 0xA901), &|_| other.clone(), instance),
        cut(row("no instance", 14, 0xA901), &|d| without(d, instance), instance),
        cut(row("no study", 15, 0xA902), &|d| without(d, study), study),
        cut(row("an empty study", 16, 0xA902), &|d| emptied(d, study), study),
        cut(row("no series", 17, 0xA902), &|d| without(d, series), series),
        cut(row("an empty series", 18, 0xA902), &|d| emptied(d, series), series),
    ]
}

/// A UID with leading zeros, which PS3.5 section 9.1 forbids and the field has.
fn lenient(story: u64) -> Row {
    let plain = names(story, 1, 19);
    let names = Names { instance: format!("{}.007", plain.instance), ..plain };
    let (data, instance) = (data_set(&names, 4000, 19), names.instance);
    let name = "leading zeros in a component";
    Row { name, calling: "SENDER", class: SECONDARY_CAPTURE, instance, data, status: 0, offending: None, stored: true }
}

/// The last character of an element's value before its padding becomes another digit.
fn altered(bytes: &[u8], tag: (u16, u16)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (_, end) = place(&bytes, tag);
    let last = if bytes[end - 1] == 0 { end - 2 } else { end - 1 };
    bytes[last] = if bytes[last] == b'4' { b'5' } else { b'4' };
    bytes
}

/// Compares one answer with its row.
fn check(row: &Row, status: Option<u16>, comment: Option<&str>, offending: Option<(u16, u16)>) {
    let name = row.name;
    assert_eq!(status, Some(row.status), "{name}: {comment:?}");
    assert_eq!(comment.is_some_and(|c| !c.is_empty()), row.status != 0, "{name}: {comment:?}");
    assert_eq!(offending, row.offending, "{name}: {comment:?}");
    let comment = comment.unwrap_or_default();
    assert!(comment.len() <= 64 && !PATIENT.iter().any(|p| comment.contains(p)), "{name}: {comment:?}");
}

/// What is held and what is not, after all of it.
fn check_held(site: &Gateway, story: u64, rows: &[Row]) {
    let held = site.study(&names(story, 1, 1).study);
    let is_held = |uid: &str| held.iter().filter(|row| row["sop_instance_uid"] == uid).count();
    for row in rows {
        let want = rows.iter().any(|other| other.instance == row.instance && other.stored);
        assert_eq!(is_held(&row.instance) > 0, want, "{}: {held:#?}", row.name);
    }
    assert_eq!(is_held(&names(story, 1, 1).instance), 2, "both contents of one UID are kept");
}

#[test]
fn each_condition_has_its_status_comment_and_offending_element() {
    let (stage, site) = site();
    let port = site.config.dicom_port;

    // By a real toolkit.
    let by_toolkit = rows(321);
    let mut lines = Vec::new();
    for (number, row) in by_toolkit.iter().enumerate() {
        let path = stage.path().join(format!("{number}.dat"));
        std::fs::write(&path, &row.data).unwrap();
        let line = json!({
            "calling": row.calling, "class": SECONDARY_CAPTURE, "syntax": EXPLICIT_LE,
            "command_class": row.class, "instance": row.instance, "path": path,
        });
        lines.push(line.to_string());
    }
    let list = stage.path().join("rows");
    std::fs::write(&list, lines.join("\n")).unwrap();
    let answers: Vec<Value> = python::lines("answers", [port.to_string().as_ref(), "WB_A".as_ref(), list.as_os_str()]);
    assert_eq!(answers.len(), by_toolkit.len());
    for (row, answer) in by_toolkit.iter().zip(&answers) {
        let word = |value: &Value| u16::try_from(value.as_u64().unwrap()).unwrap();
        let offending = answer["offending"].as_array().map(|tag| (word(&tag[0]), word(&tag[1])));
        let status = answer["status"].as_u64().map(|status| u16::try_from(status).unwrap());
        check(row, status, answer["comment"].as_str(), offending);
    }
    check_held(&site, 321, &by_toolkit);

    // By hand, one after the other on one association a node: no refusal ends it.
    let by_hand = rows(322);
    let ask = |calling: &str| Request::new(calling, "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
    let mut open: Vec<(&str, Caller)> =
        ["SENDER", "STRICT", "CLOSED"].map(|calling| (calling, Caller::accepted(port, &ask(calling)).0)).into();
    for row in &by_hand {
        let (_, caller) = open.iter_mut().find(|(calling, _)| *calling == row.calling).unwrap();
        let answer = caller.store(1, row.class, &row.instance, &row.data).unwrap();
        let Answer { status, comment, offending, .. } = &answer;
        check(row, Some(*status), comment.as_deref(), *offending);
        let named = answer.instance.unwrap_or_default();
        assert_eq!(named, row.instance, "{}", row.name);
    }
    open.into_iter().for_each(|(_, caller)| caller.release());
    check_held(&site, 322, &by_hand);

    // Row 4 of the decision table: it is taken, and the ledger says so; of no other arrival.
    let flagged: Vec<Value> = ledger::export(&site)
        .into_iter()
        .filter(|e| e["kind"] == "received" && !e["facts"]["lenient"].is_null())
        .collect();
    assert_eq!(flagged.len(), 2, "{flagged:#?}");
    let said = |e: &Value| e["facts"]["lenient"] == json!(["leading zero in SOP Instance UID"]);
    assert!(flagged.iter().all(said), "{flagged:#?}");
    let refused: Vec<Value> = ledger::export(&site).into_iter().filter(|e| e["kind"] == "refused").collect();
    assert!(refused.iter().any(|e| e["facts"]["what"] == "store"), "a refused right is entered: {refused:#?}");
    site.verify_ledger(true);
}

#[test]
fn what_only_a_bare_socket_sends_is_answered_too() {
    let (_stage, site) = site();
    let port = site.config.dicom_port;
    let request = Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]).context(3, CT, &[]);
    let names: Vec<Names> = (0..8).map(|n| names(323, 1, n)).collect();
    let bytes: Vec<Vec<u8>> = names.iter().map(|names| data_set(names, 4000, 1)).collect();
    let (mut caller, accept) = Caller::accepted(port, &request);
    assert_eq!(accept.contexts[&3].0, 4);

    // A UID of 65 characters is no UID and is not sent back; one of leading zeros is known from the field.
    let long = format!("2.25.{}", "1".repeat(60));
    let answer = caller.store(1, SECONDARY_CAPTURE, &long, &bytes[0]).unwrap();
    assert_eq!(answer.status, 0x0117);
    // A message ID may come back once it was answered: operations are synchronous, so none is ever outstanding.
    for number in [1, 2] {
        let answer = caller.store(1, SECONDARY_CAPTURE, &names[number].instance, &bytes[number]).unwrap();
        assert_eq!((answer.status, answer.message), (0, 7));
    }
    // No instance named, no data set, an operation that is not offered.
    let zero = [0, 0];
    let nameless = command(&[
        (0x0002, SECONDARY_CAPTURE.as_bytes()),
        (0x0100, &[1, 0]),
        (0x0110, &[9, 0]),
        (0x0700, &zero),
        (0x0800, &zero),
    ]);
    caller.fragment(1, true, true, &nameless).unwrap();
    caller.fragment(1, false, true, &bytes[3]).unwrap();
    assert_eq!(caller.answer().unwrap().status, 0x0117);
    let bare = |field: u8| {
        command(&[
            (0x0002, SECONDARY_CAPTURE.as_bytes()),
            (0x0100, &[field, 0]),
            (0x0110, &[10, 0]),
            (0x0800, &[1, 1]),
            (0x1000, names[3].instance.as_bytes()),
        ])
    };
    for (field, status) in [(0x01, 0xC000), (0x20, 0x0211), (0x21, 0x0211)] {
        caller.fragment(1, true, true, &bare(field)).unwrap();
        let answer = caller.answer().unwrap();
        assert_eq!((answer.status, answer.comment.is_some()), (status, true), "field {field:02x}");
    }
    // An answer fits the caller's maximum, however small.
    let small = Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]).maximum(8);
    let (mut tiny, _) = Caller::accepted(port, &small);
    let answer = tiny.store(1, SECONDARY_CAPTURE, &names[4].instance, &bytes[4]).unwrap();
    assert_eq!((answer.status, answer.longest_pdu), (0, 8));
    tiny.release();

    // A context that was not accepted ends the association (PS3.8 section 9.3.8), and so does a release amid a data set.
    caller.send(&fragment(3, true, true, &store_command(CT, &names[5].instance, 1))).unwrap();
    assert_eq!(caller.read().unwrap(), Pdu::Abort(2, 6));
    let (mut caller, _) = Caller::accepted(port, &request);
    caller.fragment(1, true, true, &store_command(SECONDARY_CAPTURE, &names[6].instance, 1)).unwrap();
    caller.fragment(1, false, false, &bytes[6][..2000]).unwrap();
    caller.send(&release_request()).unwrap();
    assert_eq!(caller.read().unwrap(), Pdu::Abort(2, 2));
    // So does an abort of the sender's own.
    let (mut caller, _) = Caller::accepted(port, &request);
    caller.fragment(1, true, true, &store_command(SECONDARY_CAPTURE, &names[7].instance, 1)).unwrap();
    caller.fragment(1, false, false, &bytes[7][..2000]).unwrap();
    caller.send(&crate::support::caller::pdu(7, &[0; 4])).unwrap();
    assert_eq!(caller.until_closed(), Vec::<u8>::new());
    let held = site.study(&names[0].study);
    assert_eq!(held.len(), 3, "numbers 1, 2 and 4, and nothing of the others: {held:#?}");
    site.verify_ledger(true);
}

/// DIM-009, DIM-031: however a real toolkit cuts its messages, each is stored as it is; and one that it breaks off is not.
#[test]
fn messages_cut_as_no_toolkit_cuts_them_are_stored_whole_or_not_at_all() {
    let (stage, site) = site();
    // The manner, and how many instances are sent in it.
    let rows = [("bytes", 2), ("one_pdu", 2), ("shared", 2), ("at_once", 3), ("aborts", 1)];
    let (mut lines, mut sent) = (Vec::new(), Vec::new());
    for (study, (manner, count)) in (1..).zip(rows) {
        let mut instances = Vec::new();
        for number in 1..=count {
            let names = names(324, study, number);
            let bytes = data_set(&names, 1000, number);
            let path = stage.path().join(format!("{manner}-{number}"));
            std::fs::write(&path, &bytes).unwrap();
            instances.push(json!({ "sop_instance": names.instance, "path": path }));
            sent.push((manner, names, digest(&bytes)));
        }
        let (class, syntax) = (SECONDARY_CAPTURE, EXPLICIT_LE);
        let line = json!({ "manner": manner, "class": class, "syntax": syntax, "instances": instances });
        lines.push(line.to_string());
    }
    let list = stage.path().join("rows");
    std::fs::write(&list, lines.join("\n")).unwrap();
    let port = site.config.dicom_port.to_string();
    let answers: Vec<Value> = python::lines("odd_scu", [port.as_ref(), "WB_A".as_ref(), list.as_os_str()]);
    assert_eq!(answers.len(), rows.len());
    for answer in &answers {
        let want = (answer["manner"] != "aborts").then_some(0);
        assert!(answer["statuses"].as_array().unwrap().iter().all(|status| status.as_u64() == want), "{answer}");
    }
    for (manner, names, digest) in sent {
        if manner == "aborts" {
            assert_eq!(site.holds(&names.study), 0, "it was not whole");
            continue;
        }
        let held = site.study(&names.study);
        let mine = held.iter().find(|row| row["sop_instance_uid"] == names.instance);
        assert_eq!(mine.map(|row| &row["sha256"]), Some(&digest.into()), "{manner}: {held:#?}");
    }
    site.verify_ledger(true);
}
