//! The Retry-After header: how long a server asks us to wait (RFC 9110 section 10.2.3).

use std::time::{Duration, SystemTime};

/// The shortest wait that is believed: zero, a past date and a negative number mean "at once", and at once would be a hot loop.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// The longest wait that is believed (WEB-061).
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The wait that a header value asks for, in either form, clamped to [`SHORTEST`]..=[`LONGEST`] (WEB-075).
///
/// `None` for garbage: the caller's own back-off decides then.
pub fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let (negative, digits) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let wait = if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a u64 holds is a wait beyond any bound.
        if negative { Duration::ZERO } else { Duration::from_secs(digits.parse().unwrap_or(u64::MAX)) }
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::fired::note_fired;

    #[test]
    fn both_forms_are_read_and_clamped() {
        // 2026-11-23 12:00:00 UTC, a Monday.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200);
        let rows = [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(1)),
            ("-5", Some(1)),
            ("3600", Some(3600)),
            ("315360000", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Mon, 23 Nov 2026 12:01:30 GMT", Some(90)),
            ("Monday, 23-Nov-26 12:01:30 GMT", Some(90)),
            ("Mon Nov 23 12:01:30 2026", Some(90)),
            ("Mon, 23 Nov 2026 11:59:00 GMT", Some(1)),
            ("Sun, 23 Nov 2036 12:00:00 GMT", Some(3600)),
            ("", None),
            ("-", None),
            ("soon", None),
            ("1.5", None),
            ("120, 60", None),
            ("Mon, 99 Foo 2026 12:01:30 GMT", None),
        ];
        for (value, want) in rows {
            assert_eq!(parse(value, now).map(|d| d.as_secs()), want, "{value:?}");
        }
        note_fired(rows.len());
    }
}
