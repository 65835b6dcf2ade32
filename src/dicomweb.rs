//! DICOM over HTTP: what PS3.18 says, and nothing of our stores.
//!
//! The parsers do no I/O and bound what they keep; [`client`] alone talks to the network.

pub mod client;
pub mod dataset;
pub mod json;
pub mod media_type;
pub mod metadata;
pub mod multipart;
pub mod on_behalf;
pub mod prefer;
pub mod qido;
pub mod rendered;
pub mod retry_after;
pub mod stow;
pub mod tls;
pub mod wado;
pub mod xml;
