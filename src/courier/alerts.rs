//! Tells when urgent transfers wait: after five minutes, half an hour and two hours (REL-20); when a destination does not answer for a
//! minute, and when it does again.

use crate::clock::Clock;
use crate::ledger::breaker::Reach;
use crate::peers::Destination;
use crate::records::{DestinationView, Records};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// So often it is looked at.
const EVERY: Duration = Duration::from_secs(15);

/// The ages at which urgent transfers that wait are told of.
const URGENT: [Duration; 3] = [Duration::from_secs(300), Duration::from_secs(1800), Duration::from_secs(7200)];

/// A destination that does not answer for so long is told of; shorter silences are many where a line or a peer is busy.
const SILENT: Duration = Duration::from_secs(60);

/// What was told of each destination: how many of [`URGENT`] had passed.
type Told = BTreeMap<Destination, usize>;

/// The destinations whose silence was told of, and since when they were silent.
type Silences = BTreeMap<Destination, SystemTime>;

/// What is to be told of a destination that fell silent or answers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Silent,
    /// After so long.
    Back(Duration),
}

/// Watches until `stop`.
pub(super) async fn watch(records: Records, clock: Clock, stop: CancellationToken) {
    let (mut told, mut silences) = (Told::new(), Silences::new());
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
        for (destination, turn) in turns(&destinations, clock.now(), &mut silences) {
            match turn {
                Turn::Silent => {
                    tracing::warn!(%destination, "the destination does not answer; what is for it waits, and it is tried again by itself; see `weybridge status`")
                }
                Turn::Back(silent) => {
                    tracing::info!(%destination, minutes = silent.as_secs() / 60, "the destination answers again")
                }
            }
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

/// The destinations that have been silent for [`SILENT`] and were not told of, and those told of that answer again.
fn turns(destinations: &[DestinationView], now: SystemTime, silences: &mut Silences) -> Vec<(Destination, Turn)> {
    let mut turns = Vec::new();
    for view in destinations {
        let (silence, since) = (silences.get(&view.destination).copied(), view.since.unwrap_or(now));
        let turn = match (view.reach, silence) {
            (Reach::Down, None) if now.duration_since(since).is_ok_and(|silent| silent >= SILENT) => Turn::Silent,
            (Reach::Up, Some(began)) => Turn::Back(since.duration_since(began).unwrap_or_default()),
            _ => continue,
        };
        match turn {
            Turn::Silent => silences.insert(view.destination.clone(), since),
            Turn::Back(_) => silences.remove(&view.destination),
        };
        turns.push((view.destination.clone(), turn));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kent(reach: Reach, since: Option<SystemTime>, urgent: Option<SystemTime>) -> DestinationView {
        DestinationView {
            unsupported: Vec::new(),
            uncompared: 0,
            unasked: None,
            warned: Vec::new(),
            destination: Destination("kent".into()),
            reach,
            since,
            failures: 0,
            not_before: None,
            words: None,
            open: BTreeMap::new(),
            oldest: None,
            urgent,
            paused: None,
        }
    }

    #[test]
    fn a_destination_that_falls_silent_and_answers_again_is_told_once_each() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        let mut silences = Silences::new();
        let rows = [
            (0, Reach::Up, None, None),
            (15, Reach::Down, Some(14), None),
            // A short silence is told neither when it begins nor when it ends.
            (30, Reach::Up, Some(20), None),
            (60, Reach::Down, Some(40), None),
            (105, Reach::Down, Some(40), Some(Turn::Silent)),
            (120, Reach::Down, Some(40), None),
            // Set right by a person or not: it is still not back.
            (135, Reach::Parked, Some(130), None),
            (700, Reach::Up, Some(640), Some(Turn::Back(Duration::from_secs(600)))),
            (715, Reach::Up, Some(640), None),
            // The clock is set back.
            (10, Reach::Down, Some(800), None),
        ];
        for (now, reach, since, want) in rows {
            let told = turns(&[kent(reach, since.map(at), None)], at(now), &mut silences);
            assert_eq!(told.into_iter().map(|(_, turn)| turn).next(), want, "at {now} s");
        }
    }

    #[test]
    fn each_age_is_told_once_and_again_for_the_next_that_waits() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut told = Told::new();
        let mut at = |minutes: u64, waits_since: Option<u64>| {
            let view = kent(Reach::Up, None, waits_since.map(|minutes| start + Duration::from_secs(minutes * 60)));
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
