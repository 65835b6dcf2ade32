//! `[[route]]`: one entry at a time. Whether its names exist is in check.rs.

use super::mistakes::suggest;
use super::parties::party;
use super::raw::{At, List, Span, Table, read_list};
use super::values::{ae_title, boolean, one_of, pattern, text};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::attributes::{INDEXED, by_name};
use crate::peers::Priority;
use crate::router::{Condition, Pattern};

/// A route as read; its names are not yet looked up.
pub(super) struct RouteEntry {
    pub(super) name: At<String>,
    pub(super) called: Vec<AeTitle>,
    pub(super) from: Vec<At<String>>,
    pub(super) when: Vec<Condition>,
    pub(super) to: Vec<At<String>>,
    pub(super) mandatory: bool,
    pub(super) priority: Priority,
    pub(super) span: Option<Span>,
}

pub(super) fn route(mut table: Table<'_>) -> Option<RouteEntry> {
    let name = table.required("name", "\"CT to Surrey\"", text);
    let called = table.list("called", ae_title);
    let from = table.list("from", party);
    let to = table.list("to", party);
    let when = when(table.table("when"));
    let mandatory = table.or("mandatory", true, boolean);
    let priorities = Priority::ALL.map(|priority| (priority.word(), priority));
    let priority = table.or("priority", Priority::default(), one_of(&priorities, &[]));
    for (key, empty) in [("called", empty(called.as_ref())), ("from", empty(from.as_ref())), ("to", empty(to.as_ref()))]
    {
        if let Some(span) = empty {
            let hint = if key == "to" { "name where it goes" } else { "leave it out to match any" };
            table.mistakes().wrong(Some(span), format!("`{key}` in [[route]] is empty"), hint);
        }
    }
    if !table.has("to") {
        let hint = "add to = [\"…\"] with peer names or node AE titles";
        table.mistakes().wrong(table.span(), "the route has no `to`", hint);
    }
    let span = table.span();
    table.finish();
    let list = |list: Option<List<String>>| list.map(|list| list.items).unwrap_or_default();
    let called = called.map(List::values).unwrap_or_default();
    Some(RouteEntry { name: name?, called, from: list(from), when, to: list(to), mandatory, priority, span })
}

fn empty<T>(list: Option<&List<T>>) -> Option<Span> {
    list.filter(|list| list.written == 0).map(|list| list.span.clone())
}

/// The conditions on attributes: `modality = ["CT", "MR"]`.
pub(super) fn when(mut table: Table<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (name, value) in table.entries() {
        let wrong = |span: Span, message: String, hint: String| table.mistakes().wrong(Some(span), message, hint);
        let Some(attribute) = by_name(name.value) else {
            let names: Vec<&str> = INDEXED.iter().map(|indexed| indexed.name).collect();
            wrong(
                name.span,
                format!("`{}` is no attribute that routes can test", name.value),
                suggest(name.value, &names),
            );
            continue;
        };
        let read = |item: &toml::Spanned<toml::de::DeValue<'_>>| match pattern(item.get_ref()) {
            Ok(pattern) => Some(At { value: Pattern::new(pattern), span: item.span() }),
            Err(hint) => {
                wrong(item.span(), format!("a pattern for `{}` is not valid", name.value), hint);
                None
            }
        };
        match read_list(value, read) {
            Some(patterns) if patterns.written > 0 => {
                conditions.push(Condition { attribute, any_of: patterns.values() });
            }
            _ => {
                let message = format!("`{}` in `when` must be a list of values", name.value);
                wrong(
                    value.span(),
                    message,
                    "write a list, such as [\"CT\", \"MR\"]; `*` and `?` are wildcards".into(),
                );
            }
        }
    }
    conditions
}
