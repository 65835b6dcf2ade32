//! Jobs of the store on blocking threads, so many at once.

use super::{Core, StoreError};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A job on a blocking thread.
pub(super) type Job<T> = JoinHandle<Result<T, StoreError>>;

/// The result of a job. It fails of itself only if the runtime is shutting down or the job panicked.
pub(super) async fn finish_job<T>(job: Job<T>) -> Result<T, StoreError> {
    match job.await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Io { path: "disk job".into(), source: std::io::Error::other(error) }),
    }
}

impl Core {
    /// Runs `work` on a blocking thread, once fewer than [`super::SLOTS`] jobs run. If the job's handle is dropped, it still
    /// runs to its end, and what it returns is dropped.
    pub(super) async fn start<T, F>(self: &Arc<Self>, work: F) -> Job<T>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Self>) -> Result<T, StoreError> + Send + 'static,
    {
        #[cfg(test)]
        if super::simulated::is_on() {
            return tokio::spawn(std::future::ready(work(self)));
        }
        // The semaphore is never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let core = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&core)
        })
    }

    /// As [`Self::start`], but gives `input` back rather than wait.
    pub(super) fn try_start<I, T, F>(self: &Arc<Self>, input: I, work: F) -> Result<Job<T>, I>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: FnOnce(&Arc<Self>, I) -> Result<T, StoreError> + Send + 'static,
    {
        #[cfg(test)]
        if super::simulated::is_on() {
            return Ok(tokio::spawn(std::future::ready(work(self, input))));
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return Err(input) };
        let core = Arc::clone(self);
        Ok(tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&core, input)
        }))
    }
}
