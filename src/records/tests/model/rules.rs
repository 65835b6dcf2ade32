//! Rules that say nothing of how the records keep what they need, checked along each history (WEB-063, REL-24).

use super::reference::{Model, Time};
use crate::ledger::breaker::Reach;
use std::collections::BTreeMap;

/// What the rules remember of the history so far.
#[derive(Default)]
pub(super) struct Rules {
    /// The last turn of each study at each destination, numbered from 1.
    turns: BTreeMap<(String, u32), u64>,
    /// Since when something is parked for its class at a destination that takes other things, without a word of that class.
    waits: BTreeMap<String, Time>,
}

impl Rules {
    /// Takes note of what was leased to be sent, where everything stood as it stands in `before`.
    pub(super) fn leased(
        &mut self,
        (before, steady): (&Model, Time),
        (to, together): (&str, bool),
        items: &[usize],
        at: Time,
    ) {
        let is_try = items.iter().any(|id| before.transfers[*id].class);
        match self.waits.get(to) {
            _ if is_try => drop(self.waits.insert(to.to_owned(), at)),
            Some(since) => assert!(at < since + steady, "nothing of the class is tried at {to} since {since}"),
            None => {}
        }
        let out = before.far[to].reach != Reach::Up;
        let due = if out { before.clone().due(to, false, together, at) } else { vec![] };
        assert!(!is_try || due.is_empty(), "what is parked for its class stands before {due:?} at {to}, which is out");
        let Some(first) = items.first().filter(|_| !is_try) else { return };
        let study = before.study(*first);
        if out {
            let last = |study: u32| self.turns.get(&(to.to_owned(), study)).copied().unwrap_or(0);
            let longer = due.into_iter().map(|id| before.study(id)).find(|other| last(*other) < last(study));
            assert_eq!(longer, None, "a probe of {to} is of study {study}");
        }
        let turn = 1 + self.turns.values().max().copied().unwrap_or(0);
        self.turns.insert((to.to_owned(), study), turn);
    }

    /// The destinations may have said something of the class, or a person has had it tried.
    pub(super) fn heard(&mut self) {
        self.waits.clear();
    }

    /// Looks at how everything stands now.
    pub(super) fn look(&mut self, model: &Model, at: Time) {
        for to in model.far.keys() {
            match model.waits_for_its_class(to, at) {
                // A clock that was set back counts from where it is now.
                true => drop(self.waits.entry(to.clone()).and_modify(|since| *since = at.min(*since)).or_insert(at)),
                false => drop(self.waits.remove(to)),
            }
        }
    }
}
