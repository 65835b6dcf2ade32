//! Negotiation over a real listener: what is accepted, what is answered to each question, what is refused with which reason.

use crate::support::caller::{
    Accept, Caller, IMPLICIT_LE, Pdu, Request, VERIFICATION, counted, echo_command, release_request, verification_node,
};
use crate::support::config::free_port;
use crate::support::dcmtk::echoscu;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::process::finish;
use crate::support::tools::tool;
use crate::support::two_sites::{Stage, TwoSites};
use crate::support::wait::{seconds, until};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const PRIVATE_CLASS: &str = "1.3.12.2.1107.5.9.1";
const PRIVATE_SYNTAX: &str = "1.2.840.113619.5.2";
/// A syntax that nobody else has: read as Explicit VR Little Endian, kept as it came.
const UNHEARD_OF: &str = "1.3.6.1.4.1.99999.1";
const JPEG: &str = "1.2.840.10008.1.2.4.70";
const WORKLIST: &str = "1.2.840.10008.5.1.4.31";
const NOWHERE: &str = "https://127.0.0.1:9/dicom-web";

/// Result, source and reason of a rejection, if there is one.
type Rejection = Option<(u8, u8, u8)>;

fn site(more: &str) -> (Stage, Gateway) {
    let stage = Stage::new();
    let config = stage.site_a(NOWHERE).with(more);
    let gateway = Gateway::start(&stage.path().join("a"), config);
    (stage, gateway)
}

fn usual() -> Request {
    Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE])
}

/// What an open association needs to show that it lives.
fn echo(caller: &mut Caller, context: u8) -> u16 {
    caller.fragment(context, true, true, &echo_command(3)).unwrap();
    caller.answer().unwrap().status
}

#[test]
fn every_title_of_ours_answers_c_echo() {
    let stage = Stage::new();
    let tls = free_port();
    let mut config = stage.site_a(NOWHERE).route("by title", "b", "called = [\"TO_SURREY\"]");
    config.dicom = format!("tls_listen = \"127.0.0.1:{tls}\"");
    let config = config.with("[[node]]\nae_title = \"SECURE\"\nidentity = \"modality.test\"");
    let site = Gateway::start(&stage.path().join("a"), config);
    let identity = stage.authority.issue("modality.test");
    for title in ["WB_A", "TO_SURREY"] {
        echoscu(site.config.dicom_port, "SENDER", title).ok(title);
        let mut command = Command::new(tool("echoscu"));
        command.arg("+tls").arg(&identity.key).arg(&identity.certificate).arg("+cf").arg(&identity.trust);
        command.args(["-aet", "SECURE", "-aec", title, "127.0.0.1", &tls.to_string()]);
        finish(&mut command, seconds(60)).ok(&format!("{title} over TLS"));
    }
    assert_ne!(echoscu(site.config.dicom_port, "SENDER", "TO_NOBODY").code, Some(0));
}

#[test]
fn titles_and_versions_that_do_not_fit_are_rejected_with_their_reason() {
    let (_stage, site) = site("");
    let bytes = |text: &[u8; 16]| text.to_vec();
    let rows: Vec<(&str, Request, Rejection)> = vec![
        ("leading space", Request { calling: bytes(b" SENDER         "), ..usual() }, None),
        ("padded by NUL", Request { called: bytes(b"WB_A\0\0\0\0\0\0\0\0\0\0\0\0"), ..usual() }, None),
        ("garbage behind a NUL", Request { called: bytes(b"WB_A\0\x8F\x10abc\0\xFF\xCC\0\x01\x02"), ..usual() }, None),
        ("unknown caller", Request::new("STRANGER", "WB_A"), Some((1, 1, 3))),
        ("case counts", Request::new("sender", "WB_A"), Some((1, 1, 3))),
        ("unknown title", Request::new("SENDER", "NOBODY"), Some((1, 1, 7))),
        ("case counts too", Request::new("SENDER", "wb_a"), Some((1, 1, 7))),
        ("blank caller", Request::new("", "WB_A"), Some((1, 1, 3))),
        ("blank title", Request::new("SENDER", ""), Some((1, 1, 7))),
        ("control character", Request { calling: bytes(b"SEND\x07ER         "), ..usual() }, Some((1, 1, 3))),
        ("backslash", Request { called: bytes(b"WB\\A            "), ..usual() }, Some((1, 1, 7))),
        ("8-bit", Request { calling: bytes(b"SEND\xC9R          "), ..usual() }, Some((1, 1, 3))),
        ("another application", Request { application: b"1.2.3".to_vec(), ..usual() }, Some((1, 1, 2))),
        ("another version", Request { version: 2, ..usual() }, Some((1, 2, 2))),
        ("further versions", Request { version: 3, ..usual() }, None),
        ("no room for a fragment", usual().maximum(4), Some((1, 1, 1))),
        ("no limit", usual().maximum(0), None),
    ];
    for (name, mut request, want) in rows {
        if request.contexts.is_empty() {
            request = request.context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
        }
        match (Caller::ask(site.config.dicom_port, &request), want) {
            ((caller, Ok(Pdu::Accept(_))), None) => caller.release(),
            ((_, Ok(Pdu::Reject(result, by, reason))), Some(want)) => {
                assert_eq!((result, by, reason), want, "{name}");
            }
            ((_, other), want) => panic!("{name}: {other:?}, not {want:?}"),
        }
    }
}

#[test]
fn every_context_has_one_result_and_an_accepted_one_a_proposed_syntax() {
    let (_stage, site) = site("");
    let port = site.config.dicom_port;
    // As many and as long as PS3.8 allows: 128 contexts of 20 syntaxes, some 70 KiB.
    let syntaxes: Vec<String> =
        (0..19).map(|n| format!("1.2.840.113619.5.20261128{n}")).chain([EXPLICIT_LE.into()]).collect();
    let mut full = Request::new("SENDER", "WB_A");
    for n in 0..128_u8 {
        full.contexts.push((2 * n + 1, format!("1.2.840.10008.5.1.4.1.1.{n}"), syntaxes.clone()));
    }
    assert!(full.pdu().len() > 64 << 10);
    let (caller, accept) = Caller::accepted(port, &full);
    assert_eq!((accept.results, accept.contexts.len()), (128, 128));
    assert!(accept.contexts.values().all(|(result, syntax)| *result == 0 && syntaxes.contains(syntax)));
    caller.release();

    let request = Request::new("SENDER", "WB_A")
        .context(255, CT, &[IMPLICIT_LE])
        .context(1, CT, &[IMPLICIT_LE, EXPLICIT_LE])
        .context(9, CT, &[JPEG, EXPLICIT_LE, IMPLICIT_LE])
        .context(3, PRIVATE_CLASS, &[PRIVATE_SYNTAX])
        .context(5, WORKLIST, &[EXPLICIT_LE])
        .context(7, MR, &[])
        .context(11, VERIFICATION, &[IMPLICIT_LE]);
    // An item of a kind that nobody knows, in the user information and beside it (PS3.8 section 9.3.1).
    let mut bytes = request.item(0x7F, b"what is this").pdu();
    bytes.extend([0x99, 0, 0, 2, 1, 2]);
    let length = u32::try_from(bytes.len() - 6).unwrap();
    bytes[2..6].copy_from_slice(&length.to_be_bytes());
    let mut caller = Caller::connect(port);
    caller.send(&bytes).unwrap();
    let Pdu::Accept(accept) = caller.read().unwrap() else { panic!("not accepted") };
    let want = [(1, 0, EXPLICIT_LE), (3, 0, PRIVATE_SYNTAX), (9, 0, JPEG), (11, 0, IMPLICIT_LE), (255, 0, IMPLICIT_LE)];
    for (id, result, syntax) in want {
        assert_eq!(accept.contexts[&id], (result, syntax.to_owned()), "context {id}");
    }
    assert_eq!((accept.contexts[&5].0, accept.contexts[&7].0, accept.results), (3, 4, 7));
    assert_eq!(echo(&mut caller, 11), 0);
    caller.release();
}

#[test]
fn private_classes_and_syntaxes_are_stored_as_they_come() {
    let (_stage, site) = site("");
    let names = names(311, 1, 1);
    let request = Request::new("SENDER", "WB_A").context(1, PRIVATE_CLASS, &[EXPLICIT_LE]).context(
        3,
        PRIVATE_CLASS,
        &[UNHEARD_OF],
    );
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &request);
    for (context, number) in [(1, 1), (3, 2)] {
        let names = crate::support::files::names(311, 1, number);
        let bytes = data_set(&names, 2000, number);
        let at = bytes.windows(SECONDARY_CAPTURE.len()).position(|w| w == SECONDARY_CAPTURE.as_bytes()).unwrap();
        let mut value = PRIVATE_CLASS.as_bytes().to_vec();
        value.resize(value.len() + value.len() % 2, 0);
        let length = u16::try_from(value.len()).unwrap().to_le_bytes();
        let end = at + SECONDARY_CAPTURE.len().next_multiple_of(2);
        let bytes = [&bytes[..at - 2], &length, &value, &bytes[end..]].concat();
        let answer = caller.store(context, PRIVATE_CLASS, &names.instance, &bytes).unwrap();
        assert_eq!((answer.status, answer.comment), (0, None), "context {context}");
    }
    caller.release();
    let rows = site.study(&names.study);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["sop_class_uid"] == PRIVATE_CLASS));
    assert_eq!(rows.iter().filter(|row| row["transfer_syntax_uid"] == UNHEARD_OF).count(), 1);
}

#[test]
fn what_was_not_asked_is_not_answered_and_what_was_is_answered_rightly() {
    let (_stage, site) = site("");
    let port = site.config.dicom_port;
    let ask = |request: &Request| -> Accept {
        let (caller, accept) = Caller::accepted(port, request);
        caller.release();
        accept
    };
    let usual = usual().context(3, PRIVATE_CLASS, &[EXPLICIT_LE]).context(5, VERIFICATION, &[IMPLICIT_LE]);
    let plain = ask(&usual);
    let kinds: Vec<u8> = plain.user.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x51, 0x52, 0x55], "our limit and our name, and nothing else (DIM-016)");
    assert_eq!(plain.item(0x51), Some(&131_072_u32.to_be_bytes()[..]));
    assert!(plain.item(0x52).unwrap().starts_with(b"2.25.") && plain.item(0x55).unwrap().len() <= 16);

    for window in [[0, 0, 0, 0], [0, 5, 0, 5], [0, 1, 0, 1]] {
        assert_eq!(ask(&usual.clone().item(0x53, &window)).item(0x53), Some(&[0, 1, 0, 1][..]), "{window:?}");
    }
    for (proposed, granted) in [([1, 0], [1, 0]), ([1, 1], [1, 0]), ([0, 1], [0, 0]), ([0, 0], [0, 0])] {
        let role = |roles: [u8; 2]| [counted(SECONDARY_CAPTURE.as_bytes()), roles.to_vec()].concat();
        let accept = ask(&usual.clone().item(0x54, &role(proposed)));
        assert_eq!(accept.item(0x54), Some(&role(granted)[..]), "{proposed:?}");
    }
    // Level 2, digital signature level 3, no coercion (PS3.4 section B.3.1), as far as was asked.
    let full = [2, 0, 3, 0, 0, 0];
    for (class, answered) in [(SECONDARY_CAPTURE, true), (PRIVATE_CLASS, true), (VERIFICATION, false), (MR, false)] {
        for bytes in [1, 3, 5, 6, 7] {
            let about = |information: &[u8]| [counted(class.as_bytes()), information.to_vec()].concat();
            let accept = ask(&usual.clone().item(0x56, &about(&vec![2; bytes])));
            let want = answered.then(|| about(&full[..bytes.min(6)]));
            assert_eq!(accept.item(0x56), want.as_deref(), "{class}, {bytes} bytes");
        }
    }
    // Common extended negotiation is read and never answered; user identity is not confirmed, and never printed.
    let common = [counted(PRIVATE_CLASS.as_bytes()), counted(b"1.2.840.10008.4.2"), counted(&[])].concat();
    assert_eq!(ask(&usual.clone().item(0x57, &common)).user.len(), 3);
    for kind in 1..=5_u8 {
        for wanted in [0, 1] {
            let secret = [counted(b"radiographer"), counted(if kind == 2 { b"hunter2" } else { b"" })].concat();
            let accept = ask(&usual.clone().item(0x58, &[vec![kind, wanted], secret].concat()));
            assert_eq!(accept.item(0x59), None, "kind {kind}: we authenticate nobody by it");
        }
    }
    let log = site.log();
    assert!(!log.contains("hunter2") && !log.contains("radiographer"), "an identity was printed");
}

#[test]
fn unknown_classes_are_taken_as_the_node_is_configured() {
    let node = |title: &str, rest: &str| {
        format!("\n[[node]]\nae_title = \"{title}\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\n{rest}\n")
    };
    let nodes = [
        node("DECLARED", "unknown_classes = \"declared\""),
        node("NEVER", "unknown_classes = \"never\""),
        node("LISTED", &format!("sop_classes = [\"{CT}\", \"{PRIVATE_CLASS}\"]")),
    ];
    let (_stage, site) = site(&nodes.concat());
    let declare =
        |service: &str| [counted(PRIVATE_CLASS.as_bytes()), counted(service.as_bytes()), counted(&[])].concat();
    // Node, the service that it declares for its private class; then whether private, CT and MR are taken.
    let rows = [
        ("SENDER", None, [true, true, true]),
        ("SENDER", Some("1.2.840.10008.4.2"), [true, true, true]),
        ("SENDER", Some("1.2.840.10008.4.9"), [false, true, true]),
        ("DECLARED", None, [false, true, true]),
        ("DECLARED", Some("1.2.840.10008.4.2"), [true, true, true]),
        ("DECLARED", Some("1.2.840.10008.4.9"), [false, true, true]),
        ("NEVER", Some("1.2.840.10008.4.2"), [false, true, true]),
        ("LISTED", None, [true, true, false]),
    ];
    for (calling, declared, want) in rows {
        let mut request = Request::new(calling, "WB_A");
        for (id, class) in [(1, PRIVATE_CLASS), (3, CT), (5, MR), (7, WORKLIST)] {
            request = request.context(id, class, &[EXPLICIT_LE]);
        }
        if let Some(service) = declared {
            request = request.item(0x57, &declare(service));
        }
        let (caller, accept) = Caller::accepted(site.config.dicom_port, &request);
        for (id, taken) in [1, 3, 5, 7].into_iter().zip(want.into_iter().chain([false])) {
            assert_eq!(accept.contexts[&id].0, if taken { 0 } else { 3 }, "{calling} {declared:?}: context {id}");
        }
        caller.release();
    }
}

#[test]
fn too_many_associations_and_a_stop_are_transient_rejections() {
    let stage = Stage::new();
    let mut config = stage.site_a(NOWHERE);
    config.dicom = "max_associations = 3".to_owned();
    let one =
        "\n[[node]]\nae_title = \"ONE\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\nmax_associations = 1\n";
    let mut site = Gateway::start(&stage.path().join("a"), config.with(one));
    let port = site.config.dicom_port;
    let one = Request::new("ONE", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
    let (mut first, _) = Caller::accepted(port, &one);
    assert_eq!(Caller::ask(port, &one).1.unwrap(), Pdu::Reject(2, 3, 2), "a second of a node that may have one");
    let (second, _) = Caller::accepted(port, &usual());
    let (mut third, _) = Caller::accepted(port, &usual());
    assert_eq!(Caller::ask(port, &usual()).1.unwrap(), Pdu::Reject(2, 3, 2), "a fourth of three");
    // The place is free for whoever has read that the release is answered, though the connection is still open.
    first.send(&release_request()).unwrap();
    assert_eq!(first.read().unwrap(), Pdu::ReleaseReply);
    Caller::accepted(port, &one).0.release();
    drop(first);
    second.release();

    // A stop lets the message in hand finish, and tells who comes that it is for now.
    let names = names(312, 1, 1);
    let bytes = data_set(&names, 100_000, 1);
    let command = crate::support::caller::store_command(SECONDARY_CAPTURE, &names.instance, 1);
    third.fragment(1, true, true, &command).unwrap();
    third.fragment(1, false, false, &bytes[..50_000]).unwrap();
    until(seconds(20), "the gateway works on it", || third.is_heard().then_some(()));
    let id = site.process().id().to_string();
    finish(Command::new("kill").args(["-TERM", &id]), seconds(5)).ok("kill -TERM");
    until(seconds(20), "the gateway turns callers away", || match Caller::ask(port, &usual()) {
        (_, Ok(Pdu::Reject(2, 3, 1))) => Some(()),
        (_, Ok(Pdu::Accept(_)) | Err(_)) => None,
        (_, other) => panic!("neither accepted nor congestion: {other:?}"),
    });
    third.fragment(1, false, true, &bytes[50_000..]).unwrap();
    assert_eq!(third.answer().unwrap().status, 0, "what was in hand is stored");
    drop(third);
    let ended = until(seconds(40), "the gateway ends", || site.process().ended());
    assert!(ended.success());
}

/// DIM-013, DIM-022: who does not close its connections after a release is not refused for that, and does not heap them up either.
#[test]
fn a_node_that_leaves_its_connections_open_is_never_refused() {
    const CONNECTIONS: usize = 100;
    let stage = Stage::new();
    let mut config = stage.site_a(NOWHERE);
    config.dicom = "max_associations = 1".to_owned();
    let mut site = Gateway::start(&stage.path().join("a"), config);
    let descriptors = |site: &mut Gateway| {
        let folder = format!("/proc/{}/fd", site.process().id());
        std::fs::read_dir(folder).unwrap().count()
    };
    let (before, began) = (descriptors(&mut site), Instant::now());
    let mut left: Vec<Caller> = Vec::new();
    for _ in 0..CONNECTIONS {
        let (mut caller, _) = Caller::accepted(site.config.dicom_port, &usual());
        caller.send(&release_request()).unwrap();
        assert_eq!(caller.read().unwrap(), Pdu::ReleaseReply);
        left.push(caller);
    }
    let newest = left.pop().unwrap();
    assert!(left.remove(0).until_closed().is_empty(), "the oldest are closed");
    assert!(began.elapsed() < seconds(25), "and not by ARTIM, after thirty seconds");
    newest.stream.set_nonblocking(true).unwrap();
    let heard = newest.stream.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock), "the newest is not");
    until(seconds(20), "few are held", || (descriptors(&mut site) < before + CONNECTIONS / 2).then_some(()));
}

#[test]
fn artim_runs_before_the_request_and_after_a_rejection_and_at_no_other_time() {
    let artim = Duration::from_secs(1);
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = listener.local_addr().unwrap().port();
    // It is given nothing, so that it is called once.
    let slow = format!("[[node]]\nae_title = \"SLOW\"\naddress = \"127.0.0.1:{node}\"");
    let config = stage.site_a(NOWHERE).with(&slow).with("[timers]\nartim = \"1s\"");
    let site = Gateway::start(&stage.path().join("a"), config);
    let port = site.config.dicom_port;
    let closes = |caller: Caller, name: &str| {
        let began = Instant::now();
        assert_eq!(caller.until_closed(), Vec::<u8>::new(), "{name}: closed without a word (AA-2)");
        let took = began.elapsed();
        assert!(took > artim / 2 && took < artim * 15, "{name}: closed after {took:?}");
    };
    closes(Caller::connect(port), "no request");
    let mut half = Caller::connect(port);
    half.send(&usual().pdu()[..60]).unwrap();
    closes(half, "half a request");
    let (rejected, answer) = Caller::ask(port, &Request::new("STRANGER", "WB_A").context(1, CT, &[EXPLICIT_LE]));
    assert_eq!(answer.unwrap(), Pdu::Reject(1, 1, 3));
    closes(rejected, "a rejected caller that does not close");

    // An open association may be idle for longer, and so may one that is asked for from here.
    let (mut open, _) = Caller::accepted(port, &usual().context(3, VERIFICATION, &[IMPLICIT_LE]));
    std::thread::scope(|scope| {
        scope.spawn(|| verification_node(&listener, &[], artim * 2));
        site.cli(&["nodes", "test", "SLOW"]).ok("a node that takes longer than ARTIM to accept");
    });
    assert_eq!(echo(&mut open, 3), 0, "still open");
    open.release();
}

#[test]
fn the_ledger_keeps_how_the_other_side_names_itself() {
    let (_stage, site) = site("");
    let request = usual().item(0x55, b"ODD_SCU_3");
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &request);
    let names = names(313, 1, 1);
    let answer = caller.store(1, SECONDARY_CAPTURE, &names.instance, &data_set(&names, 1000, 1)).unwrap();
    assert_eq!((answer.status, answer.message), (0, 7));
    assert_eq!(answer.instance.as_deref(), Some(names.instance.as_str()));
    caller.release();
    let entries = ledger::export(&site);
    let received = entries.iter().find(|entry| entry["kind"] == "received").unwrap().to_string();
    for words in ["2.25.7000000000000", "ODD_SCU_3", "SENDER", "WB_A", "127.0.0.1"] {
        assert!(received.contains(words), "`{words}` is not in {received}");
    }
    assert!(!received.contains("Specimen"), "no patient in the ledger");
}

#[test]
fn a_file_that_is_exported_names_the_titles_between_which_it_travelled() {
    let (stage, site) = site("");
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &usual());
    let names = names(315, 1, 1);
    let bytes = data_set(&names, 1000, 1);
    assert_eq!(caller.store(1, SECONDARY_CAPTURE, &names.instance, &bytes).unwrap().status, 0);
    caller.release();
    let folder = stage.path().join("out");
    site.cli(&["store", "export", &names.instance, folder.to_str().unwrap()]).ok("store export");
    let path = folder.join(format!("{}.dcm", names.instance));
    let mut command = Command::new(tool("dcmdump"));
    let dump = finish(command.arg(&path), seconds(20)).ok("dcmdump");
    for (tag, title) in [("(0002,0016)", "WB_A"), ("(0002,0017)", "SENDER"), ("(0002,0018)", "WB_A")] {
        let line = dump.lines().find(|line| line.starts_with(tag)).unwrap_or_else(|| panic!("{tag} is not in {dump}"));
        assert!(line.contains(&format!("AE [{title}]")), "{line}");
    }
    // They are no part of the instance.
    assert_eq!(crate::support::files::data_set_digest(&path), crate::support::files::digest(&bytes));
}

#[test]
fn the_end_of_an_association_says_nothing_of_a_study() {
    let sites = TwoSites::start(None);
    let port = sites.a.config.dicom_port;
    let (one, other) = (|n| names(314, 1, n), |n| names(314, 2, n));
    // Three associations, one after the other and one beside, bring two studies in turn.
    let (mut beside, _) = Caller::accepted(port, &usual());
    for part in 0..3 {
        let (mut caller, _) = Caller::accepted(port, &usual());
        for (own, names) in [(true, one(part)), (false, other(part)), (false, one(part + 10))] {
            let caller = if own { &mut caller } else { &mut beside };
            let answer = caller.store(1, SECONDARY_CAPTURE, &names.instance, &data_set(&names, 1000, part)).unwrap();
            assert_eq!(answer.status, 0);
        }
        caller.release();
    }
    // It vanishes; what it brought stays.
    drop(beside);
    sites.a.all_become("b", "verified", 9, seconds(120));
    let sums = sites.a.ask(&["transfers", "list", "--json"]);
    for (study, instances) in [(one(0).study, 6), (other(0).study, 3)] {
        let rows: Vec<_> = sums.iter().filter(|row| row["study_instance_uid"] == *study).collect();
        assert_eq!((rows.len(), &rows[0]["instances"]), (1, &instances.into()), "one row a study");
        assert_eq!(sites.b.study(&study).len() as u64, instances);
    }
}
