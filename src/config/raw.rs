//! The file as written: tables whose keys are asked for one by one, each value with its place.
//!
//! A table knows which keys it was asked for; what is left at the end is an unknown key. So the code that reads a key is
//! the only list of keys, and every mistake of the file is found in one pass.

use super::mistakes::{Mistakes, suggest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A range of bytes in the file.
pub(super) type Span = std::ops::Range<usize>;

/// A value with its place in the file.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// A list with its place. Elements that could not be read are left out of `items` but counted in `written`.
pub(super) struct List<T> {
    pub(super) items: Vec<At<T>>,
    pub(super) written: usize,
    pub(super) span: Span,
}

impl<T> List<T> {
    /// The elements without their places.
    pub(super) fn values(self) -> Vec<T> {
        self.items.into_iter().map(|at| at.value).collect()
    }
}

/// One table of the file, or the absence of one.
pub(super) struct Table<'a> {
    /// As the reference names it: `dicom`, `node`; empty at the top.
    name: &'static str,
    /// As the file writes it: `[dicom]`, `[[node]]`.
    header: String,
    span: Option<Span>,
    entries: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
    mistakes: &'a Mistakes<'a>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn document(entries: &'a DeTable<'a>, mistakes: &'a Mistakes<'a>) -> Self {
        Self { name: "", header: "the file".into(), span: None, entries: Some(entries), asked: Vec::new(), mistakes }
    }

    /// Where the table's header stands; `None` if the table is absent.
    pub(super) fn span(&self) -> Option<Span> {
        self.span.clone()
    }

    /// Tells whether the file has this table.
    pub(super) fn present(&self) -> bool {
        self.entries.is_some()
    }

    /// Tells whether a key is written, whatever its value; does not count as asking for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.iter().any(|(found, _)| found.get_ref() == key))
    }

    /// The collector of mistakes.
    pub(super) fn mistakes(&self) -> &'a Mistakes<'a> {
        self.mistakes
    }

    /// A table below this one; reading an absent one yields the defaults.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'a> {
        let value = self.value(key);
        let entries = value.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.mistakes.wrong(Some(value.span()), format!("`{key}` must be a table"), format!("write [{key}]"));
            }
            table
        });
        self.below(key, format!("[{key}]"), value.map(Spanned::span), entries)
    }

    /// The tables of an array of tables below this one, in the order of the file.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let array = value.get_ref().as_array();
        let tables: Option<Vec<_>> = array
            .map(|items| items.iter().map(|item| item.get_ref().as_table().map(|t| (item.span(), t))).collect())
            .unwrap_or_default();
        match tables {
            Some(tables) => {
                let below = |(span, table)| self.below(key, format!("[[{key}]]"), Some(span), Some(table));
                tables.into_iter().map(below).collect()
            }
            None => {
                let hint = format!("write [[{key}]]");
                self.mistakes.wrong(Some(value.span()), format!("`{key}` must be a list of tables"), hint);
                Vec::new()
            }
        }
    }

    fn below(
        &self,
        name: &'static str,
        header: String,
        span: Option<Span>,
        entries: Option<&'a DeTable<'a>>,
    ) -> Table<'a> {
        Table { name, header, span, entries, asked: Vec::new(), mistakes: self.mistakes }
    }

    /// Every entry of a table whose keys are free, with the places of key and value; such a table has no unknown keys.
    pub(super) fn entries(&mut self) -> Vec<(At<&'a str>, &'a Spanned<DeValue<'a>>)> {
        let entries = self.entries.take().into_iter().flatten();
        entries.map(|(key, value)| (At { value: key.get_ref().as_ref(), span: key.span() }, value)).collect()
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.mistakes.known(if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) });
        self.entries?.iter().find(|(found, _)| found.get_ref() == key).map(|(_, value)| value)
    }

    /// A key that may be absent. `read` says what is wrong with a value, as a hint.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        self.check(key, value, read)
    }

    /// A key without which the table means nothing; `example` goes into the hint.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        match self.value(key) {
            Some(value) => self.check(key, value, read),
            // What stands there instead of a table has been complained of already.
            None if self.span.is_some() && self.entries.is_none() => None,
            None => {
                let message = format!("`{key}` is missing in {}", self.header);
                self.mistakes.wrong(self.span(), message, format!("add {key} = {example}"));
                None
            }
        }
    }

    /// A key with a default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> T {
        self.optional(key, read).map_or(default, |at| at.value)
    }

    /// A list; each element is read by itself and wrong ones are left out. `None` if absent or no list.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<List<T>> {
        let value = self.value(key)?;
        let items = read_list(value, |item| self.check(key, item, &read));
        if items.is_none() {
            self.wrong_value(key, value, "write a list, such as [\"…\"]".into());
        }
        items
    }

    /// A key that the design has and this version does not: refused, since to ignore it would not be safe.
    pub(super) fn not_built(&mut self, key: &'static str, instead: &str) {
        if let Some(value) = self.value(key) {
            let message = format!("`{key}` in {} is not built yet", self.header);
            self.mistakes.wrong(Some(value.span()), message, instead);
        }
    }

    fn check<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        match read(value.get_ref()) {
            Ok(valid) => Some(At { value: valid, span: value.span() }),
            Err(hint) => {
                self.wrong_value(key, value, hint);
                None
            }
        }
    }

    fn wrong_value(&self, key: &str, value: &Spanned<DeValue<'_>>, hint: String) {
        self.mistakes.wrong(Some(value.span()), format!("`{key}` in {} is not valid", self.header), hint);
    }

    /// Ends the reading: every key that nobody asked for is a mistake.
    pub(super) fn finish(self) {
        for (key, _) in self.entries.into_iter().flatten() {
            let word = key.get_ref().as_ref();
            if !self.asked.contains(&word) {
                let message = format!("unknown key `{word}` in {}", self.header);
                self.mistakes.wrong(Some(key.span()), message, suggest(word, &self.asked));
            }
        }
    }
}

/// Reads each element of a list; `None` if the value is no list.
pub(super) fn read_list<T>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&Spanned<DeValue<'_>>) -> Option<At<T>>,
) -> Option<List<T>> {
    let items = value.get_ref().as_array()?;
    Some(List { items: items.iter().filter_map(read).collect(), written: items.len(), span: value.span() })
}
