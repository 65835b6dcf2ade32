//! Weybridge, a DICOM imaging exchange gateway.
//!
//! The layers, from the top; imports run downwards only (docs/ARCHITECTURE.md):
//!
//! ```text
//! shell        main -> cli -> app, config, certs
//! edge         edge::{dimse_scp, http, stow, qido, admin}
//! engine       intake -> router      courier      priors -> intake      janitor -> judge      rejections
//! state        store      records      ledger      peers -> tls
//! protocol     dimse      dicomweb      hl7
//! vocabulary   dicom      clock
//! ```

pub mod app;
pub mod certs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod courier;
pub mod dicom;
pub mod dicomweb;
pub mod dimse;
pub mod edge;
pub mod hl7;
pub mod intake;
pub mod janitor;
pub mod judge;
pub mod ledger;
pub mod peers;
pub mod priors;
pub mod records;
pub mod rejections;
pub mod router;
pub mod store;
pub mod tls;
