//! A certificate in `trust` that is no authority: it vouches for the names that it carries itself, and for nobody else.
//!
//! To webpki whatever is trusted is an authority for every name (RFC 5280 section 6.1.1 asks nothing of it), so that who was
//! believed by a self-signed certificate of its own could have made one with the name of any other site. What it may vouch for
//! is bounded as an authority's own is: by name constraints (RFC 5280 section 4.2.1.10; DIM-020, DIM-113).

use super::{Facts, Name};
use rustls::pki_types::{Der, TrustAnchor};
use std::net::IpAddr;

const SEQUENCE: u8 = 0x30;
/// Of `NameConstraints`: `permittedSubtrees` and `excludedSubtrees`.
const PERMITTED: u8 = 0xA0;
const EXCLUDED: u8 = 0xA1;
/// Of `GeneralName`: `dNSName`, `uniformResourceIdentifier`, `iPAddress`.
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// Bounds what is trusted to its own names, unless it is an authority. What carries no name of its own is taken for one: there
/// are authorities that do not say so, of times before X.509 version 3.
pub(super) fn restrict(anchor: &mut TrustAnchor<'static>, facts: &Facts) {
    if !facts.authority && !facts.names.is_empty() {
        anchor.name_constraints = Some(own_names(facts));
    }
}

/// The contents of `NameConstraints` that permit these names and no others; of URIs any, if it carries one: webpki compares none.
fn own_names(facts: &Facts) -> Der<'static> {
    let (mut permitted, mut excluded) = (Vec::new(), Vec::new());
    for name in &facts.names {
        match name {
            // A wildcard is no constraint; the domain below which it stands is.
            Name::Dns(name) => permitted.extend(subtree(DNS, name.trim_start_matches("*.").as_bytes())),
            Name::Ip(IpAddr::V4(address)) => permitted.extend(subtree(IP, &[address.octets(), [0xFF; 4]].concat())),
            Name::Ip(IpAddr::V6(address)) => permitted.extend(subtree(IP, &[address.octets(), [0xFF; 16]].concat())),
            Name::Uri(_) => {}
        }
    }
    let carries = |kind: fn(&Name) -> bool| facts.names.iter().any(kind);
    if !carries(|name| matches!(name, Name::Dns(_))) {
        excluded.extend(subtree(DNS, b""));
    }
    if !carries(|name| matches!(name, Name::Ip(_))) {
        excluded.extend(subtree(IP, &[0; 8]));
        excluded.extend(subtree(IP, &[0; 32]));
    }
    if !carries(|name| matches!(name, Name::Uri(_))) {
        excluded.extend(subtree(URI, b"."));
    }
    let mut contents = Vec::new();
    for (tag, subtrees) in [(PERMITTED, permitted), (EXCLUDED, excluded)] {
        if !subtrees.is_empty() {
            contents.extend(element(tag, &subtrees));
        }
    }
    Der::from(contents)
}

/// One `GeneralSubtree`.
fn subtree(tag: u8, name: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &element(tag, name))
}

/// Tag, length and contents (X.690 section 8.1).
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let mut out = vec![tag];
    if contents.len() < 0x80 {
        out.extend(length.last());
    } else {
        let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | significant.len() as u8);
        out.extend(significant);
    }
    out.extend(contents);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        for (length, want) in [
            (0, vec![0x30_u8, 0]),
            (0x7F, vec![0x30, 0x7F]),
            (0x80, vec![0x30, 0x81, 0x80]),
            (0x100, vec![0x30, 0x82, 1, 0]),
            (0x1_2345, vec![0x30, 0x83, 1, 0x23, 0x45]),
        ] {
            let written = element(SEQUENCE, &vec![7_u8; length]);
            assert_eq!(written[..written.len() - length], want, "{length}");
        }
    }
}
