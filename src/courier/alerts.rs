//! Tells when urgent transfers wait: after five minutes, half an hour and two hours (REL-20).

use crate::clock::Clock;
use crate::peers::Destination;
use crate::records::{DestinationView, Records};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// So often it is looked at.
const EVERY: Duration = Duration::from_secs(15);

/// The ages at which urgent transfers that wait are told of.
const URGENT: [Duration; 3] = [Duration::from_secs(300), Duration::from_secs(1800), Duration::from_secs(7200)];

/// What was told of each destination: how many of [`URGENT`] had passed.
type Told = BTreeMap<Destination, usize>;

/// Watches until `stop`.
pub(super) async fn watch(records: Records, clock: Clock, stop: CancellationToken) {
    let mut told = Told::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        // What cannot be read now is read next time; the lanes tell of the trouble.
        let Ok(destinations) = records.destinations().await else { continue };
        for (destination, waited) in due(&destinations, clock.now(), &mut told) {
            let minutes = waited.as_secs() / 60;
            tracing::warn!(destination = %destination, minutes, "urgent transfers wait; see `weybridge transfers list`");
        }
    }
}

/// The destinations of which something is to be told now, each with how long its oldest urgent transfer waits.
fn due(destinations: &[DestinationView], now: SystemTime, told: &mut Told) -> Vec<(Destination, Duration)> {
    let mut due = Vec::new();
    for view in destinations {
        let waited = view.urgent.map(|since| now.duration_since(since).unwrap_or_default()).unwrap_or_default();
        let passed = URGENT.iter().filter(|age| waited >= **age).count();
        let before = told.insert(view.destination.clone(), passed).unwrap_or(0);
        if passed > before {
            due.push((view.destination.clone(), waited));
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::breaker::Reach;

    #[test]
    fn each_age_is_told_once_and_again_for_the_next_that_waits() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut told = Told::new();
        let mut at = |minutes: u64, waits_since: Option<u64>| {
            let view = DestinationView {
                unsupported: Vec::new(),
                uncompared: 0,
                unasked: None,
                warned: Vec::new(),
                destination: Destination("kent".into()),
                reach: Reach::Up,
                since: None,
                failures: 0,
                not_before: None,
                words: None,
                open: BTreeMap::new(),
                oldest: None,
                urgent: waits_since.map(|minutes| start + Duration::from_secs(minutes * 60)),
                paused: None,
            };
            let told = due(&[view], start + Duration::from_secs(minutes * 60), &mut told);
            told.into_iter().map(|(_, waited)| waited.as_secs() / 60).collect::<Vec<_>>()
        };
        let rows = [
            (0, None, vec![]),
            (4, Some(0), vec![]),
            (5, Some(0), vec![5]),
            (6, Some(0), vec![]),
            (29, Some(0), vec![]),
            (31, Some(0), vec![31]),
            (119, Some(0), vec![]),
            (120, Some(0), vec![120]),
            (5000, Some(0), vec![]),
            (5001, None, vec![]),
            (5002, Some(5002), vec![]),
            (5007, Some(5002), vec![5]),
            // The clock is set back: nothing has waited.
            (10, Some(5002), vec![]),
        ];
        for (minutes, since, want) in rows {
            assert_eq!(at(minutes, since), want, "at {minutes} min, waiting since {since:?}");
        }
    }
}
