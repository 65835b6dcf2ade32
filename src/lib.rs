//! Weybridge, a DICOM imaging exchange gateway.
//!
//! The layers, from the top; imports run downwards only (docs/ARCHITECTURE.md):
//!
//! ```text
//! shell        main -> cli -> app, config
//! edge         edge::{dimse_scp, http, stow, qido, admin}
//! engine       intake -> router      courier
//! state        store      records      ledger      peers
//! protocol     dimse      dicomweb
//! vocabulary   dicom
//! ```

pub mod dicom;
pub mod ledger;
pub mod peers;
pub mod records;
pub mod store;
