//! The Store Instances Response Module: what a STOW-RS answer says of each instance (PS3.18 section 10.5.3.3, Annex I).

pub mod reason;
mod write;

pub use write::{Form, Pieces};

use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SopClassUid};
use crate::dicomweb::dataset::{Dataset, Element, VR};
use crate::dicomweb::json::{self, Limits};
use crate::dicomweb::media_type::MediaType;
use crate::dicomweb::xml;

/// Retrieve URL.
pub const RETRIEVE_URL: Tag = Tag::new(0x0008, 0x1190);
/// Failed SOP Sequence.
pub const FAILED_SOP_SEQUENCE: Tag = Tag::new(0x0008, 0x1198);
/// Referenced SOP Sequence.
pub const REFERENCED_SOP_SEQUENCE: Tag = Tag::new(0x0008, 0x1199);
/// Other Failures Sequence.
pub const OTHER_FAILURES_SEQUENCE: Tag = Tag::new(0x0008, 0x119A);
/// Warning Reason.
pub const WARNING_REASON: Tag = Tag::new(0x0008, 0x1196);
/// Failure Reason.
pub const FAILURE_REASON: Tag = Tag::new(0x0008, 0x1197);
/// Referenced SOP Class UID.
pub const REFERENCED_SOP_CLASS_UID: Tag = Tag::new(0x0008, 0x1150);
/// Referenced SOP Instance UID.
pub const REFERENCED_SOP_INSTANCE_UID: Tag = Tag::new(0x0008, 0x1155);

/// The module. An instance that stands nowhere in it was not spoken of, and that is no success (WEB-040).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreResponse {
    /// Where the study can be retrieved.
    pub retrieve_url: Option<String>,
    /// Instances stored, in the order given. An instance may stand here and among the failed at once: the reader judges.
    pub referenced: Vec<Referenced>,
    /// Instances not stored.
    pub failed: Vec<Failed>,
    /// Failure reasons of parts that could not be tied to an instance.
    pub other_failures: Vec<u16>,
}

/// An instance that the server says it stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    /// SOP class, if given.
    pub sop_class: Option<SopClassUid>,
    /// SOP instance.
    pub sop_instance: InstanceUid,
    /// Where the instance can be retrieved.
    pub retrieve_url: Option<String>,
    /// Warning reason ([`reason`]), if it was stored with a change.
    pub warning_reason: Option<u16>,
}

/// An instance that the server says it did not store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// SOP class, if given.
    pub sop_class: Option<SopClassUid>,
    /// SOP instance.
    pub sop_instance: InstanceUid,
    /// Failure reason ([`reason`]); [`reason::PROCESSING_FAILURE`] if the server gave none.
    pub failure_reason: u16,
}

impl StoreResponse {
    /// Whether it says nothing at all of a request to store: any other object in JSON reads like this, an error of a proxy or of a web framework
    /// among them.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The module as a DICOM JSON object, the default form of the answer (WEB-026).
    pub fn to_json(&self) -> Vec<u8> {
        json::write_one(&self.to_dataset())
    }

    /// Reads the module from DICOM JSON: an object, or an array of objects, which are joined. Errors say what is wrong, for people.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        let sets = json::read(text, Limits::default()).map_err(|error| error.to_string())?;
        let mut whole = Self::default();
        for part in sets.iter().map(Self::from_dataset) {
            whole.retrieve_url = whole.retrieve_url.or(part.retrieve_url);
            whole.referenced.extend(part.referenced);
            whole.failed.extend(part.failed);
            whole.other_failures.extend(part.other_failures);
        }
        Ok(whole)
    }

    /// Reads the module from the Native DICOM Model in XML. Errors say what is wrong, for people.
    pub fn from_xml(text: &[u8]) -> Result<Self, String> {
        xml::read(text, Limits::default()).map(|set| Self::from_dataset(&set)).map_err(|error| error.to_string())
    }

    /// Reads an answer's body by its content type, or by its first character if there is none.
    ///
    /// `Ok(None)` for an empty body. An HTML page or any other type is an error, however it may look inside (FLT-065).
    pub fn from_body(content_type: Option<&str>, body: &[u8]) -> Result<Option<Self>, String> {
        let Some(first) = body.iter().find(|b| !b.is_ascii_whitespace()) else { return Ok(None) };
        let parsed = match content_type {
            Some(text) => match MediaType::parse(text) {
                Ok(media) if media.is_json() => Self::from_json(body),
                Ok(media) if media.is_xml() => Self::from_xml(body),
                Ok(media) => Err(format!("the answer is {}, neither DICOM JSON nor XML", media.essence())),
                Err(error) => Err(error.to_string()),
            },
            None if *first == b'<' => Self::from_xml(body),
            None => Self::from_json(body),
        };
        parsed.map(Some)
    }

    /// The module as attributes.
    pub fn to_dataset(&self) -> Dataset {
        let referenced = self.referenced.iter().map(write::referenced);
        let failed = self.failed.iter().map(write::failed);
        let other = self.other_failures.iter().map(|&reason| write::other(reason));
        let mut set = Dataset::default();
        insert_url(&mut set, self.retrieve_url.as_deref());
        for (tag, items) in [
            (REFERENCED_SOP_SEQUENCE, referenced.collect::<Vec<_>>()),
            (FAILED_SOP_SEQUENCE, failed.collect()),
            (OTHER_FAILURES_SEQUENCE, other.collect()),
        ] {
            if !items.is_empty() {
                set.insert(tag, Element::items(items));
            }
        }
        set
    }

    /// The module out of attributes.
    ///
    /// A referenced item without a valid UID names nothing and is dropped; a failed one counts among the other failures.
    pub fn from_dataset(set: &Dataset) -> Self {
        let mut module = Self { retrieve_url: url(set), ..Self::default() };
        for item in set.sequence(REFERENCED_SOP_SEQUENCE) {
            if let Some(sop_instance) = instance(item) {
                module.referenced.push(Referenced {
                    sop_class: class(item),
                    sop_instance,
                    retrieve_url: url(item),
                    warning_reason: code(item, WARNING_REASON),
                });
            }
        }
        for item in set.sequence(FAILED_SOP_SEQUENCE) {
            let failure_reason = code(item, FAILURE_REASON).unwrap_or(reason::PROCESSING_FAILURE);
            match instance(item) {
                Some(sop_instance) => {
                    module.failed.push(Failed { sop_class: class(item), sop_instance, failure_reason });
                }
                None => module.other_failures.push(failure_reason),
            }
        }
        for item in set.sequence(OTHER_FAILURES_SEQUENCE) {
            module.other_failures.push(code(item, FAILURE_REASON).unwrap_or(reason::PROCESSING_FAILURE));
        }
        module
    }
}

fn reference(sop_class: Option<&SopClassUid>, sop_instance: &InstanceUid) -> Dataset {
    let class = sop_class.map(|uid| (REFERENCED_SOP_CLASS_UID, Element::text(VR::UI, uid.as_str())));
    let instance = (REFERENCED_SOP_INSTANCE_UID, Element::text(VR::UI, sop_instance.as_str()));
    class.into_iter().chain([instance]).collect()
}

fn insert_url(set: &mut Dataset, url: Option<&str>) {
    if let Some(url) = url {
        set.insert(RETRIEVE_URL, Element::text(VR::UR, url));
    }
}

fn url(set: &Dataset) -> Option<String> {
    set.first_text(RETRIEVE_URL).map(str::to_owned)
}

fn instance(item: &Dataset) -> Option<InstanceUid> {
    InstanceUid::parse(item.first_text(REFERENCED_SOP_INSTANCE_UID)?).ok()
}

fn class(item: &Dataset) -> Option<SopClassUid> {
    SopClassUid::parse(item.first_text(REFERENCED_SOP_CLASS_UID)?).ok()
}

fn code(item: &Dataset, tag: Tag) -> Option<u16> {
    u16::try_from(item.first_number(tag)?).ok()
}

#[cfg(test)]
mod tests;
