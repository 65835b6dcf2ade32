//! What to ask a site for next: pure. All of a study if most of it is wanted, else whole series, else single instances; what broke
//! off is gone on with in smaller parts, so that nothing that came is asked for again.

use crate::dicom::uid::{InstanceUid, SeriesUid};
use crate::dicomweb::client::{Listing, Part};
use std::collections::BTreeSet;

/// The larger parts that did not come whole.
#[derive(Debug, Default)]
pub(super) struct Broken {
    /// The study as a whole.
    pub(super) study: bool,
    /// Series as a whole.
    pub(super) series: BTreeSet<SeriesUid>,
}

impl Broken {
    /// Notes that a part did not come whole; whether it was larger than an instance.
    pub(super) fn note(&mut self, part: &Part) -> bool {
        match part {
            Part::Study => self.study = true,
            Part::Series(series) => drop(self.series.insert(series.clone())),
            Part::Instance(..) => return false,
        }
        true
    }
}

/// Which part is asked for, of what a site lists, where these are missing; `None` if nothing is.
pub(super) fn next(listing: &Listing, missing: &BTreeSet<InstanceUid>, broken: &Broken) -> Option<Part> {
    let (instance, series) = missing.iter().find_map(|uid| Some((uid, &listing.get(uid)?.series)))?;
    let most = |missing: usize, all: usize| missing > 1 && missing * 2 >= all;
    if !broken.study && most(missing.len(), listing.len()) {
        return Some(Part::Study);
    }
    let of = |uid: &&InstanceUid| listing.get(*uid).is_some_and(|listed| listed.series == *series);
    let all = listing.values().filter(|listed| listed.series == *series).count();
    if !broken.series.contains(series) && most(missing.iter().filter(of).count(), all) {
        return Some(Part::Series(series.clone()));
    }
    Some(Part::Instance(series.clone(), instance.clone()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicomweb::client::Listed;

    fn uid(n: u32) -> InstanceUid {
        InstanceUid::parse(&format!("1.9.{n}")).unwrap()
    }

    fn series(n: u32) -> SeriesUid {
        SeriesUid::parse(&format!("1.8.{n}")).unwrap()
    }

    /// Two series of four; what is asked for when so much is missing and so much broke off.
    #[test]
    fn parts_become_smaller_when_they_break_off() {
        let listing: Listing = (0..8).map(|n| (uid(n), Listed { series: series(n / 4), sop_class: None })).collect();
        let single = |n: u32| Some(Part::Instance(series(n / 4), uid(n)));
        type Row<'a> = (&'a [u32], bool, &'a [u32], Option<Part>);
        let rows: [Row<'_>; 8] = [
            (&[], false, &[], None),
            (&[0, 1, 2, 3, 4, 5, 6, 7], false, &[], Some(Part::Study)),
            (&[0, 1, 6, 7], false, &[], Some(Part::Study)),
            (&[0, 1, 2, 3, 4, 5, 6, 7], true, &[], Some(Part::Series(series(0)))),
            (&[0, 1, 2], false, &[], Some(Part::Series(series(0)))),
            (&[2, 4, 5, 6, 7], true, &[], single(2)),
            (&[4, 5, 6, 7], true, &[1], single(4)),
            (&[5], false, &[], single(5)),
        ];
        for (missing, study, broken, want) in rows {
            let broken = Broken { study, series: broken.iter().map(|n| series(*n)).collect() };
            let missing = missing.iter().map(|n| uid(*n)).collect();
            assert_eq!(next(&listing, &missing, &broken), want, "{missing:?}");
        }
        assert_eq!(
            next(&listing, &[uid(99)].into(), &Broken::default()),
            None,
            "what is not listed cannot be asked for"
        );
    }
}
