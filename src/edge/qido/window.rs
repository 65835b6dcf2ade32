//! One page of a search: the results that belong on it, how many are left, and what has to be said beside them.

use super::refuse;
use crate::dicomweb::dataset::Dataset;
use crate::dicomweb::qido::Query;
use crate::priors::marker::Silence;
use axum::http::StatusCode;
use axum::response::Response;
use std::collections::{BTreeMap, BTreeSet};

/// Most results in one answer; who wants more pages on with `offset` (WEB-094).
pub(super) const PAGE: usize = 1000;

/// Most rows that one query looks through; what would need more is too broad (PS3.18 section 10.6.3.1).
const MOST_ROWS: usize = 100_000;

/// Results up to which a list that other sites have a part in is paged.
pub(super) const MOST_MERGED: u64 = 10_000;

/// The results of one page, and how many more there are.
pub(super) struct Window {
    skip: u64,
    limit: usize,
    /// Results that were admitted to this page.
    taken: usize,
    pub(super) sets: Vec<Dataset>,
    pub(super) more: u64,
    /// Rows looked through.
    rows: usize,
    /// An archive did not answer: there may be more than is known.
    pub(super) silent: bool,
    /// Other sites whose answer is missing.
    pub(super) silences: Vec<Silence>,
    /// What is told came from nodes of this site alone: another site's silence does not make it a failure.
    pub(super) ours: bool,
    /// What else was not done, for people.
    pub(super) remarks: Vec<&'static str>,
}

impl Window {
    pub(super) fn of(query: &Query) -> Self {
        Self {
            skip: query.offset,
            limit: limit(query),
            taken: 0,
            sets: Vec::new(),
            more: 0,
            rows: 0,
            silent: false,
            silences: Vec::new(),
            ours: false,
            remarks: Vec::new(),
        }
    }

    /// Goes on behind what was skipped already, and gives how much that is.
    pub(super) fn skip(&mut self) -> &mut u64 {
        &mut self.skip
    }

    /// Whether the next match belongs on this page.
    pub(super) fn admits(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.taken < self.limit {
            self.taken += 1;
            return true;
        }
        self.more += 1;
        false
    }

    /// Counts rows; `Ok(true)` when no more need be looked at, since the page is full and there are known to be more.
    pub(super) fn looked(&mut self, rows: usize) -> Result<bool, Box<Response>> {
        self.rows += rows;
        match self.rows > MOST_ROWS {
            false => Ok(false),
            true if self.more > 0 => Ok(true),
            true => refuse(StatusCode::PAYLOAD_TOO_LARGE, "the query is too broad; name a study, a patient or a date"),
        }
    }
}

fn limit(query: &Query) -> usize {
    query.limit.map_or(PAGE, |limit| usize::try_from(limit).unwrap_or(PAGE).min(PAGE))
}

/// What comes from elsewhere, in order of its UIDs however it comes, so that pages fit together. Only what this page can need is kept.
pub(super) struct Shelf {
    most: usize,
    known: BTreeSet<String>,
    kept: BTreeMap<String, Dataset>,
    beyond: u64,
}

impl Shelf {
    /// For the page of a query; `None` if it lies too far behind the beginning.
    pub(super) fn of(query: &Query) -> Option<Self> {
        let most = usize::try_from(query.offset).ok().filter(|_| query.offset <= MOST_MERGED)? + limit(query);
        Some(Self { most, known: BTreeSet::new(), kept: BTreeMap::new(), beyond: 0 })
    }

    /// A result that is told by itself; what others say of it is not.
    pub(super) fn own(&mut self, uid: &str) {
        self.known.insert(uid.to_owned());
    }

    /// A result, unless it is known already. It is only made if the page can need it.
    pub(super) fn put(&mut self, uid: &str, set: impl FnOnce() -> Dataset) {
        if !self.known.insert(uid.to_owned()) {
            return;
        }
        let last = self.kept.last_key_value();
        if self.kept.len() >= self.most && last.is_none_or(|(last, _)| last.as_str() < uid) {
            self.beyond += 1;
            return;
        }
        self.kept.insert(uid.to_owned(), set());
        if self.kept.len() > self.most {
            self.kept.pop_last();
            self.beyond += 1;
        }
    }

    /// Puts on the page what belongs there.
    pub(super) fn tell(self, window: &mut Window) {
        for set in self.kept.into_values() {
            if window.admits() {
                window.sets.push(set);
            }
        }
        window.more += self.beyond;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::attributes::STUDY_INSTANCE_UID;
    use crate::dicomweb::dataset::{Element, VR};
    use crate::dicomweb::qido::{Limits, parse};

    fn set(uid: &str) -> Dataset {
        Dataset::from_iter([(STUDY_INSTANCE_UID, Element::text(VR::UI, uid))])
    }

    /// The UIDs of a page after `own` results that are told by themselves, and how many are left.
    fn page(query: &str, own: usize, there: &[&str]) -> (Vec<String>, u64) {
        let query = parse(query, Limits::default()).unwrap();
        let (mut window, mut shelf) = (Window::of(&query), Shelf::of(&query).unwrap());
        for n in 0..own {
            let uid = format!("1.1.{n}");
            shelf.own(&uid);
            if window.admits() {
                window.sets.push(set(&uid));
            }
        }
        there.iter().for_each(|uid| shelf.put(uid, || set(uid)));
        shelf.tell(&mut window);
        let uids = window.sets.iter().map(|set| set.first_text(STUDY_INSTANCE_UID).unwrap().to_owned()).collect();
        (uids, window.more)
    }

    /// WEB-094: our own results first, then those from elsewhere in one order, each once, whatever the order in which they come.
    #[test]
    fn pages_of_a_merged_list_fit_together_in_whatever_order_it_comes() {
        let orders: [&[&str]; 3] = [
            &["1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.1.0", "1.2.5"],
            &["1.2.5", "1.2.4", "1.1.1", "1.2.3", "1.2.4", "1.2.2", "1.2.1"],
            &["1.2.3", "1.2.5", "1.2.1", "1.2.1", "1.2.4", "1.2.2"],
        ];
        for there in orders {
            let mut all = Vec::new();
            for (offset, left) in [(0, 5), (2, 3), (4, 1), (6, 0), (8, 0)] {
                let (uids, more) = page(&format!("limit=2&offset={offset}"), 2, there);
                assert_eq!(more, left, "{offset} of {there:?}");
                all.extend(uids);
            }
            assert_eq!(all, ["1.1.0", "1.1.1", "1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.5"], "{there:?}");
            assert_eq!(page("limit=0", 2, there), (Vec::new(), 7));
        }
        let far = parse("offset=10001", Limits::default()).unwrap();
        assert!(Shelf::of(&far).is_none(), "within bounds");
    }
}
