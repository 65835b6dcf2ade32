//! The archives behind us: asked by C-FIND for what they hold, and by C-MOVE to move it to us (DIM-091; "Moves" in docs/ARCHITECTURE.md).
//!
//! What is fetched goes to whoever asked: it fires no route. One request at a time goes to an archive for one study.

mod bring;
mod find;
mod keys;
mod line;
mod plan;
mod waiting;

pub use bring::{Brought, Fetched, Fetching};
pub use find::{ArchivedInstance, Found, Wanted, widen};

use super::silence::{Memory, Silences};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::charset::Charset;
use crate::dicom::uid::{InstanceUid, StudyUid};
use crate::dimse::Target;
use crate::records::Records;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use waiting::Book;

/// Queries that one archive is asked at once; more wait.
const QUERIES: usize = 4;

/// Fetches that wait or go on at once, of all archives; who asks for more is told to come again.
const FETCHES: usize = 64;

/// An archive as it is asked.
pub struct Archive {
    name: AeTitle,
    target: Target,
    settings: crate::peers::Archive,
    /// Who issued the patient identifiers that it gives without an issuer.
    issuer: String,
    /// In which it is asked what is beyond ASCII, and its answers are that declare nothing.
    charset: Charset,
    queries: Semaphore,
    moves: Semaphore,
}

impl Archive {
    /// An archive that is called so, whose text is in a character set; at most so many associations for moves are opened to it at once.
    pub fn new(
        name: AeTitle,
        target: Target,
        settings: crate::peers::Archive,
        issuer: String,
        charset: &str,
        max_parallel: usize,
    ) -> Self {
        let (queries, moves) = (Semaphore::new(QUERIES), Semaphore::new(max_parallel.max(1)));
        let charset = Charset::declared(charset.as_bytes());
        Self { name, target, settings, issuer, charset, queries, moves }
    }

    fn query_timeout(&self) -> Duration {
        self.settings.query_timeout
    }
}

/// Every archive of this site. Cheap to clone.
#[derive(Clone)]
pub struct Archives {
    inner: Arc<Inner>,
    /// How long whoever asks waits for what they hold, if that is limited.
    within: Option<Duration>,
}

/// Who holds it asks an archive for a study.
type Turn = tokio::sync::Mutex<()>;

struct Inner {
    records: Records,
    list: watch::Receiver<Arc<Vec<Arc<Archive>>>>,
    book: Book,
    turns: Mutex<HashMap<(AeTitle, StudyUid), Weak<Turn>>>,
    fetches: Arc<Semaphore>,
    /// Who kept silent lately, and for how long that is remembered.
    silences: Silences,
    memory: Memory,
}

impl Archives {
    /// These archives; the receiver follows the configuration.
    pub fn new(records: Records, list: watch::Receiver<Arc<Vec<Arc<Archive>>>>) -> Self {
        let (book, turns, fetches) = (Book::default(), Mutex::default(), Arc::new(Semaphore::new(FETCHES)));
        let (silences, memory) = (Silences::default(), Memory::default());
        Self { inner: Arc::new(Inner { records, list, book, turns, fetches, silences, memory }), within: None }
    }

    /// The same for somebody who waits no longer than this for what they hold.
    pub fn within(&self, within: Option<Duration>) -> Self {
        Self { inner: Arc::clone(&self.inner), within }
    }

    /// The archives that are asked for somebody; an archive is never asked for itself.
    fn asked(&self, by: Option<&AeTitle>) -> Vec<Arc<Archive>> {
        self.inner.list.borrow().iter().filter(|archive| Some(&archive.name) != by).cloned().collect()
    }

    /// Whether there is an archive to be asked for this node; for whoever is no node, any.
    pub fn any(&self, by: Option<&AeTitle>) -> bool {
        self.inner.list.borrow().iter().any(|archive| Some(&archive.name) != by)
    }

    /// Whether an archive was asked to move something of a study to us, now or until a moment ago.
    pub fn expects(&self, archive: &AeTitle, study: &StudyUid) -> bool {
        self.inner.book.expects(archive, study)
    }

    /// An instance that an archive moved to us is durable.
    pub fn arrived(&self, archive: &AeTitle, study: &StudyUid, instance: &InstanceUid) {
        self.inner.book.arrived(archive, study, instance);
    }
}
