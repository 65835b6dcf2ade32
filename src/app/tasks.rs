//! Tasks that must not end before the gateway does: one that ends early is a failure of the whole.

use std::future::Future;
use std::io;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The parts without which the gateway is no gateway.
pub(super) struct Critical {
    tasks: JoinSet<(&'static str, io::Result<()>)>,
    stopping: CancellationToken,
}

impl Critical {
    /// No parts yet; after `stopping` their end is no failure.
    pub(super) fn new(stopping: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), stopping }
    }

    /// Starts a part.
    pub(super) fn spawn(&mut self, name: &'static str, part: impl Future<Output = io::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, part.await) });
    }

    /// Waits for a part to end although nobody asked it to; says which and why.
    pub(super) async fn failed(&mut self) -> String {
        loop {
            let ended = match self.tasks.join_next().await {
                None => std::future::pending().await,
                Some(_) if self.stopping.is_cancelled() => continue,
                Some(ended) => ended,
            };
            return match ended {
                Ok((name, Ok(()))) => format!("{name} ended"),
                Ok((name, Err(error))) => format!("{name}: {error}"),
                Err(panic) => format!("a part failed: {panic}"),
            };
        }
    }

    /// Waits until every part has ended.
    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
