//! `[[prefetch]]`: which priors are pulled before anybody asks, one rule at a time. Whether its names exist is in check.rs.

use super::parties::party;
use super::raw::{At, List, Span, Table};
use super::values::{duration, number, pattern, text};
use crate::dicom::pattern::Pattern;

/// The most priors of one rule.
const MOST: usize = 100;

/// A rule as read; its names are not yet looked up.
pub(super) struct PrefetchEntry {
    pub(super) name: At<String>,
    pub(super) arrived: Vec<String>,
    pub(super) modality: Vec<String>,
    pub(super) body_part: Vec<Pattern>,
    pub(super) max_age_days: Option<u32>,
    pub(super) newest: usize,
    pub(super) sites: Vec<At<String>>,
    pub(super) to: Option<At<String>>,
}

pub(super) fn prefetch(mut table: Table<'_>) -> Option<PrefetchEntry> {
    let name = table.required("name", "\"CT chest\"", text);
    let (arrived, modality) = (table.list("arrived", modality), table.list("modality", modality));
    let body_part = table.list("body_part", pattern);
    let age = table.optional("max_age", duration);
    let newest = table.or("newest", 3, number(1..=MOST));
    let sites = table.list("sites", party);
    let to = table.optional("to", party);
    let empty = |list: Option<Span>, key: &str| {
        if let Some(span) = list {
            let message = format!("`{key}` in [[prefetch]] is empty");
            table.mistakes().wrong(Some(span), message, "leave it out to mean any");
        }
    };
    empty(span_of_empty(arrived.as_ref()), "arrived");
    empty(span_of_empty(modality.as_ref()), "modality");
    empty(span_of_empty(body_part.as_ref()), "body_part");
    empty(span_of_empty(sites.as_ref()), "sites");
    let days = age.and_then(|age| match u32::try_from(age.value.as_secs() / 86_400) {
        Ok(days @ 1..) => Some(days),
        _ => {
            let hint = "a study's date is a day: write days, such as \"1825d\"";
            table.mistakes().wrong(Some(age.span), "`max_age` in [[prefetch]] is less than a day", hint);
            None
        }
    });
    table.finish();
    Some(PrefetchEntry {
        name: name?,
        arrived: arrived.map(List::values).unwrap_or_default(),
        modality: modality.map(List::values).unwrap_or_default(),
        body_part: body_part.map(List::values).unwrap_or_default().into_iter().map(Pattern::new).collect(),
        max_age_days: days,
        newest,
        sites: sites.map(|list| list.items).unwrap_or_default(),
        to,
    })
}

fn span_of_empty<T>(list: Option<&List<T>>) -> Option<Span> {
    list.filter(|list| list.written == 0).map(|list| list.span.clone())
}

/// A modality as DICOM writes it: CS.
pub(super) fn modality(value: &toml::de::DeValue<'_>) -> Result<String, String> {
    let valid = |text: &&str| {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        (1..=16).contains(&text.len()) && text.chars().all(plain)
    };
    let word = value.as_str().map(str::trim).filter(valid);
    word.map(str::to_owned).ok_or_else(|| "write a modality as DICOM does, such as \"CT\" or \"MR\"".into())
}
