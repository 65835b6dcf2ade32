//! The query string's parser: keywords or tags, UID lists, paging.

use super::{Include, Limits, QidoError, Query};
use crate::dicom::query::Match;
use crate::dicom::tag::Tag;
use crate::dicom::uid::InstanceUid;
use crate::dicom::vr::Vr;
use crate::dicomweb::dataset::VR;
use ::dicom::core::dictionary::{DataDictionary, DataDictionaryEntry};
use ::dicom::dictionary_std::StandardDataDictionary;
use percent_encoding::percent_decode_str;

/// What may stand once, and is no attribute.
const SWITCHES: [&str; 5] = ["limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"];

/// Parses the query component of a URI, without the question mark. A plus sign in a value is a space, as forms encode it and
/// most clients do; in a Date Time it is the sign of an offset. A plus that is meant is written `%2B`.
///
/// Errors: [`QidoError`], each a 400.
pub fn parse(query: &str, limits: Limits) -> Result<Query, QidoError> {
    if query.len() > limits.bytes {
        return Err(QidoError::TooLong(limits.bytes));
    }
    let mut parsed = Query {
        matches: Vec::new(),
        include: Include::Fields(Vec::new()),
        limit: None,
        offset: 0,
        fuzzy: false,
        empty_values: false,
        multiple_values: false,
        ignored: Vec::new(),
        names: Vec::new(),
    };
    let mut seen = Vec::new();
    for (n, parameter) in query.split('&').filter(|parameter| !parameter.is_empty()).enumerate() {
        if n >= limits.parameters {
            return Err(QidoError::TooManyParameters(limits.parameters));
        }
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = decoded(name)?;
        // A comma that is percent-encoded belongs to a value; the one that is not separates values (section 8.3.4.1).
        if name == "includefield" {
            include(&mut parsed, value, limits)?;
            continue;
        }
        if SWITCHES.contains(&name.as_str()) {
            if seen.contains(&name) {
                return Err(QidoError::Repeated(shown(&name)));
            }
            seen.push(name.clone());
        }
        match name.as_str() {
            // It has been read already, like the header (section 8.3.3.1).
            "accept" => {}
            // Every answer is in UTF-8 (section 8.3.3.2).
            "charset" if decoded(value)?.eq_ignore_ascii_case("utf-8") => {}
            "limit" => parsed.limit = Some(number(&name, value)?),
            "offset" => parsed.offset = number(&name, value)?,
            "fuzzymatching" => parsed.fuzzy = truth(&name, value)?,
            "emptyvaluematching" => parsed.empty_values = truth(&name, value)?,
            "multiplevaluematching" => parsed.multiple_values = truth(&name, value)?,
            _ => attribute(&mut parsed, name, value, limits)?,
        }
    }
    Ok(parsed)
}

fn decoded(text: &str) -> Result<String, QidoError> {
    let mut broken = text.match_indices('%').map(|(at, _)| text.as_bytes().get(at + 1..at + 3));
    if broken.any(|hex| hex.is_none_or(|hex| !hex.iter().all(u8::is_ascii_hexdigit))) {
        return Err(QidoError::Encoding);
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| QidoError::Encoding)?;
    if text.contains('\0') { Err(QidoError::Encoding) } else { Ok(text.into_owned()) }
}

/// A name for answers and logs: short, and without control characters.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

fn number(name: &str, value: &str) -> Result<u64, QidoError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let wrong = || QidoError::Value { name: shown(name), wanted: "a whole number that is not negative" };
    digits.then(|| value.parse().ok()).flatten().ok_or_else(wrong)
}

fn truth(name: &str, value: &str) -> Result<bool, QidoError> {
    // Python's words are taken too.
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(QidoError::Value { name: shown(name), wanted: "true or false" }),
    }
}

fn include(query: &mut Query, value: &str, limits: Limits) -> Result<(), QidoError> {
    // No name has a comma, so that one that is encoded separates as well: there are viewers that encode it.
    let value = decoded(value)?;
    // A space behind a comma comes as it is, or as forms encode it.
    for field in value.split(',').map(|field| field.trim_matches([' ', '+'])).filter(|field| !field.is_empty()) {
        let all = field == "all";
        match &mut query.include {
            // It shall stand alone (section 8.3.4.3), and beside others it can mean nothing but all.
            Include::All => {}
            Include::Fields(_) if all => query.include = Include::All,
            Include::Fields(fields) => match path(field) {
                Some(_) if fields.len() >= limits.values => {
                    return Err(QidoError::TooManyValues { attribute: "includefield".into(), limit: limits.values });
                }
                Some((path, _)) => fields.push(path),
                None => query.ignore(shown(field)),
            },
        }
    }
    Ok(())
}

fn attribute(query: &mut Query, name: String, value: &str, limits: Limits) -> Result<(), QidoError> {
    let Some((path, vr)) = path(&name) else {
        query.ignore(shown(&name));
        return Ok(());
    };
    let given = shown(&name);
    if query.matches.iter().any(|earlier| earlier.path == path) {
        return Err(QidoError::Repeated(given));
    }
    let vr = Vr::from_letters(vr.to_string()).unwrap_or(Vr::UN);
    let spaced = if vr == Vr::DT { value.to_owned() } else { value.replace('+', " ") };
    let value = spaced.as_str();
    let values = match vr {
        Vr::UI => uids(name, value, limits)?,
        // No code has a comma (PS3.5 section 6.2): who writes one means several, as of UIDs.
        Vr::CS => vec![decoded(value)?.trim_matches(' ').replace(',', "\\")],
        // Spaces at the ends are padding (PS3.5 section 6.2).
        _ => vec![decoded(value)?.trim_matches(' ').to_owned()],
    };
    query.matches.push(Match { path, vr, values });
    query.names.push(given);
    Ok(())
}

/// A list of UIDs, joined by commas or, as in DIMSE, by backslashes (PS3.18 section 8.3.4.1).
fn uids(name: String, value: &str, limits: Limits) -> Result<Vec<String>, QidoError> {
    let value = decoded(value)?;
    // It can mean nothing but any UID: some programs write it in every key that they leave open (DIM-063).
    if value == "*" {
        return Ok(Vec::new());
    }
    let mut uids = Vec::new();
    for part in value.split([',', '\\']).filter(|part| !part.is_empty()) {
        if uids.len() >= limits.values {
            return Err(QidoError::TooManyValues { attribute: shown(&name), limit: limits.values });
        }
        match InstanceUid::parse(part) {
            Ok(uid) => uids.push(uid.as_str().to_owned()),
            Err(_) => return Err(QidoError::Value { name: shown(&name), wanted: "a UID or a list of UIDs" }),
        }
    }
    Ok(uids)
}

/// Tags and VR of an attribute that is named by keyword or by eight hexadecimal digits, dotted inside sequences.
fn path(name: &str) -> Option<(Vec<Tag>, VR)> {
    let mut vr = VR::UN;
    let mut tags = Vec::new();
    for part in name.split('.') {
        let hex = part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let tag = if hex {
            let tag = Tag(u32::from_str_radix(part, 16).ok()?);
            let entry = StandardDataDictionary.by_tag(::dicom::core::Tag(tag.group(), tag.element()));
            vr = entry.map_or(VR::UN, |entry| entry.vr().relaxed());
            tag
        } else {
            let entry = StandardDataDictionary.by_name(part)?;
            vr = entry.vr().relaxed();
            let tag = entry.tag();
            Tag::new(tag.0, tag.1)
        };
        tags.push(tag);
        if tags.len() > 16 {
            return None;
        }
    }
    Some((tags, vr))
}
