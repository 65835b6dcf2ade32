//! Prints answers: tables for people, one JSON object a line for programs.

use super::Failure;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use serde::Serialize;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

/// Writes a line to standard output, or several. What would move the cursor or change colours is shown by its escape.
pub(super) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    let text = text.to_string();
    as_it_is(&text.split('\n').map(plain).collect::<Vec<_>>().join("\n"))
}

/// Writes a line without a change. That nobody reads any more ends the telling: what is being done goes on, and the exit code says what
/// came of it.
pub(super) fn as_it_is(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::some(format!("cannot write the answer: {error}"))),
    })
}

/// A text of somebody else's on one line: what would move the cursor, or end the line, is shown by its escape.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
}

/// Writes one JSON object on a line of its own.
pub(super) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    as_it_is(&serde_json::to_string(value).map_err(Failure::some)?)
}

/// Writes a table with as little ink as possible.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    let text = table.to_string();
    text.lines().try_for_each(|row| line(row.trim_end()))
}

/// A point in time for people: local time with its zone.
pub(super) fn local(at: SystemTime) -> String {
    let Ok(at) = Timestamp::try_from(at) else { return "?".into() };
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A point in time for programs: UTC, RFC 3339, milliseconds.
pub(super) fn utc(at: SystemTime) -> String {
    let rounded = Timestamp::try_from(at).and_then(|at| at.round(Unit::Millisecond));
    rounded.map_or_else(|_| "?".into(), |at| at.to_string())
}

/// A length of time in one or two units.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number of bytes in the largest unit that leaves a whole part.
pub(super) fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UIX-05: a reason or a file's name is not obeyed by the terminal, and makes no lines that the gateway did not write.
    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(plain("red \u{1b}[31m\nand\tgone\u{7}\u{9b}"), "red \\u{1b}[31m\\nand\\tgone\\u{7}\\u{9b}");
        assert_eq!(plain("Müller, \"ok\""), "Müller, \"ok\"");
    }

    #[test]
    fn spans_and_sizes_are_short() {
        assert_eq!(span(Duration::from_millis(12)), "12 ms");
        assert_eq!(span(Duration::from_secs(90)), "90 s");
        assert_eq!(span(Duration::from_secs(7200)), "2 h");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(524_400_000), "524.4 MB");
    }
}
