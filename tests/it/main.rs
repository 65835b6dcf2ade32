//! The integration tests: one binary that goes through the front door, against the built gateway and real peers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod support;

mod already_there;
mod archive;
mod archive_elsewhere;
mod archive_passing;
mod association;
mod association_answers;
mod association_callers;
mod association_cost;
mod association_out;
mod backup;
mod bad_input;
mod bits;
mod browser;
mod calls;
mod canon;
mod clock;
mod command_line;
mod conflicts;
mod corpora_replay;
mod crash;
mod crash_points;
mod dedup;
mod demo;
mod dicom_tls;
mod durable_order;
mod faults;
mod foreign;
mod foreign_people;
mod full_disk;
mod hard_nodes;
mod hostile;
mod hostile_slow;
mod housekeeping;
mod issuers;
mod judge;
mod lanes;
mod lying_proxy;
mod memory;
mod mixed;
mod odil;
mod orders;
mod orthanc;
mod out_of_reach;
mod outage;
mod patients;
mod pixels;
mod prefetch;
mod priors;
mod priors_asked;
mod priors_limits;
mod priors_origin;
mod priors_silence;
mod pull;
mod pull_believed;
mod pull_refiled;
mod pull_scripted;
mod pull_sources;
mod qido;
mod query;
mod query_hostile;
mod reach;
mod readback;
mod reconcile;
mod rejections;
mod reload;
mod requirements;
mod retrieve;
mod rights;
mod sabotage;
mod second_decision;
mod send;
mod shipped;
mod shown;
mod stage;
mod startup;
mod store_and_forward;
mod stow;
mod stow_answers;
mod stow_outage;
mod tidy;
mod to_nodes;
mod verdict_reasons;
mod verdicts;
mod viewer;
mod viewer_elsewhere;
mod viewer_search;
mod wado;
mod wado_bulk;
mod wado_forms;
mod web_hostile;
mod wires;
mod withhold;
mod withhold_elsewhere;
mod worklist;
