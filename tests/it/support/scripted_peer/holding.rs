//! What the peer holds, loses, and does not speak of.

use super::ScriptedPeer;
use crate::support::files::{digest, read_part10};

impl ScriptedPeer {
    /// The SHA-256 of what it holds under a SOP Instance UID.
    pub fn digest_of(&self, instance: &str) -> Option<String> {
        self.state.lock().unwrap().held.get(instance).map(|held| digest_in(&held.file))
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
