//! What the archives hold while they are awaited: what they cannot change of the rest is told meanwhile, and once (DIM-070, UIX-12).

use super::{AVAILABILITY, End, Find};
use crate::dicom::attributes::*;
use crate::dicom::query::matching;
use crate::dicom::tag::Tag;
use crate::dimse::{QueryAnswer, Status};
use crate::priors::archive::Found;
use crate::records::Elsewhere;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// Of so much at most is it remembered that it was told before the archives had answered; from then on they are waited for (REL-25).
const MOST_AHEAD: usize = 5000;

/// What the archives hold of what a query asks for, by its UID, as soon as it is known.
pub(in crate::edge::dimse_scp) struct Awaited<K, T> {
    /// Their answer, until it is heard. Dropped, it is asked for no more.
    answer: Option<AbortOnDropHandle<Found<T>>>,
    /// As long as it is here they are not asked yet.
    unasked: Option<oneshot::Sender<()>>,
    unique: fn(&T) -> K,
    described: fn(&T) -> Elsewhere,
    /// What was taken before it was known what archives hold of it.
    ahead: BTreeSet<K>,
    held: BTreeMap<K, T>,
}

impl<K: Ord + Clone, T: Send + 'static> Awaited<K, T> {
    /// Nobody is asked.
    pub(in crate::edge::dimse_scp) fn nothing(unique: fn(&T) -> K, described: fn(&T) -> Elsewhere) -> Self {
        Self { answer: None, unasked: None, unique, described, ahead: BTreeSet::new(), held: BTreeMap::new() }
    }

    /// Asks as soon as [`Self::begin`] is called, and goes on asking while other things are done.
    pub(in crate::edge::dimse_scp) fn of(
        asking: impl Future<Output = Found<T>> + Send + 'static,
        unique: fn(&T) -> K,
        described: fn(&T) -> Elsewhere,
    ) -> Self {
        let (unasked, begun) = oneshot::channel::<()>();
        let asking = async move {
            // Nothing is sent: it begins when the sender is gone.
            let _ = begun.await;
            asking.await
        };
        let answer = Some(AbortOnDropHandle::new(tokio::spawn(asking)));
        Self { answer, unasked: Some(unasked), ..Self::nothing(unique, described) }
    }

    /// Has them asked now.
    pub(in crate::edge::dimse_scp) fn begin(&mut self) {
        drop(self.unasked.take());
    }

    /// What they hold of something that is here, and is told now. Before they are heard that is not known: they will not tell it again.
    pub(super) fn take(&mut self, key: &K) -> Option<T> {
        if self.answer.is_some() {
            self.ahead.insert(key.clone());
            return None;
        }
        self.held.remove(key)
    }

    /// Whether they hold it, as far as they have been heard.
    pub(super) fn holds(&self, key: &K) -> bool {
        self.held.contains_key(key)
    }

    /// Whether all that is asked for by name was told before they were heard: they will not tell it again, and have nothing else to tell.
    fn is_all_told(&self, named: &[String]) -> bool
    where
        K: ToString,
    {
        let told: BTreeSet<String> = self.ahead.iter().map(ToString::to_string).collect();
        self.answer.is_some() && !named.is_empty() && named.iter().all(|uid| told.contains(uid))
    }

    /// So much was told ahead that they must be heard before more is.
    pub(super) fn is_crowded(&self) -> bool {
        self.ahead.len() >= MOST_AHEAD
    }

    /// What they alone hold.
    pub(super) fn rest(self) -> BTreeMap<K, T> {
        self.held
    }

    /// Takes what they show, but for what was told ahead.
    fn hear(&mut self, rows: Vec<T>) {
        let (ahead, unique) = (std::mem::take(&mut self.ahead), self.unique);
        let rows = rows.into_iter().map(|row| (unique(&row), row));
        self.held = rows.filter(|(key, _)| !ahead.contains(key)).collect();
    }
}

impl Find<'_, '_> {
    /// Waits until the archives have answered, unless nobody waits for it any more. Those that do not answer are remembered.
    pub(super) async fn hear_archives<K: Ord + Clone, T: Send + 'static>(
        &mut self,
        awaited: &mut Awaited<K, T>,
    ) -> Result<(), End> {
        awaited.begin();
        let Some(answer) = awaited.answer.take() else { return Ok(()) };
        let found = tokio::select! {
            found = answer => found,
            () = self.dialogue.heard() => return Err(End::Over),
        };
        let Ok(found) = found else {
            let comment = Some("the archives could not be asked; there may be more".to_owned());
            return Err(End::Answer(QueryAnswer { comment, ..Status::OUT_OF_RESOURCES.into() }));
        };
        self.silent.extend(found.silent);
        let rows = self.face.records.shown_elsewhere(found.rows, awaited.described).await?;
        awaited.hear(rows);
        Ok(())
    }

    /// The same, unless all that the query names was told already; then they are not asked. `unique` is the key of the level.
    pub(super) async fn hear_unless_told<K: Ord + Clone + ToString, T: Send + 'static>(
        &mut self,
        awaited: &mut Awaited<K, T>,
        unique: Tag,
    ) -> Result<(), End> {
        if awaited.is_all_told(self.named(unique)) {
            return Ok(());
        }
        self.hear_archives(awaited).await
    }

    /// The UIDs that the query lists in a key; none if it leaves it open.
    pub(in crate::edge::dimse_scp) fn named(&self, unique: Tag) -> &[String] {
        matching(&self.keys.matches, unique).map_or(&[], |matched| &matched.values)
    }

    /// Whether what archives hold of a study or series that is here too changes what is told of it: how much there is, and where.
    pub(super) fn wants_theirs(&self) -> bool {
        let theirs = [SERIES_RELATED_INSTANCES, AVAILABILITY];
        self.wants_size() || self.keys.back.iter().any(|tag| theirs.contains(tag))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dicom::uid::{SeriesUid, StudyUid};
    use crate::edge::qido::archived::series_elsewhere;
    use crate::peers::Origin;
    use crate::records::{SeriesRow, Texts};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn uid(n: usize) -> SeriesUid {
        SeriesUid::parse(&format!("1.2.{n}")).unwrap()
    }

    fn row(n: usize) -> SeriesRow {
        let study = StudyUid::parse("1.2").unwrap();
        let origin = Origin::Operator("jo".into());
        SeriesRow { row: 0, study, series: uid(n), attributes: Texts::default(), instances: 7, origin }
    }

    /// DIM-070: what is told before an archive has answered the archive does not tell again; of the rest it says what it holds.
    #[tokio::test]
    async fn what_was_told_ahead_is_told_once() {
        let silent = std::future::pending::<Found<SeriesRow>>();
        let mut awaited = Awaited::of(silent, |row: &SeriesRow| row.series.clone(), series_elsewhere);
        assert!(awaited.take(&uid(1)).is_none() && !awaited.holds(&uid(1)));
        // It has answered.
        awaited.answer = None;
        awaited.hear(vec![row(1), row(2), row(3)]);
        assert!(awaited.holds(&uid(2)) && !awaited.holds(&uid(1)));
        assert_eq!(awaited.take(&uid(2)).map(|row| row.instances), Some(7));
        assert!(awaited.take(&uid(2)).is_none());
        assert_eq!(awaited.rest().into_keys().collect::<Vec<_>>(), [uid(3)]);
    }

    /// DIM-070: archives are not asked before it is known that something is wanted of them, and never for what is named and told.
    #[tokio::test]
    async fn nobody_is_asked_for_what_is_named_and_told() {
        let asked = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&asked);
        let asking = async move {
            mark.store(true, Ordering::SeqCst);
            Found { rows: vec![row(2)], silent: Vec::new() }
        };
        let mut awaited = Awaited::of(asking, |row: &SeriesRow| row.series.clone(), series_elsewhere);
        assert!(awaited.take(&uid(1)).is_none());
        for (named, all) in [(vec![], false), (vec![1], true), (vec![1, 2], false), (vec![2], false)] {
            let named: Vec<String> = named.into_iter().map(|n| uid(n).to_string()).collect();
            assert_eq!(awaited.is_all_told(&named), all, "{named:?}");
        }
        tokio::task::yield_now().await;
        assert!(!asked.load(Ordering::SeqCst));
        awaited.begin();
        let found = awaited.answer.take().unwrap().await.unwrap();
        assert!(asked.load(Ordering::SeqCst) && found.rows.len() == 1);
        assert!(!awaited.is_all_told(&[uid(1).to_string()]), "they were heard");
    }

    /// REL-25: what is remembered of what was told ahead has an end; where nobody is asked it is not needed.
    #[tokio::test]
    async fn no_more_is_told_ahead_than_can_be_remembered() {
        let silent = std::future::pending::<Found<SeriesRow>>();
        let mut awaited = Awaited::of(silent, |row: &SeriesRow| row.series.clone(), series_elsewhere);
        let mut alone = Awaited::nothing(|row: &SeriesRow| row.series.clone(), series_elsewhere);
        for n in 0..MOST_AHEAD {
            assert!(!awaited.is_crowded(), "{n}");
            assert!(awaited.take(&uid(n)).is_none() && alone.take(&uid(n)).is_none());
        }
        assert!(awaited.is_crowded() && !alone.is_crowded());
    }
}
