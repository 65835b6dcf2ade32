//! The module as it is written: piece by piece, so that an answer about any number of instances costs the memory of one.

use super::{
    FAILED_SOP_SEQUENCE, FAILURE_REASON, Failed, OTHER_FAILURES_SEQUENCE, REFERENCED_SOP_SEQUENCE, Referenced,
    WARNING_REASON, insert_url, reference,
};
use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, VR};
use crate::dicomweb::media_type::{DICOM_JSON, DICOM_XML};
use crate::dicomweb::xml::creators::Creators;
use crate::dicomweb::{json, xml};
use bytes::Bytes;
use std::collections::VecDeque;

/// About so many bytes are handed out at once.
const PIECE_BYTES: usize = 32 << 10;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// DICOM JSON (PS3.18 Annex F).
    Json,
    /// The Native DICOM Model (PS3.19 Annex A).
    Xml,
}

impl Form {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => DICOM_JSON,
            Self::Xml => DICOM_XML,
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Json => Self::Xml,
            Self::Xml => Self::Json,
        }
    }
}

type Items = Box<dyn Iterator<Item = Dataset> + Send>;

/// The pieces of an answer, in order.
pub struct Pieces {
    form: Form,
    /// What stands before the sequences; taken with the first piece.
    head: Option<Dataset>,
    sequences: VecDeque<(Tag, Items)>,
    /// Items of the current sequence so far.
    items: usize,
    /// Nothing stands in the object yet.
    bare: bool,
    ended: bool,
}

impl Pieces {
    /// The module with these parts, each in the order given.
    pub fn new(
        form: Form,
        retrieve_url: Option<String>,
        stored: impl Iterator<Item = Referenced> + Send + 'static,
        refused: impl Iterator<Item = Failed> + Send + 'static,
        others: Vec<u16>,
    ) -> Self {
        let mut head = Dataset::default();
        insert_url(&mut head, retrieve_url.as_deref());
        // Tags ascend.
        let sequences: [(Tag, Items); 3] = [
            (FAILED_SOP_SEQUENCE, Box::new(refused.map(|item| failed(&item)))),
            (REFERENCED_SOP_SEQUENCE, Box::new(stored.map(|item| referenced(&item)))),
            (OTHER_FAILURES_SEQUENCE, Box::new(others.into_iter().map(other))),
        ];
        let bare = retrieve_url.is_none();
        Self { form, head: Some(head), sequences: sequences.into(), items: 0, bare, ended: false }
    }

    fn begin(&self, head: &Dataset, out: &mut Vec<u8>) {
        match self.form {
            Form::Json => {
                out.extend_from_slice(&json::write_one(head));
                // Its closing brace comes at the end.
                out.pop();
            }
            Form::Xml => {
                out.extend_from_slice(xml::write::BEGIN);
                xml::write::attributes(head, out);
            }
        }
    }

    fn item(&mut self, tag: Tag, item: &Dataset, out: &mut Vec<u8>) {
        self.items += 1;
        match (self.form, self.items) {
            (Form::Json, 1) => {
                let comma = if self.bare { "" } else { "," };
                out.extend_from_slice(format!("{comma}\"{:08X}\":{{\"vr\":\"SQ\",\"Value\":[", tag.0).as_bytes());
            }
            (Form::Json, _) => out.push(b','),
            (Form::Xml, 1) => xml::write::open(tag, VR::SQ, &Creators::default(), out),
            (Form::Xml, _) => {}
        }
        match self.form {
            Form::Json => out.extend_from_slice(&json::write_one(item)),
            Form::Xml => xml::write::item(self.items, item, out),
        }
        self.bare = false;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.items) > 0 {
            match self.form {
                Form::Json => out.extend_from_slice(b"]}"),
                Form::Xml => out.extend_from_slice(xml::write::CLOSE),
            }
        }
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = Vec::with_capacity(PIECE_BYTES / 8);
        if let Some(head) = self.head.take() {
            self.begin(&head, &mut out);
        }
        while out.len() < PIECE_BYTES {
            let Some((tag, items)) = self.sequences.front_mut() else {
                let end: &[u8] = if self.form == Form::Json { b"}" } else { xml::write::END };
                out.extend_from_slice(end);
                self.ended = true;
                break;
            };
            let tag = *tag;
            match items.next() {
                Some(item) => self.item(tag, &item, &mut out),
                None => {
                    self.close(&mut out);
                    self.sequences.pop_front();
                }
            }
        }
        Some(out.into())
    }
}

pub(super) fn referenced(item: &Referenced) -> Dataset {
    let mut set = reference(item.sop_class.as_ref(), &item.sop_instance);
    insert_url(&mut set, item.retrieve_url.as_deref());
    if let Some(reason) = item.warning_reason {
        set.insert(WARNING_REASON, Element::number(VR::US, reason.into()));
    }
    set
}

pub(super) fn failed(item: &Failed) -> Dataset {
    let mut set = reference(item.sop_class.as_ref(), &item.sop_instance);
    set.insert(FAILURE_REASON, Element::number(VR::US, item.failure_reason.into()));
    set
}

pub(super) fn other(reason: u16) -> Dataset {
    Dataset::from_iter([(FAILURE_REASON, Element::number(VR::US, reason.into()))])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::StoreResponse;
    use super::*;
    use crate::dicom::uid::{InstanceUid, SopClassUid};

    fn module(stored: usize, refused: usize, others: usize, url: bool) -> StoreResponse {
        let sop_class = SopClassUid::parse("1.2.840.10008.5.1.4.1.1.7").ok();
        let instance = |n: usize| InstanceUid::parse(&format!("1.2.{n}")).unwrap();
        StoreResponse {
            retrieve_url: url.then(|| "https://b/studies/1.2?a&b".to_owned()),
            referenced: (0..stored)
                .map(|n| Referenced {
                    sop_class: sop_class.clone(),
                    sop_instance: instance(n),
                    retrieve_url: Some(format!("https://b/{n}")),
                    warning_reason: (n % 2 == 0).then_some(0xB000),
                })
                .collect(),
            failed: (0..refused)
                .map(|n| Failed { sop_class: None, sop_instance: instance(n), failure_reason: 0xA900 })
                .collect(),
            other_failures: vec![0xC000; others],
        }
    }

    #[test]
    fn what_is_written_in_pieces_is_the_module() {
        for (stored, refused, others, url) in [
            (0, 0, 0, false),
            (1, 0, 0, true),
            (0, 1, 0, false),
            (0, 0, 1, true),
            (2, 3, 4, false),
            (2000, 50, 3, true),
        ] {
            let whole = module(stored, refused, others, url);
            let pieces = |form| {
                let whole = whole.clone();
                let (stored, refused) = (whole.referenced.into_iter(), whole.failed.into_iter());
                Pieces::new(form, whole.retrieve_url, stored, refused, whole.other_failures)
            };
            let text = pieces(Form::Json).collect::<Vec<_>>();
            assert!(text.iter().all(|piece| piece.len() < PIECE_BYTES + 1024), "memory stays bounded");
            let text = text.concat();
            assert_eq!(StoreResponse::from_body(Some(Form::Json.media_type()), &text).unwrap().unwrap(), whole);
            assert_eq!(text, whole.to_json(), "byte for byte what is written at once");
            let text = pieces(Form::Xml).collect::<Vec<_>>().concat();
            assert_eq!(StoreResponse::from_body(Some(Form::Xml.media_type()), &text).unwrap().unwrap(), whole);
        }
    }
}
