//! The Part 10 envelope: what stands before a data set in a file or a STOW-RS part (PS3.10 section 7).
//!
//! What others wrote there is read for its three UIDs and thrown away; what we send is always our own (DIM-041).

mod meta_parser;
#[cfg(test)]
mod tests;

use super::ae_title::AeTitle;
use super::tag::Tag;
use super::uid::{InstanceUid, SopClassUid, TransferSyntaxUid};
use super::vr::Vr;
pub use meta_parser::{Found, MAX_META_BYTES, MetaParser, Part10Error, ReceivedMeta};

/// Our Implementation Class UID, in the file meta information and in associations (PS3.7 section D.3.3.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.210818157937137457167148082208393383417";
/// Our Implementation Version Name, at most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str = "WEYBRIDGE_0_1";

/// The four bytes after the preamble.
const MAGIC: &[u8; 4] = b"DICM";
/// The preamble's bytes.
const PREAMBLE: usize = 128;

/// Media Storage SOP Class UID.
const MEDIA_STORAGE_SOP_CLASS_UID: Tag = Tag::new(0x0002, 0x0002);
/// Media Storage SOP Instance UID.
const MEDIA_STORAGE_SOP_INSTANCE_UID: Tag = Tag::new(0x0002, 0x0003);
/// Transfer Syntax UID.
const TRANSFER_SYNTAX_UID: Tag = Tag::new(0x0002, 0x0010);

/// What the file meta information says of the data set behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// Media Storage SOP Class UID (0002,0002).
    pub sop_class: SopClassUid,
    /// Media Storage SOP Instance UID (0002,0003).
    pub sop_instance: InstanceUid,
    /// Transfer Syntax UID (0002,0010).
    pub transfer_syntax: TransferSyntaxUid,
}

/// Everything that stands before the data set in a file of ours: a preamble of zeros, `DICM`, and group 0002 (DIM-041;
/// PS3.10 section 7.1). The same input always gives the same bytes.
pub fn prefix(meta: &FileMeta) -> Vec<u8> {
    prefix_with(meta, &Titles::default())
}

/// The AE titles that stand in a file which stays with us (PS3.10 section 7.1; DIM-042). They are no part of the instance,
/// and nothing that is sent on carries them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Titles {
    /// Source Application Entity Title (0002,0016): who wrote the file.
    pub source: Option<AeTitle>,
    /// Sending Application Entity Title (0002,0017): who sent the instance to us.
    pub sending: Option<AeTitle>,
    /// Receiving Application Entity Title (0002,0018): the title of ours that it was sent to.
    pub receiving: Option<AeTitle>,
}

/// As [`prefix`], with the titles.
pub fn prefix_with(meta: &FileMeta, titles: &Titles) -> Vec<u8> {
    let mut group = Vec::with_capacity(256);
    element(&mut group, Tag::new(0x0002, 0x0001), Vr::OB, &[0, 1]);
    element(&mut group, MEDIA_STORAGE_SOP_CLASS_UID, Vr::UI, meta.sop_class.as_str().as_bytes());
    element(&mut group, MEDIA_STORAGE_SOP_INSTANCE_UID, Vr::UI, meta.sop_instance.as_str().as_bytes());
    element(&mut group, TRANSFER_SYNTAX_UID, Vr::UI, meta.transfer_syntax.as_str().as_bytes());
    element(&mut group, Tag::new(0x0002, 0x0012), Vr::UI, IMPLEMENTATION_CLASS_UID.as_bytes());
    element(&mut group, Tag::new(0x0002, 0x0013), Vr::SH, IMPLEMENTATION_VERSION_NAME.as_bytes());
    for (number, title) in [(0x0016, &titles.source), (0x0017, &titles.sending), (0x0018, &titles.receiving)] {
        if let Some(title) = title {
            element(&mut group, Tag::new(0x0002, number), Vr::AE, title.as_str().as_bytes());
        }
    }

    let mut out = Vec::with_capacity(PREAMBLE + MAGIC.len() + 12 + group.len());
    out.resize(PREAMBLE, 0);
    out.extend_from_slice(MAGIC);
    element(&mut out, Tag::new(0x0002, 0x0000), Vr::UL, &(group.len() as u32).to_le_bytes());
    out.extend_from_slice(&group);
    out
}

/// Writes one element in Explicit VR Little Endian, padded to an even length: a UID with a NUL, a text with a space.
fn element(out: &mut Vec<u8>, tag: Tag, vr: Vr, value: &[u8]) {
    let padded = value.len() + value.len() % 2;
    out.extend_from_slice(&tag.group().to_le_bytes());
    out.extend_from_slice(&tag.element().to_le_bytes());
    out.extend_from_slice(&vr.0);
    if vr.has_long_length() {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(padded as u32).to_le_bytes());
    } else {
        out.extend_from_slice(&(padded as u16).to_le_bytes());
    }
    out.extend_from_slice(value);
    if padded > value.len() {
        out.push(if vr == Vr::UI { 0 } else { b' ' });
    }
}
