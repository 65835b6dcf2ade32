//! DIMSE status codes and their classes (PS3.7 annex C, PS3.4 section B.2.3).

use std::fmt;

/// The value of Status (0000,0900).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u16);

/// What a status code means to the side that asked (PS3.7 annex C).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Done.
    Success,
    /// Done, with something to tell; for C-STORE the instance is stored.
    Warning,
    /// Not done.
    Failure,
    /// More answers follow.
    Pending,
    /// Stopped because we asked for it.
    Cancel,
    /// Not a status of the standard: a protocol error of the peer.
    Unknown,
}

impl Status {
    /// Success.
    pub const SUCCESS: Self = Self(0x0000);
    /// Processing failure (PS3.7 section C.5.10).
    pub const PROCESSING_FAILURE: Self = Self(0x0110);
    /// Invalid SOP instance: the UID breaks the rules (PS3.7 section C.5.12).
    pub const INVALID_SOP_INSTANCE: Self = Self(0x0117);
    /// SOP class not supported, or not that of the presentation context (PS3.7 section C.5.6).
    pub const SOP_CLASS_NOT_SUPPORTED: Self = Self(0x0122);
    /// Refused: not authorised (PS3.7 section C.5.20).
    pub const NOT_AUTHORISED: Self = Self(0x0124);
    /// Duplicate invocation: the message ID is in use (PS3.7 section C.5.9).
    pub const DUPLICATE_INVOCATION: Self = Self(0x0210);
    /// Unrecognised operation (PS3.7 section C.5.21).
    pub const UNRECOGNISED_OPERATION: Self = Self(0x0211);
    /// Mistyped argument (PS3.7 section C.5.15).
    pub const MISTYPED_ARGUMENT: Self = Self(0x0212);
    /// Refused: out of resources (PS3.4 section B.2.3).
    pub const OUT_OF_RESOURCES: Self = Self(0xA700);
    /// Ours: the records cannot be written (requirements, decision table, row 7).
    pub const RECORDS_UNAVAILABLE: Self = Self(0xA710);
    /// Data set does not match SOP class (PS3.4 section B.2.3).
    pub const CLASS_MISMATCH: Self = Self(0xA900);
    /// Ours: the data set names another SOP instance than the command.
    pub const INSTANCE_MISMATCH: Self = Self(0xA901);
    /// Ours: study or series UID missing.
    pub const NOT_INDEXABLE: Self = Self(0xA902);
    /// Refused: unable to calculate the number of matches (PS3.4 section C.4.2.1.5).
    pub const CANNOT_COUNT: Self = Self(0xA701);
    /// Refused: unable to perform sub-operations (PS3.4 section C.4.2.1.5).
    pub const NO_SUB_OPERATIONS: Self = Self(0xA702);
    /// Refused: move destination unknown (PS3.4 section C.4.2.1.5).
    pub const DESTINATION_UNKNOWN: Self = Self(0xA801);
    /// Sub-operations complete, one or more of them failed or with a warning (PS3.4 section C.4.2.1.5).
    pub const SOME_FAILED: Self = Self(0xB000);
    /// The identifier does not match the SOP class (PS3.4 section C.4.1.1.4).
    pub const IDENTIFIER_MISMATCH: Self = Self(0xA900);
    /// Coercion of data elements: stored, with attributes changed.
    pub const COERCION: Self = Self(0xB000);
    /// Cannot understand (PS3.4 section B.2.3).
    pub const CANNOT_UNDERSTAND: Self = Self(0xC000);
    /// Unable to process (PS3.4 section C.4.1.1.4).
    pub const UNABLE_TO_PROCESS: Self = Self(0xC001);
    /// Ours: another content is already held under this SOP Instance UID; this one is kept in quarantine.
    pub const CONFLICT: Self = Self(0xC010);
    /// Terminated due to cancel request (PS3.7 section C.3).
    pub const CANCEL: Self = Self(0xFE00);
    /// Pending (PS3.7 section C.4).
    pub const PENDING: Self = Self(0xFF00);
    /// Pending: matches are given, but some optional keys were not supported (PS3.4 section C.4.1.1.4).
    pub const PENDING_WITHOUT_SOME_KEYS: Self = Self(0xFF01);

    /// The class of the code, by its range: an unknown member of a known range counts as that range says (DIM-039).
    pub const fn class(self) -> Class {
        match self.0 {
            0x0000 => Class::Success,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => Class::Warning,
            0x0100..=0x02FF | 0xA000..=0xAFFF | 0xC000..=0xCFFF => Class::Failure,
            0xFE00 => Class::Cancel,
            0xFF00 | 0xFF01 => Class::Pending,
            _ => Class::Unknown,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fall_into_the_classes_of_annex_c() {
        let rows = [
            (0x0000, Class::Success),
            (0x0001, Class::Warning),
            (0x0107, Class::Warning),
            (0x0116, Class::Warning),
            (0xB000, Class::Warning),
            (0xB007, Class::Warning),
            (0xBFFF, Class::Warning),
            (0x0105, Class::Failure),
            (0x0117, Class::Failure),
            (0x0122, Class::Failure),
            (0x0124, Class::Failure),
            (0x0211, Class::Failure),
            (0xA700, Class::Failure),
            (0xA7FF, Class::Failure),
            (0xC5FE, Class::Failure),
            (0xFE00, Class::Cancel),
            (0xFF00, Class::Pending),
            (0xFF01, Class::Pending),
            (0x0002, Class::Unknown),
            (0x00FF, Class::Unknown),
            (0x0300, Class::Unknown),
            (0x9000, Class::Unknown),
            (0xD000, Class::Unknown),
            (0xFF02, Class::Unknown),
        ];
        for (code, class) in rows {
            assert_eq!(Status(code).class(), class, "{code:04X}");
        }
        assert_eq!(Status(0xA7).to_string(), "00A7");
    }
}
