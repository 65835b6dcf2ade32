//! Long instances that are compared while their first frames go out: each once however many ask for it, and few at once.

use crate::store::Digest;
use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Compared at once: what is read to compare takes of the store's memory for what leaves, for which deliveries wait as well.
const AT_ONCE: usize = 2;
/// Instances that are compared or wait for it; who brings another waits until there is room.
const MOST: usize = 16;

/// What is compared, and waits for it.
#[derive(Debug)]
pub(super) struct Comparing {
    under_way: Mutex<HashSet<Digest>>,
    room: Arc<Semaphore>,
    turns: Semaphore,
}

impl Default for Comparing {
    fn default() -> Self {
        let (room, turns) = (Arc::new(Semaphore::new(MOST)), Semaphore::new(AT_ONCE));
        Self { under_way: Mutex::default(), room, turns }
    }
}

impl Comparing {
    /// Has `work` compare what bears this digest, unless that is done just now. It goes on when who asked is gone. Returns at once, but
    /// where too many wait.
    pub(super) async fn begin(self: &Arc<Self>, digest: Digest, work: impl Future<Output = ()> + Send + 'static) {
        if self.under_way().contains(&digest) {
            return;
        }
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return };
        if !self.under_way().insert(digest) {
            return;
        }
        let one = One { all: Arc::clone(self), digest, _room: room };
        tokio::spawn(async move {
            let turn = one.all.turns.acquire().await;
            work.await;
            drop(turn);
        });
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is under way until this is dropped.
struct One {
    all: Arc<Comparing>,
    digest: Digest,
    _room: OwnedSemaphorePermit,
}

impl Drop for One {
    fn drop(&mut self) {
        self.all.under_way().remove(&self.digest);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::watch;

    /// Comparisons that last until they are told to end.
    struct Scene {
        comparing: Arc<Comparing>,
        begun: Arc<AtomicUsize>,
        at_once: Arc<AtomicUsize>,
        go: watch::Sender<bool>,
    }

    impl Scene {
        fn new() -> Self {
            let (comparing, begun, at_once) = Default::default();
            Self { comparing, begun, at_once, go: watch::Sender::new(false) }
        }

        async fn begin(&self, n: u8) {
            let (begun, at_once, mut go) = (Arc::clone(&self.begun), Arc::clone(&self.at_once), self.go.subscribe());
            let work = async move {
                begun.fetch_add(1, Ordering::SeqCst);
                at_once.fetch_add(1, Ordering::SeqCst);
                go.wait_for(|go| *go).await.unwrap();
                at_once.fetch_sub(1, Ordering::SeqCst);
            };
            self.comparing.begin(Digest([n; 32]), work).await;
        }

        /// Once everything that can go on has.
        async fn settled(&self) -> (usize, usize) {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            (self.begun.load(Ordering::SeqCst), self.at_once.load(Ordering::SeqCst))
        }
    }

    /// REL-25: many who ask for one have it compared once; of many, two are compared at once and a few wait.
    #[tokio::test]
    async fn each_is_compared_once_and_few_at_once() {
        let scene = Scene::new();
        for _ in 0..8 {
            scene.begin(1).await;
        }
        assert_eq!(scene.settled().await, (1, 1));
        for n in 2..=MOST as u8 {
            scene.begin(n).await;
        }
        assert_eq!(scene.settled().await, (AT_ONCE, AT_ONCE));
        let beyond = scene.begin(100);
        let mut beyond = std::pin::pin!(beyond);
        tokio::select! {
            biased;
            () = &mut beyond => panic!("there is room for {MOST}"),
            _ = scene.settled() => {}
        }
        scene.go.send_replace(true);
        beyond.await;
        assert_eq!(scene.settled().await, (MOST + 1, 0), "each has its turn");
        scene.begin(1).await;
        assert_eq!(scene.settled().await.0, MOST + 2, "once it has ended it can be compared again");
    }
}
