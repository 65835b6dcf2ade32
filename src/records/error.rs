//! What can go wrong with the records, in words for the operator.

use std::path::PathBuf;

/// Why the records did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// A write or a sync failed; nothing is acknowledged any more until a restart has recovered (REL-04).
    #[error("the records can no longer be written ({0}); nothing is accepted until the gateway is restarted")]
    Poisoned(String),
    /// The disk is full. Nothing was changed; it may be tried again when there is room (FLT-022).
    #[error("the disk with the records is full; nothing was changed")]
    Full,
    /// The records were opened for reading only.
    #[error("the records were opened for reading only")]
    ReadOnly,
    /// The records have been closed.
    #[error("the records are closed")]
    Closed,
    /// What was asked makes no sense for what the records hold.
    #[error("{0}")]
    Refused(String),
    /// The records could not be opened.
    #[error("cannot open the records at {}: {why}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The records are another user's.
    #[error("you may not open the records at {}", path.display())]
    NotAllowed {
        /// The file.
        path: PathBuf,
    },
    /// A newer Weybridge has written these records.
    #[error(
        "the records have layout {found}, this program knows up to {known}: it is older than the one that wrote them"
    )]
    Newer {
        /// The layout of the file.
        found: i64,
        /// The newest layout that this program knows.
        known: i64,
    },
    /// The database said no in a way that should not happen.
    #[error("the records could not answer: {0}")]
    Database(String),
}
