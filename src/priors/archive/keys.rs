//! The keys of queries to an archive: what is asked for at each level, and which keys of the asker narrow it.

use crate::dicom::attributes::*;
use crate::dicom::query::{Match, matching};
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;
use std::collections::BTreeMap;

pub(super) use crate::dicom::attributes::QUERY_RETRIEVE_LEVEL as LEVEL;

/// Keys that narrow a query of studies at the archive: those that every archive must support, or ignores without harm. Each
/// answer is matched again here. Study Time is not among them: beside a range of dates it would cut a night in two (WEB-092).
const NARROWING: [Tag; 9] = [
    PATIENT_ID,
    PATIENT_NAME,
    PATIENT_BIRTH_DATE,
    ACCESSION_NUMBER,
    STUDY_DATE,
    STUDY_ID,
    STUDY_INSTANCE_UID,
    REFERRING_PHYSICIAN,
    MODALITIES_IN_STUDY,
];

/// Of these one at least must be named, or the archive would list everybody.
const NAMING: [Tag; 7] =
    [PATIENT_ID, PATIENT_NAME, PATIENT_BIRTH_DATE, ACCESSION_NUMBER, STUDY_DATE, STUDY_ID, STUDY_INSTANCE_UID];

/// The name of a level.
pub(super) fn name(level: Level) -> &'static str {
    match level {
        Level::Patient => "PATIENT",
        Level::Study => "STUDY",
        Level::Series => "SERIES",
        Level::Instance => "IMAGE",
    }
}

/// What tells one match of a query from another, by the level that its keys name.
pub(super) fn unique(keys: &BTreeMap<Tag, String>) -> Option<Tag> {
    let levels =
        [(Level::Study, STUDY_INSTANCE_UID), (Level::Series, SERIES_INSTANCE_UID), (Level::Instance, SOP_INSTANCE_UID)];
    let named = keys.get(&LEVEL)?;
    levels.into_iter().find(|(level, _)| named == name(*level)).map(|(_, tag)| tag)
}

/// Whether the keys name something: wildcards alone name nothing.
pub(super) fn name_something(matches: &[Match]) -> bool {
    let says = |value: &String| value.contains(|c: char| !matches!(c, '*' | '?' | '^' | '-' | ' '));
    NAMING.iter().any(|tag| matching(matches, *tag).is_some_and(|matched| matched.values.iter().any(says)))
}

/// What is asked for at a level, with no value: the indexed attributes of the level, and counts.
pub(super) fn of_level(level: Level) -> BTreeMap<Tag, String> {
    let wanted = |of: Level| level == of || (level == Level::Study && of == Level::Patient);
    let unasked = [SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET];
    let indexed = INDEXED.iter().filter(|indexed| wanted(indexed.level) && !unasked.contains(&indexed.tag));
    let counts: &[Tag] = match level {
        Level::Study => &[MODALITIES_IN_STUDY, STUDY_RELATED_SERIES, STUDY_RELATED_INSTANCES],
        Level::Series => &[SERIES_RELATED_INSTANCES],
        _ => &[],
    };
    let mut keys: BTreeMap<Tag, String> = indexed.map(|indexed| (indexed.tag, String::new())).collect();
    keys.extend(counts.iter().map(|tag| (*tag, String::new())));
    keys.insert(LEVEL, name(level).to_owned());
    keys
}

/// What is asked for of instances that are only to be named.
pub(super) fn of_names() -> BTreeMap<Tag, String> {
    [(LEVEL, name(Level::Instance).to_owned()), (SOP_INSTANCE_UID, String::new())].into()
}

/// Several values of another key than a UID: the standard knows no such list (PS3.4 section C.2.2.2), and an archive may look for all of it
/// as one value.
fn is_list(matched: &Match) -> bool {
    matched.vr != Vr::UI && matched.values.iter().any(|value| value.contains('\\'))
}

/// A value as the standard writes it now: an asterisk alone leaves a key open, dates have no dots, and components at the end of a name that may
/// be anything may not be there at all. Here it is matched as kindly as what is held here.
fn plain(matched: &Match) -> String {
    let value = matched.values.join("\\");
    match matched.vr {
        _ if value == "*" => String::new(),
        Vr::DA => value.replace('.', ""),
        Vr::PN if value.ends_with("^*") && !value.contains('=') => format!("{}*", value.trim_end_matches(['^', '*'])),
        _ => value,
    }
}

/// The keys of a query of studies. Lists are left to the matching here, unless nothing else names anything.
pub(super) fn of_studies(matches: &[Match]) -> BTreeMap<Tag, String> {
    let (lists, single): (Vec<Match>, Vec<Match>) = matches.iter().cloned().partition(is_list);
    let open = |matched: &Match| matched.path == [MODALITIES_IN_STUDY] || name_something(&single);
    let lists = lists.iter().filter(|matched| !open(matched));
    let mut keys = of_level(Level::Study);
    for matched in single.iter().chain(lists) {
        let [tag] = matched.path.as_slice() else { continue };
        if NARROWING.contains(tag) && !matched.values.is_empty() {
            keys.insert(*tag, plain(matched));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tag: Tag, vr: Vr, values: &[&str]) -> Match {
        Match { path: vec![tag], vr, values: values.iter().map(|value| (*value).to_owned()).collect() }
    }

    #[test]
    fn a_match_is_known_by_the_uid_of_its_level() {
        assert_eq!(unique(&of_level(Level::Study)), Some(STUDY_INSTANCE_UID));
        assert_eq!(unique(&of_level(Level::Series)), Some(SERIES_INSTANCE_UID));
        assert_eq!(unique(&of_names()), Some(SOP_INSTANCE_UID));
        assert_eq!(unique(&BTreeMap::new()), None);
    }

    /// DIM-066, DIM-070: what the standard gives no meaning to is not sent, so that an archive does not look for `CT\MR` and find nothing.
    #[test]
    fn an_archive_is_sent_no_lists_but_of_uids_no_old_dates_and_no_empty_components() {
        let rows: [(&[Match], Tag, &str); 10] = [
            (
                &[key(PATIENT_ID, Vr::LO, &["7"]), key(MODALITIES_IN_STUDY, Vr::CS, &["CT\\MR"])],
                MODALITIES_IN_STUDY,
                "",
            ),
            (&[key(MODALITIES_IN_STUDY, Vr::CS, &["CT\\MR"])], MODALITIES_IN_STUDY, ""),
            (&[key(PATIENT_ID, Vr::LO, &["7"]), key(MODALITIES_IN_STUDY, Vr::CS, &["CT"])], MODALITIES_IN_STUDY, "CT"),
            (&[key(PATIENT_ID, Vr::LO, &["7"]), key(ACCESSION_NUMBER, Vr::SH, &["A1\\A2"])], ACCESSION_NUMBER, ""),
            // Nothing else names anything: everybody is not asked for.
            (&[key(ACCESSION_NUMBER, Vr::SH, &["A1\\A2"])], ACCESSION_NUMBER, "A1\\A2"),
            (&[key(STUDY_DATE, Vr::DA, &["2025.03.10-2025.03.11"])], STUDY_DATE, "20250310-20250311"),
            (&[key(PATIENT_ID, Vr::LO, &["7"]), key(STUDY_DATE, Vr::DA, &["*"])], STUDY_DATE, ""),
            (&[key(STUDY_INSTANCE_UID, Vr::UI, &["1.2", "1.3"])], STUDY_INSTANCE_UID, "1.2\\1.3"),
            (&[key(PATIENT_NAME, Vr::PN, &["DOE^JOHN^*"])], PATIENT_NAME, "DOE^JOHN*"),
            (&[key(PATIENT_NAME, Vr::PN, &["YAMADA^*=山田^*"])], PATIENT_NAME, "YAMADA^*=山田^*"),
        ];
        for (matches, tag, want) in rows {
            assert_eq!(of_studies(matches).get(&tag).map(String::as_str), Some(want), "{matches:?} {tag}");
        }
    }

    #[test]
    fn an_archive_is_asked_what_it_can_match_and_never_for_everybody() {
        let lo = |tag, value| key(tag, Vr::LO, &[value]);
        assert!(!name_something(&[]));
        assert!(!name_something(&[lo(PATIENT_NAME, "*"), lo(MODALITIES_IN_STUDY, "CT")]));
        assert!(name_something(&[lo(PATIENT_NAME, "SMITH*")]));
        let matches =
            [lo(PATIENT_ID, "7"), key(STUDY_INSTANCE_UID, Vr::UI, &["1.2", "1.3"]), lo(STUDY_TIME, "1000-1100")];
        let keys = of_studies(&matches);
        let value = |tag| keys.get(&tag).map(String::as_str);
        assert_eq!(value(LEVEL), Some("STUDY"));
        assert_eq!(value(PATIENT_ID), Some("7"));
        assert_eq!(value(STUDY_INSTANCE_UID), Some("1.2\\1.3"));
        assert_eq!(value(STUDY_TIME), Some(""), "matched here, beside the date");
        assert_eq!((value(PATIENT_NAME), value(STUDY_RELATED_INSTANCES), value(MODALITY)), (Some(""), Some(""), None));
    }
}
