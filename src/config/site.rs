//! `[site]`, `[dicom]`, `[web]` and `[tls]`: who this site is and the faces that it shows.

use super::raw::{At, Span, Table};
use super::values::{ae_title, boolean, listen, number, path, text};
use crate::dicom::ae_title::AeTitle;
use crate::tls::{Facts, Identity, TlsError, Trust, expiry};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// `[site]`.
#[derive(Debug, Clone)]
pub struct Site {
    /// What people call it; other sites see it.
    pub name: String,
    /// ODS code, the issuer of its local patient identifiers.
    pub ods_code: Option<String>,
    /// What other sites are told that we ask for, where nothing else is said (SEC-023).
    pub purpose: String,
    /// Where records, blobs and the admin socket are; absolute if the path of the file is.
    pub data_dir: PathBuf,
}

/// `[dicom]`: the face towards local nodes.
#[derive(Debug, Clone)]
pub struct Dicom {
    /// Our AE title.
    pub ae_title: AeTitle,
    /// Where plain associations are taken.
    pub listen: Option<SocketAddr>,
    /// Where associations over TLS are taken.
    pub tls_listen: Option<SocketAddr>,
    /// Plain associations on every interface were allowed on purpose (DIM-114).
    pub allow_plain: bool,
    /// The longest P-DATA PDU that we take, in bytes (DIM-008).
    pub max_pdu_length: u32,
    /// Most associations open at once, of all nodes together (DIM-022).
    pub max_associations: usize,
    /// What is held without a value matches a node's query, keys of the patient excepted (DIM-065).
    pub match_unknown: bool,
}

/// `[web]`: the face towards peers.
#[derive(Debug, Clone)]
pub struct Web {
    /// Where DICOMweb over mutual TLS is served.
    pub listen: Option<SocketAddr>,
    /// Most connections open at once.
    pub max_connections: usize,
}

/// `[tls]`: this site's identity, on every TLS face, in both directions.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificate chain and key.
    pub identity: Arc<Identity>,
    /// Who is believed.
    pub trust: Trust,
}

pub(super) fn site(mut table: Table<'_>, base: &Path) -> Site {
    let name = table.required("name", "\"Hampshire\"", text);
    let ods_code = table.optional("ods_code", ods_code);
    let purpose = table.or("purpose", "direct-care".to_owned(), purpose);
    let data_dir = table.or("data_dir", "data".to_owned(), path);
    table.finish();
    Site {
        name: name.map(|at| at.value).unwrap_or_default(),
        ods_code: ods_code.map(|at| at.value),
        purpose,
        data_dir: base.join(data_dir),
    }
}

/// A purpose: a few plain words that may stand in a ledger.
pub(super) fn purpose(value: &toml::de::DeValue<'_>) -> Result<String, String> {
    let words = text(value)?;
    let valid = (1..=64).contains(&words.chars().count()) && !words.chars().any(char::is_control);
    if valid { Ok(words) } else { Err("write a few plain words, such as \"direct-care\"".into()) }
}

fn ods_code(value: &toml::de::DeValue<'_>) -> Result<String, String> {
    let code = text(value)?;
    let valid = (3..=12).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if valid { Ok(code) } else { Err("write 3 to 12 capital letters and digits, such as \"RHM\"".into()) }
}

/// A listening address with the key that sets it, for the checks that compare them.
pub(super) struct Listener {
    pub(super) key: &'static str,
    pub(super) address: At<SocketAddr>,
    pub(super) tls: bool,
}

pub(super) fn dicom(mut table: Table<'_>) -> Option<(Dicom, Vec<Listener>)> {
    let own = table.optional("ae_title", ae_title).map(|at| at.value);
    let plain = table.optional("listen", listen);
    let tls = table.optional("tls_listen", listen);
    let allow_plain = table.or("allow_plain", false, boolean);
    let dicom = Dicom {
        ae_title: own.or_else(|| AeTitle::parse("WEYBRIDGE").ok())?,
        listen: plain.as_ref().map(|at| at.value),
        tls_listen: tls.as_ref().map(|at| at.value),
        allow_plain,
        max_pdu_length: table.or("max_pdu_length", 131_072, number(4_096..=1_048_576)),
        max_associations: table.or("max_associations", 200, number(1..=10_000)),
        match_unknown: table.or("match_unknown", false, boolean),
    };
    if let Some(At { value, span }) = plain.as_ref().filter(|at| at.value.ip().is_unspecified() && !allow_plain) {
        let message = format!("plain DICOM on every interface ({value}) is refused");
        let hint = "name the interface's address, use `tls_listen`, or say allow_plain = true";
        table.mistakes().wrong(Some(span.clone()), message, hint);
    }
    table.finish();
    let plain = plain.map(|address| Listener { key: "`listen` in [dicom]", address, tls: false });
    let tls = tls.map(|address| Listener { key: "`tls_listen` in [dicom]", address, tls: true });
    Some((dicom, plain.into_iter().chain(tls).collect()))
}

pub(super) fn web(mut table: Table<'_>) -> (Web, Vec<Listener>) {
    let address = table.optional("listen", listen);
    let web = Web {
        listen: address.as_ref().map(|at| at.value),
        max_connections: table.or("max_connections", 200, number(1..=10_000)),
    };
    table.finish();
    let listener = address.map(|address| Listener { key: "`listen` in [web]", address, tls: true });
    (web, listener.into_iter().collect())
}

/// The identity of this site, if the file has `[tls]` and its files are good.
pub(super) fn tls(mut table: Table<'_>, base: &Path, now: SystemTime) -> Option<Tls> {
    if !table.present() {
        for key in ["certificate", "key", "trust"] {
            let _ = table.optional(key, path);
        }
        return None;
    }
    let certificate = table.required("certificate", "\"tls/site.crt\"", path);
    let key = table.required("key", "\"tls/site.key\"", path);
    let trust = table.required("trust", "\"tls/trust.pem\"", path);
    let identity = identity(&table, base, certificate, key, now);
    let trust = trust.and_then(|at| match Trust::load(&base.join(&at.value)) {
        Ok(trust) => {
            trust.facts().iter().for_each(|facts| ending(&table, &at.span, "this authority", facts, now));
            Some(trust)
        }
        Err(error) => {
            table.mistakes().wrong(Some(at.span), "`trust` in [tls] cannot be used", error.to_string());
            None
        }
    });
    if let Some((identity, span)) = &identity {
        let facts = identity.facts();
        if facts.names.is_empty() {
            let message = "the certificate has no subject alternative name (DNS name, IP address or URI)";
            let hint = "every Weybridge peer refuses this site; ask for a certificate that carries its DNS name";
            table.mistakes().warn(Some(span.clone()), message, hint);
        }
        for (good, of) in [(facts.server, "server"), (facts.client, "client")] {
            if !good {
                let message = format!("the certificate may not identify a {of} (extended key usage)");
                let hint = format!("other sites will refuse this site as {of}; ask for a certificate with both usages");
                table.mistakes().warn(Some(span.clone()), message, hint);
            }
        }
    }
    table.finish();
    Some(Tls { identity: Arc::new(identity?.0), trust: trust? })
}

/// Loads a certificate with its key, and warns of what will not last or is readable by everybody.
pub(super) fn identity(
    table: &Table<'_>,
    base: &Path,
    certificate: Option<At<String>>,
    key: Option<At<String>>,
    now: SystemTime,
) -> Option<(Identity, Span)> {
    let (certificate, key) = (certificate?, key?);
    let key_path = base.join(&key.value);
    match Identity::load(&base.join(&certificate.value), &key_path) {
        Ok(identity) => {
            ending(table, &certificate.span, "this certificate", identity.facts(), now);
            let above = identity.above().iter();
            above.for_each(|facts| ending(table, &certificate.span, "the authority in this file", facts, now));
            warn_if_exposed(table, &key_path, &key.span);
            Some((identity, certificate.span))
        }
        Err(error) => {
            // The key's own faults are shown at the key, everything else at the certificate.
            let at_key = match &error {
                TlsError::Key(_) | TlsError::KeyMismatch => true,
                TlsError::File { path, .. } => *path == key_path,
                TlsError::Certificate(_) | TlsError::Setup(_) => false,
            };
            let (span, which) = if at_key { (key.span, "key") } else { (certificate.span, "certificate") };
            table.mistakes().wrong(Some(span), format!("the {which} cannot be used"), error.to_string());
            None
        }
    }
}

/// Warns from 30 days before the end (DIM-113). An ended certificate is no mistake: nodes without TLS must go on.
fn ending(table: &Table<'_>, span: &Span, what: &str, facts: &Facts, now: SystemTime) {
    if let Some(message) = expiry::words(what, facts, now) {
        table.mistakes().warn(Some(span.clone()), message, expiry::REPLACE);
    }
}

/// Warns if others than owner and group can read a file, or the group can write it.
pub(super) fn warn_if_exposed(table: &Table<'_>, path: &Path, span: &Span) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o027 != 0) {
        let message = format!("other users of this machine can read {}", path.display());
        table.mistakes().warn(Some(span.clone()), message, "chmod 600 (SEC-020)");
    }
}
