//! Numbers as text.

/// A number as the literal that JSON writes, so that no digit is ever altered (WEB-097).
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// A number out of its text; leading and trailing spaces are padding. `None` if it is neither a JSON number nor an integer.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        if is_json_number(text) {
            return Some(Self(text.into()));
        }
        text.parse::<i64>().ok().map(Self::from)
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
