//! Which instances came to nothing as they are stored, compressed: some nodes accept a syntax and never answer for what they cannot read.

use crate::ledger::transfer::TransferId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// So often in a row one goes compressed without an answer before it goes natively (DIM-057).
const TURNS: u32 = 2;

/// Most instances that are remembered; beyond them all are forgotten.
const MOST: usize = 10_000;

/// How often each came to nothing, since this program started.
#[derive(Default)]
pub(super) struct Fruitless(Mutex<HashMap<TransferId, u32>>);

impl Fruitless {
    /// Whether it goes natively this time.
    pub(super) fn is_due(&self, transfer: TransferId) -> bool {
        self.with(|turns| turns.get(&transfer).is_some_and(|turns| *turns >= TURNS))
    }

    /// It went as it is stored, and no answer came.
    pub(super) fn again(&self, transfer: TransferId) {
        self.with_room(|turns| *turns.entry(transfer).or_default() += 1);
    }

    /// It goes natively the next time.
    pub(super) fn natively(&self, transfer: TransferId) {
        self.with_room(|turns| turns.insert(transfer, TURNS));
    }

    /// It was answered, or went natively: what comes next counts anew.
    pub(super) fn forget(&self, transfer: TransferId) {
        self.with(|turns| turns.remove(&transfer));
    }

    fn with_room<T>(&self, work: impl FnOnce(&mut HashMap<TransferId, u32>) -> T) -> T {
        self.with(|turns| {
            if turns.len() >= MOST {
                turns.clear();
            }
            work(turns)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<TransferId, u32>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_turns_in_a_row_without_an_answer_make_it_go_natively_once() {
        let (fruitless, one, other) = (Fruitless::default(), TransferId(1), TransferId(2));
        for want in [false, false, true] {
            assert_eq!(fruitless.is_due(one), want);
            fruitless.again(one);
        }
        assert!(!fruitless.is_due(other));
        fruitless.forget(one);
        fruitless.again(one);
        assert!(!fruitless.is_due(one));
        fruitless.natively(one);
        assert!(fruitless.is_due(one));
    }
}
