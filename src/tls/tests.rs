//! Handshakes between two of our own configurations, and what the loader refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::certs::{DevAuthority, SiteKeys, Validity};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion, ServerConnection};
use std::time::{Duration, SystemTime};

fn identity(keys: &SiteKeys) -> Identity {
    Identity::from_pem(keys.certificate.as_bytes(), keys.key.as_bytes()).unwrap()
}

/// Runs a handshake in memory; the server's view of it, or the first error of either side.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ProtocolVersion, Vec<u8>), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    for _ in 0..20 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            let leaf = server.peer_certificates().unwrap()[0].to_vec();
            return Ok((server.protocol_version().unwrap(), leaf));
        }
    }
    panic!("the handshake does not end");
}

#[test]
fn both_sides_show_a_certificate_and_1_3_is_preferred() {
    let authority = DevAuthority::create().unwrap();
    let trust = Trust::from_pem(authority.trust().as_bytes()).unwrap();
    let a = identity(&authority.site("a", &["a.example", "127.0.0.1"], Validity::days(30)).unwrap());
    let b = identity(&authority.site("b", &["b.example"], Validity::days(30)).unwrap());
    let server = server_config(&a, &trust, &[b"http/1.1"]).unwrap();
    let client = client_config(&b, &trust).unwrap();
    for name in ["a.example", "127.0.0.1"] {
        let (version, leaf) = handshake(&client, &server, name).unwrap();
        assert_eq!(version, ProtocolVersion::TLSv1_3);
        assert!(carries(&leaf, "b.example") && !carries(&leaf, "a.example"));
    }
    assert!(handshake(&client, &server, "other.example").is_err(), "the server's name is checked");
}

#[test]
fn tls_1_2_is_taken_and_no_certificate_is_not() {
    let authority = DevAuthority::create().unwrap();
    let trust = Trust::from_pem(authority.trust().as_bytes()).unwrap();
    let a = identity(&authority.site("a", &["a.example"], Validity::days(30)).unwrap());
    let server = server_config(&a, &trust, &[]).unwrap();
    let builder = || ClientConfig::builder_with_provider(provider());
    let old = builder().with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let old = old.with_root_certificates(trust.roots()).with_client_auth_cert(a.chain.clone(), a.key()).unwrap();
    assert_eq!(handshake(&Arc::new(old), &server, "a.example").unwrap().0, ProtocolVersion::TLSv1_2);
    let nameless = builder().with_protocol_versions(VERSIONS).unwrap();
    let nameless = nameless.with_root_certificates(trust.roots()).with_no_client_auth();
    assert!(handshake(&Arc::new(nameless), &server, "a.example").is_err());
}

#[test]
fn keys_are_agreed_by_elliptic_curves_only() {
    let provider = provider();
    for suite in &provider.cipher_suites {
        let name = format!("{:?}", suite.suite());
        assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
        assert!(name.contains("_GCM_") || name.contains("_CHACHA20_"), "{name}");
    }
    for group in &provider.kx_groups {
        let name = format!("{:?}", group.name());
        assert!(name.starts_with("X25519") || name.starts_with("secp") || name.contains("MLKEM"), "{name}");
    }
    assert!(provider.cipher_suites.len() > 2 && provider.kx_groups.len() > 1);
}

#[test]
fn expired_and_foreign_certificates_are_refused_on_both_sides() {
    let authority = DevAuthority::create().unwrap();
    let stranger = DevAuthority::create().unwrap();
    let trust = Trust::from_pem(authority.trust().as_bytes()).unwrap();
    let good = identity(&authority.site("a", &["a.example"], Validity::days(30)).unwrap());
    let expired = identity(&authority.site("a", &["a.example"], Validity::expired()).unwrap());
    let foreign = identity(&stranger.site("a", &["a.example"], Validity::days(30)).unwrap());
    for bad in [&expired, &foreign] {
        let server = server_config(&good, &trust, &[]).unwrap();
        assert!(handshake(&client_config(bad, &trust).unwrap(), &server, "a.example").is_err());
        let server = server_config(bad, &trust, &[]).unwrap();
        assert!(handshake(&client_config(&good, &trust).unwrap(), &server, "a.example").is_err());
    }
}

/// FLT-046: a node that offers to resume sessions shows its certificate each time all the same.
#[test]
fn who_is_called_shows_a_certificate_each_time() {
    let authority = DevAuthority::create().unwrap();
    let trust = Trust::from_pem(authority.trust().as_bytes()).unwrap();
    let a = identity(&authority.site("a", &["a.example"], Validity::days(30)).unwrap());
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).unwrap();
    let server = Arc::new(builder.with_no_client_auth().with_single_cert(a.chain.clone(), a.key()).unwrap());
    assert!(server.send_tls13_tickets > 0);
    let config = client_config(&a, &trust).unwrap();
    for _ in 0..2 {
        let name = ServerName::try_from("a.example").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        // To the end, with what comes behind the handshake.
        while client.wants_write() || server.wants_write() {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            client.write_tls(&mut up).unwrap();
            server.read_tls(&mut up.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            server.write_tls(&mut down).unwrap();
            client.read_tls(&mut down.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_the_reason() {
    let authority = DevAuthority::create().unwrap();
    let one = authority.site("one", &["one.example"], Validity::days(30)).unwrap();
    let two = authority.site("two", &["two.example"], Validity::days(30)).unwrap();
    let refused = |certificate: &str, key: &str| {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).expect_err("refused").to_string()
    };
    assert_eq!(refused(&one.certificate, &two.key), "the key does not belong to the certificate");
    assert_eq!(refused("", &one.key), "no usable certificate: the file holds none");
    assert!(refused(&one.certificate, "nothing").starts_with("no usable private key"));
    assert!(Trust::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
    let directory = tempfile::tempdir().unwrap();
    let missing = Trust::load(&directory.path().join("trust.pem")).expect_err("refused").to_string();
    assert!(missing.contains("trust.pem") && missing.contains("No such file"), "{missing}");
    assert!(Trust::load(directory.path()).expect_err("refused").to_string().ends_with("not a file"));
}

#[test]
fn facts_tell_names_time_and_use() {
    let authority = DevAuthority::create().unwrap();
    let usage = [rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let keys = authority.issue("a", &["A.Example", "10.0.0.1", "::1"], Validity::days(30), &usage).unwrap();
    let identity = identity(&keys);
    let facts = identity.facts();
    assert!(facts.server && !facts.client);
    let left = facts.not_after.duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(29 * 86_400) && left <= Duration::from_secs(30 * 86_400));
    let rows = [
        ("a.example", true),
        ("A.EXAMPLE", true),
        ("10.0.0.1", true),
        ("::1", true),
        ("0:0:0:0:0:0:0:1", true),
        ("10.0.0.2", false),
        ("example", false),
        ("b.a.example", false),
        ("", false),
    ];
    for (name, want) in rows {
        assert_eq!(facts.carries(name), want, "{name}");
    }
    assert_eq!(facts.to_string(), "a.example, 10.0.0.1, ::1");
    assert!(Facts::of(b"\x30\x82").is_err() && !carries(&[], "a.example"));
}

#[test]
fn a_wildcard_certificate_is_nobody() {
    let authority = DevAuthority::create().unwrap();
    let keys = authority.site("a", &["*.example"], Validity::days(30)).unwrap();
    assert!(!identity(&keys).facts().carries("a.example"));
}

/// DIM-020, DIM-113: who is believed by a certificate of its own could otherwise make one with any other site's name.
#[test]
fn what_is_trusted_and_no_authority_vouches_for_its_own_names_alone() {
    let pinned = |name: &str| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let (a, b) = (pinned("a.example"), pinned("192.0.2.7"));
    let trust = Trust::from_pem(format!("{}{}", a.pem(), b.pem()).as_bytes()).unwrap();
    assert!(trust.facts().iter().all(|facts| !facts.authority));
    let own = |of: &rcgen::CertifiedIssuer<'static, rcgen::KeyPair>| {
        Identity::from_pem(of.pem().as_bytes(), of.key().serialize_pem().as_bytes()).unwrap()
    };
    let between = |caller: &Identity, called: &Identity, name: &str| {
        let server = server_config(called, &trust, &[]).unwrap();
        handshake(&client_config(caller, &trust).unwrap(), &server, name)
    };
    assert!(between(&own(&b), &own(&a), "a.example").is_ok() && between(&own(&a), &own(&b), "192.0.2.7").is_ok());
    // What these certificates' keys sign besides.
    let rows: [(&rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, &[&str], bool); 7] = [
        (&b, &["192.0.2.7"], true),
        (&b, &["a.example"], false),
        (&b, &["192.0.2.8"], false),
        (&b, &["2001:db8::7"], false),
        (&b, &["192.0.2.7", "a.example"], false),
        (&a, &["b.example"], false),
        (&a, &["192.0.2.7"], false),
    ];
    for (by, names, want) in rows {
        let key = rcgen::KeyPair::generate().unwrap();
        let carried: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::CertificateParams::new(carried).unwrap().signed_by(&key, by).unwrap();
        let made = Identity::from_pem(made.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        assert_eq!(between(&made, &own(&a), "a.example").is_ok(), want, "{names:?} calls");
        assert_eq!(between(&own(&a), &made, names[0]).is_ok(), want, "{names:?} is called");
    }
    // An authority vouches for whom it likes.
    let authority = DevAuthority::create().unwrap();
    assert!(Trust::from_pem(authority.trust().as_bytes()).unwrap().facts()[0].authority);
}
