//! The matcher beside a small one that is written from the words of PS3.4 section C.2.2.2 alone, slow and plain.

use super::{Match, matches};
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;
use proptest::prelude::*;

/// `*` for any characters, also none, `?` for one (PS3.4 section C.2.2.2.4).
fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|taken| like(rest, &text[taken..])),
        ['?', rest @ ..] => !text.is_empty() && like(rest, &text[1..]),
        [one, rest @ ..] => text.first() == Some(one) && like(rest, &text[1..]),
    }
}

fn is_like(pattern: &str, text: &str) -> bool {
    like(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

/// The first and the last second of what a time may be: `22` is any second of that hour.
fn seconds(time: &str) -> (u32, u32) {
    let part = |at: usize, most: u32| match time.get(at..at + 2) {
        Some(digits) => digits.parse().map(|number| (number, number)).unwrap_or((0, most)),
        None => (0, most),
    };
    let [hour, minute, second] = [part(0, 23), part(2, 59), part(4, 59)];
    (hour.0 * 3600 + minute.0 * 60 + second.0, hour.1 * 3600 + minute.1 * 60 + second.1)
}

/// A date is one day.
fn day(date: &str) -> (u32, u32) {
    let day = date.parse().unwrap_or_default();
    (day, day)
}

/// Whether what is held may lie in a range, ends included (PS3.4 section C.2.2.2.5).
fn is_within(wanted: &str, held: &str, span: fn(&str) -> (u32, u32)) -> bool {
    let (first, last) = wanted.split_once('-').unwrap_or((wanted, wanted));
    let held = span(held);
    (first.is_empty() || held.1 >= span(first).0) && (last.is_empty() || held.0 <= span(last).1)
}

/// A name in small letters; components at its end may be left out (PS3.5 section 6.2), so that each number of them is tried.
fn is_name(wanted: &str, held: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().trim_end_matches('^').to_owned();
    (0..5).any(|empty| is_like(&plain(wanted), &format!("{}{}", plain(held), "^".repeat(empty))))
}

fn is_one(vr: Vr, wanted: &str, held: &str) -> bool {
    match vr {
        Vr::DA => is_within(wanted, held, day),
        Vr::TM => is_within(wanted, held, seconds),
        Vr::IS => wanted.parse::<i64>().ok() == held.parse::<i64>().ok(),
        Vr::PN => is_name(wanted, held),
        Vr::UI => wanted == held,
        _ => is_like(wanted, held),
    }
}

/// Any of several values that are held matches any of those that are asked for (PS3.4 section C.2.2.3).
fn reference(vr: Vr, wanted: &[String], held: &[String]) -> bool {
    let everything = wanted.is_empty() || (vr != Vr::UI && matches!(wanted, [one] if one.is_empty() || one == "*"));
    everything || held.iter().any(|held| wanted.iter().any(|wanted| !wanted.is_empty() && is_one(vr, wanted, held)))
}

fn of(vr: Vr, wanted: &str, held: &str) -> impl Strategy<Value = (Vr, Vec<String>, Vec<String>)> + use<> {
    let list =
        |one: &str| prop::collection::vec(prop::string::string_regex(one).unwrap_or_else(|_| unreachable!()), 1..3);
    (Just(vr), list(wanted), list(held))
}

proptest! {
    /// DIM-062, DIM-063, DIM-064, DIM-066, DIM-067.
    #[test]
    fn what_matches_is_what_the_words_of_the_standard_say(
        (vr, wanted, held) in prop_oneof![
            of(Vr::LO, "[abé*?]{0,6}", "[abé]{1,6}"),
            of(Vr::CS, "[AB*?]{0,4}", "[AB]{1,4}"),
            of(Vr::PN, r"\*?[aB]{0,2}(\^\*?[Ab]{0,2}|[Ab]{1,2}\*?){0,3}", r"[aB]{1,2}(\^[Ab]{0,2}){0,3}"),
            of(Vr::DA, "202503(0[1-4])(-(202503(0[1-4]))?)?|-2025030[1-4]", "2025030[1-4]"),
            of(Vr::TM, "(0[0-2]([01][0-9]([01][0-9])?)?)(-(0[0-2]([01][0-9])?)?)?|-0[0-2]", "0[0-2]([01][0-9]([01][0-9])?)?"),
            of(Vr::IS, "-?0?[0-9]", "-?0{0,2}[0-9]"),
            of(Vr::UI, "1\\.[12]{1,2}", "1\\.[12]{1,2}"),
        ],
    ) {
        let values = if vr == Vr::UI { wanted.clone() } else { vec![wanted.join("\\")] };
        let wanted = if vr == Vr::UI { wanted } else { values[0].split('\\').map(str::to_owned).collect() };
        let asked = Match { path: vec![Tag(0x0010_0010)], vr, values };
        prop_assert_eq!(
            matches(&asked, Some(&held.join("\\"))),
            reference(vr, &wanted, &held),
            "{} {:?} against {:?}", vr, wanted, held
        );
    }
}
