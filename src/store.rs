//! Blobs: the bytes of data sets exactly as received, on disk, known by their SHA-256.

mod digest;
mod place;

pub use digest::Digest;
pub use place::Place;
