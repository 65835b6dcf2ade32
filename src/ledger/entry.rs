//! The entries of the ledger and their canonical bytes (LED-001, LED-002). Pure.
//!
//! An entry is one JSON object with sorted keys, no spaces, and nothing in it but text, whole numbers, lists and objects:
//! the canonical form of RFC 8785 for these. It holds no position and no previous hash, so that several writers need not
//! wait for one another; both come afterwards. Nothing in it may name a patient (LED-010).

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The largest whole number of an entry: what every reader of JSON keeps exactly (RFC 8785 section 3.2.2.3).
pub const LARGEST: i64 = (1 << 53) - 1;

/// The name of an entry: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub [u8; 16]);

impl EntryId {
    /// Parses 32 hexadecimal digits in lower case; `None` if the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = if plain { u128::from_str_radix(text, 16).ok()? } else { return None };
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The records were opened by a process.
    Opened,
    /// An instance was received.
    Received,
    /// A batch was begun: sent, or asked about.
    Attempt,
    /// What a batch, or part of it, came to.
    Outcome,
    /// A batch was found without an end when the records were opened (INV-08).
    Interrupted,
    /// A person retried, held, released or cancelled transfers.
    Act,
    /// A blob no longer agrees with its digest and was set aside.
    Corrupt,
    /// Blobs are to be deleted (INV-06).
    Condemned,
    /// Every blob was read and compared with its digest (REL-07).
    Scrubbed,
    /// Other content under a known UID was judged (IDY-020).
    Judged,
    /// Somebody was refused: an unknown caller, a wrong certificate, something not allowed (LED-011).
    Refused,
    /// Other routes are in force from now on (INV-15).
    Configured,
    /// A node is about to be given instances by C-MOVE or C-GET.
    Retrieval,
    /// How that ended.
    Retrieved,
    /// Another site asked for a study, and was told of it or given it (SEC-023).
    Asked,
    /// The cross-reference of patients' numbers was added to or taken from; never which number (IDY-041).
    Identified,
    /// Somebody was not told of a study, or not given it, by a rule of this site.
    Withheld,
    /// What was pulled of a study from a peer.
    Pulled,
    /// A rejection note was read, and what it hides or shows (WEB-105).
    Rejected,
    /// Other sites were asked what they hold, for somebody of this site (SEC-023).
    Sought,
}

impl Kind {
    const ALL: [Self; 20] = [
        Self::Opened,
        Self::Received,
        Self::Attempt,
        Self::Outcome,
        Self::Interrupted,
        Self::Act,
        Self::Corrupt,
        Self::Condemned,
        Self::Scrubbed,
        Self::Judged,
        Self::Refused,
        Self::Configured,
        Self::Retrieval,
        Self::Retrieved,
        Self::Asked,
        Self::Identified,
        Self::Withheld,
        Self::Pulled,
        Self::Rejected,
        Self::Sought,
    ];

    /// The word that entries use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Received => "received",
            Self::Attempt => "attempt",
            Self::Outcome => "outcome",
            Self::Interrupted => "interrupted",
            Self::Act => "act",
            Self::Corrupt => "corrupt",
            Self::Condemned => "condemned",
            Self::Scrubbed => "scrubbed",
            Self::Judged => "judged",
            Self::Refused => "refused",
            Self::Configured => "configured",
            Self::Retrieval => "retrieval",
            Self::Retrieved => "retrieved",
            Self::Asked => "asked",
            Self::Identified => "identified",
            Self::Withheld => "withheld",
            Self::Pulled => "pulled",
            Self::Rejected => "rejected",
            Self::Sought => "sought",
        }
    }

    /// The kind that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A value in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Text.
    Text(String),
    /// A whole number, at most [`LARGEST`] either way.
    Number(i64),
    /// A list.
    List(Vec<Fact>),
    /// Named facts.
    Map(Facts),
}

/// Named facts, in the order of their names.
pub type Facts = BTreeMap<String, Fact>;

/// Facts from pairs of name and value.
pub fn facts<const N: usize>(pairs: [(&str, Fact); N]) -> Facts {
    pairs.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect()
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Fact {
    fn from(number: i64) -> Self {
        Self::Number(number.clamp(-LARGEST, LARGEST))
    }
}

impl From<Facts> for Fact {
    fn from(facts: Facts) -> Self {
        Self::Map(facts)
    }
}

impl FromIterator<Fact> for Fact {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        Self::List(facts.into_iter().collect())
    }
}

impl Fact {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The list, if it is one.
    pub fn list(&self) -> Option<&[Fact]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The named facts, if they are some.
    pub fn map(&self) -> Option<&Facts> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(text, out),
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::List(list) => {
                out.push(b'[');
                for (n, fact) in list.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    fact.write(out);
                }
                out.push(b']');
            }
            Self::Map(map) => write_map(map.iter().map(|(name, fact)| (name.as_str(), fact)), out),
        }
    }
}

/// Facts are read as they stand, without a copy in between: all entries are, to verify a ledger.
struct AnyFact;

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyFact)
    }
}

impl<'de> Visitor<'de> for AnyFact {
    type Value = Fact;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number, a list or named facts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Fact, E> {
        Ok(Fact::Text(text.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Fact, E> {
        match number.unsigned_abs() <= LARGEST.unsigned_abs() {
            true => Ok(Fact::Number(number)),
            false => Err(E::custom("a number that is too large")),
        }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Fact, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Fact, A::Error> {
        let mut facts = Vec::new();
        while let Some(fact) = list.next_element()? {
            facts.push(fact);
        }
        Ok(Fact::List(facts))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Fact, A::Error> {
        let mut facts = Facts::new();
        while let Some((name, fact)) = map.next_entry()? {
            facts.insert(name, fact);
        }
        Ok(Fact::Map(facts))
    }
}

fn write_map<'a>(pairs: impl Iterator<Item = (&'a str, &'a Fact)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (n, (name, fact)) in pairs.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_text(name, out);
        out.push(b':');
        fact.write(out);
    }
    out.push(b'}');
}

/// Writes a text as RFC 8785 section 3.2.2.2 says.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let (bytes, mut from) = (text.as_bytes(), 0);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && !matches!(byte, b'"' | b'\\') {
            continue;
        }
        // What needs no escape is copied in one piece.
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0A => out.extend_from_slice(b"\\n"),
            0x0C => out.extend_from_slice(b"\\f"),
            0x0D => out.extend_from_slice(b"\\r"),
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its random name.
    pub id: EntryId,
    /// Who wrote it: the name that the records were given when they were made.
    pub writer: String,
    /// What it tells of.
    pub kind: Kind,
    /// When, in microseconds since 1970-01-01 UTC, by the writer's clock.
    pub at: i64,
    /// What happened.
    pub facts: Facts,
    /// The entries that led to it.
    pub causes: Vec<EntryId>,
}

/// Why some bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not JSON, or JSON with something in it that entries do not have.
    #[error("the bytes are not an entry")]
    NotAnEntry,
    /// An entry, but not in its one canonical form.
    #[error("the entry is not in canonical form")]
    NotCanonical,
}

impl Entry {
    /// The canonical bytes, which are what is hashed and stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let causes: Fact = self.causes.iter().map(|id| Fact::Text(id.to_string())).collect();
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(b"{\"at\":");
        Fact::from(self.at).write(&mut out);
        out.extend_from_slice(b",\"causes\":");
        causes.write(&mut out);
        out.extend_from_slice(b",\"facts\":");
        write_map(self.facts.iter().map(|(name, fact)| (name.as_str(), fact)), &mut out);
        out.extend_from_slice(b",\"id\":");
        write_text(&self.id.to_string(), &mut out);
        out.extend_from_slice(b",\"kind\":");
        write_text(self.kind.word(), &mut out);
        out.extend_from_slice(b",\"writer\":");
        write_text(&self.writer, &mut out);
        out.push(b'}');
        out
    }

    /// Reads an entry back. Only its canonical bytes are accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let entry = serde_json::from_slice(bytes).ok().and_then(Self::read).ok_or(EntryError::NotAnEntry)?;
        if entry.to_bytes() == bytes { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }

    fn read(entry: Fact) -> Option<Self> {
        let Fact::Map(mut map) = entry else { return None };
        if map.len() != 6 {
            return None;
        }
        let mut text = |name: &str| match map.remove(name) {
            Some(Fact::Text(text)) => Some(text),
            _ => None,
        };
        let (id, kind, writer) = (text("id")?, text("kind")?, text("writer")?);
        let causes = map.get("causes")?.list()?.iter().map(|cause| cause.text().and_then(EntryId::parse));
        let causes = causes.collect::<Option<Vec<_>>>()?;
        let at = map.get("at")?.number()?;
        let Some(Fact::Map(facts)) = map.remove("facts") else { return None };
        Some(Self { id: EntryId::parse(&id)?, writer, kind: Kind::parse(&kind)?, at, facts, causes })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
