//! Reads DICOM JSON within bounds, liberal where peers are sloppy and the meaning stays clear.

mod seeds;

use crate::dicomweb::dataset::Dataset;
use serde::de::DeserializeSeed;
use std::cell::Cell;

/// What a reader keeps at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deep sequences may nest.
    pub depth: u32,
    /// Attributes, items and values, all counted together.
    pub values: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 24, values: 250_000 }
    }
}

/// Why a text is not DICOM JSON, with line and column, or which bound it breaks. Never holds a value.
#[derive(Debug, thiserror::Error)]
#[error("not DICOM JSON: {0}")]
pub struct JsonError(String);

/// Reads an array of data sets, or a single one (PS3.18 F.2.1; some servers leave the array out). `null` is no data set.
///
/// A scalar where an array of values belongs, a missing, unknown or null `vr`, lower-case tags and a byte order mark at the beginning are
/// accepted; unknown members are ignored, and those that are null.
/// The text is not copied: memory is bounded by `limits` and by the length of `text`.
pub fn read(text: &[u8], limits: Limits) -> Result<Vec<Dataset>, JsonError> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let left = Cell::new(limits.values);
    let mut json = serde_json::Deserializer::from_slice(text);
    let sets = seeds::Sets(seeds::Budget { left: &left, depth: limits.depth })
        .deserialize(&mut json)
        .map_err(|error| JsonError(plain(&error)))?;
    json.end().map_err(|error| JsonError(plain(&error)))?;
    Ok(sets)
}

/// The error in words that repeat nothing of the text: serde quotes unexpected values, which may be a patient's.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = match error.classify() {
        serde_json::error::Category::Data if text.starts_with(seeds::OWN) => {
            text.trim_start_matches(seeds::OWN).split(" at line ").next().unwrap_or_default().to_owned()
        }
        serde_json::error::Category::Data => "a member has the wrong type".to_owned(),
        serde_json::error::Category::Eof => "the text ends too early".to_owned(),
        _ => "the syntax is wrong".to_owned(),
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}
