//! What of keeping things fails just now, for people: one line each on the screen of `weybridge status` (REL-06, FLT-022).

use super::status::utc;
use crate::store::Trouble;
use std::time::{Duration, SystemTime};

/// What was refused for want of room is shown so long.
const RECENTLY: Duration = Duration::from_secs(600);

/// That a site began anew is shown so long, unless a person says that it was meant.
const FIRST_DAY: Duration = Duration::from_secs(86_400);

/// That the records were not verified for too long: when they were last, if they ever were.
pub(super) fn unverified(last: Option<SystemTime>) -> String {
    let since = last.map_or_else(|| "the start".to_owned(), utc);
    format!(
        "THE RECORDS WERE NOT VERIFIED since {since}, for more than three times `store.verify_every`: the log says why, mostly for want \
         of room on the disk"
    )
}

/// The lines that want somebody to act. `full` tells whether the records cannot be written, `began` when they were begun.
pub(super) fn lines(
    trouble: &Trouble,
    full: bool,
    reserve: u64,
    began: Option<SystemTime>,
    now: SystemTime,
) -> Vec<String> {
    let within = |at: SystemTime, span: Duration| now.duration_since(at).unwrap_or_default() < span;
    let mut lines = Vec::new();
    if full {
        lines.push(
            "THE RECORDS CANNOT BE WRITTEN, the disk is full: nothing is taken, and what came of deliveries cannot be recorded, so that \
             they wait, too. Make room"
                .to_owned(),
        );
    }
    if let Some((at, what)) = &trouble.unmade {
        lines.push(format!(
            "FILES CANNOT BE MADE in {what} (last tried {}); what needs one is not taken. Put that right; it goes on by itself",
            utc(*at)
        ));
    }
    if let Some(last) = trouble.turned_away.filter(|last| within(last.at, RECENTLY)) {
        let refused = format!(
            "{} at once were refused at {}: {} were free",
            megabytes(last.wanted),
            utc(last.at),
            megabytes(last.free)
        );
        lines.push(match last.until {
            Some(until) => format!("{refused}, and there is no room until {} are. Make room", megabytes(until)),
            None if last.despite_room(reserve) => format!(
                "{refused}, and yet the file system had no room: is there a quota, or is the volume below it full? Make room"
            ),
            None => format!(
                "{refused}, and {} are kept. Make room, or have the sender send less at a time",
                megabytes(reserve)
            ),
        });
    }
    if let Some(at) = began.filter(|at| within(*at, FIRST_DAY)) {
        lines.push(format!(
            "this site began anew at {}: there were no records in its data directory. If it held studies before, stop it: is its disk \
             mounted? If this was meant, say so with `weybridge store accept`",
            utc(at)
        ));
    }
    lines
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::TurnedAway;

    #[test]
    fn what_fails_is_told_as_long_as_it_matters() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let ago = |seconds| now - Duration::from_secs(seconds);
        let unmade = Trouble { unmade: Some((ago(60), "/data/blobs: no inodes".into())), ..Trouble::default() };
        let turned_until = |seconds, until| Trouble {
            turned_away: Some(TurnedAway { at: ago(seconds), wanted: 64_000_000, free: 90_000_000, until }),
            ..Trouble::default()
        };
        let turned = |seconds| turned_until(seconds, None);
        let last = TurnedAway { at: ago(500), wanted: 64_000_000, free: 114_000_000, until: None };
        let despite_room = Trouble { turned_away: Some(last), ..Trouble::default() };
        let nothing = Trouble::default;
        let rows: [(Trouble, bool, Option<SystemTime>, &[&str]); 9] = [
            (nothing(), false, None, &[]),
            (nothing(), true, None, &["RECORDS CANNOT BE WRITTEN"]),
            (unmade, false, None, &["FILES CANNOT BE MADE in /data/blobs: no inodes"]),
            (turned(500), false, None, &["64.0 MB at once were refused", "90.0 MB were free, and 50.0 MB are kept"]),
            (
                turned_until(500, Some(126_500_000)),
                false,
                None,
                &["90.0 MB were free, and there is no room until 126.5 MB are"],
            ),
            (despite_room, false, None, &["114.0 MB were free, and yet the file system had no room"]),
            (turned(700), false, None, &[]),
            (nothing(), false, Some(ago(80_000)), &["this site began anew at 2026-"]),
            (nothing(), false, Some(ago(90_000)), &[]),
        ];
        for (trouble, full, began, want) in rows {
            let lines = lines(&trouble, full, 50_000_000, began, now);
            assert_eq!(lines.len(), usize::from(!want.is_empty()), "{lines:?}");
            assert!(want.iter().all(|words| lines[0].contains(words)), "{lines:?}");
        }
    }
}
