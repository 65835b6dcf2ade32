//! What wants a person and would otherwise pass unseen: no room, instances that nobody is to get, exceptions, and SOP classes that a
//! destination does not take (REL-06, REL-10, "No destination").

use super::Janitor;
use std::collections::BTreeMap;
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
    /// The records could not be written.
    full: bool,
    unrouted: News,
    exceptions: News,
    classes: News,
    unsound: News,
    unverified: News,
}

/// How many of something there were, and when that was told.
#[derive(Default)]
struct News {
    count: u64,
    at: Option<Instant>,
}

impl News {
    /// Whether this many are news, or old news that is told again.
    fn is_news(&mut self, count: u64, now: Instant) -> bool {
        let again = self.at.is_none_or(|at| now.duration_since(at) >= AGAIN);
        let news = count > 0 && (self.count == 0 || again);
        if news {
            self.at = Some(now);
        }
        if count == 0 {
            self.at = None;
        }
        self.count = count;
        news
    }
}

impl Told {
    /// Whether the records cannot be written, and whether new work is refused, each if that has changed. That nothing can be written says
    /// the other as well.
    fn room(&mut self, full: bool, refusing: bool) -> (Option<bool>, Option<bool>) {
        let turned = |was: &mut bool, is: bool| (std::mem::replace(was, is) != is).then_some(is);
        let refuses = turned(&mut self.refusing, refusing).filter(|refuses| !(full && *refuses));
        (turned(&mut self.full, full), refuses)
    }
}

/// What of the exceptions waits for a person. A conflict at which the judge has not looked yet may be none.
fn waiting(exceptions: &BTreeMap<String, u64>, unjudged: u64) -> BTreeMap<String, u64> {
    let of = |kind: &String| if kind == "conflict" { unjudged } else { 0 };
    exceptions.iter().map(|(kind, count)| (kind.clone(), count.saturating_sub(of(kind)))).collect()
}

/// Exceptions by their kinds, for people: `2 dead, 1 held`.
fn kinds(exceptions: &BTreeMap<String, u64>) -> String {
    let open = exceptions.iter().filter(|(_, count)| **count > 0);
    open.map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

impl Janitor {
    /// Tells in the log what has changed or has lasted for a day.
    pub(super) async fn alarms(&self) {
        let told = &self.inner.alarms.told;
        self.alarms_of_room(&mut told.lock().unwrap_or_else(PoisonError::into_inner));
        self.alarm_of_records().await;
        let (summary, oldest) = (self.inner.records.summary().await, self.inner.records.oldest_unrouted().await);
        let (Ok(summary), Ok(oldest)) = (summary, oldest) else { return };
        let (open, now) = (waiting(&summary.exceptions, summary.unjudged), Instant::now());
        let count = open.values().sum();
        let classes = summary.destinations.iter().map(|one| one.unsupported.len() as u64).sum();
        let (unrouted, exceptions, parked) = {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let unrouted = told.unrouted.is_news(summary.unrouted, now);
            (unrouted, told.exceptions.is_news(count, now), told.classes.is_news(classes, now))
        };
        if exceptions {
            let kinds = kinds(&open);
            tracing::warn!(count, kinds, "exceptions wait for a person; see `weybridge exceptions list`");
        }
        if parked {
            tracing::warn!(
                count = classes,
                "SOP classes are not taken by a destination: instances of them are parked as they come; see `weybridge status`"
            );
        }
        if unrouted {
            let age = oldest.and_then(|at| self.inner.clock.now().duration_since(at).ok()).unwrap_or_default();
            tracing::warn!(
                instances = summary.unrouted,
                oldest_seconds = age.as_secs(),
                "no route chose a destination that may have them for some instances; see `weybridge store list --unrouted`"
            );
        }
    }

    /// Tells that the last verification found the records wrong, until one finds them sound, and that none has ended for long (LED-006).
    async fn alarm_of_records(&self) {
        let Ok(verified) = self.inner.records.verified().await else { return };
        let unverified = self.is_unverified(verified.as_ref());
        let problems = verified.map_or(0, |verified| verified.problems);
        let (news, late) = {
            let mut told = self.inner.alarms.told.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            (told.unsound.is_news(problems, now), told.unverified.is_news(u64::from(unverified), now))
        };
        if late {
            tracing::error!(
                "THE RECORDS WERE NOT VERIFIED for more than three times `store.verify_every`; see `weybridge status`"
            );
        }
        if news {
            tracing::error!(problems, "THE RECORDS ARE NOT SOUND, as they were last verified; see `weybridge status`");
        }
    }

    /// Tells that there is no room, and when there is again. The reserve is passed first; that the records cannot be written, too, may
    /// come later and is worse.
    fn alarms_of_room(&self, told: &mut Told) {
        let (usage, full) = (self.inner.store.usage(), self.inner.records.is_full());
        let free = usage.free_bytes;
        let (unwritable, refuses) = told.room(full, usage.refusing);
        match unwritable {
            Some(true) => tracing::error!(
                free,
                "the disk is full and the records cannot be written: nothing is taken, and deliveries wait, too; make room"
            ),
            Some(false) => tracing::info!(
                free,
                "the records can be written again: deliveries go on, and new work is taken once there is room"
            ),
            None => {}
        }
        match refuses {
            Some(true) => tracing::error!(
                free,
                reserve = usage.reserve_bytes,
                "the disk is down to its reserve: nothing new is taken until there is room; deliveries go on"
            ),
            Some(false) => tracing::info!(free, "there is room again; new work is taken"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    #[test]
    fn what_waits_for_a_person_is_told_once_and_then_daily() {
        let (mut told, start) = (News::default(), Instant::now());
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
        for (hours, count, want) in rows {
            assert_eq!(told.is_news(count, start + hours * hour), want, "{count} after {hours} h");
        }
    }

    /// FLT-022: the reserve is passed first, and the disk is full later.
    #[test]
    fn that_the_records_cannot_be_written_is_told_when_it_begins() {
        let mut told = Told::default();
        let rows = [
            ((false, true), (None, Some(true))),
            ((true, true), (Some(true), None)),
            ((true, true), (None, None)),
            ((false, true), (Some(false), None)),
            ((false, false), (None, Some(false))),
            ((true, true), (Some(true), None)),
        ];
        let mut full_disks = 0;
        for ((full, refusing), want) in rows {
            assert_eq!(told.room(full, refusing), want, "full: {full}, refusing: {refusing}");
            full_disks += usize::from(full);
        }
        note_fired(full_disks);
    }

    #[test]
    fn exceptions_are_told_by_their_kinds() {
        let of = |rows: &[(&str, u64)]| kinds(&rows.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect());
        assert_eq!(of(&[("held", 1), ("dead", 40), ("conflict", 0)]), "40 dead, 1 held");
        assert_eq!(of(&[]), "");
        let open = [("conflict".to_owned(), 3), ("dead".to_owned(), 1)].into();
        assert_eq!(kinds(&waiting(&open, 2)), "1 conflict, 1 dead");
        assert_eq!(kinds(&waiting(&open, 3)), "1 dead");
    }
}
