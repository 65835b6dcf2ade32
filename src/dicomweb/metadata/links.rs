//! The values that metadata gives as links, one after the other as a data set streams past (PS3.18 section 10.4.3.3.5; WEB-100).

use super::{is_left_out, is_long};
use crate::dicom::contents::{Contents, Part, Path, StructureError};
use crate::dicom::tag::Tag;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked<'a> {
    /// A value of so many bytes begins; where it is, as its link says below `bulkdata`.
    Value(String, u32),
    /// Pixels in fragments begin.
    Fragments(String),
    /// Bytes of the value, or of the fragments without what divides them.
    Bytes(&'a [u8]),
    /// It is complete.
    End,
}

/// The data set, or an item that is open.
#[derive(Debug, Default)]
struct Level {
    /// The sequence in hand below it, and the number of its item.
    sequence: Option<(Tag, u32)>,
    last: Option<Tag>,
}

/// What passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    Nothing,
    Value,
    /// Whether they are wanted, and their items so far: the first is the Basic Offset Table, or counts for two if that is left out. Then
    /// whether a byte of the first was seen.
    Fragments(bool, u64, bool),
}

/// The walk through one data set. Any cutting of the input gives the same values; an error is final. Memory is that of the walk.
#[derive(Debug)]
pub struct Links {
    contents: Contents,
    /// This element alone, be it long or short.
    only: Option<Path>,
    levels: Vec<Level>,
    hand: Hand,
}

impl Links {
    /// All values that are links in the metadata; or one element, whatever its length.
    pub fn new(only: Option<Path>) -> Self {
        Self { contents: Contents::default(), only, levels: vec![Level::default()], hand: Hand::Nothing }
    }

    /// The next step; none when `input` is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Linked<'a>>, StructureError> {
        while let Some(part) = self.contents.next(input)? {
            match part {
                Part::Leaf(tag, vr, length) => {
                    let wanted = self.meets(tag, is_long(vr, length));
                    self.hand = if wanted { Hand::Value } else { Hand::Nothing };
                    if wanted {
                        return Ok(Some(Linked::Value(self.path(tag), length)));
                    }
                }
                Part::Fragments(tag, _) => {
                    let wanted = self.meets(tag, true);
                    self.hand = Hand::Fragments(wanted, 0, false);
                    if wanted {
                        return Ok(Some(Linked::Fragments(self.path(tag))));
                    }
                }
                Part::Fragment(_) => {
                    if let Hand::Fragments(_, items, _) = &mut self.hand {
                        *items += 1;
                    }
                }
                Part::Bytes(slice) => {
                    self.sees(slice);
                    if self.passes() {
                        return Ok(Some(Linked::Bytes(slice)));
                    }
                }
                Part::End if self.hand == Hand::Value => {
                    self.hand = Hand::Nothing;
                    return Ok(Some(Linked::End));
                }
                Part::SequenceEnd if matches!(self.hand, Hand::Fragments(..)) => {
                    if let Hand::Fragments(true, ..) = std::mem::replace(&mut self.hand, Hand::Nothing) {
                        return Ok(Some(Linked::End));
                    }
                }
                other => self.step(other),
            }
        }
        Ok(None)
    }

    /// Says whether the data set could end here.
    pub fn finish(&self) -> Result<(), StructureError> {
        self.contents.finish()
    }

    /// In and out of sequences and items.
    fn step(&mut self, part: Part<'_>) {
        match part {
            Part::Sequence(tag) => {
                if let Some(level) = self.levels.last_mut() {
                    (level.last, level.sequence) = (Some(tag), Some((tag, 0)));
                }
            }
            Part::SequenceEnd => {
                if let Some(level) = self.levels.last_mut() {
                    level.sequence = None;
                }
            }
            Part::Item => {
                if let Some(Level { sequence: Some((_, number)), .. }) = self.levels.last_mut() {
                    *number += 1;
                }
                self.levels.push(Level::default());
            }
            Part::ItemEnd => drop(self.levels.pop()),
            _ => {}
        }
    }

    /// The first byte of fragments tells whether a table begins them: all offsets of one are even, as the lengths of fragments are (PS3.5
    /// section A.4). What is odd begins a codestream, of JPEG, JPEG 2000, RLE of one or three segments or an MPEG transport stream.
    fn sees(&mut self, slice: &[u8]) {
        if let Hand::Fragments(_, items @ 1, seen @ false) = &mut self.hand {
            *seen = true;
            *items += slice.first().map_or(0, |byte| u64::from(byte % 2));
        }
    }

    /// Whether what is in hand is given.
    fn passes(&self) -> bool {
        match self.hand {
            Hand::Nothing => false,
            Hand::Value => true,
            Hand::Fragments(wanted, items, _) => wanted && items > 1,
        }
    }

    /// Whether an element is wanted.
    fn meets(&mut self, tag: Tag, is_link: bool) -> bool {
        let before = self.levels.last_mut().and_then(|level| level.last.replace(tag));
        let left_out = is_left_out(tag, before);
        match &self.only {
            None => is_link && !left_out,
            Some(only) => {
                let at = self.levels.iter().filter_map(|level| level.sequence);
                before != Some(tag) && only.tag == tag && at.eq(only.items.iter().copied())
            }
        }
    }

    fn path(&self, tag: Tag) -> String {
        let at = self.levels.iter().filter_map(|level| level.sequence);
        let mut path: String = at.map(|(sequence, number)| format!("{:08X}/{number}/", sequence.0)).collect();
        path.push_str(&format!("{:08X}", tag.0));
        path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn element(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let tag = [((tag >> 16) as u16).to_le_bytes(), (tag as u16).to_le_bytes()].concat();
        [&tag[..], vr, &[0, 0], &(value.len() as u32).to_le_bytes(), value].concat()
    }

    fn item(content: &[u8]) -> Vec<u8> {
        [&[0xFE, 0xFF, 0x00, 0xE0][..], &(content.len() as u32).to_le_bytes(), content].concat()
    }

    /// What passes, values and fragments whole.
    fn shown(set: &[u8], only: Option<&str>, step: usize) -> Vec<(String, Vec<u8>)> {
        let mut links = Links::new(only.map(|path| Path::parse(path).unwrap()));
        let mut shown: Vec<(String, Vec<u8>)> = Vec::new();
        for mut piece in set.chunks(step) {
            while let Some(linked) = links.next(&mut piece).unwrap() {
                match linked {
                    Linked::Value(path, length) => shown.push((format!("{path} {length}"), Vec::new())),
                    Linked::Fragments(path) => shown.push((path, Vec::new())),
                    Linked::Bytes(slice) => shown.last_mut().unwrap().1.extend_from_slice(slice),
                    Linked::End => shown.last_mut().unwrap().0.push('.'),
                }
            }
        }
        links.finish().unwrap();
        shown
    }

    /// WEB-100: the values are those that the metadata links, wherever they are, and of fragments neither table nor delimiters.
    #[test]
    fn what_is_a_link_in_the_metadata_passes_and_nothing_else() {
        let long = vec![7; 1026];
        let inner = item(&[element(0x0028_3006, b"OW", &[1, 2]), element(0x0042_0011, b"OB", &long)].concat());
        let second = item(&element(0x0042_0011, b"OB", &long));
        let fragments = [item(&[0; 8]), item(&[1, 2]), item(&[]), item(&[3, 4])].concat();
        let end = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
        let pixels = [&[0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF][..], &fragments, &end].concat();
        let set = [
            element(0x0008_1140, b"SQ", &[inner, second].concat()),
            element(0x0009_1001, b"UN", &long),
            element(0x0009_1002, b"UN", &long[..1024]),
            pixels,
        ]
        .concat();
        let named = |path: &str| (format!("{path} 1026."), long.clone());
        let all = [
            named("00081140/1/00420011"),
            named("00081140/2/00420011"),
            named("00091001"),
            ("7FE00010.".into(), vec![1, 2, 3, 4]),
        ];
        for step in [1, 5, 1000, set.len()] {
            assert_eq!(shown(&set, None, step), all, "by {step}");
            assert_eq!(shown(&set, Some("7FE00010"), step), all[3..], "by {step}");
            assert_eq!(shown(&set, Some("00081140/2/00420011"), step), all[1..2], "by {step}");
            assert_eq!(shown(&set, Some("00081140/1/00283006"), step), [("00081140/1/00283006 2.".into(), vec![1, 2])]);
            assert_eq!(shown(&set, Some("00081140"), step), []);
        }
    }

    /// Against PS3.5 section A.4 the first fragment is no table: what none can begin with is pixels, and is not lost.
    #[test]
    fn the_first_fragment_passes_where_the_table_is_left_out() {
        let head = [0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
        let end = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
        let rows: [(&[u8], bool); 5] = [
            (&[0xFF, 0xD8, 0xFF, 2], true),
            (&[0xFF, 0x4F, 0xFF, 0x51], true),
            (&[1, 0, 0, 0, 64, 0, 0, 0, 9, 9], true),
            (&[], false),
            // A byte further on tells nothing.
            (&[0, 0, 0, 0, 12, 1, 0, 0], false),
        ];
        for (first, passes) in rows {
            let set = [&head[..], &item(first), &item(&[]), &item(&[4, 5]), &end].concat();
            let want = [if passes { first } else { &[] }, &[4, 5]].concat();
            for step in [1, 5, set.len()] {
                assert_eq!(shown(&set, None, step), [("7FE00010.".to_owned(), want.clone())], "{first:?} by {step}");
            }
        }
    }
}
