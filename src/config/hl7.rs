//! `[hl7]`: where orders and changes of patients are heard.

use super::raw::{List, Table};
use super::site::Listener;
use super::values::{issuer, listen, network, one_of, text};
use ipnet::IpNet;
use std::net::SocketAddr;

/// `[hl7]`: HL7 version 2 over MLLP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hl7 {
    /// Where messages are taken; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Who may call.
    pub from_addresses: Vec<IpNet>,
    /// Who issued local numbers of which a message does not say; `None`: the site.
    pub issuer: Option<String>,
    /// Assigning authorities, as messages name them, that mean this issuer.
    pub authorities: Vec<String>,
    /// What of MSH-11 is taken.
    pub processing: Vec<String>,
}

pub(super) fn hl7(mut table: Table<'_>) -> (Hl7, Option<Listener>) {
    let address = table.optional("listen", listen);
    let from = table.list("from_addresses", network);
    let issuer = table.optional("issuer", issuer).map(|at| at.value);
    let authorities = table.list("authorities", text).map(List::values).unwrap_or_default();
    let processing = table.list("processing", one_of(&[("P", "P"), ("T", "T"), ("D", "D")], &[]));
    if let Some(empty) = processing.as_ref().filter(|list| list.written == 0) {
        let hint = "no message would be taken but one that says nothing of itself; leave it out to mean [\"P\"]";
        table.mistakes().wrong(Some(empty.span.clone()), "`processing` in [hl7] is empty", hint);
    }
    let everybody = from.iter().flat_map(|list| &list.items).find(|at| at.value.prefix_len() == 0);
    if let (Some(_), Some(at)) = (&address, everybody) {
        let message = "any machine may send orders and changes of patients to [hl7]";
        table.mistakes().warn(Some(at.span.clone()), message, "`from_addresses` should name the order systems");
    }
    let from = from.map(List::values).unwrap_or_default();
    if let Some(at) = address.as_ref().filter(|_| from.is_empty()) {
        let hint = "add from_addresses = [\"…\"] with the addresses of the order systems";
        table.mistakes().wrong(Some(at.span.clone()), "nobody may call: `from_addresses` in [hl7] is empty", hint);
    }
    table.finish();
    let hl7 = Hl7 {
        listen: address.as_ref().map(|at| at.value),
        from_addresses: from,
        issuer,
        authorities,
        processing: processing.map_or_else(|| vec!["P"], List::values).into_iter().map(str::to_owned).collect(),
    };
    (hl7, address.map(|address| Listener { key: "`listen` in [hl7]", address, tls: false }))
}
