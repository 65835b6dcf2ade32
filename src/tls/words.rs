//! What a failed handshake means, for the administrator of either side.

use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error, InvalidMessage};

/// What went wrong and where to look, with the library's own words after it. `the other side` is whoever called, or was called.
pub fn words(error: &Error) -> String {
    let meant = match error {
        Error::NoCertificatesPresented => "the other side showed no certificate",
        Error::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer | Certificate::BadSignature => {
                "no authority in `trust` vouches for the other side's certificate, or it did not show those in between"
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "the other side's certificate has expired, or the clock here is wrong"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "the other side's certificate is not valid yet, or the clock here is wrong"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the other side's certificate does not carry the configured `identity`"
            }
            Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
                "the other side's certificate is for another use, by its extended key usage"
            }
            _ => return error.to_string(),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "the other side does not speak TLS on this port",
        Error::PeerIncompatible(_)
        | Error::AlertReceived(Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity) => {
            "the other side has no version and suite in common with us: TLS 1.2 or 1.3, ECDHE, AES-GCM or ChaCha20"
        }
        Error::AlertReceived(Alert::UnknownCA) => {
            "the other side does not believe our certificate: it does not know the authority that vouches for it"
        }
        Error::AlertReceived(Alert::CertificateRequired | Alert::NoCertificate) => "the other side wants a certificate",
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError,
        ) => "the other side refuses our certificate",
        _ => return error.to_string(),
    };
    format!("{meant} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UIX-06: what the library says is told in words that name whose certificate it is, and kept behind them.
    #[test]
    fn what_failed_is_told_in_words() {
        let rows = [
            (Error::NoCertificatesPresented, "showed no certificate"),
            (Error::InvalidCertificate(Certificate::UnknownIssuer), "no authority in `trust`"),
            (Error::InvalidCertificate(Certificate::Expired), "has expired"),
            (Error::InvalidCertificate(Certificate::NotValidYet), "not valid yet"),
            (Error::InvalidCertificate(Certificate::NotValidForName), "the configured `identity`"),
            (Error::InvalidCertificate(Certificate::InvalidPurpose), "extended key usage"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "does not speak TLS"),
            (Error::AlertReceived(Alert::HandshakeFailure), "in common"),
            (Error::AlertReceived(Alert::UnknownCA), "does not believe our certificate"),
            (Error::AlertReceived(Alert::CertificateRequired), "wants a certificate"),
            (Error::AlertReceived(Alert::CertificateExpired), "refuses our certificate"),
        ];
        for (error, want) in rows {
            let told = words(&error);
            assert!(told.contains(want) && told.ends_with(&format!("({error})")), "{told}");
        }
        // What nobody has words for is told as it is.
        let other = Error::AlertReceived(Alert::CloseNotify);
        assert_eq!(words(&other), other.to_string());
    }
}
