//! What the peer holds, loses, and does not speak of.

use super::{Held, ScriptedPeer, State};
use crate::support::files::{digest, read_part10};
use bytes::Bytes;

impl State {
    pub(super) fn keep(&mut self, instance: &str, held: &Held) {
        let mut held = held.clone();
        if self.lean {
            self.digests.insert(instance.to_owned(), digest_in(&held.file));
            held.file = Bytes::new();
        }
        self.held.insert(instance.to_owned(), held);
    }
}

impl ScriptedPeer {
    /// The SHA-256 of what it holds under a SOP Instance UID.
    pub fn digest_of(&self, instance: &str) -> Option<String> {
        let state = self.state.lock().unwrap();
        let held = state.held.get(instance)?;
        Some(state.digests.get(instance).cloned().unwrap_or_else(|| digest_in(&held.file)))
    }

    /// Keeps only the digests of what comes from now on: a long run brings more than the memory of the machine.
    pub fn keep_digests_only(&self) {
        self.state.lock().unwrap().lean = true;
    }

    pub fn held(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }

    /// It no longer holds this instance.
    pub fn lose(&self, instance: &str) {
        assert!(self.state.lock().unwrap().held.remove(instance).is_some(), "it never had {instance}");
    }

    /// Queries for what it holds of a study get 503 from now on, or an answer again.
    pub fn be_silent_on(&self, study: &str, yes: bool) {
        let mut state = self.state.lock().unwrap();
        let silent = &mut state.silent_on;
        if yes {
            silent.insert(study.to_owned())
        } else {
            silent.remove(study)
        };
    }
}

/// SHA-256 of the data set of a Part 10 file.
fn digest_in(file: &[u8]) -> String {
    digest(&file[read_part10(file).unwrap().data_set_at..])
}
