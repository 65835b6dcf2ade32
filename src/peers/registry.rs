//! Who is calling: binds certificate, address and AE titles to one node or peer, or refuses (DIM-020).

use super::{Destination, Node, Origin, Peer, Withhold};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::on_behalf::OnBehalf;
use crate::tls::Facts;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// Why a caller is refused; the text is for the log and the ledger, not for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No node has this calling AE title.
    #[error("no [[node]] has the calling AE title")]
    UnknownCalling,
    /// The called AE title is none of ours.
    #[error("the called AE title is none of ours")]
    UnknownCalled,
    /// The node may not call from this address.
    #[error("the node may not call from this address; see `from_addresses`")]
    WrongAddress,
    /// The node has an identity, so it must call over TLS.
    #[error("the node must call over TLS, since it has an `identity`")]
    PlainCall,
    /// The node called over TLS but nothing says which certificate is its own.
    #[error("the node called over TLS but has no `identity` to compare its certificate with")]
    NoIdentity,
    /// The certificate does not carry the node's identity.
    #[error("the certificate does not carry the node's `identity`, but {0}")]
    WrongCertificate(String),
    /// No peer has an identity that the certificate carries.
    #[error("the certificate carries no [[peer]]'s `identity`, but {0}")]
    UnknownPeer(String),
    /// The certificate carries the identities of several peers.
    #[error("the certificate carries the identities of several peers")]
    SeveralPeers,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    BadCertificate,
}

/// A destination: a node or a peer.
#[derive(Debug, Clone, Copy)]
pub enum Party<'a> {
    /// A local node.
    Node(&'a Node),
    /// Another site.
    Peer(&'a Peer),
}

/// Every node and peer, found by what a caller shows.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    ours: BTreeSet<AeTitle>,
    nodes: HashMap<AeTitle, Node>,
    peers: Vec<Peer>,
    /// Who issues this site's own numbers.
    issuer: String,
    /// The site's name and its usual purpose, for those whom it asks.
    site: String,
    purpose: String,
    /// What is withheld from whom.
    withhold: Vec<Withhold>,
    /// What is held without a value matches what a node asks for, where nobody can be mistaken.
    match_unknown: bool,
}

impl Registry {
    /// A registry; `ours` are the AE titles by which this site may be called. Names must be unique: the configuration
    /// check holds them so.
    pub fn new(ours: impl IntoIterator<Item = AeTitle>, nodes: Vec<Node>, peers: Vec<Peer>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.ae_title.clone(), node)).collect();
        let ours = ours.into_iter().collect();
        let (issuer, site, purpose) = Default::default();
        Self { ours, nodes, peers, issuer, site, purpose, withhold: Vec::new(), match_unknown: false }
    }

    /// The same for a site whose own numbers have this issuer.
    pub fn issued_by(self, issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), ..self }
    }

    /// The same for a site that asks others under this name and, where nothing else is said, for this purpose.
    pub fn asking_as(self, site: impl Into<String>, purpose: impl Into<String>) -> Self {
        Self { site: site.into(), purpose: purpose.into(), ..self }
    }

    /// The same for a site that withholds by these rules.
    pub fn withholding(self, withhold: Vec<Withhold>) -> Self {
        Self { withhold, ..self }
    }

    /// The same for a site where what is held without a value matches a node's query, keys of the patient excepted (DIM-065).
    pub fn matching_unknown(self, match_unknown: bool) -> Self {
        Self { match_unknown, ..self }
    }

    /// Whether what is held without a value matches a node's query.
    pub fn matches_unknown(&self) -> bool {
        self.match_unknown
    }

    /// The rules about what a party is shown and given.
    pub fn withheld_from(&self, party: &str) -> Vec<Withhold> {
        let another_site = self.is_another_site(party);
        self.withhold.iter().filter(|rule| rule.concerns(party, another_site)).cloned().collect()
    }

    /// Whether a party is no node of ours. One that was taken out of the configuration, while an answer to it is under way, counts
    /// as another site: it sees no more than before.
    pub fn is_another_site(&self, party: &str) -> bool {
        !AeTitle::parse(party).is_ok_and(|title| self.nodes.contains_key(&title)) || self.peer(party).is_some()
    }

    /// What another site is told when it is asked for a node's sake (SEC-023).
    pub fn behalf_of_node(&self, title: &AeTitle) -> OnBehalf {
        let purpose = self.node(title).and_then(|node| node.purpose.clone()).unwrap_or_else(|| self.purpose.clone());
        OnBehalf { site: self.site.clone(), caller: format!("node {title}"), purpose }
    }

    /// What another site is told when it is asked for a person's sake: `who` as the system knows them, and the purpose if they say one.
    pub fn behalf_of_user(&self, who: &str, purpose: Option<&str>) -> OnBehalf {
        let purpose = purpose.unwrap_or(&self.purpose).to_owned();
        OnBehalf { site: self.site.clone(), caller: format!("user {who}"), purpose }
    }

    /// Who issued the patient identifiers of a party where its objects do not say: as its entry says, else this site's own for a
    /// node and an operator, and the peer's name for a peer. It is our word, and never written into an object (IDY-040).
    pub fn issuer(&self, origin: &Origin) -> String {
        self.named_issuer(origin).unwrap_or_else(|| self.issuer.clone())
    }

    /// The same, but `None` where only this site's own is left: for an operator, and for a node whose entry names none.
    pub fn named_issuer(&self, origin: &Origin) -> Option<String> {
        match origin {
            Origin::Node(title) | Origin::Archive(title) => self.node(title).and_then(Node::numbers_of),
            Origin::Peer(name) | Origin::Pulled(name) => {
                Some(self.peer(name).and_then(|peer| peer.issuer.clone()).unwrap_or_else(|| name.clone()))
            }
            Origin::Operator(_) => None,
        }
    }

    /// The node that asks for an association: its calling AE title must be known, it must come from where and with the
    /// certificate that its entry says, and call a title of ours (DIM-020). `certificate` is the leaf in DER form, verified
    /// by TLS; `None` on a plain connection.
    ///
    /// Whether it may do what it asks for is [`Node::may`].
    pub fn node_for(
        &self,
        calling: &AeTitle,
        called: &AeTitle,
        address: IpAddr,
        certificate: Option<&[u8]>,
    ) -> Result<&Node, Refused> {
        let node = self.nodes.get(calling).ok_or(Refused::UnknownCalling)?;
        match (certificate, &node.identity) {
            (None, Some(_)) => return Err(Refused::PlainCall),
            (Some(_), None) => return Err(Refused::NoIdentity),
            (Some(der), Some(identity)) => {
                let facts = Facts::of(der).map_err(|_| Refused::BadCertificate)?;
                if !facts.carries(identity) {
                    return Err(Refused::WrongCertificate(facts.to_string()));
                }
            }
            (None, None) => {}
        }
        // Over TLS an empty list means any address, on a plain connection none.
        let any = certificate.is_some() && node.from_addresses.is_empty();
        let address = address.to_canonical();
        if !any && !node.from_addresses.iter().any(|network| network.contains(&address)) {
            return Err(Refused::WrongAddress);
        }
        if self.ours.contains(called) || node.moves_to(called) { Ok(node) } else { Err(Refused::UnknownCalled) }
    }

    /// The peer whose identity the certificate carries as a subject alternative name; the leaf in DER form, verified by TLS.
    pub fn peer_for(&self, certificate: &[u8]) -> Result<&Peer, Refused> {
        let facts = Facts::of(certificate).map_err(|_| Refused::BadCertificate)?;
        let mut matching = self.peers.iter().filter(|peer| facts.carries(&peer.identity));
        match (matching.next(), matching.next()) {
            (Some(peer), None) => Ok(peer),
            (Some(_), Some(_)) => Err(Refused::SeveralPeers),
            (None, _) => Err(Refused::UnknownPeer(facts.to_string())),
        }
    }

    /// The node or peer of this name.
    pub fn destination(&self, destination: &Destination) -> Option<Party<'_>> {
        let peer = self.peers.iter().find(|peer| peer.name == destination.0).map(Party::Peer);
        peer.or_else(|| self.node(&AeTitle::parse(&destination.0).ok()?).map(Party::Node))
    }

    /// The node with this AE title.
    pub fn node(&self, title: &AeTitle) -> Option<&Node> {
        self.nodes.get(title)
    }

    /// The peer of this name.
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    /// Every node, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Every peer, in the order of the configuration.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The AE titles by which this site may be called.
    pub fn our_titles(&self) -> impl Iterator<Item = &AeTitle> {
        self.ours.iter()
    }
}
