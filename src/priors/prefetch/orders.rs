//! What orders cause to be pulled ahead, each once for its day; what was cancelled causes nothing, and what is for a later day waits for it.

use super::{NEWS, Prefetcher, Prefetching, Rule};
use crate::dicom::nhs_number::{NhsNumber, is_issuer};
use crate::records::{PlacedOrder, Prefetch, PrefetchCause, RecordsError};
use jiff::civil::Date;
use jiff::{ToSpan, Zoned};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Orders are never looked at further ahead, in days.
const MOST_DAYS: u64 = 3650;

/// So many days before that of an order its priors are pulled: copies that then stay for `keep` are still here on its day.
fn days_ahead(keep: Duration) -> i64 {
    let days = (keep.as_secs() / 86_400).clamp(1, MOST_DAYS) - 1;
    i64::try_from(days).unwrap_or_default()
}

fn modalities(order: &PlacedOrder) -> Vec<String> {
    order.modality.split('\\').filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// The day of an order, as it was written; `None` if it says none.
fn day(order: &PlacedOrder) -> Option<Date> {
    let digits = order.scheduled.get(..8).filter(|day| day.bytes().all(|byte| byte.is_ascii_digit()))?;
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<i16>().ok();
    Date::new(part(0, 4)?, i8::try_from(part(4, 6)?).ok()?, i8::try_from(part(6, 8)?).ok()?).ok()
}

/// The day on which what an order has pulled must be here; `None` if it says none, or if it is only given to nodes, where it stays.
fn held_for(order: &PlacedOrder, rules: &[Rule]) -> Option<Date> {
    let modalities = modalities(order);
    let held_here = rules.iter().any(|rule| rule.concerns(&modalities) && rule.to.is_none());
    day(order).filter(|_| held_here)
}

/// Whether an order is for a day after the last one that is near: what were pulled for it now would be gone by then.
fn is_far(order: &PlacedOrder, rules: &[Rule], last: Date) -> bool {
    held_for(order, rules).is_some_and(|day| day > last)
}

/// What an order had pulled before this, for an earlier day or while copies stayed longer, may be gone on its day: it became near only then.
/// `None` if none is wanted any more.
fn gone_if_before(order: &PlacedOrder, settings: &Prefetching, now: &Zoned) -> Option<SystemTime> {
    let day = held_for(order, &settings.rules).filter(|day| *day >= now.date())?;
    let near = day.checked_sub(days_ahead(settings.keep).days()).ok()?;
    Some(near.to_zoned(now.time_zone().clone()).ok()?.timestamp().into())
}

/// The first day of the next look, after one up to the day `seen`. Where copies stay less long than they did then, all are looked at again.
fn first_day(seen: Option<Date>, last: Date, today: Date) -> Date {
    seen.filter(|seen| *seen <= last).map_or(today, |seen| seen.saturating_add(1.days()))
}

impl Prefetcher {
    /// Looks for orders that were told since the last look; after a start for all of the last day, of which those that were looked at
    /// before are known by their cause. Then for those whose day has come near.
    pub(super) async fn look_at_orders(&self) -> Result<(), RecordsError> {
        let records = self.inner.fetcher.records();
        loop {
            let rows = records.orders(self.inner.ordered.load(Ordering::Relaxed)).await?;
            let Some(last) = rows.last().map(|order| order.row) else { break };
            let (now, settings, near) = (SystemTime::now(), self.settings(), self.last_near_day());
            // One told just before the clock was set back is as new as can be.
            let news = |order: &&PlacedOrder| now.duration_since(order.at).unwrap_or_default() < NEWS;
            let due = |order: &&PlacedOrder| !is_far(order, &settings.rules, near);
            for order in rows.iter().filter(news).filter(due) {
                self.take_order(order).await?;
            }
            self.inner.ordered.store(last, Ordering::Relaxed);
        }
        self.look_at_days(self.last_near_day()).await
    }

    /// The last day for whose orders priors are pulled now.
    fn last_near_day(&self) -> Date {
        Zoned::now().date().saturating_add(days_ahead(self.settings().keep).days())
    }

    /// Looks for orders whose day has come near since the last look; after a start for all from today on, and so when fewer days are near.
    async fn look_at_days(&self, last: Date) -> Result<(), RecordsError> {
        let seen = *self.inner.near.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first_day(seen, last, Zoned::now().date());
        let records = self.inner.fetcher.records();
        let days = [first, last].map(|day| day.strftime("%Y%m%d").to_string());
        let mut after = (first <= last).then_some(0);
        while let Some(row) = after {
            let rows = records.orders_for(days.clone(), row).await?;
            for order in &rows {
                self.take_order(order).await?;
            }
            after = rows.last().map(|order| order.row);
        }
        *self.inner.near.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        Ok(())
    }

    /// Takes on what an order causes, once for its day.
    async fn take_order(&self, order: &PlacedOrder) -> Result<(), RecordsError> {
        let Some(what) = self.ordered(order) else { return Ok(()) };
        let gone_if_before = gone_if_before(order, &self.settings(), &Zoned::now());
        self.inner.fetcher.records().prefetch_order(what, gone_if_before, SystemTime::now()).await?;
        Ok(())
    }

    /// What an order causes; nothing if it is cancelled or no rule concerns its modality.
    fn ordered(&self, order: &PlacedOrder) -> Option<Prefetch> {
        let modalities = modalities(order);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::cross_reference::LocalId;
    use crate::peers::Destination;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    fn order(modality: &str, scheduled: &str) -> PlacedOrder {
        PlacedOrder {
            row: 1,
            source: "hl7 RIS".into(),
            placer: "P1".into(),
            filler: String::new(),
            accession: String::new(),
            study: None,
            control: "NW".into(),
            patient: LocalId::new("Royal", "R7").unwrap(),
            birth_date: String::new(),
            modality: modality.into(),
            procedure: String::new(),
            description: String::new(),
            scheduled: scheduled.into(),
            at: SystemTime::UNIX_EPOCH,
        }
    }

    fn rule(arrived: &str, to: Option<&str>) -> Rule {
        Rule {
            name: arrived.into(),
            arrived: vec![arrived.into()],
            modality: vec![],
            body_part: vec![],
            max_age_days: None,
            newest: 3,
            sites: vec![],
            to: to.map(|to| Destination(to.into())),
        }
    }

    /// IDY-051: what is pulled today for next month is gone by then.
    #[test]
    fn an_order_for_a_later_day_waits_unless_a_node_keeps_what_is_pulled() {
        let last = Date::new(2025, 3, 10).unwrap();
        let rules = [rule("CT", None), rule("MR", Some("PACS")), rule("PT", Some("PACS"))];
        for (modality, scheduled, want) in [
            ("CT", "20250311", true),
            ("CT", "202504010830", true),
            ("CT", "20250311083000+0100", true),
            ("CT", "20250310", false),
            ("CT", "202503102359", false),
            ("CT", "20240101", false),
            ("CT", "", false),
            ("CT", "202504", false),
            ("CT", "99999999", false),
            ("CT", "NEXT MONTH", false),
            ("MR", "20250401", false),
            ("PT\\MR", "20250401", false),
            ("PT\\CT", "20250401", true),
            ("US", "20250401", false),
        ] {
            assert_eq!(is_far(&order(modality, scheduled), &rules, last), want, "{modality} {scheduled}");
        }
    }

    /// With `keep = "1d"` priors are pulled on the day itself; with a day more, the day before.
    #[test]
    fn copies_are_still_here_on_the_day_of_the_order() {
        for (hours, days) in [(0, 0), (12, 0), (24, 0), (36, 0), (48, 1), (24 * 32, 31), (u64::MAX / 3600, 3649)] {
            assert_eq!(days_ahead(Duration::from_secs(hours * 3600)), days, "{hours}");
        }
    }

    /// IDY-051: an order that is put off counts again once its new day is near, and so does one whose copies stay less long by now; for a
    /// day that is over, or where only a node keeps what is pulled, nothing does.
    #[test]
    fn what_was_pulled_before_the_day_was_near_may_be_gone_on_it() {
        let day = |of: i8| Date::new(2025, 3, of).unwrap();
        let now = day(10).at(9, 30, 0, 0).to_zoned(TimeZone::UTC).unwrap();
        for (hours, modality, scheduled, want) in [
            (24, "CT", "20250310", Some(10)),
            (12, "CT", "202503100800", Some(10)),
            (72, "CT", "20250310", Some(8)),
            (72, "CT", "20250312", Some(10)),
            (24, "CT", "20250315", Some(15)),
            (24, "CT", "20250309", None),
            (24, "CT", "", None),
            (24, "MR", "20250312", None),
        ] {
            let settings = Prefetching {
                rules: vec![rule("CT", None), rule("MR", Some("PACS"))],
                keep: Duration::from_secs(hours * 3600),
                ..Prefetching::default()
            };
            let before = gone_if_before(&order(modality, scheduled), &settings, &now);
            let before = before.map(|at| Timestamp::try_from(at).unwrap().to_zoned(TimeZone::UTC).datetime());
            assert_eq!(before, want.map(|of| day(of).at(0, 0, 0, 0)), "{hours} {modality} {scheduled}");
        }
    }

    /// Each day is looked at once; after a start, and when fewer are near than were, all are.
    #[test]
    fn days_are_looked_at_again_when_copies_stay_less_long() {
        let day = |of: i8| Date::new(2025, 3, of).unwrap();
        for (seen, last, want) in [(None, 12, 10), (Some(11), 12, 12), (Some(12), 12, 13), (Some(16), 12, 10)] {
            assert_eq!(first_day(seen.map(day), day(last), day(10)), day(want), "{seen:?} {last}");
        }
    }
}
