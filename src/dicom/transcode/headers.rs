//! The headers of elements and items in little endian (PS3.5 sections 7.1 and 7.5).

use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;

/// The tag of an item (FFFE,E000).
pub(super) const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
/// The tag of an item's delimiter (FFFE,E00D).
pub(super) const ITEM_END: [u8; 4] = [0xFE, 0xFF, 0x0D, 0xE0];
/// The tag of a sequence's delimiter (FFFE,E0DD).
pub(super) const SEQUENCE_END: [u8; 4] = [0xFE, 0xFF, 0xDD, 0xE0];

/// Writes an element's header in Explicit VR Little Endian (PS3.5 section 7.1.2).
pub(super) fn write_header(out: &mut Vec<u8>, tag: Tag, vr: Vr, length: u32) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    out.extend_from_slice(&vr.0);
    if vr.has_long_length() {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        out.extend_from_slice(&(length as u16).to_le_bytes());
    }
}

/// Writes an element's header in Implicit VR Little Endian (PS3.5 section 7.1.3).
pub(super) fn write_implicit_header(out: &mut Vec<u8>, tag: Tag, length: u32) {
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

/// Writes the header of an item, or a delimiter.
pub(super) fn write_item(out: &mut Vec<u8>, tag: [u8; 4], length: u32) {
    out.extend_from_slice(&tag);
    out.extend_from_slice(&length.to_le_bytes());
}
