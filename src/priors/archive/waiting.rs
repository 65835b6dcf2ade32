//! Which studies archives were asked for, and what of them is still to come: arrivals are matched by archive and study.

use crate::dicom::ae_title::AeTitle;
use crate::dicom::uid::{InstanceUid, StudyUid};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long after the end of a request its stragglers are still taken.
const LATE: Duration = Duration::from_secs(600);

/// Studies that are remembered.
const MOST: usize = 10_000;

type Key = (AeTitle, StudyUid);

struct Entry {
    /// Goes up with each arrival.
    arrivals: watch::Sender<u64>,
    /// What the request that goes on has not brought yet.
    open: HashSet<InstanceUid>,
    going: bool,
    late_until: Option<Instant>,
}

impl Entry {
    fn expects(&self, now: Instant) -> bool {
        self.going || self.late_until.is_some_and(|until| now < until)
    }
}

/// What is waited for.
#[derive(Default)]
pub(super) struct Book {
    entries: Mutex<HashMap<Key, Entry>>,
}

/// A request that goes on; when dropped, it has ended.
pub(super) struct Going<'a> {
    book: &'a Book,
    key: Key,
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A counter that goes up with each arrival of a study from an archive.
    pub(super) fn arrivals(&self, archive: &AeTitle, study: &StudyUid) -> watch::Receiver<u64> {
        let mut entries = self.entries();
        if entries.len() >= MOST {
            let now = Instant::now();
            entries.retain(|_, entry| entry.expects(now) || entry.arrivals.receiver_count() > 0);
        }
        let new = || Entry { arrivals: watch::Sender::new(0), open: HashSet::new(), going: false, late_until: None };
        entries.entry((archive.clone(), study.clone())).or_insert_with(new).arrivals.subscribe()
    }

    /// An archive is about to be asked for these instances of a study.
    pub(super) fn begin(&self, archive: &AeTitle, study: &StudyUid, missing: HashSet<InstanceUid>) -> Going<'_> {
        // Made if it is not there.
        drop(self.arrivals(archive, study));
        let key = (archive.clone(), study.clone());
        if let Some(entry) = self.entries().get_mut(&key) {
            (entry.open, entry.going) = (missing, true);
        }
        Going { book: self, key }
    }

    pub(super) fn expects(&self, archive: &AeTitle, study: &StudyUid) -> bool {
        let now = Instant::now();
        self.entries().get(&(archive.clone(), study.clone())).is_some_and(|entry| entry.expects(now))
    }

    pub(super) fn arrived(&self, archive: &AeTitle, study: &StudyUid, instance: &InstanceUid) {
        if let Some(entry) = self.entries().get_mut(&(archive.clone(), study.clone())) {
            entry.open.remove(instance);
            entry.arrivals.send_modify(|count| *count += 1);
        }
    }
}

impl Going<'_> {
    /// How much of what was asked for has not come.
    pub(super) fn open(&self) -> usize {
        self.book.entries().get(&self.key).map_or(0, |entry| entry.open.len())
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.book.entries().get_mut(&self.key) {
            (entry.open, entry.going) = (HashSet::new(), false);
            entry.late_until = Some(Instant::now() + LATE);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// "Moves": an arrival is matched by the archive and the study, and by nothing else.
    #[test]
    fn arrivals_are_matched_by_archive_and_study() {
        let title = |text: &str| AeTitle::parse(text).unwrap();
        let study = |text: &str| StudyUid::parse(text).unwrap();
        let instance = |text: &str| InstanceUid::parse(text).unwrap();
        let book = Book::default();
        let (pacs, vna, one, two) = (title("PACS"), title("VNA"), study("1.1"), study("1.2"));
        assert!(!book.expects(&pacs, &one));
        let counter = book.arrivals(&pacs, &one);
        assert!(!book.expects(&pacs, &one), "to watch is not to ask");
        let going = book.begin(&pacs, &one, [instance("1.1.1"), instance("1.1.2")].into());
        for (archive, study, want) in [(&pacs, &one, true), (&pacs, &two, false), (&vna, &one, false)] {
            assert_eq!(book.expects(archive, study), want, "{archive} {study}");
        }
        book.arrived(&vna, &one, &instance("1.1.1"));
        book.arrived(&pacs, &two, &instance("1.1.1"));
        assert_eq!((going.open(), *counter.borrow()), (2, 0));
        book.arrived(&pacs, &one, &instance("1.1.1"));
        book.arrived(&pacs, &one, &instance("1.1.1"));
        book.arrived(&pacs, &one, &instance("1.1.9"));
        assert_eq!((going.open(), *counter.borrow()), (1, 3));
        drop(going);
        assert!(book.expects(&pacs, &one), "stragglers are taken");
    }
}
