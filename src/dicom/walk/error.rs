//! What can be wrong with the structure of a data set, and where.

use super::super::tag::Tag;

/// What is wrong with the structure of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// The bytes end inside an element, an item or a sequence.
    #[error("the data set is cut short{}", within(.tag))]
    Truncated {
        /// The last element whose header was whole.
        tag: Option<Tag>,
    },
    /// The bytes cannot be a data set.
    #[error("the data set is malformed{}: {why}", within(.tag))]
    Malformed {
        /// The last element whose header was whole.
        tag: Option<Tag>,
        /// What is wrong, for people.
        why: &'static str,
    },
    /// Sequences are nested deeper than the limit.
    #[error("sequences are nested too deeply{}", within(.tag))]
    TooDeep {
        /// The sequence that went too deep.
        tag: Option<Tag>,
    },
    /// There are more elements and items than the limit.
    #[error("the data set has too many elements{}", within(.tag))]
    TooManyElements {
        /// The last element within the limit.
        tag: Option<Tag>,
    },
}

/// The end of an error text that names an element.
pub(in crate::dicom) fn within(tag: &Option<Tag>) -> String {
    tag.map(|tag| format!(" at {tag}")).unwrap_or_default()
}

impl StructureError {
    /// The element to name in Offending Element (0000,0901).
    pub fn tag(&self) -> Option<Tag> {
        match *self {
            Self::Truncated { tag }
            | Self::Malformed { tag, .. }
            | Self::TooDeep { tag }
            | Self::TooManyElements { tag } => tag,
        }
    }
}
