//! Studies that a site was found to file under another patient than the copies here bear: one instance of them is not given without asking
//! (IDY-040). It is remembered while this runs: whoever opens a study, or a series of it, has its site asked first.

use crate::dicom::uid::{InstanceUid, StudyUid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For so long an instance that its site has given again, as it is here, is given without asking once more: a viewer asks for each frame.
const GIVEN_AGAIN: Duration = Duration::from_secs(60);

/// Studies, and instances, that are remembered at most; what is beyond is given as it is here.
const MOST: usize = 10_000;

/// What is known of such studies.
#[derive(Default)]
pub(super) struct Refiled {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Each with the site that files it so.
    studies: BTreeSet<(StudyUid, String)>,
    /// Instances of them that a site has given again.
    again: BTreeMap<InstanceUid, Instant>,
}

impl Refiled {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a site files a study under another patient than copies of it here.
    pub(super) fn note(&self, study: &StudyUid, site: &str, refiled: bool) {
        let (mut known, key) = (self.known(), (study.clone(), site.to_owned()));
        if !refiled {
            known.studies.remove(&key);
        } else if known.studies.len() < MOST {
            known.studies.insert(key);
        }
    }

    /// Notes that a site has given an instance again, as it is here.
    pub(super) fn given_again(&self, instance: &InstanceUid, now: Instant) {
        let mut known = self.known();
        if known.again.len() >= MOST {
            known.again.retain(|_, at| now.saturating_duration_since(*at) < GIVEN_AGAIN);
        }
        if known.again.len() < MOST {
            known.again.insert(instance.clone(), now);
        }
    }

    /// Notes that a site has not given an instance as it is here.
    pub(super) fn not_given(&self, instance: &InstanceUid) {
        self.known().again.remove(instance);
    }

    /// Whether an instance that is here may be of another patient, so that its site is to be asked.
    pub(super) fn is_doubtful(&self, study: &StudyUid, instance: &InstanceUid, now: Instant) -> bool {
        let known = self.known();
        let first = known.studies.range((study.clone(), String::new())..).next();
        let is_again = |at: &Instant| now.saturating_duration_since(*at) < GIVEN_AGAIN;
        first.is_some_and(|(refiled, _)| refiled == study) && !known.again.get(instance).is_some_and(is_again)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// IDY-040: it is asked for while any site files the study otherwise, once in a while, and no other study is.
    #[test]
    fn an_instance_is_doubtful_while_a_site_files_its_study_otherwise() {
        let (refiled, now) = (Refiled::default(), Instant::now());
        let [study, other] = ["1.2.3", "1.2.30"].map(|uid| StudyUid::parse(uid).unwrap());
        let instance = InstanceUid::parse("1.2.3.4").unwrap();
        let is_doubtful = |study, later| refiled.is_doubtful(study, &instance, now + later);
        refiled.note(&other, "b", true);
        assert!(!is_doubtful(&study, Duration::ZERO) && is_doubtful(&other, Duration::ZERO));
        refiled.note(&study, "b", true);
        refiled.note(&study, "c", false);
        assert!(is_doubtful(&study, Duration::ZERO), "c says nothing of b");
        refiled.given_again(&instance, now);
        assert!(!is_doubtful(&study, GIVEN_AGAIN / 2) && is_doubtful(&study, GIVEN_AGAIN));
        refiled.not_given(&instance);
        assert!(is_doubtful(&study, GIVEN_AGAIN / 2));
        refiled.note(&study, "b", false);
        assert!(!is_doubtful(&study, GIVEN_AGAIN));
    }
}
