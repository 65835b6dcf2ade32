//! What of a study is withheld from whom, by the rules of the site ("Sharing limits" in docs/ARCHITECTURE.md).
//!
//! [`Records::seen_by`] gives the same records as somebody else may see them: what is withheld is absent from every answer of the
//! catalogue and from every retrieval. So each way out is covered where it asks, and no face decides anything.

use super::sqlite::access::{self, Access};
use super::sqlite::rejections;
use super::sqlite::rows::{Fault, micros};
use super::sqlite::sharing::{self, Connection, Look};
use super::sqlite::tx::Tx;
use super::{Event, Picked, Records, RecordsError, Resource, Texts};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use crate::ledger::entry::{Kind, facts};
use crate::peers::{Hidden, Origin, Registry, Withhold};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::watch;

/// Entries a minute; the rest is counted in the next.
const MOST_A_MINUTE: usize = 600;

/// What was withheld from somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::records) struct Note {
    pub(in crate::records) party: String,
    pub(in crate::records) study: String,
    pub(in crate::records) rule: String,
}

/// A study or a part of one that is not in these records, or not only: what its holder says of it.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// The study.
    pub study: StudyUid,
    /// The series, if it is one or a part of one.
    pub series: Option<SeriesUid>,
    /// The instance, if it is one.
    pub instance: Option<InstanceUid>,
    /// Attributes of patient and study, and of the series if it is one.
    pub attributes: Texts,
    /// The modalities of the study; none if they are not known.
    pub modalities: Vec<String>,
    /// Who holds it.
    pub origin: Origin,
}

/// Who looks, and which rules concern each of them, as they stood when a question was put.
#[derive(Clone, Default)]
pub(in crate::records) struct Eyes {
    pub(in crate::records) viewers: Vec<(String, Vec<Withhold>)>,
    /// Another site looks: what was pulled from one is not ours to show to another.
    pub(in crate::records) another_site: bool,
}

impl Eyes {
    fn of(registry: &Registry, viewers: &[String]) -> Self {
        let concerned = viewers.iter().map(|party| (party.clone(), registry.withheld_from(party)));
        let another_site = viewers.iter().any(|party| registry.is_another_site(party));
        Self { viewers: concerned.filter(|(_, rules)| !rules.is_empty()).collect(), another_site }
    }
}

impl Records {
    /// From now on the rules of this registry are followed, as they stand each time.
    pub fn govern(&self, registry: watch::Receiver<Arc<Registry>>) {
        // Said once, when the records are put to use.
        let _ = self.inner.registry.set(registry);
    }

    /// The same records as these nodes and peers may see them: what is withheld from any of them is absent.
    pub fn seen_by<'a>(&self, viewers: impl IntoIterator<Item = &'a str>) -> Self {
        let viewers = viewers.into_iter().map(str::to_owned).collect();
        Self { inner: Arc::clone(&self.inner), viewers }
    }

    fn eyes(&self, viewers: &[String]) -> Eyes {
        match self.inner.registry.get() {
            Some(registry) if !viewers.is_empty() => Eyes::of(&registry.borrow(), viewers),
            _ => Eyes::default(),
        }
    }

    /// What of a study is withheld from a party; entered in the ledger if anything is.
    pub async fn hidden(&self, party: &str, study: &StudyUid) -> Result<Hidden, RecordsError> {
        let (eyes, study) = (self.eyes(&[party.to_owned()]), study.clone());
        if eyes.viewers.is_empty() {
            return Ok(Hidden::default());
        }
        self.look(eyes, move |conn, look| look.hidden(conn, study.as_str())).await
    }

    /// What these rules withhold of a study, or of the study of an instance, from whom, and whether its first image is the reason: for who
    /// asks why, here. Nothing is entered, since it was asked by nobody from whom it is withheld.
    pub async fn why_withheld(
        &self,
        uid: &str,
        rules: Vec<Withhold>,
        now: SystemTime,
    ) -> Result<Vec<Event>, RecordsError> {
        let uid = uid.to_owned();
        self.inner.readers.ask(move |conn| sharing::told(conn, &uid, &rules, now)).await
    }

    /// Those of the rows from elsewhere, from an archive say, that may be shown to who looks. An instance that a rejection note hides
    /// here is shown to nobody, whoever still lists it (WEB-105). Either all of the rows are instances, or none.
    pub async fn shown_elsewhere<T: Send + 'static>(
        &self,
        rows: Vec<T>,
        described: fn(&T) -> Elsewhere,
    ) -> Result<Vec<T>, RecordsError> {
        let eyes = self.eyes(&self.viewers);
        let instances = rows.first().is_some_and(|row| described(row).instance.is_some());
        if eyes.viewers.is_empty() && !instances {
            return Ok(rows);
        }
        let registry = self.inner.registry.get().map(|registry| Arc::clone(&registry.borrow()));
        let issuer =
            move |origin: &Origin| registry.as_ref().map(|registry| registry.issuer(origin)).unwrap_or_default();
        self.look(eyes, move |conn, look| {
            let mut shown = Vec::with_capacity(rows.len());
            for row in rows {
                let row_is = described(&row);
                let issuer = issuer(&row_is.origin);
                if look.shows_elsewhere(conn, row_is, &issuer)? {
                    shown.push(row);
                }
            }
            Ok(shown)
        })
        .await
    }

    /// What of it others may be asked for, for who looks: not the studies and series that are withheld for certain, nor the instances that
    /// a rejection note hides (WEB-105).
    pub async fn may_be_sought(&self, picked: Picked) -> Result<Picked, RecordsError> {
        self.seen(move |conn, look| sharing::sought(conn, picked, look)).await
    }

    /// Whether all of a resource is withheld from who looks, whatever else of it others hold; or is an instance that a rejection note
    /// hides, which nobody is asked for (WEB-105).
    pub async fn hides(&self, resource: &Resource) -> Result<bool, RecordsError> {
        if let Some(instance) = resource.instance.clone() {
            let study = resource.study.clone();
            let asked = move |conn: &Connection| rejections::is_hidden_here(conn, study.as_str(), instance.as_str());
            if self.inner.readers.ask(asked).await? {
                return Ok(true);
            }
        }
        self.hidden_in(resource, |hidden, series| hidden.certain(series).is_some()).await
    }

    /// Whether all that is known here of a resource is withheld from who looks.
    pub async fn hides_what_is_known(&self, resource: &Resource) -> Result<bool, RecordsError> {
        let known = |hidden: &Hidden, series: Option<&str>| {
            hidden.study.is_some() || series.is_some_and(|series| hidden.rule(series).is_some())
        };
        self.hidden_in(resource, known).await
    }

    async fn hidden_in(
        &self,
        resource: &Resource,
        judge: fn(&Hidden, Option<&str>) -> bool,
    ) -> Result<bool, RecordsError> {
        let eyes = self.eyes(&self.viewers);
        if eyes.viewers.is_empty() {
            return Ok(false);
        }
        let (study, series) = (resource.study.to_string(), resource.series.as_ref().map(SeriesUid::to_string));
        self.look(eyes, move |conn, look| Ok(judge(&look.hidden(conn, &study)?, series.as_deref()))).await
    }

    /// Answers a question as these records are seen.
    pub(super) async fn seen<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection, &mut Look) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, RecordsError> {
        self.look(self.eyes(&self.viewers), question).await
    }

    async fn look<T: Send + 'static>(
        &self,
        eyes: Eyes,
        question: impl FnOnce(&Connection, &mut Look) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, RecordsError> {
        let asked = move |conn: &Connection| {
            let mut look = Look::new(eyes);
            let answer = question(conn, &mut look)?;
            Ok((answer, look.notes()))
        };
        let (answer, notes) = self.inner.readers.ask(asked).await?;
        for note in notes {
            self.withheld(note).await;
        }
        Ok(answer)
    }

    /// Enters that something was withheld. A failure to enter it is logged only: it stays withheld.
    async fn withheld(&self, note: Note) {
        let key = format!("{} {} {}", note.party, note.study, note.rule);
        let admitted = self.inner.withheld.admit(Instant::now(), "withheld", &key, MOST_A_MINUTE);
        let Some(left_out) = admitted else { return };
        let at = micros(SystemTime::now());
        let committed = self.commit(move |tx| {
            let Note { party, study, rule } = &note;
            let named = [("from", party), ("study", study), ("rule", rule)];
            let mut told = facts([]);
            told.extend(named.map(|(name, value)| (name.to_owned(), value.as_str().into())));
            if left_out > 0 {
                told.insert("left_out".into(), left_out.into());
            }
            tx.append(Tx::entry_id()?, Kind::Withheld, at, told, Vec::new());
            let (detail, behalf) = (Some(rule.as_str()), &OnBehalf::default());
            access::keep(tx, &[study], &Access { at, what: "withheld", party, behalf, detail, given: 0 })
        });
        if let Err(error) = committed.await {
            tracing::error!(error = %error, "that something was withheld could not be entered in the ledger");
        }
    }
}
