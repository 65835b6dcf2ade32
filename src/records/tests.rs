//! Tests of the records through their own face, over real files in a temporary directory. Closing and opening again is a restart.

mod acting;
mod arriving;
mod asking;
mod cross_reference;
mod finding;
mod housekeeping;
mod interleaving;
mod judging;
mod leasing;
mod locating;
mod looping;
pub(crate) mod model;
mod paging;
mod parking;
mod prefetching;
mod proving;
mod rejecting;
mod restarting;
mod sending;
mod speed;
pub(crate) mod support;
mod telling;
mod trying_classes;
mod withholding;
