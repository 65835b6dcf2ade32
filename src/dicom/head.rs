//! What the gateway knows of an instance without reading its pixels.

use super::charset::Charset;
use super::tag::Tag;
use super::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use std::collections::BTreeMap;
use std::fmt;

/// The identifying head of one data set, as the scanner found it in passing.
///
/// `Debug` prints UIDs only: everything else may be a patient's (SEC-010).
#[derive(Clone)]
pub struct Head {
    /// SOP Class UID (0008,0016) of the data set.
    pub sop_class: SopClassUid,
    /// SOP Instance UID (0008,0018) of the data set.
    pub sop_instance: InstanceUid,
    /// Study Instance UID (0020,000D).
    pub study: StudyUid,
    /// Series Instance UID (0020,000E).
    pub series: SeriesUid,
    /// The transfer syntax in which the bytes are encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// The indexed attributes that are present.
    pub attributes: Attributes,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} of study {})", self.sop_instance, self.study)
    }
}

/// Indexed attribute values as raw bytes, little-endian order not applied (they are all text), padding kept as received.
///
/// `Debug` prints nothing of the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Value bytes by tag; only top-level attributes of [`super::attributes::INDEXED`].
    pub values: BTreeMap<Tag, Box<[u8]>>,
    /// The character set that (0008,0005) declares, or the default.
    pub charset: Charset,
}

impl Attributes {
    /// The decoded text of an attribute, padding removed, several values still joined by backslashes; `None` if absent.
    pub fn text(&self, tag: Tag) -> Option<String> {
        self.values.get(&tag).map(|bytes| self.charset.decode(bytes).trim_matches([' ', '\0']).to_owned())
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({} present)", self.values.len())
    }
}
