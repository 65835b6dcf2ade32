//! What becomes of what has no length, or is nested too deeply: sequences, fragments, and what is inside UN.

use super::opaque::Opaque;
use super::{
    Element, Event, ITEM, SEQUENCE_END, StructureError, Syntax, Tag, TranscodeError, Transcoder, UNDEFINED, Value, Vr,
    even, malformed, write_item,
};
use crate::dicom::tag::PIXEL_DATA;

/// The delimiter of a sequence with its length (PS3.5 section 7.5.2).
const WHOLE_SEQUENCE_END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];

impl Transcoder {
    /// A sequence of defined length that is nested too deeply to go into it: its bytes pass, where they may stand in the output so.
    pub(super) fn untouched(
        &mut self,
        tag: Tag,
        length: u32,
        inside: Syntax,
        out: &mut Vec<u8>,
    ) -> Result<(), TranscodeError> {
        let vr = match inside {
            Syntax::IMPLICIT_LITTLE => Vr::UN,
            Syntax { explicit: true, big: false } if self.explicit && even(length, self.evens) == length => Vr::SQ,
            _ => return Err(StructureError::TooDeep { tag: Some(tag) }.into()),
        };
        self.value = Value::Written(self.words(1, vr));
        self.write_element(out, tag, vr, even(length, self.evens));
        Ok(())
    }

    /// An element of undefined length.
    pub(super) fn container(&mut self, element: Element, vr: Vr, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let tag = element.tag;
        if element.fragments {
            match tag {
                _ if self.leaves_fragments => self.value = Value::Dropped,
                PIXEL_DATA => return Err(TranscodeError::Encapsulated { tag }),
                _ => self.opaque = Some(Opaque::new(tag, vr, if self.big { vr.word() } else { 1 }, !self.explicit)),
            }
            self.write_element(out, tag, vr, UNDEFINED);
            return Ok(());
        }
        let written = element.vr.is_some_and(|vr| vr != Vr::UN);
        // Bytes that are a sequence are called one.
        let vr = if written && (vr.word() > 1 || vr == Vr::OB) { Vr::SQ } else { vr };
        // Without representations there is no UN: what is inside it is written as the rest is. From big endian its bytes
        // are copied all the same, since they are implicit little endian already (PS3.5 section 6.2.2).
        if vr == Vr::SQ || written || !(self.explicit || self.big) {
            self.write_element(out, tag, vr, UNDEFINED);
            return Ok(());
        }
        if self.big && element.vr.is_none() {
            return Err(malformed(tag, "a sequence of no known encoding"));
        }
        self.verbatim = 1;
        self.write_element(out, tag, Vr::UN, UNDEFINED);
        Ok(())
    }

    /// A fragment of another element than Pixel Data; those of an element that is left out are left out too.
    pub(super) fn fragment(&mut self, length: u32, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let Some(opaque) = &mut self.opaque else { return Ok(()) };
        let (size, vr) = opaque.begin(length)?;
        write_item(out, ITEM, even(length, self.evens));
        self.value = Value::Written(self.words(size, vr));
        Ok(())
    }

    /// The sequence ends, or the fragments.
    pub(super) fn sequence_end(&mut self, out: &mut Vec<u8>) {
        self.opaque = None;
        write_item(out, SEQUENCE_END, 0);
    }

    /// Copies what is inside UN. A sequence that ends by the delimiter of an item gets its own, which is as long.
    pub(super) fn copy(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let (bytes, deeper) = match event {
            Event::Element(element) => (self.walker.raw_header(), i32::from(element.length.is_none())),
            Event::Item(_) => (self.walker.raw_header(), 1),
            Event::Fragment(_) | Event::Stray => (self.walker.raw_header(), 0),
            Event::Value(slice) => (slice, 0),
            Event::ValueEnd => (&[][..], 0),
            Event::ItemEnd { delimited: true } => (self.walker.raw_header(), -1),
            Event::SequenceEnd { delimited: true } => (&WHOLE_SEQUENCE_END[..], -1),
            Event::ItemEnd { .. } | Event::SequenceEnd { .. } => (&[][..], -1),
        };
        out.extend_from_slice(bytes);
        self.verbatim = self.verbatim.saturating_add_signed(deeper);
    }
}
