//! What a test that provokes a fault says of it: how often it fired. tests/faults.py reads it.

/// A fault took effect so often. What a test prints adds up; a fault that never fired is a failure.
#[track_caller]
pub fn note_fired(times: usize) {
    assert!(times > 0, "the fault never fired");
    println!("fired: {times}");
}
