//! NHS numbers: what one is, whether it was ever issued, and how its issuer is named (IDY-042, IDY-043; NHS Data Dictionary).

use std::fmt;

/// The object identifier of the NHS number as an issuer.
pub const ISSUER_OID: &str = "2.16.840.1.113883.2.1.4.1";

/// The same as a FHIR system.
const ISSUER_URL: &str = "https://fhir.nhs.uk/Id/nhs-number";

/// A number whose check digit is right and which lies in a range that is issued, or in that of tests. `Debug` does not print it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NhsNumber([u8; 10]);

impl fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NhsNumber")
    }
}

/// Why a text is no NHS number. The words hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNhs {
    /// It is not ten digits, spaces and hyphens aside.
    #[error("an NHS number has ten digits")]
    NotTenDigits,
    /// The tenth digit is not what the others make it.
    #[error("its check digit is wrong")]
    CheckDigit,
    /// Nobody has such a number.
    #[error("it lies outside the ranges that are issued")]
    NeverIssued,
}

impl NhsNumber {
    /// Reads a number as people and systems write it: ten digits, with spaces or hyphens between them or not.
    pub fn parse(text: &str) -> Result<Self, NotNhs> {
        let digits: Vec<char> = text.chars().filter(|c| !matches!(c, ' ' | '-' | '\u{a0}')).collect();
        let values: Vec<u8> = digits.iter().filter_map(|c| c.to_digit(10).map(|digit| digit as u8)).collect();
        let number: [u8; 10] = values.try_into().map_err(|_| NotNhs::NotTenDigits)?;
        if digits.len() != 10 {
            return Err(NotNhs::NotTenDigits);
        }
        if check_digit(&number) != Some(number[9]) {
            return Err(NotNhs::CheckDigit);
        }
        match number[0] {
            4 | 6 | 7 | 9 => Ok(Self(number)),
            _ => Err(NotNhs::NeverIssued),
        }
    }

    /// Whether it belongs to nobody and is meant for tests.
    pub fn is_test(self) -> bool {
        self.0[0] == 9
    }

    /// Its ten digits.
    pub fn digits(self) -> String {
        self.0.iter().map(|digit| char::from(b'0' + digit)).collect()
    }

    /// The forms in which it may stand in records: ten digits, and in groups of three, three and four.
    pub fn forms(self) -> [String; 3] {
        let digits = self.digits();
        let grouped = |by: &str| [&digits[..3], &digits[3..6], &digits[6..]].join(by);
        [digits.clone(), grouped(" "), grouped("-")]
    }
}

/// What the tenth digit must be: the first nine weighted 10 to 2, modulo 11, taken from 11; none where that is 10.
fn check_digit(number: &[u8; 10]) -> Option<u8> {
    let sum: u32 = number[..9].iter().zip((2..=10).rev()).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    match 11 - sum % 11 {
        10 => None,
        11 => Some(0),
        digit => u8::try_from(digit).ok(),
    }
}

/// Whether an Issuer of Patient ID, or a configured issuer, says that the numbers are NHS numbers: `NHS`, its object identifier, its
/// FHIR system, or an HL7 designator that holds one of these.
pub fn is_issuer(issuer: &str) -> bool {
    let known = |part: &str| {
        let part = part.trim();
        let plain = part.strip_prefix("urn:oid:").unwrap_or(part);
        plain.eq_ignore_ascii_case("NHS") || plain == ISSUER_OID || plain == ISSUER_URL
    };
    issuer.split(['&', '^']).any(known)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Vectors: the Data Dictionary's own example, numbers around the ranges, every way to be wrong.
    #[test]
    fn numbers_are_checked_by_digit_and_range() {
        type Row<'a> = (&'a str, Result<(&'a str, bool), NotNhs>);
        let rows: &[Row<'_>] = &[
            ("9434765919", Ok(("9434765919", true))),
            ("943 476 5919", Ok(("9434765919", true))),
            ("943-476-5919", Ok(("9434765919", true))),
            (" 943 476 5919 ", Ok(("9434765919", true))),
            ("4000000004", Ok(("4000000004", false))),
            ("4999999993", Err(NotNhs::CheckDigit)),
            ("6000000006", Ok(("6000000006", false))),
            ("7000000007", Ok(("7000000007", false))),
            ("4999999994", Ok(("4999999994", false))),
            ("7999999997", Ok(("7999999997", false))),
            // The remainder is 0: the digit is 0.
            ("4000000020", Ok(("4000000020", false))),
            // The check would be 10, which no digit is.
            ("4000000080", Err(NotNhs::CheckDigit)),
            ("4000000081", Err(NotNhs::CheckDigit)),
            ("9434765918", Err(NotNhs::CheckDigit)),
            ("0000000000", Err(NotNhs::NeverIssued)),
            ("1111111111", Err(NotNhs::NeverIssued)),
            ("943476591", Err(NotNhs::NotTenDigits)),
            ("94347659190", Err(NotNhs::NotTenDigits)),
            ("943476591X", Err(NotNhs::NotTenDigits)),
            ("943476591X9", Err(NotNhs::NotTenDigits)),
            ("", Err(NotNhs::NotTenDigits)),
            ("T0000001", Err(NotNhs::NotTenDigits)),
        ];
        for (text, want) in rows {
            let found = NhsNumber::parse(text).map(|number| (number.digits(), number.is_test()));
            assert_eq!(found, want.map(|(digits, test)| (digits.to_owned(), test)), "{text:?}");
        }
        // Of any nine digits at most one tenth is right, and none where the remainder says 10.
        let mut none = 0;
        for first in (400_000_000..400_011_000).chain(600_000_000..600_000_500).chain(799_999_000..800_000_000) {
            let right = (0..10).filter(|tenth| NhsNumber::parse(&format!("{first}{tenth}")).is_ok()).count();
            assert!(right <= 1, "{first}");
            none += usize::from(right == 0);
        }
        assert!(none > 500, "{none}");
        let number = NhsNumber::parse("9434765919").unwrap();
        assert_eq!(number.forms(), ["9434765919", "943 476 5919", "943-476-5919"]);
        assert_eq!(format!("{number:?}"), "NhsNumber");
    }

    #[test]
    fn the_issuer_has_several_names() {
        for issuer in [
            "NHS",
            " nhs ",
            ISSUER_OID,
            "urn:oid:2.16.840.1.113883.2.1.4.1",
            ISSUER_URL,
            "NHS&2.16.840.1.113883.2.1.4.1&ISO",
        ] {
            assert!(is_issuer(issuer), "{issuer}");
        }
        for other in
            ["", "NH", "RTX", "NHSX", "2.16.840.1.113883.2.1.4", "2.16.840.1.113883.2.1.4.12", "Kent&1.2.3&ISO"]
        {
            assert!(!is_issuer(other), "{other}");
        }
    }
}
