//! What is wrong in a configuration: collected while it is read, shown with file, line and caret.

use super::raw::Span;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Most mistakes that are shown; a file with more is not a configuration.
const SHOWN: usize = 100;

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it; stands beside the caret. May be empty.
    pub hint: String,
    /// Line and column, both from 1, counted in characters; `None` where the file as a whole is meant.
    pub position: Option<(usize, usize)>,
    /// Message, place, source line, caret and hint, ready to print.
    pub rendered: String,
}

/// Every mistake in one configuration file; `Display` prints them all, in the order of the file, each with its line: for a terminal.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    /// The file.
    pub path: PathBuf,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in self.mistakes.iter().take(SHOWN) {
            writeln!(f, "{}\n", mistake.rendered)?;
        }
        let count = self.mistakes.len();
        if count > SHOWN {
            writeln!(f, "… and {} more\n", count - SHOWN)?;
        }
        f.write_str(&self.sum())
    }
}

impl ConfigErrors {
    /// Every mistake in a line of its own with file, line and column, for a log: nothing of what stands in the file's own lines, which may
    /// name a patient.
    pub fn without_source(&self) -> String {
        let file = self.path.display();
        let line = |mistake: &Mistake| {
            let place = mistake.position.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
            let hint = if mistake.hint.is_empty() { String::new() } else { format!(" ({})", mistake.hint) };
            format!("{file}{place}: {}{hint}", mistake.message)
        };
        let more = self.mistakes.len().checked_sub(SHOWN).filter(|more| *more > 0);
        let more = more.map(|more| format!("… and {more} more"));
        let lines = self.mistakes.iter().take(SHOWN).map(line).chain(more).chain([self.sum()]);
        lines.collect::<Vec<_>>().join("\n")
    }

    fn sum(&self) -> String {
        let count = self.mistakes.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        format!("{count} {noun} in {}; nothing of it is used", self.path.display())
    }
}

impl std::error::Error for ConfigErrors {}

struct Found {
    severe: bool,
    message: String,
    hint: String,
    span: Option<Span>,
}

/// The collector that every reader of the file shares.
pub(super) struct Mistakes<'a> {
    path: &'a Path,
    text: &'a str,
    found: RefCell<Vec<Found>>,
    known: RefCell<BTreeSet<String>>,
}

impl<'a> Mistakes<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, found: RefCell::default(), known: RefCell::default() }
    }

    /// Notes a mistake; `span` is `None` where no single place is to blame.
    pub(super) fn wrong(&self, span: Option<Span>, message: impl Into<String>, hint: impl Into<String>) {
        self.note(true, span, message.into(), hint.into());
    }

    /// Notes what works but should be looked at.
    pub(super) fn warn(&self, span: Option<Span>, message: impl Into<String>, hint: impl Into<String>) {
        self.note(false, span, message.into(), hint.into());
    }

    fn note(&self, severe: bool, span: Option<Span>, message: String, hint: String) {
        self.found.borrow_mut().push(Found { severe, message, hint, span });
    }

    /// Remembers that a key exists, for the test of the reference file.
    pub(super) fn known(&self, key: String) {
        self.known.borrow_mut().insert(key);
    }

    /// Ends the collection: the mistakes if there are any, else the warnings; both in the order of the file.
    pub(super) fn end(self) -> (Result<Vec<Mistake>, ConfigErrors>, BTreeSet<String>) {
        let mut found = self.found.take();
        found.sort_by_key(|f| f.span.as_ref().map_or(0, |span| span.start));
        let (severe, mild): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| f.severe);
        let show = |found: Vec<Found>| found.iter().map(|f| show(self.path, self.text, f)).collect::<Vec<_>>();
        let known = self.known.into_inner();
        if severe.is_empty() {
            (Ok(show(mild)), known)
        } else {
            (Err(ConfigErrors { path: self.path.to_owned(), mistakes: show(severe) }), known)
        }
    }
}

/// A mistake about a file that could not even be read.
pub(super) fn unreadable(path: &Path, message: String, hint: &str) -> ConfigErrors {
    let found = Found { severe: true, message, hint: hint.to_owned(), span: None };
    ConfigErrors { path: path.to_owned(), mistakes: vec![show(path, "", &found)] }
}

fn show(path: &Path, text: &str, found: &Found) -> Mistake {
    let name = path.display().to_string();
    let level = if found.severe { Level::ERROR } else { Level::WARNING };
    let title = level.primary_title(found.message.as_str());
    let group = match &found.span {
        Some(span) => {
            let caret = AnnotationKind::Primary.span(within(text, span));
            let caret = if found.hint.is_empty() { caret } else { caret.label(found.hint.as_str()) };
            title.element(Snippet::source(text).path(name.as_str()).annotation(caret))
        }
        None if found.hint.is_empty() => title.element(Origin::path(name.as_str())),
        None => title.element(Origin::path(name.as_str())).element(Level::HELP.message(found.hint.as_str())),
    };
    let rendered = Renderer::plain().render(&[group]).to_string();
    let position = found.span.as_ref().map(|span| position(text, span.start));
    Mistake { message: found.message.clone(), hint: found.hint.clone(), position, rendered }
}

/// The part of a span that lies within the text, on character boundaries; what comes from the parser may point past the end.
fn within(text: &str, span: &Span) -> Span {
    let clamp = |at: usize| text.floor_char_boundary(at.min(text.len()));
    let start = clamp(span.start);
    start..clamp(span.end).max(start)
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The candidate that `word` was probably meant to be, if one is close.
pub(super) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean …?" if something is close, else the list of what would be right.
pub(super) fn suggest(word: &str, candidates: &[&str]) -> String {
    match closest(word, candidates.iter().copied()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if candidates.is_empty() => "there is none".to_owned(),
        None => format!("known: {}", candidates.join(", ")),
    }
}
