//! How domain values are written to and read from columns.

use crate::dicom::attributes::ISSUER_OF_PATIENT_ID;
use crate::dicom::tag::Tag;
use crate::ledger::transfer::{Cause, State};
use crate::peers::{Origin, Priority, Verify};
use crate::records::{RecordsError, SourceFacts};
use crate::store::{Digest, Place};
use rusqlite::Row;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a command failed inside its transaction.
#[derive(Debug)]
pub(in crate::records) enum Fault {
    /// It makes no sense, or damaged rows were met; only this command is undone.
    Refused(RecordsError),
    /// The database said no; the writer decides how bad that is.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Fault> for RecordsError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) => error,
            Fault::Sqlite(error) => Self::Database(error.to_string()),
        }
    }
}

/// A refusal in words.
pub(in crate::records) fn refuse<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(RecordsError::Refused(why.into())))
}

/// A row that holds what it never should.
pub(in crate::records) fn damaged(what: &str) -> Fault {
    Fault::Refused(RecordsError::Database(format!(
        "a row holds a {what} that makes no sense; run `weybridge ledger verify`"
    )))
}

/// Microseconds since 1970; times outside what entries can hold are clamped.
pub(in crate::records) fn micros(at: SystemTime) -> i64 {
    let largest = crate::ledger::entry::LARGEST;
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(largest).min(largest),
        Err(before) => i64::try_from(before.duration().as_micros()).unwrap_or(largest).min(largest).wrapping_neg(),
    }
}

/// A duration in microseconds, clamped.
pub(in crate::records) fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).min(crate::ledger::entry::LARGEST)
}

/// The time of so many microseconds since 1970.
pub(in crate::records) fn time(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    let at = if micros < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    at.unwrap_or(UNIX_EPOCH)
}

/// A number of bytes, a position or the like as a column.
pub(in crate::records) fn whole(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).or_else(|_| refuse("a number is too large for the records"))
}

/// A column that is never negative.
pub(in crate::records) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A small column that is never negative.
pub(in crate::records) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads a UID or the like through its parser.
pub(in crate::records) fn parsed<T, E>(
    text: &str,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Fault> {
    parse(text).map_err(|_| damaged(what))
}

/// A state from its word.
pub(in crate::records) fn state(word: &str) -> Result<State, Fault> {
    State::parse(word).ok_or_else(|| damaged("state"))
}

/// A digest from its 32 bytes.
pub(in crate::records) fn digest(bytes: &[u8]) -> Result<Digest, Fault> {
    bytes.try_into().map(Digest).map_err(|_| damaged("digest"))
}

/// A priority from its rank.
pub(in crate::records) fn priority(rank: i64) -> Result<Priority, Fault> {
    Priority::of_rank(rank).ok_or_else(|| damaged("priority"))
}

/// The word of a policy.
pub(in crate::records) fn verify_word(verify: Verify) -> &'static str {
    verify.word()
}

/// A policy from its word.
pub(in crate::records) fn verify(word: &str) -> Result<Verify, Fault> {
    Verify::ALL.into_iter().find(|verify| verify.word() == word).ok_or_else(|| damaged("policy"))
}

/// The text of a cause: `route`, or `operator:` and the request.
pub(in crate::records) fn cause_text(cause: &Cause) -> String {
    match cause {
        Cause::Route => "route".to_owned(),
        Cause::Operator(request) => format!("operator:{request}"),
    }
}

/// A cause from its text.
pub(in crate::records) fn cause(text: &str) -> Result<Cause, Fault> {
    match text.strip_prefix("operator:") {
        Some(request) => Ok(Cause::Operator(request.to_owned())),
        None if text == "route" => Ok(Cause::Route),
        None => Err(damaged("cause")),
    }
}

/// The word of an origin's kind.
pub(in crate::records) fn origin_kind(origin: &Origin) -> &'static str {
    match origin {
        Origin::Node(_) => "node",
        Origin::Peer(_) => "peer",
        Origin::Operator(_) => "operator",
        Origin::Pulled(_) => "pulled",
        Origin::Archive(_) => "archive",
    }
}

/// How an instance stands that came in this way alone: 0 it is ours to keep, 1 a copy of what a peer keeps, 2 of what an archive
/// of ours keeps.
pub(in crate::records) fn borrowed(origin: &Origin) -> i64 {
    match origin {
        Origin::Node(_) | Origin::Peer(_) | Origin::Operator(_) => 0,
        Origin::Pulled(_) => 1,
        Origin::Archive(_) => 2,
    }
}

/// An origin from its columns.
pub(in crate::records) fn origin(kind: &str, name: &str) -> Result<Origin, Fault> {
    match kind {
        "node" => parsed(name, "AE title", crate::dicom::ae_title::AeTitle::parse).map(Origin::Node),
        "peer" => Ok(Origin::Peer(name.to_owned())),
        "operator" => Ok(Origin::Operator(name.to_owned())),
        "pulled" => Ok(Origin::Pulled(name.to_owned())),
        "archive" => parsed(name, "AE title", crate::dicom::ae_title::AeTitle::parse).map(Origin::Archive),
        _ => Err(damaged("origin")),
    }
}

/// A place from its four columns, starting at `first`.
pub(in crate::records) fn place(row: &Row<'_>, first: usize) -> rusqlite::Result<Place> {
    Ok(Place {
        file: count(row.get(first)?),
        shared: row.get(first + 1)?,
        offset: count(row.get(first + 2)?),
        length: count(row.get(first + 3)?),
    })
}

/// The facts of a source that are known, by name.
pub(in crate::records) fn source_pairs(source: &SourceFacts) -> impl Iterator<Item = (&'static str, String)> {
    let SourceFacts {
        calling,
        called,
        address,
        implementation_class,
        implementation_version,
        certificate,
        issuer,
        word,
    } = source;
    [
        ("calling", calling.clone()),
        ("called", called.clone()),
        ("address", address.map(|a| a.to_string())),
        ("implementation_class", implementation_class.clone()),
        ("implementation_version", implementation_version.clone()),
        ("certificate", certificate.clone()),
        ("issuer", issuer.clone()),
        ("word", word.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
}

/// The column of a source.
pub(in crate::records) fn source_text(source: &SourceFacts) -> String {
    let pairs = source_pairs(source).map(|(name, value)| (name.to_owned(), Value::from(value)));
    Value::from(pairs.collect::<Map<_, _>>()).to_string()
}

/// Who issued an object's number by the word of the site that it was pulled from, of the arrival `a`, as a column.
pub(in crate::records) const WORD: &str = "json_extract(a.source, '$.word') AS word";

/// Tells who issued a number by the word of a row's site, where the object does not say it.
pub(in crate::records) fn with_word(row: &Row<'_>, attributes: &mut BTreeMap<Tag, String>) -> Result<(), Fault> {
    let word: Option<String> = row.get("word")?;
    let silent = attributes.get(&ISSUER_OF_PATIENT_ID).is_none_or(String::is_empty);
    attributes.extend(word.filter(|_| silent).map(|word| (ISSUER_OF_PATIENT_ID, word)));
    Ok(())
}

/// A source from its column; what cannot be read is left out.
pub(in crate::records) fn source(text: &str) -> SourceFacts {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let get = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    SourceFacts {
        calling: get("calling"),
        called: get("called"),
        address: get("address").and_then(|a| a.parse().ok()),
        implementation_class: get("implementation_class"),
        implementation_version: get("implementation_version"),
        certificate: get("certificate"),
        issuer: get("issuer"),
        word: get("word"),
    }
}
