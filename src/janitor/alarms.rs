//! What wants a person and would otherwise pass unseen: no room, and instances that nobody is to get (REL-06, "No destination").

use super::Janitor;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What lasts is told again so often.
const AGAIN: Duration = Duration::from_secs(86_400);

/// What was told last.
#[derive(Default)]
pub(super) struct Alarms {
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    refusing: bool,
    unrouted: u64,
    unrouted_at: Option<Instant>,
}

impl Told {
    /// Whether this many unrouted instances are news, or old news that is told again.
    fn is_news(&mut self, unrouted: u64, now: Instant) -> bool {
        let again = self.unrouted_at.is_none_or(|at| now.duration_since(at) >= AGAIN);
        let news = unrouted > 0 && (self.unrouted == 0 || again);
        if news {
            self.unrouted_at = Some(now);
        }
        if unrouted == 0 {
            self.unrouted_at = None;
        }
        self.unrouted = unrouted;
        news
    }
}

impl Janitor {
    /// Tells in the log what has changed or has lasted for a day.
    pub(super) async fn alarms(&self) {
        let usage = self.inner.store.usage();
        let told = &self.inner.alarms.told;
        let was = std::mem::replace(&mut told.lock().unwrap_or_else(PoisonError::into_inner).refusing, usage.refusing);
        match (was, usage.refusing) {
            (false, true) => tracing::error!(
                free = usage.free_bytes,
                reserve = usage.reserve_bytes,
                "the disk is down to its reserve: nothing new is taken until there is room; deliveries go on"
            ),
            (true, false) => tracing::info!(free = usage.free_bytes, "there is room again; new work is taken"),
            _ => {}
        }
        let (summary, oldest) = (self.inner.records.summary().await, self.inner.records.oldest_unrouted().await);
        let (Ok(summary), Ok(oldest)) = (summary, oldest) else { return };
        let news = told.lock().unwrap_or_else(PoisonError::into_inner).is_news(summary.unrouted, Instant::now());
        if news {
            let age = oldest.and_then(|at| self.inner.clock.now().duration_since(at).ok()).unwrap_or_default();
            tracing::warn!(
                instances = summary.unrouted,
                oldest_seconds = age.as_secs(),
                "no route chose a destination that may have them for some instances; see `weybridge store list --unrouted`"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_route_chose_is_told_once_and_then_daily() {
        let (mut told, start) = (Told::default(), Instant::now());
        let hour = Duration::from_secs(3600);
        let rows = [
            (0, 0, false),
            (0, 2, true),
            (1, 2, false),
            (2, 3, false),
            (24, 3, true),
            (25, 3, false),
            (26, 0, false),
            (27, 1, true),
        ];
        for (hours, unrouted, want) in rows {
            assert_eq!(told.is_news(unrouted, start + hours * hour), want, "{unrouted} after {hours} h");
        }
    }
}
