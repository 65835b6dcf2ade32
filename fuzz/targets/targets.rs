//! The bodies of the fuzz targets: each takes any bytes and asserts what must hold for them, not only that nothing panics.
//!
//! The fuzzer runs them on what it makes up, and the ordinary tests on the corpora that it left behind, so both include
//! this file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod cutting;
mod data_set;
mod pixels;
mod settings;
mod upper_layer;
mod web;

/// A target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("pdata", upper_layer::pdata),
    ("association", upper_layer::association),
    ("negotiation", upper_layer::negotiation),
    ("command", upper_layer::command),
    ("scanner", data_set::scanner),
    ("transcoder", data_set::transcoder),
    ("rewriter", data_set::rewriter),
    ("part10", data_set::part10),
    ("pixels", pixels::decoder),
    ("multipart", web::multipart),
    ("json", web::json),
    ("xml", web::xml),
    ("headers", web::headers),
    ("config", settings::config),
];
