//! Which abstract syntaxes are storage SOP classes.

/// Verification (PS3.4 annex A).
pub const VERIFICATION: &str = "1.2.840.10008.1.1";

/// Study Root Query/Retrieve Information Model, FIND (PS3.4 section C.6.2).
pub const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

/// Modality Worklist Information Model, FIND (PS3.4 section K.4.1.1.3).
pub const WORKLIST_FIND: &str = "1.2.840.10008.5.1.4.31";

/// The Storage service class, as common extended negotiation names it (PS3.4 section B.3.1.4).
pub const STORAGE_SERVICE: &str = "1.2.840.10008.4.2";
/// The root below which the standard defines storage classes (PS3.4 section B.5).
const STORAGE_ROOT: &str = "1.2.840.10008.5.1.4.1.1.";
/// The storage classes of the standard that stand elsewhere: RT Beams Delivery Instruction, RT Brachy Application Setup
/// Delivery Instruction; and the retired Stored Print, Hardcopy Grayscale Image, Hardcopy Color Image, which old archives hold.
const STORAGE_ELSEWHERE: &[&str] = &[
    "1.2.840.10008.5.1.4.34.7",
    "1.2.840.10008.5.1.4.34.10",
    "1.2.840.10008.5.1.1.27",
    "1.2.840.10008.5.1.1.29",
    "1.2.840.10008.5.1.1.30",
];

/// Video Endoscopic, Microscopic and Photographic Image.
const VIDEO: &[&str] =
    &["1.2.840.10008.5.1.4.1.1.77.1.1.1", "1.2.840.10008.5.1.4.1.1.77.1.2.1", "1.2.840.10008.5.1.4.1.1.77.1.4.1"];

/// Whether instances of a class are video, which nothing here decodes.
pub fn is_video(class: &str) -> bool {
    VIDEO.contains(&class)
}

/// Abstract syntaxes, or the roots of families of them, that are known to be something other than storage of an
/// instance that has a patient and a study (PS3.4, PS3.6 annex A). A trailing dot makes a root.
const OTHER_SERVICES: &[&str] = &[
    "1.2.840.10008.1.1",             // Verification
    "1.2.840.10008.1.3.10",          // Media Storage Directory
    "1.2.840.10008.1.9",             // Basic Study Content Notification
    "1.2.840.10008.1.20.",           // Storage Commitment
    "1.2.840.10008.1.40",            // Procedural Event Logging
    "1.2.840.10008.1.42",            // Substance Administration Logging
    "1.2.840.10008.3.1.",            // Detached management, Modality Performed Procedure Step
    "1.2.840.10008.4.",              // Service classes
    "1.2.840.10008.5.1.1.",          // Print management, Display System
    "1.2.840.10008.5.1.4.1.1.200.1", // CT Defined Procedure Protocol: no patient
    "1.2.840.10008.5.1.4.1.1.200.3", // Protocol Approval: no patient
    "1.2.840.10008.5.1.4.1.1.200.4", // Defined Procedure Protocol, find
    "1.2.840.10008.5.1.4.1.1.200.5", // the same, move
    "1.2.840.10008.5.1.4.1.1.200.6", // the same, get
    "1.2.840.10008.5.1.4.1.1.200.7", // XA Defined Procedure Protocol: no patient
    "1.2.840.10008.5.1.4.1.1.201.",  // Inventory, with its find and move
    "1.2.840.10008.5.1.4.1.2.",      // Query/Retrieve
    "1.2.840.10008.5.1.4.20.",       // Protocol queries
    "1.2.840.10008.5.1.4.31",        // Modality Worklist
    "1.2.840.10008.5.1.4.32",        // General Purpose Worklist
    "1.2.840.10008.5.1.4.32.",       // the same, its parts
    "1.2.840.10008.5.1.4.33",        // Instance Availability Notification
    "1.2.840.10008.5.1.4.34.4.",     // Unified Procedure Step (trial)
    "1.2.840.10008.5.1.4.34.5",      // Unified Worklist (retired)
    "1.2.840.10008.5.1.4.34.6.",     // Unified Procedure Step
    "1.2.840.10008.5.1.4.34.8",      // RT Conventional Machine Verification
    "1.2.840.10008.5.1.4.34.9",      // RT Ion Machine Verification
    "1.2.840.10008.5.1.4.37.",       // Relevant Patient Information, queries
    "1.2.840.10008.5.1.4.38.",       // Hanging Protocol: no patient
    "1.2.840.10008.5.1.4.39.",       // Color Palette: no patient
    "1.2.840.10008.5.1.4.41",        // Product Characteristics Query
    "1.2.840.10008.5.1.4.42",        // Substance Approval Query
    "1.2.840.10008.5.1.4.43.",       // Implant templates: no patient
    "1.2.840.10008.5.1.4.44.",       // the same, assemblies
    "1.2.840.10008.5.1.4.45.",       // the same, groups
    "1.2.840.10008.5.1.4.1.1.2001.", // Repository query
];

/// Tells whether a node may offer this abstract syntax for storage: anything, private ones included, that is not known
/// to be another service (docs/ARCHITECTURE.md, "SOP classes"; DIM-033).
pub fn may_be_storage(abstract_syntax: &str) -> bool {
    STORAGE_ELSEWHERE.contains(&abstract_syntax)
        || !OTHER_SERVICES.iter().any(|known| match known.strip_suffix('.') {
            Some(_) => abstract_syntax.starts_with(known),
            None => abstract_syntax == *known,
        })
}

/// Tells whether the standard defines this class as storage, in this edition or one to come: all else that may be
/// storage is private (DIM-033).
pub fn is_storage_of_the_standard(abstract_syntax: &str) -> bool {
    let standard = abstract_syntax.starts_with(STORAGE_ROOT) || STORAGE_ELSEWHERE.contains(&abstract_syntax);
    standard && may_be_storage(abstract_syntax)
}

const BASIC_TEXT_SR: &str = "1.2.840.10008.5.1.4.1.1.88.11";
const ENHANCED_SR: &str = "1.2.840.10008.5.1.4.1.1.88.22";
const COMPREHENSIVE_SR: &str = "1.2.840.10008.5.1.4.1.1.88.33";
const COMPREHENSIVE_3D_SR: &str = "1.2.840.10008.5.1.4.1.1.88.34";
const EXTENSIBLE_SR: &str = "1.2.840.10008.5.1.4.1.1.88.35";
const REPORTS: &[&str] = &[ENHANCED_SR, COMPREHENSIVE_SR, COMPREHENSIVE_3D_SR, EXTENSIBLE_SR];

/// The related general SOP classes of a class of the standard, the nearest first (PS3.4 section B.3.1.4, table B.3-3). An
/// Acquisition Context SR may hold coordinates that Enhanced and Comprehensive SR do not know, so these are left out.
pub fn related_general(class: &str) -> &'static [&'static str] {
    match class {
        "1.2.840.10008.5.1.4.1.1.9.1.1" => &["1.2.840.10008.5.1.4.1.1.9.1.2"], // 12-lead, General ECG
        // Digital Mammography and Intra-Oral, Digital X-Ray: For Presentation, For Processing.
        "1.2.840.10008.5.1.4.1.1.1.2" | "1.2.840.10008.5.1.4.1.1.1.3" => &["1.2.840.10008.5.1.4.1.1.1.1"],
        "1.2.840.10008.5.1.4.1.1.1.2.1" | "1.2.840.10008.5.1.4.1.1.1.3.1" => &["1.2.840.10008.5.1.4.1.1.1.1.1"],
        // Procedure Log, Simplified Adult Echo, and doses: X-Ray, Radiopharmaceutical, Patient.
        BASIC_TEXT_SR
        | "1.2.840.10008.5.1.4.1.1.88.40"
        | "1.2.840.10008.5.1.4.1.1.88.72"
        | "1.2.840.10008.5.1.4.1.1.88.67"
        | "1.2.840.10008.5.1.4.1.1.88.68"
        | "1.2.840.10008.5.1.4.1.1.88.73" => REPORTS,
        ENHANCED_SR => &[COMPREHENSIVE_SR, COMPREHENSIVE_3D_SR, EXTENSIBLE_SR],
        COMPREHENSIVE_SR => &[COMPREHENSIVE_3D_SR, EXTENSIBLE_SR],
        COMPREHENSIVE_3D_SR => &[EXTENSIBLE_SR],
        "1.2.840.10008.5.1.4.1.1.88.71" => &[COMPREHENSIVE_3D_SR, EXTENSIBLE_SR], // Acquisition Context
        // Spectacle Prescription; Macular Grid Thickness and Volume.
        "1.2.840.10008.5.1.4.1.1.78.6" | "1.2.840.10008.5.1.4.1.1.79.1" => &[ENHANCED_SR],
        "1.2.840.10008.5.1.4.1.1.2.1" => &["1.2.840.10008.5.1.4.1.1.2.2"], // Enhanced CT, Legacy Converted
        "1.2.840.10008.5.1.4.1.1.4.1" => &["1.2.840.10008.5.1.4.1.1.4.4"], // the same of MR
        "1.2.840.10008.5.1.4.1.1.130" => &["1.2.840.10008.5.1.4.1.1.128.1"], // the same of PET
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_what_is_not_known_to_be_something_else() {
        let storage = [
            "1.2.840.10008.5.1.4.1.1.2",
            "1.2.840.10008.5.1.4.1.1.481.3",
            "1.2.840.10008.5.1.4.1.1.104.1",
            "1.2.840.10008.5.1.4.1.1.88.33",
            "1.2.840.10008.5.1.4.34.7",
            "1.2.840.10008.5.1.4.34.10",
            "1.2.840.10008.5.1.1.27",
            "1.2.840.10008.5.1.1.29",
            "1.2.840.10008.5.1.1.30",
            "1.3.12.2.1107.5.9.1",
        ];
        for class in storage {
            assert!(may_be_storage(class), "{class}");
        }
        assert!(may_be_storage("1.2.840.10008.5.1.4.1.1.200.2"), "CT Performed Procedure Protocol has a patient");
        let others = [
            VERIFICATION,
            "1.2.840.10008.5.1.1.9",
            "1.2.840.10008.5.1.4.1.2.2.1",
            "1.2.840.10008.1.20.1",
            "1.2.840.10008.5.1.4.31",
        ];
        for class in others {
            assert!(!may_be_storage(class), "{class}");
            assert!(!is_storage_of_the_standard(class), "{class}");
        }
    }
}
