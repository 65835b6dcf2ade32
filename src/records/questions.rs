//! The questions that the records answer.

use super::sqlite::why::Subject;
use super::sqlite::{blobs, entries, lists, order, profile, status, study, verify, why};
use super::{
    BlobCounts, BlobId, Cursor, DestinationView, EntryLine, Event, ExceptionId, ExceptionView, FindInstances,
    FoundInstance, Holding, InstanceId, InstanceView, LedgerHead, MOST_NAMED, Records, RecordsError, Report, Summary,
    TransferFilter, TransferSums, TransferView, Wanted,
};
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::ledger::merkle::Hash;
use crate::ledger::transfer::{State, TransferId};
use crate::peers::Destination;
use crate::store::{Digest, Place};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

/// Blobs are read in pages of so many rows.
const BLOB_PAGE: usize = 10_000;

impl Records {
    /// The live generation of a digest, if there is one.
    pub async fn blob_of(&self, digest: &Digest) -> Result<Option<(BlobId, Place)>, RecordsError> {
        let digest = *digest;
        self.inner.readers.ask(move |conn| blobs::blob_of(conn, &digest)).await
    }

    /// The same for a thread that may block.
    pub fn blob_of_here(&self, digest: &Digest) -> Result<Option<BlobId>, RecordsError> {
        self.inner.readers.ask_here(|conn| blobs::blob_of(conn, digest)).map(|found| found.map(|(id, _)| id))
    }

    /// Every place that holds bytes which must not be touched: live blobs, and damaged ones that were set aside. Everything
    /// else in the blob directory is left over. 32 bytes of memory for each.
    pub async fn all_places(&self) -> Result<Vec<Place>, RecordsError> {
        self.inner.readers.ask(blobs::places).await
    }

    /// Whether these records ever named a blob, whatever became of it.
    pub async fn ever_named_a_blob(&self) -> Result<bool, RecordsError> {
        self.inner.readers.ask(blobs::ever).await
    }

    /// A page of live blobs with their digests, after one of them, for scrubbing; empty when there are no more.
    pub async fn live_blobs(&self, after: BlobId, limit: usize) -> Result<Vec<(BlobId, Digest, Place)>, RecordsError> {
        self.inner.readers.ask(move |conn| blobs::page(conn, "live", after, limit.min(BLOB_PAGE))).await
    }

    /// Generations that are condemned and perhaps not freed yet (FLT-012), at most 10,000.
    pub async fn condemned(&self) -> Result<Vec<(BlobId, Place)>, RecordsError> {
        let page = self.inner.readers.ask(move |conn| blobs::page(conn, "condemned", BlobId(0), BLOB_PAGE)).await?;
        Ok(page.into_iter().map(|(id, _, place)| (id, place)).collect())
    }

    /// What a peer was last found to do, as JSON, and when (WEB-073).
    pub async fn profile(&self, peer: &str) -> Result<Option<(SystemTime, String)>, RecordsError> {
        let peer = peer.to_owned();
        self.inner.readers.ask(move |conn| profile::find(conn, &peer)).await
    }

    /// Counts of blobs and their bytes.
    pub async fn blob_counts(&self) -> Result<BlobCounts, RecordsError> {
        self.inner.readers.ask(blobs::counts).await
    }

    /// How many blobs are set aside as damaged whose instances are not here otherwise: they heal when the same bytes arrive again.
    pub async fn unhealed(&self) -> Result<u64, RecordsError> {
        self.inner.readers.ask(blobs::unhealed).await
    }

    /// When the lane of a destination has something to do next: `now` or earlier if at once; `None` if nothing is to come before
    /// [`Records::changed`] says so. `together` as in [`LeaseLimits`](super::LeaseLimits).
    pub async fn next_due(
        &self,
        destination: &Destination,
        together: bool,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, RecordsError> {
        let (destination, options) = (destination.clone(), self.inner.options.clone());
        self.inner.readers.ask(move |conn| lists::next_due(conn, &options, &destination, together, now)).await
    }

    /// The destinations for which something is to be sent or asked about, now or later, by name.
    pub async fn destinations_with_work(&self) -> Result<Vec<Destination>, RecordsError> {
        self.inner.readers.ask(lists::with_work).await
    }

    /// Sums per study and destination (`transfers list`), and where to go on if there are more.
    pub async fn transfers_list(
        &self,
        filter: TransferFilter,
        now: SystemTime,
    ) -> Result<(Vec<TransferSums>, Option<Cursor>), RecordsError> {
        self.inner.readers.ask(move |conn| lists::sums(conn, &filter, now)).await
    }

    /// One transfer (`transfers show`).
    pub async fn transfer_show(
        &self,
        transfer: TransferId,
        now: SystemTime,
    ) -> Result<Option<TransferView>, RecordsError> {
        self.inner.readers.ask(move |conn| lists::transfer(conn, transfer, now)).await
    }

    /// Single transfers, in order of their numbers, after one of them; also only those in one state. The filter's cursor is not used.
    pub async fn transfers(
        &self,
        filter: TransferFilter,
        state: Option<State>,
        after: TransferId,
        now: SystemTime,
    ) -> Result<Vec<TransferView>, RecordsError> {
        self.inner.readers.ask(move |conn| lists::transfers(conn, &filter, state, after, now)).await
    }

    /// A page of the instances of a study with their transfers, every version, after one of them; empty when there are no more.
    /// `limit` 0 means 1,000, which is also the most.
    pub async fn study(
        &self,
        study: &StudyUid,
        after: InstanceId,
        limit: usize,
        now: SystemTime,
    ) -> Result<Vec<InstanceView>, RecordsError> {
        let study = study.clone();
        self.inner.readers.ask(move |conn| study::page(conn, &study, after, limit, now)).await
    }

    /// Every version of an instance with its transfers; empty if it is not known.
    pub async fn instance(&self, instance: &InstanceUid, now: SystemTime) -> Result<Vec<InstanceView>, RecordsError> {
        let instance = instance.clone();
        self.inner.readers.ask(move |conn| study::versions(conn, &instance, now)).await
    }

    /// The studies that a person means, and of which something came from `from` if that is given; at most 1,000.
    pub async fn holdings(&self, wanted: Wanted, from: Option<String>) -> Result<Vec<Holding>, RecordsError> {
        self.inner.readers.ask(move |conn| order::holdings(conn, &wanted, from.as_deref())).await
    }

    /// The stored instances that a query asks for. Refused if it names more than [`MOST_NAMED`].
    pub async fn find_instances(&self, query: FindInstances) -> Result<Vec<FoundInstance>, RecordsError> {
        if query.instances.len() > MOST_NAMED {
            return Err(RecordsError::Refused(format!("more than {MOST_NAMED} instances asked for at once")));
        }
        self.seen(move |conn, look| study::find(conn, &query, look)).await
    }

    /// The story of an instance, in order; empty if it is not known.
    pub async fn why_instance(&self, instance: &InstanceUid, now: SystemTime) -> Result<Vec<Event>, RecordsError> {
        let subject = Subject::Instance(instance.clone());
        self.inner.readers.ask(move |conn| why::why(conn, &subject, now)).await
    }

    /// The story of a study, its instances taken together, in order; empty if it is not known.
    pub async fn why_study(&self, study: &StudyUid, now: SystemTime) -> Result<Vec<Event>, RecordsError> {
        let subject = Subject::Study(study.clone());
        self.inner.readers.ask(move |conn| why::why(conn, &subject, now)).await
    }

    /// The whole at a glance (`status`).
    pub async fn summary(&self) -> Result<Summary, RecordsError> {
        let poisoned = self.poisoned();
        self.inner.readers.ask(move |conn| status::summary(conn, poisoned)).await
    }

    /// How each destination stands that was ever owed anything, by name.
    pub async fn destinations(&self) -> Result<Vec<DestinationView>, RecordsError> {
        self.inner.readers.ask(status::destinations).await
    }

    /// Exceptions after one of them: all, or only those that wait for a person. `limit` 0 means 1,000, which is also the most.
    pub async fn exceptions(
        &self,
        open_only: bool,
        after: ExceptionId,
        limit: usize,
    ) -> Result<Vec<ExceptionView>, RecordsError> {
        self.inner.readers.ask(move |conn| status::exceptions(conn, open_only, after, limit)).await
    }

    /// The head of the ledger.
    pub async fn ledger_head(&self) -> Result<LedgerHead, RecordsError> {
        self.inner.readers.ask(|conn| super::sqlite::recover::read_end(conn).map(|end| end.head())).await
    }

    /// Whether the ledger has so many entries at least, and this is the chain over them: the records were once where somebody noted
    /// them to be.
    pub async fn held(&self, entries: u64, chain: Hash) -> Result<bool, RecordsError> {
        self.inner.readers.ask(move |conn| entries::chain_at(conn, entries, &chain)).await
    }

    /// A page of the ledger after a position, for export: at most 1,000 entries or about 1 MiB; empty when there are no more.
    pub async fn ledger_page(&self, after: u64) -> Result<Vec<EntryLine>, RecordsError> {
        self.inner.readers.ask(move |conn| entries::page(conn, after)).await
    }

    /// Verifies the whole ledger: positions, bytes, chain, tree, heads, legality of each step, and that transfers, instances,
    /// exceptions and attempts rebuilt from the entries are those of the tables (LED-006). `seen` counts entries as they pass.
    ///
    /// Looks at one moment of the records; commits go on meanwhile, and the log of the file grows until it is done.
    pub async fn verify_ledger(&self, seen: Arc<AtomicU64>) -> Result<Report, RecordsError> {
        let readers = self.inner.readers.clone();
        let work = move || verify::verify(&readers.separate()?, Some(readers.separate()?), &seen);
        match tokio::task::spawn_blocking(work).await {
            Ok(report) => report,
            Err(died) => Err(RecordsError::Database(format!("the verification ended early: {died}"))),
        }
    }
}
