//! Sequences and fragments that are against PS3.5: what is re-encoded of them is as it should be, and what is not passes untouched.

use super::*;

const RLE: &str = "1.2.840.10008.1.2.5";
/// Implicit, as the transcoder delimits it.
const PLAIN: Form = Form { explicit: false, big: false, delimited: true };
const PRIVATE: u32 = 0x0049_1001;
/// An item without a length, and its end.
const OPEN: [u8; 8] = [0xFE, 0xFF, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF];
const END: [u8; 8] = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0];

/// Re-encodes, every value made even.
fn evened(from: &str, to: &str, input: &[u8]) -> Result<Vec<u8>, TranscodeError> {
    let whole = pieces_of(from, to, input, input.len());
    assert_eq!(pieces_of(from, to, input, 1), whole, "{from} to {to}, byte by byte");
    whole
}

fn pieces_of(from: &str, to: &str, input: &[u8], piece: usize) -> Result<Vec<u8>, TranscodeError> {
    let mut transcoder = Transcoder::evening(&TransferSyntaxUid::parse(from).unwrap(), to).unwrap();
    let mut out = Vec::new();
    for bytes in input.chunks(piece) {
        transcoder.push(bytes, &mut out)?;
    }
    transcoder.finish(&mut out)?;
    Ok(out)
}

/// The header of an element without a length.
fn endless(form: Form, tag: u32, vr: Vr) -> Vec<u8> {
    let mut out = Vec::new();
    form.header(&mut out, Tag(tag), vr, UNDEFINED);
    out
}

fn part(content: &[u8]) -> Vec<u8> {
    [&OPEN[..4], &(content.len() as u32).to_le_bytes(), content].concat()
}

/// The end of a sequence becomes one of an item.
fn wrongly_ended(mut bytes: Vec<u8>, form: Form) -> Vec<u8> {
    let at = bytes.len() - if form.big { 5 } else { 6 };
    assert_eq!(std::mem::replace(&mut bytes[at], 0x0D), 0xDD);
    bytes
}

/// Two zeros in the place of the letters: the dictionary knows what stands there, and how its words are turned round.
#[test]
fn zeros_in_the_place_of_letters_become_letters() {
    let rows = [
        (EXPLICIT_VR_BE, [&[0x00u8, 0x28, 0x00, 0x10][..], &[0, 0, 0, 2], &[2, 0]].concat()),
        (EXPLICIT_VR_LE, [&[0x28u8, 0x00, 0x10, 0x00][..], &[0, 0, 2, 0], &[0, 2]].concat()),
    ];
    let want = encode(&[value(0x0028_0010, Vr::US, &[0, 2])], EXPLICIT);
    for (from, input) in rows {
        assert_eq!(evened(from, EXPLICIT_VR_LE, &input).as_ref(), Ok(&want), "{from}");
    }
    // A length of 128 KiB of lookup table data is one, and so is that of what nobody knows.
    for tag in [[0x28u8, 0x00, 0x01, 0x12], [0x49, 0x00, 0x01, 0x10]] {
        let input = [&tag[..], &[0, 0, 2, 0], &vec![7; 128 << 10]].concat();
        assert_eq!(evened(EXPLICIT_VR_LE, IMPLICIT_VR_LE, &input), Ok(input));
    }
}

/// Whatever a sequence ended by, it ends by its own delimiter, also inside UN, whose bytes are copied else.
#[test]
fn sequences_end_by_their_own_delimiter() {
    let inner = || vec![value(0x0008_0104, Vr::LO, b"ab")];
    let after = || vec![value(0x0010_0020, Vr::LO, b"4711")];
    let forms = [(IMPLICIT_VR_LE, IMPLICIT), (EXPLICIT_VR_LE, EXPLICIT), (EXPLICIT_VR_BE, BIG)];
    for (from, form) in forms {
        for sequence in [
            sequence(0x0008_1140, Vr::SQ, false, vec![inner(), vec![]]),
            sequence(0x0008_1140, Vr::SQ, false, vec![]),
            sequence(0x0009_1002, Vr::UN, false, vec![inner(), inner()]),
        ] {
            let inside = if matches!(sequence, Node::Sequence { vr: Vr::UN, .. }) { IMPLICIT } else { form };
            let input =
                [wrongly_ended(encode(std::slice::from_ref(&sequence), form), inside), encode(&after(), form)].concat();
            let want = encode(&[vec![sequence], after()].concat(), DELIMITED);
            assert_eq!(evened(from, EXPLICIT_VR_LE, &input), Ok(want), "{from}");
        }
    }
    // Where the lengths around it count it, it is replaced.
    let deep = |wrong: bool| {
        let deep = encode(&[sequence(0x0008_1140, Vr::SQ, false, vec![inner()])], IMPLICIT);
        let item = part(&if wrong { wrongly_ended(deep, IMPLICIT) } else { deep });
        [item, [&END[..2], &[0xDD, 0xE0, 0, 0, 0, 0]].concat()].concat()
    };
    let input = [endless(IMPLICIT, 0x0009_1002, Vr::UN), deep(true)].concat();
    let want = [endless(EXPLICIT, 0x0009_1002, Vr::UN), deep(false)].concat();
    assert_eq!(evened(IMPLICIT_VR_LE, EXPLICIT_VR_LE, &input), Ok(want));
}

/// What calls itself OB and is a sequence is called one, whatever its items are written in.
#[test]
fn bytes_that_are_a_sequence_become_one() {
    let inner = vec![value(0x0008_0104, Vr::LO, b"ab"), value(0x0049_1002, Vr::UN, &[1, 2])];
    let after = vec![value(0x0050_0004, Vr::CS, b"YES ")];
    let want = [sequence(PRIVATE, Vr::SQ, false, vec![inner.clone(), inner.clone()]), after[0].clone()];
    for (vr, inside) in [(Vr::OB, IMPLICIT), (Vr::OB, EXPLICIT), (Vr::OW, IMPLICIT), (Vr::OW, EXPLICIT)] {
        let item = [&OPEN[..], &encode(&inner, inside), &END].concat();
        let last = [&END[..2], &[0xDD, 0xE0, 0, 0, 0, 0]].concat();
        let input = [endless(EXPLICIT, PRIVATE, vr), item.repeat(2), last, encode(&after, EXPLICIT)].concat();
        for (to, form) in [(EXPLICIT_VR_LE, DELIMITED), (IMPLICIT_VR_LE, PLAIN)] {
            assert_eq!(evened(EXPLICIT_VR_LE, to, &input), Ok(encode(&want, form)), "{vr} to {to}");
        }
    }
}

/// Fragments of something else than Pixel Data pass, beside pixels that are decoded too; without representations only what reads as items.
#[test]
fn fragments_of_other_elements_pass() {
    let last = [&END[..2], &[0xDD, 0xE0, 0, 0, 0, 0]].concat();
    let after = encode(&[value(0x0050_0004, Vr::CS, b"YES ")], EXPLICIT);
    let element = |header: Vec<u8>, fragments: &[&[u8]]| {
        let fragments: Vec<Vec<u8>> = fragments.iter().map(|fragment| part(fragment)).collect();
        [header, fragments.concat(), last.clone()].concat()
    };
    let explicit = || endless(EXPLICIT, PRIVATE, Vr::OB);
    let items = encode(&[value(0x0049_0010, Vr::LO, b"GEMS"), value(0x0049_1002, Vr::UN, &[1, 2])], IMPLICIT);
    let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 0, 16];
    for syntax in [EXPLICIT_VR_LE, RLE] {
        let input = [element(explicit(), &[&[], &jpeg, &[7, 8, 9]]), after.clone()].concat();
        let want = [element(explicit(), &[&[], &jpeg, &[7, 8, 9, 0]]), after.clone()].concat();
        assert_eq!(evened(syntax, EXPLICIT_VR_LE, &input), Ok(want), "{syntax}");
        let input = [element(explicit(), &[&items, &items]), after.clone()].concat();
        let plain = encode(&[value(0x0050_0004, Vr::CS, b"YES ")], PLAIN);
        let want = [element(endless(PLAIN, PRIVATE, Vr::OB), &[&items, &items]), plain].concat();
        assert_eq!(evened(syntax, IMPLICIT_VR_LE, &input), Ok(want), "{syntax}");
        let none = Err(TranscodeError::Encapsulated { tag: Tag(PRIVATE) });
        for fragment in [&jpeg[..], &[7, 8, 9], &items[..items.len() - 2]] {
            let input = [element(explicit(), &[&items, fragment]), after.clone()].concat();
            assert_eq!(evened(syntax, IMPLICIT_VR_LE, &input), none, "{fragment:?}");
        }
    }
    // From big endian, by the words of the representation.
    let big = |vr| {
        let fragment = [0xFF, 0xFE, 0xE0, 0x00, 0, 0, 0, 4, 1, 2, 3, 4];
        [&endless(BIG, PRIVATE, vr)[..], &fragment, &[0xFF, 0xFE, 0xE0, 0xDD, 0, 0, 0, 0]].concat()
    };
    for (vr, want) in [(Vr::OB, [1, 2, 3, 4]), (Vr::OW, [2, 1, 4, 3])] {
        let want = element(endless(EXPLICIT, PRIVATE, vr), &[&want]);
        assert_eq!(evened(EXPLICIT_VR_BE, EXPLICIT_VR_LE, &big(vr)), Ok(want), "{vr}");
    }
}

/// What is explicit in an implicit data set is written as the rest is.
#[test]
fn explicit_items_in_an_implicit_data_set_are_read() {
    let inner = vec![value(0x0008_0104, Vr::LO, b"ab"), value(0x2005_1002, Vr::UN, &[1, 2])];
    let after = vec![value(0x2050_0020, Vr::CS, b"IDENTITY")];
    let item = [&OPEN[..], &encode(&inner, EXPLICIT), &END].concat();
    let last = [&END[..2], &[0xDD, 0xE0, 0, 0, 0, 0]].concat();
    let input = [endless(IMPLICIT, 0x2005_1084, Vr::UN), item.clone(), last.clone(), encode(&after, IMPLICIT)].concat();
    let plain = encode(&[vec![sequence(0x2005_1084, Vr::UN, false, vec![inner])], after.clone()].concat(), PLAIN);
    assert_eq!(evened(IMPLICIT_VR_LE, IMPLICIT_VR_LE, &input), Ok(plain));
    let kept = [endless(EXPLICIT, 0x2005_1084, Vr::UN), item, last, encode(&after, EXPLICIT)].concat();
    assert_eq!(evened(IMPLICIT_VR_LE, EXPLICIT_VR_LE, &input), Ok(kept), "as it came, as UN");
}
