//! Two versions side by side, for a person: which elements differ, and how they begin (UIX-09). Pure.

use crate::dicom::canon::{Line, Outline};
use crate::dicom::dictionary;
use std::collections::BTreeMap;

/// An element that differs. `Debug` prints no value (SEC-010).
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its tag, and before it the sequences and items that it stands in; and its number, where it is there more than once.
    pub path: String,
    /// Its keyword, if it is a standard attribute.
    pub keyword: Option<&'static str>,
    /// The beginning of its value in the first version; none if it is not there.
    pub first: Option<String>,
    /// The same in the second.
    pub second: Option<String>,
}

impl std::fmt::Debug for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Difference({})", self.path)
    }
}

/// The elements that differ, in ascending order. Whether what is missing in an outline that was cut is there, nobody knows here.
pub fn differences(first: &Outline, second: &Outline) -> Vec<Difference> {
    let cut = [first.cut, second.cut];
    let (first, second) = (by_path(&first.lines), by_path(&second.lines));
    let paths: std::collections::BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        let (one, other) = (first.get(path).copied(), second.get(path).copied());
        if one.map(|line| line.digest) == other.map(|line| line.digest) {
            continue;
        }
        if (one.is_none() && cut[0]) || (other.is_none() && cut[1]) {
            continue;
        }
        let tag = one.or(other).map(|line| line.tag);
        let mut shown = [one.map(Line::shown), other.map(Line::shown)];
        if shown[0] == shown[1] {
            // They differ further on than is shown.
            for (text, line) in shown.iter_mut().zip([one, other]) {
                let digest = line
                    .map(|line| u32::from_be_bytes([line.digest[0], line.digest[1], line.digest[2], line.digest[3]]));
                *text = text.take().map(|text| format!("{text} [{:08x}]", digest.unwrap_or_default()));
            }
        }
        let [first, second] = shown;
        found.push(Difference { path: path.clone(), keyword: tag.and_then(dictionary::keyword), first, second });
    }
    found
}

/// The lines by their paths. An element that stands there again is told from the first by a number.
fn by_path(lines: &[Line]) -> BTreeMap<String, &Line> {
    let mut found: BTreeMap<String, &Line> = BTreeMap::new();
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for line in lines {
        let time = times.entry(&line.path).or_default();
        *time += 1;
        let path = if *time == 1 { line.path.clone() } else { format!("{} ({time})", line.path) };
        found.insert(path, line);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::tag::Tag;

    fn line(path: &str, tag: u32, value: &str, digest: u8) -> Line {
        Line { path: path.into(), tag: Tag(tag), inside: false, value: value.into(), digest: [digest; 32] }
    }

    #[test]
    fn what_differs_stands_side_by_side_and_what_does_not_is_left_out() {
        let long = "x".repeat(300);
        let first = [
            line("(0008,0060)", 0x0008_0060, "CT", 1),
            line("(0010,0020)", 0x0010_0020, "4711", 2),
            line("(0009,1001)", 0x0009_1001, "01", 3),
            line("(0020,4000)", 0x0020_4000, &long, 4),
        ];
        let second = [
            line("(0008,0060)", 0x0008_0060, "CT", 1),
            line("(0010,0020)", 0x0010_0020, "4712", 5),
            line("(0010,0030)", 0x0010_0030, "19700101", 6),
            line("(0020,4000)", 0x0020_4000, &long, 7),
        ];
        let whole = |lines: &[Line]| Outline { lines: lines.to_vec(), cut: false };
        let found = differences(&whole(&first), &whole(&second));
        let of = |at: usize| {
            (found[at].path.as_str(), found[at].keyword, found[at].first.as_deref(), found[at].second.as_deref())
        };
        assert_eq!(of(0), ("(0009,1001)", None, Some("01"), None));
        assert_eq!(of(1), ("(0010,0020)", Some("PatientID"), Some("4711"), Some("4712")));
        assert_eq!(of(2), ("(0010,0030)", Some("PatientBirthDate"), None, Some("19700101")));
        assert_eq!(found.len(), 4);
        assert_ne!(found[3].first, found[3].second, "what is cut alike is told apart");
        assert!(!format!("{found:?}").contains("4711"));
        assert_eq!(differences(&whole(&first), &whole(&first)), []);
    }

    #[test]
    fn what_is_there_twice_is_counted_and_what_was_cut_off_is_not_called_absent() {
        let id = |digest| line("(0010,0020)", 0x0010_0020, "4711", digest);
        let outline = |lines: &[Line], cut| Outline { lines: lines.to_vec(), cut };
        let found = differences(&outline(&[id(1), id(3)], false), &outline(&[id(2), id(3)], false));
        assert_eq!(found.iter().map(|found| &*found.path).collect::<Vec<_>>(), ["(0010,0020)"], "the first of two");
        let (one, two) = ([id(1)], [id(1), id(2)]);
        let found = differences(&outline(&one, false), &outline(&two, true));
        assert_eq!(found.iter().map(|found| &*found.path).collect::<Vec<_>>(), ["(0010,0020) (2)"]);
        assert_eq!(differences(&outline(&one, true), &outline(&two, true)), []);
    }
}
