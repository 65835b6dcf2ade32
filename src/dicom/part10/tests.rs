//! Envelopes of ours and of others.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::sample::{EXPLICIT, IMPLICIT, cuts, encode, pieces, value};
use proptest::prelude::*;

fn meta(ts: &str) -> FileMeta {
    FileMeta {
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        sop_instance: InstanceUid::parse("1.2.3.4").unwrap(),
        transfer_syntax: TransferSyntaxUid::parse(ts).unwrap(),
    }
}

/// What is found, and the data set behind it.
fn parse(pieces: &[&[u8]]) -> Result<Option<(ReceivedMeta, Vec<u8>)>, Part10Error> {
    let mut parser = MetaParser::new();
    for (index, piece) in pieces.iter().enumerate() {
        if let Some(Found { meta, mut early, used }) = parser.push(piece)? {
            early.extend_from_slice(&piece[used..]);
            pieces[index + 1..].iter().for_each(|piece| early.extend_from_slice(piece));
            return Ok(Some((meta, early)));
        }
    }
    Ok(None)
}

fn file(group: &[u8], data: &[u8]) -> Vec<u8> {
    [&[0x55; PREAMBLE], &MAGIC[..], group, data].concat()
}

#[test]
fn our_prefix_is_fixed_and_reads_back() {
    let prefix = prefix(&meta("1.2.840.10008.1.2.1"));
    assert_eq!(prefix.len() % 2, 0);
    assert_eq!(&prefix[..132], [&[0; 128], &b"DICM"[..]].concat());
    assert_eq!(&prefix[132..144], b"\x02\0\0\0UL\x04\0\xA6\0\0\0");
    assert_eq!(prefix.len(), 144 + 0xA6);
    assert_eq!(&prefix[144..158], b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01");
    let text = String::from_utf8_lossy(&prefix);
    assert!(text.contains(IMPLEMENTATION_CLASS_UID) && text.contains("WEYBRIDGE_0_1 "));
    assert!(crate::dicom::uid::InstanceUid::parse(IMPLEMENTATION_CLASS_UID).is_ok());

    let whole = [&prefix[..], b"\x08\0data"].concat();
    let (found, data) = parse(&[&whole]).unwrap().unwrap();
    assert_eq!(found.sop_class.as_ref(), Some(&meta("1.2").sop_class));
    assert_eq!(found.sop_instance.as_ref(), Some(&meta("1.2").sop_instance));
    assert_eq!(found.transfer_syntax.as_str(), "1.2.840.10008.1.2.1");
    assert_eq!(data, b"\x08\0data");
}

#[test]
fn envelopes_of_others_are_read_leniently() {
    let ts = || value(0x0002_0010, Vr::UI, b"1.2.840.10008.1.2.1\0");
    let length = |length: u32| value(0x0002_0000, Vr::UL, &length.to_le_bytes());
    let explicit = |nodes: &[_]| encode(nodes, EXPLICIT);
    let data = encode(&[value(0x0008_0005, Vr::CS, &[b'x'; 200])], EXPLICIT);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("no group length", file(&explicit(&[ts()]), &data)),
        ("group length too small", file(&explicit(&[length(4), ts()]), &data)),
        ("group length too large", file(&explicit(&[length(9999), ts()]), &data)),
        ("no preamble", [&MAGIC[..], &explicit(&[ts()]), &data].concat()),
        ("neither preamble nor DICM", [explicit(&[length(28), ts()]), data.clone()].concat()),
        ("implicit", file(&encode(&[length(28), ts()], IMPLICIT), &data)),
        ("private information", file(&explicit(&[ts(), value(0x0002_0102, Vr::OB, &[7; 5000])]), &data)),
        ("UIDs that are none", file(&explicit(&[value(0x0002_0002, Vr::UI, b"none"), ts()]), &data)),
    ];
    for (what, bytes) in rows {
        let (found, rest) = parse(&[&bytes]).unwrap().unwrap();
        assert_eq!(found.transfer_syntax.as_str(), "1.2.840.10008.1.2.1", "{what}");
        assert_eq!((found.sop_class, found.sop_instance), (None, None), "{what}");
        assert_eq!(rest, data, "{what}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&one_by_one).unwrap().unwrap().1, data, "{what}");
    }
}

#[test]
fn a_deflated_data_set_that_looks_like_group_2_is_not_swallowed() {
    let group = encode(&[value(0x0002_0010, Vr::UI, b"1.2.840.10008.1.2.1.99")], EXPLICIT);
    let length = encode(&[value(0x0002_0000, Vr::UL, &(group.len() as u32).to_le_bytes())], EXPLICIT);
    let data = b"\x02\x00\x83\x91\x01\x80\xFF\xEF\x00\x00";
    assert_eq!(parse(&[&file(&[length, group].concat(), data)]).unwrap().unwrap().1, data);
}

/// Some senders leave group 0002 in the data set, which is stored as it came, behind file meta information of ours.
#[test]
fn a_data_set_that_begins_with_group_2_is_left_whole() {
    let ts = |uid: &[u8]| value(0x0002_0010, Vr::UI, uid);
    let group = encode(&[ts(b"1.2.840.10008.1.2.1\0")], EXPLICIT);
    let length = encode(&[value(0x0002_0000, Vr::UL, &(group.len() as u32).to_le_bytes())], EXPLICIT);
    let theirs = file(&[length, group].concat(), &[]);
    let ours = prefix(&meta("1.2.840.10008.1.2.1"));
    let rows = [
        ("the same again", &theirs, ts(b"1.2.840.10008.1.2.1\0")),
        ("another transfer syntax", &theirs, ts(b"1.2.840.10008.1.2\0")),
        ("a lower tag", &theirs, value(0x0002_0000, Vr::UL, &[26, 0, 0, 0])),
        ("another transfer syntax, behind ours", &ours, ts(b"1.2.840.10008.1.2\0")),
        ("a higher tag, behind ours", &ours, value(0x0002_0102, Vr::OB, &[7; 10])),
    ];
    for (what, envelope, first) in rows {
        let data = encode(&[first, value(0x0008_0005, Vr::CS, b"ISO_IR 100")], EXPLICIT);
        let bytes = [&envelope[..], &data].concat();
        let (found, rest) = parse(&[&bytes]).unwrap().unwrap();
        assert_eq!(found.transfer_syntax.as_str(), "1.2.840.10008.1.2.1", "{what}");
        assert_eq!(rest, data, "{what}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&one_by_one).unwrap().unwrap().1, data, "{what}");
    }
}

#[test]
fn what_is_no_envelope_is_refused() {
    let data = encode(&[value(0x0008_0005, Vr::CS, &[b'x'; 200])], EXPLICIT);
    let ts = |uid: &[u8]| value(0x0002_0010, Vr::UI, uid);
    let group = |nodes: &[_]| file(&encode(nodes, EXPLICIT), &data);
    let mut undefined = Vec::new();
    EXPLICIT.header(&mut undefined, Tag(0x0002_0102), Vr::OB, u32::MAX);
    let rows: Vec<(Vec<u8>, Part10Error)> = vec![
        (data.clone(), Part10Error::NoMeta),
        (vec![0; 200], Part10Error::NoMeta),
        (file(&[], &data), Part10Error::NoTransferSyntax),
        (group(&[ts(b"")]), Part10Error::NoTransferSyntax),
        (group(&[ts(b"1.2.a ")]), Part10Error::NoTransferSyntax),
        (group(&[ts(b"1.2.840.10008.1.2\0"), ts(b"1.2.840.10008.1.2.1\0")]), Part10Error::Malformed(Tag(0x0002_0010))),
        (group(&[value(0x0002_0000, Vr::UL, b"12")]), Part10Error::Malformed(Tag(0x0002_0000))),
        (file(&undefined, &data), Part10Error::Malformed(Tag(0x0002_0102))),
        (group(&[value(0x0002_0102, Vr::OB, &[0; 70_000])]), Part10Error::TooLarge),
        (group(&vec![value(0x0002_0102, Vr::OB, &[0; 600]); 120]), Part10Error::TooLarge),
    ];
    for (bytes, want) in rows {
        assert_eq!(parse(&[&bytes]), Err(want), "{want}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&one_by_one), Err(want), "{want}");
    }
    // Not yet decided, or never.
    assert_eq!(parse(&[&file(&[], &[])]), Ok(None));
    assert_eq!(parse(&[b"DICM"]), Ok(None));
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same(
        damage in prop::option::of((0..400usize, any::<u8>())),
        data in prop::collection::vec(any::<u8>(), 0..40),
        cuts in cuts(),
    ) {
        let mut bytes = [prefix(&meta("1.2.840.10008.1.2.1.99")), data].concat();
        if let Some((at, byte)) = damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        prop_assert_eq!(parse(&pieces(&bytes, &cuts)), parse(&[&bytes]));
    }
}
