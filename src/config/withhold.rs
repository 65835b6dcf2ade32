//! `[[withhold]]`: what is not shown or given to whom, one rule at a time. Whether its names exist is in check.rs.

use super::parties::party;
use super::raw::{At, Table};
use super::routes::when;
use super::site;
use super::values::{path, text};
use crate::dicom::attributes::Level;
use crate::dicom::condition::Condition;
use crate::peers::PatientList;
use std::path::Path;
use std::sync::Arc;

/// Largest list of patients, in bytes.
const LARGEST_LIST: u64 = 16 << 20;

/// What to do about a list of patients that names nobody; the warning is known by it.
pub const EMPTY_LIST: &str = "nothing is withheld by it: put patients into it, or take the rule out";

/// A rule as read; its names are not yet looked up.
pub(super) struct WithholdEntry {
    pub(super) name: At<String>,
    pub(super) from: Vec<At<String>>,
    pub(super) to: Vec<At<String>>,
    pub(super) when: Vec<Condition>,
    pub(super) patients: Option<Arc<PatientList>>,
}

pub(super) fn withhold(mut table: Table<'_>, base: &Path) -> Option<WithholdEntry> {
    let name = table.required("name", "\"objections\"", text);
    let (from, to) = (table.list("from", party), table.list("to", party));
    let conditions = table.table("when");
    let place = conditions.span();
    let when = when(conditions);
    let file = table.optional("patients", path);
    let patients = file.as_ref().map(|file| list(&table, base, file));
    for (key, list) in [("from", &from), ("to", &to)] {
        if let Some(empty) = list.as_ref().filter(|list| list.written == 0) {
            let hint = if key == "to" { "leave it out to mean every peer" } else { "leave it out to mean anybody" };
            table.mistakes().wrong(Some(empty.span.clone()), format!("`{key}` in [[withhold]] is empty"), hint);
        }
    }
    for condition in when.iter().filter(|condition| condition.attribute.level == Level::Instance) {
        let message = format!("`{}` describes single instances", condition.attribute.name);
        table.mistakes().wrong(place.clone(), message, "withhold by what describes patients, studies or series");
    }
    if when.is_empty() && patients.is_none() && from.is_none() && to.is_none() {
        let hint = "say `when`, `patients`, `from` or `to`";
        table.mistakes().wrong(table.span(), "the rule would withhold everything from everybody", hint);
    }
    table.finish();
    let list = |list: Option<super::raw::List<String>>| list.map(|list| list.items).unwrap_or_default();
    Some(WithholdEntry { name: name?, from: list(from), to: list(to), when, patients: patients.flatten() })
}

/// A list of patients from its file. One that cannot be read whole is a mistake: to share what should be withheld is not safe.
fn list(table: &Table<'_>, base: &Path, file: &At<String>) -> Option<Arc<PatientList>> {
    let place = base.join(&file.value);
    site::warn_if_exposed(table, &place, &file.span);
    let wrong =
        |hint: String| table.mistakes().wrong(Some(file.span.clone()), "the list of patients cannot be used", hint);
    let read = || -> Result<String, String> {
        let size = std::fs::metadata(&place).map_err(|error| error.to_string())?.len();
        if size > LARGEST_LIST {
            return Err(format!("it has {size} bytes; at most {LARGEST_LIST} are read"));
        }
        std::fs::read_to_string(&place).map_err(|error| error.to_string())
    };
    match read().and_then(|text| {
        PatientList::parse(&text).map_err(|(line, why)| format!("line {line} of {}: {why}", file.value))
    }) {
        Ok(list) => {
            if list.is_empty() {
                let message = format!("the list of patients {} names nobody", place.display());
                table.mistakes().warn(Some(file.span.clone()), message, EMPTY_LIST);
            }
            Some(Arc::new(list))
        }
        Err(hint) => {
            wrong(hint);
            None
        }
    }
}
