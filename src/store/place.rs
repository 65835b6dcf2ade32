//! Where the bytes of a blob lie.

use super::buffers::PAGE_BYTES;
use super::label::LABEL;

/// A run of bytes in a file of the blob directory. The records keep it; only the store can follow it.
///
/// The data set starts on a page of 4,096 bytes; its label (`store/label.rs`) ends the last page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The number of the file: segments and the files of large objects share one sequence, and none is used twice.
    pub file: u64,
    /// Whether the file is a segment that many blobs share, or belongs to this blob alone.
    pub shared: bool,
    /// Byte offset of the data set in the file.
    pub offset: u64,
    /// Length of the data set in bytes.
    pub length: u64,
}

impl Place {
    /// Name of the file in the store's directory.
    pub(super) fn file_name(&self) -> String {
        file_name(self.file, self.shared)
    }

    /// Bytes that the blob takes up with its label, in whole pages.
    pub(super) fn extent(&self) -> u64 {
        extent(self.length)
    }

    /// Where the pages of the blob end in the file.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.extent())
    }
}

/// Bytes that a data set of `length` bytes takes up with its label, in whole pages.
pub(super) fn extent(length: u64) -> u64 {
    length.saturating_add(LABEL as u64).checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX)
}

/// The name of a file in the directory of the store: `….seg` is shared by many blobs, `….obj` holds one.
pub fn file_name(number: u64, shared: bool) -> String {
    format!("{number:016x}.{}", if shared { "seg" } else { "obj" })
}

/// Number and kind of a file by its name; `None` for names that are not the store's.
pub(super) fn parse_file_name(name: &str) -> Option<(u64, bool)> {
    let (digits, kind) = name.split_once('.')?;
    let shared = match kind {
        "seg" => true,
        "obj" => false,
        _ => return None,
    };
    let number = u64::from_str_radix(digits, 16).ok()?;
    (file_name(number, shared) == name).then_some((number, shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_number_and_kind() {
        for (number, shared, name) in [(1, true, "0000000000000001.seg"), (u64::MAX, false, "ffffffffffffffff.obj")] {
            assert_eq!(file_name(number, shared), name);
            assert_eq!(parse_file_name(name), Some((number, shared)));
        }
        for name in ["1.seg", "000000000000000G.seg", "0000000000000001.tmp", "identity", "+000000000000001.seg"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn extents_hold_data_and_label_in_whole_pages() {
        for (length, want) in [(0, 4096), (3840, 4096), (3841, 8192), (4096, 8192), (u64::MAX, u64::MAX)] {
            assert_eq!(extent(length), want, "{length}");
        }
    }
}
