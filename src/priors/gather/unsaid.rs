//! What sites did not say of a study that is gathered, what may be missing therefore, and in which words people are told.

use super::{Gathering, MOST_STUDIES, Sought};
use crate::dicom::uid::StudyUid;
use std::time::SystemTime;

/// A site that did not say what it has of a study, or not all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// The site.
    pub site: String,
    /// The study.
    pub study: StudyUid,
    /// When it last said what it has, if ever.
    pub checked: Option<SystemTime>,
    /// Why it is not known.
    pub why: Why,
    /// What it may have that is not here.
    pub beyond: Beyond,
}

/// Why it is not known what a site has of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It does not answer.
    NotAnswering,
    /// An archive of that site does not answer it; what the site shows without is listed.
    InPart,
    /// Not all that it lists can be read.
    Unreadable,
    /// It lists fewer than it has.
    Fewer,
    /// It does not say under which number it files the study, and its entry names an issuer.
    Unfiled,
    /// It was not asked: the request names too many studies.
    NotAsked,
}

impl Why {
    /// Whether only its list is not believed: of the study itself the site has spoken.
    pub fn is_of_its_list(self) -> bool {
        matches!(self, Self::Unreadable | Self::Fewer)
    }
}

/// What a site that does not say it may have of a study beyond what is here, or comes from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing, as it last said.
    Nothing,
    /// The study came from nodes of this site, and from nobody else: another site's silence takes nothing from it.
    Ours,
    /// So many instances, as it last said.
    Known(u64),
    /// That is not known.
    Unknown,
}

impl Beyond {
    fn rank(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Ours => 1,
            Self::Unknown => 2,
            Self::Known(_) => 3,
        }
    }
}

impl Gathering {
    /// Sites that do not say what they have of a study, of which so many instances are here or come.
    pub(super) fn are_silent(&mut self, of: &Sought<'_>, silent: Vec<(String, Why, Option<u64>)>, have: u64) {
        if !silent.is_empty() {
            self.lacking.extend(self.picked.instances.iter().filter(|uid| !self.known.contains(*uid)).cloned());
        }
        let mut missing = 0;
        for (site, why, counted) in silent {
            let checked = of.pulls.iter().find(|pull| pull.peer == site).and_then(|pull| pull.checked);
            let beyond = of.beyond(&site, &self.picked, have, counted);
            missing = missing.max(if let Beyond::Known(count) = beyond { count } else { 0 });
            self.silent.push(Silent { site, study: of.study.clone(), checked, why, beyond });
        }
        self.unnamed += missing;
    }

    /// Whether something may be missing of which nobody knows how much: what is given is not to be called all.
    pub fn is_doubtful(&self) -> bool {
        self.silent.iter().any(|silent| silent.beyond == Beyond::Unknown)
    }

    /// What is the matter with a site that did not say what it has, for people, in few words; the worst first.
    pub fn trouble(&self) -> Option<String> {
        let worst = self.silent.iter().max_by_key(|silent| silent.beyond.rank())?;
        let site = &worst.site;
        Some(match worst.why {
            Why::NotAnswering => format!("{site} does not answer"),
            Why::InPart => format!("an archive of {site} does not answer"),
            Why::Unreadable => format!("{site} lists some of it unreadably"),
            Why::Fewer => format!("{site} lists fewer than it has"),
            Why::Unfiled => format!("{site} does not say whose it is"),
            Why::NotAsked => format!("{site} was not asked beyond {MOST_STUDIES} studies"),
        })
    }

    /// The same, with what it means for what is given.
    pub fn remark(&self) -> Option<String> {
        let trouble = self.trouble()?;
        let missing = self.missing();
        Some(match (missing, self.silent.iter().all(|silent| silent.beyond == Beyond::Nothing)) {
            (1.., _) => format!("{trouble}; {missing} missing"),
            (0, true) => format!("{trouble}; all that it last had is given"),
            (0, false) => format!("{trouble}; there may be more"),
        })
    }

    /// What a site gives and did not list is one of those that it was known to have besides.
    pub(super) fn is_found(&mut self, at: usize) {
        let Some((follower, _)) = self.followers.get(at) else { return };
        let is_theirs = |silent: &&mut Silent| silent.site == follower.site() && silent.study == *follower.study();
        let Some(silent) = self.silent.iter_mut().find(is_theirs) else { return };
        if let Beyond::Known(count) = silent.beyond
            && silent.why == Why::Fewer
            && self.unnamed > 0
        {
            silent.beyond = if count > 1 { Beyond::Known(count - 1) } else { Beyond::Nothing };
            self.unnamed -= 1;
            self.found += 1;
        }
    }
}
