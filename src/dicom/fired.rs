//! What a test that provokes a fault says of it: how often it fired. tests/faults.py reads it.

#![allow(clippy::print_stdout)]

/// A fault took effect so often. What a test prints adds up; a fault that never fired is a failure.
#[track_caller]
pub(crate) fn note_fired(times: usize) {
    assert!(times > 0, "the fault never fired");
    println!("fired: {times}");
}
