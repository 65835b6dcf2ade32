//! Tests of what a full disk and a failed write do: nothing is acknowledged that is not durable (REL-01, REL-04, FLT-022).

use super::*;
use crate::dicom::fired::note_fired;
use crate::ledger::entry::{Facts, Kind};
use crate::records::sqlite::rows::Fault;
use crate::records::sqlite::tx::Tx;
use crate::records::tests::support::{Site, push};
use rusqlite::ffi;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn failure(code: i32) -> Fault {
    Fault::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
}

/// Queues two commands while the writer is busy with a third, so that they are committed as one group.
async fn in_one_group<A, B>(site: &Site, a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (started, is_running) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut busy = Box::pin(site.records.commit(move |_| {
        started.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    }));
    assert!(futures_util::poll!(busy.as_mut()).is_pending());
    is_running.recv().unwrap();
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    assert!(futures_util::poll!(a.as_mut()).is_pending() && futures_util::poll!(b.as_mut()).is_pending());
    release.send(()).unwrap();
    busy.await.unwrap();
    tokio::join!(a, b)
}

#[tokio::test]
async fn a_failed_write_acknowledges_nothing_of_its_group_and_poisons() {
    for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CORRUPT, ffi::SQLITE_READONLY] {
        let site = Site::new();
        site.stored(push(1)).await;
        let bad = site.records.commit(move |_| Err::<(), _>(failure(code)));
        let (good, bad) = in_one_group(&site, site.records.record(push(2)), bad).await;
        assert!(matches!(good, Err(RecordsError::Poisoned(_))), "{good:?}");
        assert!(matches!(bad, Err(RecordsError::Poisoned(_))), "{bad:?}");
        assert!(site.records.poisoned().is_some());
        assert!(matches!(site.records.record(push(3)).await, Err(RecordsError::Poisoned(_))));
        assert_eq!(site.records.summary().await.unwrap().instances, 1, "what was acknowledged can still be read");
        let (site, _) = site.restart();
        site.stored(push(2)).await;
        site.verify().await;
    }
}

/// What the system kept of a log whose sync failed may never reach the disk: nothing is written behind it (REL-04).
#[tokio::test]
async fn the_log_of_an_earlier_run_is_not_gone_on_with() {
    let site = Site::new();
    for n in 1..40 {
        site.stored(push(n)).await;
    }
    // As a crash leaves the files.
    let copy = TempDir::new().unwrap();
    for name in ["records.db", "records.db-wal"] {
        std::fs::copy(site.dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let log = || std::fs::metadata(copy.path().join("records.db-wal")).unwrap().len();
    let before = log();
    let (records, _) = Records::open(copy.path(), RecordsOptions::default()).unwrap();
    assert!(log() < before / 4, "{} of {before}", log());
    assert_eq!(records.summary().await.unwrap().instances, 39);
    records.close().await;
    assert!(!copy.path().join("records.db-wal").exists(), "after an end in good order there is no log");
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_passes() {
    let site = Site::new();
    site.stored(push(1)).await;
    let limit = |pages: i64| {
        move |tx: &mut Tx<'_>| {
            tx.conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(())
        }
    };
    site.records.commit(limit(1)).await.unwrap();
    let mut full = 0;
    for n in 100..140 {
        match site.records.record(push(n)).await {
            Ok(_) => {}
            Err(RecordsError::Full) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(site.records.poisoned(), None);
    site.records.commit(limit(1 << 30)).await.unwrap();
    for n in 100..140 {
        site.record(push(n)).await;
    }
    assert_eq!(site.verify().await.instances, 41);
    note_fired(full);
}

#[tokio::test]
async fn a_command_that_breaks_a_constraint_undoes_only_itself() {
    let site = Site::new();
    let breaks = site.records.commit(|tx| {
        tx.conn.execute(
            "INSERT INTO blobs (digest, file, shared, offset, length, state) VALUES (x'', 0, 0, 0, 0, 'odd')",
            [],
        )?;
        Ok(())
    });
    let (good, bad) = in_one_group(&site, site.records.record(push(1)), breaks).await;
    assert!(good.is_ok() && matches!(bad, Err(RecordsError::Database(_))), "{good:?} {bad:?}");
    assert_eq!(site.records.poisoned(), None);
    site.verify().await;
}

/// REL-03: the group of one that is refused is done again without it: the others are committed, and entered, once.
#[tokio::test]
async fn the_others_of_a_refused_command_are_committed_once() {
    let site = Site::new();
    let before = site.records.ledger_head().await.unwrap().size;
    let refused = site.records.commit(|tx| {
        tx.append(Tx::entry_id()?, Kind::Received, 0, Facts::new(), Vec::new());
        Err::<(), _>(Fault::Refused(RecordsError::Refused("odd".into())))
    });
    let rest = futures_util::future::join(refused, site.records.record(push(2)));
    let (first, (refused, last)) = in_one_group(&site, site.records.record(push(1)), rest).await;
    assert!(first.is_ok() && last.is_ok(), "{first:?} {last:?}");
    assert_eq!(refused, Err(RecordsError::Refused("odd".into())));
    assert_eq!(site.records.ledger_head().await.unwrap().size, before + 2);
    assert_eq!(site.verify().await.instances, 2);
}

/// REL-04: what fails for good while a group is done again ends it all; nothing of it is acknowledged.
#[tokio::test]
async fn a_group_that_breaks_while_it_is_done_again_acknowledges_nothing() {
    let site = Site::new();
    let runs = Arc::new(AtomicU32::new(0));
    let breaks = site.records.commit(move |_| match runs.fetch_add(1, Ordering::Relaxed) {
        0 => Err::<(), _>(Fault::Refused(RecordsError::Refused("odd".into()))),
        _ => Err(failure(ffi::SQLITE_IOERR_WRITE)),
    });
    let (good, bad) = in_one_group(&site, site.records.record(push(1)), breaks).await;
    assert!(matches!(good, Err(RecordsError::Poisoned(_))), "{good:?}");
    assert!(matches!(bad, Err(RecordsError::Poisoned(_))), "{bad:?}");
    let (site, _) = site.restart();
    assert_eq!(site.records.summary().await.unwrap().instances, 0);
}

/// REL-04: SQLite may end a transaction by itself; what comes after it in the group is not kept without one.
#[tokio::test]
async fn a_command_that_loses_the_transaction_ends_its_group() {
    let site = Site::new();
    let loses = site.records.commit(|tx| Ok(tx.conn.execute_batch("ROLLBACK")?));
    let (lost, last) = in_one_group(&site, loses, site.records.record(push(1))).await;
    assert!(matches!(lost, Err(RecordsError::Poisoned(_))), "{lost:?}");
    assert!(matches!(last, Err(RecordsError::Poisoned(_))), "{last:?}");
    let (site, _) = site.restart();
    assert_eq!(site.records.summary().await.unwrap().instances, 0);
    site.verify().await;
}

#[tokio::test]
async fn a_writer_that_dies_says_so() {
    let site = Site::new();
    let died = site.records.commit(|_| -> Result<(), Fault> { panic!("a fault of the test's own") }).await;
    assert!(died.is_err());
    // The thread sets its last words before the queue is closed.
    while site.records.record(push(1)).await.is_ok() {}
    assert!(site.records.poisoned().is_some());
    let (site, _) = site.restart();
    site.stored(push(1)).await;
    site.verify().await;
}

#[tokio::test]
async fn only_its_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    site.stored(push(1)).await;
    for name in ["records.db", "records.db-wal"] {
        let mode = std::fs::metadata(site.dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[tokio::test]
async fn the_log_is_copied_back_and_does_not_grow_for_ever() {
    let site = Site::new();
    let mut longest = 0;
    for round in 0..40 {
        let sends = (0..100).map(|n| {
            let records = site.records.clone();
            tokio::spawn(async move { records.record(push(1000 * round + n)).await.unwrap() })
        });
        for send in sends.collect::<Vec<_>>() {
            send.await.unwrap();
        }
        longest = longest.max(std::fs::metadata(site.dir.path().join("records.db-wal")).unwrap().len());
    }
    let file = std::fs::metadata(site.dir.path().join("records.db")).unwrap().len();
    assert!(file > 1 << 20, "{file}");
    assert!(longest < 24 << 20, "{longest}");
}

/// FLT-026: what fails for want of memory is undone, and the records go on.
#[tokio::test]
async fn a_write_without_memory_is_undone_and_the_next_is_taken() {
    let site = Site::new();
    site.stored(push(1)).await;
    let failed = site.records.commit(move |_| Err::<(), _>(failure(ffi::SQLITE_NOMEM))).await;
    assert!(matches!(failed, Err(RecordsError::Database(_))), "{failed:?}");
    assert!(site.records.poisoned().is_none() && !site.records.is_full());
    note_fired(1);
    site.stored(push(2)).await;
    site.verify().await;
}

/// FLT-022: that the records cannot be written is known until they can.
#[tokio::test]
async fn records_on_a_full_disk_are_known_to_be_full_until_something_is_written() {
    let site = Site::new();
    let failed = site.records.commit(move |_| Err::<(), _>(failure(ffi::SQLITE_FULL))).await;
    assert!(matches!(failed, Err(RecordsError::Full)), "{failed:?}");
    assert!(site.records.is_full());
    note_fired(1);
    site.records.commit(|_| Ok(())).await.unwrap();
    assert!(site.records.is_full(), "a commit of nothing says nothing");
    site.stored(push(1)).await;
    assert!(!site.records.is_full());
}
