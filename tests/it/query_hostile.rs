//! C-FIND, C-MOVE and C-GET as nobody should ask: identifiers too long, wrong or of another model, and a query that finds a hundred thousand
//! studies.

use crate::support::caller::{Answer, Caller, IMPLICIT_LE, Request, command, find_command};
use crate::support::dcmtk::StoreScp;
use crate::support::files::EXPLICIT_LE;
use crate::support::fired::note_fired;
use crate::support::python;
use crate::support::radiology::{ROOT, Radiology};
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;

const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
const MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
const GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";
const WORKSTATION: &str = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\"]\n";
const IMPLICIT: u8 = 1;
const EXPLICIT: u8 = 3;

fn workstation(site: &Radiology) -> Caller {
    workstation_of(site, FIND)
}

/// A workstation with both contexts of a class.
fn workstation_of(site: &Radiology, class: &str) -> Caller {
    let request = Request::new("RADIOLOGY", "WB_A");
    let request = request.context(IMPLICIT, class, &[IMPLICIT_LE]).context(EXPLICIT, class, &[EXPLICIT_LE]);
    Caller::accepted(site.site.config.dicom_port, &request).0
}

/// What comes back: how many were pending, and the last.
fn ask(caller: &mut Caller, context: u8, identifier: &[u8]) -> (usize, Answer) {
    request(caller, context, &find_command(FIND, 7), identifier)
}

/// The same with another command.
fn request(caller: &mut Caller, context: u8, command: &[u8], identifier: &[u8]) -> (usize, Answer) {
    caller.fragment(context, true, true, command).unwrap();
    let pieces = identifier.chunks(16_000).count();
    for (at, piece) in identifier.chunks(16_000).enumerate() {
        caller.fragment(context, false, at + 1 == pieces, piece).unwrap();
    }
    caller.answers().unwrap()
}

fn tag(group: u16, element: u16) -> Vec<u8> {
    [group.to_le_bytes(), element.to_le_bytes()].concat()
}

/// An element in Implicit VR Little Endian.
fn implicit(group: u16, element: u16, value: &[u8]) -> Vec<u8> {
    [&tag(group, element)[..], &u32::try_from(value.len()).unwrap().to_le_bytes(), value].concat()
}

/// An element in Explicit VR Little Endian whose representation has a long length.
fn long(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_le_bytes();
    [&tag(group, element)[..], vr, &[0, 0], &length, value].concat()
}

fn short(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    [&tag(group, element)[..], vr, &u16::try_from(value.len()).unwrap().to_le_bytes(), value].concat()
}

/// DIM-060, DIM-069, FLT-087: what no query should be is answered with a status that says why, and the association lives on.
#[test]
fn an_identifier_that_no_query_has_is_answered_and_the_next_is_served() {
    let site = Radiology::start(1, WORKSTATION);
    let mut caller = workstation(&site);
    let level = |name: &[u8]| implicit(0x0008, 0x0052, name);
    let study = level(b"STUDY ");
    let explicit = short(0x0008, 0x0052, b"CS", b"STUDY ");
    let empty_item = [&tag(0xFFFE, 0xE000)[..], &[0; 4]].concat();
    let deep =
        [&tag(0x0040, 0x0275)[..], b"SQ\0\0\xff\xff\xff\xff", &tag(0xFFFE, 0xE000), &[0xff; 4]].concat().repeat(20_000);
    let ten_million = vec![b' '; 10_000_000];
    type Row<'a> = (&'a str, u8, Vec<u8>, (u16, usize));
    let rows: Vec<Row<'_>> = vec![
        ("10 MB", IMPLICIT, [&study[..], &implicit(0x0010, 0x0020, &ten_million)].concat(), (0xA700, 0)),
        ("no level", IMPLICIT, implicit(0x0010, 0x0020, b"P1"), (0xA900, 0)),
        ("unknown level", IMPLICIT, level(b"VOLUME"), (0xA900, 0)),
        ("a level of another model", IMPLICIT, level(b"PATIENT "), (0xA900, 0)),
        ("no key above", IMPLICIT, level(b"IMAGE "), (0xA900, 0)),
        (
            "a key below",
            IMPLICIT,
            [&study[..], &implicit(0x0010, 0x0020, b"P1"), &implicit(0x0020, 0x0011, b"1 ")].concat(),
            (0, 2),
        ),
        ("a key as UN", EXPLICIT, [&explicit[..], &long(0x0010, 0x0020, b"UN", b"P1")].concat(), (0, 2)),
        ("a UID as UN", EXPLICIT, [&explicit[..], &long(0x0020, 0x000D, b"UN", b"1..2")].concat(), (0xA900, 0)),
        ("a key as SQ", EXPLICIT, [&explicit[..], &long(0x0010, 0x0020, b"SQ", &empty_item)].concat(), (0xA900, 0)),
        (
            "a sequence that asks for a value",
            EXPLICIT,
            [
                &explicit[..],
                &long(
                    0x0040,
                    0x0275,
                    b"SQ",
                    &[&tag(0xFFFE, 0xE000)[..], &[10, 0, 0, 0], &short(0x0008, 0x0050, b"SH", b"A1")].concat(),
                ),
            ]
            .concat(),
            (0xA900, 0),
        ),
        ("sequences in sequences", EXPLICIT, [&explicit[..], &deep].concat(), (0xC000, 0)),
        ("an element cut short", EXPLICIT, [&explicit[..], &tag(0x0010, 0x0020), b"LO\x40\0P1"].concat(), (0xC000, 0)),
        ("no data set", IMPLICIT, vec![0xAB; 64], (0xC000, 0)),
        ("a date that is none", IMPLICIT, [&implicit(0x0008, 0x0020, b"20251399"), &study[..]].concat(), (0xA900, 0)),
    ];
    for (what, context, identifier, want) in rows {
        let (pending, last) = ask(&mut caller, context, &identifier);
        assert_eq!((last.status, pending), want, "{what}: {last:?}");
        assert_eq!(last.comment.is_some(), last.status != 0, "{what}: {last:?}");
        let (pending, last) = ask(&mut caller, IMPLICIT, &[&study[..], &implicit(0x0010, 0x0020, b"P1")].concat());
        assert_eq!((last.status, pending), (0, 2), "after {what}: {last:?}");
        if want.0 != 0 {
            note_fired(1);
        }
    }
    caller.release();
}

/// DIM-068: a name beyond ASCII that declares nothing is in the character set of the node, if it is not UTF-8.
#[test]
fn undeclared_names_are_in_the_character_set_of_the_node() {
    let site = Radiology::start(1, &WORKSTATION.replace("may =", "charset = \"GB18030\"\nmay ="));
    let study = implicit(0x0008, 0x0052, b"STUDY ");
    let named = |name: &[u8]| [&study[..], &implicit(0x0010, 0x0010, name)].concat();
    let mut caller = workstation(&site);
    for (name, want) in [(&b"M\xA8\xB9ller*"[..], 2), ("Müller*".as_bytes(), 2), (&b"M\xFCller* "[..], 0)] {
        let (pending, last) = ask(&mut caller, IMPLICIT, &named(name));
        assert_eq!((last.status, pending), (0, want), "{name:?}: {last:?}");
    }
    caller.release();
}

/// The command of a C-MOVE to OUT, or of a C-GET.
fn retrieve_command(class: &str) -> Vec<u8> {
    let field: &[u8] = if class == MOVE { &[0x21, 0] } else { &[0x10, 0] };
    let mut elements: Vec<(u16, &[u8])> = vec![(0x0002, class.as_bytes()), (0x0100, field), (0x0110, &[7, 0][..])];
    if class == MOVE {
        elements.push((0x0600, &b"OUT "[..]));
    }
    elements.extend([(0x0700, &[0, 0][..]), (0x0800, &[0, 0][..])]);
    command(&elements)
}

/// DIM-060, DIM-080, FLT-087: the same of retrievals: nothing is given for an identifier that names nothing, its status is one of theirs and
/// says why, and the association lives on.
#[test]
fn an_identifier_that_no_retrieval_has_is_answered_and_the_next_is_served() {
    let stage = Stage::new();
    let out = StoreScp::start(&stage.path().join("out"), "OUT");
    let site = Radiology::start(
        1,
        &format!(
            "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"move\"]\nmove_to = [\"OUT\"]\n\
             [[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\n",
            out.port
        ),
    );
    let level = |name: &[u8]| implicit(0x0008, 0x0052, name);
    let (study, explicit) = (level(b"STUDY "), short(0x0008, 0x0052, b"CS", b"STUDY "));
    let named = |uid: &str| [&study[..], &implicit(0x0020, 0x000D, &padded(uid))].concat();
    let sound = named(&format!("{ROOT}.1"));
    let empty_item = [&tag(0xFFFE, 0xE000)[..], &[0; 4]].concat();
    let deep =
        [&tag(0x0040, 0x0275)[..], b"SQ\0\0\xff\xff\xff\xff", &tag(0xFFFE, 0xE000), &[0xff; 4]].concat().repeat(20_000);
    let explicitly = |rest: &[u8]| [&explicit[..], rest].concat();
    let rows: Vec<(&str, u8, Vec<u8>, u16)> = vec![
        ("10 MB", IMPLICIT, [&sound[..], &implicit(0x0010, 0x0020, &vec![b' '; 10_000_000])].concat(), 0xA701),
        ("no level", IMPLICIT, implicit(0x0020, 0x000D, b"1.2\0"), 0xA900),
        ("unknown level", IMPLICIT, level(b"VOLUME"), 0xA900),
        ("a level of another model", IMPLICIT, [level(b"PATIENT "), implicit(0x0010, 0x0020, b"P1")].concat(), 0xA900),
        ("no key above", IMPLICIT, [level(b"IMAGE "), implicit(0x0008, 0x0018, b"1.2\0")].concat(), 0xA900),
        ("no key", IMPLICIT, study.clone(), 0xA900),
        ("an empty key", IMPLICIT, named(""), 0xA900),
        ("any study", IMPLICIT, named("*"), 0xA900),
        ("a UID with a wildcard", IMPLICIT, named(&format!("{ROOT}.*")), 0xA900),
        ("10,001 UIDs", IMPLICIT, named(&format!("{}1.2", "1.2\\".repeat(10_000))), 0xA900),
        ("a UID as UN", EXPLICIT, explicitly(&long(0x0020, 0x000D, b"UN", b"1..2")), 0xA900),
        ("a UID as SQ", EXPLICIT, explicitly(&long(0x0020, 0x000D, b"SQ", &empty_item)), 0xA900),
        ("sequences in sequences", EXPLICIT, explicitly(&deep), 0xC000),
        (
            "an element cut short",
            EXPLICIT,
            explicitly(&[&tag(0x0020, 0x000D)[..], b"UI\x40\x001.2\0"].concat()),
            0xC000,
        ),
        ("no data set", IMPLICIT, vec![0xAB; 64], 0xC000),
    ];
    // Nobody takes what a C-GET gives here: it asks for what is not held.
    for (class, next) in [(MOVE, sound.clone()), (GET, named("2.25.70000000123"))] {
        let (mut caller, command) = (workstation_of(&site, class), retrieve_command(class));
        for (what, context, identifier, want) in &rows {
            let (pending, last) = request(&mut caller, *context, &command, identifier);
            assert_eq!((last.status, pending), (*want, 0), "{class}: {what}: {last:?}");
            assert!(last.comment.is_some(), "{class}: {what}: {last:?}");
            assert_eq!(out.files().len(), 0, "{class}: {what}: nothing is given");
            let (_, last) = request(&mut caller, IMPLICIT, &command, &next);
            assert_eq!(last.status, 0, "{class}: after {what}: {last:?}");
            let given = out.files();
            assert_eq!(given.is_empty(), class == GET, "{class}: after {what}");
            given.iter().for_each(|file| std::fs::remove_file(file).unwrap());
            note_fired(1);
        }
        caller.release();
    }
}

const MANY: usize = 100_100;
const MEMORY: u64 = 100_000_000;
/// A query ends after so long (docs/conformance.md).
const LONGEST: std::time::Duration = seconds(600);

/// As many studies more, and as many instances more of the first study: `WEYBRIDGE_MATCHES`; `.ci/long matches` takes a million.
fn many() -> usize {
    std::env::var("WEYBRIDGE_MATCHES").map_or(MANY, |text| text.parse().unwrap())
}

/// REL-25, WEB-095: queries that find a hundred thousand studies, or instances of one, take no memory in proportion; two studies that are
/// named among them are found. What takes too long, or would look through too much, is refused and says why.
#[test]
fn a_hundred_thousand_matches_are_answered_in_bounded_memory() {
    let mut site = Radiology::start(1, WORKSTATION);
    site.site.stop();
    let records = site.site.data_dir().join("records.db");
    let (many, root) = (many(), "2.25.70000000123");
    assert!(many >= MANY, "fewer than one query of QIDO-RS looks through");
    let limit = seconds(120 * (1 + many as u64 / MANY as u64));
    python::run("many_studies", [records.to_str().unwrap(), &many.to_string(), root], limit).ok("many studies");
    site.site.up();
    let found = site.search(&format!("studies?StudyInstanceUID={ROOT}.2,{root}.{many}"));
    assert_eq!(found.len(), 2, "of a list among many studies");
    pages_among_many_studies(&site);
    let studies = [implicit(0x0008, 0x0052, b"STUDY "), implicit(0x0020, 0x000D, b"")].concat();
    let (study, series) = (padded(&format!("{ROOT}.1")), padded(&format!("{ROOT}.1.1")));
    let above = [implicit(0x0020, 0x000D, &study), implicit(0x0020, 0x000E, &series)].concat();
    let images = [&implicit(0x0008, 0x0052, b"IMAGE ")[..], &implicit(0x0008, 0x0018, b""), &above].concat();
    for (what, identifier, want) in [("studies", studies, many + 3), ("images", images, many + 2)] {
        let mut caller = workstation(&site);
        let began = std::time::Instant::now();
        let (pending, last) = ask(&mut caller, IMPLICIT, &identifier);
        let took = began.elapsed();
        match last.status {
            0xA700 if took >= LONGEST => assert!(last.comment.is_some(), "{last:?}"),
            _ => assert_eq!((last.status, pending), (0, want), "{what}: {last:?}"),
        }
        caller.release();
        let peak = site.site.peak_memory();
        println!("summary: {pending} {what} in {took:?} ({:04X}), peak memory {} MB", last.status, peak / 1_000_000);
        assert!(peak < MEMORY, "{what}: {peak} bytes");
    }
}

/// A UID as a value of even length.
fn padded(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    value
}

/// WEB-094, WEB-095: a page far behind the beginning is given while it lies within what one query looks through; beyond that the query is
/// refused with 413, which says why, as is one that finds nothing in so many.
fn pages_among_many_studies(site: &Radiology) {
    let day = "studies?StudyDate=20250310";
    for (query, want) in [
        (format!("{day}&offset=99990&limit=10"), 10),
        (format!("{day}&offset=100000&limit=10"), 10),
        (format!("{day}&offset=2000&limit=1001"), 1000),
    ] {
        assert_eq!(site.search(&query).len(), want, "{query}");
    }
    for query in [format!("{day}&offset=100000"), format!("{day}&ModalitiesInStudy=US")] {
        let answer = site.answer(&query);
        assert!(answer.status == 413 && answer.body.contains("too broad"), "{query}: {answer:?}");
    }
}
