//! What stands in a data set that may have to be changed: read from its head, before anything is decided.

use super::super::attributes::{
    ACCESSION_NUMBER, ADMISSION_ID, ISSUER_OF_PATIENT_ID, MEDICAL_RECORD_LOCATOR, OTHER_PATIENT_IDS,
    OTHER_PATIENT_NUMBERS, PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_NAME, PATIENT_SEX, REFERENCED_REQUESTS,
    REQUEST_ATTRIBUTES, SERVICE_EPISODE_ID, SPECIFIC_CHARACTER_SET,
};
use super::super::charset::Charset;
use super::super::head::Attributes;
use super::super::tag::Tag;
use super::super::uid::TransferSyntaxUid;
use super::super::walk::{Element, Event, Walker};
use super::item::{MODIFIED_ATTRIBUTES, MODIFYING_SYSTEM, label};
use super::{INSTANCE_ORIGIN_STATUS, ORIGINAL_ATTRIBUTES, RewriteError, check_text, form, walker};
use std::collections::BTreeSet;
use std::fmt;

/// Attributes of the top level that are read.
const READ: &[Tag] = &[
    SPECIFIC_CHARACTER_SET,
    ACCESSION_NUMBER,
    PATIENT_NAME,
    PATIENT_ID,
    ISSUER_OF_PATIENT_ID,
    PATIENT_BIRTH_DATE,
    PATIENT_SEX,
    OTHER_PATIENT_NUMBERS,
    MEDICAL_RECORD_LOCATOR,
    ADMISSION_ID,
    SERVICE_EPISODE_ID,
    INSTANCE_ORIGIN_STATUS,
];

/// Sequences of the top level whose items may each have an Accession Number of their own.
pub const REQUESTS: [Tag; 2] = [REQUEST_ATTRIBUTES, REFERENCED_REQUESTS];

/// Whether an element of the top level is read.
fn is_read(tag: Tag) -> bool {
    READ.contains(&tag) || tag == OTHER_PATIENT_IDS || REQUESTS.contains(&tag)
}

/// What a survey found. `Debug` prints no values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The attributes that identify patient and order, as far as they are present.
    pub attributes: Attributes,
    /// The Patient ID that stood here before this site changed it, as the last item of Original Attributes Sequence
    /// (0400,0561) whose Modifying System is this site says; none if there is no such item.
    pub before: Option<PreviousId>,
    /// Of Other Patient IDs Sequence whether it has items, and of [`REQUESTS`] whether an item has an Accession Number: those that do.
    pub filled: BTreeSet<Tag>,
}

/// A Patient ID as raw bytes, padding kept. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct PreviousId(pub Box<[u8]>);

impl fmt::Debug for PreviousId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreviousId")
    }
}

/// The value in hand, if it is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    Attribute(Tag),
    System,
    PatientId,
    Accession(Tag),
}

/// A survey in progress: reads the head of a data set up to Instance Origin Status (0400,0600).
pub struct Survey {
    walker: Walker,
    system: String,
    found: Found,
    /// The open sequences, from the data set inwards.
    path: Vec<Tag>,
    keep: Keep,
    value: Vec<u8>,
    /// Of the item in hand: who made it, and the Patient ID in it.
    item: (Vec<u8>, Option<Box<[u8]>>),
    done: bool,
    /// It takes what comes after, too, in which nothing may stand that is read.
    guards: bool,
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Survey({})", if self.done { "done" } else { "in progress" })
    }
}

impl Survey {
    /// A survey of a data set that [`super::Rewriter`] could take; `system` is this site, as in [`super::Edits::system`].
    pub fn new(ts: &TransferSyntaxUid, system: &str) -> Result<Self, RewriteError> {
        Ok(Self {
            walker: walker(form(ts)?),
            system: label(system),
            found: Found::default(),
            path: Vec::new(),
            keep: Keep::Nothing,
            value: Vec::new(),
            item: Default::default(),
            done: false,
            guards: false,
        })
    }

    /// The same that takes all of the data set, and refuses what it reads where that stands after Instance Origin Status: out of
    /// order (PS3.5 section 7.1), it would have no part in what is decided.
    pub fn guarding(self) -> Self {
        Self { guards: true, ..self }
    }

    /// Takes the next bytes; true once all has been read, so that no more are needed unless it is [`Self::guarding`].
    pub fn push(&mut self, mut input: &[u8]) -> Result<bool, RewriteError> {
        while !self.done || self.guards {
            match self.walker.next(&mut input)? {
                Some(event) => self.take(event)?,
                None => break,
            }
        }
        Ok(self.done)
    }

    /// What was found, once [`Self::push`] said that it has seen all or the whole data set was pushed.
    pub fn finish(mut self) -> Result<Found, RewriteError> {
        if !self.done || self.guards {
            self.walker.finish()?;
        }
        let charset = self.found.attributes.values.get(&SPECIFIC_CHARACTER_SET);
        self.found.attributes.charset = charset.map(|value| Charset::declared(value)).unwrap_or_default();
        Ok(self.found)
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), RewriteError> {
        match event {
            Event::Element(element) => self.element(element)?,
            Event::Value(slice) if self.keep != Keep::Nothing => self.value.extend_from_slice(slice),
            Event::ValueEnd => self.value_end()?,
            Event::Item(_) if self.path == [ORIGINAL_ATTRIBUTES] => self.item = Default::default(),
            Event::Item(_) if self.path == [OTHER_PATIENT_IDS] => {
                self.found.filled.insert(OTHER_PATIENT_IDS);
            }
            Event::ItemEnd { .. } if self.path == [ORIGINAL_ATTRIBUTES] => self.item_end(),
            Event::SequenceEnd { .. } => {
                self.path.pop();
            }
            _ => {}
        }
        Ok(())
    }

    fn element(&mut self, element: Element) -> Result<(), RewriteError> {
        let tag = element.tag;
        self.done |= element.top && tag > INSTANCE_ORIGIN_STATUS;
        if self.done {
            return match element.top && is_read(tag) {
                true => Err(RewriteError::Disordered { tag }),
                false => Ok(()),
            };
        }
        self.value.clear();
        self.keep = match self.path[..] {
            [] if READ.contains(&tag) => Keep::Attribute(tag),
            [ORIGINAL_ATTRIBUTES] if tag == MODIFYING_SYSTEM => Keep::System,
            [ORIGINAL_ATTRIBUTES, MODIFIED_ATTRIBUTES] if tag == PATIENT_ID => Keep::PatientId,
            [of] if REQUESTS.contains(&of) && tag == ACCESSION_NUMBER => Keep::Accession(of),
            _ => Keep::Nothing,
        };
        if self.keep != Keep::Nothing {
            check_text(element)?;
        }
        let goes_on = match self.path[..] {
            [] => tag == ORIGINAL_ATTRIBUTES || tag == OTHER_PATIENT_IDS || REQUESTS.contains(&tag),
            [ORIGINAL_ATTRIBUTES] => tag == MODIFIED_ATTRIBUTES,
            _ => false,
        };
        if goes_on || element.length.is_none() {
            self.path.push(tag);
        }
        if goes_on { Ok(self.walker.descend()?) } else { Ok(()) }
    }

    fn value_end(&mut self) -> Result<(), RewriteError> {
        let value = std::mem::take(&mut self.value);
        match std::mem::replace(&mut self.keep, Keep::Nothing) {
            Keep::Nothing => {}
            Keep::Attribute(tag) => {
                if self.found.attributes.values.insert(tag, value.into()).is_some() {
                    return Err(RewriteError::Disordered { tag });
                }
            }
            Keep::System => self.item.0 = value,
            Keep::PatientId => self.item.1 = Some(value.into()),
            Keep::Accession(of) => {
                if value.iter().any(|byte| !matches!(byte, b' ' | 0)) {
                    self.found.filled.insert(of);
                }
            }
        }
        Ok(())
    }

    fn item_end(&mut self) {
        let (system, id) = std::mem::take(&mut self.item);
        let ours = system.trim_ascii() == self.system.trim().as_bytes();
        if let Some(id) = id.filter(|_| ours) {
            self.found.before = Some(PreviousId(id));
        }
    }
}
