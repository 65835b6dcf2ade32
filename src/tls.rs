//! TLS on every face, in both directions: who we are, whom we believe, and the rustls configurations made of that.
//!
//! TLS 1.2 is required on both sides and 1.3 preferred (PS3.15 section B.12, BCP 195; DIM-110); suites with finite-field
//! Diffie-Hellman do not exist in rustls (DIM-111). Both sides always show a certificate (DIM-113).

mod certificate;
pub mod expiry;
mod pinned;
#[cfg(test)]
mod tests;
mod words;

pub use certificate::{Facts, Name, carries};
pub use words::words;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest PEM file that is read, in bytes; a bundle of every public authority has a quarter of a megabyte.
const LARGEST_FILE: u64 = 4 << 20;

static VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Why keys or certificates cannot be used; the text is for the administrator and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// A file holds no certificate in PEM form, or a broken one.
    #[error("no usable certificate: {0}")]
    Certificate(String),
    /// A file holds no private key in PEM form, or one that cannot be used.
    #[error("no usable private key: {0}")]
    Key(String),
    /// The private key belongs to another certificate.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// rustls refuses to build a configuration of the parts.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The cryptography that every face uses.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A certificate chain, leaf first, with its private key. `Debug` shows the leaf's subject only.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    facts: Facts,
    above: Vec<Facts>,
}

impl Identity {
    /// Reads both PEM files and checks that the key belongs to the certificate. Files above 4 MiB are refused.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::from_pem(&read(certificate)?, &read(key)?)
    }

    /// The same from PEM texts.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let facts = chain.first().map(|leaf| Facts::of(leaf)).transpose()?;
        let facts = facts.ok_or_else(|| TlsError::Certificate("the file holds none".into()))?;
        if is_encrypted(key) {
            return Err(TlsError::Key(ENCRYPTED.into()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| TlsError::Key(e.to_string()))?;
        // What stands above the leaf and cannot be read is for the other side to judge.
        let above = chain.iter().skip(1).filter_map(|certificate| Facts::of(certificate).ok()).collect();
        match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider()) {
            Ok(_) => Ok(Self { chain, key, facts, above }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::KeyMismatch),
            Err(error) => Err(TlsError::Key(error.to_string())),
        }
    }

    /// The chain as it is shown to the other side, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the private key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// What the leaf certificate says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the certificates above the leaf say, in the order of the file, as far as they can be read.
    pub fn above(&self) -> &[Facts] {
        &self.above
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.facts.subject)
    }
}

const ENCRYPTED: &str =
    "the key is encrypted; write it without a passphrase (openssl pkey -in KEY -out NEW), for this user only";

/// Whether a PEM file says that its key is encrypted, in the form of PKCS #8 or that of OpenSSL before it.
fn is_encrypted(pem: &[u8]) -> bool {
    let mut lines = pem.split(|byte| *byte == b'\n');
    lines.any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED")
            || (line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED"))
            || (line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED\r"))
    })
}

/// The authorities that are believed. `Debug` shows how many.
#[derive(Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    facts: Vec<Facts>,
}

impl Trust {
    /// Reads a PEM file of one or more certificates. A file above 4 MiB is refused. An authority vouches for any name; what is none,
    /// as the self-signed certificate of another site, vouches for its own names alone.
    pub fn load(path: &Path) -> Result<Self, TlsError> {
        Self::from_pem(&read(path)?)
    }

    /// The same from a PEM text.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut facts = Vec::new();
        for certificate in certificates(pem)? {
            let said = Facts::of(&certificate)?;
            roots.add(certificate).map_err(|e| TlsError::Certificate(e.to_string()))?;
            if let Some(anchor) = roots.roots.last_mut() {
                pinned::restrict(anchor, &said);
            }
            facts.push(said);
        }
        Ok(Self { roots: Arc::new(roots), facts })
    }

    /// The authorities as rustls wants them.
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// What each authority's certificate says.
    pub fn facts(&self) -> &[Facts] {
        &self.facts
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities)", self.facts.len())
    }
}

/// The configuration of a listening face: whoever connects must show a certificate that `trust` vouches for. Who it may
/// be is decided afterwards, by name (DIM-020).
///
/// `protocols` are offered by ALPN in this order; empty for DIMSE.
pub fn server_config(identity: &Identity, trust: &Trust, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(trust.roots(), provider()).build().map_err(setup)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(setup)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key())
        .map_err(setup)?;
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    // No resumption: a resumed session would not be held against the trust that is in force now (FLT-046).
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// The configuration of a calling face: the other side must show a certificate that `trust` vouches for and that carries
/// the name it is called by; we show `identity`.
pub fn client_config(identity: &Identity, trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(setup)?
        .with_root_certificates(trust.roots())
        .with_client_auth_cert(identity.chain.clone(), identity.key())
        .map_err(setup)?;
    // A resumed session would not look at the other side's certificate again (FLT-046).
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn setup(error: impl fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|e| TlsError::Certificate(e.to_string()))?;
    if chain.is_empty() { Err(TlsError::Certificate("the file holds none".into())) } else { Ok(chain) }
}

/// Reads a regular file up to [`LARGEST_FILE`]; anything else is refused unread.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fail = |why: String| TlsError::File { path: path.to_owned(), why };
    let metadata = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?;
    if !metadata.is_file() {
        return Err(fail("not a file".into()));
    }
    let file = std::fs::File::open(path).map_err(|e| fail(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE { Err(fail("the file is larger than 4 MiB".into())) } else { Ok(bytes) }
}
