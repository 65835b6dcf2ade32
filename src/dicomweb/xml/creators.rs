//! Who reserved which block of private attributes: the Native DICOM Model names the creator and leaves the block out (PS3.19 table
//! A.1.5-2).

use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, VR, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The longest name of a creator (LO).
const LONGEST: usize = 64;

/// The block that an element is of; none if it is standard, or stands in no block (PS3.5 section 7.8.1).
fn block(tag: Tag) -> Option<u8> {
    let [block, _] = tag.element().to_be_bytes();
    (tag.is_private() && block >= 0x10).then_some(block)
}

/// The block that an attribute reserves, and for whom.
fn reserved(tag: Tag, element: &Element) -> Option<(u8, &str)> {
    let block = u8::try_from(tag.element()).ok().filter(|block| tag.is_private() && *block >= 0x10)?;
    match &element.value {
        Value::Text(names) => match names.as_slice() {
            [Some(name)] if name.chars().count() <= LONGEST => Some((block, name.trim())),
            _ => None,
        },
        _ => None,
    }
}

/// The creators of one group, which stand before what they reserve.
#[derive(Debug, Default)]
pub(in crate::dicomweb) struct Creators {
    group: u16,
    blocks: BTreeMap<u8, String>,
}

impl Creators {
    /// Notes the next attribute in ascending order.
    pub(in crate::dicomweb) fn note(&mut self, tag: Tag, element: &Element) {
        let Some((block, name)) = reserved(tag, element) else { return };
        if self.group != tag.group() {
            (self.group, self.blocks) = (tag.group(), BTreeMap::new());
        }
        // By its creator alone a second block of his could not be told from the first.
        if !name.is_empty() && !self.blocks.values().any(|earlier| earlier == name) {
            self.blocks.insert(block, name.to_owned());
        }
    }

    /// The tag as the model writes it, and the creator that stands beside it; the tag itself where none is known.
    pub(in crate::dicomweb) fn written(&self, tag: Tag) -> (Tag, Option<&str>) {
        let name = block(tag).filter(|_| self.group == tag.group()).and_then(|block| self.blocks.get(&block));
        match name {
            Some(name) => (Tag::new(tag.group(), tag.element() & 0xFF), Some(name)),
            None => (tag, None),
        }
    }
}

/// Why an attribute of a creator has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All blocks of the group are taken.
    Full,
    /// There is one already.
    Twice,
}

/// Puts attributes that name their creators into the blocks of these, wherever in the data set they are reserved; who has reserved
/// none gets the first that is free.
pub(super) fn place(set: &mut Dataset, named: Vec<(String, Tag, Element)>) -> Result<(), NoPlace> {
    if named.is_empty() {
        return Ok(());
    }
    let (mut of, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (tag, element) in set.iter().filter(|(tag, _)| tag.is_private()) {
        if let Some((block, name)) = reserved(tag, element) {
            of.entry((tag.group(), name.to_owned())).or_insert(block);
        }
        let own = u8::try_from(tag.element()).ok();
        taken.extend(own.or(block(tag)).map(|block| (tag.group(), block)));
    }
    for (name, tag, element) in named {
        let group = tag.group();
        let block = match of.get(&(group, name.clone())) {
            Some(block) => *block,
            None => {
                let free = (0x10..=u8::MAX).find(|block| !taken.contains(&(group, *block))).ok_or(NoPlace::Full)?;
                set.insert(Tag::new(group, free.into()), Element::text(VR::LO, &name));
                taken.insert((group, free));
                of.insert((group, name), free);
                free
            }
        };
        if set.insert(Tag::new(group, u16::from(block) << 8 | (tag.element() & 0xFF)), element).is_some() {
            return Err(NoPlace::Twice);
        }
    }
    Ok(())
}
