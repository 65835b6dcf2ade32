//! What a query asks for, whichever face it comes by: the keys to be matched, and how they are matched and encoded.

pub mod identifier;
pub mod matching;
pub mod narrow;
pub mod nested;

use super::attributes::{
    ACCESSION_NUMBER, INDEXED, INSTANCE_NUMBER, Level, MODALITY, REQUEST_ATTRIBUTES, REQUESTED_PROCEDURE_ID,
    SCHEDULED_STEP_ID, SERIES_NUMBER, STUDY_DATE, STUDY_ID, STUDY_TIME,
};
use super::tag::Tag;
use super::vr::Vr;
use matching::{matches as value_matches, moment_matches};

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

/// The keys that are matched against an entity where what is held without a value matches whatever is asked for (PS3.4 section
/// C.2.2.1.2): all but the required keys of study, series and instance that have no value there. Keys of the patient are always
/// matched, so that nobody's study is taken for somebody's (DIM-065).
pub fn known<'a>(all: &[Match], held: impl Fn(Tag) -> Option<&'a str>) -> Vec<Match> {
    const REQUIRED: [Tag; 7] =
        [STUDY_DATE, STUDY_TIME, ACCESSION_NUMBER, STUDY_ID, MODALITY, SERIES_NUMBER, INSTANCE_NUMBER];
    let empty = |tag: &Tag| held(*tag).is_none_or(|value| value.trim_matches([' ', '\0', '\\']).is_empty());
    let counts = |matched: &&Match| !matches!(matched.path[..], [tag] if REQUIRED.contains(&tag) && empty(&tag));
    all.iter().filter(counts).cloned().collect()
}

/// Whether a key is matched against an entity of a level: if it is indexed at that level or above, or is one of the numbers of a request,
/// which belong to a series.
pub fn is_matched(key: &Match, level: Level) -> bool {
    match key.path.as_slice() {
        [tag] => INDEXED.iter().any(|indexed| indexed.tag == *tag && indexed.level <= level),
        [REQUEST_ATTRIBUTES, SCHEDULED_STEP_ID | REQUESTED_PROCEDURE_ID] => level >= Level::Series,
        _ => false,
    }
}

/// Whether one of the requests of a series, which are held as lists of their numbers, matches in all keys (PS3.4 section C.2.2.2.6).
fn requested<'a>(keys: &[(&Match, Tag)], held: impl Fn(Tag) -> Option<&'a str>) -> bool {
    let numbers = |tag| held(tag).unwrap_or_default().split('\\');
    let mut requests = numbers(SCHEDULED_STEP_ID).zip(numbers(REQUESTED_PROCEDURE_ID));
    requests.any(|(step, procedure)| {
        let number = |tag| if tag == SCHEDULED_STEP_ID { step } else { procedure };
        keys.iter().all(|(key, tag)| value_matches(key, Some(number(*tag))))
    })
}

/// Whether an entity matches in all indexed keys of its level and above, and in those of its requests; other keys are not supported,
/// and ignored. With `combined`, ranges of Study Date and Study Time are one range of moments (PS3.4 section C.2.2.2.5).
pub fn fits<'a>(all: &[Match], level: Level, combined: bool, held: impl Fn(Tag) -> Option<&'a str>) -> bool {
    let moment = matching(all, STUDY_DATE).zip(matching(all, STUDY_TIME)).filter(|_| combined);
    let together = moment.is_none_or(|(date, time)| moment_matches(date, time, held(STUDY_DATE), held(STUDY_TIME)));
    let used = || all.iter().filter(|matched| is_matched(matched, level));
    let nested: Vec<(&Match, Tag)> = used().filter_map(|key| Some((key, *key.path.get(1)?))).collect();
    together
        && requested(&nested, &held)
        && used().all(|matched| match matched.path.as_slice() {
            [tag] if moment.is_some() && [STUDY_DATE, STUDY_TIME].contains(tag) => true,
            [tag] => value_matches(matched, held(*tag)),
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::attributes::{PATIENT_BIRTH_DATE, PATIENT_ID};

    /// DIM-065: only keys of the study and below may match what has no value, and only there.
    #[test]
    fn what_has_no_value_matches_only_where_nobody_can_be_mistaken() {
        let key = |tag: Tag| Match { path: vec![tag], vr: Vr::LO, values: vec!["A1".into()] };
        let all = [key(ACCESSION_NUMBER), key(STUDY_ID), key(PATIENT_ID), key(PATIENT_BIRTH_DATE)];
        let left = |held: &[(Tag, &'static str)]| -> Vec<Tag> {
            let held = held.to_vec();
            let value = |tag: Tag| held.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value);
            known(&all, value).iter().map(|matched| matched.path[0]).collect()
        };
        assert_eq!(left(&[]), [PATIENT_ID, PATIENT_BIRTH_DATE]);
        assert_eq!(left(&[(ACCESSION_NUMBER, " "), (STUDY_ID, "7")]), [STUDY_ID, PATIENT_ID, PATIENT_BIRTH_DATE]);
    }

    /// WEB-095: a series is found by the numbers of one of its requests; two numbers are those of the same one.
    #[test]
    fn the_numbers_of_a_request_belong_together() {
        let key = |tag: Tag, value: &str| Match {
            path: vec![REQUEST_ATTRIBUTES, tag],
            vr: Vr::SH,
            values: vec![value.into()],
        };
        let step = |value| key(SCHEDULED_STEP_ID, value);
        let procedure = |value| key(REQUESTED_PROCEDURE_ID, value);
        let none = |_: Tag| None;
        let two = |tag: Tag| match tag {
            SCHEDULED_STEP_ID => Some("S1\\"),
            REQUESTED_PROCEDURE_ID => Some("P1\\P2"),
            _ => None,
        };
        let rows = [
            (vec![], true, true),
            (vec![step("")], true, true),
            (vec![step("S1")], true, false),
            (vec![step("S*"), procedure("P1")], true, false),
            (vec![procedure("P2")], true, false),
            (vec![step("S1"), procedure("P2")], false, false),
            (vec![step("NOPE")], false, false),
        ];
        for (keys, with, without) in rows {
            let got = [Level::Series, Level::Instance].map(|level| fits(&keys, level, true, two));
            assert_eq!(got, [with, with], "{keys:?}");
            assert_eq!(fits(&keys, Level::Series, true, none), without, "{keys:?}");
            // A study has no requests.
            assert!(fits(&keys, Level::Study, true, none), "{keys:?}");
        }
        assert!(is_matched(&step("1"), Level::Series) && !is_matched(&step("1"), Level::Study));
        assert!(!is_matched(&key(PATIENT_ID, "1"), Level::Instance), "another attribute of a request");
    }
}
