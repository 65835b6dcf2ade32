//! Rejection notes: what is read of them, however they are cut and encoded, and what is not believed.

use super::*;
use crate::dicom::contents::tests::{item, long, short};
use crate::dicom::inflate::tests::deflate;

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

fn sequence(tag: u32, items: &[Vec<u8>]) -> Vec<u8> {
    let content: Vec<u8> = items.iter().flat_map(|content| item(content)).collect();
    long(tag, b"SQ", content.len() as u32, &content)
}

fn code(value: &[u8], scheme: &[u8]) -> Vec<u8> {
    [short(0x0008_0100, b"SH", value), short(0x0008_0102, b"SH", scheme)].concat()
}

fn study(uid: &[u8], instances: &[&[u8]]) -> Vec<u8> {
    let named: Vec<Vec<u8>> = instances.iter().map(|uid| short(0x0008_1155, b"UI", uid)).collect();
    let series = [sequence(0x0008_1199, &named), short(0x0020_000E, b"UI", b"1.2.9\0")].concat();
    [sequence(0x0008_1115, &[series]), short(0x0020_000D, b"UI", uid)].concat()
}

fn note(title: &[u8], studies: &[Vec<u8>]) -> Vec<u8> {
    let modifier =
        [sequence(0x0040_A043, &[code(b"113011", b"DCM ")]), sequence(0x0040_A168, &[code(b"113013", b"DCM ")])];
    [
        short(0x0008_1155, b"UI", b"1.9\0"),
        sequence(0x0040_A043, &[title.to_vec()]),
        sequence(0x0040_A375, studies),
        sequence(0x0040_A730, &[modifier.concat()]),
    ]
    .concat()
}

fn read(bytes: &[u8], syntax: &str, step: usize) -> Result<Option<Rejection>, NoteError> {
    let mut reader = NoteReader::new(&TransferSyntaxUid::parse(syntax).unwrap());
    for piece in bytes.chunks(step) {
        reader.push(piece)?;
    }
    reader.finish()
}

fn named(study: &str, instance: &str) -> Named {
    Named { study: StudyUid::parse(study).unwrap(), instance: InstanceUid::parse(instance).unwrap() }
}

/// WEB-105: the four titles are rejections, by their code and scheme alone; what is named is read with its study, each once.
#[test]
fn a_note_says_why_and_what() {
    let studies = [study(b"1.2\0", &[b"1.4\0", b"1.3\0", b"1.4\0"]), study(b"1.5\0", &[b"1.6\0"])];
    let rows: &[(&[u8], &[u8], Option<Reason>)] = &[
        (b"113001", b"DCM ", Some(Reason::Quality)),
        (b"113037", b"DCM ", Some(Reason::Safety)),
        (b"113038", b"DCM ", Some(Reason::Worklist)),
        (b"113039", b"DCM ", Some(Reason::Retention)),
        (b"113000", b"DCM ", None),
        (b"113001", b"99XY", None),
    ];
    for (value, scheme, reason) in rows {
        let set = note(&code(value, scheme), &studies);
        let want = reason.map(|reason| Rejection {
            reason,
            named: vec![named("1.2", "1.3"), named("1.2", "1.4"), named("1.5", "1.6")],
        });
        for step in [1, 7, set.len()] {
            assert_eq!(read(&set, EXPLICIT, step), Ok(want.clone()), "{value:?} by {step}");
        }
        assert_eq!(read(&deflate(&set, false), DEFLATED, 5), Ok(want));
    }
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.code()), Some(reason), "{}", reason.meaning());
    }
}

#[test]
fn what_cannot_be_read_rejects_nothing() {
    let title = code(b"113001", b"DCM ");
    let bad = note(&title, &[study(b"1.2\0", &[b"1.a\0"])]);
    assert_eq!(read(&bad, EXPLICIT, 64), Err(NoteError::NoUid));
    let without_study =
        [sequence(0x0008_1115, &[sequence(0x0008_1199, &[short(0x0008_1155, b"UI", b"1.3\0")])])].concat();
    assert_eq!(read(&note(&title, &[without_study]), EXPLICIT, 64), Err(NoteError::NoUid));
    let whole = note(&title, &[study(b"1.2\0", &[b"1.3\0"])]);
    assert!(matches!(read(&whole[..whole.len() - 3], EXPLICIT, 64), Err(NoteError::Structure(_))));
    assert_eq!(read(&deflate(&whole, false)[..9], DEFLATED, 64), Err(NoteError::Deflated));
}

/// A note that names more than is taken is not honoured in part.
#[test]
fn a_note_that_names_too_much_is_refused() {
    let uids: Vec<String> = (0..=MOST_NAMED).map(|n| format!("1.2.{:07}", n + 1_000_000)).collect();
    let uids: Vec<&[u8]> = uids.iter().map(|uid| uid.as_bytes()).collect();
    let title = code(b"113037", b"DCM ");
    // A series takes 64 KiB of UIDs and more, so that lengths of 32 bits are needed: those of the sequences are.
    let most = read(&note(&title, &[study(b"1.2\0", &uids[..MOST_NAMED])]), EXPLICIT, 1 << 20).unwrap().unwrap();
    assert_eq!(most.named.len(), MOST_NAMED);
    assert_eq!(read(&note(&title, &[study(b"1.2\0", &uids)]), EXPLICIT, 1 << 20), Err(NoteError::TooMany));
}
