//! The canon: what an instance says, whatever its transfer syntax (IDY-002, IDY-003); and what its pixels are (IDY-005).
//!
//! Two instances of one canon say the same. It is made in one pass, in memory that does not grow with the data set:
//!
//! - The data set is read as Explicit VR Little Endian, whatever it is written in. Each element has a digest of its own;
//!   a data set or an item is the digest of its elements' tags and digests, in ascending order of tags; a sequence is
//!   that of its items. So lengths, defined or not, do not count, nor does the order in which elements came.
//! - What an element is, the dictionary ([`super::dictionary::VERSION`]) says, not the representation that was written,
//!   since implicit encodings write none. What the dictionary does not know is bytes, or a sequence if it can be read as one.
//! - Text counts as it reads, not as it is encoded, without padding at its end. Spaces around a value or a component of a name, empty
//!   components and groups at the end of a name, and how a number is written do not count (PS3.5 sections 6.2 and 6.2.1). Text that cannot be decoded without doubt, or is very
//!   long, counts as its bytes in their character set, so that two doubtful texts are never equal by accident; and so does what may be
//!   text, since the dictionary does not know it, where it has bytes that are not ASCII.
//! - Left out: groups 0000 and 0002, group lengths, Data Set Trailing Padding, Specific Character Set (0008,0005), Retrieve AE
//!   Title (0008,0054), Instance Availability (0008,0056), the pixels and the tables of their fragments, and what a
//!   [`Profile`] calls volatile. Photometric Interpretation and Planar Configuration go with the pixels.

mod outline;
mod pixels;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use outline::{Line, Outline};
pub use pixels::Pixels;

use super::attributes::PATIENT_ID;
use super::nhs_number::NhsNumber;
use super::scanner::Limits;
use super::tag::Tag;
use super::transcode::{TranscodeError, Transcoder};
use super::transfer_syntax::{EXPLICIT_VR_LE, Encoding, encoding};
use super::uid::TransferSyntaxUid;
use super::walk::{Event, StructureError, Syntax, Walker};
use pixels::PixelDigester;
use sha2::{Digest as _, Sha256};
use tree::Tree;

/// The version of the canon: raised whenever the same data set gives other digests, which are then compared with no older ones.
pub const VERSION: &str = "4";

/// A SHA-256.
pub type Hash = [u8; 32];

/// Bytes of input that are taken at once; of a deflated data set fewer, since deflate makes up to 1,000 bytes of one.
const STEP: usize = 64 * 1024;
const DEFLATED_STEP: usize = 1024;

/// Whatever the source, these do not count ("The same UID with other content" in docs/ARCHITECTURE.md).
const NEVER: [Tag; 2] = [Tag::new(0x0008, 0x0054), Tag::new(0x0008, 0x0056)];

/// What a person may put right without making another image of it (IDY-020 D2): who the patient is, who asked, where it was
/// made, and what is noted of such corrections. In ascending order.
pub const RECONCILABLE: [Tag; 31] = [
    Tag::new(0x0008, 0x0015), // Instance Coercion DateTime
    Tag::new(0x0008, 0x0050), // Accession Number
    Tag::new(0x0008, 0x0051), // Issuer of Accession Number Sequence
    Tag::new(0x0008, 0x0080), // Institution Name
    Tag::new(0x0008, 0x0081), // Institution Address
    Tag::new(0x0008, 0x0082), // Institution Code Sequence
    Tag::new(0x0008, 0x0090), // Referring Physician's Name
    Tag::new(0x0008, 0x0092), // Referring Physician's Address
    Tag::new(0x0008, 0x0094), // Referring Physician's Telephone Numbers
    Tag::new(0x0008, 0x0096), // Referring Physician Identification Sequence
    Tag::new(0x0008, 0x1040), // Institutional Department Name
    Tag::new(0x0008, 0x1041), // Institutional Department Type Code Sequence
    Tag::new(0x0010, 0x0010), // Patient's Name
    Tag::new(0x0010, 0x0020), // Patient ID
    Tag::new(0x0010, 0x0021), // Issuer of Patient ID
    Tag::new(0x0010, 0x0022), // Type of Patient ID
    Tag::new(0x0010, 0x0024), // Issuer of Patient ID Qualifiers Sequence
    Tag::new(0x0010, 0x0030), // Patient's Birth Date
    Tag::new(0x0010, 0x0032), // Patient's Birth Time
    Tag::new(0x0010, 0x0040), // Patient's Sex
    Tag::new(0x0010, 0x1000), // Other Patient IDs
    Tag::new(0x0010, 0x1001), // Other Patient Names
    Tag::new(0x0010, 0x1002), // Other Patient IDs Sequence
    Tag::new(0x0010, 0x1005), // Patient's Birth Name
    Tag::new(0x0018, 0xA001), // Contributing Equipment Sequence
    Tag::new(0x0032, 0x1031), // Requesting Physician Identification Sequence
    Tag::new(0x0032, 0x1032), // Requesting Physician
    Tag::new(0x0032, 0x1033), // Requesting Service
    Tag::new(0x0032, 0x1034), // Requesting Service Code Sequence
    Tag::new(0x0400, 0x0561), // Original Attributes Sequence
    Tag::new(0x0400, 0x0600), // Instance Origin Status
];

/// They change with the encoding of the pixels, and stand in the digest of those.
const OF_PIXELS: [Tag; 2] = [Tag::new(0x0028, 0x0004), Tag::new(0x0028, 0x0006)];

/// Why there is no canon. Such a data set is never equal to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanonError {
    /// Its structure is broken.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// It cannot be read as Explicit VR Little Endian.
    #[error(transparent)]
    Transcode(#[from] TranscodeError),
    /// There is no way to read its transfer syntax.
    #[error("its transfer syntax is not one that can be read")]
    Syntax,
    /// Text came before the element that says how it is encoded.
    #[error("text stands before the Specific Character Set that governs it")]
    LateCharset,
    /// More elements are open at once than are kept.
    #[error("it has too many elements")]
    TooManyElements,
}

/// What does not count because of where an instance came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    volatile: Vec<Tag>,
}

impl Profile {
    /// Leaves these attributes of the data set itself out; those inside sequences count.
    pub fn new(volatile: impl IntoIterator<Item = Tag>) -> Self {
        let mut volatile: Vec<Tag> = volatile.into_iter().collect();
        volatile.sort_unstable();
        volatile.dedup();
        Self { volatile }
    }

    /// Its name: the version of the canon and what is left out. Digests of different names cannot be compared.
    pub fn name(&self) -> String {
        self.volatile.iter().fold(VERSION.to_owned(), |name, tag| format!("{name} {:08X}", tag.0))
    }
}

/// What an instance says and shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The digest of all that counts but pixels.
    pub canon: Hash,
    /// The same without what [`RECONCILABLE`] lists.
    pub core: Hash,
    /// The pixels.
    pub pixels: Pixels,
    /// The digest of the patient's NHS number, if Patient ID is one.
    pub patient: Option<Hash>,
}

/// A canon in the making. Any cutting of the input into pushes gives the same; an error is final.
pub struct Digester {
    transcoder: Option<Transcoder>,
    step: usize,
    walker: Walker,
    tree: Tree,
    pixels: PixelDigester,
    /// A short value of the data set itself that is looked at, as far as it has come.
    tapped: Option<(Tag, Vec<u8>)>,
    patient: Option<Hash>,
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digester")
    }
}

impl Digester {
    /// For a data set, without preamble and group 0002, in a transfer syntax.
    pub fn new(syntax: &TransferSyntaxUid, profile: Profile) -> Result<Self, CanonError> {
        let limits = Limits::default();
        let how = encoding(syntax);
        let transcoder = match how {
            Encoding::ExplicitLittle | Encoding::EncapsulatedExplicitLittle => None,
            _ => Some(Transcoder::between(syntax, EXPLICIT_VR_LE).ok_or(CanonError::Syntax)?),
        };
        let left_out = NEVER.into_iter().chain(profile.volatile).collect();
        Ok(Self {
            transcoder,
            step: if how == Encoding::DeflatedExplicitLittle { DEFLATED_STEP } else { STEP },
            walker: Walker::new(Syntax { explicit: true, big: false }, limits.depth, limits.elements),
            tree: Tree::new(left_out),
            pixels: PixelDigester::new(syntax),
            tapped: None,
            patient: None,
        })
    }

    /// Has each element noted with the beginning of its value, for a person to look at.
    pub fn with_lines(mut self) -> Self {
        self.tree.note_lines();
        self
    }

    /// Takes the next bytes of the data set. Decodes the frames that they complete, which may take seconds.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), CanonError> {
        for piece in bytes.chunks(self.step) {
            match self.transcoder.take() {
                None => self.walk(piece)?,
                Some(mut transcoder) => {
                    let mut out = Vec::new();
                    transcoder.push(piece, &mut out)?;
                    self.transcoder = Some(transcoder);
                    self.walk(&out)?;
                }
            }
        }
        Ok(())
    }

    /// Says what the data set is, once all of it was pushed, and its elements if they were asked for.
    pub fn finish(mut self) -> Result<(Content, Outline), CanonError> {
        if let Some(transcoder) = self.transcoder.take() {
            let mut out = Vec::new();
            transcoder.finish(&mut out)?;
            self.walk(&out)?;
        }
        self.walker.finish()?;
        let pixels = self.pixels.finish();
        let of_pixels = |tag: &Tag| pixels != Pixels::Absent && OF_PIXELS.contains(tag);
        let (elements, mut outline) = self.tree.finish();
        outline.lines.retain(|line| line.inside || !of_pixels(&line.tag));
        let fold = |name: &str, counts: &dyn Fn(&Tag) -> bool| {
            let mut hasher = Sha256::new_with_prefix(name);
            for (tag, digest) in elements.iter().filter(|(tag, _)| counts(tag)) {
                hasher.update(tag.0.to_be_bytes());
                hasher.update(digest);
            }
            hasher.finalize().into()
        };
        let content = Content {
            canon: fold("weybridge canon 4\0", &|tag| !of_pixels(tag)),
            core: fold("weybridge core 4\0", &|tag| !of_pixels(tag) && RECONCILABLE.binary_search(tag).is_err()),
            pixels,
            patient: self.patient,
        };
        Ok((content, outline))
    }

    fn walk(&mut self, mut bytes: &[u8]) -> Result<(), CanonError> {
        while let Some(event) = self.walker.next(&mut bytes)? {
            match &event {
                Event::Element(element) if element.top => {
                    let looked_at = element.tag == PATIENT_ID || PixelDigester::looks_at(element.tag);
                    let fits = element.length.is_some_and(|length| length <= pixels::longest(element.tag));
                    self.tapped = (looked_at && fits).then(|| (element.tag, Vec::new()));
                    self.pixels.element(element);
                }
                Event::Value(slice) => {
                    if let Some((_, value)) = &mut self.tapped {
                        value.extend_from_slice(slice);
                    }
                }
                Event::ValueEnd => match self.tapped.take() {
                    Some((PATIENT_ID, value)) => self.patient = nhs_number(&value),
                    Some((tag, value)) => self.pixels.attribute(tag, value),
                    None => {}
                },
                _ => {}
            }
            if self.pixels.takes() {
                self.pixels.event(event);
            } else {
                self.tree.event(&mut self.walker, event)?;
            }
        }
        Ok(())
    }
}

/// The digest of an NHS number that is issued to somebody (IDY-042).
fn nhs_number(value: &[u8]) -> Option<Hash> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\0']);
    let number = NhsNumber::parse(text).ok().filter(|number| !number.is_test())?;
    Some(Sha256::new_with_prefix("weybridge nhs 1\0").chain_update(number.digits()).finalize().into())
}
