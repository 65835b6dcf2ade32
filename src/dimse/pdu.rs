//! The association PDUs: A-ASSOCIATE-RQ, -AC and -RJ, A-RELEASE, A-ABORT, on bounded buffers (PS3.8 section 9.3). No
//! I/O.
//!
//! dicom-ul codes the two large ones. Before it reads, [`tidy`] has checked every length and left out what PS3.8
//! section 9.3.1 says to ignore; the four-byte ones are read here, so that reserved codes of a peer do no harm.

mod tidy;

use super::pdata::Violation;
use super::presentation::Rejection;
use dicom_ul::pdu::{AbortRQServiceProviderReason, AbortRQSource, AssociationAC, AssociationRQ, Pdu};
use dicom_ul::pdu::{AssociationRJ, AssociationRJResult, AssociationRJSource};
use dicom_ul::pdu::{MAXIMUM_PDU_SIZE, read_pdu, write_pdu};

/// A-ASSOCIATE-RQ.
pub const A_ASSOCIATE_RQ: u8 = 0x01;
/// A-ASSOCIATE-AC.
pub const A_ASSOCIATE_AC: u8 = 0x02;
/// A-ASSOCIATE-RJ.
pub const A_ASSOCIATE_RJ: u8 = 0x03;
/// A-RELEASE-RQ.
pub const A_RELEASE_RQ: u8 = 0x05;
/// A-RELEASE-RP.
pub const A_RELEASE_RP: u8 = 0x06;
/// A-ABORT.
pub const A_ABORT: u8 = 0x07;

/// The longest A-ASSOCIATE-RQ or -AC that is taken: 128 contexts with 20 transfer syntaxes each have some 70 KiB.
pub const MAX_ASSOCIATE_BYTES: u32 = 256 * 1024;
/// The longest of the other association PDUs that is taken; the standard gives them four bytes.
pub const MAX_SHORT_BYTES: u32 = 64;

/// The longest body that a PDU of this type may have; checked on the header, before anything is allocated.
pub const fn longest_body(kind: u8) -> u32 {
    match kind {
        A_ASSOCIATE_RQ | A_ASSOCIATE_AC => MAX_ASSOCIATE_BYTES,
        _ => MAX_SHORT_BYTES,
    }
}

/// Reads the body of an A-ASSOCIATE-RQ (PS3.8 section 9.3.2).
pub fn read_request(body: &[u8]) -> Result<AssociationRQ, Violation> {
    match read(A_ASSOCIATE_RQ, body)? {
        Pdu::AssociationRQ(request) => Ok(request),
        _ => Err(Violation::MalformedPdu("not an association request")),
    }
}

/// Reads the body of an A-ASSOCIATE-AC (PS3.8 section 9.3.3).
pub fn read_accept(body: &[u8]) -> Result<AssociationAC, Violation> {
    match read(A_ASSOCIATE_AC, body)? {
        Pdu::AssociationAC(accept) => Ok(accept),
        _ => Err(Violation::MalformedPdu("not an association acceptance")),
    }
}

fn read(kind: u8, body: &[u8]) -> Result<Pdu, Violation> {
    let whole = tidy::tidy(kind, body)?;
    let pdu = read_pdu(&whole[..], MAXIMUM_PDU_SIZE, false);
    pdu.ok().flatten().ok_or(Violation::MalformedPdu("an item that must be there is missing"))
}

/// Reads the body of an A-ASSOCIATE-RJ: result, source, reason; any codes, and zeros where it is too short: a
/// rejection all
/// the same (PS3.8 section 9.3.4).
pub fn read_reject(body: &[u8]) -> (u8, u8, u8) {
    match body {
        [_, result, source, reason, ..] => (*result, *source, *reason),
        _ => (0, 0, 0),
    }
}

/// Reads the body of an A-ABORT: source and reason; one that is too short is an abort all the same (PS3.8 section
/// 9.3.8).
pub fn read_abort(body: &[u8]) -> (u8, u8) {
    match body {
        [_, _, source, reason, ..] => (*source, *reason),
        _ => (0, 0),
    }
}

/// Writes an A-ASSOCIATE-RQ. Errors if a text does not fit its field.
pub fn write_request(request: AssociationRQ) -> Result<Vec<u8>, Violation> {
    write(&Pdu::AssociationRQ(request))
}

/// Writes an A-ASSOCIATE-AC. Errors if a text does not fit its field.
pub fn write_accept(accept: AssociationAC) -> Result<Vec<u8>, Violation> {
    write(&Pdu::AssociationAC(accept))
}

/// Writes an A-ASSOCIATE-RJ.
pub fn write_reject(rejection: Rejection) -> Result<Vec<u8>, Violation> {
    use dicom_ul::pdu::AssociationRJServiceProviderASCEReason as Acse;
    use dicom_ul::pdu::AssociationRJServiceProviderPresentationReason as Presentation;
    use dicom_ul::pdu::AssociationRJServiceUserReason as User;
    let source = match rejection {
        Rejection::NoReason => AssociationRJSource::ServiceUser(User::NoReasonGiven),
        Rejection::ApplicationContextNotSupported => {
            AssociationRJSource::ServiceUser(User::ApplicationContextNameNotSupported)
        }
        Rejection::CallingNotRecognised => AssociationRJSource::ServiceUser(User::CallingAETitleNotRecognized),
        Rejection::CalledNotRecognised => AssociationRJSource::ServiceUser(User::CalledAETitleNotRecognized),
        Rejection::IdentityRefused => AssociationRJSource::ServiceProviderASCE(Acse::NoReasonGiven),
        Rejection::ProtocolVersionNotSupported => {
            AssociationRJSource::ServiceProviderASCE(Acse::ProtocolVersionNotSupported)
        }
        Rejection::TemporaryCongestion => {
            AssociationRJSource::ServiceProviderPresentation(Presentation::TemporaryCongestion)
        }
        Rejection::LocalLimitExceeded => {
            AssociationRJSource::ServiceProviderPresentation(Presentation::LocalLimitExceeded)
        }
    };
    let result = match rejection.codes().0 {
        1 => AssociationRJResult::Permanent,
        _ => AssociationRJResult::Transient,
    };
    write(&Pdu::AssociationRJ(AssociationRJ { result, source }))
}

/// Writes an A-ABORT with this source and reason (PS3.8 section 9.3.8).
pub fn write_abort(codes: (u8, u8)) -> Result<Vec<u8>, Violation> {
    use AbortRQServiceProviderReason as Reason;
    let provider = AbortRQSource::ServiceProvider;
    let source = match codes {
        (2, 1) => provider(Reason::UnrecognizedPdu),
        (2, 2) => provider(Reason::UnexpectedPdu),
        (2, 4) => provider(Reason::UnrecognizedPduParameter),
        (2, 5) => provider(Reason::UnexpectedPduParameter),
        (2, 6) => provider(Reason::InvalidPduParameter),
        (2, _) => provider(Reason::ReasonNotSpecified),
        _ => AbortRQSource::ServiceUser,
    };
    write(&Pdu::AbortRQ { source })
}

/// Writes an A-RELEASE-RQ.
pub fn write_release_request() -> Result<Vec<u8>, Violation> {
    write(&Pdu::ReleaseRQ)
}

/// Writes an A-RELEASE-RP.
pub fn write_release_reply() -> Result<Vec<u8>, Violation> {
    write(&Pdu::ReleaseRP)
}

fn write(pdu: &Pdu) -> Result<Vec<u8>, Violation> {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).map_err(|_| Violation::MalformedPdu("a value does not fit its field"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
