//! Hostile DIMSE over a real listener: each probe gets the answer that the standard has for it, memory stays where it was, and
//! the sender beside is not disturbed (FLT-087, SEC-021).

use crate::support::beside::Beside;
use crate::support::caller::{
    Caller, IMPLICIT_LE, Pdu, Request, VERIFICATION, fragment, item, pdu, pdv, store_command,
};
use crate::support::files::{
    EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, head, names, part10, read_part10,
};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::multipart::{body, content_type};
use crate::support::two_sites::{B_IDENTITY, Stage, TwoSites};
use crate::support::wait::seconds;
use crate::support::web;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::{Read, Write};
use std::net::TcpListener;
use weybridge::dicom::transcode::Transcoder;
use weybridge::dicom::uid::TransferSyntaxUid;

const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
/// What the gateway may hold at most, whatever comes.
const MEMORY: u64 = 100_000_000;

fn site(more: &str) -> (Stage, Gateway) {
    let stage = Stage::new();
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").with(more);
    let gateway = Gateway::start(&stage.path().join("a"), config);
    (stage, gateway)
}

fn usual() -> Request {
    Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]).context(
        3,
        VERIFICATION,
        &[IMPLICIT_LE],
    )
}

/// The gateway lives, has held little memory, and its ledger is whole.
fn unharmed(site: &mut Gateway) {
    let peak = site.peak_memory();
    assert!(peak <= MEMORY, "it held {peak} bytes");
    assert!(!site.log().contains("panicked"), "something panicked");
    site.verify_ledger(true);
}

#[test]
fn what_is_no_request_is_aborted_before_anything_is_held_for_it() {
    let (_stage, mut site) = site("");
    let beside = Beside::start(&site, names(331, 1, 1));
    let with_id = |id: u8| usual().context(id, SECONDARY_CAPTURE, &[EXPLICIT_LE]).pdu();
    let lying = |at: usize, bytes: &[u8]| {
        let mut request = usual().pdu();
        request[at..at + bytes.len()].copy_from_slice(bytes);
        request
    };
    let mut many = usual();
    many.contexts =
        (0..129_u16).map(|n| ((2 * n + 1) as u8, SECONDARY_CAPTURE.into(), vec![EXPLICIT_LE.into()])).collect();
    let item_at = 6 + 68;
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n".to_vec()),
        ("a TLS hello", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]),
        ("noise", vec![0xA5; 4096]),
        ("data", fragment(1, true, true, &store_command(SECONDARY_CAPTURE, "1.2", 1))),
        ("a release", pdu(5, &[0; 4])),
        ("an acceptance", pdu(2, &[0; 68])),
        ("a request of 4 GiB", vec![1, 0, 255, 255, 255, 255]),
        ("a request of 300 KiB", vec![1, 0, 0, 4, 0xB0, 0]),
        ("a request of nothing", vec![1, 0, 0, 0, 0, 0]),
        ("an even context", with_id(2)),
        ("a context twice", with_id(1)),
        ("129 contexts", many.pdu()),
        ("no context", Request { contexts: Vec::new(), ..usual() }.pdu()),
        ("an item longer than the request", lying(item_at + 2, &[0xFF, 0xFF])),
        ("a maximum length of two bytes", Request { user: vec![(0x51, vec![1, 2])], ..usual() }.pdu()),
    ];
    for (name, bytes) in rows {
        let mut caller = Caller::connect(site.config.dicom_port);
        caller.send(&bytes).unwrap();
        assert_eq!(caller.read().unwrap_or_else(|e| panic!("{name}: {e}")), Pdu::Abort(0, 0), "{name}");
    }
    beside.end(&site);
    unharmed(&mut site);
}

#[test]
fn each_breach_of_an_association_has_its_abort() {
    let (_stage, mut site) = site("");
    let mut beside = Beside::start(&site, names(332, 1, 1));
    let instance = names(332, 1, 2).instance;
    let store = fragment(1, true, true, &store_command(SECONDARY_CAPTURE, &instance, 1));
    let part = fragment(1, false, false, &[7; 100]);
    let endless: Vec<u8> = (0..70).flat_map(|_| fragment(1, true, false, &[0; 1024])).collect();
    let other = fragment(3, false, false, &[7; 100]);
    let rows: Vec<(&str, Vec<u8>, Pdu)> = vec![
        ("600 MB of data announced", vec![4, 0, 0x23, 0xC3, 0x46, 0], Pdu::Abort(2, 6)),
        ("4 GiB of data announced", vec![4, 0, 255, 255, 255, 255], Pdu::Abort(2, 6)),
        ("an unknown PDU", pdu(0x47, b"ET / HTTP/1.1"), Pdu::Abort(2, 1)),
        ("a second request", usual().pdu(), Pdu::Abort(2, 2)),
        ("an acceptance", pdu(2, &[0; 68]), Pdu::Abort(2, 2)),
        ("a rejection", pdu(3, &[0, 1, 1, 1]), Pdu::Abort(2, 2)),
        ("a release reply", pdu(6, &[0; 4]), Pdu::Abort(2, 2)),
        ("a release of 4 GiB", vec![5, 0, 255, 255, 255, 255], Pdu::Abort(2, 6)),
        ("a fragment longer than its PDU", pdu(4, &[0, 0, 0, 99, 1, 3]), Pdu::Abort(2, 6)),
        ("a fragment without room for its header", pdu(4, &[0, 0, 0, 1, 1]), Pdu::Abort(2, 6)),
        ("an even context", fragment(2, true, true, b""), Pdu::Abort(2, 6)),
        ("a context that was not proposed", fragment(99, true, true, b""), Pdu::Abort(2, 6)),
        ("data without a command", part.clone(), Pdu::Abort(2, 5)),
        ("a command amid the data", [&store[..], &part, &store].concat(), Pdu::Abort(2, 5)),
        ("two messages mixed", [&store[..], &part, &other].concat(), Pdu::Abort(2, 5)),
        ("a command set of noise", fragment(1, true, true, &[0xEE; 64]), Pdu::Abort(2, 6)),
        ("a command set that never ends", endless, Pdu::Abort(2, 6)),
        (
            "an element longer than its command set",
            fragment(1, true, true, &[0, 0, 0, 1, 255, 255, 255, 127, 0, 0]),
            Pdu::Abort(2, 6),
        ),
    ];
    for (name, bytes, want) in rows {
        let (mut caller, _) = Caller::accepted(site.config.dicom_port, &usual());
        let sent = caller.send(&bytes);
        let got = sent.and_then(|()| caller.read());
        assert_eq!(got.unwrap_or_else(|e| panic!("{name}: {e}")), want, "{name}");
        beside.go_on(1024);
    }
    beside.end(&site);
    assert_eq!(site.study(&names(332, 1, 2).study).len(), 1, "only the neighbour's instance is there");
    unharmed(&mut site);
}

/// An element in Explicit VR Little Endian of a representation with a long length.
fn long(tag: (u16, u16), vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
    [&tag.0.to_le_bytes()[..], &tag.1.to_le_bytes(), vr, &[0, 0], &length.to_le_bytes(), value].concat()
}

/// Sequences within one another, each without a length and with one item; none is ever closed if `open`.
fn nested(depth: usize, open: bool) -> Vec<u8> {
    let begin = [long((0x0040, 0xA730), b"SQ", u32::MAX, b""), vec![0xFE, 0xFF, 0, 0xE0, 255, 255, 255, 255]].concat();
    let end = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    [begin.repeat(depth), if open { Vec::new() } else { end.repeat(depth) }].concat()
}

/// The same with lengths, which grow from the inside out, in Explicit or Implicit VR.
fn nested_by_length(depth: usize, explicit: bool) -> Vec<u8> {
    // Backwards: what stands between the tag of a sequence and its length.
    let kind: &[u8] = if explicit { &[0, 0, b'Q', b'S'] } else { &[] };
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let inner = u32::try_from(reversed.len()).unwrap();
        reversed.extend_from_slice(&inner.to_be_bytes());
        reversed.extend_from_slice(&[0xE0, 0, 0xFF, 0xFE]);
        reversed.extend_from_slice(&(inner + 8).to_be_bytes());
        reversed.extend_from_slice(kind);
        reversed.extend_from_slice(&[0xA7, 0x30, 0, 0x40]);
    }
    reversed.reverse();
    reversed
}

/// The head of a data set up to Pixel Data, for what stands in its place.
fn before_pixels(names: &Names) -> Vec<u8> {
    let head = head(names, 0);
    head[..head.len() - 12].to_vec()
}

/// An item of a sequence, or a fragment.
fn part(length: u32, value: &[u8]) -> Vec<u8> {
    [&[0xFE, 0xFF, 0, 0xE0][..], &length.to_le_bytes(), value].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn data_sets_that_lie_are_refused_and_the_association_goes_on() {
    let (_stage, mut site) = site("[limits]\ninstance = \"64 MiB\"\nelements = 20000");
    let mut beside = Beside::start(&site, names(333, 1, 1));
    let names = names(333, 1, 2);
    let before = before_pixels(&names);
    let bomb = [before.clone(), long((0x7FE0, 0x0010), b"OW", 200 << 20, &vec![0; 200 << 20])].concat();
    let bomb = deflated(&bomb);
    assert!(bomb.len() < 1 << 20);
    let many: Vec<u8> =
        (0..30_000_u16).flat_map(|n| [&[0x09, 0, n as u8, (n >> 8) as u8][..], b"UN\0\0\0\0\0\0"].concat()).collect();
    let frames = |fragment: Vec<u8>| {
        [before.clone(), long((0x7FE0, 0x0010), b"OB", u32::MAX, &[part(0, b""), fragment].concat())].concat()
    };
    let after = |rest: &[u8]| [&before[..], rest].concat();
    let rows: Vec<(&str, u8, Vec<u8>)> = vec![
        ("28 bytes that claim 2 GiB", 1, long((0x0008, 0x0001), b"OB", 1 << 31, &[0; 16])),
        ("a text of 4 GiB", 1, after(&long((0x0040, 0xA160), b"UT", u32::MAX - 1, b"short"))),
        ("2,000 sequences deep", 1, after(&nested(2_000, false))),
        ("100,000 sequences deep", 1, after(&nested(100_000, false))),
        ("100,000 sequences that never end", 1, after(&nested(100_000, true))),
        (
            "ends of nothing",
            1,
            [&[0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0][..], &before].concat(),
        ),
        ("an end within a tag", 1, after(&[0xE0, 0x7F, 0x10])),
        ("a fragment cut short", 5, frames(part(100, &[9; 40]))),
        ("more elements than the limit", 1, after(&many)),
        ("a deflate bomb", 7, bomb),
        ("noise that should be deflated", 7, vec![0xA7; 5000]),
        ("an executable", 1, [&b"MZ\x90\0\x03\0\0\0"[..], &[0x4D; 4000]].concat()),
        (
            "a whole file with its preamble",
            1,
            part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 100, 1)),
        ),
        ("nothing but zeros", 1, vec![0; 100_000]),
        ("one byte", 1, vec![8]),
    ];
    let request = usual().context(5, SECONDARY_CAPTURE, &[JPEG]).context(7, SECONDARY_CAPTURE, &[DEFLATED]);
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &request);
    for (name, context, bytes) in rows {
        let answer = caller.store(context, SECONDARY_CAPTURE, &names.instance, &bytes);
        let answer = answer.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(matches!(answer.status, 0xC000 | 0xA900), "{name}: {:04x} {:?}", answer.status, answer.comment);
        beside.go_on(1024);
        note_fired(1);
    }
    caller.release();
    assert_eq!(site.holds(&names.study), 0, "none of it is stored, and the neighbour is not ready yet");
    beside.end(&site);
    unharmed(&mut site);
}

/// CP-246, fragments of one byte, empty fragments, several in one PDU.
#[test]
fn what_only_looks_odd_is_kept_as_it_is() {
    let (_stage, mut site) = site("");
    let names = names(335, 1, 2);
    let before = before_pixels(&names);
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &usual());
    // A sequence of defined length is passed over by its length, whatever it says of itself: it costs nothing and is kept.
    let deep = crate::support::files::names(335, 1, 3);
    let bytes = [before_pixels(&deep), nested_by_length(100_000, true)].concat();
    assert_eq!(caller.store(1, SECONDARY_CAPTURE, &deep.instance, &bytes).unwrap().status, 0);
    let implicit = [&[0x09, 0, 0x10, 0][..], &4_u32.to_le_bytes(), b"ODD "].concat();
    let item_246 = [part(u32::MAX, &implicit), vec![0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0]].concat();
    let cp246 = long((0x2001, 0x1090), b"UN", u32::MAX, &[item_246, vec![0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]].concat());
    let odd = [&before[..], &cp246, &long((0x7FE0, 0x0010), b"OW", 4, &[1, 2, 3, 4])].concat();
    let command = store_command(SECONDARY_CAPTURE, &names.instance, 5);
    let mut fragments =
        vec![pdv(1, true, false, &command[..9]), pdv(1, true, false, b""), pdv(1, true, true, &command[9..])];
    fragments.extend(odd[..200].iter().map(|byte| pdv(1, false, false, &[*byte])));
    fragments.extend([pdv(1, false, false, b""), pdv(1, false, false, &odd[200..]), pdv(1, false, true, b"")]);
    for some in fragments.chunks(7) {
        caller.send(&pdu(4, &some.concat())).unwrap();
    }
    assert_eq!(caller.answer().unwrap().status, 0);
    caller.release();
    let held = site.study(&names.study);
    let kept = |uid: &str| held.iter().find(|row| row["sop_instance_uid"] == uid).map(|row| row["sha256"].clone());
    assert_eq!(kept(&names.instance), Some(digest(&odd).into()));
    assert_eq!(kept(&deep.instance), Some(digest(&bytes).into()));
    unharmed(&mut site);
    note_fired(1);
}

/// FLT-087: what is acknowledged arrives. In Implicit VR such sequences are re-encoded for the web, as far as they are gone into; from
/// there on they leave as they came, as UN (PS3.5 section 6.2.2).
#[test]
fn what_is_nested_deeply_by_length_arrives_also_where_it_must_be_re_encoded() {
    let mut sites = TwoSites::start(None);
    let deep = names(335, 2, 1);
    let implicit = Transcoder::between(&TransferSyntaxUid::parse(EXPLICIT_LE).unwrap(), IMPLICIT_LE);
    let (mut implicit, mut bytes) = (implicit.unwrap(), Vec::new());
    implicit.push(&before_pixels(&deep), &mut bytes).unwrap();
    implicit.finish(&mut bytes).unwrap();
    bytes.extend(nested_by_length(100_000, false));
    let request = Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[IMPLICIT_LE]);
    let (mut caller, _) = Caller::accepted(sites.a.config.dicom_port, &request);
    assert_eq!(caller.store(1, SECONDARY_CAPTURE, &deep.instance, &bytes).unwrap().status, 0);
    caller.release();
    sites.a.all_become("b", "verified", 1, seconds(60));
    let here = sites.a.study(&deep.study);
    let evidence = here[0]["transfers"][0]["evidence"].as_str().unwrap();
    assert!(evidence.contains(", 1 UN)"), "{evidence}");
    let folder = tempfile::tempdir().unwrap();
    sites.b.cli(&["store", "export", &deep.study, folder.path().to_str().unwrap()]).ok("store export");
    let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::read(path).unwrap();
    assert!(memchr::memmem::find(&file, &nested_by_length(99_936, false)[8..]).is_some(), "the rest is untouched");
    unharmed(&mut sites.a);
    unharmed(&mut sites.b);
    note_fired(1);
}

/// DIM-005, WEB-001: a sequence that ends by the delimiter of an item, and one that calls itself OB, are taken and kept as they came, and
/// as they should be where they are re-encoded.
#[test]
fn sequences_that_are_written_wrongly_arrive() {
    let mut sites = TwoSites::start(None);
    let [delimited, bytes, implicit] = [1, 2, 3].map(|number| names(336, 1, number));
    let (end, last) = ([0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0], [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    let item = |content: &[u8]| [&part(u32::MAX, content)[..], &end].concat();
    let meaning = |length: &[u8]| [&[0x08, 0, 0x04, 0x01][..], length, b"Head"].concat();
    let (explicit_item, implicit_item) = (item(&meaning(b"LO\x04\0")), item(&meaning(&[4, 0, 0, 0])));
    let content = |end: &[u8]| long((0x0040, 0xA730), b"SQ", u32::MAX, &[&explicit_item[..], end].concat());
    let pixels = long((0x7FE0, 0x0010), b"OW", 4, &[1, 2, 3, 4]);
    let to_implicit = |explicit: &[u8]| {
        let transcoder = Transcoder::between(&TransferSyntaxUid::parse(EXPLICIT_LE).unwrap(), IMPLICIT_LE);
        let (mut transcoder, mut out) = (transcoder.unwrap(), Vec::new());
        transcoder.push(explicit, &mut out).unwrap();
        transcoder.finish(&mut out).unwrap();
        out
    };
    let private = long((0x0049, 0x1001), b"OB", u32::MAX, &[&implicit_item[..], &last].concat());
    let wrong = [&[0x40, 0, 0x30, 0xA7, 255, 255, 255, 255][..], &implicit_item, &end].concat();
    let sent = [
        (1, &delimited, [before_pixels(&delimited), content(&end), pixels.clone()].concat()),
        (1, &bytes, [before_pixels(&bytes), private, pixels.clone()].concat()),
        (3, &implicit, [to_implicit(&before_pixels(&implicit)), wrong, to_implicit(&pixels)].concat()),
    ];
    let request = Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
    let request = request.context(3, SECONDARY_CAPTURE, &[IMPLICIT_LE]);
    let (mut caller, _) = Caller::accepted(sites.a.config.dicom_port, &request);
    for (context, names, data) in &sent {
        let answer = caller.store(*context, SECONDARY_CAPTURE, &names.instance, data).unwrap();
        assert_eq!(answer.status, 0, "{}: {:?}", names.instance, answer.comment);
    }
    caller.release();
    sites.a.all_become("b", "verified", 3, seconds(60));
    let kept = |site: &Gateway, uid: &str| {
        let held = site.study(&delimited.study);
        held.iter().find(|row| row["sop_instance_uid"] == uid).map(|row| row["sha256"].clone())
    };
    for (context, names, data) in &sent {
        assert_eq!(kept(&sites.a, &names.instance), Some(digest(data).into()), "{}", names.instance);
        assert_eq!(kept(&sites.b, &names.instance) == Some(digest(data).into()), *context == 1, "{}", names.instance);
    }
    let folder = tempfile::tempdir().unwrap();
    sites.b.cli(&["store", "export", &implicit.instance, folder.path().to_str().unwrap()]).ok("store export");
    let file = std::fs::read(folder.path().join(format!("{}.dcm", implicit.instance))).unwrap();
    assert!(memchr::memmem::find(&file, &content(&last)).is_some(), "it ends as it should");
    unharmed(&mut sites.a);
    unharmed(&mut sites.b);
}

#[test]
fn names_that_are_paths_and_preambles_that_are_programs_lead_nowhere() {
    let (stage, mut site) = site("");
    let good = names(334, 1, 1);
    let (mut caller, _) = Caller::accepted(site.config.dicom_port, &usual());
    let path = "../../../../../../tmp/weybridge-was-here";
    let rows = [
        ("instance", Names { instance: path.into(), ..good.clone() }, 0x0117),
        ("study", Names { study: path.into(), ..good.clone() }, 0xA902),
        ("series", Names { series: path.into(), ..good.clone() }, 0xA902),
        ("absolute", Names { study: "/etc/passwd".into(), ..good.clone() }, 0xA902),
        ("NUL inside", Names { study: "1.2\0/etc".into(), ..good.clone() }, 0xA902),
    ];
    for (name, names, status) in rows {
        let answer = caller.store(1, SECONDARY_CAPTURE, &names.instance, &data_set(&names, 100, 1)).unwrap();
        assert_eq!(answer.status, status, "{name}");
    }
    caller.release();
    assert!(!std::path::Path::new("/tmp/weybridge-was-here").exists());

    // By the web, in a file whose preamble is a program: only the data set is kept, and each way out has our own preamble.
    let bytes = data_set(&good, 1000, 1);
    let mut file = part10(SECONDARY_CAPTURE, &good.instance, EXPLICIT_LE, &bytes);
    file[..64].copy_from_slice(&[b"\x7FELF"[..].to_vec(), vec![0xCC; 60]].concat());
    let request = stage.path().join("body");
    std::fs::write(&request, body(&[file], true)).unwrap();
    let peer = stage.authority.issue(B_IDENTITY);
    let answer = web::store(&peer, &format!("{}/studies", site.config.url()), &content_type(), &request, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let folder = stage.path().join("out");
    site.cli(&["store", "export", &good.instance, folder.to_str().unwrap()]).ok("store export");
    let out = std::fs::read(folder.join(format!("{}.dcm", good.instance))).unwrap();
    assert_eq!(out[..128], [0; 128], "the preamble is ours");
    assert_eq!(out[read_part10(&out).unwrap().data_set_at..], bytes);
    unharmed(&mut site);
}

/// A node that answers an association request with these bytes, made of the request's fixed part, and reads on.
fn node_that_answers(listener: &TcpListener, answer: impl Fn(&[u8]) -> Vec<u8>) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; 6];
    stream.read_exact(&mut head).unwrap();
    let mut request = vec![0; u32::from_be_bytes(head[2..].try_into().unwrap()) as usize];
    stream.read_exact(&mut request).unwrap();
    let _ = stream.write_all(&answer(&request[..68]));
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn a_node_that_answers_nonsense_is_an_error_and_no_panic() {
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = stage.site_a("https://127.0.0.1:9/dicom-web").node("ODD", Some(port));
    let config = config.with("[timers]\nnegotiation = \"2s\"\nartim = \"1s\"\nrelease = \"1s\"\nresponse = \"2s\"");
    let site = Gateway::prepare(&stage.path().join("a"), config);
    let context = |id: u8, result: u8, rest: &[u8]| item(0x21, &[&[id, 0, result, 0][..], rest].concat());
    let accept = move |fixed: &[u8], contexts: &[u8], maximum: u32| {
        let user = item(0x50, &item(0x51, &maximum.to_be_bytes()));
        pdu(2, &[fixed, &item(0x10, b"1.2.840.10008.3.1.1.1"), contexts, &user].concat())
    };
    let syntax = item(0x40, IMPLICIT_LE.as_bytes());
    type Answer = Box<dyn Fn(&[u8]) -> Vec<u8> + Sync>;
    let with = |contexts: Vec<u8>, maximum: u32| -> Answer { Box::new(move |fixed| accept(fixed, &contexts, maximum)) };
    let just = |bytes: Vec<u8>| -> Answer { Box::new(move |_| bytes.clone()) };
    let rows: Vec<(&str, Answer)> = vec![
        ("a refused context without a syntax", with(context(1, 3, b""), 16384)),
        ("an accepted context without a syntax", with(context(1, 0, b""), 16384)),
        ("a context that was not offered", with(context(5, 0, &syntax), 16384)),
        ("an even context", with(context(2, 0, &syntax), 16384)),
        ("a syntax that was not offered", with(context(1, 0, &item(0x40, b"1.2.3")), 16384)),
        ("no context at all", with(Vec::new(), 16384)),
        ("a maximum length of 4", with(context(1, 0, &syntax), 4)),
        ("an acceptance of 4 GiB", just(vec![2, 0, 255, 255, 255, 255])),
        ("an acceptance of nothing", just(pdu(2, b""))),
        ("a context result cut short", with(vec![0x21, 0, 0, 99, 1], 16384)),
        ("data before the acceptance", just(fragment(1, true, true, b"ab"))),
        ("a request of its own", just(usual().pdu())),
        ("a release", just(pdu(5, &[0; 4]))),
        ("noise", just(vec![0xEE; 500])),
        ("an unknown reason", just(pdu(3, &[0, 9, 9, 9]))),
        ("nothing", just(Vec::new())),
    ];
    for (name, answer) in rows {
        let result = std::thread::scope(|scope| {
            scope.spawn(|| node_that_answers(&listener, &answer));
            site.cli(&["nodes", "test", "ODD"])
        });
        assert!(matches!(result.code, Some(1..=9)), "{name}: {result:?}");
        assert!(!result.stderr.contains("panicked") && !result.stderr.is_empty(), "{name}: {result:?}");
    }
}
