//! The embedded form of the records: one SQLite file, one writer thread with group commit, a few readers. All SQL is here.

pub(super) mod access;
pub(super) mod acts;
pub(super) mod also_said;
pub(super) mod asking;
pub(super) mod backup;
pub(super) mod began;
pub(super) mod blobs;
pub(super) mod catalogue;
pub(super) mod cross_reference;
mod described;
pub(super) mod doubted;
pub(super) mod entries;
pub(super) mod heal;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod inline;
pub(super) mod judge;
pub(super) mod jump;
pub(super) mod lease;
pub(super) mod lists;
pub(super) mod locations;
pub(super) mod log;
pub(super) mod merges;
pub(super) mod order;
pub(super) mod owe;
pub(super) mod pause;
pub(super) mod placed;
pub(super) mod prefetch;
pub(super) mod profile;
pub(super) mod pulls;
pub(super) mod purge;
pub(super) mod queue;
pub(super) mod readers;
pub(super) mod rebuild;
pub(super) mod record;
pub(super) mod recover;
pub(super) mod rejections;
pub(super) mod resolve;
pub(super) mod retrieve;
pub(super) mod routing;
pub(super) mod rows;
pub(super) mod schema;
pub(super) mod scrub;
pub(super) mod seen;
pub(super) mod settle;
pub(super) mod sharing;
pub(super) mod status;
pub(super) mod stuck;
pub(super) mod study;
pub(super) mod tally;
mod told;
pub(super) mod tx;
pub(super) mod unlike;
pub(super) mod unsupported;
pub(super) mod verified;
pub(super) mod verify;
pub(super) mod warnings;
pub(super) mod why;
pub(super) mod writer;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
