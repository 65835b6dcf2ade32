//! Rejection notes: Key Object Selections that say that instances are bad, wrong or to be forgotten, read as they stream past.
//!
//! IHE Imaging Object Change Management (RAD TF-2, 4.66): the document title, Concept Name Code Sequence (0040,A043), says why; Current
//! Requested Procedure Evidence Sequence (0040,A375) names what. Nothing else of a note is read, and no more of it is kept than is named.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use super::contents::{Contents, Part, StructureError};
use super::inflate::{InflateError, Inflater};
use super::tag::Tag;
use super::transfer_syntax::{Encoding, encoding};
use super::uid::{InstanceUid, StudyUid, TransferSyntaxUid};

/// Key Object Selection Document Storage.
pub const KEY_OBJECT_SELECTION: &str = "1.2.840.10008.5.1.4.1.1.88.59";
/// A note that is longer is not read, in bytes.
pub const MOST_BYTES: u64 = 16 << 20;
/// A note that names more is not honoured.
pub const MOST_NAMED: usize = 100_000;

const CODE_VALUE: Tag = Tag::new(0x0008, 0x0100);
const CODING_SCHEME: Tag = Tag::new(0x0008, 0x0102);
const REFERENCED_SERIES: Tag = Tag::new(0x0008, 0x1115);
const REFERENCED_INSTANCE: Tag = Tag::new(0x0008, 0x1155);
const REFERENCED_SOP: Tag = Tag::new(0x0008, 0x1199);
const STUDY: Tag = Tag::new(0x0020, 0x000D);
const TITLE: Tag = Tag::new(0x0040, 0xA043);
const EVIDENCE: Tag = Tag::new(0x0040, 0xA375);
/// The longest value that is kept, in bytes.
const LONGEST: usize = 128;

/// Why instances are rejected (PS3.16 CID 7011, coding scheme DCM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// 113001.
    Quality,
    /// 113037.
    Safety,
    /// 113038.
    Worklist,
    /// 113039.
    Retention,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Quality, Self::Safety, Self::Worklist, Self::Retention];

    /// The code value.
    pub fn code(self) -> &'static str {
        match self {
            Self::Quality => "113001",
            Self::Safety => "113037",
            Self::Worklist => "113038",
            Self::Retention => "113039",
        }
    }

    /// The code meaning, in the standard's words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Quality => "Rejected for Quality Reasons",
            Self::Safety => "Rejected for Patient Safety Reasons",
            Self::Worklist => "Incorrect Modality Worklist Entry",
            Self::Retention => "Data Retention Policy Expired",
        }
    }

    /// The reason that a code value names.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// One instance that a note names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Its study, as the note says.
    pub study: StudyUid,
    /// The instance.
    pub instance: InstanceUid,
}

/// What a rejection note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// What, each once.
    pub named: Vec<Named>,
}

/// Why a Key Object Selection cannot be read. It is then not known whether it rejects anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no data set.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// It cannot be inflated, or is longer than [`MOST_BYTES`] then.
    #[error("its deflated data set cannot be read, or is longer than 16 MiB")]
    Deflated,
    /// It names too much.
    #[error("it names more than {MOST_NAMED} instances")]
    TooMany,
    /// It names something that is no UID.
    #[error("it names something that is no UID")]
    NoUid,
}

impl From<InflateError> for NoteError {
    fn from(_: InflateError) -> Self {
        Self::Deflated
    }
}

/// Reads a Key Object Selection. Any cutting of the input gives the same; an error is final. Memory is that of what is named.
pub struct NoteReader {
    inflater: Option<Inflater>,
    walk: Walk,
}

struct Walk {
    contents: Contents,
    /// Open sequences, from the data set inwards.
    at: Vec<Tag>,
    value: Option<(Tag, Vec<u8>)>,
    code: Option<String>,
    scheme: Option<String>,
    study: Option<StudyUid>,
    /// What the item in hand of the evidence names: its study stands behind it.
    instances: Vec<InstanceUid>,
    named: Vec<Named>,
}

impl NoteReader {
    /// A reader of a data set as it is stored.
    pub fn new(syntax: &TransferSyntaxUid) -> Self {
        let deflated = encoding(syntax) == Encoding::DeflatedExplicitLittle;
        let walk = Walk {
            contents: Contents::stored(syntax),
            at: Vec::new(),
            value: None,
            code: None,
            scheme: None,
            study: None,
            instances: Vec::new(),
            named: Vec::new(),
        };
        Self { inflater: deflated.then(|| Inflater::new(MOST_BYTES)), walk }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, input: &[u8]) -> Result<(), NoteError> {
        match &mut self.inflater {
            Some(inflater) => inflater.push(input, |inflated| self.walk.push(inflated)),
            None => self.walk.push(input),
        }
    }

    /// What the note says; none if it is another Key Object Selection.
    pub fn finish(self) -> Result<Option<Rejection>, NoteError> {
        if let Some(inflater) = &self.inflater {
            inflater.finish()?;
        }
        let Walk { contents, code, scheme, mut named, .. } = self.walk;
        contents.finish()?;
        let reason = code.as_deref().filter(|_| scheme.as_deref() == Some("DCM")).and_then(Reason::parse);
        named.sort_unstable();
        named.dedup();
        Ok(reason.map(|reason| Rejection { reason, named }))
    }
}

impl Walk {
    fn push(&mut self, mut input: &[u8]) -> Result<(), NoteError> {
        while let Some(part) = self.contents.next(&mut input)? {
            match part {
                Part::Leaf(tag, _, length) => {
                    let wanted = self.is_wanted(tag) && length as usize <= LONGEST;
                    self.value = wanted.then(|| (tag, Vec::with_capacity(length as usize)));
                }
                Part::Bytes(slice) => {
                    if let Some((_, value)) = &mut self.value {
                        value.extend_from_slice(slice);
                    }
                }
                Part::End => {
                    if let Some((tag, value)) = self.value.take() {
                        self.take(tag, &value)?;
                    }
                }
                Part::Sequence(tag) | Part::Fragments(tag, _) => self.at.push(tag),
                Part::SequenceEnd => drop(self.at.pop()),
                Part::ItemEnd if self.at == [EVIDENCE] => self.of_one_study()?,
                Part::Item | Part::ItemEnd | Part::Fragment(_) => {}
            }
        }
        Ok(())
    }

    fn is_wanted(&self, tag: Tag) -> bool {
        match self.at[..] {
            [TITLE] => matches!(tag, CODE_VALUE | CODING_SCHEME),
            [EVIDENCE] => tag == STUDY,
            [EVIDENCE, REFERENCED_SERIES, REFERENCED_SOP] => tag == REFERENCED_INSTANCE,
            _ => false,
        }
    }

    fn take(&mut self, tag: Tag, value: &[u8]) -> Result<(), NoteError> {
        let text = std::str::from_utf8(value).map_err(|_| NoteError::NoUid)?.trim_matches(['\0', ' ']);
        match tag {
            CODE_VALUE => drop(self.code.get_or_insert_with(|| text.to_owned())),
            CODING_SCHEME => drop(self.scheme.get_or_insert_with(|| text.to_owned())),
            STUDY => self.study = Some(StudyUid::parse(text).map_err(|_| NoteError::NoUid)?),
            _ if self.named.len() + self.instances.len() >= MOST_NAMED => return Err(NoteError::TooMany),
            _ => self.instances.push(InstanceUid::parse(text).map_err(|_| NoteError::NoUid)?),
        }
        Ok(())
    }

    fn of_one_study(&mut self) -> Result<(), NoteError> {
        let instances = std::mem::take(&mut self.instances);
        match self.study.take() {
            Some(study) => {
                self.named.extend(instances.into_iter().map(|instance| Named { study: study.clone(), instance }));
                Ok(())
            }
            None if instances.is_empty() => Ok(()),
            None => Err(NoteError::NoUid),
        }
    }
}
