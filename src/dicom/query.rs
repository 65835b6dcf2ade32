//! What a query asks for, whichever face it comes by: the keys to be matched, and how they are matched and encoded.

pub mod identifier;
pub mod matching;

use super::attributes::{INDEXED, Level, STUDY_DATE, STUDY_TIME};
use super::tag::Tag;
use super::vr::Vr;
use matching::{matches, moment_matches};

/// An attribute to be matched.
#[derive(Clone, PartialEq, Eq)]
pub struct Match {
    /// The attribute; tags of the sequences around it first, so the last one is its own.
    pub path: Vec<Tag>,
    /// Its VR in the dictionary; UN if it is not listed.
    pub vr: Vr,
    /// For UI the UIDs of the list, checked, none for an empty value; else the one value as given, wildcards and ranges unresolved.
    pub values: Vec<String>,
}

impl std::fmt::Debug for Match {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Match({:?}, {} values)", self.path, self.values.len())
    }
}

/// The match on a top-level attribute.
pub fn matching(all: &[Match], tag: Tag) -> Option<&Match> {
    all.iter().find(|matched| matched.path == [tag])
}

/// Whether an entity matches in all indexed keys of its level and above; other keys are not supported, and ignored. With
/// `combined`, ranges of Study Date and Study Time are one range of moments (PS3.4 section C.2.2.2.5).
pub fn fits<'a>(all: &[Match], level: Level, combined: bool, held: impl Fn(Tag) -> Option<&'a str>) -> bool {
    let moment = matching(all, STUDY_DATE).zip(matching(all, STUDY_TIME)).filter(|_| combined);
    let together = moment.is_none_or(|(date, time)| moment_matches(date, time, held(STUDY_DATE), held(STUDY_TIME)));
    together
        && all.iter().all(|matched| match matched.path.as_slice() {
            [tag] if moment.is_some() && [STUDY_DATE, STUDY_TIME].contains(tag) => true,
            [tag] if INDEXED.iter().any(|indexed| indexed.tag == *tag && indexed.level <= level) => {
                matches(matched, held(*tag))
            }
            _ => true,
        })
}
