//! Pure: routes, the head of an instance and its origin in, the destinations out.
//!
//! Routes without `from` match only what local nodes push; passing on what a peer pushed needs `from` with that peer's
//! name; what an operator sends goes where the operator says, what was pulled or fetched goes to who asked, and both consult no
//! route ("Origins and loops" in docs/ARCHITECTURE.md).

mod explain;
#[cfg(test)]
mod tests;

pub use crate::dicom::condition::Condition;
pub use crate::dicom::pattern::Pattern;
pub use crate::peers::Chosen;
pub use explain::{Explained, explain};

use crate::dicom::ae_title::AeTitle;
use crate::dicom::head::Head;
use crate::peers::{Destination, Origin, Priority, Verify};
use sha2::{Digest, Sha256};
use std::ops::Deref;
use std::sync::Arc;

/// A rule that names the destinations of an arriving instance. All of its conditions must hold.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name, unique, for people and the ledger.
    pub name: String,
    /// The AE titles that a node must have called; empty: any of ours.
    pub called: Vec<AeTitle>,
    /// The node AE titles or peer names it must come from; empty: any node.
    pub from: Vec<String>,
    /// What its attributes must say.
    pub when: Vec<Condition>,
    /// Where it goes.
    pub to: Vec<Target>,
    /// Whether the destinations count for storage commitment.
    pub mandatory: bool,
    /// How urgent it is (REL-23).
    pub priority: Priority,
}

/// One destination of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub destination: Destination,
    /// What counts as done there.
    pub verify: Verify,
}

/// The routes of one configuration, with a name for just these: others have another.
#[derive(Debug, Clone)]
pub struct Routes {
    list: Vec<Route>,
    version: Arc<str>,
}

impl Routes {
    /// These routes.
    pub fn new(list: Vec<Route>) -> Self {
        let digest = Sha256::digest(format!("{list:?}"));
        let version: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { list, version: version.into() }
    }

    /// Their name: 16 hexadecimal digits that any change of any route changes.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }
}

impl Deref for Routes {
    type Target = [Route];

    fn deref(&self) -> &[Route] {
        &self.list
    }
}

/// The destinations of an instance, each once, in the order of the routes; never the party that it came from.
///
/// `called` is the AE title that a node called; routes with `called` match nothing without it.
pub fn route(routes: &[Route], head: &Head, origin: &Origin, called: Option<&AeTitle>) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for route in routes.iter().filter(|route| route.objection(head, origin, called).is_none()) {
        for target in route.to.iter().filter(|target| target.destination.0 != origin.name()) {
            match chosen.iter_mut().find(|earlier| earlier.destination == target.destination) {
                Some(earlier) => {
                    earlier.mandatory |= route.mandatory;
                    earlier.priority = earlier.priority.min(route.priority);
                }
                None => chosen.push(Chosen {
                    destination: target.destination.clone(),
                    route: route.name.clone(),
                    mandatory: route.mandatory,
                    verify: target.verify,
                    priority: route.priority,
                }),
            }
        }
    }
    chosen
}

/// The first condition of a route that does not hold.
enum Objection<'a> {
    Operator,
    AskedFor,
    PeerWithoutFrom,
    From,
    Called,
    When(&'a Condition),
}

impl Route {
    fn objection(&self, head: &Head, origin: &Origin, called: Option<&AeTitle>) -> Option<Objection<'_>> {
        match origin {
            Origin::Operator(_) => return Some(Objection::Operator),
            Origin::Pulled(_) | Origin::Archive(_) => return Some(Objection::AskedFor),
            Origin::Peer(_) if self.from.is_empty() => return Some(Objection::PeerWithoutFrom),
            Origin::Node(_) | Origin::Peer(_) => {}
        }
        if !self.from.is_empty() && !self.from.iter().any(|name| name == origin.name()) {
            return Some(Objection::From);
        }
        if !self.called.is_empty() && !called.is_some_and(|title| self.called.contains(title)) {
            return Some(Objection::Called);
        }
        self.when.iter().find(|condition| !condition.holds(&head.attributes)).map(Objection::When)
    }
}
