//! `[[worklist]]`: which nodes are asked for what is scheduled, one entry at a time. Whether the node exists is in check.rs.

use super::prefetch::modality;
use super::raw::{At, List, Span, Table};
use super::values::{ae_title, duration, number};
use crate::priors::worklist::Polling;
use std::time::Duration;

/// The most modalities, and stations, of one entry: each pair is a request of its own.
const MOST: usize = 16;
/// The shortest time between two polls.
const SHORTEST: Duration = Duration::from_secs(1);

/// An entry as read; its node is not yet looked up.
pub(super) struct WorklistEntry {
    pub(super) polling: Polling,
    pub(super) node: Span,
    /// Where the days ahead are written.
    pub(super) days: Option<Span>,
}

pub(super) fn worklist(mut table: Table<'_>) -> Option<WorklistEntry> {
    let node = table.required("node", "\"RIS\"", ae_title);
    let every = table.optional("every", duration);
    let days = table.optional("days", number(0..=31));
    let modalities = table.list("modality", modality);
    let stations = table.list("station", ae_title);
    let most = table.or("most", 1000, number(1..=10_000));
    let timeout = table.or("timeout", Duration::from_secs(60), duration);
    let lists = [("modality", size(modalities.as_ref())), ("station", size(stations.as_ref()))];
    for (key, (written, span)) in lists.into_iter().filter_map(|(key, size)| Some((key, size?))) {
        if !(1..=MOST).contains(&written) {
            let message = format!("`{key}` in [[worklist]] names {written}");
            table.mistakes().wrong(Some(span), message, format!("name 1 to {MOST}, or leave it out to mean any"));
        }
    }
    if let Some(at) = every.as_ref().filter(|at| at.value < SHORTEST) {
        let message = "`every` in [[worklist]] is less than a second";
        table.mistakes().wrong(Some(at.span.clone()), message, "write at least \"1s\"; \"5m\" is usual");
    }
    table.finish();
    let node = node?;
    let polling = Polling {
        node: node.value,
        every: every.map_or(Duration::from_secs(300), |at| at.value),
        days: days.as_ref().map_or(0, |at| at.value),
        modalities: modalities.map(List::values).unwrap_or_default(),
        stations: stations.map(List::values).unwrap_or_default(),
        most,
        timeout,
    };
    let days = days.map(|At { span, .. }| span);
    Some(WorklistEntry { polling, node: node.span, days })
}

fn size<T>(list: Option<&List<T>>) -> Option<(usize, Span)> {
    list.map(|list| (list.written, list.span.clone()))
}
