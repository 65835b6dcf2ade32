//! Which sites have kept silent lately: a query does not wait its whole time for them again (UIX-12).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Sites that are remembered; what is beyond is waited for as if it had never been silent.
const MOST: usize = 1_000;

/// How silence is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// How long a query waits for a site that kept silent lately.
    pub grace: Duration,
    /// How long a first silence is remembered; each further one twice as long as the last.
    pub first: Duration,
    /// The longest that a silence is remembered.
    pub longest: Duration,
}

impl Default for Memory {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { grace: Duration::from_millis(500), first: seconds(30), longest: seconds(300) }
    }
}

/// The silence of one site.
#[derive(Debug, Clone, Copy)]
struct Silence {
    since: Instant,
    noted: Instant,
    lasts: Duration,
    /// Somebody asks the site all the while.
    watched: bool,
}

/// The sites that kept silent, by the address of their service. Cheap to clone; what is known is shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Silences {
    sites: Arc<Mutex<BTreeMap<String, Silence>>>,
}

impl Silences {
    fn sites(&self) -> MutexGuard<'_, BTreeMap<String, Silence>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long a site has been silent, if that is still to be reckoned with.
    pub(super) fn of(&self, site: &str, now: Instant) -> Option<Duration> {
        let sites = self.sites();
        let silence = sites.get(site)?;
        let remembered = now.saturating_duration_since(silence.noted) < silence.lasts;
        remembered.then(|| now.saturating_duration_since(silence.since))
    }

    /// A site did not answer what was asked at `asked`. Who failed faster than the grace costs nobody time, and is not remembered.
    pub(super) fn note(&self, site: &str, asked: Instant, now: Instant, memory: &Memory) {
        if now.saturating_duration_since(asked) < memory.grace {
            return;
        }
        let mut sites = self.sites();
        let (room, watched) = (sites.len() < MOST, sites.get(site).is_some_and(|silence| silence.watched));
        match sites.get_mut(site) {
            // Ten who asked at once have met one silence.
            Some(silence) if silence.noted > asked => {}
            Some(silence) => {
                let lasts = (silence.lasts * 2).min(memory.longest);
                *silence = Silence { noted: now, lasts, ..*silence };
            }
            None if room => {
                let lasts = memory.first.min(memory.longest);
                sites.insert(site.to_owned(), Silence { since: asked, noted: now, lasts, watched });
            }
            None => {}
        }
    }

    /// A site has answered.
    pub(super) fn forget(&self, site: &str) {
        self.sites().remove(site);
    }

    /// Takes it on to ask a silent site for as long as it takes, so that its return is noticed; one does so at a time.
    pub(super) fn watch(&self, site: &str) -> Option<Watching> {
        let mut sites = self.sites();
        let silence = sites.get_mut(site).filter(|silence| !silence.watched)?;
        silence.watched = true;
        Some(Watching { silences: self.clone(), site: site.to_owned() })
    }
}

/// Somebody asks a silent site; when this is dropped, another may.
pub(super) struct Watching {
    silences: Silences,
    site: String,
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(silence) = self.silences.sites().get_mut(&self.site) {
            silence.watched = false;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MEMORY: Memory =
        Memory { grace: Duration::from_millis(500), first: Duration::from_secs(30), longest: Duration::from_secs(100) };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// UIX-12: a silence is remembered for a while that doubles to a limit, and forgotten with the first answer.
    #[test]
    fn a_silence_is_remembered_for_longer_each_time_and_forgotten_at_once() {
        let (silences, start) = (Silences::default(), Instant::now());
        assert_eq!(silences.of("b", start), None);
        let mut asked = start;
        for lasts in [30, 60, 100, 100] {
            let noted = asked + s(5);
            silences.note("b", asked, noted, &MEMORY);
            // Another who asked meanwhile has met the same silence.
            silences.note("b", asked + s(4), noted + s(1), &MEMORY);
            assert_eq!(silences.of("b", noted + s(lasts - 1)), Some(noted + s(lasts - 1) - start), "{lasts}");
            assert_eq!(silences.of("b", noted + s(lasts)), None, "{lasts}");
            assert_eq!(silences.of("c", noted), None);
            asked = noted + s(lasts);
        }
        silences.forget("b");
        silences.note("b", asked, asked + s(5), &MEMORY);
        assert!(silences.of("b", asked + s(34)).is_some() && silences.of("b", asked + s(35)).is_none());
    }

    #[test]
    fn who_refuses_at_once_is_not_silent() {
        let (silences, start) = (Silences::default(), Instant::now());
        silences.note("b", start, start + Duration::from_millis(499), &MEMORY);
        assert_eq!(silences.of("b", start + s(1)), None);
    }

    #[test]
    fn one_watches_at_a_time() {
        let (silences, start) = (Silences::default(), Instant::now());
        assert!(silences.watch("b").is_none(), "nobody need watch who is not silent");
        silences.note("b", start, start + s(5), &MEMORY);
        let first = silences.watch("b").unwrap();
        assert!(silences.watch("b").is_none());
        drop(first);
        assert!(silences.watch("b").is_some());
    }
}
