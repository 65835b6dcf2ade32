//! What can be retrieved of a study, a series or an instance, and what could be once.

use super::sqlite::access::{self, Access};
use super::sqlite::retrieve;
use super::sqlite::rows::micros;
use super::sqlite::tx::Tx;
use super::{InstanceId, Records, RecordsError};
use crate::dicom::on_behalf::OnBehalf;
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::ledger::entry::{EntryId, Fact, Kind, facts};
use crate::peers::Origin;
use crate::store::{Digest, Place};
use std::time::SystemTime;

/// A study, or a part of it. Held versions are no part of it: they are for a person to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The study.
    pub study: StudyUid,
    /// Only this series of it.
    pub series: Option<SeriesUid>,
    /// Only this instance of it.
    pub instance: Option<InstanceUid>,
}

/// How much there is of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Instances that are kept.
    pub stored: u64,
    /// Instances whose bytes were deleted.
    pub purged: u64,
    /// Instances whose bytes are damaged.
    pub damaged: u64,
    /// The transfer syntaxes of those that are kept, each with the number of instances.
    pub syntaxes: Vec<(TransferSyntaxUid, u64)>,
}

/// One instance that is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrievable {
    /// Its number; lists are in this order, which new arrivals do not change.
    pub instance: InstanceId,
    /// SOP Class UID.
    pub sop_class: SopClassUid,
    /// SOP Instance UID.
    pub sop_instance: InstanceUid,
    /// Study Instance UID.
    pub study: StudyUid,
    /// Series Instance UID.
    pub series: SeriesUid,
    /// The syntax in which the bytes are encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// The SHA-256 of the data set.
    pub digest: Digest,
    /// Where the bytes are.
    pub place: Place,
    /// The length of the data set in bytes.
    pub length: u64,
    /// How it first came to us.
    pub origin: Origin,
    /// When it was first received.
    pub received: SystemTime,
    /// Who issued its patient's number by the word of the site that it was pulled from, where that is not who our configuration says.
    pub word: Option<String>,
}

/// What a node asks to be given: instances of these studies, and of them only those of these series, and only these. An empty
/// list of series or instances means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picked {
    /// The studies.
    pub studies: Vec<StudyUid>,
    /// The series.
    pub series: Vec<SeriesUid>,
    /// The instances.
    pub instances: Vec<InstanceUid>,
}

/// Copies that were asked for by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    /// In the order of their numbers, each with whether it is kept still.
    pub list: Vec<(Retrievable, bool)>,
    /// So many are not there for who looks: a rule withholds them, or a rejection note hides them.
    pub withheld: u64,
}

/// The instances that were kept of what was picked, at one moment: 12 bytes of memory each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Each with the place of its kind in `kinds`, in the order of their numbers.
    pub instances: Vec<(InstanceId, u32)>,
    /// SOP class and transfer syntax, each pair once.
    pub kinds: Vec<(SopClassUid, TransferSyntaxUid)>,
}

/// The most instances of one retrieval.
pub const MOST_EXPECTED: usize = 1_000_000;

/// UIDs that one entry names.
const MOST_NAMED: usize = 1000;

/// A retrieval by a node that is about to begin.
#[derive(Debug, Clone)]
pub struct RetrievalBegan {
    /// `C-MOVE` or `C-GET`.
    pub operation: &'static str,
    /// Who asked.
    pub node: String,
    /// What for, as other sites are told; of a node of this site.
    pub purpose: String,
    /// Who is given the instances.
    pub destination: String,
    /// The studies; the first 1,000 are named.
    pub studies: Vec<StudyUid>,
    /// Instances that are to be given.
    pub instances: u64,
}

/// A retrieval that was entered in the ledger, for [`Records::retrieval_ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The entry.
    entry: EntryId,
    /// The first and the last of the rows beside it, one for each study that is named.
    rows: (i64, i64),
}

/// How a retrieval ended.
#[derive(Debug, Clone)]
pub struct RetrievalEnded {
    /// `done`, `cancelled` or `originator_lost`.
    pub how: &'static str,
    /// Instances that were taken.
    pub completed: u64,
    /// Instances that were taken with a warning.
    pub warning: u64,
    /// Instances that were not taken.
    pub failed: u64,
    /// Instances that were not begun.
    pub remaining: u64,
    /// Those that were not taken; the first 1,000 are named.
    pub failed_instances: Vec<String>,
}

impl Records {
    /// How much there is of a resource now.
    pub async fn extent(&self, resource: &Resource) -> Result<Extent, RecordsError> {
        let resource = resource.clone();
        self.seen(move |conn, look| retrieve::extent(conn, &resource, look)).await
    }

    /// Whether a study is here, and all of it in sight: then what is not shown of it is no part of it. Where something of it was rejected
    /// or is withheld, others may show more.
    pub async fn is_in_sight(&self, study: &StudyUid) -> Result<bool, RecordsError> {
        let whole = Resource { study: study.clone(), series: None, instance: None };
        self.seen(move |conn, look| {
            Ok(retrieve::extent(conn, &whole, look)?.stored > 0 && !retrieve::is_part_hidden(conn, &whole.study, look)?)
        })
        .await
    }

    /// What is kept now of what was picked; refused beyond [`MOST_EXPECTED`].
    pub async fn expected(&self, picked: Picked) -> Result<Expected, RecordsError> {
        self.seen(move |conn, look| retrieve::expected(conn, picked, look)).await
    }

    /// Instances by their numbers, as far as who looks may see them. At most 256 are asked for.
    pub async fn copies(&self, instances: Vec<InstanceId>) -> Result<Copies, RecordsError> {
        self.seen(move |conn, look| retrieve::copies(conn, &instances, look)).await
    }

    /// Enters in the ledger that a node is about to be given instances, before the first of them is sent. Gives what
    /// [`Records::retrieval_ended`] needs.
    pub async fn retrieval_began(&self, began: RetrievalBegan) -> Result<Entered, RecordsError> {
        let at = micros(SystemTime::now());
        let behalf = OnBehalf { purpose: began.purpose.clone(), ..OnBehalf::default() };
        self.commit(move |tx| {
            let id = Tx::entry_id()?;
            let studies: Fact = began.studies.iter().take(MOST_NAMED).map(|study| study.as_str().into()).collect();
            let mut told = facts([
                ("operation", began.operation.into()),
                ("node", began.node.as_str().into()),
                ("destination", began.destination.as_str().into()),
                ("studies", studies),
                ("instances", began.instances.min(i64::MAX as u64).cast_signed().into()),
            ]);
            access::say(&mut told, &behalf);
            tx.append(id, Kind::Retrieval, at, told, Vec::new());
            let named: Vec<&str> = began.studies.iter().take(MOST_NAMED).map(StudyUid::as_str).collect();
            let given = i64::try_from(began.instances).unwrap_or(i64::MAX);
            let (what, party, detail) = (began.operation, began.node.as_str(), Some(began.destination.as_str()));
            access::keep(tx, &named, &Access { at, what, party, behalf: &behalf, detail, given })?;
            let last = tx.conn.last_insert_rowid();
            Ok(Entered { entry: id, rows: (last + 1 - i64::try_from(named.len()).unwrap_or(0), last) })
        })
        .await
    }

    /// Enters how a retrieval ended, with the true counts, however large (DIM-085); beside each study it is kept how many were taken.
    pub async fn retrieval_ended(&self, began: Entered, ended: RetrievalEnded) -> Result<(), RecordsError> {
        let at = micros(SystemTime::now());
        self.commit(move |tx| {
            let number = |count: u64| Fact::from(i64::try_from(count).unwrap_or(i64::MAX));
            let failed: Fact = ended.failed_instances.iter().take(MOST_NAMED).map(|uid| uid.as_str().into()).collect();
            let told = facts([
                ("how", ended.how.into()),
                ("completed", number(ended.completed)),
                ("warning", number(ended.warning)),
                ("failed", number(ended.failed)),
                ("remaining", number(ended.remaining)),
                ("failed_instances", failed),
            ]);
            tx.append(Tx::entry_id()?, Kind::Retrieved, at, told, vec![began.entry]);
            let given = i64::try_from(ended.completed.saturating_add(ended.warning)).unwrap_or(i64::MAX);
            let mut update = tx.conn.prepare_cached("UPDATE accesses SET given = ?1 WHERE id BETWEEN ?2 AND ?3")?;
            update.execute((given, began.rows.0, began.rows.1))?;
            Ok(())
        })
        .await
    }

    /// The instances that are kept of a resource, by name; 100,000 at most.
    pub async fn kept_instances(&self, resource: &Resource) -> Result<Vec<InstanceUid>, RecordsError> {
        let resource = resource.clone();
        self.inner.readers.ask(move |conn| retrieve::names_of_kept(conn, &resource)).await
    }

    /// Whether something of a study is held, and not yet judged, or a rejection note of it is not yet read and heeded.
    pub async fn awaits_judgement(&self, study: &StudyUid) -> Result<bool, RecordsError> {
        let study = study.clone();
        self.inner.readers.ask(move |conn| retrieve::awaits_judgement(conn, &study)).await
    }

    /// A page of what is kept of a resource, after one of its instances, 256 at most; empty when there is no more.
    pub async fn retrievable(&self, resource: &Resource, after: InstanceId) -> Result<Vec<Retrievable>, RecordsError> {
        let resource = resource.clone();
        self.seen(move |conn, look| retrieve::page(conn, &resource, after, look)).await
    }
}
