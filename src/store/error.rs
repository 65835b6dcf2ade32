//! What can go wrong in the store.

use super::Digest;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room beyond the reserve (REL-06), or the disk said so in mid-write (FLT-020, FLT-021). Passes when room is made.
    #[error("the disk of the store is full: {free} bytes are free, {reserve} are kept in reserve")]
    Full {
        /// Bytes free on the file system when it was last asked.
        free: u64,
        /// Bytes that new work must leave free.
        reserve: u64,
    },
    /// A write or sync failed before: the store takes nothing more until the gateway is started again (REL-04).
    #[error("the store has stopped after a disk error ({0}); the gateway must be restarted once the disk is sound")]
    Poisoned(Arc<str>),
    /// The operating system refused something that leaves the store sound, such as opening a file (FLT-026).
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes on disk are not those that were stored (REL-07, FLT-024).
    #[error("a blob is damaged: expected {expected}, found {}", found.map_or("fewer bytes".into(), |d| d.to_string()))]
    Corrupt {
        /// The digest that the records hold.
        expected: Digest,
        /// The digest of what was read; `None` if the file ends early.
        found: Option<Digest>,
    },
    /// The file of a blob is not there, or does not hold that blob (FLT-027).
    #[error("the file {} does not hold the blob that the records place there", path.display())]
    Missing {
        /// The file concerned.
        path: PathBuf,
    },
    /// The object is longer than the configured limit in bytes.
    #[error("the object is longer than the limit of {limit} bytes")]
    TooLarge {
        /// `StoreOptions::object_bytes`.
        limit: u64,
    },
    /// A range that does not lie within the blob.
    #[error("the range does not lie within the blob of {length} bytes")]
    OutOfRange {
        /// Length of the blob in bytes.
        length: u64,
    },
    /// An earlier call on the same stream failed or was cancelled half-way, so its bytes are not to be trusted.
    #[error("an earlier step on this stream failed or was cancelled")]
    Interrupted,
}

impl StoreError {
    /// Whether the blob itself is lost or damaged, as against the store being in trouble (FLT-024, FLT-027).
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Missing { .. } => true,
            Self::Io { source, .. } => source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()),
            _ => false,
        }
    }
}
