//! The data dictionary of PS3.6, as the pinned dicom crates carry it: keywords and value representations.

use super::tag::Tag;
use super::vr::Vr;
use ::dicom::core::Tag as CrateTag;
use ::dicom::core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use ::dicom::dictionary_std::StandardDataDictionary;

/// Which dictionary the representations come from; recorded with everything that was re-encoded by it (WEB-002).
pub const VERSION: &str = "dicom-dictionary-std 0.10.1";

/// What the dictionary says of the representation of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// Always this one.
    Exactly(Vr),
    /// US or SS, as Pixel Representation (0028,0103) says.
    ShortOfPixel,
    /// OB or OW, as the bits of a waveform, overlay or curve sample say.
    BytesOrWords,
    /// OB or OW: pixel data.
    PixelData,
    /// US or OW: lookup table data.
    LookupTable,
    /// Not in the dictionary: a private attribute, or one of a later edition.
    Unknown,
}

/// The representation of `tag`; private attributes are unknown, but for private creators (LO) and group lengths (UL).
pub fn representation(tag: Tag) -> Representation {
    if tag.element() == 0 {
        return Representation::Exactly(Vr::UL); // PS3.5 section 7.2
    }
    if tag.is_private() {
        let creator = (0x0010..=0x00FF).contains(&tag.element()); // PS3.5 section 7.8.1
        return if creator { Representation::Exactly(Vr::LO) } else { Representation::Unknown };
    }
    match entry(tag).map(|entry| entry.vr()) {
        Some(VirtualVr::Exact(vr)) => Vr::from_letters(vr.to_string()).map_or(Representation::Unknown, exactly),
        Some(VirtualVr::Xs) => Representation::ShortOfPixel,
        Some(VirtualVr::Ox) => Representation::BytesOrWords,
        Some(VirtualVr::Px) => Representation::PixelData,
        Some(VirtualVr::Lt) => Representation::LookupTable,
        Some(_) | None => Representation::Unknown,
    }
}

fn exactly(vr: Vr) -> Representation {
    if vr == Vr::UN { Representation::Unknown } else { Representation::Exactly(vr) }
}

/// The keyword of a standard attribute, such as `PatientID`.
pub fn keyword(tag: Tag) -> Option<&'static str> {
    if tag.is_private() {
        return None;
    }
    entry(tag).map(|entry| entry.alias())
}

/// The tag of the standard attribute with this keyword; of a repeating one, that of its first group.
pub fn by_keyword(keyword: &str) -> Option<Tag> {
    StandardDataDictionary.by_name(keyword).map(|entry| {
        let CrateTag(group, element) = entry.tag();
        Tag::new(group, element)
    })
}

fn entry(tag: Tag) -> Option<&'static ::dicom::core::dictionary::DataDictionaryEntryRef<'static>> {
    static DICTIONARY: StandardDataDictionary = StandardDataDictionary;
    DICTIONARY.by_tag(CrateTag(tag.group(), tag.element()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::attributes::INDEXED;
    use super::*;

    #[test]
    fn representations_come_from_the_dictionary() {
        use Representation::{BytesOrWords, Exactly, LookupTable, PixelData, ShortOfPixel, Unknown};
        let rows = [
            (0x0010_0020, Exactly(Vr::LO)),
            (0x0008_1140, Exactly(Vr::SQ)),
            (0x0028_0106, ShortOfPixel),
            (0x0028_3006, LookupTable),
            (0x5400_1010, BytesOrWords),
            (0x6002_3000, BytesOrWords),
            (0x6000_0010, Exactly(Vr::US)),
            (0x7FE0_0010, PixelData),
            (0x0009_0010, Exactly(Vr::LO)),
            (0x0009_1001, Unknown),
            (0x6001_3000, Unknown),
            (0x0009_0000, Exactly(Vr::UL)),
            (0x0008_0000, Exactly(Vr::UL)),
            (0x0008_FFF0, Unknown),
            (0x0020_31FF, Exactly(Vr::CS)),
        ];
        for (tag, want) in rows {
            assert_eq!(representation(Tag(tag)), want, "{}", Tag(tag));
        }
    }

    #[test]
    fn the_indexed_attributes_agree_with_the_dictionary() {
        for indexed in INDEXED {
            assert_eq!(keyword(indexed.tag), Some(indexed.keyword));
            assert_eq!(by_keyword(indexed.keyword), Some(indexed.tag));
            assert_eq!(representation(indexed.tag), Representation::Exactly(Vr::from_letters(indexed.vr).unwrap()));
        }
        assert!(INDEXED.is_sorted_by_key(|indexed| indexed.tag));
        assert_eq!(keyword(Tag::new(0x0009, 0x0010)), None);
        assert_eq!(by_keyword("NoSuchKeyword"), None);
    }

    #[test]
    fn the_version_is_that_of_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        let (name, version) = VERSION.split_once(' ').unwrap();
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")));
    }
}
