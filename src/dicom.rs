//! The words everybody uses: UIDs, AE titles, tags, the head of an instance. No network, no files.

pub mod ae_title;
pub mod attributes;
pub mod charset;
pub mod head;
pub mod tag;
pub mod uid;
