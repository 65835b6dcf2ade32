//! THE way in: room? -> stream and hash -> head -> blob durable -> one commit -> answer.
//!
//! Every face hands its instances to [`Intake`] in two phases. [`Intake::receive`] opens a [`Reception`] that takes the
//! bytes as they come; [`Reception::finish`] yields an [`Arrived`], complete and consistent but not yet durable.
//! [`Intake::commit`] makes it durable in a task of its own, so that dropping the request never cancels it, and returns
//! the [`Receipt`]. Nobody says success to a sender before that (INV-01, REL-01).

mod commit;
mod reception;

pub use commit::Receipt;
pub use reception::{Arrived, Reception};

use crate::clock::Clock;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::scanner;
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::peers::Origin;
use crate::records::{Records, RecordsError, Requested, SourceFacts};
use crate::router::Routes;
use crate::store::{Store, StoreError};
use commit::Gates;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Who sends, as the face established it before the first byte.
#[derive(Debug, Clone)]
pub struct Source {
    /// How the instance comes to us.
    pub origin: Origin,
    /// The AE title that a node called; it selects routes.
    pub called: Option<AeTitle>,
    /// What the records keep about the sender.
    pub facts: SourceFacts,
    /// Set when an operator names the destination: no route is consulted then.
    pub requested: Option<Requested>,
}

/// What the sender said about the instance before its bytes; the data set must agree.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// SOP Class UID of the command or the file meta information.
    pub sop_class: Option<SopClassUid>,
    /// SOP Instance UID of the command or the file meta information.
    pub sop_instance: Option<InstanceUid>,
    /// Study Instance UID of the request's path.
    pub study: Option<StudyUid>,
    /// The transfer syntax in which the data set comes.
    pub transfer_syntax: TransferSyntaxUid,
}

/// Why an instance was not taken; nothing of it is kept. Each face maps these to its own statuses.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The disk is below its reserve (REL-06).
    #[error("no room: the disk would be below its reserve; send less at once, or later")]
    NoRoom,
    /// The system gives no more descriptors or memory just now; what is stored is sound (FLT-026).
    #[error("the gateway has no descriptors or memory left just now; send again later")]
    Exhausted,
    /// The gateway is stopping (REL-26).
    #[error("the gateway is stopping; send again later")]
    Stopping,
    /// Store or records can no longer promise durability (REL-04).
    #[error("the gateway's storage has failed and needs its administrator: {0}")]
    Poisoned(String),
    /// The data set is larger than `limits.instance_bytes`.
    #[error("the instance is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The data set is truncated or cannot be parsed.
    #[error("the data set cannot be understood: {why}")]
    Malformed {
        /// What is wrong, without patient data.
        why: String,
        /// The element where it was noticed.
        tag: Option<Tag>,
    },
    /// The records do not take it, whatever room there is; what was written of it is freed.
    #[error("it is not kept: {why}")]
    Unkept {
        /// Why, without patient data.
        why: String,
    },
    /// A UID without which an instance cannot be kept is missing.
    #[error("the data set has no valid {tag}")]
    MissingIdentity {
        /// Which one.
        tag: Tag,
    },
    /// The data set is of another SOP class than was said.
    #[error("the data set is of another SOP class than the request said")]
    OtherClass,
    /// The data set is another instance than was said.
    #[error("the data set is another SOP instance than the request said")]
    OtherInstance,
    /// The data set belongs to another study than the request's path says.
    #[error("the instance belongs to another study than the request's")]
    OtherStudy,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::NoRoom,
            StoreError::TooLarge { limit } => Self::TooLarge { limit },
            StoreError::Io { source, .. } if exhausted(&source) => Self::Exhausted,
            other => Self::Poisoned(other.to_string()),
        }
    }
}

/// Out of descriptors (of the process, of the system) or of memory: EMFILE, ENFILE, ENOMEM.
fn exhausted(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno))
}

impl From<RecordsError> for Refusal {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Full => Self::NoRoom,
            RecordsError::Refused(why) => Self::Unkept { why },
            other => Self::Poisoned(other.to_string()),
        }
    }
}

/// What intake needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct IntakeOptions {
    /// Largest data set taken, in bytes.
    pub instance_bytes: u64,
    /// Limits of the head scanner.
    pub scanner: scanner::Limits,
    /// A duplicate of something done longer ago than this makes us ask the destination ("The same instance again").
    pub resend_after: Duration,
}

/// The one way in. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    store: Store,
    records: Records,
    routes: watch::Receiver<Arc<Routes>>,
    options: IntakeOptions,
    gates: Gates,
    stopping: AtomicBool,
}

impl Intake {
    /// An intake into this store and these records; each arrival takes the routes that are in force when it commits.
    pub fn new(store: Store, records: Records, routes: watch::Receiver<Arc<Routes>>, options: IntakeOptions) -> Self {
        Self::with_clock(Clock::system(), (store, records), routes, options)
    }

    /// The same by another clock.
    pub(crate) fn with_clock(
        clock: Clock,
        (store, records): (Store, Records),
        routes: watch::Receiver<Arc<Routes>>,
        options: IntakeOptions,
    ) -> Self {
        let (gates, stopping) = (Gates::default(), AtomicBool::new(false));
        Self { inner: Arc::new(Inner { clock, store, records, routes, options, gates, stopping }) }
    }

    /// Refuses whatever starts from now on; what has started may finish.
    pub fn stop(&self) {
        self.inner.stopping.store(true, Ordering::Release);
    }

    /// Tells whether an instance of about `bytes` bytes would be taken now; faces ask before they let a sender in.
    pub fn room(&self, bytes: u64) -> Result<(), Refusal> {
        if self.inner.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Stopping);
        }
        if let Some(why) = self.inner.store.poisoned().or_else(|| self.inner.records.poisoned()) {
            return Err(Refusal::Poisoned(why));
        }
        self.inner.store.room(bytes).map_err(Refusal::from)
    }

    /// Opens the door for one instance. `length` is the length in bytes if the sender told it.
    pub async fn receive(&self, claimed: Claimed, length: Option<u64>) -> Result<Reception, Refusal> {
        let limit = self.inner.options.instance_bytes;
        if length.is_some_and(|bytes| bytes > limit) {
            return Err(Refusal::TooLarge { limit });
        }
        self.room(length.unwrap_or(0))?;
        Reception::open(&self.inner, claimed).await
    }

    fn routes(&self) -> Arc<Routes> {
        self.inner.routes.borrow().clone()
    }
}
