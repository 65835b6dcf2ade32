//! The words of `ledger verify` and `ledger export`: one exported line, and the report of a verification.

use super::views::LedgerHead;
use crate::ledger::merkle::Hash;
use std::fmt::Write as _;

/// One entry as it is exported (LED-031).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryLine {
    /// Its position, from 1.
    pub position: u64,
    /// Its random name, in hexadecimal; empty if its bytes cannot be read.
    pub id: String,
    /// The word of its kind.
    pub kind: String,
    /// When, in microseconds since 1970-01-01 UTC.
    pub at: i64,
    /// Its leaf hash.
    pub leaf: Hash,
    /// The chain up to it.
    pub chain: Hash,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

impl EntryLine {
    /// The line of an NDJSON export, without its line feed: `bytes` is the canonical text itself, as a JSON string; the hashes
    /// are in hexadecimal. Bytes that are not UTF-8, which only damage makes, are given in hexadecimal as `damaged`.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.bytes.len() + 256);
        let (name, text) = match std::str::from_utf8(&self.bytes) {
            Ok(text) => ("bytes", text.to_owned()),
            Err(_) => ("damaged", hex(&self.bytes)),
        };
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            r#"{{"position":{},"id":{},"kind":{},"at":{},"leaf":"{}","chain":"{}","{name}":{}}}"#,
            self.position,
            quote(&self.id),
            quote(&self.kind),
            self.at,
            hex(&self.leaf),
            hex(&self.chain),
            quote(&text),
        );
        out
    }
}

/// Bytes in hexadecimal, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// What a verification found (LED-006).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The head that the entries themselves give, as far as they could be walked.
    pub head: LedgerHead,
    /// So many transfers were rebuilt from the entries and compared.
    pub transfers: u64,
    /// So many versions of instances were rebuilt and compared.
    pub instances: u64,
    /// So many exceptions were rebuilt and compared.
    pub exceptions: u64,
    /// The first entry that is wrong, if one is.
    pub first_bad: Option<u64>,
    /// What is wrong, in words, the first 20.
    pub problems: Vec<String>,
    /// How much more is wrong.
    pub more: u64,
    /// Tables of which pages and references were not looked at, since that would have taken too long; none where all was verified at once.
    pub unread: Vec<String>,
}

impl Report {
    /// Whether chain, tree, heads and states all agree.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_that_holds_the_exact_bytes() {
        let bytes = "{\"a\":\"\\u0001é\"}".as_bytes().to_vec();
        let line = EntryLine {
            position: 3,
            id: "ab".into(),
            kind: "received".into(),
            at: 5,
            leaf: [1; 32],
            chain: [0xFF; 32],
            bytes: bytes.clone(),
        };
        let json: serde_json::Value = serde_json::from_str(&line.to_json()).unwrap();
        assert_eq!(json["bytes"].as_str().unwrap().as_bytes(), bytes);
        assert_eq!(json["chain"].as_str().unwrap(), "ff".repeat(32));
        assert_eq!(json["position"], 3);
        let damaged = EntryLine { bytes: vec![0xFF], ..line };
        let json: serde_json::Value = serde_json::from_str(&damaged.to_json()).unwrap();
        assert_eq!(json["damaged"], "ff");
    }
}
