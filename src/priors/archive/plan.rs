//! Pure: what an archive lists and what of it is missing here in, the fewest moves that bring it out.

use crate::dicom::attributes::Level;
use crate::dicom::uid::{InstanceUid, SeriesUid};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Instances that one move names; archives do not take lists of any length.
const NAMED: usize = 64;

/// What an archive lists of what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) series: BTreeMap<SeriesUid, BTreeSet<InstanceUid>>,
    /// Those of them that are in series of key objects, by the series' Modality.
    pub(super) notes: BTreeSet<InstanceUid>,
    /// The level of what was asked for: the whole study, one series, or one instance.
    pub(super) of: Option<Level>,
    /// Some of its answers cannot be read: it may hold more.
    pub(super) in_part: bool,
}

impl Listed {
    pub(super) fn instances(&self) -> impl Iterator<Item = &InstanceUid> {
        self.series.values().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.series.values().map(BTreeSet::len).sum()
    }
}

/// One C-MOVE: of the study, of a series, or of instances of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) series: Option<SeriesUid>,
    pub(super) instances: Vec<InstanceUid>,
}

/// The moves that bring what is missing, and nothing that is here.
pub(super) fn moves(listed: &Listed, missing: &HashSet<InstanceUid>) -> Vec<Move> {
    let all_of = |instances: &BTreeSet<InstanceUid>| instances.iter().all(|uid| missing.contains(uid));
    if listed.of == Some(Level::Study) && !listed.series.is_empty() && listed.series.values().all(all_of) {
        return vec![Move { series: None, instances: Vec::new() }];
    }
    let mut moves = Vec::new();
    for (series, instances) in &listed.series {
        let whole = listed.of != Some(Level::Instance);
        if whole && !instances.is_empty() && all_of(instances) {
            moves.push(Move { series: Some(series.clone()), instances: Vec::new() });
            continue;
        }
        let lacking: Vec<InstanceUid> = instances.iter().filter(|uid| missing.contains(uid)).cloned().collect();
        for named in lacking.chunks(NAMED) {
            moves.push(Move { series: Some(series.clone()), instances: named.to_vec() });
        }
    }
    moves
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_here_is_asked_for() {
        let series = |n: u32| SeriesUid::parse(&format!("1.{n}")).unwrap();
        let uid = |n: u32, m: u32| InstanceUid::parse(&format!("1.{n}.{m}")).unwrap();
        let held = |n: u32, most: u32| (series(n), (1..=most).map(|m| uid(n, m)).collect::<BTreeSet<_>>());
        let listed = |of| Listed { series: [held(1, 2), held(2, 130)].into(), of: Some(of), ..Listed::default() };
        let all: HashSet<_> = listed(Level::Study).instances().cloned().collect();
        let without = |gone: &[(u32, u32)]| {
            let mut missing = all.clone();
            missing.retain(|held| !gone.iter().any(|(n, m)| *held == uid(*n, *m)));
            missing
        };
        let sizes = |of, missing: &HashSet<InstanceUid>| -> Vec<(Option<SeriesUid>, usize)> {
            moves(&listed(of), missing).into_iter().map(|one| (one.series, one.instances.len())).collect()
        };
        assert_eq!(sizes(Level::Study, &all), [(None, 0)]);
        // Of a whole study of which one instance is here, the other series is moved whole.
        assert_eq!(sizes(Level::Study, &without(&[(1, 1)])), [(Some(series(1)), 1), (Some(series(2)), 0)]);
        let named = [(Some(series(1)), 0), (Some(series(2)), 64), (Some(series(2)), 64), (Some(series(2)), 1)];
        assert_eq!(sizes(Level::Study, &without(&[(2, 7)])), named);
        assert_eq!(sizes(Level::Series, &without(&[(2, 7)]))[0], (Some(series(1)), 0));
        assert_eq!(sizes(Level::Instance, &[uid(1, 1)].into()), [(Some(series(1)), 1)]);
        assert_eq!(sizes(Level::Study, &HashSet::new()), []);
    }
}
