//! What orders cause to be pulled ahead, each order once; what was cancelled causes nothing.

use super::{NEWS, Prefetcher};
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::records::{PlacedOrder, Prefetch, PrefetchCause, RecordsError};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

impl Prefetcher {
    /// Looks for orders that were told since the last look; after a start for all of the last day, of which those that were looked at
    /// before are known by their cause.
    pub(super) async fn look_at_orders(&self) -> Result<(), RecordsError> {
        let records = self.inner.fetcher.records();
        loop {
            let rows = records.orders(self.inner.ordered.load(Ordering::Relaxed)).await?;
            let Some(last) = rows.last().map(|order| order.row) else { return Ok(()) };
            let now = SystemTime::now();
            // One told just before the clock was set back is as new as can be.
            let news = |order: &&PlacedOrder| now.duration_since(order.at).unwrap_or_default() < NEWS;
            for what in rows.iter().filter(news).filter_map(|order| self.ordered(order)) {
                records.prefetch(what, now).await?;
            }
            self.inner.ordered.store(last, Ordering::Relaxed);
        }
    }

    /// What an order causes; nothing if it is cancelled or no rule concerns its modality.
    fn ordered(&self, order: &PlacedOrder) -> Option<Prefetch> {
        let modalities: Vec<String> =
            order.modality.split('\\').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        if order.is_cancelled() || self.concerned(&modalities).is_empty() {
            return None;
        }
        let number = if order.placer.is_empty() { &order.filler } else { &order.placer };
        let nhs = NhsNumber::parse(&order.patient.id).ok().filter(|_| is_issuer(&order.patient.issuer));
        Some(Prefetch {
            cause: PrefetchCause::Order(format!("{} {number}", order.source)),
            who: order.source.clone(),
            patient_id: order.patient.id.clone(),
            issuer: order.patient.issuer.clone(),
            nhs: nhs.map(NhsNumber::digits).unwrap_or_default(),
            birth_date: order.birth_date.clone(),
            modalities,
        })
    }
}
