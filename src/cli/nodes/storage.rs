//! Which storage SOP classes a node takes: they are proposed to it, and nothing is sent (UIX-06; PS3.4 section B.4.1).

use crate::dicom::sop_class::may_be_storage;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::{self, Offer, ScuError, Target};
use crate::peers::Node;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// An association has at most so many contexts (PS3.8 section 9.3.2.2).
const MOST: usize = 128;

/// After so long one is asked again that had no room: the association for C-ECHO may still count there.
const AGAIN: Duration = Duration::from_secs(2);

/// What most hospitals send (PS3.6 annex A), each with its name for people.
const COMMON: [(&str, &str); 40] = [
    ("1.2.840.10008.5.1.4.1.1.1", "Computed Radiography"),
    ("1.2.840.10008.5.1.4.1.1.1.1", "Digital X-Ray"),
    ("1.2.840.10008.5.1.4.1.1.1.2", "Digital Mammography"),
    ("1.2.840.10008.5.1.4.1.1.1.3", "Digital Intra-Oral X-Ray"),
    ("1.2.840.10008.5.1.4.1.1.2", "CT"),
    ("1.2.840.10008.5.1.4.1.1.2.1", "Enhanced CT"),
    ("1.2.840.10008.5.1.4.1.1.3.1", "Ultrasound Multi-frame"),
    ("1.2.840.10008.5.1.4.1.1.4", "MR"),
    ("1.2.840.10008.5.1.4.1.1.4.1", "Enhanced MR"),
    ("1.2.840.10008.5.1.4.1.1.6.1", "Ultrasound"),
    ("1.2.840.10008.5.1.4.1.1.7", "Secondary Capture"),
    ("1.2.840.10008.5.1.4.1.1.7.2", "Multi-frame Grayscale Byte Secondary Capture"),
    ("1.2.840.10008.5.1.4.1.1.7.4", "Multi-frame True Color Secondary Capture"),
    ("1.2.840.10008.5.1.4.1.1.9.1.1", "12-lead ECG"),
    ("1.2.840.10008.5.1.4.1.1.9.1.2", "General ECG"),
    ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State"),
    ("1.2.840.10008.5.1.4.1.1.12.1", "X-Ray Angiographic"),
    ("1.2.840.10008.5.1.4.1.1.12.2", "X-Ray Radiofluoroscopic"),
    ("1.2.840.10008.5.1.4.1.1.13.1.3", "Breast Tomosynthesis"),
    ("1.2.840.10008.5.1.4.1.1.20", "Nuclear Medicine"),
    ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation"),
    ("1.2.840.10008.5.1.4.1.1.77.1.1", "Endoscopic"),
    ("1.2.840.10008.5.1.4.1.1.77.1.2", "Microscopic"),
    ("1.2.840.10008.5.1.4.1.1.77.1.4", "Photographic"),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.1", "Ophthalmic Photography 8 Bit"),
    ("1.2.840.10008.5.1.4.1.1.77.1.5.4", "Ophthalmic Tomography"),
    ("1.2.840.10008.5.1.4.1.1.77.1.6", "Whole Slide Microscopy"),
    ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR"),
    ("1.2.840.10008.5.1.4.1.1.88.22", "Enhanced SR"),
    ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR"),
    ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object Selection"),
    ("1.2.840.10008.5.1.4.1.1.88.67", "X-Ray Radiation Dose SR"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF"),
    ("1.2.840.10008.5.1.4.1.1.104.2", "Encapsulated CDA"),
    ("1.2.840.10008.5.1.4.1.1.128", "PET"),
    ("1.2.840.10008.5.1.4.1.1.481.1", "RT Image"),
    ("1.2.840.10008.5.1.4.1.1.481.2", "RT Dose"),
    ("1.2.840.10008.5.1.4.1.1.481.3", "RT Structure Set"),
    ("1.2.840.10008.5.1.4.1.1.481.5", "RT Plan"),
    ("1.2.840.10008.5.1.4.1.1.481.8", "RT Ion Plan"),
];

/// What a node makes of the classes that were proposed to it.
pub(super) struct Storage {
    takes: Vec<String>,
    refuses: Vec<String>,
    /// What it said of those that it refuses.
    reasons: BTreeSet<&'static str>,
}

/// Asks a node for an association as a delivery would, and sends nothing over it.
pub(super) async fn propose(target: &Target, node: &Node) -> Result<Storage, ScuError> {
    let classes = classes(node);
    let offers = offers(&classes);
    let association = match dimse::connect(target, &offers).await {
        Err(ScuError::Rejected { result: 2, .. }) => {
            tokio::time::sleep(AGAIN).await;
            dimse::connect(target, &offers).await?
        }
        answered => answered?,
    };
    let taken: BTreeSet<String> = association.accepted().map(|context| context.abstract_syntax.clone()).collect();
    let reasons = association.peer().refused.iter().map(|(_, why)| *why).collect();
    // It has said what it takes; how it ends the association changes nothing of that.
    let _ = association.release().await;
    let (takes, refuses) = classes.into_iter().partition(|class| taken.contains(class));
    Ok(Storage { takes, refuses, reasons })
}

/// The classes that are proposed: those that the node itself may send, which it has, and the common ones.
fn classes(node: &Node) -> Vec<String> {
    let own = node.storage.only.iter().flatten().map(|class| class.as_str());
    let mut classes: Vec<String> = Vec::new();
    for class in own.filter(|class| may_be_storage(class)).chain(COMMON.map(|(class, _)| class)) {
        if classes.len() < MOST && !classes.iter().any(|known| known == class) {
            classes.push(class.to_owned());
        }
    }
    classes
}

fn offers(classes: &[String]) -> Vec<Offer> {
    let native = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(str::to_owned).to_vec();
    let offer = |class: &String| Offer { abstract_syntax: class.clone(), transfer_syntaxes: native.clone() };
    classes.iter().map(offer).collect()
}

impl Storage {
    /// Why nothing can be sent to the node, if it takes none.
    pub(super) fn flaw(&self) -> Option<String> {
        let reasons: Vec<&str> = self.reasons.iter().copied().collect();
        let said = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
        let proposed = self.refuses.len();
        self.takes
            .is_empty()
            .then(|| format!("takes none of the {proposed} storage classes that were proposed to it{said}"))
    }

    /// Two lists, for people: what it takes, and what it does not take.
    pub(super) fn lists(&self) -> [(&'static str, String); 2] {
        let names = |classes: &[String]| classes.iter().map(|class| name(class)).collect::<Vec<_>>().join(", ");
        [("takes", names(&self.takes)), ("refuses", names(&self.refuses))]
    }

    /// The same for programs, beside what is told of the step.
    pub(super) fn add_to(&self, step: &mut Value) {
        step["takes"] = self.takes.clone().into();
        step["refuses"] = self.refuses.clone().into();
    }
}

/// The name of a class, or its UID.
fn name(class: &str) -> &str {
    COMMON.iter().find(|(uid, _)| *uid == class).map_or(class, |(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::sop_class::is_storage_of_the_standard;

    #[test]
    fn what_is_proposed_is_storage_and_each_class_stands_once() {
        let distinct: BTreeSet<&str> = COMMON.iter().map(|(class, _)| *class).collect();
        assert_eq!(distinct.len(), COMMON.len());
        assert!(COMMON.iter().all(|(class, _)| is_storage_of_the_standard(class)));
        let offers = offers(&COMMON.map(|(class, _)| class.to_owned()));
        assert!(offers.len() <= MOST && offers.iter().all(|offer| offer.transfer_syntaxes.len() == 2));
    }

    #[test]
    fn who_takes_no_class_is_told_with_what_it_said() {
        let of = |takes: &[&str], reasons: &[&'static str]| Storage {
            takes: takes.iter().map(|class| (*class).to_owned()).collect(),
            refuses: vec!["1.2.840.10008.5.1.4.1.1.4".into(), "1.2.3".into()],
            reasons: reasons.iter().copied().collect(),
        };
        let none = "takes none of the 2 storage classes that were proposed to it";
        assert_eq!(of(&[], &[]).flaw().as_deref(), Some(none));
        let said = of(&[], &["abstract syntax not supported"]).flaw();
        assert_eq!(said, Some(format!("{none}: abstract syntax not supported")));
        let one = of(&["1.2.840.10008.5.1.4.1.1.2"], &["user rejection"]);
        assert_eq!(one.flaw(), None);
        assert_eq!(one.lists(), [("takes", "CT".to_owned()), ("refuses", "MR, 1.2.3".to_owned())]);
    }
}
