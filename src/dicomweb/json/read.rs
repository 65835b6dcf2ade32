//! Reads DICOM JSON within bounds, liberal where peers are sloppy and the meaning stays clear.

mod seeds;

use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, Kind, Number, PersonName, VR, Value, kind};
use ::dicom::core::dictionary::{DataDictionary, DataDictionaryEntry};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
/// A scalar where an array of values belongs, a missing `vr`, and lower-case tags are accepted; unknown members are ignored.
/// The text is not copied: memory is bounded by `limits` and by the length of `text`.
pub fn read(text: &[u8], limits: Limits) -> Result<Vec<Dataset>, JsonError> {
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

/// One value before the VR is known: members of an object come in any order.
enum Raw {
    Null,
    Text(String),
    Number(Number),
    Name(PersonName),
    Item(Dataset),
}

/// An attribute's members as read.
#[derive(Default)]
struct Members {
    vr: Option<VR>,
    values: Vec<Raw>,
    inline: Option<String>,
    bulk: Option<String>,
}

impl Members {
    /// The attribute, or what contradicts its VR.
    fn element(self, tag: Tag) -> Result<Element, &'static str> {
        let vr = self.vr.unwrap_or_else(|| guess(tag, &self.values));
        let value = if let Some(uri) = self.bulk {
            Value::BulkData(uri)
        } else if let Some(text) = self.inline {
            Value::Inline(STANDARD.decode(text).map_err(|_| "InlineBinary is not base64")?)
        } else {
            values(vr, self.values)?
        };
        Ok(Element { vr, value: value.or_empty() })
    }
}

fn guess(tag: Tag, values: &[Raw]) -> VR {
    let listed = ::dicom::dictionary_std::StandardDataDictionary
        .by_tag(::dicom::core::Tag(tag.group(), tag.element()))
        .map(|entry| entry.vr().relaxed());
    listed.unwrap_or(match values.first() {
        Some(Raw::Item(_)) => VR::SQ,
        Some(Raw::Name(_)) => VR::PN,
        Some(Raw::Number(_)) => VR::DS,
        _ => VR::UN,
    })
}

fn values(vr: VR, raw: Vec<Raw>) -> Result<Value, &'static str> {
    match kind(vr) {
        Kind::Sequence => {
            let items = raw.into_iter().map(|value| match value {
                Raw::Item(set) => Ok(set),
                Raw::Null => Ok(Dataset::default()),
                _ => Err("a sequence holds something else than objects"),
            });
            Ok(Value::Items(items.collect::<Result<_, _>>()?))
        }
        Kind::Name => {
            let names = raw.into_iter().map(|value| match value {
                Raw::Name(name) => Ok(Some(name)),
                Raw::Text(text) => Ok(Some(PersonName::parse(&text)).filter(|name| !name.is_empty())),
                Raw::Null => Ok(None),
                Raw::Item(set) if set.iter().next().is_none() => Ok(None),
                _ => Err("a person name is neither an object nor a string"),
            });
            Ok(Value::Names(names.collect::<Result<_, _>>()?))
        }
        Kind::Decimal | Kind::Binary => numbers(raw),
        Kind::Text | Kind::LongText | Kind::Tags | Kind::Bytes => Ok(Value::Text(texts(raw)?)),
    }
}

/// Numbers, which may be given as strings (PS3.18 table F.2.3-1); all as text when one of them is not a plain number (NaN, INF).
fn numbers(raw: Vec<Raw>) -> Result<Value, &'static str> {
    let number = |value: &Raw| match value {
        Raw::Number(number) => Some(Some(number.clone())),
        Raw::Text(text) if text.trim().is_empty() => Some(None),
        Raw::Text(text) => Number::parse(text).map(Some),
        Raw::Null => Some(None),
        _ => None,
    };
    match raw.iter().map(number).collect() {
        Some(numbers) => Ok(Value::Numbers(numbers)),
        None => Ok(Value::Text(texts(raw)?)),
    }
}

fn texts(raw: Vec<Raw>) -> Result<Vec<Option<String>>, &'static str> {
    let texts = raw.into_iter().map(|value| match value {
        Raw::Text(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Raw::Number(number) => Ok(Some(number.as_str().to_owned())),
        Raw::Null => Ok(None),
        Raw::Name(_) | Raw::Item(_) => Err("an object stands where a string belongs"),
    });
    texts.collect()
}
