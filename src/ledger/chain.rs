//! The hash chain over the leaves of the ledger, for cheap checks while streaming (LED-003). Pure.

use super::merkle::Hash;
use sha2::{Digest as _, Sha256};

/// The chain before the first entry.
pub const START: Hash = [0; 32];

/// The chain after one more entry: SHA-256 of the chain before it and its leaf hash.
pub fn next(before: &Hash, leaf: &Hash) -> Hash {
    Sha256::new().chain_update(before).chain_update(leaf).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_depends_on_all_before_it() {
        let (a, b) = (next(&START, &[1; 32]), next(&START, &[2; 32]));
        assert_ne!(next(&a, &[3; 32]), next(&b, &[3; 32]));
        let mut both = [0u8; 64];
        both[32..].fill(1);
        assert_eq!(a, <Hash>::from(Sha256::digest(both)));
    }
}
