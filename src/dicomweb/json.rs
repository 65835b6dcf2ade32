//! The DICOM JSON Model (PS3.18 Annex F): a writer and a bounded reader of attribute trees.

mod read;
mod write;

pub use read::{JsonError, Limits, read};
pub(in crate::dicomweb) use write::element;
pub use write::{write_list, write_one};

#[cfg(test)]
mod tests;
