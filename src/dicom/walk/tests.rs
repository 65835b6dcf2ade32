//! The walk's own promises, apart from what scanner and transcoder make of it.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::dicom::sample::{EXPLICIT, Form, IMPLICIT, encode, instance, value};

fn walker(form: Form) -> Walker {
    Walker::new(Syntax { explicit: form.explicit, big: form.big }, 64, u64::MAX)
}

#[test]
fn a_value_is_one_slice_of_the_input_however_long() {
    let bytes = encode(&[value(0x7FE0_0010, Vr::OW, &vec![7; 1 << 20])], IMPLICIT);
    let mut walker = walker(IMPLICIT);
    let mut input = &bytes[..];
    let mut events = Vec::new();
    while let Some(event) = walker.next(&mut input).unwrap() {
        events.push(event);
    }
    let element = Element { tag: PIXEL_DATA, vr: None, length: Some(1 << 20), fragments: false, top: true };
    assert_eq!(events, [Event::Element(element), Event::Value(&bytes[8..]), Event::ValueEnd]);
}

#[test]
fn sequences_are_gone_through_by_length_or_by_delimiter() {
    let bytes = encode(&instance(), EXPLICIT);
    for descend in [false, true] {
        let mut walker = walker(EXPLICIT);
        let mut input = &bytes[..];
        let (mut elements, mut items, mut deepest) = (0, 0, 0);
        while let Some(event) = walker.next(&mut input).unwrap() {
            match event {
                Event::Element(element) => {
                    elements += 1;
                    if descend && element.vr == Some(Vr::SQ) && element.length.is_some() {
                        walker.descend().unwrap();
                    }
                }
                Event::Item(_) => items += 1,
                _ => {}
            }
            deepest = deepest.max(walker.depth);
        }
        walker.finish().unwrap();
        assert_eq!((elements, items, deepest), if descend { (28, 8, 2) } else { (24, 5, 2) });
        assert_eq!((walker.depth, walker.frames.len()), (0, 1));
    }
}

#[test]
fn an_error_names_the_last_element_that_was_whole() {
    let rows: [(&[u8], Option<u32>); 3] = [
        (b"\x08", None),
        (b"\x08\0\x05\0CS\x02\0I", Some(0x0008_0005)),
        (b"\x08\0\x05\0CS\x02\0IS\x08", Some(0x0008_0005)),
    ];
    for (bytes, tag) in rows {
        let mut walker = walker(EXPLICIT);
        let mut input = bytes;
        while walker.next(&mut input).unwrap().is_some() {}
        assert_eq!(walker.finish(), Err(StructureError::Truncated { tag: tag.map(Tag) }));
    }
    let error = StructureError::Truncated { tag: Some(PIXEL_DATA) };
    assert_eq!(error.to_string(), "the data set is cut short at (7FE0,0010)");
    assert_eq!(StructureError::Truncated { tag: None }.to_string(), "the data set is cut short");
}
