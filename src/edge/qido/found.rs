//! What is shown of a study, series or instance: what the standard requires of what we index, and what was asked for beside it
//! (PS3.18 tables 10.6.3-3 to 10.6.3-5; WEB-096).

use crate::dicom::attributes::*;
use crate::dicom::nhs_number::{ISSUER_OID, NhsNumber};
use crate::dicom::query::Match;
use crate::dicom::tag::Tag;
use crate::dicomweb::dataset::{Dataset, Element, VR};
use crate::dicomweb::qido::Include;
use crate::edge::http::{Base, Target};
use crate::priors::archive::ArchivedInstance;
use crate::records::{FoundInstance, SeriesRow, StudyRow, StudySize, Texts};
use std::str::FromStr;

const UNIVERSAL_ENTITY_TYPE: Tag = Tag::new(0x0040, 0x0033);
const INSTANCE_AVAILABILITY: Tag = Tag::new(0x0008, 0x0056);
const RETRIEVE_URL: Tag = Tag::new(0x0008, 0x1190);

const OF_STUDY: &[Tag] = &[
    STUDY_DATE,
    STUDY_TIME,
    ACCESSION_NUMBER,
    REFERRING_PHYSICIAN,
    PATIENT_NAME,
    PATIENT_ID,
    PATIENT_BIRTH_DATE,
    PATIENT_SEX,
    STUDY_INSTANCE_UID,
    STUDY_ID,
    TIMEZONE_OFFSET,
];
const OF_SERIES: &[Tag] = &[
    MODALITY,
    SERIES_DESCRIPTION,
    SERIES_INSTANCE_UID,
    SERIES_NUMBER,
    PERFORMED_STEP_START_DATE,
    PERFORMED_STEP_START_TIME,
    TIMEZONE_OFFSET,
    REQUEST_ATTRIBUTES,
];
const OF_INSTANCE: &[Tag] = &[
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    TIMEZONE_OFFSET,
    INSTANCE_NUMBER,
    NUMBER_OF_FRAMES,
    ROWS,
    COLUMNS,
    BITS_ALLOCATED,
];

/// The keyword of a key, for people; its tag if it is not indexed.
pub(super) fn keyword(matched: &Match) -> String {
    let tag = matched.path.last().copied().unwrap_or(Tag(0));
    INDEXED.iter().find(|indexed| indexed.tag == tag).map_or_else(|| tag.to_string(), |indexed| indexed.keyword.into())
}

/// Whether an attribute was asked for by name, or all were.
pub(super) fn asked(include: &Include, tag: Tag) -> bool {
    match include {
        Include::All => true,
        Include::Fields(fields) => fields.iter().any(|path| *path == [tag]),
    }
}

/// An issuer as PS3.3 section 10.14 has it: an object identifier as such, any other name as a local one.
fn qualifiers(issuer: &str) -> Dataset {
    let oid = issuer.contains('.') && issuer.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match oid {
        true => Dataset::from_iter([
            (UNIVERSAL_ENTITY, Element::text(VR::UT, issuer)),
            (UNIVERSAL_ENTITY_TYPE, Element::text(VR::CS, "ISO")),
        ]),
        false => Dataset::from_iter([(LOCAL_NAMESPACE, Element::text(VR::UT, issuer))]),
    }
}

/// The attributes of these tags that are held, and those that were asked for.
fn shown(texts: &Texts, required: &[&[Tag]], include: &Include) -> Dataset {
    let mut set = Dataset::default();
    for indexed in INDEXED {
        let wanted = asked(include, indexed.tag) || required.iter().any(|tags| tags.contains(&indexed.tag));
        if let (true, Some(text), Ok(vr)) = (wanted, texts.0.get(&indexed.tag), VR::from_str(indexed.vr)) {
            set.insert(indexed.tag, Element::text(vr, text));
        }
    }
    let requested =
        asked(include, REQUEST_ATTRIBUTES) || required.iter().any(|tags| tags.contains(&REQUEST_ATTRIBUTES));
    if let Some(items) = requests(texts).filter(|_| requested) {
        set.insert(REQUEST_ATTRIBUTES, Element::items(items));
    }
    // Whatever the object was written in: the answer is UTF-8 (PS3.18 F.2.4).
    set.insert(SPECIFIC_CHARACTER_SET, Element::text(VR::CS, "ISO_IR 192"));
    set.insert(INSTANCE_AVAILABILITY, Element::text(VR::CS, "ONLINE"));
    set
}

/// For which requests a series was made, if that is known: an item each (PS3.18 table 10.6.3-4).
fn requests(texts: &Texts) -> Option<Vec<Dataset>> {
    let numbers = |tag: Tag| texts.0.get(&tag).map(|text| text.split('\\').collect::<Vec<_>>());
    let (steps, procedures) = (numbers(SCHEDULED_STEP_ID)?, numbers(REQUESTED_PROCEDURE_ID)?);
    let items = steps.into_iter().zip(procedures).map(|(step, procedure)| {
        Dataset::from_iter([
            (SCHEDULED_STEP_ID, Element::text(VR::SH, step)),
            (REQUESTED_PROCEDURE_ID, Element::text(VR::SH, procedure)),
        ])
    });
    Some(items.collect())
}

/// `issuer` is who issued its Patient ID, as far as this site knows where the object does not say.
pub(super) fn study(base: &Base, include: &Include, row: &StudyRow, size: &StudySize, issuer: Option<&str>) -> Dataset {
    let mut set = shown(&row.attributes, &[OF_STUDY], include);
    if asked(include, SOP_CLASSES_IN_STUDY) {
        let classes: Vec<&str> = size.sop_classes.iter().map(|class| class.as_str()).collect();
        set.insert(SOP_CLASSES_IN_STUDY, Element::text(VR::UI, &classes.join("\\")));
    }
    let says = |tag: Tag| row.attributes.0.get(&tag).is_some_and(|text| !text.is_empty());
    if let Some(issuer) = issuer.filter(|_| says(PATIENT_ID) && !says(ISSUER_OF_PATIENT_ID))
        && asked(include, ISSUER_QUALIFIERS)
    {
        set.insert(ISSUER_QUALIFIERS, Element::items(vec![qualifiers(issuer)]));
    }
    // As the entries of the ledger have it, whatever became of the copy among what describes the study (FLT-025).
    set.insert(STUDY_INSTANCE_UID, Element::text(VR::UI, row.study.as_str()));
    set.insert(RETRIEVE_URL, Element::text(VR::UR, &base.study(&row.study)));
    set.insert(MODALITIES_IN_STUDY, Element::text(VR::CS, &size.modalities.join("\\")));
    set.insert(STUDY_RELATED_SERIES, Element::number(VR::IS, size.series));
    set.insert(STUDY_RELATED_INSTANCES, Element::number(VR::IS, size.instances));
    set
}

/// Says by which NHS number the patient is known beside the number of this site.
pub(super) fn other_number(set: &mut Dataset, number: NhsNumber) {
    let item = Dataset::from_iter([
        (PATIENT_ID, Element::text(VR::LO, &number.digits())),
        (ISSUER_OF_PATIENT_ID, Element::text(VR::LO, ISSUER_OID)),
    ]);
    set.insert(OTHER_PATIENT_IDS, Element::items(vec![item]));
}

/// Below a study, its own attributes are known to the asker.
pub(super) fn series(base: &Base, include: &Include, row: &SeriesRow, below_study: bool) -> Dataset {
    let above = if below_study { &[STUDY_INSTANCE_UID][..] } else { OF_STUDY };
    let mut set = shown(&row.attributes, &[OF_SERIES, above], include);
    set.insert(STUDY_INSTANCE_UID, Element::text(VR::UI, row.study.as_str()));
    set.insert(SERIES_INSTANCE_UID, Element::text(VR::UI, row.series.as_str()));
    set.insert(RETRIEVE_URL, Element::text(VR::UR, &base.series(&row.study, &row.series)));
    set.insert(SERIES_RELATED_INSTANCES, Element::number(VR::IS, row.instances));
    set
}

pub(super) fn instance(base: &Base, include: &Include, row: &FoundInstance, target: &Target) -> Dataset {
    let study = if target.study.is_some() { &[STUDY_INSTANCE_UID][..] } else { OF_STUDY };
    let series = if target.series.is_some() { &[SERIES_INSTANCE_UID][..] } else { OF_SERIES };
    let mut set = shown(&row.attributes, &[OF_INSTANCE, study, series], include);
    names(&mut set, row);
    set.insert(RETRIEVE_URL, Element::text(VR::UR, &base.instance(&row.study, &row.series, &row.instance)));
    set
}

/// An instance that an archive holds, and we do not.
pub(super) fn archived(base: &Base, include: &Include, row: &ArchivedInstance, target: &Target) -> Dataset {
    let study = if target.study.is_some() { &[STUDY_INSTANCE_UID][..] } else { OF_STUDY };
    let series = if target.series.is_some() { &[SERIES_INSTANCE_UID][..] } else { OF_SERIES };
    let mut set = shown(&row.attributes, &[OF_INSTANCE, study, series], include);
    let class = row.sop_class.as_ref().map_or("", |class| class.as_str());
    uids(&mut set, [class, row.instance.as_str(), row.study.as_str(), row.series.as_str()]);
    set.insert(RETRIEVE_URL, Element::text(VR::UR, &base.instance(&row.study, &row.series, &row.instance)));
    nearline(&mut set);
    set
}

/// An archive holds it, or more of it than is here: it can be had, and takes longer (DIM-070).
pub(super) fn nearline(set: &mut Dataset) {
    set.insert(INSTANCE_AVAILABILITY, Element::text(VR::CS, "NEARLINE"));
}

/// It is no study, and says why: nothing of it can be had.
pub(super) fn marker(set: &mut Dataset, description: &str) {
    set.insert(STUDY_DESCRIPTION, Element::text(VR::LO, description));
    set.insert(INSTANCE_AVAILABILITY, Element::text(VR::CS, "UNAVAILABLE"));
}

/// What a peer needs to verify what it sent.
pub(super) fn verified(row: &FoundInstance) -> Dataset {
    let mut set = Dataset::default();
    names(&mut set, row);
    if let Some(number) = row.attributes.0.get(&INSTANCE_NUMBER) {
        set.insert(INSTANCE_NUMBER, Element::text(VR::IS, number));
    }
    set
}

fn names(set: &mut Dataset, row: &FoundInstance) {
    uids(set, [row.sop_class.as_str(), row.instance.as_str(), row.study.as_str(), row.series.as_str()]);
}

/// SOP class, instance, study and series.
fn uids(set: &mut Dataset, uids: [&str; 4]) {
    for (tag, uid) in [SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID].into_iter().zip(uids) {
        set.insert(tag, Element::text(VR::UI, uid));
    }
}
