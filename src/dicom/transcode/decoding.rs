//! Encapsulated Pixel Data becomes native as it streams past, and the attributes that describe it follow (PS3.5 section
//! A.4; PS3.3 section C.7.6.3).
//!
//! What the decoded pixels will be is known before the first of them: Photometric Interpretation and Planar
//! Configuration are written when they come. Lossy Image Compression (0028,2110) stays, and is set where the syntax
//! itself says that the image has lost something (PS3.3 section C.7.6.1.1.5): natively encoded, nothing else would.

use super::super::pixels::{self, Frames, Image, Photometric};
use super::{Tag, TranscodeError, TransferSyntaxUid, UNDEFINED, Vr};

const PHOTOMETRIC_INTERPRETATION: Tag = Tag::new(0x0028, 0x0004);
const PLANAR_CONFIGURATION: Tag = Tag::new(0x0028, 0x0006);
const LOSSY_IMAGE_COMPRESSION: Tag = Tag::new(0x0028, 0x2110);
const EXTENDED_OFFSET_TABLE: Tag = Tag::new(0x7FE0, 0x0001);
const EXTENDED_OFFSET_TABLE_LENGTHS: Tag = Tag::new(0x7FE0, 0x0002);
const ENCAPSULATED_LENGTH: Tag = Tag::new(0x7FE0, 0x0003);

/// The longest value of an attribute that is looked at.
const LONGEST: u32 = 64;
/// The longest offset table that is looked at: a million frames.
const LONGEST_TABLE: u32 = 8 << 20;

/// The decoding of one data set's Pixel Data.
#[derive(Debug)]
pub(super) struct Decoding {
    syntax: TransferSyntaxUid,
    image: Image,
    planar_seen: bool,
    lossy_seen: bool,
    /// What was written as Photometric Interpretation.
    announced: Option<Photometric>,
    /// Something was written otherwise than it was, as it is of native pixels only once they are decoded.
    changed: bool,
    table: Vec<u8>,
    /// The element in hand and its value, as far as it has come.
    held: Option<(Tag, Vec<u8>)>,
    /// Pixel Data has begun: its frames, and how many were decoded.
    frames: Option<Frames>,
    decoded: u64,
}

/// What is done with an element of the data set itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It passes.
    Passes,
    /// It is left out: it describes fragments.
    Dropped,
    /// It is written when its value is complete, perhaps with another.
    Rewritten,
}

/// An element to write: tag, representation, value.
pub(super) type Written = (Tag, Vr, Vec<u8>);

impl Decoding {
    /// For a data set in this syntax; none if its frames cannot be decoded.
    pub(super) fn of(syntax: &TransferSyntaxUid) -> Option<Self> {
        pixels::is_decodable(syntax).then(|| Self {
            syntax: syntax.clone(),
            image: Image::unknown(),
            planar_seen: false,
            lossy_seen: false,
            announced: None,
            changed: false,
            table: Vec::new(),
            held: None,
            frames: None,
            decoded: 0,
        })
    }

    /// What must stand before `tag` and was not there.
    pub(super) fn before(&mut self, tag: Tag) -> Vec<Written> {
        let mut missing = Vec::new();
        if tag > PLANAR_CONFIGURATION && !std::mem::replace(&mut self.planar_seen, true) && self.image.samples > 1 {
            missing.push((PLANAR_CONFIGURATION, Vr::US, vec![0, 0]));
        }
        // What is no image has no Photometric Interpretation: its syntax says nothing of it.
        let lossy = self.always_lossy() && self.announced.is_some();
        if tag > LOSSY_IMAGE_COMPRESSION && !std::mem::replace(&mut self.lossy_seen, true) && lossy {
            missing.push((LOSSY_IMAGE_COMPRESSION, Vr::CS, b"01".to_vec()));
        }
        self.changed |= !missing.is_empty();
        missing
    }

    /// Whether the syntax has nothing but lossy images: JPEG baseline and extended. JPEG-LS and JPEG 2000 may be either.
    fn always_lossy(&self) -> bool {
        matches!(self.syntax.as_str(), "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51")
    }

    /// An element of the data set itself begins.
    pub(super) fn element(&mut self, tag: Tag, length: Option<u32>) -> Treatment {
        let looked_at = Image::reads(tag);
        let rewritten = matches!(tag, PHOTOMETRIC_INTERPRETATION | PLANAR_CONFIGURATION | LOSSY_IMAGE_COMPRESSION);
        let table = tag == EXTENDED_OFFSET_TABLE;
        let fits = length.is_some_and(|length| length <= if table { LONGEST_TABLE } else { LONGEST });
        self.held = (fits && (looked_at || rewritten || table)).then(|| (tag, Vec::new()));
        match tag {
            EXTENDED_OFFSET_TABLE | EXTENDED_OFFSET_TABLE_LENGTHS | ENCAPSULATED_LENGTH => Treatment::Dropped,
            _ if rewritten && fits => Treatment::Rewritten,
            _ => Treatment::Passes,
        }
    }

    /// Part of its value.
    pub(super) fn value(&mut self, slice: &[u8]) {
        if let Some((_, value)) = &mut self.held {
            value.extend_from_slice(slice);
        }
    }

    /// Its value is complete; gives what is to be written if it is rewritten.
    pub(super) fn value_end(&mut self) -> Option<Written> {
        let (tag, value) = self.held.take()?;
        let image = &mut self.image;
        image.read(tag, &value);
        let (vr, written) = match tag {
            EXTENDED_OFFSET_TABLE => {
                self.table = value;
                return None;
            }
            PHOTOMETRIC_INTERPRETATION => {
                let decoded = pixels::decoded_photometric(&self.syntax, image);
                self.announced = Some(decoded);
                let changed = decoded != image.photometric;
                (Vr::CS, if changed { padded(decoded.as_str()) } else { value.clone() })
            }
            PLANAR_CONFIGURATION => {
                self.planar_seen = true;
                // Fragments that are not compressed pass as they are, planes too (PS3.5 section A.4.11).
                let decoded = self.syntax.as_str() != pixels::UNCOMPRESSED;
                (Vr::US, if decoded { vec![0, 0] } else { value.clone() })
            }
            LOSSY_IMAGE_COMPRESSION => {
                self.lossy_seen = true;
                (Vr::CS, if self.always_lossy() { b"01".to_vec() } else { value.clone() })
            }
            _ => return None,
        };
        self.changed |= written != value;
        Some((tag, vr, written))
    }

    /// Whether Pixel Data of this length is native, against PS3.5 section A.4: its length is that of the cells, and
    /// what was written before it describes them, since nothing of that changed. Some senders put native images under
    /// whatever context they have.
    pub(super) fn is_native(&self, length: u32) -> bool {
        let cells = self.image.native_bytes().ok();
        !self.changed && cells.is_some_and(|bytes| bytes > 0 && bytes + bytes % 2 == u64::from(length))
    }

    /// Pixel Data begins. Gives its representation and its length, the padding to even length counted (PS3.5 section
    /// 8.1.1).
    pub(super) fn begin(&mut self) -> Result<(Vr, u32), TranscodeError> {
        let fault = |why: pixels::DecodeError| TranscodeError::Frame { frame: 1, why };
        let bytes = self.image.native_bytes().map_err(|why| fault(why.into()))?;
        let length = u32::try_from(bytes + bytes % 2).ok().filter(|length| *length < UNDEFINED);
        let length = length.ok_or(TranscodeError::TooLong { bytes })?;
        let mut frames = Frames::new(&self.image, &self.syntax);
        frames.extended(&std::mem::take(&mut self.table));
        self.frames = Some(frames);
        Ok((if self.image.bits_allocated > 8 { Vr::OW } else { Vr::OB }, length))
    }

    /// Frames decoded so far.
    pub(super) fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Whether the fragments of Pixel Data are passing.
    pub(super) fn is_in_pixels(&self) -> bool {
        self.frames.is_some()
    }

    /// A fragment begins.
    pub(super) fn fragment(&mut self, length: u32) {
        if let Some(frames) = &mut self.frames {
            frames.begin(length);
        }
    }

    /// Bytes of a fragment.
    pub(super) fn fragment_bytes(&mut self, bytes: &[u8]) -> Result<(), TranscodeError> {
        self.frames.as_mut().map_or(Ok(()), |frames| frames.push(bytes)).map_err(TranscodeError::Fragments)
    }

    /// A fragment is complete; tells whether a frame was, and was written.
    pub(super) fn fragment_end(&mut self, out: &mut Vec<u8>) -> Result<bool, TranscodeError> {
        match self.frames.as_mut().and_then(Frames::end) {
            None => Ok(false),
            Some(codestream) => self.decode(&codestream, out).map(|()| true),
        }
    }

    /// Pixel Data ends: the last frame, and the padding.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        let Some(frames) = self.frames.take() else { return Ok(()) };
        let last = frames.finish().map_err(TranscodeError::Fragments)?;
        self.decode(&last, out)?;
        let bytes = self.image.native_bytes().unwrap_or_default();
        if bytes % 2 == 1 {
            out.push(0);
        }
        Ok(())
    }

    fn decode(&mut self, codestream: &[u8], out: &mut Vec<u8>) -> Result<(), TranscodeError> {
        self.decoded += 1;
        let frame = self.decoded;
        if frame > u64::from(self.image.frames) {
            let (found, promised) = (frame, self.image.frames);
            return Err(TranscodeError::Fragments(pixels::FragmentError::Count { found, promised }));
        }
        let fault = |why| TranscodeError::Frame { frame, why };
        let decoded = pixels::decode(&self.syntax, &self.image, codestream).map_err(fault)?;
        if self.announced != Some(decoded.photometric) {
            return Err(fault(pixels::DecodeError::Disagree("Photometric Interpretation")));
        }
        out.extend_from_slice(&decoded.bytes);
        Ok(())
    }
}

/// A value of even length.
fn padded(text: &str) -> Vec<u8> {
    let mut value = text.as_bytes().to_vec();
    if value.len() % 2 == 1 {
        value.push(b' ');
    }
    value
}
