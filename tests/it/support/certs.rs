//! A small certificate authority for one test: site identities, expired ones, and those of a stranger.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::path::{Path, PathBuf};

/// Where a certificate, its key and the authority's own certificate lie.
#[derive(Clone)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub trust: PathBuf,
}

pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    name: String,
}

impl Authority {
    /// Makes an authority whose files lie in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join(format!("{name}-ca.pem")), issuer.pem()).unwrap();
        Self { folder: folder.to_owned(), issuer, name: name.to_owned() }
    }

    /// The file with the authority's own certificate.
    pub fn trust(&self) -> PathBuf {
        self.folder.join(format!("{}-ca.pem", self.name))
    }

    /// An identity valid today, made once; it carries `name`, `localhost` and 127.0.0.1.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_until(name, name, 2096)
    }

    /// An identity valid today that carries several names beside the first, which its files have.
    pub fn issue_also(&self, name: &str, others: &[String]) -> Identity {
        self.issue_with(name, &format!("{name}-and-others"), |params| {
            let others = others.iter().map(|other| SanType::DnsName(other.as_str().try_into().unwrap()));
            params.subject_alt_names.extend(others);
        })
    }

    /// An identity that ran out years ago.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_until(name, &format!("{name}-expired"), 2021)
    }

    /// An identity that runs out in so many days.
    pub fn issue_for_days(&self, name: &str, days: u64) -> Identity {
        let end = std::time::SystemTime::now() + std::time::Duration::from_secs(days * 86_400);
        self.issue_with(name, &format!("{name}-{days}-days"), |params| params.not_after = end.into())
    }

    fn issue_until(&self, name: &str, file: &str, year: i32) -> Identity {
        self.issue_with(name, file, |params| params.not_after = date_time_ymd(year, 1, 1))
    }

    fn issue_with(&self, name: &str, file: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let identity = Identity {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
            trust: self.trust(),
        };
        if identity.certificate.exists() {
            return identity;
        }
        let names = vec![name.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(&identity.certificate, certificate.pem()).unwrap();
        std::fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }
}
