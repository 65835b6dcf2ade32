//! The rewriter: changes a few attributes of a data set as it streams past, and records in it what they were (IDY-030).
//!
//! Nothing is decided by looking ahead and only small values are kept, so memory is constant, and the output depends on the
//! input and the [`Edits`] alone (INV-16). The rules:
//!
//! - An item can be appended to a sequence; the items that were there stay byte for byte, and the record has them all. A sequence can be
//!   emptied, or a text in its items blanked: as many spaces as it had bytes, so that no length around it changes.
//! - An attribute of the top level that is to be changed gets its new value where it stands, or where its tag belongs if it is
//!   absent. It is written with the representation that the dictionary gives it.
//! - One item is appended to Original Attributes Sequence (0400,0561): what was changed, when, by whom, and each previous value,
//!   with zero length for what was absent (PS3.3 section C.12.1.1.9). Items that were there stay, byte for byte.
//! - Everything else is copied byte for byte, but for what would no longer be true: the group lengths of groups that change, and
//!   Length to End (0008,0001); both are retired (PS3.5 section 7.2, PS3.6).
//! - An attribute that matters and is there twice, or after its place, is an error: readers would differ about what it says.

mod edits;
mod item;
mod sequence;
mod survey;
#[cfg(test)]
mod tests;

use super::attributes::SPECIFIC_CHARACTER_SET;
use super::charset::Charset;
use super::dictionary::{self, Representation};
use super::tag::Tag;
use super::transfer_syntax::{Encoding, encoding};
use super::uid::TransferSyntaxUid;
use super::vr::Vr;
pub use super::walk::StructureError;
use super::walk::{Element, Event, Syntax, Walker};
pub use edits::{Cleared, Content, Edits, Item, Report, RewriteError};
use item::{Form, Previous, SEQUENCE_END};
pub use item::{date_time, label};
use std::collections::BTreeMap;
use std::fmt;
pub use survey::{Found, PreviousId, REQUESTS, Survey};

/// Original Attributes Sequence (PS3.3 section C.12.1.1.9).
pub const ORIGINAL_ATTRIBUTES: Tag = Tag::new(0x0400, 0x0561);
/// Instance Origin Status (PS3.3 section C.12.1): the last attribute that can be changed.
pub const INSTANCE_ORIGIN_STATUS: Tag = Tag::new(0x0400, 0x0600);
/// Length to End, which only ACR-NEMA had (PS3.6, retired).
const LENGTH_TO_END: Tag = Tag::new(0x0008, 0x0001);
/// Bytes that a value to be changed or recorded may have, before and after.
pub const LONGEST_VALUE: usize = 16 * 1024;
/// Characters that a Long String (LO) may have (PS3.5 table 6.2-1).
pub const LONGEST_LONG_STRING: usize = 64;

/// An attribute that is to be changed or recorded.
struct Planned {
    tag: Tag,
    vr: Vr,
    new: New,
    /// What stood there; none if it is absent. Of a sequence the whole element.
    old: Option<Vec<u8>>,
    /// It was met, or written where it was missing, or it is too late for it.
    passed: bool,
}

/// What becomes of a planned attribute.
enum New {
    /// It is only recorded.
    Stays,
    /// It gets this value.
    Value(Box<[u8]>),
    /// It is a sequence that gets another item.
    Item(Item),
    /// It is a sequence of which something goes.
    Cleared(Cleared),
}

/// What becomes of the value in hand.
#[derive(Clone, Copy)]
enum Value {
    Copied,
    Dropped,
    /// Kept as the old value of an attribute that is replaced.
    Replaced(usize),
    /// Kept as the old value of an attribute that stays.
    Noted(usize),
    /// Kept as the items of a sequence, to which another is appended.
    Appended(usize),
    /// Kept as the items of a sequence, of which none stays.
    Cleared(usize),
    /// A text in a sequence of which no more than its length stays.
    Blanked,
    /// Kept to tell what is text.
    Charset,
    /// The items of Original Attributes Sequence; another follows.
    Originals(Form),
}

/// How far Original Attributes Sequence is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Originals {
    Ahead,
    Within(Form),
    Done,
}

/// A rewriting in progress. Any cutting of the input into pushes gives the same output; an error is final.
pub struct Rewriter {
    walker: Walker,
    form: Form,
    planned: Vec<Planned>,
    edits: Edits,
    charset: Vec<u8>,
    value: Value,
    originals: Originals,
    /// The sequence in hand that changes, and that is gone into.
    within: Option<usize>,
    /// Open sequences and fragmented elements.
    open: u32,
    /// Bytes pushed, bytes of them that were part of something, and bytes written.
    taken: u64,
    passed: u64,
    written: u64,
    left_out: u64,
}

impl fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rewriter({:?}, {} bytes)", self.edits, self.taken)
    }
}

impl Rewriter {
    /// A rewriting of a data set in transfer syntax `ts`: any that is little endian and not deflated, native or encapsulated.
    /// Others are refused; those that [`super::transcode::Transcoder`] takes can pass through it first.
    pub fn new(ts: &TransferSyntaxUid, edits: Edits) -> Result<Self, RewriteError> {
        let form = form(ts)?;
        Ok(Self {
            walker: walker(form),
            form,
            planned: planned(&edits)?,
            edits,
            charset: Vec::new(),
            value: Value::Copied,
            originals: Originals::Ahead,
            within: None,
            open: 0,
            taken: 0,
            passed: 0,
            written: 0,
            left_out: 0,
        })
    }

    /// Takes the next bytes of the data set and appends what they become to `out`: as many, and in all of the data set no more
    /// than the new and the recorded values and 1 KiB besides.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), RewriteError> {
        self.taken += input.len() as u64;
        let before = out.len();
        while let Some(event) = self.walker.next(&mut input)? {
            self.take(event, out)?;
        }
        self.written += (out.len() - before) as u64;
        Ok(())
    }

    /// Ends the rewriting once all of the data set was pushed, and appends what is still missing; an error if the data set is
    /// not whole.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Report, RewriteError> {
        self.walker.finish()?;
        let before = out.len();
        if self.originals != Originals::Done {
            if self.open > 0 {
                return Err(StructureError::Truncated { tag: None }.into());
            }
            self.insert_before(ORIGINAL_ATTRIBUTES, out)?;
            self.insert_originals(out);
        }
        self.insert_before(Tag(u32::MAX), out)?;
        // What the walk passed over without a word is padding: zeros.
        let padding = usize::try_from(self.taken - self.passed).unwrap_or_default();
        out.resize(out.len() + padding, 0);
        self.written += (out.len() - before) as u64;
        let changed = self.planned.iter().filter(|planned| planned.changes()).map(|planned| planned.tag);
        Ok(Report { bytes: self.written, changed: changed.collect(), left_out: self.left_out })
    }

    fn take(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        self.passed += match &event {
            Event::Value(slice) => slice.len() as u64,
            Event::ValueEnd | Event::ItemEnd { delimited: false } | Event::SequenceEnd { delimited: false } => 0,
            _ => self.walker.raw_header().len() as u64,
        };
        let Some(index) = self.within else { return self.apply(event, out) };
        self.keep_event(index, &event)?;
        let from = out.len();
        self.apply(event, out)?;
        if self.planned[index].is_emptied() {
            out.truncate(from);
        }
        Ok(())
    }

    fn apply(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        match event {
            Event::Element(element) => {
                self.open += u32::from(element.length.is_none());
                if element.top {
                    return self.element(element, out);
                }
                self.value = if self.is_blanked(element) { Value::Blanked } else { Value::Copied };
                self.copy_header(out);
            }
            Event::Value(slice) => self.value(slice, out)?,
            Event::ValueEnd => self.value_end(out)?,
            Event::Fragment(_) => {
                self.value = Value::Copied;
                self.copy_header(out);
            }
            Event::Item(_) | Event::Stray => self.copy_header(out),
            Event::ItemEnd { delimited } => {
                if delimited {
                    self.copy_header(out);
                }
            }
            Event::SequenceEnd { delimited } => self.sequence_end(delimited, out),
        }
        Ok(())
    }

    /// A sequence ends. One that changes ends as it should, whatever delimiter it had; any other as it did.
    fn sequence_end(&mut self, delimited: bool, out: &mut Vec<u8>) {
        self.open = self.open.saturating_sub(1);
        let mut changed = false;
        if let (0, Originals::Within(form)) = (self.open, self.originals) {
            self.append_item(form, out);
            changed = true;
        }
        if let (0, Some(index)) = (self.open, self.within) {
            self.within = None;
            self.planned[index].append(self.form, out);
            changed = true;
        }
        match (delimited, changed) {
            (true, true) => out.extend_from_slice(&SEQUENCE_END),
            (true, false) => self.copy_header(out),
            (false, _) => {}
        }
    }

    /// An element of the data set itself.
    fn element(&mut self, element: Element, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        let tag = element.tag;
        self.value = Value::Copied;
        if self.originals == Originals::Ahead {
            self.insert_before(tag.min(ORIGINAL_ATTRIBUTES), out)?;
            if tag > ORIGINAL_ATTRIBUTES {
                self.insert_originals(out);
            }
        }
        self.insert_before(tag, out)?;
        if tag == ORIGINAL_ATTRIBUTES {
            return self.existing_originals(element, out);
        }
        if self.is_stale(tag) && element.length.is_some() {
            self.value = Value::Dropped;
            self.left_out += 1;
            return Ok(());
        }
        if tag == SPECIFIC_CHARACTER_SET {
            self.value = Value::Charset;
            self.charset.clear();
            check_text(element)?;
        }
        let Some(index) = self.planned.iter().position(|planned| planned.tag == tag) else {
            self.copy_header(out);
            return Ok(());
        };
        let planned = &mut self.planned[index];
        if std::mem::replace(&mut planned.passed, true) {
            return Err(RewriteError::Disordered { tag });
        }
        if planned.new.is_of_sequence() {
            return self.existing_sequence(index, element, out);
        }
        planned.old = Some(Vec::with_capacity(check_text(element)?));
        match planned.new {
            New::Stays => {
                self.value = Value::Noted(index);
                self.copy_header(out);
            }
            _ => self.value = Value::Replaced(index),
        }
        Ok(())
    }

    fn value(&mut self, slice: &[u8], out: &mut Vec<u8>) -> Result<(), RewriteError> {
        match self.value {
            Value::Appended(index) | Value::Cleared(index) => self.keep(index, slice)?,
            Value::Blanked => out.resize(out.len() + slice.len(), b' '),
            Value::Replaced(index) | Value::Noted(index) => {
                if let Some(old) = &mut self.planned[index].old {
                    old.extend_from_slice(slice);
                }
            }
            Value::Charset => self.charset.extend_from_slice(slice),
            Value::Copied | Value::Dropped | Value::Originals(_) => {}
        }
        if !matches!(self.value, Value::Replaced(_) | Value::Dropped | Value::Cleared(_) | Value::Blanked) {
            out.extend_from_slice(slice);
        }
        Ok(())
    }

    fn value_end(&mut self, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        match self.value {
            Value::Replaced(index) => {
                let planned = &self.planned[index];
                // What the record says was there must have been there.
                let agrees = planned.tag < ORIGINAL_ATTRIBUTES
                    || self.edits.known.get(&planned.tag).is_some_and(|known| planned.old.as_deref() == Some(known));
                if !agrees {
                    return Err(RewriteError::Disordered { tag: planned.tag });
                }
                planned.write(self.form, out);
            }
            Value::Appended(index) => self.planned[index].append(self.form, out),
            Value::Originals(form) => self.append_item(form, out),
            _ => {}
        }
        Ok(())
    }

    /// The sequence is there; the new item goes to its end.
    fn existing_originals(&mut self, element: Element, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        let tag = element.tag;
        if self.originals != Originals::Ahead {
            return Err(RewriteError::Disordered { tag });
        }
        let sequence = element.vr.is_none_or(|vr| vr == Vr::SQ || vr == Vr::UN);
        if !sequence || element.fragments {
            return Err(StructureError::Malformed { tag: Some(tag), why: "something else than a sequence" }.into());
        }
        // Inside UN everything is implicit (PS3.5 section 6.2.2, CP-246).
        let form = if element.vr == Some(Vr::UN) { Form { explicit: false } } else { self.form };
        if form != self.form && self.planned.iter().any(Planned::has_whole) {
            let why = "a record in another encoding than the sequence that it would have to hold";
            return Err(StructureError::Malformed { tag: Some(tag), why }.into());
        }
        self.originals = Originals::Within(form);
        let Some(length) = element.length else {
            self.copy_header(out);
            return Ok(());
        };
        // No length may say "undefined", and all must be even.
        let longer = u64::from(length) + self.item(form).len() as u64;
        let longer = u32::try_from(longer).ok().filter(|&longer| longer < u32::MAX && length % 2 == 0);
        let why = "a sequence that cannot take another item";
        let longer = longer.ok_or(StructureError::Malformed { tag: Some(tag), why })?;
        // Whatever the form of the header, its last four bytes are the length.
        self.copy_header(out);
        let at = out.len() - 4;
        out[at..].copy_from_slice(&longer.to_le_bytes());
        self.value = Value::Originals(form);
        Ok(())
    }

    /// Ends the sequence in hand with the new item.
    fn append_item(&mut self, form: Form, out: &mut Vec<u8>) {
        out.append(&mut self.item(form));
        self.close_record();
    }

    /// The sequence is not there, so it is made.
    fn insert_originals(&mut self, out: &mut Vec<u8>) {
        self.form.element(out, ORIGINAL_ATTRIBUTES, Vr::SQ, &self.item(self.form));
        self.close_record();
    }

    /// The record is written: what comes now comes too late.
    fn close_record(&mut self) {
        self.originals = Originals::Done;
        let recorded = self.planned.iter_mut().filter(|planned| planned.tag < ORIGINAL_ATTRIBUTES);
        recorded.for_each(|planned| planned.passed = true);
    }

    /// The item that records the change.
    fn item(&self, form: Form) -> Vec<u8> {
        let charset = Charset::declared(&self.charset);
        let previous = self.planned.iter().map(|planned| Previous {
            tag: planned.tag,
            vr: planned.vr,
            value: planned.old.as_deref().unwrap_or_default(),
            whole: planned.has_whole(),
        });
        item::item(form, previous, &charset, &self.edits)
    }

    /// Writes the new attributes that are absent and whose place is before `tag`.
    fn insert_before(&mut self, tag: Tag, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        for planned in self.planned.iter_mut().filter(|planned| planned.tag < tag && planned.changes()) {
            if !std::mem::replace(&mut planned.passed, true) {
                if self.edits.known.contains_key(&planned.tag) {
                    return Err(RewriteError::Disordered { tag: planned.tag });
                }
                planned.write(self.form, out);
            }
        }
        Ok(())
    }

    /// Tells whether the element says how long something is that gets another length.
    fn is_stale(&self, tag: Tag) -> bool {
        let changes = |group| group == ORIGINAL_ATTRIBUTES.group() || self.changes_group(group);
        tag == LENGTH_TO_END || (tag.element() == 0 && changes(tag.group()))
    }

    fn changes_group(&self, group: u16) -> bool {
        self.planned.iter().any(|planned| planned.changes() && planned.tag.group() == group)
    }

    fn copy_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.walker.raw_header());
    }
}

impl Planned {
    fn write(&self, form: Form, out: &mut Vec<u8>) {
        match &self.new {
            New::Stays => {}
            New::Value(value) => form.element(out, self.tag, self.vr, value),
            New::Item(item) => form.element(out, self.tag, self.vr, &form.item(item)),
            New::Cleared(_) => form.element(out, self.tag, self.vr, &[]),
        }
    }

    fn changes(&self) -> bool {
        !matches!(self.new, New::Stays)
    }
}

/// What is to become of which attribute, in tag order.
fn planned(edits: &Edits) -> Result<Vec<Planned>, RewriteError> {
    let mut planned = BTreeMap::new();
    planned.extend(edits.beside.iter().map(|tag| (*tag, New::Stays)));
    planned.extend(edits.values.iter().map(|(tag, value)| (*tag, New::Value(value.clone()))));
    planned.extend(edits.items.iter().map(|(tag, item)| (*tag, New::Item(item.clone()))));
    planned.extend(edits.cleared.iter().map(|(tag, what)| (*tag, New::Cleared(*what))));
    let plan = |(tag, new): (Tag, New)| {
        let vr = changeable(tag).filter(|vr| new.is_of_sequence() == (*vr == Vr::SQ));
        let vr = vr.ok_or(RewriteError::Attribute { tag })?;
        if matches!(&new, New::Value(value) if value.len() > LONGEST_VALUE) {
            return Err(RewriteError::TooLong { tag });
        }
        let known = edits.known.get(&tag).map(|known| known.to_vec());
        Ok(Planned { tag, vr, new, old: known, passed: false })
    };
    planned.into_iter().map(plan).collect()
}

/// How the elements of a transfer syntax are written, if they can be changed as they stream past.
fn form(ts: &TransferSyntaxUid) -> Result<Form, RewriteError> {
    match encoding(ts) {
        Encoding::ImplicitLittle => Ok(Form { explicit: false }),
        Encoding::ExplicitLittle | Encoding::EncapsulatedExplicitLittle => Ok(Form { explicit: true }),
        Encoding::ExplicitBig | Encoding::DeflatedExplicitLittle => Err(RewriteError::Syntax(ts.clone())),
    }
}

fn walker(form: Form) -> Walker {
    let limits = super::scanner::Limits::default();
    Walker::new(Syntax { explicit: form.explicit, big: false }, limits.depth, limits.elements)
}

/// The representation of an attribute that can be changed: a public text of a known kind, or a sequence, that stands before the
/// record, or Instance Origin Status.
fn changeable(tag: Tag) -> Option<Vr> {
    let before = tag > SPECIFIC_CHARACTER_SET && tag < ORIGINAL_ATTRIBUTES && !tag.is_private();
    let within = before || tag == INSTANCE_ORIGIN_STATUS;
    match dictionary::representation(tag) {
        // Words of one byte and a length of 16 bits: exactly the texts.
        Representation::Exactly(vr) if within && vr.word() == 1 && !vr.has_long_length() => Some(vr),
        Representation::Exactly(Vr::SQ) if before => Some(Vr::SQ),
        _ => None,
    }
}

/// The length of a value that is to be kept.
fn check_text(element: Element) -> Result<usize, RewriteError> {
    let tag = element.tag;
    let why = "a sequence where a text should be";
    let length = element.value_length().ok_or(StructureError::Malformed { tag: Some(tag), why })?;
    usize::try_from(length).ok().filter(|&length| length <= LONGEST_VALUE).ok_or(RewriteError::TooLong { tag })
}
