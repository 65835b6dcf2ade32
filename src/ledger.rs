//! The rules of the ledger: states, outcomes, back-off, canonical entries, the chain and the tree. Pure: no files, no clock.

pub mod outcome;
pub mod transfer;
