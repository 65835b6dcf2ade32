//! Where the bytes of a blob lie.

/// A run of bytes in a file of the blob directory. The records keep it; only the store can follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The number of the file: segments and the files of large objects share one sequence.
    pub file: u64,
    /// Whether the file is a segment that many blobs share, or belongs to this blob alone.
    pub shared: bool,
    /// Byte offset of the data set in the file.
    pub offset: u64,
    /// Length of the data set in bytes.
    pub length: u64,
}
