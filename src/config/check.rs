//! What no single entry can see: names, listeners, and what needs what.

use super::mistakes::{Mistakes, suggest};
use super::parties::{NodeEntry, PeerEntry};
use super::prefetch::PrefetchEntry;
use super::raw::{At, Span};
use super::routes::RouteEntry;
use super::site::Listener;
use super::withhold::WithholdEntry;
use super::worklist::WorklistEntry;
use crate::dicom::ae_title::AeTitle;
use crate::peers::{Destination, Foreign, Node, Peer, Verify, Withhold};
use crate::priors::prefetch::Rule;
use crate::router::{Route, Target};
use std::collections::HashMap;
use std::time::Duration;

/// A node or a peer, by the name that routes use.
#[derive(Clone, Copy)]
enum Known<'a> {
    Node(&'a Node),
    Peer(&'a Peer),
}

/// Everybody by name. Two names that differ only in case would be taken for one another, so they count as equal.
pub(super) struct Names<'a> {
    by_name: HashMap<&'a str, Known<'a>>,
}

impl<'a> Names<'a> {
    pub(super) fn collect(nodes: &'a [NodeEntry], peers: &'a [PeerEntry], mistakes: &Mistakes<'_>) -> Self {
        let nodes = nodes.iter().map(|entry| (entry.node.ae_title.as_str(), Known::Node(&entry.node), &entry.title));
        let peers = peers.iter().map(|entry| (entry.peer.name.as_str(), Known::Peer(&entry.peer), &entry.name));
        let mut by_name = HashMap::new();
        let mut taken: HashMap<String, &str> = HashMap::new();
        for (name, known, span) in nodes.chain(peers) {
            match taken.insert(name.to_lowercase(), name) {
                Some(earlier) => {
                    let message = format!("the name `{name}` is taken");
                    let hint = format!("`{earlier}` is there already; names of nodes and peers must differ");
                    mistakes.wrong(Some(span.clone()), message, hint);
                }
                None => {
                    by_name.insert(name, known);
                }
            }
        }
        Self { by_name }
    }

    fn unknown(&self, name: &At<String>, what: &str, mistakes: &Mistakes<'_>) {
        let mut known: Vec<&str> = self.by_name.keys().copied().collect();
        known.sort_unstable();
        let message = format!("no [[peer]] or [[node]] is called `{}`", name.value);
        mistakes.wrong(Some(name.span.clone()), message, format!("{what}; {}", suggest(&name.value, &known)));
    }

    /// Rules of what is withheld with their names looked up; their own names stand in the ledger, so each means one rule.
    pub(super) fn withhold(&self, entries: Vec<WithholdEntry>, mistakes: &Mistakes<'_>) -> Vec<Withhold> {
        for (index, entry) in entries.iter().enumerate() {
            for name in entry.from.iter().chain(&entry.to) {
                if !self.by_name.contains_key(name.value.as_str()) {
                    self.unknown(name, "a rule names nodes and peers", mistakes);
                }
            }
            if entries[..index].iter().any(|earlier| earlier.name.value == entry.name.value) {
                let message = format!("two rules of [[withhold]] are called `{}`", entry.name.value);
                mistakes.wrong(Some(entry.name.span.clone()), message, "names in the ledger must mean one rule");
            }
        }
        let values = |list: Vec<At<String>>| list.into_iter().map(|at| at.value);
        let rule = |entry: WithholdEntry| Withhold {
            name: entry.name.value,
            from: values(entry.from).collect(),
            to: values(entry.to).map(Destination).collect(),
            when: entry.when,
            patients: entry.patients,
        };
        entries.into_iter().map(rule).collect()
    }

    /// Rules of what is pulled ahead with their names looked up.
    pub(super) fn prefetch(&self, entries: Vec<PrefetchEntry>, mistakes: &Mistakes<'_>) -> Vec<Rule> {
        for (index, entry) in entries.iter().enumerate() {
            entry.sites.iter().for_each(|name| self.asked_for_priors(name, mistakes));
            if entries[..index].iter().any(|earlier| earlier.name.value == entry.name.value) {
                let message = format!("two rules of [[prefetch]] are called `{}`", entry.name.value);
                mistakes.wrong(Some(entry.name.span.clone()), message, "names in answers must mean one rule");
            }
        }
        let mut rules = Vec::new();
        for entry in entries {
            if let Some(to) = &entry.to {
                match self.by_name.get(to.value.as_str()) {
                    Some(Known::Peer(_)) => {
                        let message = format!("`{}` is a peer", to.value);
                        let hint = "what is pulled is given to nobody but nodes of this site";
                        mistakes.wrong(Some(to.span.clone()), message, hint);
                    }
                    _ => drop(self.destination(to, None, mistakes)),
                }
            }
            rules.push(Rule {
                name: entry.name.value,
                arrived: entry.arrived,
                modality: entry.modality,
                body_part: entry.body_part,
                max_age_days: entry.max_age_days,
                newest: entry.newest,
                sites: entry.sites.into_iter().map(|at| at.value).collect(),
                to: entry.to.map(|at| Destination(at.value)),
            });
        }
        rules
    }

    /// `sites` names peers, and such as are asked for priors.
    fn asked_for_priors(&self, name: &At<String>, mistakes: &Mistakes<'_>) {
        let wrong = |message: String, hint: &str| mistakes.wrong(Some(name.span.clone()), message, hint);
        match self.by_name.get(name.value.as_str()) {
            Some(Known::Peer(peer)) if peer.priors => {}
            Some(Known::Peer(_)) => {
                wrong(format!("peer {} is not asked for priors", name.value), "leave out its `priors = false`");
            }
            Some(Known::Node(_)) => wrong(format!("`{}` is a node", name.value), "`sites` names peers"),
            None => self.unknown(name, "`sites` names peers", mistakes),
        }
    }

    /// A route with its names looked up.
    pub(super) fn route(&self, entry: RouteEntry, mistakes: &Mistakes<'_>) -> Route {
        let mut anonymous = None;
        for name in &entry.from {
            match self.by_name.get(name.value.as_str()) {
                Some(Known::Peer(peer)) if peer.issuer.is_none() => anonymous = anonymous.or(Some(*peer)),
                Some(Known::Peer(_)) => {}
                Some(Known::Node(_)) => {}
                None => self.unknown(name, "`from` names senders", mistakes),
            }
        }
        let mut to: Vec<Target> = Vec::new();
        for name in &entry.to {
            let Some(verify) = self.destination(name, anonymous, mistakes) else { continue };
            let target = Target { destination: Destination(name.value.clone()), verify };
            if to.iter().any(|earlier| earlier.destination == target.destination) {
                mistakes.wrong(
                    Some(name.span.clone()),
                    format!("`{}` stands twice in `to`", name.value),
                    "leave one out",
                );
            } else {
                to.push(target);
            }
        }
        if let ([from], [target]) = (entry.from.as_slice(), to.as_slice())
            && from.value == target.destination.0
        {
            let message = format!("route `{}` does nothing", entry.name.value);
            mistakes.wrong(entry.span, message, "nothing is sent back to where it came from");
        }
        Route {
            name: entry.name.value,
            called: entry.called,
            from: entry.from.into_iter().map(|at| at.value).collect(),
            when: entry.when,
            to,
            mandatory: entry.mandatory,
            priority: entry.priority,
        }
    }

    /// What counts as done at a destination; `anonymous` is a sending peer whose identifiers have no issuer.
    fn destination(&self, name: &At<String>, anonymous: Option<&Peer>, mistakes: &Mistakes<'_>) -> Option<Verify> {
        let wrong = |message: String, hint: &str| mistakes.wrong(Some(name.span.clone()), message, hint);
        match self.by_name.get(name.value.as_str()) {
            None => {
                self.unknown(name, "`to` names destinations", mistakes);
                None
            }
            Some(Known::Peer(peer)) => Some(peer.verify),
            Some(Known::Node(node)) => {
                if !node.may.receive {
                    wrong(format!("node {} may not receive", node.ae_title), "add \"receive\" to its `may`");
                }
                if let Some(peer) = anonymous.filter(|_| node.foreign == Foreign::Issuer) {
                    let message =
                        format!("node {} wants the issuer of what {} sends, which has none", node.ae_title, peer.name);
                    wrong(message, "say `issuer` at the peer, or another `foreign` at the node");
                }
                Some(node.verify)
            }
        }
    }
}

/// Who may call must be able to.
pub(super) fn callers(nodes: &[NodeEntry], mistakes: &Mistakes<'_>) {
    for entry in nodes.iter().filter(|entry| entry.uncalled) {
        let hint = "say where it calls from (`from_addresses`), or which name its certificate carries (`identity`)";
        let message = format!("nobody can call as node {}", entry.node.ae_title);
        mistakes.wrong(Some(entry.title.clone()), message, hint);
    }
}

/// `move_to` names nodes that may receive.
pub(super) fn moves(nodes: &[NodeEntry], mistakes: &Mistakes<'_>) {
    let titles: Vec<&str> = nodes.iter().map(|entry| entry.node.ae_title.as_str()).collect();
    for At { value: title, span } in nodes.iter().flat_map(|entry| &entry.move_to) {
        match nodes.iter().find(|entry| entry.node.ae_title == *title) {
            None => {
                let hint = suggest(title.as_str(), &titles);
                mistakes.wrong(Some(span.clone()), format!("no [[node]] has the AE title `{title}`"), hint);
            }
            Some(entry) if !entry.node.may.receive => {
                let message = format!("node {title} may not receive");
                mistakes.wrong(Some(span.clone()), message, "add \"receive\" to its `may`");
            }
            Some(_) => {}
        }
    }
}

/// What an archive moves to us is known by the title: nothing else may arrive under it.
pub(super) fn archives(nodes: &[NodeEntry], routes: &[RouteEntry], own: &AeTitle, mistakes: &Mistakes<'_>) {
    for entry in nodes {
        let (Some(archive), Some(span)) = (&entry.node.archive, &entry.retrieve_ae) else { continue };
        let title = &archive.retrieve_ae;
        if title == own || routes.iter().any(|route| route.called.contains(title)) {
            let message = format!("nodes send to {title} too");
            let hint = "choose a title to which nothing comes but what an archive was asked for";
            mistakes.wrong(Some(span.clone()), message, hint);
        }
    }
}

/// `[[worklist]]` names nodes that listen, each once.
pub(super) fn worklists(entries: &[WorklistEntry], nodes: &[NodeEntry], mistakes: &Mistakes<'_>) {
    let titles: Vec<&str> = nodes.iter().map(|entry| entry.node.ae_title.as_str()).collect();
    for (index, WorklistEntry { polling, node, .. }) in entries.iter().enumerate() {
        let (title, wrong) =
            (&polling.node, |message: String, hint: &str| mistakes.wrong(Some(node.clone()), message, hint));
        match nodes.iter().find(|entry| entry.node.ae_title == *title) {
            None => wrong(format!("no [[node]] has the AE title `{title}`"), &suggest(title.as_str(), &titles)),
            Some(entry) if entry.node.address.is_none() => {
                wrong(format!("node {title} is asked for its worklist but has no `address`"), "say where it listens");
            }
            Some(_) => {}
        }
        if entries[..index].iter().any(|earlier| earlier.polling.node == *title) {
            wrong(format!("two [[worklist]] ask node {title}"), "one entry may name several modalities and stations");
        }
    }
}

/// An order waits until copies will still be here on its day, but not beyond the beginning of that day: they must stay for all of it.
pub(super) fn days_ahead(entries: &[WorklistEntry], rules: &[Rule], keep: Duration, mistakes: &Mistakes<'_>) {
    if keep >= Duration::from_secs(86_400) || rules.iter().all(|rule| rule.to.is_some()) {
        return;
    }
    for WorklistEntry { polling, node, days } in entries {
        let message = format!("what is pulled ahead because of {} may be gone before it is wanted", polling.node);
        let hint = "`keep` in [priors] should be 1d, or each rule of [[prefetch]] have a `to`";
        mistakes.warn(Some(days.as_ref().unwrap_or(node).clone()), message, hint);
    }
}

/// An inbound certificate must mean one peer only.
pub(super) fn identities(peers: &[PeerEntry], mistakes: &Mistakes<'_>) {
    for (index, entry) in peers.iter().enumerate() {
        let same = |other: &&PeerEntry| other.peer.identity.eq_ignore_ascii_case(&entry.peer.identity);
        if let Some(earlier) = peers[..index].iter().find(same) {
            let message = format!("peers {} and {} have the same identity", earlier.peer.name, entry.peer.name);
            mistakes.wrong(Some(entry.identity.clone()), message, "a caller could be either; each needs its own");
        }
    }
}

/// Route names appear in the ledger, so each means one route.
pub(super) fn route_names(routes: &[RouteEntry], mistakes: &Mistakes<'_>) {
    for (index, entry) in routes.iter().enumerate() {
        if routes[..index].iter().any(|earlier| earlier.name.value == entry.name.value) {
            let message = format!("two routes are called `{}`", entry.name.value);
            mistakes.wrong(Some(entry.name.span.clone()), message, "names in the ledger must mean one route");
        }
    }
}

/// Somebody must be able to reach this site, and somebody must be there; entries that are wrong in themselves count.
pub(super) fn anybody(listens: bool, knows: bool, mistakes: &Mistakes<'_>) {
    if !listens {
        let hint = "set `listen` or `tls_listen` in [dicom], or `listen` in [web]";
        mistakes.wrong(None, "nobody can reach this site: no listener is configured", hint);
    }
    if !knows {
        mistakes.wrong(None, "there is no [[node]] and no [[peer]]", "nobody may send, and nothing can go anywhere");
    }
}

/// Listeners must not collide, and have keys if they speak TLS.
pub(super) fn listeners(listeners: &[Listener], has_tls: bool, mistakes: &Mistakes<'_>) {
    for (index, listener) in listeners.iter().enumerate() {
        let At { value: address, span } = &listener.address;
        let collides = |other: &&Listener| {
            let (a, b) = (other.address.value, address);
            // DIM-023: the TLS faces have ports of their own, whatever their addresses.
            let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() == b.port() && b.port() != 0 && (overlap || (other.tls && listener.tls))
        };
        if let Some(other) = listeners[..index].iter().find(collides) {
            let message = format!("{} and {} share port {}", other.key, listener.key, address.port());
            mistakes.wrong(Some(span.clone()), message, "each face needs a port of its own");
        }
        if listener.tls && !has_tls {
            let message = format!("{} speaks TLS, but there is no [tls]", listener.key);
            mistakes.wrong(Some(span.clone()), message, "add [tls] with certificate, key and trust");
        }
    }
}

/// Calling peers and TLS nodes takes keys; rights need a face.
pub(super) fn parties(
    nodes: &[NodeEntry],
    peers: &[PeerEntry],
    listeners: &[Listener],
    has_tls: bool,
    mistakes: &Mistakes<'_>,
) {
    let keyless = |span: &Span, what: String| {
        mistakes.wrong(Some(span.clone()), what, "add [tls] with certificate, key and trust")
    };
    if !has_tls {
        for entry in peers {
            keyless(&entry.name, format!("peer {} is spoken to over TLS, but there is no [tls]", entry.peer.name));
        }
        for entry in nodes {
            if let Some(span) = &entry.identity {
                keyless(span, format!("node {} is spoken to over TLS, but there is no [tls]", entry.node.ae_title));
            }
        }
    }
    let has = |key: &str| listeners.iter().any(|listener| listener.key == key);
    for entry in nodes.iter().filter(|entry| entry.node.may.calls()) {
        let key = if entry.node.identity.is_some() { "`tls_listen` in [dicom]" } else { "`listen` in [dicom]" };
        if !has(key) {
            let message = format!("node {} cannot call: {key} is not set", entry.node.ae_title);
            mistakes.warn(Some(entry.title.clone()), message, "what it may do has no effect");
        }
    }
    for entry in peers.iter().filter(|entry| entry.peer.may.calls() && !has("`listen` in [web]")) {
        let message = format!("peer {} cannot call: `listen` in [web] is not set", entry.peer.name);
        mistakes.warn(Some(entry.name.clone()), message, "what it may do has no effect");
    }
}
