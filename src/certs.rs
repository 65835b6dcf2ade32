//! A small certificate authority for trying things out: `init --dev-certs`, the demo, the tests. Not for patients.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Why keys cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The library refuses, in its own words.
    #[error("keys cannot be made: {0}")]
    Made(#[from] rcgen::Error),
    /// A name is neither a DNS name nor an IP address.
    #[error("`{0}` can stand in no certificate")]
    Name(String),
}

/// From when until when a certificate is good.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// Not before.
    pub from: SystemTime,
    /// Not after.
    pub until: SystemTime,
}

impl Validity {
    /// From an hour ago, for clocks that differ, for so many days from now.
    pub fn days(days: u32) -> Self {
        let now = SystemTime::now();
        Self { from: now - Duration::from_secs(3600), until: now + Duration::from_secs(u64::from(days) * 86_400) }
    }

    /// Ended yesterday.
    pub fn expired() -> Self {
        let day = Duration::from_secs(86_400);
        let now = SystemTime::now();
        Self { from: now - day * 30, until: now - day }
    }
}

/// A site's key and certificate in PEM form.
#[derive(Clone)]
pub struct SiteKeys {
    /// The certificate.
    pub certificate: String,
    /// The private key; write it with mode 0600.
    pub key: String,
}

/// An authority whose key lives in memory only, so that nothing can be issued later.
pub struct DevAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl DevAuthority {
    /// A new authority, good for ten years.
    pub fn create() -> Result<Self, CertsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Weybridge development authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set(&mut params, Validity::days(3650));
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// The authority's certificate, in PEM form: what the sites' `trust` holds.
    pub fn trust(&self) -> String {
        self.issuer.pem()
    }

    /// Keys for a site: `names` are the DNS names and IP addresses that the certificate carries. It may serve and call.
    pub fn site(&self, name: &str, names: &[&str], validity: Validity) -> Result<SiteKeys, CertsError> {
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, names, validity, &usages)
    }

    /// The same with extended key usages of choice.
    pub fn issue(
        &self,
        name: &str,
        names: &[&str],
        validity: Validity,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Result<SiteKeys, CertsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        set(&mut params, validity);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(SiteKeys { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn alternative(name: &str) -> Result<SanType, CertsError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => name.try_into().map(SanType::DnsName).map_err(|_| CertsError::Name(name.to_owned())),
    }
}

fn set(params: &mut CertificateParams, validity: Validity) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + since(validity.from);
    params.not_after = epoch + since(validity.until);
}
