//! What of a query an index can narrow before anything is matched: the days of a range, and the pattern of a name. It never leaves out
//! what matches; each key is matched again on every row.

use super::matching::name_alone;
use super::{Match, matching};
use crate::dicom::attributes::{PATIENT_NAME, STUDY_DATE};

/// The days and the names that matches can have.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Narrow {
    /// The first and the last day, as eight digits each; studies whose date is not eight digits are never left out.
    pub days: Option<(String, String)>,
    /// The patient's name; names that are not plain ASCII are never left out.
    pub name: Option<Name>,
}

/// How a name of plain ASCII must be, compared in small letters and without empty components at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    /// How it begins; may be empty.
    pub begins: String,
    /// The whole of it in the words of SQL's GLOB: `*` and `?` are wildcards, and a bracket stands in brackets.
    pub pattern: String,
}

impl std::fmt::Debug for Narrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Narrow(days: {}, name: {})", self.days.is_some(), self.name.is_some())
    }
}

impl Narrow {
    /// What these keys allow. Where what has no value matches all the same (`unknown`), a date narrows nothing.
    pub fn of(all: &[Match], unknown: bool) -> Self {
        let value = |tag| matching(all, tag).and_then(|matched| matched.values.first()).map(String::as_str);
        Self { days: value(STUDY_DATE).filter(|_| !unknown).and_then(days), name: value(PATIENT_NAME).and_then(name) }
    }
}

fn days(wanted: &str) -> Option<(String, String)> {
    let (first, last) = wanted.split_once('-').unwrap_or((wanted, wanted));
    let day = |text: &str, open: &str| match text {
        "" => Some(open.to_owned()),
        text => (text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.to_owned()),
    };
    let (first, last) = (day(first, "00000000")?, day(last, "99999999")?);
    (!wanted.is_empty() && wanted != "-").then_some((first, last))
}

fn name(wanted: &str) -> Option<Name> {
    // Of several groups each matches its own: one of them is enough here.
    let mut plain = wanted.split('=').map(name_alone).find(|group| !group.is_empty()).unwrap_or_default();
    // Components at the end that may be anything may not be there at all.
    if plain.ends_with("^*") {
        plain.truncate(plain.trim_end_matches(['^', '*']).len());
        plain.push('*');
    }
    if wanted.contains('\\') || plain.chars().all(|c| c == '*') {
        return None;
    }
    let sure = |c: char| (' '..='~').contains(&c) && !matches!(c, '*' | '?');
    let begins = plain.chars().take_while(|c| sure(*c)).collect();
    Some(Name { begins, pattern: plain.replace('[', "[[]") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::vr::Vr;

    fn of(tag: crate::dicom::tag::Tag, vr: Vr, wanted: &str) -> Narrow {
        Narrow::of(&[Match { path: vec![tag], vr, values: vec![wanted.to_owned()] }], false)
    }

    #[test]
    fn a_range_has_days_and_a_name_a_beginning() {
        let days = [
            ("20250310", Some(("20250310", "20250310"))),
            ("20250310-", Some(("20250310", "99999999"))),
            ("-20250310", Some(("00000000", "20250310"))),
            ("20250310-20250311", Some(("20250310", "20250311"))),
            ("2025.03.10", None),
            ("*", None),
            ("", None),
            ("-", None),
        ];
        for (wanted, want) in days {
            let want = want.map(|(first, last)| (first.to_owned(), last.to_owned()));
            assert_eq!(of(STUDY_DATE, Vr::DA, wanted).days, want, "{wanted}");
        }
        let names = [
            ("Smith^J*", Some("smith^j")),
            ("SMITH", Some("smith")),
            ("Smith^John^^", Some("smith^john")),
            ("Smith^John^*", Some("smith^john")),
            ("Smith^*^*", Some("smith")),
            ("*^*", None),
            ("Sm?th", Some("sm")),
            ("Müller*", Some("m")),
            ("Yamada^T*=山田*", Some("yamada^t")),
            ("=山田*", Some("")),
            ("=", None),
            ("Van der *", Some("van der ")),
            ("*smith", Some("")),
            ("", None),
            ("*", None),
            ("山田*", Some("")),
            ("a\\b", None),
        ];
        for (wanted, want) in names {
            let begins = of(PATIENT_NAME, Vr::PN, wanted).name.map(|name| name.begins);
            assert_eq!(begins.as_deref(), want, "{wanted}");
        }
        let pattern = of(PATIENT_NAME, Vr::PN, "A[b]?C*^").name.map(|name| name.pattern);
        assert_eq!(pattern.as_deref(), Some("a[[]b]?c*"));
        let pattern = of(PATIENT_NAME, Vr::PN, "DOE^JOHN^*").name.map(|name| name.pattern);
        assert_eq!(pattern.as_deref(), Some("doe^john*"), "one without the last component is found too");
        let unknown =
            Narrow::of(&[Match { path: vec![STUDY_DATE], vr: Vr::DA, values: vec!["20250310".into()] }], true);
        assert!(unknown == Narrow::default(), "what has no date matches too");
    }
}
