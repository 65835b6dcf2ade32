//! DICOM unique identifiers: parsed once at the border, valid for ever after.

use std::fmt;

/// Why a text is not a UID (PS3.5 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UidError {
    /// No characters are left after the padding is removed.
    #[error("the UID is empty")]
    Empty,
    /// More than 64 characters.
    #[error("the UID is longer than 64 characters")]
    TooLong,
    /// Something else than digits and dots, or an empty component.
    #[error("the UID holds something else than digits joined by single dots")]
    Malformed,
}

/// Checks a UID after its padding is removed: 1 to 64 digits and dots, no empty component (PS3.5 section 9.1).
///
/// A component with a leading zero breaks the clause but is common in the field; it is accepted
/// (row 4 of the decision table of C-STORE), and [`has_leading_zero`] tells, for the ledger.
fn check(text: &str) -> Result<&str, UidError> {
    let text = text.trim_end_matches(['\0', ' ']).trim_start_matches(' ');
    if text.is_empty() {
        return Err(UidError::Empty);
    }
    if text.len() > 64 {
        return Err(UidError::TooLong);
    }
    let plain = text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if plain { Ok(text) } else { Err(UidError::Malformed) }
}

/// Tells whether a component of the UID starts with a superfluous zero, which PS3.5 section 9.1 forbids and the field does.
pub fn has_leading_zero(uid: &str) -> bool {
    uid.split('.').any(|part| part.len() > 1 && part.starts_with('0'))
}

macro_rules! uid_type {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses a UID; trailing NUL and spaces are padding. Errors as in [`UidError`].
            pub fn parse(text: &str) -> Result<Self, UidError> {
                check(text).map(|t| Self(t.into()))
            }

            /// Parses the bytes of a UI value or a UID item; see [`Self::parse`].
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, UidError> {
                std::str::from_utf8(bytes).map_err(|_| UidError::Malformed).and_then(Self::parse)
            }

            /// The UID without padding.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

uid_type! {
    /// Study Instance UID (0020,000D).
    StudyUid;
    /// Series Instance UID (0020,000E).
    SeriesUid;
    /// SOP Instance UID (0008,0018): the identity of an instance (IDY-001).
    InstanceUid;
    /// SOP Class UID (0008,0016), also used as abstract syntax.
    SopClassUid;
    /// Transfer Syntax UID (0002,0010).
    TransferSyntaxUid;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_checked_as_ps3_5_says() {
        let rows = [
            ("1.2.840.10008.1.2", Ok("1.2.840.10008.1.2")),
            ("1.2.3\0", Ok("1.2.3")),
            ("1.2.3 ", Ok("1.2.3")),
            ("1.02.3", Ok("1.02.3")),
            ("", Err(UidError::Empty)),
            ("\0", Err(UidError::Empty)),
            ("1..2", Err(UidError::Malformed)),
            ("../../etc", Err(UidError::Malformed)),
            ("1.2.", Err(UidError::Malformed)),
            ("1.2.x", Err(UidError::Malformed)),
        ];
        for (text, want) in rows {
            assert_eq!(InstanceUid::parse(text).as_ref().map(|u| u.as_str()).map_err(|e| *e), want, "{text:?}");
        }
        assert_eq!(InstanceUid::parse(&"1".repeat(65)), Err(UidError::TooLong));
        assert!(InstanceUid::parse(&"1".repeat(64)).is_ok());
        assert!(has_leading_zero("1.02.3") && !has_leading_zero("1.0.3"));
    }
}
