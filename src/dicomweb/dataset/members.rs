//! An attribute as JSON or XML gives it, before its VR is known and its values are judged by it.

use super::{Dataset, Element, Kind, Number, PersonName, VR, Value, kind};
use crate::dicom::tag::Tag;
use ::dicom::core::dictionary::{DataDictionary, DataDictionaryEntry};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One value before the VR is known: members of an object come in any order.
pub(in crate::dicomweb) enum Raw {
    Null,
    Text(String),
    Number(Number),
    Name(PersonName),
    Item(Dataset),
}

/// An attribute's members as read.
#[derive(Default)]
pub(in crate::dicomweb) struct Members {
    pub(in crate::dicomweb) vr: Option<VR>,
    pub(in crate::dicomweb) values: Vec<Raw>,
    pub(in crate::dicomweb) inline: Option<String>,
    pub(in crate::dicomweb) bulk: Option<String>,
}

impl Members {
    /// The attribute, or what contradicts its VR.
    pub(in crate::dicomweb) fn element(self, tag: Tag) -> Result<Element, &'static str> {
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
                Raw::Text(text) if text.is_empty() => Ok(Dataset::default()),
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
        Kind::Decimal | Kind::Binary => numbers(raw, matches!(vr, VR::FL | VR::FD)),
        Kind::Text | Kind::LongText | Kind::Tags | Kind::Bytes => Ok(Value::Text(texts(raw)?)),
    }
}

/// Numbers, which may be given as strings (PS3.18 table F.2.3-1); all as text when one of them is none. Those with a `fraction` may be
/// not finite.
fn numbers(raw: Vec<Raw>, fraction: bool) -> Result<Value, &'static str> {
    let not_finite = |text: &str| Number::not_finite(text).filter(|_| fraction);
    let number = |value: &Raw| match value {
        Raw::Number(number) => Some(Some(number.clone())),
        Raw::Text(text) if text.trim().is_empty() => Some(None),
        Raw::Text(text) => Number::parse(text).or_else(|| not_finite(text)).map(Some),
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
