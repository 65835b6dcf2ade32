//! TLS towards a peer: its certificate must chain to our roots and carry the configured identity, whatever the URL's host is.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::error::Error;
use std::sync::Arc;

/// A certificate chain, leaf first, with its private key.
pub type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Why a TLS handshake failed (FLT-046, FLT-047).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsReason {
    /// The peer's certificate has expired by our clock.
    Expired,
    /// The peer's certificate is not yet valid by our clock.
    NotYetValid,
    /// The peer's certificate does not carry the configured identity.
    WrongName,
    /// The peer's certificate does not chain to a certificate that we trust.
    UnknownCa,
    /// The peer refuses our certificate, or wants one.
    OursRefused,
    /// Anything else: protocol versions, signatures, the connection lost during the handshake.
    Other,
}

/// A verifier that checks the chain against the roots and the names in the certificate against one identity.
#[derive(Debug)]
pub struct PinnedIdentity {
    chain: Arc<WebPkiServerVerifier>,
    identity: ServerName<'static>,
}

impl PinnedIdentity {
    /// A verifier for one identity: a DNS name or an IP address among the subject alternative names.
    ///
    /// Errors: the identity is neither, or there are no roots.
    pub fn new(roots: Arc<RootCertStore>, identity: &str) -> Result<Self, TlsSetupError> {
        let name = ServerName::try_from(identity.to_owned()).map_err(|_| TlsSetupError::Identity(identity.into()))?;
        let chain = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        Ok(Self { chain: chain.map_err(|error| TlsSetupError::Roots(error.to_string()))?, identity: name })
    }
}

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The identity is no name that a certificate can carry.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Identity(String),
    /// No usable roots.
    #[error("the trusted certificates cannot be used: {0}")]
    Roots(String),
    /// Certificate and key do not fit, or the key is of an unknown kind.
    #[error("our certificate or key cannot be used: {0}")]
    Ours(rustls::Error),
    /// The provider lacks the protocol versions.
    #[error("TLS cannot be set up: {0}")]
    Protocol(rustls::Error),
}

impl ServerCertVerifier for PinnedIdentity {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _url_host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.chain.verify_server_cert(end_entity, intermediates, &self.identity, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The client side of a connection to one peer: TLS 1.2 and 1.3, HTTP/1.1 only, our certificate if we have one.
pub fn client_config(
    roots: Arc<RootCertStore>,
    identity: &str,
    ours: Option<&Certified>,
) -> Result<ClientConfig, TlsSetupError> {
    let verifier = PinnedIdentity::new(roots, identity)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Protocol)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match ours {
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(TlsSetupError::Ours)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would skip the certificate: it may have expired since (FLT-046).
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The TLS error in an error's chain of causes, if there is one.
pub fn in_chain<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // An I/O error's source is that of the error it wraps, so the wrapped one must be asked for.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What a TLS error means.
pub fn reason(error: &rustls::Error) -> TlsReason {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsReason::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsReason::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsReason::WrongName,
            // A bad signature is what another authority of the same name leads to.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsReason::UnknownCa,
            _ => TlsReason::Other,
        },
        rustls::Error::AlertReceived(alert) if is_refusal(*alert) => TlsReason::OursRefused,
        _ => TlsReason::Other,
    }
}

/// Alerts by which a server ends the handshake because of our certificate (RFC 8446 section 6.2).
///
/// With TLS 1.3 they come after our side has finished and begun to send: no request was read by then.
/// None of them can come later; what goes wrong with a record says so by another alert.
fn is_refusal(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}
