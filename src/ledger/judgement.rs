//! What two arrivals of one SOP Instance UID are to each other, row by row (IDY-020), and what a release makes of transfers. Pure.

use super::transfer::State;
use crate::dicom::canon::{Content, Pixels};

/// One of two versions of an instance.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Study Instance UID.
    pub study: &'a str,
    /// Series Instance UID.
    pub series: &'a str,
    /// SOP Class UID.
    pub class: &'a str,
    /// What it says and shows; none if that cannot be told.
    pub content: Option<&'a Content>,
}

/// What the later version is to the one that was here before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It says and shows the same (D1).
    Same,
    /// Only what a person may put right differs: patient, accession, who asked, where (D2).
    Revision,
    /// Something else in it differs (D3).
    OtherContent,
    /// The pixels differ (D4).
    OtherPixels,
    /// One was compressed with loss and the other was not (D5).
    Lossy,
    /// It stands in another study or series (D6).
    OtherPlace,
    /// It is of another class (D7).
    OtherClass,
    /// It names another patient by NHS number (D8).
    OtherPatient,
    /// One of the two cannot be read, or is gone without a digest: never equal (IDY-006).
    Unknown,
}

impl Verdict {
    /// Every verdict, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Same,
        Self::Revision,
        Self::OtherContent,
        Self::OtherPixels,
        Self::Lossy,
        Self::OtherPlace,
        Self::OtherClass,
        Self::OtherPatient,
        Self::Unknown,
    ];

    /// The word that records, entries and the command line use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Revision => "revision",
            Self::OtherContent => "other content",
            Self::OtherPixels => "other pixels",
            Self::Lossy => "lossy",
            Self::OtherPlace => "other place",
            Self::OtherClass => "other class",
            Self::OtherPatient => "other patient",
            Self::Unknown => "unknown",
        }
    }

    /// The verdict that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.word() == word)
    }

    /// Whether nobody needs to decide anything. Every other version stays held (INV-12).
    pub fn releases(self) -> bool {
        self == Self::Same
    }

    /// The verdict in plain words, about the later of the two. Without patient data.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Same => "the same UID arrived in other bytes, but says and shows the same: no conflict",
            Self::Revision => {
                "the same UID arrived with another patient, order or place of origin in it; everything else is the same"
            }
            Self::OtherContent => "the same UID arrived with other attributes; the pixels are the same",
            Self::OtherPixels => "the same UID arrived with OTHER PIXELS",
            Self::Lossy => "the same UID arrived once compressed with loss and once not",
            Self::OtherPlace => "the same UID arrived in another study or series",
            Self::OtherClass => "the same UID arrived as another class of object",
            Self::OtherPatient => "the same UID arrived with ANOTHER PATIENT'S NHS number",
            Self::Unknown => "the same UID arrived with other bytes, and whether they say the same cannot be told",
        }
    }
}

/// How the pixels of two versions compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Equal,
    Different,
    LossyAndNot,
    Unknown,
}

fn shown(first: Pixels, second: Pixels) -> Shown {
    use Pixels::{Absent, Lossless, Lossy};
    match (first, second) {
        (Pixels::Unknown, _) | (_, Pixels::Unknown) => Shown::Unknown,
        (Absent, Absent) => Shown::Equal,
        (Lossless(a), Lossless(b)) | (Lossy(a), Lossy(b)) if a == b => Shown::Equal,
        (Lossless(_), Lossy(_)) | (Lossy(_), Lossless(_)) => Shown::LossyAndNot,
        _ => Shown::Different,
    }
}

/// Judges the second of two versions. Whatever is in doubt is no duplicate.
pub fn judge(first: &Side<'_>, second: &Side<'_>) -> Verdict {
    if first.class != second.class {
        return Verdict::OtherClass;
    }
    if (first.study, first.series) != (second.study, second.series) {
        return Verdict::OtherPlace;
    }
    let (Some(one), Some(other)) = (first.content, second.content) else { return Verdict::Unknown };
    let others_number = matches!((one.patient, other.patient), (Some(a), Some(b)) if a != b);
    match shown(one.pixels, other.pixels) {
        Shown::Different => Verdict::OtherPixels,
        Shown::LossyAndNot => Verdict::Lossy,
        Shown::Unknown => Verdict::Unknown,
        Shown::Equal if one.canon == other.canon => Verdict::Same,
        Shown::Equal if others_number => Verdict::OtherPatient,
        Shown::Equal if one.core == other.core => Verdict::Revision,
        Shown::Equal => Verdict::OtherContent,
    }
}

/// What becomes of a transfer of a version that turned out to be no conflict, when the version before it is gone from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It is sent: nobody there has got the content from us.
    Send,
    /// The destination is asked first: it was done there long ago.
    Ask,
    /// Nothing is sent: it was done there, or a person has cancelled it.
    Covered,
}

/// One transfer of the version before, to the same destination.
#[derive(Debug, Clone, Copy)]
pub struct Earlier {
    /// Where it stands.
    pub state: State,
    /// Whether it is done by the policy of its destination.
    pub done: bool,
    /// Whether that was longer ago than what is sent again is asked about ("The same instance again").
    pub long_ago: bool,
}

/// Decides by the transfers of the version before to the same destination (IDY-007).
pub fn released(earlier: &[Earlier]) -> Released {
    let delivered = |one: &&Earlier| one.done && one.state != State::Cancelled;
    match earlier.iter().filter(delivered).map(|one| one.long_ago).min() {
        Some(false) => Released::Covered,
        Some(true) => Released::Ask,
        None if earlier.iter().any(|one| one.state == State::Cancelled) => Released::Covered,
        None => Released::Send,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Content =
        Content { canon: [1; 32], core: [1; 32], pixels: Pixels::Lossless([1; 32]), patient: Some([1; 32]) };

    fn side(content: Option<&Content>) -> Side<'_> {
        Side { study: "1.2", series: "1.3", class: "1.4", content }
    }

    fn verdict(first: Content, second: Content) -> Verdict {
        judge(&side(Some(&first)), &side(Some(&second)))
    }

    /// IDY-020, each row.
    #[test]
    fn each_row_of_the_table_has_its_verdict() {
        let canon = Content { canon: [2; 32], ..BASE };
        let core = Content { canon: [2; 32], core: [2; 32], ..BASE };
        let pixels = |pixels| Content { pixels, ..BASE };
        let lossy = Pixels::Lossy([1; 32]);
        let patient = |content: Content| Content { patient: Some([2; 32]), ..content };
        let rows = [
            ("D1", BASE, BASE, Verdict::Same),
            ("D1, lossy", pixels(lossy), pixels(lossy), Verdict::Same),
            ("D1, no pixels", pixels(Pixels::Absent), pixels(Pixels::Absent), Verdict::Same),
            ("D2", BASE, canon, Verdict::Revision),
            ("D3", BASE, core, Verdict::OtherContent),
            ("D4", BASE, pixels(Pixels::Lossless([2; 32])), Verdict::OtherPixels),
            ("D4, lossy", pixels(lossy), pixels(Pixels::Lossy([2; 32])), Verdict::OtherPixels),
            ("D4, and the rest too", BASE, Content { pixels: Pixels::Lossless([2; 32]), ..core }, Verdict::OtherPixels),
            ("D4, pixels gone", BASE, pixels(Pixels::Absent), Verdict::OtherPixels),
            ("D5", BASE, pixels(lossy), Verdict::Lossy),
            ("D5, the other way", pixels(lossy), BASE, Verdict::Lossy),
            ("D8", BASE, patient(canon), Verdict::OtherPatient),
            ("D8, and the rest too", BASE, patient(core), Verdict::OtherPatient),
            ("no number in one", BASE, Content { patient: None, ..canon }, Verdict::Revision),
            ("pixels unknown", BASE, pixels(Pixels::Unknown), Verdict::Unknown),
            ("both unknown", pixels(Pixels::Unknown), pixels(Pixels::Unknown), Verdict::Unknown),
        ];
        for (row, first, second, want) in rows {
            assert_eq!(verdict(first, second), want, "{row}");
        }
        for (first, second) in [(None, None), (Some(&BASE), None), (None, Some(&BASE))] {
            assert_eq!(judge(&side(first), &side(second)), Verdict::Unknown);
        }
        let base = side(Some(&BASE));
        assert_eq!(judge(&base, &Side { series: "1.9", ..base }), Verdict::OtherPlace, "D6");
        assert_eq!(judge(&base, &Side { study: "1.9", content: None, ..base }), Verdict::OtherPlace, "D6");
        assert_eq!(judge(&base, &Side { class: "1.9", study: "1.9", ..base }), Verdict::OtherClass, "D7");
    }

    #[test]
    fn only_the_same_releases_and_words_are_read_back() {
        for verdict in Verdict::ALL {
            assert_eq!(verdict.releases(), verdict == Verdict::Same);
            assert_eq!(Verdict::parse(verdict.word()), Some(verdict));
            assert!(!verdict.sentence().is_empty());
        }
        assert_eq!(Verdict::parse("equal"), None);
    }

    /// IDY-007.
    #[test]
    fn what_was_delivered_is_not_sent_and_what_was_not_is() {
        let one = |state, done, long_ago| Earlier { state, done, long_ago };
        let rows: &[(&[Earlier], Released)] = &[
            (&[], Released::Send),
            (&[one(State::Verified, true, false)], Released::Covered),
            (&[one(State::Verified, true, true)], Released::Ask),
            (&[one(State::Verified, true, true), one(State::Accepted, true, false)], Released::Covered),
            (&[one(State::Accepted, false, false)], Released::Send),
            (&[one(State::Cancelled, true, false)], Released::Covered),
            (&[one(State::Cancelled, true, true), one(State::Held, false, false)], Released::Covered),
            (&[one(State::Cancelled, true, false), one(State::Verified, true, true)], Released::Ask),
            (&[one(State::Held, false, false)], Released::Send),
        ];
        for (earlier, want) in rows {
            assert_eq!(released(earlier), *want, "{earlier:?}");
        }
    }
}
