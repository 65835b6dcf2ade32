//! What sites did not say of a study that is gathered, what may be missing therefore, and in which words people are told.

use super::{Gathering, MOST_STUDIES, Sought};
use crate::dicom::uid::StudyUid;
use jiff::{Timestamp, Zoned};
use std::time::SystemTime;

/// What an Error Comment holds, in characters (LO; PS3.5 section 6.2).
const LONGEST_COMMENT: usize = 64;

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
            let listed = of.pulls.iter().find(|pull| pull.peer == site).and_then(|pull| pull.checked);
            // Who was never pulled from may have told how many it has in answer to a query.
            let counted_it = of.holders.iter().find(|holder| holder.peer == site && holder.instances.is_some());
            let checked = listed.or(counted_it.map(|holder| holder.seen));
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

    /// The site of which people are told, and the study for which that is worst.
    fn worst(&self) -> Option<&Silent> {
        self.silent.iter().max_by_key(|silent| silent.beyond.rank())
    }

    /// When that site last said what it has: of several studies the longest ago. `None` if of one it never did, or if it has spoken just now.
    fn checked(&self) -> Option<SystemTime> {
        let worst = self.worst()?;
        let of_it = self.silent.iter().filter(|silent| silent.site == worst.site);
        let spoke = matches!(worst.why, Why::Unreadable | Why::Fewer | Why::Unfiled);
        of_it.map(|silent| silent.checked).min().flatten().filter(|_| !spoke)
    }

    /// What is the matter with a site that did not say what it has, for people, in few words; the worst first.
    fn trouble(&self) -> Option<String> {
        let worst = self.worst()?;
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

    /// The same, with what it means for what is given, and when the site last said what it has ("Freshness").
    pub fn remark(&self) -> Option<String> {
        let trouble = self.trouble()?;
        let missing = self.missing();
        Some(match (missing, self.silent.iter().all(|silent| silent.beyond == Beyond::Nothing)) {
            (1.., _) => self.dated(format!("{trouble}; {missing} missing"), None),
            (0, true) => {
                self.dated(format!("{trouble}; all that it last had is given"), Some(format!("{trouble}; given")))
            }
            (0, false) => self.dated(format!("{trouble}; there may be more"), None),
        })
    }

    /// The trouble where there is nothing to be given: that is no word of there being nothing.
    pub fn unsaid(&self) -> Option<String> {
        Some(self.dated(format!("{}; ask again later", self.trouble()?), None))
    }

    fn dated(&self, said: String, short: Option<String>) -> String {
        match self.checked().and_then(|at| moment(at, &Zoned::now())) {
            Some(checked) => dated(said, short, &checked),
            None => said,
        }
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

/// What is said, and when that was last checked, as far as an Error Comment has room for both: a comment that is cut would tell half a time.
/// `short` says the same in fewer words.
fn dated(said: String, short: Option<String>, checked: &str) -> String {
    let whole = [format!("{said}; last checked {checked}"), format!("{said}; as of {checked}")];
    let short = short.map(|short| format!("{short} as of {checked}"));
    let fits = |text: &String| text.chars().count() <= LONGEST_COMMENT;
    whole.into_iter().chain(short).find(fits).unwrap_or(said)
}

/// A moment that is past, as people of this site read it, in few characters: of today the time, of this year the day too, else the day alone.
fn moment(at: SystemTime, now: &Zoned) -> Option<String> {
    let at = Timestamp::try_from(at).ok()?.to_zoned(now.time_zone().clone());
    let format = match (at.date() == now.date(), at.year() == now.year()) {
        (true, _) => "%H:%M",
        (false, true) => "%d %b %H:%M",
        (false, false) => "%d %b %Y",
    };
    Some(at.strftime(format).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use std::time::{Duration, UNIX_EPOCH};

    const THEN: Duration = Duration::from_secs(1_700_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    /// "Freshness": a moment is told in as few characters as leave no doubt which it is.
    #[test]
    fn a_moment_is_told_by_its_time_or_its_day() {
        // 14 November 2023, 22:13 UTC.
        let now = Timestamp::try_from(UNIX_EPOCH + THEN).unwrap().to_zoned(TimeZone::UTC);
        for (hours, want) in
            [(0, "22:13"), (22, "00:13"), (23, "13 Nov 23:13"), (24 * 300, "18 Jan 22:13"), (24 * 320, "29 Dec 2022")]
        {
            assert_eq!(moment(UNIX_EPOCH + THEN - HOUR * hours, &now).as_deref(), Some(want), "{hours} hours ago");
        }
    }

    /// "Freshness", PS3.5 section 6.2: the time is told where a comment has room for it, and never half of it.
    #[test]
    fn when_it_was_checked_is_told_whole_or_not_at_all() {
        let rows = [
            ("b does not answer; 3 missing", None, "14:02", "b does not answer; 3 missing; last checked 14:02"),
            (
                "surrey does not answer; there may be more",
                None,
                "29 Nov 14:02",
                "surrey does not answer; there may be more; as of 29 Nov 14:02",
            ),
            (
                "b does not answer; all that it last had is given",
                Some("b does not answer; given"),
                "14:02",
                "b does not answer; all that it last had is given; as of 14:02",
            ),
            (
                "an archive of surrey does not answer; all that it last had is given",
                Some("an archive of surrey does not answer; given"),
                "29 Nov 14:02",
                "an archive of surrey does not answer; given as of 29 Nov 14:02",
            ),
            (
                "hampshire-and-isle-of-wight does not answer; there may be more",
                None,
                "29 Nov 14:02",
                "hampshire-and-isle-of-wight does not answer; there may be more",
            ),
        ];
        for (said, short, checked, want) in rows {
            assert_eq!(dated(said.to_owned(), short.map(str::to_owned), checked), want);
            assert!(want.chars().count() <= LONGEST_COMMENT, "{want}");
        }
    }

    fn silent(site: &str, hours: Option<u32>, why: Why, beyond: Beyond) -> Silent {
        let checked = hours.map(|hours| UNIX_EPOCH + HOUR * hours);
        Silent { site: site.into(), study: StudyUid::parse("1.2").unwrap(), checked, why, beyond }
    }

    /// "Freshness": the time is that of the site that is told of, of its studies the one that was checked the longest ago; a site that has
    /// just spoken has none, nor has one that never did.
    #[test]
    fn the_time_is_that_of_the_site_that_is_told_of() {
        use Beyond::{Known, Nothing, Unknown};
        use Why::{Fewer, InPart, NotAnswering};
        let rows: Vec<(Vec<Silent>, Option<u32>)> = vec![
            (vec![], None),
            (vec![silent("b", Some(3), NotAnswering, Nothing)], Some(3)),
            (vec![silent("b", Some(3), InPart, Unknown), silent("b", Some(2), InPart, Nothing)], Some(2)),
            (vec![silent("b", Some(3), NotAnswering, Unknown), silent("b", None, NotAnswering, Nothing)], None),
            (vec![silent("b", Some(3), NotAnswering, Known(1)), silent("c", Some(2), NotAnswering, Unknown)], Some(3)),
            (vec![silent("b", Some(3), Fewer, Known(1))], None),
        ];
        for (silent, hours) in rows {
            let gathering = Gathering { silent, ..Gathering::default() };
            assert_eq!(gathering.checked(), hours.map(|hours| UNIX_EPOCH + HOUR * hours), "{:?}", gathering.silent);
        }
    }
}
