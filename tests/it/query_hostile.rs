//! C-FIND as nobody should ask: identifiers too long, wrong or of another model, and a query that finds a hundred thousand studies.

use crate::support::caller::{Answer, Caller, IMPLICIT_LE, Request, find_command};
use crate::support::files::EXPLICIT_LE;
use crate::support::fired::note_fired;
use crate::support::python;
use crate::support::radiology::{ROOT, Radiology};
use crate::support::wait::seconds;

const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
const WORKSTATION: &str = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\"]\n";
const IMPLICIT: u8 = 1;
const EXPLICIT: u8 = 3;

fn workstation(site: &Radiology) -> Caller {
    let request = Request::new("RADIOLOGY", "WB_A");
    let request = request.context(IMPLICIT, FIND, &[IMPLICIT_LE]).context(EXPLICIT, FIND, &[EXPLICIT_LE]);
    Caller::accepted(site.site.config.dicom_port, &request).0
}

/// What comes back: how many were pending, and the last.
fn ask(caller: &mut Caller, context: u8, identifier: &[u8]) -> (usize, Answer) {
    caller.fragment(context, true, true, &find_command(FIND, 7)).unwrap();
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

const MANY: usize = 100_100;
const MEMORY: u64 = 100_000_000;

/// REL-25, WEB-095: a query that finds a hundred thousand studies takes no memory in proportion; two that are named among them are found.
#[test]
fn a_hundred_thousand_matches_are_answered_in_bounded_memory() {
    let mut site = Radiology::start(1, WORKSTATION);
    site.site.stop();
    let records = site.site.data_dir().join("records.db");
    let (count, root) = (MANY.to_string(), "2.25.70000000123");
    python::run("many_studies", [records.to_str().unwrap(), &count, root], seconds(120)).ok("many studies");
    site.site.up();
    let found = site.search(&format!("studies?StudyInstanceUID={ROOT}.2,{root}.{MANY}"));
    assert_eq!(found.len(), 2, "of a list among many studies");
    let mut caller = workstation(&site);
    let all = [implicit(0x0008, 0x0052, b"STUDY "), implicit(0x0020, 0x000D, b"")].concat();
    let began = std::time::Instant::now();
    let (pending, last) = ask(&mut caller, IMPLICIT, &all);
    assert_eq!((last.status, pending), (0, MANY + 3), "{last:?}");
    caller.release();
    let peak = site.site.peak_memory();
    println!("summary: {pending} matches in {:?}, peak memory {} MB", began.elapsed(), peak / 1_000_000);
    assert!(peak < MEMORY, "{peak} bytes");
}
