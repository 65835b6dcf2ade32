//! What a query below a study has told already, so that no other site tells it again; in memory that does not grow with the study.

use super::End;
use crate::dicom::uid::SeriesUid;
use crate::dimse::{QueryAnswer, Status};
use crate::peers::Origin;
use crate::priors::Site;
use crate::records::SeriesRow;
use std::collections::{BTreeMap, BTreeSet};

/// Of so many UIDs at most it is remembered that they were told.
const MOST_TOLD: usize = 100_000;
/// Series of other sites that wait at most for what those say of them.
const MOST_WAITING: usize = 10_000;

/// What was told below a study, or waits, of here and of archives.
#[derive(Default)]
pub(super) struct Known {
    /// Sites that have shown the study, which are asked for more of it.
    pub(super) holders: Vec<Site>,
    /// There are such sites.
    shared: bool,
    /// What they need not tell again. Where nobody is asked it is not needed, and the study may be of any size.
    told: BTreeSet<String>,
    /// Something of the study is here, or lies in an archive.
    pub(super) any: bool,
    /// Series of other sites of which a copy is held here, and how many instances an archive holds of each: where they came from there may
    /// be more of them by now.
    pub(super) waiting: BTreeMap<SeriesUid, (SeriesRow, u64)>,
    /// Some of it came from a node of this site, or lies in an archive of it.
    pub(super) own: bool,
    /// Some of it came from another site.
    pub(super) copies: bool,
    /// Sites of which this node is not shown what they have before a person has decided.
    pub(super) held_back: BTreeSet<String>,
    /// Instances that are asked for by name and are not known yet; `None` if none are named.
    pub(super) named: Option<BTreeSet<String>>,
}

/// More is asked for than can be remembered (REL-25).
fn too_many(most: usize) -> End {
    let comment = Some(format!("more than {most} here and at other sites; ask for less"));
    End::Answer(QueryAnswer { comment, ..Status::OUT_OF_RESOURCES.into() })
}

impl Known {
    /// Nothing told yet, and who will be asked for what is not here.
    pub(super) fn of(holders: Vec<Site>) -> Self {
        Self { shared: !holders.is_empty(), holders, ..Self::default() }
    }

    /// Notes what is here, or lies in an archive. Ends the query beyond [`MOST_TOLD`], where other sites are asked.
    pub(super) fn insert(&mut self, uid: impl ToString, origin: &Origin) -> Result<(), End> {
        self.any = true;
        match origin.site() {
            None => self.own = true,
            Some(_) => self.copies = true,
        }
        if let Some(named) = &mut self.named {
            named.remove(&uid.to_string());
        }
        if self.shared { self.remember(uid.to_string()).map(drop) } else { Ok(()) }
    }

    /// Whether everything that is asked for by name is known already: then nobody else need be asked.
    pub(super) fn is_complete(&self) -> bool {
        self.named.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Whether it was told, where other sites are asked.
    pub(super) fn is_told(&self, uid: &str) -> bool {
        self.told.contains(uid)
    }

    /// Whether it was not told before. Ends the query beyond [`MOST_TOLD`].
    pub(super) fn remember(&mut self, uid: String) -> Result<bool, End> {
        let new = self.told.insert(uid);
        if self.told.len() > MOST_TOLD { Err(too_many(MOST_TOLD)) } else { Ok(new) }
    }

    /// Has a series wait for what the site says of it. Ends the query beyond [`MOST_WAITING`].
    pub(super) fn wait(&mut self, row: SeriesRow, theirs: u64) -> Result<(), End> {
        self.waiting.insert(row.series.clone(), (row, theirs));
        if self.waiting.len() > MOST_WAITING { Err(too_many(MOST_WAITING)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who asks for instances by name, as to see whether they arrived, waits for no other site where all of them are here.
    #[test]
    fn what_is_named_and_here_is_all() {
        let own = Origin::Operator("jo".into());
        for (named, here, complete) in [
            (None, ["1.2", "1.3"], false),
            (Some(["1.2", "1.3"]), ["1.3", "1.9"], false),
            (Some(["1.2", "1.3"]), ["1.3", "1.2"], true),
        ] {
            let all = named.map(|uids| uids.map(str::to_owned).into());
            let mut known = Known { named: all, ..Known::default() };
            assert!(here.iter().all(|uid| known.insert(uid, &own).is_ok()));
            assert_eq!(known.is_complete(), complete, "{named:?} {here:?}");
        }
    }

    /// REL-25: a study of a million instances is told in no more memory than one of ten, unless other sites are asked; then it has an end
    /// that says why.
    #[test]
    fn uids_are_remembered_only_for_other_sites_and_not_without_end() {
        let own = Origin::Operator("jo".into());
        let mut alone = Known::default();
        assert!((0..=MOST_TOLD).all(|n| alone.insert(n, &own).is_ok()));
        assert!(alone.told.is_empty() && alone.any && alone.own && !alone.copies);
        let mut shared = Known { shared: true, ..Known::default() };
        assert!((0..MOST_TOLD).all(|n| shared.insert(n, &own).is_ok()));
        assert!(matches!(shared.remember("7".into()), Ok(false)), "told already");
        let Err(End::Answer(answer)) = shared.insert(MOST_TOLD, &own) else { unreachable!("it has an end") };
        assert_eq!(answer.status, Status::OUT_OF_RESOURCES);
        assert_eq!(answer.comment.as_deref(), Some("more than 100000 here and at other sites; ask for less"));
    }
}
