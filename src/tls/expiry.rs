//! When a certificate has to be replaced: said from thirty days before its end, and again as the end comes near (DIM-113).

use super::Facts;
use std::time::{Duration, SystemTime};

/// What to do about it.
pub const REPLACE: &str = "replace it; the running gateway takes the new one at SIGHUP";

const DAY: Duration = Duration::from_secs(86_400);
/// The days before the end on which it is said again.
const MARKS: [u32; 4] = [30, 14, 7, 1];

/// How near the end a certificate is: how many of the marks at 30, 14, 7 and 1 days it has passed, 5 when it has expired.
/// One that is not valid yet has passed none.
pub fn marks_passed(facts: &Facts, now: SystemTime) -> usize {
    match facts.not_after.duration_since(now) {
        Err(_) => MARKS.len() + 1,
        Ok(left) => MARKS.iter().filter(|days| left < DAY * **days).count(),
    }
}

/// Says in one sentence how near the end `what` is, with its subject; `None` while there is nothing to say.
pub fn words(what: &str, facts: &Facts, now: SystemTime) -> Option<String> {
    let subject = &facts.subject;
    Some(match facts.not_after.duration_since(now) {
        _ if facts.not_before > now => format!("{what} ({subject}) is not valid yet"),
        Err(_) => format!("{what} ({subject}) has expired"),
        Ok(left) if left < DAY => format!("{what} ({subject}) expires within a day"),
        Ok(left) if left < DAY * MARKS[0] => {
            format!("{what} ({subject}) expires in {} days", left.as_secs() / DAY.as_secs())
        }
        Ok(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_at_thirty_fourteen_seven_and_one_day() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let rows = [
            (Some(31 * DAY), 0, None),
            (Some(30 * DAY - DAY / 2), 1, Some("it (CN=x) expires in 29 days")),
            (Some(14 * DAY), 1, Some("it (CN=x) expires in 14 days")),
            (Some(14 * DAY - DAY / 2), 2, Some("it (CN=x) expires in 13 days")),
            (Some(7 * DAY - DAY / 2), 3, Some("it (CN=x) expires in 6 days")),
            (Some(DAY / 2), 4, Some("it (CN=x) expires within a day")),
            (None, 5, Some("it (CN=x) has expired")),
        ];
        for (left, marks, want) in rows {
            let not_after = left.map_or(now - DAY, |left| now + left);
            let (subject, names) = ("CN=x".to_owned(), Vec::new());
            let not_before = SystemTime::UNIX_EPOCH;
            let facts = Facts { subject, names, not_before, not_after, server: true, client: true, authority: false };
            assert_eq!(marks_passed(&facts, now), marks, "{left:?}");
            assert_eq!(words("it", &facts, now).as_deref(), want, "{left:?}");
        }
    }
}
