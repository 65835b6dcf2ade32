//! Pages of a resource while it is being fetched: each instance once, whatever the order in which they come back.

use crate::priors::archive::Fetching;
use crate::records::{InstanceId, Records, RecordsError, Resource, Retrievable};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The whole resource is looked through at most so often.
const EVERY: Duration = Duration::from_millis(250);

/// What has been given, and the fetch that brings more.
pub(super) struct Refill {
    fetching: Fetching,
    /// Instances that come back after a purge keep their numbers: their order is not that of their arrival.
    given: HashSet<InstanceId>,
    after: InstanceId,
    looked: Instant,
    /// What was missing when the fetch ended.
    ended: Option<u64>,
    /// Everything was looked through once more after the end.
    done: bool,
}

impl Refill {
    pub(super) fn new(fetching: Fetching) -> Self {
        let (given, after, looked) = (HashSet::new(), InstanceId(0), Instant::now());
        Self { fetching, given, after, looked, ended: None, done: false }
    }

    /// Instances that did not come.
    pub(super) fn lacking(&self) -> u64 {
        self.ended.unwrap_or_default()
    }

    /// The next instances, as soon as there are any; none when the fetch has ended and all is given.
    pub(super) async fn page(&mut self, records: &Records, of: &Resource) -> Result<Vec<Retrievable>, RecordsError> {
        loop {
            let mut page = records.retrievable(of, self.after).await?;
            if let Some(last) = page.last() {
                self.after = last.instance;
                page.retain(|item| self.given.insert(item.instance));
                if !page.is_empty() {
                    return Ok(page);
                }
                continue;
            }
            if self.done {
                return Ok(page);
            }
            self.done = self.ended.is_some();
            if self.ended.is_none() {
                self.ended = self.fetching.more().await.map(|fetched| fetched.missing);
                sleep_until(self.looked + EVERY).await;
            }
            (self.after, self.looked) = (InstanceId(0), Instant::now());
        }
    }
}
