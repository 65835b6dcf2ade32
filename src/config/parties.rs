//! `[[node]]` and `[[peer]]`: one entry at a time. What several entries must agree on is in check.rs.

use super::mistakes::Mistakes;
use super::raw::{At, List, Span, Table};
use super::site;
use super::values::{
    ae_title, attribute, boolean, character_set, duration, host_port, identity, issuer, name, network, number, one_of,
    path, peer_url, text,
};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::uid::SopClassUid;
use crate::peers::{
    Archive, Foreign, May, Node, PatientIds, Peer, Silent, StorageClasses, UnknownClasses, User, Verify,
};
use ipnet::IpNet;
use rustls_pki_types::ServerName;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toml::de::DeValue;

/// A node as read, with the places that later checks point at.
pub(super) struct NodeEntry {
    pub(super) node: Node,
    pub(super) title: Span,
    pub(super) identity: Option<Span>,
    pub(super) move_to: Vec<At<AeTitle>>,
    /// Where the title stands to which it moves as an archive.
    pub(super) retrieve_ae: Option<Span>,
    /// It may call, and nothing says from where.
    pub(super) uncalled: bool,
}

/// A peer as read, with the places that later checks point at.
pub(super) struct PeerEntry {
    pub(super) peer: Peer,
    pub(super) name: Span,
    pub(super) identity: Span,
}

type Right = fn(&mut May);

const NODE_RIGHTS: &[(&str, Right)] = &[
    ("store", |may| may.store = true),
    ("find", |may| may.find = true),
    ("move", |may| may.r#move = true),
    ("receive", |may| may.receive = true),
    ("commit", |may| may.commit = true),
];

const PEER_RIGHTS: &[(&str, Right)] = &[
    ("store", |may| may.store = true),
    ("query", |may| may.query = true),
    ("retrieve", |may| may.retrieve = true),
    ("commit", |may| may.commit = true),
];

fn may(table: &mut Table<'_>, rights: &[(&str, Right)]) -> May {
    let granted = table.list("may", one_of(rights, &[])).map(List::values).unwrap_or_default();
    let mut may = May::default();
    granted.iter().for_each(|grant| grant(&mut may));
    may
}

/// Which evidence can be asked for today; weaker than asked is never taken silently (INV-04).
const LATER: &[&str] = &["receipt", "commitment"];

pub(super) fn node(mut table: Table<'_>, base: &Path) -> Option<NodeEntry> {
    let title = table.required("ae_title", "\"PACS\"", ae_title);
    let label = table.optional("name", text).map(|at| at.value);
    let address = table.optional("address", host_port).map(|at| at.value);
    let from = table.list("from_addresses", network);
    let listed = table.has("from_addresses");
    let own = address.as_deref().filter(|_| !listed).and_then(literal);
    let callable = callable(&table, own.is_some(), listed && from.as_ref().is_none_or(|list| list.written > 0));
    let identity = table.optional("identity", identity);
    let user = user(&mut table, base, identity.is_some());
    let may = may(&mut table, NODE_RIGHTS);
    let kinds = [Verify::Accepted, Verify::Present].map(|verify| (verify.word(), verify));
    let verify = table.or("verify", Verify::Accepted, one_of(&kinds, &["commitment"]));
    let issuer = table.optional("issuer", text).map(|at| at.value);
    let kinds = [("local", PatientIds::Local), ("nhs", PatientIds::Nhs)];
    let patient_ids = table.or("patient_id", PatientIds::Local, one_of(&kinds, &[]));
    let purpose = table.optional("purpose", super::site::purpose).map(|at| at.value);
    let charset = table.or("charset", "ISO_IR 100".to_owned(), character_set);
    let move_to = table.list("move_to", ae_title).map(|list| list.items).unwrap_or_default();
    let (foreign, silent, origin_in_description) = of_other_sites(&mut table);
    let mark_imported = table.or("mark_imported", false, boolean);
    let contributing_equipment = table.or("contributing_equipment", false, boolean);
    let general_class = table.or("general_class", false, boolean);
    let conflict = one_of(&[("success", false), ("C010", true)], &[]);
    let conflict_is_failure = table.or("conflict_status", false, conflict);
    let volatile = table.list("volatile", attribute).map(List::values).unwrap_or_default();
    let storage = storage_classes(&mut table);
    let max_associations = table.or("max_associations", 100, number(1..=10_000));
    let max_parallel = table.or("max_parallel", 1, number(1..=64));
    let retrieve_ae = table.optional("retrieve_ae", ae_title);
    let span = retrieve_ae.as_ref().map(|at| at.span.clone());
    let archive = archive(&mut table, retrieve_ae);
    let at = title?;
    let node = Node {
        ae_title: at.value,
        name: label,
        address,
        from_addresses: from.map(List::values).unwrap_or_else(|| own.into_iter().collect()),
        identity: identity.as_ref().map(|at| at.value.clone()),
        user,
        may,
        verify,
        issuer,
        patient_ids,
        purpose,
        charset,
        move_to: move_to.iter().map(|at| at.value.clone()).collect(),
        foreign,
        silent,
        origin_in_description,
        mark_imported,
        contributing_equipment,
        general_class,
        conflict_is_failure,
        volatile,
        storage,
        max_associations,
        max_parallel,
        archive,
    };
    agree(&table, &node, (&at.span, identity.as_ref().map(|at| &at.span)));
    table.finish();
    let uncalled = (node.may.calls() || node.archive.is_some()) && !callable;
    let identity = identity.map(|at| at.span);
    Some(NodeEntry { node, title: at.span, identity, move_to, retrieve_ae: span, uncalled })
}

/// How other sites' patients reach the node, how it is shown that a site is silent, and whether descriptions name the site.
fn of_other_sites(table: &mut Table<'_>) -> (Foreign, Silent, bool) {
    let kinds =
        [("prefix", Foreign::Prefix), ("issuer", Foreign::Issuer), ("hold", Foreign::Hold), ("as_is", Foreign::AsIs)];
    let foreign = table.or("foreign", Foreign::default(), one_of(&kinds, &[]));
    let silent =
        table.or("silent", Silent::default(), one_of(&[("marker", Silent::Marker), ("failure", Silent::Failure)], &[]));
    (foreign, silent, table.or("origin_in_description", false, boolean))
}

/// Whether an address from which a node calls, or its identity, is written, right or wrong.
fn callable(table: &Table<'_>, own: bool, listed: bool) -> bool {
    table.has("identity") || own || listed
}

/// Whoever is called over TLS is held to a DNS name or an IP address (RFC 9525); a URI only names who calls.
fn callable_name(mistakes: &Mistakes<'_>, name: &str, span: &Span) {
    if ServerName::try_from(name).is_err() {
        let message = format!("`{name}` cannot be called: it is no DNS name and no IP address");
        let hint =
            "write as `identity` the DNS name or IP address that the certificate carries as subject alternative name";
        mistakes.wrong(Some(span.clone()), message, hint);
    }
}

/// Largest file of a passcode, in bytes.
const LARGEST_PASSCODE: u64 = 4096;

/// Who we say that we are when we call a node (DIM-019); `tls` tells whether the call is over TLS.
fn user(table: &mut Table<'_>, base: &Path, tls: bool) -> Option<User> {
    let name = table.optional("user", text);
    let file = table.optional("passcode", path);
    let confirmed = table.or("user_confirmed", true, boolean);
    let passcode = file.and_then(|At { value, span }| {
        let (file, mistakes) = (base.join(&value), table.mistakes());
        if name.is_none() {
            mistakes.wrong(Some(span.clone()), "`passcode` in [[node]] needs `user`", "say whose passcode it is");
        }
        if !tls {
            let hint = "give the node an `identity`, so that it is called over TLS";
            mistakes.wrong(Some(span.clone()), "a passcode travels over TLS only (PS3.7 section D.3.3.7)", hint);
        }
        site::warn_if_exposed(table, &file, &span);
        let passcode = passcode(&file).map_err(|why| mistakes.wrong(Some(span), "the passcode cannot be used", why));
        passcode.ok()
    });
    Some(User { name: name?.value, passcode, confirmed })
}

/// The passcode in a file, without the end of its line.
fn passcode(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?.len();
    if size > LARGEST_PASSCODE {
        return Err(format!("{} is larger than {LARGEST_PASSCODE} bytes", file.display()));
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let passcode = text.trim_end_matches(['\r', '\n']);
    if passcode.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(passcode.to_owned()) }
}

/// What a node may store, of known and of unknown classes (DIM-033).
fn storage_classes(table: &mut Table<'_>) -> StorageClasses {
    let only = table.list("sop_classes", |value| {
        let uid = value.as_str().and_then(|text| SopClassUid::parse(text).ok());
        uid.ok_or_else(|| "write SOP Class UIDs, such as \"1.2.840.10008.5.1.4.1.1.2\"".into())
    });
    if let Some(empty) = only.as_ref().filter(|list| list.written == 0) {
        let hint = "nothing would be accepted; leave it out to take any storage class, or take \"store\" out of `may`";
        table.mistakes().wrong(Some(empty.span.clone()), "`sop_classes` in [[node]] is empty", hint);
    }
    let kinds =
        [("any", UnknownClasses::Any), ("declared", UnknownClasses::Declared), ("never", UnknownClasses::Never)];
    let unknown = table.or("unknown_classes", UnknownClasses::default(), one_of(&kinds, &[]));
    StorageClasses { only: only.map(List::values), unknown }
}

/// The address where a node listens, if it is written as a number: it calls from there, unless the file says otherwise.
fn literal(address: &str) -> Option<IpNet> {
    let (host, _) = address.rsplit_once(':')?;
    host.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(IpNet::from)
}

/// How the node is asked for what it holds, if it is an archive.
fn archive(table: &mut Table<'_>, retrieve_ae: Option<At<AeTitle>>) -> Option<Archive> {
    let is = table.optional("archive", boolean);
    let query_timeout = table.or("query_timeout", Duration::from_secs(3), duration);
    let fetch_timeout = table.or("fetch_timeout", Duration::from_secs(120), duration);
    match (is, retrieve_ae) {
        (Some(At { value: true, span }), None) => {
            let message = "an archive needs `retrieve_ae`, an AE title of ours to which it moves what we ask for";
            table.mistakes().wrong(
                Some(span),
                message,
                "add retrieve_ae = \"WEYBRIDGE_RTV\", and tell the archive of it",
            );
            None
        }
        (Some(At { value: true, .. }), Some(At { value: retrieve_ae, .. })) => {
            Some(Archive { retrieve_ae, query_timeout, fetch_timeout })
        }
        (_, Some(At { span, .. })) => {
            let message = "`retrieve_ae` in [[node]] needs `archive`";
            table.mistakes().wrong(Some(span), message, "add archive = true, or leave it out");
            None
        }
        (_, None) => None,
    }
}

/// What the keys of one node must agree on.
fn agree(table: &Table<'_>, node: &Node, (title, identity): (&Span, Option<&Span>)) {
    let wrong = |message: String, hint: &str| table.mistakes().wrong(Some(title.clone()), message, hint);
    let name = &node.ae_title;
    if node.may.receive && !table.has("address") {
        wrong(format!("node {name} may receive but has no `address`"), "say where it listens");
    }
    if node.archive.is_some() && !table.has("address") {
        wrong(format!("node {name} is an archive but has no `address`"), "say where it listens");
    }
    if let (Some(name), Some(at), Some(_)) = (&node.identity, identity, &node.address)
        && (node.may.receive || node.archive.is_some())
    {
        callable_name(table.mistakes(), name, at);
    }
    if node.identity.is_none() && node.from_addresses.iter().any(|network| network.prefix_len() == 0) {
        let message = format!("any machine that knows its AE title may call as node {name}");
        table.mistakes().warn(Some(title.clone()), message, "`from_addresses` should name its network (DIM-020)");
    }
}

pub(super) fn peer(mut table: Table<'_>, base: &Path, now: SystemTime) -> Option<PeerEntry> {
    let name = table.required("name", "\"surrey\"", name);
    let url = table.required("url", "\"https://gateway.surrey.example:8443/dicom-web\"", peer_url);
    let identity = table.optional("identity", identity);
    let may = may(&mut table, PEER_RIGHTS);
    let kinds = Verify::ALL.map(|verify| (verify.word(), verify));
    let verify = table.or("verify", Verify::Present, one_of(&kinds, LATER));
    let issuer = table.optional("issuer", issuer).map(|at| at.value);
    let client = client(&mut table, base, now);
    let volatile = table.list("volatile", attribute).map(List::values).unwrap_or_default();
    let max_parallel = table.or("max_parallel", 2, number(1..=64));
    let priors = table.or("priors", may.query, boolean);
    let query_timeout = table.optional("query_timeout", duration).map(|at| at.value);
    table.not_built("proxy", "leave it out: peers are reached directly, and proxies of the environment are ignored");
    table.not_built("token", "leave it out: peers are known by their certificates");
    let mistakes = table.mistakes();
    table.finish();
    let (name, url) = (name?, url?);
    let (identity, span) = identity.map_or((url.value.host, url.span), |at| (at.value, at.span));
    callable_name(mistakes, &identity, &span);
    let peer = Peer {
        name: name.value,
        url: url.value.url,
        identity,
        may,
        verify,
        issuer,
        client,
        volatile,
        max_parallel,
        priors,
        query_timeout,
    };
    Some(PeerEntry { peer, name: name.span, identity: span })
}

/// A certificate for calling this peer, if it wants another than the site's own.
fn client(table: &mut Table<'_>, base: &Path, now: SystemTime) -> Option<Arc<crate::tls::Identity>> {
    let certificate = table.optional("client_certificate", path);
    let key = table.optional("client_key", path);
    if let (Some(At { span, .. }), None) | (None, Some(At { span, .. })) = (&certificate, &key) {
        let message = "`client_certificate` and `client_key` in [[peer]] need each other";
        table.mistakes().wrong(Some(span.clone()), message, "give both, or none to use the site's own");
    }
    let (identity, span) = site::identity(table, base, certificate, key, now)?;
    if !identity.facts().client {
        let message = "the client certificate may not identify a client (extended key usage)";
        table.mistakes().warn(Some(span), message, "the peer will refuse it");
    }
    Some(Arc::new(identity))
}

/// A destination or sender as routes write it.
pub(super) fn party(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(|name| name.trim().to_owned()).ok_or_else(|| "write a peer's name or a node's AE title".into())
}
