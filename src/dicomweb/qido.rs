//! Queries of QIDO-RS: what a query string asks for (PS3.18 sections 8.3.4 and 10.6.1.2).

mod parse;

pub use parse::parse;

use crate::dicom::query::{self, Match};
use crate::dicom::tag::Tag;
use reqwest::header::HeaderName;

/// What a query string may hold at most; a hostile one is refused before anything is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the query string.
    pub bytes: usize,
    /// Parameters.
    pub parameters: usize,
    /// Values of one list.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 10, parameters: 128, values: 1024 }
    }
}

/// Why a query string is refused; the answer is 400 with this text, which never repeats a value (SEC-010).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QidoError {
    /// The query string is longer than the limit.
    #[error("the query string is longer than {0} bytes")]
    TooLong(usize),
    /// More parameters than the limit.
    #[error("the query string has more than {0} parameters")]
    TooManyParameters(usize),
    /// More values in one list than the limit.
    #[error("{attribute} lists more than {limit} values")]
    TooManyValues {
        /// The parameter.
        attribute: String,
        /// The limit.
        limit: usize,
    },
    /// Percent-encoding or UTF-8 is broken.
    #[error("the query string is not percent-encoded UTF-8")]
    Encoding,
    /// An attribute is given twice (PS3.18 section 8.3.4.1).
    #[error("{0} is given twice")]
    Repeated(String),
    /// A value that its attribute or parameter cannot have.
    #[error("the value of {name} is not {wanted}")]
    Value {
        /// The parameter.
        name: String,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Which attributes are asked for beyond those that the standard requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Include {
    /// All that there are.
    All,
    /// These; a path as in [`Match::path`].
    Fields(Vec<Vec<Tag>>),
}

/// A parsed query string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What must match, in the order given.
    pub matches: Vec<Match>,
    /// What is asked for.
    pub include: Include,
    /// The most results that are asked for.
    pub limit: Option<u64>,
    /// Results to be skipped.
    pub offset: u64,
    /// Fuzzy matching of names is asked for.
    pub fuzzy: bool,
    /// Empty value matching is asked for.
    pub empty_values: bool,
    /// Multiple value matching is asked for.
    pub multiple_values: bool,
    /// Parameters that are neither known nor in the dictionary, and keys that are not matched: ignored, as section 8.3.4.1 asks, and
    /// named in a Warning header: a misspelt key finds more than was meant.
    pub ignored: Vec<String>,
    /// By which names the keys of `matches` were given, in their order.
    names: Vec<String>,
}

/// Names of parameters that one Warning header holds.
const MOST_NAMED: usize = 8;

impl Query {
    /// The match on a top-level attribute.
    pub fn matching(&self, tag: Tag) -> Option<&Match> {
        query::matching(&self.matches, tag)
    }

    fn ignore(&mut self, name: String) {
        if !self.ignored.contains(&name) {
            self.ignored.push(name);
        }
    }

    /// Counts those keys that ask for something and are not matched among what is ignored.
    pub fn pass_over(&mut self, is_matched: impl Fn(&Match) -> bool) {
        let asks = |key: &Match| key.values.iter().any(|value| !matches!(value.as_str(), "" | "*"));
        let passed = self.matches.iter().zip(&self.names).filter(|(key, _)| asks(key) && !is_matched(key));
        let names: Vec<String> = passed.map(|(_, name)| name.clone()).collect();
        names.into_iter().for_each(|name| self.ignore(name));
    }

    /// The texts of the Warning headers for what was asked and is not done; `service` is the base URI of the service.
    ///
    /// The wording is that of PS3.18 sections 8.3.4.2, 8.3.4.5 and 8.3.4.6 (WEB-093); that of parameters which nobody knows is ours.
    pub fn unsupported(&self, service: &str) -> Vec<String> {
        let asked = [
            (self.fuzzy, "fuzzymatching", "Only literal matching has been performed."),
            (self.empty_values, "emptyvaluematching", "Empty Value Matching has not been performed."),
            (self.multiple_values, "multiplevaluematching", "Multiple Value Matching has not been performed."),
        ];
        let warned = asked.into_iter().filter(|(asked, ..)| *asked);
        let told =
            warned.map(|(_, name, what)| format!("299 {service}: The {name} parameter is not supported. {what}"));
        told.chain(self.unknown(service)).collect()
    }

    fn unknown(&self, service: &str) -> Option<String> {
        // What stands in a header is ASCII.
        let plain = |c: char| if c.is_ascii_graphic() && !['"', '\\'].contains(&c) { c } else { '?' };
        let shown = |name: &String| name.chars().map(plain).collect();
        let names: Vec<String> = self.ignored.iter().take(MOST_NAMED).map(shown).collect();
        let more = if self.ignored.len() > MOST_NAMED { " and others" } else { "" };
        let told = format!(
            "299 {service}: These parameters are not known, or not matched here, and have not been used: {}{more}.",
            names.join(", ")
        );
        (!names.is_empty()).then_some(told)
    }
}

/// Stands in the answer to a search or a retrieval that may lack something, with the name of what did not answer; a peer that reads it does not take
/// the answer for all that there is. Not of the standard, which knows warnings for people only.
pub const INCOMPLETE: HeaderName = HeaderName::from_static("weybridge-incomplete");

/// The text of the Warning header when more results match than were given (PS3.18 section 8.3.4.4; WEB-094).
pub fn more_results(service: &str, remaining: u64) -> String {
    format!("299 {service}: There are {remaining} additional results that can be requested")
}

#[cfg(test)]
mod tests;
