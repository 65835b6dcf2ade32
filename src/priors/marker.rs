//! The marker study: what a node is shown in place of the answer of a site that does not give one ("A silent site is visible").

use crate::dicom::part10::IMPLEMENTATION_CLASS_UID;
use crate::dicom::uid::StudyUid;
use sha2::{Digest as _, Sha256};

/// The arc below our root in which markers lie.
const ARC: &str = ".4.";

/// Digits behind the arc: as many as a UID of 64 characters has room for.
const DIGITS: u64 = 10_u64.pow(16);

/// Whether a study is a marker: it holds nothing, and moving it does nothing.
pub fn is_marker(study: &StudyUid) -> bool {
    study.as_str().strip_prefix(IMPLEMENTATION_CLASS_UID).is_some_and(|rest| rest.starts_with(ARC))
}

/// The UID of the marker of a site for a patient on a day: the same all day, another for everybody else. `key` is what only this
/// gateway knows, so that the UID does not tell the patient to whoever finds it in a log.
pub fn uid(key: &[u8], site: &str, patient: &str, day: i64) -> Option<StudyUid> {
    let mut hash = Sha256::new();
    for part in [key, site.as_bytes(), patient.as_bytes(), &day.to_be_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % DIGITS;
    StudyUid::parse(&format!("{IMPLEMENTATION_CLASS_UID}{ARC}{}", number + DIGITS / 10)).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_known_by_its_uid_and_differs_for_everybody() {
        let marker = uid(b"key", "surrey", "P1", 20_000).unwrap();
        assert!(is_marker(&marker) && marker.as_str().len() <= 64, "{marker}");
        assert_eq!(uid(b"key", "surrey", "P1", 20_000).unwrap(), marker);
        let others = [
            uid(b"yek", "surrey", "P1", 20_000),
            uid(b"key", "kent", "P1", 20_000),
            uid(b"key", "surrey", "P2", 20_000),
            uid(b"key", "surrey", "P1", 20_001),
            uid(b"key", "surreyP", "1", 20_000),
        ];
        assert!(others.into_iter().all(|other| other.unwrap() != marker));
        for no_marker in [IMPLEMENTATION_CLASS_UID, "1.2.3.4.5", &format!("{IMPLEMENTATION_CLASS_UID}.5.1")] {
            assert!(!is_marker(&StudyUid::parse(no_marker).unwrap()), "{no_marker}");
        }
    }
}
