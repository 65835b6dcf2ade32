//! Who calls by DIMSE, and what it may do: as the association was let in, and as the configuration says now.

use super::{COMBINED, asked};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::sop_class;
use crate::dimse::presentation::Roles;
use crate::dimse::{Operation, Proposal, ProposedContext};
use crate::intake::Source;
use crate::peers::{Node, Origin, Refused, Registry, StorageClasses};
use crate::records::SourceFacts;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What admission decided about one association.
pub struct Caller {
    shown: Shown,
    /// The configuration by which it was let in, and what it might do then.
    let_in: Arc<Registry>,
    rights: Arc<Rights>,
    /// Associations at once.
    pub(super) max_associations: usize,
    /// Storage classes for which it is SCP: C-GET gives it those (DIM-090).
    pub(super) receives: BTreeSet<String>,
    /// The query classes for which date and time are one key.
    pub(super) combined: BTreeSet<String>,
    /// What service the caller says that classes belong to: SOP class, service class.
    declared: Vec<(String, String)>,
}

/// What the caller showed of itself.
pub(super) struct Shown {
    calling: AeTitle,
    called: AeTitle,
    address: IpAddr,
    certificate: Option<Vec<u8>>,
    implementation_class: Option<String>,
    implementation_version: Option<String>,
}

/// What a caller may do by one configuration, and as whose everything counts that it brings.
pub(super) struct Rights {
    pub(super) may_store: bool,
    /// It calls the title to which it moves, as an archive, what we asked it for.
    pub(super) moves: bool,
    classes: StorageClasses,
    pub(super) conflict_is_failure: bool,
    pub(super) source: Arc<Source>,
}

impl Caller {
    /// Lets a caller in, if this configuration does.
    pub(super) fn admitted(shown: Shown, proposal: &Proposal, registry: Arc<Registry>) -> Result<Self, Refused> {
        let node = shown.node_in(&registry)?;
        let (max_associations, rights) = (node.max_associations, shown.rights(node, &registry));
        Ok(Self {
            shown,
            let_in: registry,
            rights: Arc::new(rights),
            max_associations,
            receives: receives(proposal),
            combined: combined(proposal),
            declared: declared(proposal),
        })
    }

    /// The node's AE title.
    pub(super) fn node(&self) -> &AeTitle {
        &self.shown.calling
    }

    /// The node that it is by this configuration: a reload may have taken it out, or given it another certificate (SEC-022).
    pub(super) fn node_in<'r>(&self, registry: &'r Registry) -> Result<&'r Node, Refused> {
        self.shown.node_in(registry)
    }

    /// What it may do by this configuration.
    pub(super) fn rights_in(&self, registry: &Arc<Registry>) -> Result<Arc<Rights>, Refused> {
        if Arc::ptr_eq(registry, &self.let_in) {
            return Ok(Arc::clone(&self.rights));
        }
        let node = self.shown.node_in(registry)?;
        Ok(Arc::new(self.shown.rights(node, registry)))
    }

    /// Tells whether this class might come from here when the association was let in (DIM-033).
    pub(super) fn stores(&self, class: &str) -> bool {
        self.stores_by(&self.rights, class)
    }

    /// The same by other rights.
    pub(super) fn stores_by(&self, rights: &Rights, class: &str) -> bool {
        let declared = self.declared.iter().find(|(declared, _)| declared == class);
        rights.classes.admit(class, declared.map(|(_, service)| service.as_str()))
    }
}

impl Shown {
    pub(super) fn of(proposal: &Proposal, calling: AeTitle, called: AeTitle) -> Self {
        Self {
            calling,
            called,
            address: proposal.address.ip(),
            certificate: proposal.certificate.clone(),
            implementation_class: proposal.implementation_class.clone(),
            implementation_version: proposal.implementation_version.clone(),
        }
    }

    fn node_in<'r>(&self, registry: &'r Registry) -> Result<&'r Node, Refused> {
        registry.node_for(&self.calling, &self.called, self.address, self.certificate.as_deref())
    }

    fn rights(&self, node: &Node, registry: &Registry) -> Rights {
        let moves = node.moves_to(&self.called);
        let origin = if moves { Origin::Archive } else { Origin::Node }(node.ae_title.clone());
        let facts = SourceFacts {
            calling: Some(self.calling.to_string()),
            called: Some(self.called.to_string()),
            address: Some(self.address),
            implementation_class: self.implementation_class.clone(),
            implementation_version: self.implementation_version.clone(),
            certificate: None,
            issuer: Some(registry.issuer(&origin)),
            word: None,
        };
        Rights {
            may_store: node.may.store || moves,
            moves,
            classes: node.storage.clone(),
            conflict_is_failure: node.conflict_is_failure,
            source: Arc::new(Source { origin, called: Some(self.called.clone()), facts, requested: None }),
        }
    }
}

/// As refusals are entered.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} to {}", self.calling, self.address, self.called)
    }
}

/// The services of the classes that the standard does not define, as the proposal declares them; the others' are known.
fn declared(proposal: &Proposal) -> Vec<(String, String)> {
    let unknown =
        proposal.common_extended.iter().filter(|item| !sop_class::is_storage_of_the_standard(&item.sop_class));
    unknown.map(|item| (item.sop_class.clone(), item.service_class.clone())).collect()
}

/// The storage classes for which the requester wants to be SCP. That is of use only beside a C-GET (PS3.4 section C.5.3), and
/// a role that has none is not granted.
fn receives(proposal: &Proposal) -> BTreeSet<String> {
    let gets = |context: &ProposedContext| {
        asked::model(&context.abstract_syntax).is_some_and(|(_, operation)| operation == Operation::Get)
    };
    if !proposal.contexts.iter().any(gets) {
        return BTreeSet::new();
    }
    let wants = |class: &str, roles: &Roles| roles.scp && sop_class::may_be_storage(class);
    let classes = proposal.roles.iter().filter(|(class, roles)| wants(class, roles));
    classes.map(|(class, _)| class.clone()).collect()
}

/// The query classes of which the proposal asks that date and time be one key.
fn combined(proposal: &Proposal) -> BTreeSet<String> {
    let asks = |class: &str, bytes: &[u8]| {
        asked::model(class).is_some_and(|(_, operation)| operation == Operation::Find)
            && bytes.get(COMBINED) == Some(&1)
    };
    let classes = proposal.extended.iter().filter(|(class, bytes)| asks(class, bytes));
    classes.map(|(class, _)| class.clone()).collect()
}
