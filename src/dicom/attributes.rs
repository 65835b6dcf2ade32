//! The attributes that the gateway keeps an index of, with their level and value representation, and others that queries name.

use super::tag::Tag;

/// The level of the information model that an attribute describes (PS3.4 section C.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Patient.
    Patient,
    /// Study.
    Study,
    /// Series.
    Series,
    /// Composite object instance.
    Instance,
}

/// One indexed attribute.
#[derive(Debug, Clone, Copy)]
pub struct Indexed {
    /// Its tag.
    pub tag: Tag,
    /// Its keyword of PS3.6.
    pub keyword: &'static str,
    /// The name in snake case, as routes write it in `when`.
    pub name: &'static str,
    /// Its value representation.
    pub vr: &'static str,
    /// The level that it describes.
    pub level: Level,
}

macro_rules! indexed {
    ($($constant:ident = $group:literal $element:literal $keyword:literal $name:literal $vr:literal $level:ident;)*) => {
        $(#[doc = concat!($keyword, ".")] pub const $constant: Tag = Tag::new($group, $element);)*
        /// Every indexed attribute, in tag order.
        pub const INDEXED: &[Indexed] = &[
            $(Indexed { tag: $constant, keyword: $keyword, name: $name, vr: $vr, level: Level::$level },)*
        ];
    };
}

indexed! {
    SPECIFIC_CHARACTER_SET = 0x0008 0x0005 "SpecificCharacterSet" "specific_character_set" "CS" Instance;
    IMAGE_TYPE = 0x0008 0x0008 "ImageType" "image_type" "CS" Instance;
    SOP_CLASS_UID = 0x0008 0x0016 "SOPClassUID" "sop_class_uid" "UI" Instance;
    SOP_INSTANCE_UID = 0x0008 0x0018 "SOPInstanceUID" "sop_instance_uid" "UI" Instance;
    STUDY_DATE = 0x0008 0x0020 "StudyDate" "study_date" "DA" Study;
    SERIES_DATE = 0x0008 0x0021 "SeriesDate" "series_date" "DA" Series;
    STUDY_TIME = 0x0008 0x0030 "StudyTime" "study_time" "TM" Study;
    ACCESSION_NUMBER = 0x0008 0x0050 "AccessionNumber" "accession_number" "SH" Study;
    MODALITY = 0x0008 0x0060 "Modality" "modality" "CS" Series;
    MANUFACTURER = 0x0008 0x0070 "Manufacturer" "manufacturer" "LO" Series;
    INSTITUTION_NAME = 0x0008 0x0080 "InstitutionName" "institution_name" "LO" Series;
    REFERRING_PHYSICIAN = 0x0008 0x0090 "ReferringPhysicianName" "referring_physician_name" "PN" Study;
    TIMEZONE_OFFSET = 0x0008 0x0201 "TimezoneOffsetFromUTC" "timezone_offset_from_utc" "SH" Instance;
    STATION_NAME = 0x0008 0x1010 "StationName" "station_name" "SH" Series;
    STUDY_DESCRIPTION = 0x0008 0x1030 "StudyDescription" "study_description" "LO" Study;
    SERIES_DESCRIPTION = 0x0008 0x103E "SeriesDescription" "series_description" "LO" Series;
    PATIENT_NAME = 0x0010 0x0010 "PatientName" "patient_name" "PN" Patient;
    PATIENT_ID = 0x0010 0x0020 "PatientID" "patient_id" "LO" Patient;
    ISSUER_OF_PATIENT_ID = 0x0010 0x0021 "IssuerOfPatientID" "issuer_of_patient_id" "LO" Patient;
    PATIENT_BIRTH_DATE = 0x0010 0x0030 "PatientBirthDate" "patient_birth_date" "DA" Patient;
    PATIENT_SEX = 0x0010 0x0040 "PatientSex" "patient_sex" "CS" Patient;
    BODY_PART_EXAMINED = 0x0018 0x0015 "BodyPartExamined" "body_part_examined" "CS" Series;
    PROTOCOL_NAME = 0x0018 0x1030 "ProtocolName" "protocol_name" "LO" Series;
    STUDY_INSTANCE_UID = 0x0020 0x000D "StudyInstanceUID" "study_instance_uid" "UI" Study;
    SERIES_INSTANCE_UID = 0x0020 0x000E "SeriesInstanceUID" "series_instance_uid" "UI" Series;
    STUDY_ID = 0x0020 0x0010 "StudyID" "study_id" "SH" Study;
    SERIES_NUMBER = 0x0020 0x0011 "SeriesNumber" "series_number" "IS" Series;
    INSTANCE_NUMBER = 0x0020 0x0013 "InstanceNumber" "instance_number" "IS" Instance;
    NUMBER_OF_FRAMES = 0x0028 0x0008 "NumberOfFrames" "number_of_frames" "IS" Instance;
    ROWS = 0x0028 0x0010 "Rows" "rows" "US" Instance;
    COLUMNS = 0x0028 0x0011 "Columns" "columns" "US" Instance;
    BITS_ALLOCATED = 0x0028 0x0100 "BitsAllocated" "bits_allocated" "US" Instance;
    PERFORMED_STEP_START_DATE = 0x0040 0x0244 "PerformedProcedureStepStartDate" "performed_procedure_step_start_date" "DA" Series;
    PERFORMED_STEP_START_TIME = 0x0040 0x0245 "PerformedProcedureStepStartTime" "performed_procedure_step_start_time" "TM" Series;
}

/// Query/Retrieve Level (PS3.4 section C.4.1.1.3).
pub const QUERY_RETRIEVE_LEVEL: Tag = Tag::new(0x0008, 0x0052);
/// Modalities in Study.
pub const MODALITIES_IN_STUDY: Tag = Tag::new(0x0008, 0x0061);
/// SOP Classes in Study.
pub const SOP_CLASSES_IN_STUDY: Tag = Tag::new(0x0008, 0x0062);
/// Issuer of Patient ID Qualifiers Sequence.
pub const ISSUER_QUALIFIERS: Tag = Tag::new(0x0010, 0x0024);
/// Other Patient IDs, retired: numbers without their issuers.
pub const OTHER_PATIENT_NUMBERS: Tag = Tag::new(0x0010, 0x1000);
/// Medical Record Locator, retired.
pub const MEDICAL_RECORD_LOCATOR: Tag = Tag::new(0x0010, 0x1090);
/// Other Patient IDs Sequence.
pub const OTHER_PATIENT_IDS: Tag = Tag::new(0x0010, 0x1002);
/// Number of Study Related Series.
pub const STUDY_RELATED_SERIES: Tag = Tag::new(0x0020, 0x1206);
/// Number of Study Related Instances.
pub const STUDY_RELATED_INSTANCES: Tag = Tag::new(0x0020, 0x1208);
/// Number of Series Related Instances.
pub const SERIES_RELATED_INSTANCES: Tag = Tag::new(0x0020, 0x1209);
/// Admission ID.
pub const ADMISSION_ID: Tag = Tag::new(0x0038, 0x0010);
/// Service Episode ID.
pub const SERVICE_EPISODE_ID: Tag = Tag::new(0x0038, 0x0060);
/// Local Namespace Entity ID.
pub const LOCAL_NAMESPACE: Tag = Tag::new(0x0040, 0x0031);
/// Universal Entity ID.
pub const UNIVERSAL_ENTITY: Tag = Tag::new(0x0040, 0x0032);

/// Scheduled Procedure Step ID.
pub const SCHEDULED_STEP_ID: Tag = Tag::new(0x0040, 0x0009);
/// Requested Procedure ID.
pub const REQUESTED_PROCEDURE_ID: Tag = Tag::new(0x0040, 0x1001);
/// Request Attributes Sequence.
pub const REQUEST_ATTRIBUTES: Tag = Tag::new(0x0040, 0x0275);
/// Referenced Request Sequence.
pub const REFERENCED_REQUESTS: Tag = Tag::new(0x0040, 0xA370);

/// The indexed attribute that a route's `when` or a query calls `name`: snake case, or the keyword of PS3.6.
pub fn by_name(name: &str) -> Option<&'static Indexed> {
    INDEXED.iter().find(|indexed| indexed.name == name || indexed.keyword == name)
}
