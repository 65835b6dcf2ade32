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
    let conn = schema::open_writer(dir, 1 << 20).unwrap();
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

#[test]
fn a_hole_in_what_was_synced_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (log, [last_but_one, _]) = commits(dir.path());
    for at in (32..last_but_one - 4096).step_by(512) {
        let mut holed = log.clone();
        holed[at..at + 4096].fill(0);
        assert!(matches!(judge(&holed), Log::Damaged { .. }), "4096 bytes from {at}");
    }
    note_fired(last_but_one / 512);
}

#[test]
fn a_damaged_log_is_kept_and_told_until_it_is_noted() {
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
        drop(records);
    }
    Records::damage_noted(crashed.path()).unwrap();
    assert!(!Records::open(crashed.path(), RecordsOptions::default()).unwrap().1.log_damaged);
    assert_eq!(std::fs::read(path("records.db-wal.damaged")).unwrap(), log);
    note_fired(1);
}
