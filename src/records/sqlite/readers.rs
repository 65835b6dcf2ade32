//! A small pool of connections for reading, used on blocking threads.

use super::rows::Fault;
use super::schema;
use crate::records::RecordsError;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The pool. Connections are opened when they are first needed.
#[derive(Clone)]
pub(in crate::records) struct Readers {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    offline: bool,
    /// The most connections that are kept.
    size: usize,
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
    /// Questions are answered where they are asked, in a simulation.
    #[cfg(test)]
    inline: Option<super::inline::Inline>,
}

impl Shared {
    /// Answers with an idle connection, or with a new one.
    fn answer<T>(&self, question: impl FnOnce(&Connection) -> Result<T, RecordsError>) -> Result<T, RecordsError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => schema::open_reader(&self.dir, self.offline)?,
        };
        let answer = question(&conn);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // What was opened beside the pool's limit is not kept.
        if idle.len() < self.size {
            idle.push(conn);
        }
        answer
    }
}

impl Readers {
    /// A pool of at most `size` connections. `offline` says that no gateway has the file open.
    pub(in crate::records) fn new(dir: PathBuf, size: usize, offline: bool) -> Self {
        let size = size.max(1);
        let free = Arc::new(Semaphore::new(size));
        Self {
            shared: Arc::new(Shared {
                dir,
                offline,
                size,
                idle: Mutex::new(Vec::new()),
                free,
                #[cfg(test)]
                inline: None,
            }),
        }
    }

    /// Readers of records that are kept inline.
    #[cfg(test)]
    pub(in crate::records) fn of_inline(inline: super::inline::Inline) -> Self {
        let (dir, free) = (PathBuf::new(), Arc::new(Semaphore::new(1)));
        Self {
            shared: Arc::new(Shared {
                dir,
                offline: false,
                size: 1,
                idle: Mutex::default(),
                free,
                inline: Some(inline),
            }),
        }
    }

    /// The records, if they are kept inline.
    #[cfg(test)]
    pub(in crate::records) fn inline(&self) -> Option<&super::inline::Inline> {
        self.shared.inline.as_ref()
    }

    /// Answers a question on a blocking thread, in one read transaction, so that its parts agree with each other.
    pub(in crate::records) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, RecordsError> {
        #[cfg(test)]
        if let Some(inline) = self.inline() {
            return inline.ask(question).await;
        }
        let permit = self.shared.free.clone().acquire_owned().await.map_err(|_| RecordsError::Closed)?;
        let shared = self.shared.clone();
        let answer = move || {
            let _permit = permit;
            shared.answer(|conn| in_one_view(conn, question))
        };
        match tokio::task::spawn_blocking(answer).await {
            Ok(answer) => answer,
            Err(died) => Err(RecordsError::Database(format!("a question could not be answered: {died}"))),
        }
    }

    /// Answers a question of one statement, which needs no transaction, on the caller's thread, which may block, beside the pool's
    /// limit: for the store's own few threads.
    pub(in crate::records) fn ask_here<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, RecordsError> {
        #[cfg(test)]
        if let Some(inline) = self.inline() {
            return inline.ask_here(question);
        }
        match self.shared.free.is_closed() {
            true => Err(RecordsError::Closed),
            false => self.shared.answer(|conn| Ok(question(conn)?)),
        }
    }

    /// A connection of its own for long work, outside the pool.
    pub(in crate::records) fn separate(&self) -> Result<Connection, RecordsError> {
        schema::open_reader(&self.shared.dir, self.shared.offline)
    }

    /// Closes the idle connections.
    pub(in crate::records) fn close(&self) {
        self.shared.free.close();
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Runs a question in one read transaction.
pub(in crate::records) fn in_one_view<T>(
    conn: &Connection,
    question: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, RecordsError> {
    let view = conn.unchecked_transaction().map_err(Fault::from)?;
    let answer = question(&view);
    // Nothing was written: there is nothing that a failed end could lose.
    let _ = view.rollback();
    Ok(answer?)
}
