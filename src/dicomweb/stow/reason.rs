//! Warning and failure reasons of STOW-RS (PS3.18 Annex I.2; PS3.4 table B.2-1), and what they mean in words.

/// Warning: attributes were coerced.
pub const COERCED: u16 = 0xB000;
/// Warning: elements were discarded.
pub const ELEMENTS_DISCARDED: u16 = 0xB006;
/// Warning: the data set does not match its SOP class.
pub const CLASS_MISMATCH_WARNING: u16 = 0xB007;
/// A failure in processing, a catch-all in the field.
pub const PROCESSING_FAILURE: u16 = 0x0110;
/// Duplicate SOP instance.
pub const DUPLICATE_INSTANCE: u16 = 0x0111;
/// Invalid SOP instance.
pub const INVALID_INSTANCE: u16 = 0x0117;
/// The SOP class is not supported.
pub const SOP_CLASS_NOT_SUPPORTED: u16 = 0x0122;
/// Not authorised.
pub const NOT_AUTHORISED: u16 = 0x0124;
/// Out of resources.
pub const OUT_OF_RESOURCES: u16 = 0xA700;
/// The data set does not match its SOP class, or what was announced.
pub const DATA_SET_MISMATCH: u16 = 0xA900;
/// Ours, in the range of a data set that does not match: another instance or study than was announced.
pub const OTHER_THAN_ANNOUNCED: u16 = 0xA901;
/// Ours, in the same range: a UID without which an instance cannot be kept is missing.
pub const NO_IDENTITY: u16 = 0xA902;
/// The data set cannot be understood.
pub const CANNOT_UNDERSTAND: u16 = 0xC000;
/// Ours: other content is already kept under this SOP Instance UID (WEB-031).
pub const DIFFERENT_CONTENT: u16 = 0xC010;
/// The transfer syntax is not supported.
pub const TRANSFER_SYNTAX_NOT_SUPPORTED: u16 = 0xC122;
/// Azure: the instance already exists, a number of the warning range used as failure (WEB-031).
pub const AZURE_ALREADY_EXISTS: u16 = 0xB00E;
/// Azure: the instance is being created by another request; may be tried again.
pub const AZURE_BEING_CREATED: u16 = 0xB00F;

/// A reason in plain words, for people.
pub fn describe(reason: u16) -> &'static str {
    match reason {
        COERCED => "attributes were coerced",
        ELEMENTS_DISCARDED => "elements were discarded",
        CLASS_MISMATCH_WARNING => "the data set does not match its SOP class",
        PROCESSING_FAILURE => "a failure in processing",
        DUPLICATE_INSTANCE => "the instance is a duplicate",
        INVALID_INSTANCE => "the instance is invalid",
        SOP_CLASS_NOT_SUPPORTED => "the SOP class is not supported",
        NOT_AUTHORISED => "not authorised",
        TRANSFER_SYNTAX_NOT_SUPPORTED => "the transfer syntax is not supported",
        DIFFERENT_CONTENT => "other content may already be kept under this UID",
        AZURE_ALREADY_EXISTS => "the instance already exists",
        AZURE_BEING_CREATED => "the instance is being created by another request",
        0xA700..=0xA7FF => "out of resources",
        0xA900..=0xA9FF => "the data set does not match its SOP class or study",
        0xC000..=0xCFFF => "the data set cannot be understood",
        _ => "a reason that the standard does not name",
    }
}
