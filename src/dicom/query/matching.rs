//! Whether a value that is held matches one that is asked for (PS3.4 section C.2.2.2; PS3.18 section 8.3.4.1).

use super::Match;
use crate::dicom::vr::Vr;

/// Checks a value that is asked for, or each of several, before anything is looked up: a date, time or number must be one. The
/// error says what the value should be, and does not repeat it (SEC-010).
pub fn check(matched: &Match) -> Result<(), &'static str> {
    let Some(wanted) = matched.values.first().filter(|wanted| !matches!(wanted.as_str(), "" | "*")) else {
        return Ok(());
    };
    let ends = |one: &str, valid: fn(&str) -> bool| {
        let (first, last) = one.split_once('-').unwrap_or((one, ""));
        !matches!(one, "" | "-") && [first, last].iter().all(|end| end.is_empty() || valid(end))
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let each = |right: &dyn Fn(&str) -> bool| wanted.split('\\').all(right);
    let (right, what) = match matched.vr {
        Vr::DA => (each(&|one| ends(one, is_date)), "a date or a range of dates"),
        Vr::TM => (each(&|one| ends(one, is_time)), "a time or a range of times"),
        Vr::IS => (each(&|one| digits(one.trim().trim_start_matches(['+', '-']))), "a whole number"),
        _ => (true, ""),
    };
    if right { Ok(()) } else { Err(what) }
}

/// Eight digits, or the same with dots between them as before the third edition. A month has up to 31 days: ranges end so.
fn is_date(text: &str) -> bool {
    let plain = match text.as_bytes() {
        [_, _, _, _, b'.', _, _, b'.', _, _] => text.replace('.', ""),
        _ => text.to_owned(),
    };
    let in_range = |at, range: std::ops::RangeInclusive<u8>| {
        plain.get(at).and_then(|digits: &str| digits.parse().ok()).is_some_and(|number| range.contains(&number))
    };
    let digits = plain.len() == 8 && plain.bytes().all(|b| b.is_ascii_digit());
    digits && in_range(4..6, 1..=12) && in_range(6..8, 1..=31)
}

/// Two, four or six digits, and after six a fraction; or the same with colons between them as before the third edition. A minute may have
/// a leap second (PS3.5 section 6.2).
fn is_time(text: &str) -> bool {
    const MOST: [u8; 3] = [23, 59, 60];
    let plain = text.replace(':', "");
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let possible = |(number, most): (&[u8], u8)| (number[0] - b'0') * 10 + (number[1] - b'0') <= most;
    matches!(whole.len(), 2 | 4 | 6)
        && digits(whole)
        && whole.as_bytes().chunks_exact(2).zip(MOST).all(possible)
        && fraction.is_none_or(|rest| whole.len() == 6 && (1..=6).contains(&rest.len()) && digits(rest))
}

/// Whether a held value, several joined by backslashes, matches: any of them by any of those that are asked for. An empty value
/// that is asked for matches everything; nothing held matches that, and the wildcard for everything, alone.
pub fn matches(matched: &Match, held: Option<&str>) -> bool {
    if matched.vr == Vr::UI {
        return matched.values.is_empty()
            || held.is_some_and(|held| held.split('\\').any(|uid| matched.values.iter().any(|w| w == uid)));
    }
    let Some(wanted) = matched.values.first().map(String::as_str).filter(|wanted| !matches!(*wanted, "" | "*")) else {
        return true;
    };
    let mut values =
        held.unwrap_or_default().split('\\').map(|value| value.trim_matches([' ', '\0'])).filter(|v| !v.is_empty());
    values.any(|value| wanted.split('\\').any(|wanted| one_matches(matched.vr, wanted, value)))
}

fn one_matches(vr: Vr, wanted: &str, held: &str) -> bool {
    match vr {
        // Before the third edition of the standard dates had dots and times had colons.
        Vr::DA => in_range(&wanted.replace('.', ""), &held.replace('.', "")),
        Vr::TM => in_range(&wanted.replace(':', ""), &held.replace(':', "")),
        Vr::IS | Vr::DS => held.parse::<f64>().ok().is_some_and(|held| wanted.trim().parse() == Ok(held)),
        Vr::PN => name(wanted, held),
        _ => wild(wanted.trim_matches(' ').as_bytes(), held.as_bytes()),
    }
}

/// One of two dates or times, ends included. What is less precise stands for all that it may be.
fn in_range(wanted: &str, held: &str) -> bool {
    let not_after = |low: &str, high: &str| {
        let length = low.len().min(high.len());
        low.as_bytes()[..length] <= high.as_bytes()[..length]
    };
    match wanted.split_once('-') {
        None => not_after(wanted, held) && not_after(held, wanted),
        Some((first, last)) => {
            (first.is_empty() || not_after(first, held)) && (last.is_empty() || not_after(held, last))
        }
    }
}

/// A range of dates and one of times that are asked for together are one range of moments (PS3.18 section 8.3.4.1.1; WEB-092);
/// anything else is matched one by one.
pub fn moment_matches(date: &Match, time: &Match, held_date: Option<&str>, held_time: Option<&str>) -> bool {
    let range = |matched: &Match, mark| {
        let wanted = matched.values.first().filter(|wanted| !wanted.contains('\\'))?.replace(mark, "");
        wanted.split_once('-').map(|(first, last)| (first.to_owned(), last.to_owned()))
    };
    let (Some((first_day, last_day)), Some((first_time, last_time))) = (range(date, '.'), range(time, ':')) else {
        return matches(date, held_date) && matches(time, held_time);
    };
    let held = |value: Option<&str>, mark| value.map(|value| value.trim_matches([' ', '\0']).replace(mark, ""));
    let (Some(day), Some(time)) = (held(held_date, '.'), held(held_time, ':')) else { return false };
    let after =
        first_day.is_empty() || day > first_day || day == first_day && in_range(&format!("{first_time}-"), &time);
    let before = last_day.is_empty() || day < last_day || day == last_day && in_range(&format!("-{last_time}"), &time);
    after && before
}

/// Names match in any case, as a whole or by one of their groups, and empty components at the end do not count. Of several groups each
/// matches its own (PS3.5 section 6.2.1.1), and one that is empty or left out matches any.
fn name(wanted: &str, held: &str) -> bool {
    let wanted = name_alone(wanted);
    if wanted.contains('=') {
        let mut groups = wanted.split('=').zip(held.split('=').chain(std::iter::repeat("")));
        return groups.all(|(wanted, held)| {
            let wanted = name_alone(wanted);
            wanted.is_empty() || wild_name(&wanted, &name_alone(held))
        });
    }
    std::iter::once(held).chain(held.split('=')).any(|held| wild_name(&wanted, &name_alone(held)))
}

/// Empty components at the end may be left out of what is held (PS3.5 section 6.2): a pattern for one matches where it is not.
fn wild_name(wanted: &str, held: &str) -> bool {
    fn shorter<'a>(pattern: &&'a str) -> Option<&'a str> {
        pattern.strip_suffix("^*").map(|rest| rest.trim_end_matches('^'))
    }
    // A name has five components.
    std::iter::successors(Some(wanted), shorter).take(5).any(|pattern| wild(pattern.as_bytes(), held.as_bytes()))
}

/// A name as it is compared: in small letters, without empty components at its end.
pub(super) fn name_alone(text: &str) -> String {
    text.trim_end_matches(['^', ' ', '=']).to_lowercase()
}

/// `*` stands for any characters, `?` for one (PS3.4 section C.2.2.2.4); takes no more than the product of the lengths.
fn wild(wanted: &[u8], held: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star = None;
    while from < held.len() {
        match wanted.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            // A question mark stands for a character, which may be several bytes.
            Some(b'?') => {
                at += 1;
                from += 1;
                while held.get(from).is_some_and(|b| b & 0xC0 == 0x80) {
                    from += 1;
                }
            }
            Some(byte) if *byte == held[from] => (at, from) = (at + 1, from + 1),
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                (at, from) = (back + 1, taken + 1);
            }
        }
    }
    wanted[at.min(wanted.len())..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod reference;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::tag::Tag;

    fn asked(vr: Vr, wanted: &str) -> Match {
        let values =
            if vr == Vr::UI { wanted.split(',').map(str::to_owned).collect() } else { vec![wanted.to_owned()] };
        Match { path: vec![Tag(0x0010_0010)], vr, values }
    }

    /// DIM-062, DIM-063, DIM-064, DIM-066, DIM-067: single values, lists, wildcards, ranges, several values, names.
    #[test]
    fn values_match_as_ps3_4_says() {
        let rows = [
            (Vr::LO, "", None, true),
            (Vr::LO, "*", None, true),
            (Vr::LO, "a", None, false),
            (Vr::LO, "a", Some(""), false),
            (Vr::LO, "abc", Some("abc"), true),
            (Vr::LO, "abc", Some("ABC"), false),
            (Vr::LO, "a*c", Some("abbbc"), true),
            (Vr::LO, "a*c*", Some("abc"), true),
            (Vr::LO, "a?c", Some("aéc"), true),
            (Vr::LO, "a?c", Some("ac"), false),
            (Vr::LO, "*b*b*b*a", Some("bbbbbbbbbbbbbbbbb"), false),
            (Vr::CS, "CT", Some("MR\\CT"), true),
            (Vr::CS, "CT\\US", Some("MR\\CT"), true),
            (Vr::CS, "PT\\US", Some("MR\\CT"), false),
            (Vr::DA, "*", None, true),
            (Vr::DA, "20250310", Some("2025.03.10"), true),
            (Vr::DA, "2025031?", Some("20250310"), false),
            (Vr::UI, "1.*", Some("1.2"), false),
            (Vr::TM, "08:30-09:00", Some("08:45:00"), true),
            (Vr::TM, "2200-0600", Some("2300"), false),
            (Vr::TM, "223000", Some("2230"), true),
            (Vr::PN, "smith^*", Some("Smith^John"), true),
            (Vr::PN, "SMITH^JOHN", Some("Smith^John^^"), true),
            (Vr::PN, "DOE^JOHN^*", Some("Doe^John"), true),
            (Vr::PN, "DOE^*^*", Some("Doe"), true),
            (Vr::PN, "DOE^JOHN^*", Some("Doe^John^Q"), true),
            (Vr::PN, "DOE^JOHN^*", Some("Doe^Johnny"), false),
            (Vr::PN, "DOE^^*", Some("Doe"), true),
            (Vr::PN, "DOE^^*", Some("Doe^John"), false),
            (Vr::PN, "DOE^JOHN^?*", Some("Doe^John"), false),
            (Vr::PN, "yamada^*^*=山田^太郎^*", Some("Yamada^Tarou=山田^太郎"), true),
            (Vr::PN, "山田*", Some("Yamada^Tarou=山田^太郎"), true),
            (Vr::PN, "smith", Some("Smith^John"), false),
            (Vr::PN, "Yamada^Tarou=山田^太郎", Some("Yamada^Tarou=山田^太郎=やまだ^たろう"), true),
            (Vr::PN, "yamada*=山田*", Some("Yamada^Tarou=山田^太郎"), true),
            (Vr::PN, "=山田^太郎^=", Some("Yamada^Tarou=山田^太郎=やまだ^たろう"), true),
            (Vr::PN, "Yamada*==やまだ*", Some("Yamada^Tarou=山田^太郎=やまだ^たろう"), true),
            (Vr::PN, "Yamada*=*", Some("Yamada^Tarou"), true),
            (Vr::PN, "Yamada*=山口*", Some("Yamada^Tarou=山田^太郎"), false),
            (Vr::PN, "Yamada^Tarou=山田^太郎", Some("Yamada^Tarou"), false),
            (Vr::PN, "=Yamada*", Some("Yamada^Tarou"), false),
            (Vr::DA, "20250310", Some("20250310"), true),
            (Vr::DA, "20250310-", Some("20250311"), true),
            (Vr::DA, "-20250310", Some("20250310"), true),
            (Vr::DA, "20250301-20250310", Some("20250311"), false),
            (Vr::TM, "08-09", Some("093015.25"), true),
            (Vr::TM, "0830", Some("083059"), true),
            (Vr::TM, "2200-2300", Some("2159"), false),
            (Vr::DA, "20250310\\20250312", Some("20250312"), true),
            (Vr::TM, "08\\09", Some("0915"), true),
            (Vr::IS, "6\\7", Some("007"), true),
            (Vr::IS, "7", Some("007"), true),
            (Vr::IS, "7", Some("8"), false),
            (Vr::UI, "1.2,1.3", Some("1.3"), true),
            (Vr::UI, "1.2,1.3", Some("1.30"), false),
            (Vr::UI, "1.2", None, false),
        ];
        for (vr, wanted, held, want) in rows {
            assert_eq!(matches(&asked(vr, wanted), held), want, "{vr} {wanted} against {held:?}");
        }
    }

    #[test]
    fn a_night_shift_is_one_range_of_moments() {
        let (date, time) = (asked(Vr::DA, "20250310-20250311"), asked(Vr::TM, "2200-0600"));
        let rows = [
            ("20250310", "2159", false),
            ("20250310", "220000", true),
            ("20250310", "2359", true),
            ("20250311", "0559", true),
            ("20250311", "0601", false),
            ("20250312", "0100", false),
        ];
        for (day, at, want) in rows {
            assert_eq!(moment_matches(&date, &time, Some(day), Some(at)), want, "{day} {at}");
        }
        // Both as they were written before the third edition, too.
        let (old_date, old_time) = (asked(Vr::DA, "2025.03.10-2025.03.11"), asked(Vr::TM, "22:00-06:00"));
        for (day, at, want) in [
            ("2025.03.10", "21:59", false),
            ("2025.03.10", "22:30:00", true),
            ("2025.03.11", "05:59", true),
            ("2025.03.11", "06:01", false),
        ] {
            for (date, time) in [(&date, &time), (&old_date, &old_time)] {
                for (day, at) in [(day.to_owned(), at.to_owned()), (day.replace('.', ""), at.replace(':', ""))] {
                    assert_eq!(moment_matches(date, time, Some(&day), Some(&at)), want, "{day} {at}");
                }
            }
        }
        let two = asked(Vr::DA, "20250301\\20250310-20250311");
        assert!(
            moment_matches(&two, &asked(Vr::TM, "0800-0900"), Some("20250301"), Some("0830")),
            "a list is no range"
        );
        let one = asked(Vr::DA, "20250310");
        assert!(moment_matches(&one, &asked(Vr::TM, "2200-2300"), Some("20250310"), Some("2230")));
        assert!(!moment_matches(&date, &time, Some("20250310"), None));
    }

    #[test]
    fn impossible_values_are_refused() {
        for (vr, right) in [
            (Vr::DA, "20250310-"),
            (Vr::DA, "-20250310"),
            (Vr::DA, "*"),
            (Vr::DA, "1997.01.01"),
            (Vr::DA, "20250201-20250231"),
            (Vr::DA, "20250310\\20250312"),
            (Vr::TM, "0930\\10"),
            (Vr::TM, "08:30-09:00"),
            (Vr::IS, "1\\2"),
            (Vr::TM, "0930-1000"),
            (Vr::TM, "23:59:60.999999"),
            (Vr::TM, "00-2359"),
            (Vr::TM, "235960-"),
            (Vr::IS, "-7"),
            (Vr::LO, "-"),
        ] {
            assert!(check(&asked(vr, right)).is_ok(), "{vr} {right}");
        }
        for (vr, wrong) in [
            (Vr::DA, "2025"),
            (Vr::DA, "-"),
            (Vr::DA, "today"),
            (Vr::DA, "20251399"),
            (Vr::DA, "20251301"),
            (Vr::DA, "20250132"),
            (Vr::DA, "20250100"),
            (Vr::DA, "20250310\\today"),
            (Vr::DA, "1997.0101"),
            (Vr::TM, "9"),
            (Vr::TM, "25"),
            (Vr::TM, "24"),
            (Vr::TM, "2561"),
            (Vr::TM, "99:99"),
            (Vr::TM, "120061"),
            (Vr::TM, "12000"),
            (Vr::TM, "1200.5"),
            (Vr::TM, "120000.1.2"),
            (Vr::TM, "120000."),
            (Vr::TM, "12.0000"),
            (Vr::TM, "1000-2561"),
            (Vr::TM, "-25"),
            (Vr::TM, "0930\\25"),
            (Vr::IS, "seven"),
            (Vr::IS, "7\\seven"),
        ] {
            assert!(check(&asked(vr, wrong)).is_err(), "{vr} {wrong}");
        }
    }
}
