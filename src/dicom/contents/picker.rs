//! Picks the value of one element out of a data set as it streams past, wherever it is nested.

use super::{Contents, Part, StructureError};
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;

/// The deepest path that is read.
const DEEPEST: usize = 64;

/// Where an element is: through which items of which sequences, numbered from 1, and its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Sequences and the numbers of their items, from the data set inwards.
    pub items: Vec<(Tag, u32)>,
    /// The element.
    pub tag: Tag,
}

impl Path {
    /// Reads `7FE00010`, or `30060039/1/30060040/2/30060050`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('/').peekable();
        let mut items = Vec::new();
        loop {
            let tag = tag(words.next()?)?;
            match words.next() {
                None => return Some(Self { items, tag }),
                Some(number) => {
                    let plain = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
                    items.push((tag, number.parse().ok().filter(|_| plain)?));
                }
            }
            if items.len() > DEEPEST {
                return None;
            }
        }
    }
}

fn tag(text: &str) -> Option<Tag> {
    let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| plain).map(Tag)
}

/// What was found under the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picked {
    /// A value of this representation and so many bytes.
    Value(Vr, u32),
    /// Pixels in fragments.
    Fragments,
    /// A sequence, which has no value of its own.
    Sequence,
}

/// The picking. Any cutting of the input gives the same value; an error is final.
#[derive(Debug)]
pub struct Picker {
    contents: Contents,
    wanted: Path,
    /// Open sequences, and the number of the item in hand.
    at: Vec<(Tag, u32)>,
    found: Option<Picked>,
    inside: bool,
}

impl Picker {
    /// A picker of the element under a path.
    pub fn new(wanted: Path) -> Self {
        Self { contents: Contents::default(), wanted, at: Vec::new(), found: None, inside: false }
    }

    /// What was found so far.
    pub fn found(&self) -> Option<Picked> {
        self.found
    }

    /// Takes the next bytes of the data set and appends those of the value to `out`.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), StructureError> {
        while let Some(part) = self.contents.next(&mut input)? {
            match part {
                Part::Leaf(tag, vr, length) => self.inside = self.meets(tag, Picked::Value(vr, length)),
                Part::Bytes(slice) if self.inside => out.extend_from_slice(slice),
                Part::End => self.inside = false,
                Part::Sequence(tag) => {
                    self.meets(tag, Picked::Sequence);
                    self.at.push((tag, 0));
                }
                Part::Item => {
                    if let Some((_, number)) = self.at.last_mut() {
                        *number += 1;
                    }
                }
                Part::Fragments(tag, _) => {
                    self.meets(tag, Picked::Fragments);
                    self.at.push((tag, 0));
                }
                Part::SequenceEnd => drop(self.at.pop()),
                Part::Bytes(_) | Part::ItemEnd | Part::Fragment(_) => {}
            }
        }
        Ok(())
    }

    /// Says whether the data set could end here.
    pub fn finish(&self) -> Result<(), StructureError> {
        self.contents.finish()
    }

    /// Whether this element is the wanted one; the first counts.
    fn meets(&mut self, tag: Tag, picked: Picked) -> bool {
        let meets = self.found.is_none() && tag == self.wanted.tag && self.at == self.wanted.items;
        if meets {
            self.found = Some(picked);
        }
        meets
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{item, long, short};
    use super::*;

    #[test]
    fn paths_are_read_and_tricks_are_not() {
        let path = Path::parse("30060039/1/30060040/12/30060050").unwrap();
        assert_eq!(path.items, [(Tag(0x3006_0039), 1), (Tag(0x3006_0040), 12)]);
        assert_eq!(path.tag, Tag(0x3006_0050));
        assert_eq!(Path::parse("7fe00010").unwrap().tag, Tag(0x7FE0_0010));
        for trick in
            ["", "/", "7FE0", "7FE00010/", "7FE00010/0/7FE00010", "7FE00010/1", "../7FE00010", "7FE00010/-1/7FE00010"]
        {
            assert_eq!(Path::parse(trick), None, "{trick}");
        }
        assert_eq!(Path::parse(&"00081140/1/".repeat(70)), None);
    }

    #[test]
    fn a_value_is_picked_wherever_it_is() {
        let nested = |text: &[u8]| item(&short(0x0008_0104, b"LO", text));
        let sequence = [nested(b"one "), nested(b"two ")].concat();
        let set = [
            short(0x0008_0104, b"LO", b"top "),
            long(0x0008_1140, b"SQ", sequence.len() as u32, &sequence),
            long(0x7FE0_0010, b"OB", 3, &[7, 8, 9]),
        ]
        .concat();
        let pick = |path: &str, step: usize| {
            let (mut picker, mut out) = (Picker::new(Path::parse(path).unwrap()), Vec::new());
            set.chunks(step).for_each(|piece| picker.push(piece, &mut out).unwrap());
            picker.finish().unwrap();
            (picker.found(), out)
        };
        let rows = [
            ("00080104", Some(Picked::Value(Vr::LO, 4)), &b"top "[..]),
            ("00081140/1/00080104", Some(Picked::Value(Vr::LO, 4)), b"one "),
            ("00081140/2/00080104", Some(Picked::Value(Vr::LO, 4)), b"two "),
            ("00081140/3/00080104", None, b""),
            ("00081140", Some(Picked::Sequence), b""),
            ("7FE00010", Some(Picked::Value(Vr::OB, 3)), &[7, 8, 9]),
        ];
        for (path, found, value) in rows {
            for step in [1, 5, set.len()] {
                assert_eq!(pick(path, step), (found, value.to_vec()), "{path} by {step}");
            }
        }
    }
}
