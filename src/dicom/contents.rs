//! The contents of a data set as they stream past: elements with settled representations, values in slices, items.
//!
//! For readers that show what a data set says (metadata, bulk data, rendering). The input is Explicit VR Little Endian, its
//! pixels native or in fragments; what is stored otherwise passes [`super::transcode`] first. Memory is that of the walk.

mod picker;

pub use super::walk::StructureError;
pub use picker::{Path, Picked, Picker};

use super::dictionary::{self, Representation};
use super::scanner::Limits;
use super::tag::Tag;
use super::transfer_syntax::{Encoding, encoding};
use super::uid::TransferSyntaxUid;
use super::vr::Vr;
use super::walk::{Element, Event, Syntax, Walker};

/// One step through the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// An element with a value, of so many bytes; [`Part::Bytes`] and [`Part::End`] follow.
    Leaf(Tag, Vr, u32),
    /// Part of a value, or of a fragment.
    Bytes(&'a [u8]),
    /// The value is complete, or the fragment.
    End,
    /// A sequence; items and [`Part::SequenceEnd`] follow.
    Sequence(Tag),
    /// An item of the sequence begins.
    Item,
    /// The item ends.
    ItemEnd,
    /// The sequence ends, or the fragments.
    SequenceEnd,
    /// Pixels in fragments; [`Part::Fragment`]s and [`Part::SequenceEnd`] follow.
    Fragments(Tag, Vr),
    /// A fragment of so many bytes.
    Fragment(u32),
}

/// A walk through the contents. Any cutting of the input gives the same parts; an error is final.
#[derive(Debug)]
pub struct Contents {
    walker: Walker,
    /// Sequences of a length are passed over.
    passes: bool,
}

impl Default for Contents {
    fn default() -> Self {
        Self::of(Syntax { explicit: true, big: false })
    }
}

impl Contents {
    /// The contents of a data set as it is stored; of a deflated one, as it was inflated. Values keep their byte order.
    pub fn stored(syntax: &TransferSyntaxUid) -> Self {
        let encoding = encoding(syntax);
        let (explicit, big) = (encoding != Encoding::ImplicitLittle, encoding == Encoding::ExplicitBig);
        Self::of(Syntax { explicit, big })
    }

    fn of(syntax: Syntax) -> Self {
        let limits = Limits::default();
        Self { walker: Walker::new(syntax, limits.depth, limits.elements), passes: false }
    }

    /// The same for a reader of the data set's own elements: a sequence that has a length is a value of that length, so that it does not
    /// matter what is wrong inside it (FLT-087).
    pub fn passing_sequences(self) -> Self {
        Self { passes: true, ..self }
    }

    /// The next part; none when `input` is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, StructureError> {
        while let Some(event) = self.walker.next(input)? {
            return Ok(Some(match event {
                Event::Element(element) => self.element(element)?,
                Event::Value(slice) => Part::Bytes(slice),
                Event::ValueEnd => Part::End,
                Event::Item(_) => Part::Item,
                Event::ItemEnd { .. } => Part::ItemEnd,
                Event::SequenceEnd { .. } => Part::SequenceEnd,
                Event::Fragment(length) => Part::Fragment(length),
                Event::Stray => continue,
            }));
        }
        Ok(None)
    }

    /// Bytes taken so far; behind [`Part::Leaf`] and [`Part::Fragment`], where the value begins.
    pub fn position(&self) -> u64 {
        self.walker.position()
    }

    /// Says whether the data set could end here.
    pub fn finish(&self) -> Result<(), StructureError> {
        self.walker.finish()
    }

    fn element(&mut self, element: Element) -> Result<Part<'static>, StructureError> {
        let vr = representation(element);
        match element.length {
            None if element.fragments => Ok(Part::Fragments(element.tag, vr)),
            None => Ok(Part::Sequence(element.tag)),
            // What lies too deep to be gone into is a value that nobody knows.
            Some(length) if vr == Vr::SQ && (self.passes || self.walker.beyond().is_some()) => {
                Ok(Part::Leaf(element.tag, Vr::UN, length))
            }
            // What calls itself unknown and has a length is shown as it is: nobody promises that it is a sequence.
            Some(_) if vr == Vr::SQ => {
                self.walker.descend()?;
                Ok(Part::Sequence(element.tag))
            }
            Some(length) => Ok(Part::Leaf(element.tag, vr, length)),
        }
    }
}

/// As written; for what is not, or is unknown, as the dictionary says, so far as that alone settles it.
fn representation(element: Element) -> Vr {
    match element.vr {
        Some(vr) if vr.is_known() && vr != Vr::UN => vr,
        given => match dictionary::representation(element.tag) {
            Representation::Exactly(Vr::SQ) if given.is_some() => Vr::UN,
            Representation::Exactly(vr) => vr,
            Representation::ShortOfPixel if given.is_none() => Vr::US,
            Representation::BytesOrWords | Representation::PixelData | Representation::LookupTable => Vr::OW,
            _ => Vr::UN,
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(super) mod tests {
    use super::*;

    pub(in crate::dicom) fn short(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut out = [((tag >> 16) as u16).to_le_bytes(), (tag as u16).to_le_bytes()].concat();
        out.extend_from_slice(vr);
        out.extend_from_slice(&(value.len() as u16).to_le_bytes());
        out.extend_from_slice(value);
        out
    }

    pub(in crate::dicom) fn long(tag: u32, vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
        let mut out = [((tag >> 16) as u16).to_le_bytes(), (tag as u16).to_le_bytes()].concat();
        out.extend_from_slice(vr);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(value);
        out
    }

    pub(in crate::dicom) fn item(content: &[u8]) -> Vec<u8> {
        [&[0xFE, 0xFF, 0x00, 0xE0][..], &(content.len() as u32).to_le_bytes(), content].concat()
    }

    #[test]
    fn representations_are_settled_and_sequences_are_gone_into() {
        let inner = short(0x0008_1155, b"UI", b"1.2\0");
        let sequence = item(&inner);
        let set = [
            long(0x0008_1140, b"SQ", sequence.len() as u32, &sequence),
            long(0x0010_0010, b"UN", 4, b"A^B "),
            long(0x0009_1001, b"UN", 2, &[1, 2]),
        ]
        .concat();
        for step in [1, 7, set.len()] {
            let (mut contents, mut found) = (Contents::default(), Vec::new());
            for mut piece in set.chunks(step) {
                while let Some(part) = contents.next(&mut piece).unwrap() {
                    if !matches!(part, Part::Bytes(_)) {
                        found.push(format!("{part:?}"));
                    }
                }
            }
            contents.finish().unwrap();
            let want = [
                "Sequence((0008,1140))",
                "Item",
                "Leaf((0008,1155), UI, 4)",
                "End",
                "ItemEnd",
                "SequenceEnd",
                "Leaf((0010,0010), PN, 4)",
                "End",
                "Leaf((0009,1001), UN, 2)",
                "End",
            ];
            assert_eq!(found[..want.len() - 2], want[..want.len() - 2], "{step}");
            assert_eq!(found.len(), want.len());
        }
    }

    /// FLT-087: what is accepted by its length is shown, as far as it is gone into.
    #[test]
    fn what_is_nested_deeper_than_the_limit_is_a_value() {
        let nested = |depth| {
            (0..depth).fold(Vec::new(), |inner, _| {
                let item = item(&inner);
                long(0x0040_A730, b"SQ", item.len() as u32, &item)
            })
        };
        let (set, rest) = (nested(100), nested(35).len() as u32 + 8);
        let (mut contents, mut input, mut sequences) = (Contents::default(), &set[..], 0);
        let mut leaves = Vec::new();
        while let Some(part) = contents.next(&mut input).unwrap() {
            match part {
                Part::Sequence(_) => sequences += 1,
                Part::Leaf(_, vr, length) => leaves.push((vr, length)),
                _ => {}
            }
        }
        contents.finish().unwrap();
        assert_eq!((sequences, leaves), (64, vec![(Vr::UN, rest)]));
    }
}
