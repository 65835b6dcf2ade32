//! Reading the envelope of others: preamble, `DICM` and group 0002, from pieces of any size.

use super::{
    IMPLEMENTATION_CLASS_UID, MAGIC, MEDIA_STORAGE_SOP_CLASS_UID, MEDIA_STORAGE_SOP_INSTANCE_UID, PREAMBLE,
    SopClassUid, TRANSFER_SYNTAX_UID, Tag,
};
use crate::dicom::uid::{InstanceUid, TransferSyntaxUid};
use crate::dicom::vr::Vr;
use crate::dicom::walk::{Header, SHORT, Syntax, UNDEFINED};

/// The most that preamble and file meta information may have together; ours has about 400 bytes.
pub const MAX_META_BYTES: usize = 64 * 1024;

/// Bytes taken at a time, so that a push that is mostly data set is not copied.
const STEP: usize = 1024;

/// The group of the file meta information.
const META_GROUP: u16 = 0x0002;

/// Why a stream has no readable file meta information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Part10Error {
    /// Neither `DICM` nor group 0002 is where it should be: something else than a DICOM file, or a bare data set.
    #[error("this is no DICOM file: it has no file meta information")]
    NoMeta,
    /// There is no Transfer Syntax UID (0002,0010), or no usable one.
    #[error("the file meta information names no transfer syntax")]
    NoTransferSyntax,
    /// More than [`MAX_META_BYTES`].
    #[error("the file meta information is larger than 64 KiB")]
    TooLarge,
    /// Group 0002 cannot be read, or contradicts itself.
    #[error("the file meta information is malformed at {0}")]
    Malformed(Tag),
}

/// What somebody else's file meta information says. Identity is taken from the data set; this only hints at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMeta {
    /// Media Storage SOP Class UID (0002,0002), if it is there and a UID.
    pub sop_class: Option<SopClassUid>,
    /// Media Storage SOP Instance UID (0002,0003), if it is there and a UID.
    pub sop_instance: Option<InstanceUid>,
    /// Transfer Syntax UID (0002,0010) of the data set that follows.
    pub transfer_syntax: TransferSyntaxUid,
}

/// The file meta information, and where the data set begins: with `early`, then the last push from `used` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the file meta information says.
    pub meta: ReceivedMeta,
    /// The first bytes of the data set, where they came in earlier pushes than the last; seldom any, at most a few.
    pub early: Vec<u8>,
    /// How many bytes of the last push belong to the file meta information.
    pub used: usize,
}

/// Reads preamble and file meta information as they stream past.
///
/// It tolerates a missing preamble, a missing or wrong group length, missing Media Storage UIDs, and implicit encoding.
/// The end is only seen by what follows, so a stream without a data set gives nothing; nor does one under 132 bytes.
#[derive(Debug, Default)]
pub struct MetaParser {
    held: Vec<u8>,
    /// Where the next element starts in `held`; none until the preamble is passed.
    at: Option<usize>,
    /// Where the group ends by its own length.
    declared_end: Option<usize>,
    /// The last element that was whole.
    last: Option<Tag>,
    /// Implementation Class UID (0002,0012) is ours: the group length is right.
    ours: bool,
    sop_class: Option<SopClassUid>,
    sop_instance: Option<InstanceUid>,
    transfer_syntax: Option<TransferSyntaxUid>,
}

impl MetaParser {
    /// A parser at the first byte of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; gives what was found once the end of group 0002 was passed. An error is final.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Found>, Part10Error> {
        let before = self.held.len();
        for step in bytes.chunks(STEP) {
            self.held.extend_from_slice(step);
            if let Some(end) = self.advance()? {
                return self.found(end, before).map(Some);
            }
            if self.held.len() > MAX_META_BYTES {
                return Err(Part10Error::TooLarge);
            }
        }
        Ok(None)
    }

    fn found(&mut self, end: usize, before: usize) -> Result<Found, Part10Error> {
        let meta = ReceivedMeta {
            sop_class: self.sop_class.take(),
            sop_instance: self.sop_instance.take(),
            transfer_syntax: self.transfer_syntax.take().ok_or(Part10Error::NoTransferSyntax)?,
        };
        let early = self.held.get(end..before).unwrap_or_default().to_vec();
        Ok(Found { meta, early, used: end.saturating_sub(before) })
    }

    /// Reads the elements that are whole; gives the end of the group once it is seen.
    fn advance(&mut self) -> Result<Option<usize>, Part10Error> {
        let mut at = match self.at {
            Some(at) => at,
            None if self.held.len() < PREAMBLE + MAGIC.len() => return Ok(None),
            None => self.start()?,
        };
        loop {
            self.at = Some(at);
            let rest = &self.held[at..];
            let Some(&[low, high]) = rest.first_chunk() else { return Ok(None) };
            if u16::from_le_bytes([low, high]) != META_GROUP {
                return Ok(Some(at));
            }
            match self.element(at)? {
                Step::Incomplete => return Ok(None),
                Step::Next(next) => at = next,
                Step::End => return Ok(Some(at)),
            }
        }
    }

    /// Where the first element is. The preamble comes first, as every reader must look there (PS3.10 section 7.1).
    fn start(&self) -> Result<usize, Part10Error> {
        if self.held[PREAMBLE..].starts_with(MAGIC) {
            Ok(PREAMBLE + MAGIC.len())
        } else if self.held.starts_with(MAGIC) {
            Ok(MAGIC.len())
        } else if self.held.starts_with(&META_GROUP.to_le_bytes()) {
            Ok(0)
        } else {
            Err(Part10Error::NoMeta)
        }
    }

    fn element(&mut self, at: usize) -> Result<Step, Part10Error> {
        let syntax = Syntax { explicit: true, big: false };
        let mut rest = &self.held[at..];
        let mut header = Header::default();
        if !header.fill(&mut rest, SHORT) || !header.fill(&mut rest, header.element_size(syntax)) {
            return Ok(Step::Incomplete);
        }
        let tag = header.tag(syntax);
        let (vr, length) = header.element(syntax);
        if self.declared_end == Some(at) && self.ends_before(tag, vr) {
            return Ok(Step::End);
        }
        if length == UNDEFINED {
            return Err(Part10Error::Malformed(tag));
        }
        if length as usize > MAX_META_BYTES {
            return Err(Part10Error::TooLarge);
        }
        let Some((value, _)) = rest.split_at_checked(length as usize) else { return Ok(Step::Incomplete) };
        let end = at + header.filled() + value.len();
        match tag {
            Tag(0x0002_0000) => {
                let bytes = value.try_into().map_err(|_| Part10Error::Malformed(tag))?;
                self.declared_end = Some(end.saturating_add(u32::from_le_bytes(bytes) as usize));
            }
            MEDIA_STORAGE_SOP_CLASS_UID => self.sop_class = SopClassUid::from_bytes(value).ok(),
            MEDIA_STORAGE_SOP_INSTANCE_UID => self.sop_instance = InstanceUid::from_bytes(value).ok(),
            TRANSFER_SYNTAX_UID => {
                let uid = TransferSyntaxUid::from_bytes(value).map_err(|_| Part10Error::NoTransferSyntax)?;
                if self.transfer_syntax.replace(uid).is_some_and(|first| Some(first) != self.transfer_syntax) {
                    return Err(Part10Error::Malformed(tag));
                }
            }
            Tag(0x0002_0012) => {
                self.ours = value.strip_suffix(b"\0").unwrap_or(value) == IMPLEMENTATION_CLASS_UID.as_bytes();
            }
            _ => {}
        }
        self.last = Some(tag);
        Ok(Step::Next(end))
    }

    /// Whether an element at the declared end belongs to the data set, though it is of group 0002; the length alone is not trusted.
    ///
    /// No data set may have group 0002 (PS3.10 section 7.1), but some senders leave it in, and what they send is kept as it is. Tags rise
    /// within one set (PS3.5 section 7.1), so that one that does not begins the next. Deflated bytes can look like a tag; with two
    /// letters and a higher number as well they are taken for one more element, unless the file is ours.
    fn ends_before(&self, tag: Tag, vr: Option<Vr>) -> bool {
        vr.is_none() || self.ours || self.last.is_some_and(|last| tag <= last)
    }
}

/// What reading one element led to.
enum Step {
    /// Its bytes are not all there.
    Incomplete,
    /// The next one starts here.
    Next(usize),
    /// It belongs to the data set.
    End,
}
