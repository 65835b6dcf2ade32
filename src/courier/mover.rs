//! Sub-operations: what C-MOVE sends to a destination and C-GET to whoever asks (PS3.4 section C.4.2.3.1).

use super::offers::{MOST, needed};
use super::reading::Reading;
use super::sender::{Foreigners, Sender};
use super::turns::{Taken, Turns};
use crate::dicom::sop_class::VERIFICATION;
use crate::dicom::transfer_syntax::IMPLICIT_VR_LE;
use crate::dicom::uid::StudyUid;
use crate::dimse::{self, Offer, Scu, ScuError, Stores, Target, status::Class};
use crate::peers::Destination;
use crate::records::{Expected, Retrievable};
use crate::store::{Ahead, Store};

/// Gives instances to one node.
pub struct Mover {
    node: Destination,
    target: Option<Target>,
    sender: Sender,
    turns: Turns,
}

/// What came of one sub-operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubOperation {
    /// The node took it.
    Completed,
    /// The node took it, with a warning.
    Warning,
    /// The node does not have it.
    Failed {
        /// Why, for the log; nothing of a patient.
        why: String,
        /// Set when our own copy is damaged and must be set aside (REL-07).
        damage: Option<String>,
    },
}

/// The contexts of one association, and which kinds of [`Expected::kinds`] go over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lot {
    /// The contexts, at most 128 (DIM-003).
    pub offers: Vec<Offer>,
    /// Places of kinds.
    pub kinds: Vec<u32>,
}

/// Divides what is expected over as few associations as their contexts allow; with `general`, general classes are offered too.
fn lots(expected: &Expected, general: bool) -> Vec<Lot> {
    let mut lots: Vec<Lot> = Vec::new();
    for (place, (class, syntax)) in (0..).zip(&expected.kinds) {
        let needed = needed(class.as_str(), syntax, general);
        let new = |lot: &Lot| needed.iter().filter(|offer| !lot.offers.contains(offer)).count();
        if lots.last().is_none_or(|lot| lot.offers.len() + new(lot) > MOST) {
            lots.push(Lot::default());
        }
        if let Some(lot) = lots.last_mut() {
            let missing: Vec<Offer> = needed.into_iter().filter(|offer| !lot.offers.contains(offer)).collect();
            lot.offers.extend(missing);
            lot.kinds.push(place);
        }
    }
    lots
}

impl Mover {
    /// A mover to a node; without a target it gives only over associations that the node opens. `turns` are those of everything that
    /// gives nodes something.
    pub fn new(node: Destination, target: Option<Target>, store: Store, foreigners: Foreigners, turns: Turns) -> Self {
        Self { node, target, sender: Sender::new(store, foreigners), turns }
    }

    /// The turn to give the node something of a study over an association that we open, if nobody has it; `None` also without a target.
    pub fn turn_now(&self, study: &StudyUid) -> Option<Taken> {
        self.turns.take_now(&self.target.as_ref()?.called, study)
    }

    /// Waits for that turn; `None` without a target.
    pub async fn turn(&self, study: &StudyUid) -> Option<Taken> {
        Some(self.turns.take(&self.target.as_ref()?.called, study).await)
    }

    /// What is expected, divided over as few associations to the node as their contexts allow.
    pub fn lots(&self, expected: &Expected) -> Vec<Lot> {
        lots(expected, self.sender.general_class())
    }

    /// Whether the node can be called.
    pub fn can_call(&self) -> bool {
        self.target.is_some()
    }

    /// Opens an association to the node. Errors as those of [`dimse::connect`].
    pub async fn open(&self, offers: &[Offer]) -> Result<Scu, ScuError> {
        match &self.target {
            Some(target) => dimse::connect(target, offers).await,
            None => Err(ScuError::Offers),
        }
    }

    /// Whether the node answers a call and an echo. A node that takes no echo has answered, too. Errors as those of
    /// [`dimse::connect`].
    pub async fn answers(&self) -> Result<(), ScuError> {
        let offer = Offer { abstract_syntax: VERIFICATION.into(), transfer_syntaxes: vec![IMPLICIT_VR_LE.into()] };
        let mut association = self.open(&[offer]).await?;
        let echoed = association.echo().await;
        if association.is_alive() {
            // What it was for is known.
            let _ = association.release().await;
        }
        match echoed {
            Ok(_) | Err(ScuError::ContextNotAccepted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Has the beginning of an instance read that is to be given next.
    pub fn ahead(&self, item: &Retrievable) -> Ahead {
        self.sender.ahead(item)
    }

    /// Gives the node one instance, once, in the one form that fits it best (DIM-088). What a person has released to it goes as a lane
    /// would send it (IDY-044).
    pub async fn give(
        &self,
        to: &mut impl Stores,
        (item, ahead): (&Retrievable, Ahead),
        originator: Option<(String, u16)>,
    ) -> SubOperation {
        let released = match self.sender.released(item, &self.node).await {
            Ok(released) => released,
            Err(error) => {
                let why = format!("what a person has released cannot be read: {error}");
                return SubOperation::Failed { why, damage: None };
            }
        };
        let mut reading = Reading::from(ahead);
        let (context, plan, length) = match self.sender.plan(to, (item, &mut reading), &released, false).await {
            Ok(planned) => planned,
            Err(fault) => {
                return SubOperation::Failed { why: fault.outcome.words().to_owned(), damage: fault.damage };
            }
        };
        match self.sender.send_as(to, (item, reading), context, plan, length, originator).await {
            Ok(answered) => match answered.response.status.class() {
                Class::Success => SubOperation::Completed,
                Class::Warning => SubOperation::Warning,
                _ => SubOperation::Failed { why: format!("answered {}", answered.response.status), damage: None },
            },
            Err(unsent) => {
                let (told, damage) = match unsent.fault {
                    Some(fault) => (fault.outcome.words().to_owned(), fault.damage),
                    None => (String::new(), None),
                };
                let failure = unsent.failure.map(|failure| failure.to_string()).unwrap_or_default();
                SubOperation::Failed { why: if told.is_empty() { failure } else { told }, damage }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::uid::{SopClassUid, TransferSyntaxUid};

    #[test]
    fn many_kinds_are_divided_over_several_associations() {
        let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();
        let kind = |n: u32| (SopClassUid::parse(&format!("1.2.840.10008.5.1.4.1.1.9.{n}")).unwrap(), syntax.clone());
        let lots = lots(&Expected { instances: Vec::new(), kinds: (1..=100).map(kind).collect() }, true);
        let sizes: Vec<(usize, usize)> = lots.iter().map(|lot| (lot.offers.len(), lot.kinds.len())).collect();
        assert_eq!(sizes, [(128, 64), (72, 36)]);
    }
}
