//! Why a data set cannot be re-encoded.

use super::StructureError;
use crate::dicom::inflate::InflateError;
use crate::dicom::pixels::{DecodeError, FragmentError};
use crate::dicom::tag::{PIXEL_DATA, Tag};

/// Why a data set cannot be re-encoded. Nothing of the output may then be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TranscodeError {
    /// Its structure is broken.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// It has pixel data in fragments, which the transfer syntax does not allow.
    #[error("{tag} is in fragments, and is not the image of an encapsulated transfer syntax")]
    Encapsulated {
        /// The element.
        tag: Tag,
    },
    /// It is in GE's private syntax, and its pixel cells are not of 8 or 16 bits, so that nobody says how they are
    /// ordered.
    #[error("{tag} has cells of a size for which the private transfer syntax gives no order")]
    UnknownCells {
        /// The element.
        tag: Tag,
    },
    /// The transfer syntax is an encapsulated one, and its pixel data has a length that is not that of native cells.
    #[error("the pixel data is not in fragments, though the transfer syntax is an encapsulated one")]
    NotEncapsulated,
    /// The fragments are not the frames that the attributes promise.
    #[error("the pixel data cannot be decoded: {0}")]
    Fragments(FragmentError),
    /// A frame cannot be decoded.
    #[error("frame {frame} cannot be decoded: {why}")]
    Frame {
        /// Which, from 1.
        frame: u64,
        /// Why.
        why: DecodeError,
    },
    /// Decoded, the pixel data is longer than a native value can be (PS3.5 section 10.1: then it may stay compressed).
    #[error("decoded, the pixel data would have {bytes} bytes, more than a native value can have")]
    TooLong {
        /// Bytes of all frames.
        bytes: u64,
    },
    /// The deflated data set cannot be inflated.
    #[error("the deflated data set is broken, cut short or too large")]
    Deflated,
}

impl From<InflateError> for TranscodeError {
    fn from(_: InflateError) -> Self {
        Self::Deflated
    }
}

impl TranscodeError {
    /// The element at which it failed.
    pub fn tag(&self) -> Option<Tag> {
        match self {
            Self::Structure(error) => error.tag(),
            Self::Encapsulated { tag } | Self::UnknownCells { tag } => Some(*tag),
            Self::Deflated => None,
            Self::NotEncapsulated | Self::Fragments(_) | Self::Frame { .. } | Self::TooLong { .. } => Some(PIXEL_DATA),
        }
    }
}
