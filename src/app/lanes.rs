//! From the configuration to the courier's lanes: one for each peer and for each node that listens.

use crate::config::{self, Config};
use crate::courier::foreign::Policy;
use crate::courier::mover::Mover;
use crate::courier::turns::Turns;
use crate::courier::{Carriers, Foreigners, LaneOptions, LaneSpec, StoreScu, StowCarrier};
use crate::dicom::canon::Profile;
use crate::dicom::part10;
use crate::dicomweb::client::{ClientOptions, Form, PeerClient, Timing};
use crate::dimse::presentation::UserIdentity;
use crate::dimse::{Target, Timers};
use crate::edge::dimse_scp::Movers;
use crate::ledger::backoff::Backoff;
use crate::ledger::breaker::Probing;
use crate::ledger::step::Patience;
use crate::peers::{Node, Origin, PatientIds, Peer, User};
use crate::priors::archive::Archive;
use crate::priors::worklist::Worklist;
use crate::priors::{Site, Sites};
use crate::records::{LeaseLimits, Records, RecordsOptions};
use crate::store::Store;
use crate::tls;
use anyhow::{Context, anyhow};
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a lane with nothing to do waits before it looks again by itself.
const IDLE: Duration = Duration::from_secs(30);

/// One lane for each peer, and for each node that has an address and may receive.
pub(super) fn lanes(
    config: &Config,
    store: &Store,
    records: &Records,
    profiles: &BTreeMap<String, Value>,
    turns: &Turns,
) -> anyhow::Result<Vec<LaneSpec<Carriers>>> {
    let mut lanes = Vec::new();
    for peer in &config.peers {
        let client = peer_client(config, peer).with_context(|| format!("peer {}", peer.name))?;
        if let Some(profile) = profiles.get(&peer.name) {
            ask_as_found(&client, profile);
        }
        let carrier = StowCarrier::new(client, store.clone(), peer.verify, Profile::new(peer.volatile.iter().copied()));
        lanes.push((peer.destination(), Arc::new(Carriers::Stow(carrier)), options(config, peer.max_parallel)));
    }
    for node in config.nodes.iter().filter(|node| node.may.receive) {
        let Some(address) = &node.address else { continue };
        let foreigners = foreigners(config, node, records);
        let target = node_target(config, node, address)?;
        let carrier =
            StoreScu::new(target, store.clone(), foreigners, config.courier.linger, turns.clone(), node.verify);
        lanes.push((node.destination(), Arc::new(Carriers::Store(carrier)), options(config, node.max_parallel)));
    }
    Ok(lanes)
}

/// What the peers were found to do, where that was tried (WEB-073).
pub(super) async fn profiles(config: &Config, records: &Records) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut profiles = BTreeMap::new();
    for peer in &config.peers {
        if let Some((_, text)) = records.profile(&peer.name).await? {
            profiles.insert(peer.name.clone(), serde_json::from_str(&text).unwrap_or_default());
        }
    }
    Ok(profiles)
}

/// A peer that has only one form of answers is asked for it from the start (WEB-052).
fn ask_as_found(client: &PeerClient, profile: &Value) {
    if profile["store"]["form"] == "xml" {
        client.ask_for(Form::Xml);
    }
    if profile["query"] == "xml" {
        client.ask_queries_in(Form::Xml);
    }
}

/// Who gives instances to which node: over associations that we open where it may receive and has an address, and over its own.
pub(super) fn movers(config: &Config, store: &Store, records: &Records, turns: &Turns) -> anyhow::Result<Movers> {
    let mut movers = Movers::new();
    for node in &config.nodes {
        let address = node.address.as_ref().filter(|_| node.may.receive);
        let target = address.map(|address| node_target(config, node, address)).transpose()?;
        let mover =
            Mover::new(node.destination(), target, store.clone(), foreigners(config, node, records), turns.clone());
        movers.insert(node.ae_title.clone(), Arc::new(mover));
    }
    Ok(movers)
}

/// The sites that are asked for priors.
pub(super) fn sites(config: &Config, profiles: &BTreeMap<String, Value>) -> anyhow::Result<Sites> {
    let deadline = config.priors.deadline;
    let mut sites = Vec::new();
    for peer in config.peers.iter().filter(|peer| peer.priors) {
        let client = peer_client(config, peer).with_context(|| format!("peer {}", peer.name))?;
        if let Some(profile) = profiles.get(&peer.name) {
            ask_as_found(&client, profile);
        }
        let timeout = peer.query_timeout.unwrap_or(deadline).min(deadline);
        sites.push(Site { name: peer.name.clone(), issuer: peer.issuer.clone(), client, timeout });
    }
    Ok(Sites { sites, deadline, memory: config.priors.memory })
}

/// The archives behind us; they are called as nodes are.
pub(super) fn archives(config: &Config) -> anyhow::Result<Vec<Arc<Archive>>> {
    let registry = config.registry();
    let mut archives = Vec::new();
    for node in &config.nodes {
        let (Some(settings), Some(address)) = (&node.archive, &node.address) else { continue };
        let target = node_target(config, node, address)?;
        let issuer = registry.issuer(&Origin::Archive(node.ae_title.clone()));
        let (name, settings) = (node.ae_title.clone(), settings.clone());
        let archive = Archive::new(name, target, settings, issuer, &node.charset, node.max_parallel);
        archives.push(Arc::new(archive));
    }
    Ok(archives)
}

/// The worklists that are asked for what is scheduled; they are called as nodes are.
pub(super) fn worklists(config: &Config) -> anyhow::Result<Vec<Arc<Worklist>>> {
    let registry = config.registry();
    let mut worklists = Vec::new();
    for polling in &config.worklists {
        let found = config.nodes.iter().find(|node| node.ae_title == polling.node);
        let Some((node, address)) = found.and_then(|node| Some((node, node.address.as_ref()?))) else { continue };
        worklists.push(Arc::new(Worklist {
            settings: polling.clone(),
            target: node_target(config, node, address)?,
            issuer: registry.issuer(&Origin::Node(node.ae_title.clone())),
            charset: node.charset.clone(),
        }));
    }
    Ok(worklists)
}

/// How other sites' patients reach a node.
fn foreigners(config: &Config, node: &Node, records: &Records) -> Foreigners {
    let issuers = config.peers.iter().filter_map(|peer| Some((peer.name.clone(), peer.issuer.clone()?)));
    let policy = Policy {
        mode: node.foreign,
        mark_imported: node.mark_imported,
        name_equipment: node.contributing_equipment,
        nhs_numbers: node.patient_ids == PatientIds::Nhs,
        general_class: node.general_class,
    };
    let nhs_nodes = config.nodes.iter().filter(|node| node.patient_ids == PatientIds::Nhs);
    Foreigners {
        policy,
        site: config.site.name.clone(),
        issuers: issuers.collect(),
        records: records.clone(),
        nhs_nodes: nhs_nodes.map(|node| node.ae_title.to_string()).collect(),
    }
}

/// How the records space tries and when they give up (REL-20).
pub(super) fn records_options(config: &Config) -> RecordsOptions {
    let courier = &config.courier;
    let backoff = Backoff { first: courier.retry_first, cap: courier.retry_longest };
    let defaults = RecordsOptions::default();
    RecordsOptions {
        patience: Patience { backoff, give_up: courier.give_up_after, refusals: courier.refusals, ..defaults.patience },
        probing: Probing {
            backoff: Backoff { cap: courier.retry_longest.min(courier.outage_probe), ..backoff },
            steady_after: courier.outage_after,
            steady: courier.outage_probe,
            ..defaults.probing
        },
        ..defaults
    }
}

fn options(config: &Config, parallel: usize) -> LaneOptions {
    let courier = &config.courier;
    LaneOptions {
        parallel,
        batch: LeaseLimits { instances: courier.batch_instances, bytes: courier.batch_bytes, together: false },
        check_instances: courier.check_instances,
        idle: IDLE,
    }
}

/// A client for one peer, as its lane uses it.
pub fn peer_client(config: &Config, peer: &Peer) -> anyhow::Result<PeerClient> {
    let tls = config.tls.as_ref().ok_or_else(|| anyhow!("[tls] is needed to reach it"))?;
    let identity = peer.client.as_ref().unwrap_or(&tls.identity);
    let timing = Timing {
        connect: config.timers.connect + config.timers.tls_handshake,
        window: config.courier.progress_time,
        least_rate: config.courier.progress_bytes,
        answer: config.timers.response,
        ..Timing::default()
    };
    Ok(PeerClient::new(ClientOptions {
        identity_pin: Some(peer.identity.clone()),
        client_certificate: Some((identity.chain().to_vec(), identity.key())),
        timing,
        answer_bytes: usize::try_from(config.limits.answer_bytes).unwrap_or(usize::MAX),
        ..ClientOptions::new(peer.url.clone(), tls.trust.roots())
    })?)
}

/// How one node is called, as its lane calls it.
pub fn node_target(config: &Config, node: &Node, address: &str) -> anyhow::Result<Target> {
    let tls = match (&node.identity, &config.tls) {
        (Some(identity), Some(tls)) => {
            let name = ServerName::try_from(identity.clone()).context("identity of the node")?;
            Some((tls::client_config(&tls.identity, &tls.trust)?, name))
        }
        (Some(_), None) => return Err(anyhow!("[tls] is needed to reach node {}", node.ae_title)),
        (None, _) => None,
    };
    Ok(Target {
        address: address.to_owned(),
        tls,
        calling: config.dicom.ae_title.clone(),
        called: node.ae_title.clone(),
        timers: timers(&config.timers),
        max_pdu_length: config.dicom.max_pdu_length,
        implementation_class: part10::IMPLEMENTATION_CLASS_UID.to_owned(),
        implementation_version: part10::IMPLEMENTATION_VERSION_NAME.to_owned(),
        identity: node.user.as_ref().map(asserted),
    })
}

/// A user identity as it is proposed: a name, or a name and passcode (DIM-019).
fn asserted(user: &User) -> UserIdentity {
    UserIdentity {
        kind: if user.passcode.is_some() { 2 } else { 1 },
        response_requested: user.confirmed,
        primary: user.name.clone().into_bytes(),
        secondary: user.passcode.clone().unwrap_or_default().into_bytes(),
    }
}

/// The timers of an association (DIM-021).
pub(super) fn timers(timers: &config::Timers) -> Timers {
    Timers {
        connect: timers.connect,
        tls_handshake: timers.tls_handshake,
        artim: timers.artim,
        negotiation: timers.negotiation,
        message_idle: timers.message_idle,
        association_idle: timers.association_idle,
        response: timers.response,
        release: timers.release,
        ..Timers::default()
    }
}
