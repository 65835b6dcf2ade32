//! The Merkle tree of RFC 6962 section 2.1 over the ledger's entries, kept as its right edge only (LED-003). Pure.

use sha2::{Digest as _, Sha256};

/// A SHA-256 hash of the tree or the chain.
pub type Hash = [u8; 32];

/// The hash of a leaf: SHA-256(0x00 ‖ entry) (RFC 6962 section 2.1).
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right) (RFC 6962 section 2.1).
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The right edge of the tree: the roots of its perfect subtrees, the largest first. Everything that appending needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    nodes: Vec<Hash>,
}

impl Edge {
    /// The edge of a stored tree: `bytes` are the nodes one after another. `None` if their number does not fit the size.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let (nodes, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && nodes.len() == size.count_ones() as usize;
        fits.then(|| Self { size, nodes: nodes.to_vec() })
    }

    /// The nodes one after another, the largest subtree first; at most 64 of 32 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.nodes.concat()
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        // The number of perfect subtrees that the new leaf completes is the number of trailing one bits of the size.
        let merged = (0..self.size.trailing_ones()).fold(leaf, |right, _| match self.nodes.pop() {
            Some(left) => node(&left, &right),
            None => right,
        });
        self.nodes.push(merged);
        self.size += 1;
    }

    /// The root of the tree; SHA-256 of nothing when it is empty (RFC 6962 section 2.1).
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.nodes.iter().rev();
        match from_the_right.next() {
            None => Sha256::digest([]).into(),
            Some(last) => from_the_right.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The definition of RFC 6962 section 2.1, word for word.
    fn brute(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [] => Sha256::digest([]).into(),
            [one] => leaf(one),
            _ => {
                let k = entries.len().next_power_of_two() / 2;
                node(&brute(&entries[..k]), &brute(&entries[k..]))
            }
        }
    }

    #[test]
    fn the_edge_agrees_with_the_definition_up_to_300() {
        let entries: Vec<Vec<u8>> = (0..300u32).map(|n| n.to_be_bytes()[..(n % 5) as usize % 4 + 1].to_vec()).collect();
        let mut edge = Edge::default();
        for n in 0..=300 {
            assert_eq!(edge.root(), brute(&entries[..n]), "size {n}");
            assert_eq!(Edge::from_bytes(n as u64, &edge.to_bytes()), Some(edge.clone()));
            if n < 300 {
                edge.push(leaf(&entries[n]));
            }
        }
    }

    #[test]
    fn the_roots_are_those_of_the_published_vectors() {
        // The test vectors of certificate-transparency (merkle_tree_test): leaves and roots of sizes 1 to 8.
        let leaves =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let unhex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
        };
        let mut edge = Edge::default();
        for (entry, root) in leaves.iter().zip(roots) {
            edge.push(leaf(&unhex(entry)));
            assert_eq!(edge.root().to_vec(), unhex(root), "size {}", edge.size());
        }
    }

    #[test]
    fn an_edge_that_does_not_fit_its_size_is_refused() {
        for (size, length) in [(1u64, 0usize), (0, 32), (3, 32), (4, 64), (1, 31)] {
            assert_eq!(Edge::from_bytes(size, &vec![0; length]), None, "{size} {length}");
        }
    }
}
