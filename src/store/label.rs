//! The label that ends each blob on disk and says what it is, so that the catalogue can be rebuilt from blobs alone.

use super::{Digest, Place};
use crate::dicom::uid::TransferSyntaxUid;
use sha2::Digest as _;

/// Bytes of an encoded label.
pub(super) const LABEL: usize = 256;

const MAGIC: &[u8; 16] = b"WEYBRIDGE BLOB\r\n";
const VERSION: u8 = 1;
/// Where the identity of the store stands.
const STORE: usize = CHECK - 16;
/// Where the check stands: it covers everything before it.
const CHECK: usize = LABEL - 32;

/// What stands in the last 256 bytes of the last page of a blob.
///
/// It lies behind the data because it holds the digest, which is known last; and at the end of a page, so that a walk
/// over the pages of a segment finds every one. It bears the store's random identity, which no outsider sees: a label
/// that a sender hides in an object of his does not pass as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    /// Where the blob lies; a label that says otherwise was copied.
    pub(super) place: Place,
    /// SHA-256 of the data set.
    pub(super) digest: Digest,
    /// The transfer syntax in which the data set is encoded.
    pub(super) transfer_syntax: TransferSyntaxUid,
}

impl Label {
    /// The 256 bytes.
    pub(super) fn encode(&self, store: &[u8; 16]) -> [u8; LABEL] {
        let mut out = Vec::with_capacity(LABEL);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.push(u8::from(self.place.shared));
        for number in [self.place.file, self.place.offset, self.place.length] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.digest.0);
        let syntax = self.transfer_syntax.as_str().as_bytes();
        // A UID has at most 64 characters (PS3.5 section 9.1).
        out.push(u8::try_from(syntax.len()).unwrap_or(0));
        out.extend_from_slice(syntax);
        out.resize(STORE, 0);
        out.extend_from_slice(store);
        out.resize(CHECK, 0);
        let check = checksum(&out);
        out.extend_from_slice(&check);
        let mut label = [0; LABEL];
        label.copy_from_slice(&out);
        label
    }

    /// The store that a label names, whatever store that is; `None` if the bytes are no label.
    pub(super) fn names_store(bytes: &[u8]) -> Option<[u8; 16]> {
        let store: [u8; 16] = bytes.get(STORE..CHECK)?.try_into().ok()?;
        Self::decode(bytes, &store).map(|_| store)
    }

    /// Reads a label back; `None` if the bytes are not a label of this store.
    pub(super) fn decode(bytes: &[u8], store: &[u8; 16]) -> Option<Self> {
        let bytes: &[u8; LABEL] = bytes.try_into().ok()?;
        if !bytes.starts_with(MAGIC)
            || bytes[16] != VERSION
            || bytes[STORE..CHECK] != *store
            || bytes[CHECK..] != checksum(&bytes[..CHECK])
        {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let place = Place { file: number(18)?, shared: bytes[17] == 1, offset: number(26)?, length: number(34)? };
        let digest = Digest(bytes.get(42..74)?.try_into().ok()?);
        let syntax = bytes.get(75..75 + usize::from(bytes[74]))?;
        Some(Self { place, digest, transfer_syntax: TransferSyntaxUid::from_bytes(syntax).ok()? })
    }
}

fn checksum(fields: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(fields).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_and_forgeries_do_not() {
        let label = Label {
            place: Place { file: 1 << 41, shared: true, offset: 8192, length: 5000 },
            digest: Digest::of(b"x"),
            transfer_syntax: TransferSyntaxUid::parse(&"1".repeat(64)).unwrap(),
        };
        let bytes = label.encode(&[9; 16]);
        assert_eq!(Label::decode(&bytes, &[9; 16]), Some(label));
        assert_eq!(Label::decode(&bytes, &[8; 16]), None);
        assert_eq!((Label::names_store(&bytes), Label::names_store(&[0; LABEL])), (Some([9; 16]), None));
        for at in 0..LABEL {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(Label::decode(&flipped, &[9; 16]), None, "byte {at}");
        }
        assert_eq!(Label::decode(&[0; LABEL], &[9; 16]), None);
    }
}
