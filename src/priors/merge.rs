//! The answers of several sites as one list: a study once, ours first, with the counts of whoever has more of it. Pure.

use crate::dicom::uid::StudyUid;
use crate::records::{StudySize, Texts};
use std::collections::{BTreeMap, BTreeSet};

/// A study that another site has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The peer's name.
    pub site: String,
    /// Study Instance UID.
    pub study: StudyUid,
    /// Attributes of patient and study, as that site gave them.
    pub values: Texts,
    /// What it holds there, as far as that was said.
    pub size: StudySize,
}

/// A copy that is held here of what came from another site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The attributes as the asker is shown them.
    pub values: Texts,
    /// What is held here, and at an archive of this site.
    pub size: StudySize,
    /// An archive of this site has more than is here.
    pub nearline: bool,
    /// The site that it came from, if no archive of this site holds it too.
    pub site: Option<String>,
}

/// A copy whose turn has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Study Instance UID.
    pub study: StudyUid,
    /// The copy, with the counts of whoever has more of it.
    pub copy: Copy,
    /// All of it is here.
    pub whole: bool,
    /// The site that it came from has answered in full, and nobody has shown it: of this patient that site has it no more.
    pub unlisted: bool,
}

/// Copies that wait for the other sites' counts; what comes beyond is told at once.
const MOST_WAITING: usize = 1000;

/// One list, as it grows.
#[derive(Debug, Default)]
pub struct Merge {
    told: BTreeSet<StudyUid>,
    waiting: BTreeMap<StudyUid, Copy>,
    /// What other sites have of the copies that wait.
    elsewhere: BTreeMap<StudyUid, StudySize>,
}

impl Merge {
    /// A study of our own: told at once, whatever others say of it. False if it was told already.
    pub fn own(&mut self, study: &StudyUid) -> bool {
        self.told.insert(study.clone())
    }

    /// A copy of another site's study: it waits, since that site may have more of it by now. Handed back if it is told at once.
    pub fn copy(&mut self, study: &StudyUid, copy: Copy) -> Option<Copy> {
        if !self.told.insert(study.clone()) {
            return None;
        }
        if self.waiting.len() >= MOST_WAITING {
            return Some(copy);
        }
        self.waiting.insert(study.clone(), copy);
        None
    }

    /// What another site has shown; handed back if it is told, which is so once for each study.
    pub fn there(&mut self, found: Found) -> Option<Found> {
        if self.told.insert(found.study.clone()) {
            return Some(found);
        }
        if self.waiting.contains_key(&found.study) {
            let most = self.elsewhere.entry(found.study).or_default();
            if found.size.instances > most.instances {
                *most = found.size;
            }
        }
        None
    }

    /// The copies that waited, once nobody is waited for any more. These sites have answered in full.
    pub fn rest(self, answered: &BTreeSet<String>) -> impl Iterator<Item = Rest> {
        let mut elsewhere = self.elsewhere;
        self.waiting.into_iter().map(move |(study, mut copy)| {
            let there = elsewhere.remove(&study);
            let unlisted = there.is_none() && copy.site.as_ref().is_some_and(|site| answered.contains(site));
            let there = there.unwrap_or_default();
            let more = there.instances > copy.size.instances;
            if more {
                copy.size = larger(copy.size, there);
            }
            let whole = !more && !copy.nearline;
            Rest { study, copy, whole, unlisted }
        })
    }
}

/// The counts of the larger, and the modalities and classes of both.
fn larger(here: StudySize, there: StudySize) -> StudySize {
    let mut both = StudySize { series: here.series.max(there.series), ..there };
    for modality in here.modalities {
        if !both.modalities.contains(&modality) {
            both.modalities.push(modality);
        }
    }
    for class in here.sop_classes {
        if !both.sop_classes.contains(&class) {
            both.sop_classes.push(class);
        }
    }
    both
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn uid(n: u32) -> StudyUid {
        StudyUid::parse(&format!("1.2.{n}")).unwrap()
    }

    fn size(instances: u64, modality: &str) -> StudySize {
        StudySize { series: 1, instances, modalities: vec![modality.into()], sop_classes: Vec::new() }
    }

    fn found(site: &str, n: u32, instances: u64) -> Found {
        Found { site: site.into(), study: uid(n), values: Texts::default(), size: size(instances, "SR") }
    }

    fn copy(instances: u64) -> Copy {
        Copy { values: Texts::default(), size: size(instances, "CT"), nearline: false, site: Some("b".into()) }
    }

    /// DIM-070: a study once; ours before others' copies of it, the first answer before the second.
    #[test]
    fn a_study_is_told_once() {
        let mut merge = Merge::default();
        assert!(merge.own(&uid(1)) && !merge.own(&uid(1)));
        assert_eq!(merge.there(found("b", 1, 9)), None, "ours is told already");
        assert_eq!(merge.there(found("b", 2, 9)), Some(found("b", 2, 9)));
        assert_eq!(merge.there(found("c", 2, 10)), None, "told already for another site");
        assert_eq!(merge.copy(&uid(3), copy(5)), None);
        assert_eq!(merge.copy(&uid(4), copy(5)), None);
        assert_eq!(merge.copy(&uid(4), copy(5)), None, "a copy twice");
        let archived = Copy { nearline: true, ..copy(8) };
        assert_eq!(merge.copy(&uid(5), archived.clone()), None);
        assert_eq!(merge.there(found("b", 5, 7)), None);
        assert_eq!(merge.there(found("c", 3, 7)), None);
        assert_eq!(merge.there(found("b", 3, 6)), None);
        assert_eq!(merge.there(found("b", 4, 4)), None);
        let rest: Vec<_> =
            merge.rest(&BTreeSet::new()).map(|rest| (rest.study, rest.copy, rest.whole, rest.unlisted)).collect();
        let grown = StudySize { modalities: vec!["SR".into(), "CT".into()], ..size(7, "") };
        let want = [(3, Copy { size: grown, ..copy(0) }, false), (4, copy(5), true), (5, archived, false)]
            .map(|(n, copy, whole)| (uid(n), copy, whole, false));
        assert_eq!(rest, want, "what an archive alone has is not here, whatever a site has");
    }

    /// A copy is dropped only if the site that it came from has answered in full without it, and nobody else has shown it.
    #[test]
    fn what_its_site_lists_no_more_is_told_apart() {
        let all = ["b".to_owned()].into();
        let rows: [(Option<&str>, &BTreeSet<String>, bool, bool); 5] = [
            (Some("b"), &all, false, true),
            (Some("b"), &all, true, false),
            (Some("b"), &BTreeSet::new(), false, false),
            (Some("c"), &all, false, false),
            (None, &all, false, false),
        ];
        for (site, answered, shown, unlisted) in rows {
            let mut merge = Merge::default();
            assert_eq!(merge.copy(&uid(1), Copy { site: site.map(str::to_owned), ..copy(5) }), None);
            if shown {
                assert_eq!(merge.there(found("c", 1, 5)), None);
            }
            let told: Vec<bool> = merge.rest(answered).map(|rest| rest.unlisted).collect();
            assert_eq!(told, [unlisted], "{site:?} {answered:?} {shown}");
        }
    }

    #[test]
    fn not_everything_waits() {
        let mut merge = Merge::default();
        for n in 0..MOST_WAITING as u32 {
            assert_eq!(merge.copy(&uid(n), copy(1)), None);
        }
        assert_eq!(merge.copy(&uid(99_999), copy(1)), Some(copy(1)));
        assert_eq!(merge.rest(&BTreeSet::new()).count(), MOST_WAITING);
    }
}
