//! Application entity titles.

use std::fmt;

/// The name of a DICOM application entity: 1 to 16 characters of the basic G0 set without backslash or control
/// characters; leading and trailing spaces mean nothing; compared case-sensitively (PS3.5 section 6.2, PS3.8 section 9.3.2; DIM-002).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle(Box<str>);

/// Why a text is not an AE title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AeTitleError {
    /// Only spaces, which PS3.5 reserves to mean "no title".
    #[error("the AE title is empty")]
    Empty,
    /// More than 16 characters after trimming.
    #[error("the AE title is longer than 16 characters")]
    TooLong,
    /// A backslash, a control character, or something outside the basic G0 set.
    #[error("the AE title holds a character that is not allowed")]
    Malformed,
}

impl AeTitle {
    /// Parses a title; surrounding spaces and trailing NULs are padding.
    pub fn parse(text: &str) -> Result<Self, AeTitleError> {
        let text = text.trim_matches([' ', '\0']);
        if text.is_empty() {
            return Err(AeTitleError::Empty);
        }
        if text.len() > 16 {
            return Err(AeTitleError::TooLong);
        }
        if !text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'\\') {
            return Err(AeTitleError::Malformed);
        }
        Ok(Self(text.into()))
    }

    /// The title without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_trimmed_and_checked() {
        assert_eq!(AeTitle::parse(" GW1"), AeTitle::parse("GW1 "));
        assert_ne!(AeTitle::parse("GW1"), AeTitle::parse("gw1"));
        assert_eq!(AeTitle::parse("                "), Err(AeTitleError::Empty));
        assert_eq!(AeTitle::parse("A\\B"), Err(AeTitleError::Malformed));
        assert_eq!(AeTitle::parse("12345678901234567"), Err(AeTitleError::TooLong));
    }
}
