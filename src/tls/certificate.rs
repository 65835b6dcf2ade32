//! What a certificate says: its names, its time, what its key may be used for.

use super::TlsError;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

/// One subject alternative name (RFC 5280 section 4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A DNS name, in lower case.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI, as written.
    Uri(String),
}

/// The parts of a certificate that decide what it is good for.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The subject, for people.
    pub subject: String,
    /// Its subject alternative names of the kinds that we know.
    pub names: Vec<Name>,
    /// When its time begins.
    pub not_before: SystemTime,
    /// When its time ends.
    pub not_after: SystemTime,
    /// It may identify a server: no extended key usage, or one that says so (RFC 5280 section 4.2.1.12).
    pub server: bool,
    /// It may identify a client.
    pub client: bool,
    /// It may vouch for other certificates, by its basic constraints (RFC 5280 section 4.2.1.9).
    pub authority: bool,
}

impl Facts {
    /// Reads a certificate in DER form. Fails if it is none; never panics, whatever the bytes.
    pub fn of(der: &[u8]) -> Result<Self, TlsError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| TlsError::Certificate(e.to_string()))?;
        let usage = certificate.extended_key_usage().map_err(|e| TlsError::Certificate(e.to_string()))?;
        let usage = usage.map(|extension| extension.value);
        let basic = certificate.basic_constraints().map_err(|e| TlsError::Certificate(e.to_string()))?;
        Ok(Self {
            subject: certificate.subject().to_string(),
            names: names(&certificate)?,
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
            server: usage.is_none_or(|usage| usage.any || usage.server_auth),
            client: usage.is_none_or(|usage| usage.any || usage.client_auth),
            authority: basic.is_some_and(|extension| extension.value.ca),
        })
    }

    /// Tells whether the certificate carries this name: an IP address by value, a DNS name without regard to case, a URI
    /// to the letter. A wildcard in a certificate is not a name of anybody (DIM-020).
    pub fn carries(&self, identity: &str) -> bool {
        let address: Option<IpAddr> = identity.parse().ok();
        self.names.iter().any(|name| match name {
            Name::Dns(dns) => address.is_none() && dns.eq_ignore_ascii_case(identity.trim_end_matches('.')),
            Name::Ip(ip) => address == Some(*ip),
            Name::Uri(uri) => uri == identity,
        })
    }
}

/// Most names that are told of one certificate.
const NAMES_TOLD: usize = 5;

impl std::fmt::Display for Facts {
    /// The names that it carries, for people: `gateway.example, 192.0.2.7`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = |name: &Name| match name {
            Name::Dns(text) | Name::Uri(text) => text.escape_default().take(256).collect(),
            Name::Ip(address) => address.to_string(),
        };
        let names: Vec<String> = self.names.iter().take(NAMES_TOLD).map(told).collect();
        match (names.is_empty(), self.names.len() > NAMES_TOLD) {
            (true, _) => f.write_str("no name at all (subject alternative names count, nothing else)"),
            (false, false) => f.write_str(&names.join(", ")),
            (false, true) => write!(f, "{} and others", names.join(", ")),
        }
    }
}

/// Tells whether a certificate in DER form carries a name; a certificate that cannot be read carries none.
pub fn carries(der: &[u8], identity: &str) -> bool {
    Facts::of(der).is_ok_and(|facts| facts.carries(identity))
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Name>, TlsError> {
    let extension = certificate.subject_alternative_name().map_err(|e| TlsError::Certificate(e.to_string()))?;
    let names = extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default();
    Ok(names.iter().filter_map(name).collect())
}

fn name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(dns) => Some(Name::Dns(dns.trim_end_matches('.').to_ascii_lowercase())),
        GeneralName::URI(uri) => Some(Name::Uri((*uri).to_owned())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(Name::Ip)
        }
        _ => None,
    }
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let moment = if time.timestamp() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}
