//! Numbers as text.

/// A number as the literal that JSON writes, so that no digit is ever altered (WEB-097).
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// A number out of its text; leading and trailing spaces are padding. One that JSON does not write so is written as JSON does, with
    /// the same value. `None` if it is no number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        if is_json_number(text) {
            return Some(Self(text.into()));
        }
        as_json(text).map(|text| Self(text.into()))
    }

    /// What JSON has no literal for, in the words of PS3.18 section F.2.3: it is written as a string among the numbers.
    pub fn not_finite(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        NOT_FINITE.contains(&text).then(|| Self(text.into()))
    }

    /// Whether it is a literal of JSON.
    pub fn is_literal(&self) -> bool {
        !NOT_FINITE.contains(&self.as_str())
    }

    /// The literal, or the word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, if it is a whole number of that range.
    pub fn to_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

const NOT_FINITE: [&str; 3] = ["NaN", "inf", "-inf"];

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(value.to_string().into())
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(value.to_string().into())
    }
}

/// The same number as RFC 8259 section 6 writes it, every digit but zeros in front kept. A Decimal String may have a plus sign, zeros in
/// front, and nothing before or behind its point, as `.5` (PS3.5 section 6.2); viewers reckon with numbers and add up texts wrongly.
fn as_json(text: &str) -> Option<String> {
    let (minus, unsigned) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(unsigned), _) => ("-", unsigned),
        (None, unsigned) => ("", unsigned.unwrap_or(text)),
    };
    let (mantissa, exponent) = unsigned.split_at(unsigned.find(['e', 'E']).unwrap_or(unsigned.len()));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let point = if fraction.is_empty() { "" } else { "." };
    let number = format!("{minus}{whole}{point}{fraction}{exponent}");
    is_json_number(&number).then_some(number)
}

/// Tells whether a text is a number as RFC 8259 section 6 writes them.
fn is_json_number(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}
