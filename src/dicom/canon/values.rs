//! Values that say the same and are written in several ways: spaces and empty ends that do not count, and numbers (PS3.5 sections 6.2
//! and 6.2.1). What is not surely of a form is left as it is.

use crate::dicom::vr::Vr;
use std::borrow::Cow;

/// Numbers that are longer are compared as they are written; the standard allows 16 characters.
const LONGEST_NUMBER: usize = 64;

/// A decoded text as it counts. In PN, LO and SH spaces on either side of a value or component do not, in UC those behind it; ST, LT and
/// UT are one value, of which the end was cut already.
pub(super) fn text(vr: Vr, text: &str) -> Cow<'_, str> {
    match vr {
        Vr::PN => Cow::Owned(each(text, '\\', |value| name(value).into())),
        Vr::LO | Vr::SH => Cow::Owned(each(text, '\\', |value| value.trim_matches(' ').into())),
        Vr::UC => Cow::Owned(each(text, '\\', |value| value.trim_end_matches(' ').into())),
        _ => Cow::Borrowed(text),
    }
}

/// A text of the default repertoire as it counts. Bytes of another one, of which a delimiter may be a part, are left as they are.
pub(super) fn plain(vr: Vr, bytes: &[u8]) -> Cow<'_, [u8]> {
    let of_number: Option<fn(&str) -> Option<String>> = match vr {
        Vr::AE | Vr::CS => None,
        Vr::DS => Some(decimal),
        Vr::IS => Some(integer),
        _ => return Cow::Borrowed(bytes),
    };
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii() && !text.contains('\x1B')) else {
        return Cow::Borrowed(bytes);
    };
    let one = |value: &str| {
        let value = value.trim_matches(' ');
        of_number.and_then(|number| number(value)).unwrap_or_else(|| value.to_owned())
    };
    Cow::Owned(each(text, '\\', |value| one(value).into()).into_bytes())
}

fn each<'a>(text: &'a str, delimiter: char, part: impl Fn(&'a str) -> Cow<'a, str>) -> String {
    text.split(delimiter).map(part).collect::<Vec<_>>().join(delimiter.encode_utf8(&mut [0; 4]))
}

/// A name without the null components and component groups at its ends, which may be left out (PS3.5 section 6.2.1).
fn name(value: &str) -> String {
    let group = |group| each(group, '^', |component| component.trim_matches(' ').into());
    let groups = each(value, '=', |of| group(of).trim_end_matches('^').to_owned().into());
    groups.trim_end_matches('=').to_owned()
}

/// An integer without its plus and its leading zeros: what is none, such as `7e1`, never takes that form.
fn integer(value: &str) -> Option<String> {
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", value.strip_prefix('+').unwrap_or(value)),
    };
    if digits.is_empty() || value.len() > LONGEST_NUMBER || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    Some(if digits.is_empty() { "0".to_owned() } else { format!("{sign}{digits}") })
}

/// A decimal number in the one form `-DIGITSeEXPONENT`, without zeros at the ends of the digits; nothing is rounded.
fn decimal(value: &str) -> Option<String> {
    if value.len() > LONGEST_NUMBER {
        return None;
    }
    let (mantissa, exponent) = match value.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, signed(exponent)?),
        None => (value, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = whole.starts_with('-');
    let whole = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let places = i64::try_from(fraction.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0e0".to_owned());
    }
    let exponent = exponent.checked_sub(places)?.checked_add(zeros)?;
    Some(format!("{}{significant}e{exponent}", if negative { "-" } else { "" }))
}

fn signed(exponent: &str) -> Option<i64> {
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| exponent.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_brought_to_one_form_and_never_rounded() {
        let long = format!("1{}", "0".repeat(LONGEST_NUMBER));
        let rows: &[(&str, Option<&str>)] = &[
            ("1", Some("1e0")),
            ("1.0", Some("1e0")),
            ("+1.", Some("1e0")),
            ("1.000000e+00", Some("1e0")),
            ("10E-1", Some("1e0")),
            ("01", Some("1e0")),
            (".5", Some("5e-1")),
            ("-0.50", Some("-5e-1")),
            ("1000", Some("1e3")),
            ("100.10", Some("1001e-1")),
            ("0", Some("0e0")),
            ("-0.000e5", Some("0e0")),
            ("0.1", Some("1e-1")),
            ("0.1000000000000000000000000000000001", Some("1000000000000000000000000000000001e-34")),
            ("9007199254740993", Some("9007199254740993e0")),
            ("1e9223372036854775807", Some("1e9223372036854775807")),
            ("10e9223372036854775807", None),
            ("1e99999999999999999999", None),
            (&long[..LONGEST_NUMBER], Some("1e63")),
            (&long, None),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("1e+", None),
            ("1 0", None),
            ("1,5", None),
            ("--1", None),
            ("0x10", None),
            ("NaN", None),
            ("1e5e5", None),
            ("1.5.2", None),
        ];
        for (text, want) in rows {
            assert_eq!(decimal(text).as_deref(), *want, "{text}");
        }
        for (text, want) in [
            ("007", Some("7")),
            ("+70", Some("70")),
            ("-7", Some("-7")),
            ("-0", Some("0")),
            ("7.0", None),
            ("7e0", None),
            ("", None),
        ] {
            assert_eq!(integer(text).as_deref(), want, "{text}");
        }
    }
}
