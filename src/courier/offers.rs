//! Which presentation contexts an association to a node needs for the instances that will go over it (DIM-003, DIM-005).

use crate::dicom::pixels;
use crate::dicom::sop_class;
use crate::dicom::transcode::Transcoder;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dimse::Offer;
use crate::records::Leased;
use std::iter;

/// An association has at most so many, since their identifiers are the odd numbers of a byte (PS3.8 section 9.3.2.2).
pub(super) const MOST: usize = 128;

/// What goes over one association.
pub(super) struct Group<'a> {
    /// Its contexts, each with one transfer syntax, so that the choice among those accepted is ours.
    pub(super) offers: Vec<Offer>,
    /// Its instances, in the order of the batch.
    pub(super) items: Vec<&'a Leased>,
}

/// Divides a batch into as few associations as its contexts allow; with `general`, see [`needed`].
pub(super) fn groups(items: &[Leased], general: bool) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for item in items {
        let needed = needed(item.sop_class.as_str(), &item.transfer_syntax, general);
        let new = |group: &Group<'_>| needed.iter().filter(|offer| !group.offers.contains(offer)).count();
        // The first in which it costs nothing, else the last if there is room.
        let free = groups.iter().position(|group| new(group) == 0);
        let last = groups.len().checked_sub(1).filter(|last| groups[*last].offers.len() + new(&groups[*last]) <= MOST);
        let at = free.or(last).unwrap_or_else(|| {
            groups.push(Group { offers: Vec::new(), items: Vec::new() });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.items.push(item);
        let missing: Vec<Offer> = needed.into_iter().filter(|offer| !group.offers.contains(offer)).collect();
        group.offers.extend(missing);
    }
    groups
}

/// The class in the syntax as stored, then natively: explicit where we can re-encode, and implicit, the default that
/// every abstract syntax must be offered in. That is waived for what was compressed with loss and cannot be decoded here
/// (PS3.5 section 10.1); for what is lossless and cannot be decoded it is not, and the answer tells a refused class from a refused
/// syntax, and both from a node that is up by half (DIM-050). With `general`, the same again for each class that may stand in for it (DIM-051).
pub(super) fn needed(class: &str, stored: &TransferSyntaxUid, general: bool) -> Vec<Offer> {
    let possible = |to: &str| stored.as_str() == to || Transcoder::between(stored, to).is_some();
    let mut syntaxes = vec![stored.as_str()];
    if possible(EXPLICIT_VR_LE) {
        syntaxes.push(EXPLICIT_VR_LE);
    }
    if possible(IMPLICIT_VR_LE) || !pixels::is_lossy(stored) {
        syntaxes.push(IMPLICIT_VR_LE);
    }
    let mut offers: Vec<Offer> = Vec::new();
    for class in iter::once(&class).chain(stand_ins(class, general)) {
        for syntax in &syntaxes {
            let offer = Offer { abstract_syntax: (*class).to_owned(), transfer_syntaxes: vec![(*syntax).to_owned()] };
            if !offers.contains(&offer) {
                offers.push(offer);
            }
        }
    }
    offers
}

/// The classes under which an object of this class may go where its own is refused, the nearest first; none unless the node's
/// configuration asks for it.
pub(super) fn stand_ins(class: &str, general: bool) -> &'static [&'static str] {
    if general { sop_class::related_general(class) } else { &[] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

    #[test]
    fn each_class_is_offered_as_stored_and_in_the_default() {
        let rows: &[(&str, &[&str])] = &[
            (EXPLICIT_VR_LE, &[EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
            (IMPLICIT_VR_LE, &[IMPLICIT_VR_LE, EXPLICIT_VR_LE]),
            ("1.2.840.10008.1.2.2", &["1.2.840.10008.1.2.2", EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
            ("1.2.840.10008.1.2.1.99", &["1.2.840.10008.1.2.1.99", EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
            ("1.2.840.10008.1.2.4.80", &["1.2.840.10008.1.2.4.80", EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
            ("1.2.840.10008.1.2.4.50", &["1.2.840.10008.1.2.4.50", EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
            // No decoder: lossless is offered in the default all the same, lossy video is not.
            ("1.2.840.10008.1.2.4.201", &["1.2.840.10008.1.2.4.201", IMPLICIT_VR_LE]),
            ("1.2.840.10008.1.2.4.102", &["1.2.840.10008.1.2.4.102"]),
        ];
        for (stored, want) in rows {
            let offers = needed(CT, &TransferSyntaxUid::parse(stored).unwrap(), true);
            let got: Vec<&str> = offers.iter().map(|offer| offer.transfer_syntaxes[0].as_str()).collect();
            assert_eq!(got, *want, "{stored}");
            assert!(offers.iter().all(|offer| offer.abstract_syntax == CT && offer.transfer_syntaxes.len() == 1));
        }
    }

    #[test]
    fn general_classes_are_offered_only_where_they_may_stand_in() {
        let syntax = TransferSyntaxUid::parse(EXPLICIT_VR_LE).unwrap();
        let classes = |general| -> Vec<String> {
            let offers = needed("1.2.840.10008.5.1.4.1.1.88.22", &syntax, general);
            let mut classes: Vec<String> = offers.into_iter().map(|offer| offer.abstract_syntax).collect();
            classes.dedup();
            classes
        };
        assert_eq!(classes(false), ["1.2.840.10008.5.1.4.1.1.88.22"]);
        let general = ["22", "33", "34", "35"].map(|last| format!("1.2.840.10008.5.1.4.1.1.88.{last}"));
        assert_eq!(classes(true), general);
    }
}
