//! Leases of what is due: to send it, or to ask a destination about it.

#[cfg(test)]
use super::sqlite::inline::committed::{Committed, committed};
use super::sqlite::lease;
use super::{Batch, BatchKind, LeaseLimits, Records, RecordsError};
use crate::peers::Destination;
use std::time::SystemTime;

impl Records {
    /// Leases the next batch of one study to send to a destination, oldest first; `None` if nothing is due or the destination is
    /// to be left alone. The attempt is counted and entered before this returns.
    pub async fn lease(
        &self,
        destination: &Destination,
        limits: LeaseLimits,
        now: SystemTime,
    ) -> Result<Option<Batch>, RecordsError> {
        self.lease_some(destination.clone(), BatchKind::Send, limits, now).await
    }

    /// Leases the next batch of one study that the destination is to be asked about: unknown, or accepted and still without the
    /// evidence that policy asks for. Nothing of it is to be sent.
    pub async fn lease_checks(
        &self,
        destination: &Destination,
        instances: usize,
        now: SystemTime,
    ) -> Result<Option<Batch>, RecordsError> {
        let limits = LeaseLimits { instances, bytes: u64::MAX, together: true };
        self.lease_some(destination.clone(), BatchKind::Check, limits, now).await
    }

    async fn lease_some(
        &self,
        to: Destination,
        kind: BatchKind,
        limits: LeaseLimits,
        now: SystemTime,
    ) -> Result<Option<Batch>, RecordsError> {
        self.commit(move |tx| {
            let batch = lease::lease(tx, &to, kind, limits, now)?;
            #[cfg(test)]
            committed(|| {
                let check = kind == BatchKind::Check;
                Committed::Leased { to: to.clone(), check, limits, now, batch: batch.clone() }
            });
            Ok(batch)
        })
        .await
    }
}
