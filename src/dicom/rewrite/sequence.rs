//! Sequences that change as the data set streams past: another item at the end, all items gone, or one text in them blanked. What each
//! was is kept for the record.

use super::super::vr::Vr;
use super::super::walk::{Element, Event, StructureError};
use super::edits::Cleared;
use super::item::{Form, SEQUENCE_END};
use super::{New, Planned, RewriteError, Rewriter, Value};

/// Bytes that a sequence may have which changes, since it is recorded whole.
const LONGEST_SEQUENCE: usize = 64 * 1024;

impl Rewriter {
    /// The sequence is there.
    pub(super) fn existing_sequence(
        &mut self,
        index: usize,
        element: Element,
        out: &mut Vec<u8>,
    ) -> Result<(), RewriteError> {
        let tag = element.tag;
        let cleared = matches!(self.planned[index].new, New::Cleared(_));
        // What is only taken away may be written as UN too (PS3.5 section 6.2.2).
        let sequence = element.vr.is_none_or(|vr| vr == Vr::SQ || (cleared && vr == Vr::UN));
        if !sequence || element.fragments {
            let why = "something else than a sequence";
            return Err(StructureError::Malformed { tag: Some(tag), why }.into());
        }
        self.planned[index].old = Some(self.walker.raw_header().to_vec());
        let Some(length) = element.length else {
            self.within = Some(index);
            self.sequence_header(index, out);
            return Ok(());
        };
        if length as usize > LONGEST_SEQUENCE {
            return Err(RewriteError::TooLong { tag });
        }
        match self.planned[index].new {
            New::Cleared(Cleared::Text(_)) => {
                self.copy_header(out);
                self.walker.descend()?;
                self.open += 1;
                self.within = Some(index);
            }
            New::Cleared(Cleared::All) => {
                self.sequence_header(index, out);
                self.value = Value::Cleared(index);
            }
            _ => self.longer(index, length, out)?,
        }
        Ok(())
    }

    /// Its header, or all that stays of it.
    fn sequence_header(&mut self, index: usize, out: &mut Vec<u8>) {
        match self.planned[index].is_emptied() {
            true => self.planned[index].write(self.form, out),
            false => self.copy_header(out),
        }
    }

    /// The sequence has a length, and gets another item.
    fn longer(&mut self, index: usize, length: u32, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        let planned = &self.planned[index];
        let longer = u64::from(length) + planned.item(self.form).len() as u64;
        let longer = u32::try_from(longer).ok().filter(|_| length.is_multiple_of(2));
        let why = "a sequence that cannot take another item";
        let longer = longer.ok_or(StructureError::Malformed { tag: Some(planned.tag), why })?;
        self.copy_header(out);
        let at = out.len() - 4;
        out[at..].copy_from_slice(&longer.to_le_bytes());
        self.value = Value::Appended(index);
        Ok(())
    }

    /// An element within the sequence in hand: whether its value is to be blanked.
    pub(super) fn is_blanked(&self, element: Element) -> bool {
        let of = self.within.map(|index| &self.planned[index].new);
        matches!(of, Some(New::Cleared(Cleared::Text(text))) if *text == element.tag)
            && self.open == 1
            && element.value_length().is_some()
    }

    /// Keeps what the walk met within a sequence as it stood, but for an item's delimiter in the place of a sequence's, which is as long.
    pub(super) fn keep_event(&mut self, index: usize, event: &Event<'_>) -> Result<(), RewriteError> {
        match event {
            Event::Value(slice) => self.keep(index, slice),
            Event::ValueEnd | Event::ItemEnd { delimited: false } | Event::SequenceEnd { delimited: false } => Ok(()),
            Event::SequenceEnd { delimited: true } => self.keep(index, &SEQUENCE_END),
            _ => {
                let header = self.walker.raw_header().to_vec();
                self.keep(index, &header)
            }
        }
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
    /// Whether it is a sequence, and what stood there is kept as a whole element.
    pub(super) fn has_whole(&self) -> bool {
        self.new.is_of_sequence() && self.old.is_some()
    }

    /// Whether it is a sequence of which no item stays.
    pub(super) fn is_emptied(&self) -> bool {
        matches!(self.new, New::Cleared(Cleared::All))
    }

    pub(super) fn append(&self, form: Form, out: &mut Vec<u8>) {
        out.append(&mut self.item(form));
    }

    fn item(&self, form: Form) -> Vec<u8> {
        match &self.new {
            New::Item(item) => form.item(item),
            New::Stays | New::Value(_) | New::Cleared(_) => Vec::new(),
        }
    }
}

impl New {
    /// Whether it is about a sequence.
    pub(super) fn is_of_sequence(&self) -> bool {
        matches!(self, Self::Item(_) | Self::Cleared(_))
    }
}
