//! Writes attribute trees as DICOM JSON: tags ascending in upper-case hexadecimal, UTF-8 (PS3.18 F.2.2).

use crate::dicomweb::dataset::{Dataset, Element, Number, PersonName, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Write;

/// Writes one data set as a JSON object.
///
/// Group lengths and the command and file meta groups are left out, as PS3.18 F.2.2 and section 10.5.1.4 ask (WEB-023, WEB-097).
pub fn write_one(set: &Dataset) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    dataset(set, &mut out);
    out
}

/// Writes several data sets as a JSON array, the form of a query's answer (PS3.18 section 10.6.3.3).
pub fn write_list<'a>(sets: impl IntoIterator<Item = &'a Dataset>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    list(sets, &mut out, dataset);
    out
}

fn list<T>(values: impl IntoIterator<Item = T>, out: &mut Vec<u8>, mut one: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (n, value) in values.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        one(value, out);
    }
    out.push(b']');
}

fn dataset(set: &Dataset, out: &mut Vec<u8>) {
    out.push(b'{');
    let written = set.iter().filter(|(tag, _)| tag.element() != 0 && tag.group() > 0x0002);
    for (n, (tag, element)) in written.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        // Writing into a Vec cannot fail.
        let _ = write!(out, "\"{:08X}\":", tag.0);
        self::element(element, out);
    }
    out.push(b'}');
}

/// One attribute's object: its representation and its value.
pub(in crate::dicomweb) fn element(element: &Element, out: &mut Vec<u8>) {
    let _ = write!(out, "{{\"vr\":\"{}\"", element.vr);
    match &element.value {
        Value::Empty => {}
        Value::Text(values) => member("Value", out, |out| {
            list(values, out, |value, out| or_null(value.as_ref(), out, |text, out| string(text, out)));
        }),
        Value::Names(values) => member("Value", out, |out| {
            list(values, out, |value, out| or_null(value.as_ref().filter(|name| !name.is_empty()), out, name));
        }),
        Value::Numbers(values) => member("Value", out, |out| {
            list(values, out, |value, out| or_null(value.as_ref(), out, number));
        }),
        Value::Items(items) => member("Value", out, |out| list(items, out, dataset)),
        Value::Inline(bytes) => member("InlineBinary", out, |out| string(&STANDARD.encode(bytes), out)),
        Value::BulkData(uri) => member("BulkDataURI", out, |out| string(uri, out)),
    }
    out.push(b'}');
}

fn member(name: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    let _ = write!(out, ",\"{name}\":");
    value(out);
}

fn or_null<'a, T>(value: Option<&'a T>, out: &mut Vec<u8>, write: impl FnOnce(&'a T, &mut Vec<u8>)) {
    match value {
        Some(value) => write(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

fn number(number: &Number, out: &mut Vec<u8>) {
    match number.is_literal() {
        true => out.extend_from_slice(number.as_str().as_bytes()),
        false => string(number.as_str(), out),
    }
}

fn name(name: &PersonName, out: &mut Vec<u8>) {
    let groups = [("Alphabetic", &name.alphabetic), ("Ideographic", &name.ideographic), ("Phonetic", &name.phonetic)];
    out.push(b'{');
    for (n, (key, group)) in groups.into_iter().filter(|(_, group)| !group.is_empty()).enumerate() {
        let _ = write!(out, "{}\"{key}\":", if n > 0 { "," } else { "" });
        string(group, out);
    }
    out.push(b'}');
}

fn string(text: &str, out: &mut Vec<u8>) {
    // Escaping is serde_json's; writing a string into a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}
