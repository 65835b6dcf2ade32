//! What the gateway knows of an instance without reading its pixels.

use super::attributes::INDEXED;
use super::charset::Charset;
use super::other_ids::OtherId;
use super::requests::Request;
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

/// Indexed attribute values as raw bytes, padding kept as received; numbers (US) as text.
///
/// `Debug` prints nothing of the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Value bytes by tag; only top-level attributes of [`super::attributes::INDEXED`].
    pub values: BTreeMap<Tag, Box<[u8]>>,
    /// The character set that (0008,0005) declares, or the default.
    pub charset: Charset,
    /// The patient's further numbers, from Other Patient IDs Sequence (0010,1002), 16 at most (IDY-041).
    pub other_ids: Vec<OtherId>,
    /// The requests for which the series was made, from Request Attributes Sequence (0040,0275), 16 at most.
    pub requests: Vec<Request>,
}

impl Attributes {
    /// The decoded text of an attribute, padding removed, several values still joined by backslashes; `None` if absent.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let bytes = self.values.get(&tag)?;
        let indexed = INDEXED.iter().find(|indexed| indexed.tag == tag);
        let text = match indexed.map(|indexed| indexed.vr) {
            Some("PN") => self.charset.decode_name(bytes),
            Some("LO" | "SH") => self.charset.decode(bytes),
            // Outside the reach of the character set (PS3.5 section 6.1.2.3).
            _ => Charset::default().decode(bytes),
        };
        Some(text.trim_matches([' ', '\0']).to_owned())
    }

    /// The values of an attribute, each decoded and without padding; none if it is absent or empty.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        let text = self.text(tag).filter(|text| !text.is_empty());
        text.iter().flat_map(|text| text.split('\\')).map(|value| value.trim_matches([' ', '\0']).to_owned()).collect()
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({} present)", self.values.len())
    }
}
