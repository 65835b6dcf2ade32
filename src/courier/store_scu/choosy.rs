//! What it means that a node accepted no context for an instance: a matter of its transfer syntax, of its SOP class, or of a node that is up
//! by half (DIM-050, WEB-063).

use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dimse::Offer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why there is no context for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacks {
    /// Its class is taken, or was offered in no syntax that every node can read, by a node that takes other things: it is this instance.
    Syntax,
    /// The node takes others, and not its class.
    Class,
    /// The node takes nothing just now.
    Everything,
}

/// So many classes are remembered: a node that refuses all of them time and again is met as if for the first time.
const REMEMBERED: usize = 256;

/// The classes that a node refused when it accepted no context at all, each with whether it has taken others since.
#[derive(Default)]
pub(super) struct Choosy {
    refused: Mutex<BTreeMap<String, bool>>,
}

impl Choosy {
    fn refused(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the classes that the node accepted on a new association.
    pub(super) fn met(&self, accepted: &BTreeSet<&str>) {
        if accepted.is_empty() {
            return;
        }
        let mut refused = self.refused();
        refused.retain(|class, _| !accepted.contains(class.as_str()));
        refused.values_mut().for_each(|others| *others = true);
    }

    /// Why there is no context for an instance that may go under these classes, its own first.
    pub(super) fn lacks(&self, classes: &[&str], accepted: &BTreeSet<&str>, offers: &[Offer]) -> Lacks {
        let readable = |syntax: &String| [EXPLICIT_VR_LE, IMPLICIT_VR_LE].contains(&syntax.as_str());
        let plain = |offer: &&Offer| offer.transfer_syntaxes.iter().any(readable);
        let taken = classes.iter().any(|class| accepted.contains(class));
        let (false, Some(own)) = (taken, classes.first()) else { return Lacks::Syntax };
        // Who accepts nothing although anything plain was offered may be up by half, whatever else was offered beside it.
        let nothing = accepted.is_empty() && offers.iter().any(|offer| plain(&offer));
        if nothing && !self.others_were_taken_since(own) {
            return Lacks::Everything;
        }
        let offered = offers.iter().filter(plain).any(|offer| classes.contains(&offer.abstract_syntax.as_str()));
        if offered { Lacks::Class } else { Lacks::Syntax }
    }

    /// Whether the node has taken others since it refused this class together with everything; it is remembered that it does so now.
    fn others_were_taken_since(&self, class: &str) -> bool {
        let mut refused = self.refused();
        if refused.len() >= REMEMBERED && !refused.contains_key(class) {
            refused.clear();
        }
        *refused.entry(class.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &str = "1.2.840.10008.1.2.4.70";

    fn offer(class: &str, syntax: &str) -> Offer {
        Offer { abstract_syntax: class.to_owned(), transfer_syntaxes: vec![syntax.to_owned()] }
    }

    #[test]
    fn what_a_node_lacks_is_told_from_what_it_accepted() {
        let both = [offer("ct", JPEG), offer("ct", IMPLICIT_VR_LE), offer("sr", EXPLICIT_VR_LE)];
        let only_jpeg = [offer("ct", JPEG), offer("sr", EXPLICIT_VR_LE)];
        type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [Offer], Lacks);
        let rows: [Row<'_>; 8] = [
            (&["ct"], &[], &both, Lacks::Everything),
            (&["ct"], &["sr"], &both, Lacks::Class),
            (&["ct"], &["ct", "sr"], &both, Lacks::Syntax),
            // Under its general class it could go, but for its syntax.
            (&["ct", "general"], &["general"], &both, Lacks::Syntax),
            (&["ct", "general"], &["sr"], &both, Lacks::Class),
            // What no node need read, nobody can be blamed for.
            (&["ct"], &[], &only_jpeg[..1], Lacks::Syntax),
            // Who refuses the plain beside it may be up by half.
            (&["ct"], &[], &only_jpeg, Lacks::Everything),
            (&["ct"], &["sr"], &only_jpeg, Lacks::Syntax),
        ];
        for (classes, accepted, offers, want) in rows {
            let accepted: BTreeSet<&str> = accepted.iter().copied().collect();
            let choosy = Choosy::default();
            choosy.met(&accepted);
            assert_eq!(choosy.lacks(classes, &accepted, offers), want, "{classes:?} {accepted:?}");
        }
    }

    /// A node that takes other things in between is not up by half: it refuses the class, and does not keep the rest waiting.
    #[test]
    fn a_class_that_is_refused_again_after_others_were_taken_is_refused() {
        let (choosy, offers) = (Choosy::default(), [offer("ct", IMPLICIT_VR_LE), offer("sr", IMPLICIT_VR_LE)]);
        let none = BTreeSet::new();
        let lacks = |class| choosy.lacks(&[class], &none, &offers);
        assert_eq!([lacks("ct"), lacks("ct"), lacks("sr")], [Lacks::Everything; 3]);
        choosy.met(&none);
        assert_eq!(lacks("ct"), Lacks::Everything);
        choosy.met(&BTreeSet::from(["sr"]));
        assert_eq!(lacks("ct"), Lacks::Class);
        assert_eq!(lacks("sr"), Lacks::Everything, "it was taken since");
        choosy.met(&BTreeSet::from(["ct"]));
        assert_eq!([lacks("ct"), lacks("sr")], [Lacks::Everything, Lacks::Class]);
    }
}
