//! Another item for a sequence that stands in the data set: what was there goes on as it is, and is kept for the record.

use super::super::vr::Vr;
use super::super::walk::{Element, StructureError};
use super::item::Form;
use super::{New, Planned, RewriteError, Rewriter, Value};

/// Bytes that a sequence may have which gets another item, since it is recorded whole.
const LONGEST_SEQUENCE: usize = 64 * 1024;

impl Rewriter {
    /// The sequence is there; the item goes to its end.
    pub(super) fn existing_sequence(
        &mut self,
        index: usize,
        element: Element,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        let tag = element.tag;
        let malformed = |why| StructureError::Malformed { tag: Some(tag), why };
        if element.vr.is_some_and(|vr| vr != Vr::SQ) || element.fragments {
            return Err(malformed("something else than a sequence").into());
        }
        self.planned[index].old = Some(self.walker.raw_header().to_vec());
        let Some(length) = element.length else {
            self.appending = Some(index);
            self.copy_header(out);
            return Ok(());
        };
        if length as usize > LONGEST_SEQUENCE {
            return Err(RewriteError::TooLong { tag });
        }
        let longer = u64::from(length) + self.planned[index].item(self.form).len() as u64;
        let longer = u32::try_from(longer).ok().filter(|_| length % 2 == 0);
        let longer = longer.ok_or(malformed("a sequence that cannot take another item"))?;
        self.copy_header(out);
        let at = out.len() - 4;
        out[at..].copy_from_slice(&longer.to_le_bytes());
        self.value = Value::Appended(index);
        Ok(())
    }

    /// The sequence without a length ends here; its delimiter follows.
    pub(super) fn end_of_appending(&mut self, index: usize, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        self.appending = None;
        self.planned[index].append(self.form, out);
        let delimiter = self.walker.raw_header().to_vec();
        self.keep(index, &delimiter)
    }

    /// Keeps bytes of a sequence for the record.
    pub(super) fn keep(&mut self, index: usize, bytes: &[u8]) -> Result<(), RewriteError> {
        let planned = &mut self.planned[index];
        let old = planned.old.get_or_insert_default();
        old.extend_from_slice(bytes);
        if old.len() > LONGEST_SEQUENCE { Err(RewriteError::TooLong { tag: planned.tag }) } else { Ok(()) }
    }
}

impl Planned {
    /// Whether what stood there is kept as a whole element.
    pub(super) fn has_whole(&self) -> bool {
        matches!(self.new, New::Item(_)) && self.old.is_some()
    }

    pub(super) fn append(&self, form: Form, out: &mut Vec<u8>) {
        out.append(&mut self.item(form));
    }

    fn item(&self, form: Form) -> Vec<u8> {
        match &self.new {
            New::Item(item) => form.item(item),
            New::Stays | New::Value(_) => Vec::new(),
        }
    }
}
