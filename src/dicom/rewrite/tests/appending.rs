//! Items that are appended to sequences, and an attribute behind the record.

use super::*;
use crate::dicom::sample::Item as Given;

const EQUIPMENT: u32 = 0x0018_A001;
const STATUS: u32 = 0x0400_0600;

/// The usual change, another item of equipment, and a mark behind the record whose value is known.
fn changes(known: Option<&[u8]>) -> Edits {
    let purpose = Item::from([(Tag(0x0008_0100), "109103".into())]);
    let item = Item::from([(Tag(0x0008_0070), "Weybridge".into()), (Tag(0x0040_A170), Content::Items(vec![purpose]))]);
    let mut edits = usual();
    edits.items.insert(Tag(EQUIPMENT), item);
    edits.values.insert(INSTANCE_ORIGIN_STATUS, b"IMPORTED".as_slice().into());
    edits.known.extend(known.map(|known| (INSTANCE_ORIGIN_STATUS, known.into())));
    edits
}

/// The item that is appended.
fn appended() -> Given {
    let purpose = sequence(0x0040_A170, Vr::SQ, true, vec![vec![value(0x0008_0100, Vr::SH, b"109103")]]);
    Given { defined: true, nodes: vec![value(0x0008_0070, Vr::LO, b"Weybridge "), purpose] }
}

fn equipment(defined: bool, items: Vec<Given>) -> Node {
    Node::Sequence { tag: Tag(EQUIPMENT), vr: Vr::SQ, defined, items }
}

/// Earlier items, in which a sequence stands that has no length either.
fn earlier(defined: bool) -> Vec<Given> {
    let code = sequence(0x0040_A170, Vr::SQ, defined, vec![vec![value(0x0008_0100, Vr::SH, b"109101")], vec![]]);
    vec![Given { defined, nodes: vec![value(0x0008_0070, Vr::LO, b"ACME"), code] }, Given { defined, nodes: vec![] }]
}

/// IDY-030, IDY-033: the items that were there stay byte for byte, ours comes after them, and the record has the whole sequence.
#[test]
fn an_item_is_appended_and_the_sequence_that_was_is_recorded_whole() {
    let cases =
        [None, Some((true, vec![])), Some((true, earlier(true))), Some((false, vec![])), Some((false, earlier(false)))];
    for (from, form) in NATIVE {
        for (was, status) in cases.iter().flat_map(|was| [(was, None), (was, Some(&b"LOCAL "[..]))]) {
            let mut nodes = instance();
            let before = was.as_ref().map(|(defined, items)| equipment(*defined, items.clone()));
            nodes = with(&nodes, before.iter().cloned().collect());
            nodes = with(&nodes, status.iter().map(|status| value(STATUS, Vr::CS, status)).collect());
            let mut recorded = previous(b"", b"4711", b"");
            recorded.push(before.clone().unwrap_or_else(|| equipment(true, vec![])));
            recorded.push(value(STATUS, Vr::CS, status.unwrap_or_default()));
            let (defined, items) = was.clone().unwrap_or((true, vec![]));
            let changed = vec![
                value(0x0008_0050, Vr::SH, b""),
                value(0x0010_0020, Vr::LO, b"RTX:4711"),
                equipment(defined, [items, vec![appended()]].concat()),
                originals(vec![record(recorded)]),
                value(STATUS, Vr::CS, b"IMPORTED"),
            ];
            let want = encode(&with(&nodes, changed), form);
            let input = encode(&nodes, form);
            let (out, report) = rewrite(from, &changes(status), &[&input]).unwrap();
            assert_eq!(out, want, "{from} {was:?} {status:?}");
            assert_eq!(report.changed.len(), 4);
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            assert_eq!(rewrite(from, &changes(status), &bytes).unwrap().0, want, "{from}, byte by byte");
        }
    }
}

/// What the record says was behind it must have been there.
#[test]
fn a_mark_that_is_not_what_was_known_is_refused() {
    let marked = with(&instance(), vec![value(STATUS, Vr::CS, b"LOCAL ")]);
    let disordered = RewriteError::Disordered { tag: INSTANCE_ORIGIN_STATUS };
    for (nodes, known) in [(&marked, None), (&marked, Some(&b"IMPORTED"[..])), (&instance(), Some(&b"LOCAL "[..]))] {
        let input = encode(nodes, EXPLICIT);
        assert_eq!(rewrite(EXPLICIT_VR_LE, &changes(known), &[&input]).unwrap_err(), disordered, "{known:?}");
    }
    let (found, _) = survey(EXPLICIT_VR_LE, &[&encode(&marked, EXPLICIT)]).unwrap();
    assert_eq!(found.attributes.values.get(&INSTANCE_ORIGIN_STATUS).map(|value| &**value), Some(&b"LOCAL "[..]));
}

#[test]
fn a_sequence_that_cannot_be_kept_whole_is_refused() {
    let tag = Tag(EQUIPMENT);
    let huge = vec![Given { defined: true, nodes: vec![value(0x0008_0070, Vr::LO, &[b'x'; 40_000])] }; 2];
    for defined in [true, false] {
        let input = encode(&with(&instance(), vec![equipment(defined, huge.clone())]), EXPLICIT);
        let refused = rewrite(EXPLICIT_VR_LE, &changes(None), &[&input]).unwrap_err();
        assert_eq!(refused, RewriteError::TooLong { tag });
    }
    let why = "something else than a sequence";
    let input = encode(&with(&instance(), vec![value(EQUIPMENT, Vr::LO, b"ab")]), EXPLICIT);
    let refused = rewrite(EXPLICIT_VR_LE, &changes(None), &[&input]).unwrap_err();
    assert_eq!(refused, StructureError::Malformed { tag: Some(tag), why }.into());
    // A record whose inside is implicit cannot hold an explicit sequence.
    let record = Node::Sequence { tag: ORIGINAL_ATTRIBUTES, vr: Vr::UN, defined: false, items: vec![] };
    let input = encode(&with(&instance(), vec![equipment(true, vec![]), record]), EXPLICIT);
    assert!(rewrite(EXPLICIT_VR_LE, &changes(None), &[&input]).is_err());
    let mut text = usual();
    text.items.insert(PATIENT_ID, Item::new());
    assert_eq!(Rewriter::new(&ts(JPEG), text).err(), Some(RewriteError::Attribute { tag: PATIENT_ID }));
}
