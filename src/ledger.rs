//! The rules of the ledger: states, outcomes, back-off, canonical entries, the chain and the tree. Pure: no files, no clock.
//!
//! In reading order: [`transfer`] names the states and the legal steps between them, [`outcome`] what an attempt came to,
//! [`step`] what an outcome makes of a transfer, [`backoff`] and [`breaker`] when it is tried again, [`turns`] whose turn it is,
//! [`generation`] which bytes are used and when they may go, [`judgement`] what two contents of one UID are to each other. [`entry`] gives each change its canonical bytes, [`change`] reads
//! them back for a rebuild, [`chain`] and [`merkle`] bind them together, and
//! [`check`] walks a ledger and says where it is wrong.

pub mod backoff;
pub mod breaker;
pub mod chain;
pub mod change;
pub mod check;
pub mod entry;
pub mod generation;
pub mod judgement;
pub mod merkle;
pub mod outcome;
pub mod step;
pub mod transfer;
pub mod turns;
