//! Whose turn it is to give a node something of a study: one association at a time, a lane's or a retrieval's ("Freshness" in
//! docs/ARCHITECTURE.md). Many nodes cannot file one study from two associations at once.

use crate::dicom::ae_title::AeTitle;
use crate::dicom::uid::StudyUid;
use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError, Weak};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// The turns of this process, shared by everything that gives nodes something. A study that nobody gives takes no memory.
#[derive(Clone, Default)]
pub struct Turns {
    all: Arc<Lock<Known>>,
}

type Known = HashMap<(AeTitle, StudyUid), Weak<Turn>>;

#[derive(Default)]
struct Turn {
    held: Arc<Mutex<()>>,
    /// How many wait for it.
    waiting: watch::Sender<usize>,
}

/// The turn for one study at one node, until it is dropped. Who waits gets it in the order of asking.
pub struct Taken {
    turn: Arc<Turn>,
    _held: OwnedMutexGuard<()>,
}

/// One who waits; counted until dropped.
struct Waits<'a>(&'a Turn);

impl<'a> Waits<'a> {
    fn new(turn: &'a Turn) -> Self {
        turn.waiting.send_modify(|waiting| *waiting += 1);
        Self(turn)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl Turns {
    fn of(&self, node: &AeTitle, study: &StudyUid) -> Arc<Turn> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, turn| turn.strong_count() > 0);
        let key = (node.clone(), study.clone());
        if let Some(turn) = all.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::<Turn>::default();
        all.insert(key, Arc::downgrade(&turn));
        turn
    }

    /// Waits for the turn. Nobody keeps another study while it waits, so that no two wait for each other.
    pub async fn take(&self, node: &AeTitle, study: &StudyUid) -> Taken {
        let turn = self.of(node, study);
        let held = {
            let _waits = Waits::new(&turn);
            Arc::clone(&turn.held).lock_owned().await
        };
        Taken { turn, _held: held }
    }

    /// The turn, if nobody has it or waits for it.
    pub fn take_now(&self, node: &AeTitle, study: &StudyUid) -> Option<Taken> {
        let turn = self.of(node, study);
        let held = Arc::clone(&turn.held).try_lock_owned().ok()?;
        Some(Taken { turn, _held: held })
    }
}

impl Taken {
    /// Whether somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        *self.turn.waiting.borrow() > 0
    }

    /// Ends once somebody waits for it.
    pub fn wanted(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut waiting = self.turn.waiting.subscribe();
        async move {
            if waiting.wait_for(|waiting| *waiting > 0).await.is_err() {
                // The turn is over, which whoever holds it sees.
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// "Freshness": one at a time for a node and a study, in the order of asking; whoever gave up waiting is not waited for.
    #[tokio::test]
    async fn one_at_a_time_gives_a_node_something_of_a_study() {
        let (turns, node) = (Turns::default(), AeTitle::parse("OUT").unwrap());
        let [one, two] = ["1.2", "1.3"].map(|uid| StudyUid::parse(uid).unwrap());
        let first = turns.take(&node, &one).await;
        assert!(turns.take_now(&node, &one).is_none() && !first.is_wanted());
        assert!(turns.take_now(&node, &two).is_some(), "another study is nobody's matter");
        assert!(turns.take_now(&AeTitle::parse("ELSE").unwrap(), &one).is_some(), "nor is another node");
        let mut second = Box::pin(turns.take(&node, &one));
        assert!(second.as_mut().now_or_never().is_none() && first.is_wanted());
        first.wanted().await;
        let mut third = Box::pin(turns.take(&node, &one));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(turns.take_now(&node, &one).is_none(), "who waits comes first");
        let second = second.await;
        assert!(second.is_wanted());
        drop(third);
        assert!(!second.is_wanted(), "who gave up waits no more");
        drop(second);
        assert!(turns.take_now(&node, &one).is_some());
        assert!(turns.of(&node, &one).held.try_lock().is_ok());
        assert_eq!(turns.all.lock().unwrap().len(), 1, "what nobody holds is forgotten");
    }
}
