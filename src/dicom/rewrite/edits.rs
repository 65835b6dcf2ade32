//! What a rewriter is told, and what it says: the edits, the errors, the report.

use super::super::tag::Tag;
use super::super::uid::TransferSyntaxUid;
use super::super::walk::StructureError;
use super::LONGEST_VALUE;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::SystemTime;

/// What is to change, and what the record of it says. `Debug` prints no values (SEC-010).
#[derive(Clone, PartialEq, Eq)]
pub struct Edits {
    /// New values by attribute, in the data set's own character set and without padding; empty empties the attribute. Each is a
    /// text attribute of the top level whose tag is between (0008,0005) and (0400,0561).
    pub values: BTreeMap<Tag, Box<[u8]>>,
    /// Items that are appended to sequences of the top level, whose tags are in the same range; what the sequence was is recorded
    /// whole.
    pub items: BTreeMap<Tag, Item>,
    /// Sequences of the top level, in the same range, of which something goes; what each was is recorded whole.
    pub cleared: BTreeMap<Tag, Cleared>,
    /// What stands in attributes of `values` that come after (0400,0561), where the change is recorded before they are met: the
    /// survey says so, and it is an error if the data set does not agree. Such an attribute may be no later than (0400,0600).
    pub known: BTreeMap<Tag, Box<[u8]>>,
    /// Attributes that stay, but whose values are recorded beside the changed ones: the issuer of a Patient ID that changes.
    pub beside: BTreeSet<Tag>,
    /// Attribute Modification DateTime, to the microsecond. For the bytes to be the same each time, a moment that does not
    /// change from one sending to the next.
    pub at: SystemTime,
    /// Modifying System: this site. What is not ASCII becomes `?`, since the data set's character set may not have it.
    pub system: String,
    /// Source of Previous Values: who sent the data set. As `system`.
    pub source: String,
}

impl fmt::Debug for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Edits({:?}, {:?}, {:?})", self.values.keys(), self.items.keys(), self.cleared)
    }
}

/// What goes of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// All its items.
    All,
    /// The value of this text attribute in each of its items; so many spaces stay.
    Text(Tag),
}

/// An item of a sequence: its elements, each with the representation that the dictionary gives it.
pub type Item = BTreeMap<Tag, Content>;

/// What stands in an element of an item.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A text, without padding.
    Text(Box<[u8]>),
    /// Items.
    Items(Vec<Item>),
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().into())
    }
}

/// Why a data set cannot be rewritten. Nothing of the output may then be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// Its structure is broken.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// Its transfer syntax is not one that can be changed as it streams past.
    #[error("a data set in transfer syntax {0} cannot be changed on its way: it would have to be re-encoded first")]
    Syntax(TransferSyntaxUid),
    /// The edits name an attribute that is not one of those that can be changed.
    #[error("{tag} is no attribute that can be changed on its way")]
    Attribute {
        /// The attribute.
        tag: Tag,
    },
    /// A value is longer than [`LONGEST_VALUE`].
    #[error("{tag} is longer than {LONGEST_VALUE} bytes")]
    TooLong {
        /// The attribute.
        tag: Tag,
    },
    /// An attribute that matters is there twice or after its place.
    #[error("{tag} is there twice, or not in its place")]
    Disordered {
        /// The attribute.
        tag: Tag,
    },
}

impl RewriteError {
    /// The element at which it failed.
    pub fn tag(&self) -> Option<Tag> {
        match self {
            Self::Structure(error) => error.tag(),
            Self::Syntax(_) => None,
            Self::Attribute { tag } | Self::TooLong { tag } | Self::Disordered { tag } => Some(*tag),
        }
    }
}

/// What rewriting did, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Bytes written.
    pub bytes: u64,
    /// Attributes that got another value, in tag order.
    pub changed: Vec<Tag>,
    /// Group lengths and the like that were left out.
    pub left_out: u64,
}
