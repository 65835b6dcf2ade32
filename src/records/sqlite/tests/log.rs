//! Tests of the log that a killed gateway leaves: what was changed on the disk is told from what a power cut left unfinished.

use crate::dicom::fired::note_fired;
use crate::records::sqlite::log::{self, Log};
use crate::records::sqlite::schema;
use crate::records::{Records, RecordsOptions};
use std::path::Path;
use tempfile::TempDir;

const FRAME: usize = 24 + 4096;

/// Some commits of one to three frames, and where in the log the last two begin.
fn commits(dir: &Path) -> (Vec<u8>, [usize; 2]) {
    let conn = schema::open_writer(dir, 1 << 20, false).unwrap();
    conn.execute_batch("CREATE TABLE heap (x BLOB); PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let read = || std::fs::read(dir.join("records.db-wal")).unwrap();
    let mut ends = Vec::new();
    for number in 0..7 {
        conn.execute("INSERT INTO heap (x) VALUES (randomblob(?1))", [1000 + 1700 * (number % 4)]).unwrap();
        ends.push(read().len());
    }
    (read(), [ends[4], ends[5]])
}

fn judge(log: &[u8]) -> Log {
    log::judge(&mut &*log).unwrap()
}

#[test]
fn any_changed_byte_of_what_was_synced_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (log, _) = commits(dir.path());
    assert_eq!(judge(&log), Log::Whole);
    assert!(log.len() > 32 + 10 * FRAME, "{}", log.len());
    let is_tried = |at: usize| at < 32 || (at - 32) % FRAME < 24 || at.is_multiple_of(97) || at + 8 > log.len();
    let mut fired = 0;
    for at in (0..log.len()).filter(|at| is_tried(*at)) {
        for change in [1, 0x80, 0xff] {
            let mut changed = log.clone();
            changed[at] ^= change;
            let frame = at.saturating_sub(32) / FRAME;
            assert_eq!(judge(&changed), Log::Damaged { frame: frame as u64 }, "byte {at} by {change:#x}");
            fired += 1;
        }
    }
    note_fired(fired);
}

#[test]
fn what_a_power_cut_left_unfinished_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let (log, [_, last]) = commits(dir.path());
    for length in (0..=log.len()).step_by(64) {
        assert_eq!(judge(&log[..length]), Log::Whole, "{length} bytes of it");
    }
    // The blocks of one write reach the disk in any order, or do not; below them lies nothing yet, or an older log.
    let (older, _) = commits(TempDir::new().unwrap().path());
    let mut fired = 0;
    for block in [512, 4096] {
        for first in (last / block)..log.len().div_ceil(block) {
            for second in first..log.len().div_ceil(block) {
                for below in [None, Some(&older)] {
                    let mut torn = log.clone();
                    for at in [first, second].into_iter().flat_map(|which| which * block..(which + 1) * block) {
                        if at >= last && at < log.len() {
                            torn[at] = below.and_then(|older| older.get(at)).copied().unwrap_or(0);
                        }
                    }
                    assert_eq!(judge(&torn), Log::Whole, "blocks {first} and {second} of {block}");
                    fired += 1;
                }
            }
        }
    }
    note_fired(fired);
}

/// What a commit writes may be more than the cache of pages holds: it is in the log before the commit, and written there again. A page holds
/// one row, so that it then differs from what its frame's check says in one byte, as damage would.
#[test]
fn what_was_written_before_its_commit_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let conn = schema::open_writer(dir.path(), 1 << 20, false).unwrap();
    let table =
        "CREATE TABLE counts (id INTEGER PRIMARY KEY, count INTEGER, filler BLOB); PRAGMA wal_checkpoint(TRUNCATE)";
    conn.execute_batch(table).unwrap();
    let fill = "WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 300) \
                INSERT INTO counts SELECT id, 10, zeroblob(3000) FROM n";
    conn.execute_batch(fill).unwrap();
    let read = || std::fs::read(dir.path().join("records.db-wal")).unwrap();
    let before = read().len();
    let count = |count: i64| {
        conn.execute("UPDATE counts SET count = ?1 WHERE id = 1", [count]).unwrap();
        // All other pages, so that the first goes to the log.
        conn.execute("UPDATE counts SET count = ?1 WHERE id > 1", [count]).unwrap();
    };
    conn.execute_batch("PRAGMA cache_size = 10; BEGIN").unwrap();
    count(11);
    let spilled = read().len();
    assert!(spilled > before + 10 * FRAME, "{before}, {spilled}");
    assert_eq!(judge(&read()), Log::Whole);
    // Each of them alone may be written again where it stands, in one byte; those behind it go on from what its check says.
    let mut again = read();
    for frame in 0..10 {
        let at = before + frame * FRAME + 2000;
        again[at] ^= 1;
        assert_eq!(judge(&again), Log::Whole, "frame {frame} of a transaction that did not end");
        again[at] ^= 1;
    }
    count(12);
    assert!(read().len() < spilled + 10 * FRAME, "pages are written again where they stand");
    assert_eq!(judge(&read()), Log::Whole, "amid the transaction");
    conn.execute_batch("ROLLBACK").unwrap();
    assert_eq!(judge(&read()), Log::Whole, "after it was given up");
    conn.execute("UPDATE counts SET count = 13 WHERE id = 7", []).unwrap();
    assert_eq!(judge(&read()), Log::Whole, "before what was left of it");
    conn.execute_batch("BEGIN").unwrap();
    [14, 15, 16].into_iter().for_each(count);
    conn.execute_batch("COMMIT").unwrap();
    let mut committed = read();
    assert_eq!(judge(&committed), Log::Whole, "after a commit");
    let at = committed.len() - 20 * FRAME;
    committed[at] ^= 1;
    assert!(matches!(judge(&committed), Log::Damaged { .. }), "a byte of that commit");
    note_fired(16);
}

/// A sector that was not written may hold nothing but the head of the first frame of a commit, of which one byte says something new.
#[test]
fn a_sector_that_ends_within_the_head_of_a_frame_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let conn = schema::open_writer(dir.path(), 1 << 20, false).unwrap();
    conn.execute_batch("CREATE TABLE heap (x BLOB); PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let read = || std::fs::read(dir.path().join("records.db-wal")).unwrap();
    let mut fired = 0;
    for number in 0..200 {
        let begins = read().len().max(32);
        conn.execute("INSERT INTO heap (x) VALUES (randomblob(?1))", [1000 + 1700 * (number % 4)]).unwrap();
        if (begins + 8).is_multiple_of(512) {
            let mut torn = read();
            torn[begins..begins + 8].fill(0);
            assert_eq!(judge(&torn), Log::Whole, "frame at {begins}");
            fired += 1;
        }
    }
    assert!(fired > 0, "no commit began there");
    note_fired(fired);
}

#[test]
fn a_log_that_was_begun_again_is_whole() {
    let dir = TempDir::new().unwrap();
    let (long, _) = commits(dir.path());
    let conn = schema::open_writer(dir.path(), 1 << 20, false).unwrap();
    for _ in 0..9 {
        conn.execute("INSERT INTO heap (x) VALUES (randomblob(9000))", []).unwrap();
    }
    // All is copied back: the next commit begins at the front, before what stood there.
    conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE); INSERT INTO heap (x) VALUES (1)").unwrap();
    let log = std::fs::read(dir.path().join("records.db-wal")).unwrap();
    assert!(log.len() > 32 + 9 * FRAME && long.len() > 32, "{}", log.len());
    assert_eq!(judge(&log), Log::Whole);
    note_fired(1);
}

/// What stands in a log that was copied back is in the file too, and newer there: the frames before the damage are no older moment.
#[test]
fn a_damaged_log_that_was_copied_back_is_not_mixed_with_the_file() {
    let (dir, crashed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let conn = schema::open_writer(dir.path(), 1 << 20, false).unwrap();
    let fill = "CREATE TABLE heap (x BLOB); CREATE INDEX by_x ON heap (x); \
                WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 300) \
                INSERT INTO heap SELECT randomblob(300) FROM n; PRAGMA wal_checkpoint(TRUNCATE)";
    conn.execute_batch(fill).unwrap();
    // Fewer pages than SQLite copies back by itself.
    for id in 1..=120 {
        conn.execute("UPDATE heap SET x = randomblob(300) WHERE rowid = ?1", [id]).unwrap();
    }
    conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    let path = |name: &str| crashed.path().join(name);
    let whole = std::fs::read(dir.path().join("records.db-wal")).unwrap();
    // SQLite itself refuses some of these mixtures, but not all.
    for tenth in 1..=8 {
        let mut log = whole.clone();
        log[whole.len() * tenth / 10] ^= 1;
        let _ = std::fs::remove_file(path("records.db-shm"));
        std::fs::copy(dir.path().join("records.db"), path("records.db")).unwrap();
        std::fs::write(path("records.db-wal"), &log).unwrap();
        let file = std::fs::read(path("records.db")).unwrap();
        for _ in 0..2 {
            let refused = Records::open(crashed.path(), RecordsOptions::default()).unwrap_err().to_string();
            assert!(
                refused.contains("does not fit together") && refused.contains("store rebuild"),
                "{tenth}: {refused}"
            );
            assert!(std::fs::read(path("records.db")).unwrap() == file, "{tenth}: nothing was changed");
            assert!(std::fs::read(path("records.db-wal")).unwrap() == log, "{tenth}: nor in the log");
        }
    }
    std::fs::write(path("lock"), "").unwrap();
    let refused = Records::open_read_only(crashed.path()).err().unwrap().to_string();
    assert!(refused.contains("start the gateway"), "{refused}");
    note_fired(1);
}

#[test]
fn a_hole_in_what_was_synced_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (log, [last_but_one, _]) = commits(dir.path());
    for at in (0..last_but_one - 4096).step_by(512) {
        let mut holed = log.clone();
        holed[at..at + 4096].fill(0);
        assert!(matches!(judge(&holed), Log::Damaged { .. }), "4096 bytes from {at}");
    }
    note_fired(last_but_one / 512);
}

#[tokio::test]
async fn a_damaged_log_is_kept_and_told_until_it_is_noted() {
    let (dir, crashed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut log, [_, last]) = commits(dir.path());
    let path = |name: &str| crashed.path().join(name);
    std::fs::copy(dir.path().join("records.db"), path("records.db")).unwrap();
    log[last - 1000] ^= 4;
    std::fs::write(path("records.db-wal"), &log).unwrap();
    // A crash behind the first opening forgets nothing.
    for _ in 0..2 {
        let (records, recovered) = Records::open(crashed.path(), RecordsOptions::default()).unwrap();
        assert!(recovered.log_damaged);
        assert_eq!(std::fs::read(path("records.db-wal.doubted")).unwrap(), log);
        records.close().await;
    }
    Records::damage_noted(crashed.path()).unwrap();
    let (records, recovered) = Records::open(crashed.path(), RecordsOptions::default()).unwrap();
    assert!(!recovered.log_damaged);
    records.close().await;
    assert_eq!(std::fs::read(path("records.db-wal.damaged")).unwrap(), log);
    // Another time it is another copy.
    std::fs::write(path("records.db-wal.doubted"), "another").unwrap();
    Records::damage_noted(crashed.path()).unwrap();
    assert_eq!(std::fs::read(path("records.db-wal.damaged")).unwrap(), log);
    assert_eq!(std::fs::read(path("records.db-wal.damaged.2")).unwrap(), b"another");
    note_fired(1);
}
