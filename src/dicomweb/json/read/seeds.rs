//! The serde visitors of the reader: they build the tree while the text is parsed and stop at the first bound broken.

use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, Members, Number, PersonName, Raw, VR};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

/// Marks messages of our own, which quote nothing.
pub(super) const OWN: &str = "\u{1}";

fn own<E: Error>(text: &str) -> E {
    E::custom(format_args!("{OWN}{text}"))
}

/// What may still be kept.
#[derive(Clone, Copy)]
pub(super) struct Budget<'a> {
    pub(super) left: &'a Cell<u32>,
    pub(super) depth: u32,
}

impl Budget<'_> {
    fn spend<E: Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| own("it holds too many values"))?;
        self.left.set(left);
        Ok(())
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| own("sequences nest too deep"))?;
        Ok(Self { depth, ..self })
    }
}

/// An array of data sets, one data set, or null.
pub(super) struct Sets<'a>(pub(super) Budget<'a>);

impl<'de> DeserializeSeed<'de> for Sets<'_> {
    type Value = Vec<Dataset>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sets<'_> {
    type Value = Vec<Dataset>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of data sets")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut sets = Vec::new();
        while let Some(object) = seq.next_element_seed(Object(self.0))? {
            match object {
                Raw::Item(set) => sets.push(set),
                _ => return Err(own("a data set is not an object")),
            }
        }
        Ok(sets)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        match object(self.0, map)? {
            Raw::Item(set) => Ok(vec![set]),
            _ => Err(own("a data set is not an object")),
        }
    }
}

/// One value of an attribute: a scalar, a person name or an item.
struct Object<'a>(Budget<'a>);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Raw;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Raw, D::Error> {
        self.0.spend()?;
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        Number::parse(&format!("{value:?}")).map(Raw::Number).ok_or_else(|| own("a number is not finite"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Raw, A::Error> {
        object(self.0, map)
    }
}

/// An object: a person name if it has that form, else a data set.
fn object<'de, A: MapAccess<'de>>(budget: Budget<'_>, mut map: A) -> Result<Raw, A::Error> {
    let mut set = Dataset::default();
    let mut name: Option<PersonName> = None;
    while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
        if let Some(group) = name_group(&key) {
            let text = map.next_value::<Option<String>>()?.unwrap_or_default();
            *group(name.get_or_insert_default()) = text;
        } else if let Some(tag) = tag(&key) {
            budget.spend()?;
            let element = map.next_value_seed(Attribute(budget, tag))?;
            if set.insert(tag, element).is_some() {
                return Err(own(&format!("attribute {tag} stands twice in a data set")));
            }
        } else {
            map.next_value::<IgnoredAny>()?;
        }
    }
    Ok(name.map_or(Raw::Item(set), Raw::Name))
}

fn name_group(key: &str) -> Option<fn(&mut PersonName) -> &mut String> {
    match key {
        "Alphabetic" => Some(|name| &mut name.alphabetic),
        "Ideographic" => Some(|name| &mut name.ideographic),
        "Phonetic" => Some(|name| &mut name.phonetic),
        _ => None,
    }
}

fn tag(key: &str) -> Option<Tag> {
    let hex = key.len() == 8 && key.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u32::from_str_radix(key, 16).ok().map(Tag)).flatten()
}

/// The object under a tag.
struct Attribute<'a>(Budget<'a>, Tag);

impl<'de> DeserializeSeed<'de> for Attribute<'_> {
    type Value = Element;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Element, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Attribute<'_> {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Element, A::Error> {
        let mut members = Members::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*key {
                // One that nobody knows says as much as none.
                "vr" => {
                    let text = map.next_value::<Option<String>>()?;
                    members.vr = text.and_then(|text| VR::from_str(&text).ok());
                }
                "Value" => members.values = map.next_value_seed(Values(self.0.deeper()?))?,
                "InlineBinary" => members.inline = map.next_value()?,
                "BulkDataURI" => members.bulk = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        members.element(self.1).map_err(|why| own(&format!("attribute {}: {why}", self.1)))
    }
}

/// The array of values, or a lone value in its place.
struct Values<'a>(Budget<'a>);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Vec<Raw>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<Raw>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Vec<Raw>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of values")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<Raw>, E> {
        Ok(Vec::new())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<Raw>, E> {
        Object(self.0).visit_str(text).map(|raw| vec![raw])
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Vec<Raw>, E> {
        Object(self.0).visit_u64(value).map(|raw| vec![raw])
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<Raw>, E> {
        Object(self.0).visit_i64(value).map(|raw| vec![raw])
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Vec<Raw>, E> {
        Object(self.0).visit_f64(value).map(|raw| vec![raw])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Raw>, A::Error> {
        object(self.0, map).map(|raw| vec![raw])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Raw>, A::Error> {
        let mut values = Vec::new();
        while let Some(raw) = seq.next_element_seed(Object(self.0))? {
            values.push(raw);
        }
        Ok(values)
    }
}
