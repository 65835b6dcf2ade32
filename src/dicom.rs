//! The words everybody uses: UIDs, AE titles, tags, the head of an instance. No network, no files.

pub mod ae_title;
pub mod attributes;
pub mod canon;
pub mod charset;
pub mod condition;
pub mod contents;
pub mod cross_reference;
pub mod dictionary;
#[cfg(test)]
pub(crate) mod fired;
pub mod head;
mod inflate;
pub mod layout;
pub mod nhs_number;
pub mod on_behalf;
pub mod other_ids;
pub mod part10;
pub mod patient;
pub mod pattern;
pub mod pixels;
pub mod query;
pub mod rejection;
pub mod render;
pub mod requests;
pub mod rewrite;
#[cfg(test)]
pub(crate) mod sample;
pub mod scanner;
pub mod sop_class;
pub mod tag;
pub mod transcode;
pub mod transfer_syntax;
pub mod uid;
pub mod vr;
mod walk;
