//! Which abstract syntaxes a node may store ("SOP classes" in docs/ARCHITECTURE.md; PS3.4 section B.4.1.2; DIM-033).

use crate::dicom::sop_class;
use crate::dicom::uid::SopClassUid;

/// The storage classes that are taken from one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageClasses {
    /// Only these, known or not; `None`: every class that `unknown` lets in.
    pub only: Option<Vec<SopClassUid>>,
    /// What becomes of classes that the standard does not define.
    pub unknown: UnknownClasses,
}

/// What becomes of an abstract syntax that is neither a storage class of the standard nor known to be another service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownClasses {
    /// It is taken as storage, unless the node itself declares it to be of another service class.
    #[default]
    Any,
    /// It is taken if the node declares it to be of the Storage service class.
    Declared,
    /// It is not taken.
    Never,
}

impl StorageClasses {
    /// Tells whether a class may be stored; `declared` is the service class that the node names for it in its SOP class
    /// common extended negotiation (PS3.7 section D.3.3.6), if it does.
    pub fn admit(&self, class: &str, declared: Option<&str>) -> bool {
        if !sop_class::may_be_storage(class) {
            return false;
        }
        if let Some(only) = &self.only {
            return only.iter().any(|one| one.as_str() == class);
        }
        if sop_class::is_storage_of_the_standard(class) {
            return true;
        }
        let storage = declared == Some(sop_class::STORAGE_SERVICE);
        match self.unknown {
            UnknownClasses::Any => storage || declared.is_none(),
            UnknownClasses::Declared => storage,
            UnknownClasses::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    const PRIVATE: &str = "1.3.12.2.1107.5.9.1";
    const WORKLIST: &str = "1.2.840.10008.5.1.4.31";
    const STORAGE: Option<&str> = Some(sop_class::STORAGE_SERVICE);
    const OTHER: Option<&str> = Some("1.2.840.10008.4.9");

    #[test]
    fn unknown_classes_are_taken_as_the_policy_says() {
        use UnknownClasses::{Any, Declared, Never};
        let rows = [
            (Any, PRIVATE, None, true),
            (Any, PRIVATE, STORAGE, true),
            (Any, PRIVATE, OTHER, false),
            (Any, CT, OTHER, true),
            (Any, WORKLIST, STORAGE, false),
            (Declared, PRIVATE, None, false),
            (Declared, PRIVATE, STORAGE, true),
            (Declared, PRIVATE, OTHER, false),
            (Declared, CT, None, true),
            (Never, PRIVATE, STORAGE, false),
            (Never, CT, None, true),
        ];
        for (unknown, class, declared, want) in rows {
            let classes = StorageClasses { only: None, unknown };
            assert_eq!(classes.admit(class, declared), want, "{unknown:?} {class} {declared:?}");
        }
        let only = Some(vec![SopClassUid::parse(PRIVATE).unwrap(), SopClassUid::parse(WORKLIST).unwrap()]);
        let classes = StorageClasses { only, unknown: Never };
        assert!(classes.admit(PRIVATE, None) && !classes.admit(CT, None) && !classes.admit(WORKLIST, None));
    }
}
