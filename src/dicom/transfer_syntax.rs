//! Transfer syntaxes: how each encodes a data set, and where it may travel.

use super::uid::TransferSyntaxUid;
use ::dicom::encoding::transfer_syntax::TransferSyntaxIndex;
use ::dicom::transfer_syntax::TransferSyntaxRegistry;

/// Implicit VR Little Endian, the default of DIMSE (PS3.5 section A.1).
pub const IMPLICIT_VR_LE: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian, the default of DICOMweb (PS3.5 section A.2).
pub const EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1";
/// Deflated Explicit VR Little Endian (PS3.5 section A.5).
pub const DEFLATED_EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1.99";
/// Explicit VR Big Endian (retired; PS3.5 2016b section A.3).
pub const EXPLICIT_VR_BE: &str = "1.2.840.10008.1.2.2";
/// JPIP Referenced Deflate (PS3.5 section A.7).
pub const JPIP_REFERENCED_DEFLATE: &str = "1.2.840.10008.1.2.4.95";
/// JPIP HTJ2K Referenced Deflate (PS3.5 section A.12).
pub const JPIP_HTJ2K_REFERENCED_DEFLATE: &str = "1.2.840.10008.1.2.4.205";
/// Papyrus 3 Implicit VR Little Endian (retired; PS3.6 table A-1).
pub const PAPYRUS_3_IMPLICIT_VR_LE: &str = "1.2.840.10008.1.20";
/// A private syntax of GE: an Implicit VR Little Endian data set whose Pixel Data alone is big endian.
pub const GE_PRIVATE_IMPLICIT_VR: &str = "1.2.840.113619.5.2";

/// How a transfer syntax writes a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Implicit VR, little endian.
    ImplicitLittle,
    /// Explicit VR, little endian, native pixel data.
    ExplicitLittle,
    /// Explicit VR, big endian.
    ExplicitBig,
    /// Explicit VR, little endian, the whole data set deflated (RFC 1951).
    DeflatedExplicitLittle,
    /// Explicit VR, little endian, pixel data in fragments (PS3.5 section A.4).
    EncapsulatedExplicitLittle,
}

/// The encoding of a transfer syntax. One that is not known counts as encapsulated, which every compressed syntax is,
/// standard or private (PS3.5 section A.4); our readers take native and encapsulated pixel data in either.
pub fn encoding(ts: &TransferSyntaxUid) -> Encoding {
    match ts.as_str() {
        IMPLICIT_VR_LE | GE_PRIVATE_IMPLICIT_VR | PAPYRUS_3_IMPLICIT_VR_LE => Encoding::ImplicitLittle,
        EXPLICIT_VR_LE => Encoding::ExplicitLittle,
        EXPLICIT_VR_BE => Encoding::ExplicitBig,
        DEFLATED_EXPLICIT_VR_LE | JPIP_REFERENCED_DEFLATE | JPIP_HTJ2K_REFERENCED_DEFLATE => {
            Encoding::DeflatedExplicitLittle
        }
        _ => Encoding::EncapsulatedExplicitLittle,
    }
}

/// The name of a transfer syntax, for people; `None` if the registry does not know it.
pub fn name(uid: &str) -> Option<&'static str> {
    match uid {
        GE_PRIVATE_IMPLICIT_VR => Some("GE Private Implicit VR Big Endian"),
        _ => TransferSyntaxRegistry.get(uid).map(|ts| ts.name()),
    }
}

/// Tells whether instances may travel by DICOMweb in this transfer syntax: neither implicit VR nor big endian may
/// (WEB-001; PS3.18 section 8.7.3). What may not is re-encoded by [`super::transcode`].
pub fn allowed_on_the_web(ts: &TransferSyntaxUid) -> bool {
    !matches!(encoding(ts), Encoding::ImplicitLittle | Encoding::ExplicitBig)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_syntax_has_its_encoding_name_and_place() {
        let rows = [
            (IMPLICIT_VR_LE, Encoding::ImplicitLittle, Some("Implicit VR Little Endian"), false),
            (EXPLICIT_VR_LE, Encoding::ExplicitLittle, Some("Explicit VR Little Endian"), true),
            (EXPLICIT_VR_BE, Encoding::ExplicitBig, Some("Explicit VR Big Endian"), false),
            (
                DEFLATED_EXPLICIT_VR_LE,
                Encoding::DeflatedExplicitLittle,
                Some("Deflated Explicit VR Little Endian"),
                true,
            ),
            (GE_PRIVATE_IMPLICIT_VR, Encoding::ImplicitLittle, Some("GE Private Implicit VR Big Endian"), false),
            ("1.2.840.10008.1.2.4.70", Encoding::EncapsulatedExplicitLittle, None, true),
            ("1.2.840.10008.1.2.5", Encoding::EncapsulatedExplicitLittle, Some("RLE Lossless"), true),
            ("1.2.3.4", Encoding::EncapsulatedExplicitLittle, None, true),
        ];
        for (uid, want, called, web) in rows {
            let ts = TransferSyntaxUid::parse(uid).unwrap();
            assert_eq!((encoding(&ts), allowed_on_the_web(&ts)), (want, web), "{uid}");
            if called.is_some() {
                assert_eq!(name(uid), called, "{uid}");
            }
        }
        assert!(name("1.2.840.10008.1.2.4.70").is_some_and(|name| name.contains("JPEG")));
        assert_eq!(name("1.2.3.4"), None);
    }
}
