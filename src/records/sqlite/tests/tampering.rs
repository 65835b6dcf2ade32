//! Tampering with the file: whatever part of the ledger or of the tables is changed, `ledger verify` says so (LED-006, INV-09).

use super::*;
use crate::dicom::attributes::{MODALITY, PATIENT_ID};
use crate::dicom::fired::note_fired;
use crate::records::sqlite::schema;
use crate::records::sqlite::verify::pieces::{Brake, Pieces};
use crate::records::tests::support::{self, Site, noon, push, push_other};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Records with every kind of row, closed.
async fn closed() -> TempDir {
    let site = Site::new();
    for n in 1..=2 {
        site.stored(push(n)).await;
    }
    // Of another patient and modality than the first.
    let mut other = push(3);
    other.head.attributes.values.insert(PATIENT_ID, b"another-id".as_slice().into());
    other.head.attributes.values.insert(MODALITY, b"SR".as_slice().into());
    site.stored(other).await;
    site.record(push_other(1, 9)).await;
    let batch = site.lease("surrey", noon()).await.unwrap();
    let outcomes = [support::verified(), support::dead(), support::unknown()];
    let outcomes = batch.items.iter().map(|item| item.transfer).zip(outcomes).collect();
    let summary = AttemptSummary { detail: "one by one".into(), ..AttemptSummary::default() };
    site.records.settle(batch.attempt, outcomes, summary, noon()).await.unwrap();
    let dead = batch.items[1].transfer;
    site.act(Verb::Cancel, &[dead]).await;
    site.verify().await;
    site.records.close().await;
    site.dir
}

async fn verify(dir: &Path) -> Report {
    let records = Records::open_read_only(dir).unwrap();
    records.verify_ledger(Arc::new(AtomicU64::new(0))).await.unwrap()
}

/// The same in pieces of three entries or rows, with `between` after each.
fn in_pieces(dir: &Path, mut between: impl FnMut()) -> Report {
    let brake: Arc<Brake> = Arc::default();
    let mut conn = schema::open_reader(dir, true).unwrap();
    Pieces::attach(&mut conn, &brake).unwrap();
    let mut pieces = Pieces::new(3, brake).unwrap();
    while !pieces.go_on(&conn).unwrap() {
        between();
    }
    pieces.report()
}

#[tokio::test]
async fn every_flipped_byte_of_an_entry_is_found_at_its_position() {
    let dir = closed().await;
    let conn = open(dir.path());
    let entries = "SELECT position, length(bytes) FROM entries";
    let entries: Vec<(i64, i64)> = conn
        .prepare(entries)
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(entries.len(), 8);
    // Every byte of one entry, and some of each other.
    for (position, length) in entries {
        let step = if position == 2 { 1 } else { 97 };
        for at in (0..length).step_by(step) {
            flip(&conn, "bytes", position, at);
            let report = verify(dir.path()).await;
            assert_eq!(report.first_bad, Some(position as u64), "byte {at} of entry {position}: {report:?}");
            assert!(report.problems[0].contains(&format!("entry {position}")), "{report:?}");
            flip(&conn, "bytes", position, at);
        }
        for column in ["leaf", "chain"] {
            flip(&conn, column, position, position % 32);
            assert_eq!(verify(dir.path()).await.first_bad, Some(position as u64), "{column} of entry {position}");
            flip(&conn, column, position, position % 32);
        }
    }
    assert!(verify(dir.path()).await.is_sound());
}

/// Flips a bit of one byte of a column of an entry.
fn flip(conn: &Connection, column: &str, position: i64, at: i64) {
    let find = format!("SELECT {column} FROM entries WHERE position = ?1");
    let mut bytes: Vec<u8> = conn.query_row(&find, [position], |row| row.get(0)).unwrap();
    bytes[at as usize] ^= 0x04;
    conn.execute(&format!("UPDATE entries SET {column} = ?2 WHERE position = ?1"), rusqlite::params![position, bytes])
        .unwrap();
}

/// Changes of the records, and the entry that is told as the first bad one, if any is.
const CHANGES: &[(&str, Option<u64>)] = &[
    ("DELETE FROM entries WHERE position = 8", Some(8)),
    ("DELETE FROM entries WHERE position = 4", Some(4)),
    ("DELETE FROM entries", Some(1)),
    ("UPDATE entries SET position = 99 WHERE position = 8", Some(8)),
    ("UPDATE entries SET at = at + 1 WHERE position = 3", Some(3)),
    ("UPDATE entries SET kind = 'act' WHERE position = 3", Some(3)),
    ("UPDATE edge SET chain = zeroblob(32)", None),
    ("UPDATE edge SET nodes = zeroblob(32)", None),
    ("UPDATE edge SET nodes = x'00'", None),
    ("UPDATE edge SET size = 7, nodes = zeroblob(96)", Some(8)),
    ("INSERT INTO heads VALUES (5, 0, zeroblob(32), zeroblob(32))", Some(5)),
    ("INSERT INTO heads VALUES (50, 0, zeroblob(32), zeroblob(32))", Some(9)),
    ("UPDATE transfers SET state = 'verified' WHERE id = 3", None),
    ("UPDATE transfers SET attempts = 0 WHERE id = 1", None),
    ("UPDATE transfers SET cause = 'operator:x' WHERE id = 1", None),
    ("DELETE FROM steps WHERE transfer = 4; DELETE FROM transfers WHERE id = 4", None),
    ("UPDATE instances SET sha256 = zeroblob(32) WHERE id = 2", None),
    ("UPDATE instances SET state = 'stored' WHERE id = 4", None),
    ("DELETE FROM exceptions WHERE id = 1", None),
    ("UPDATE exceptions SET closed = 5 WHERE id = 1", None),
    ("UPDATE attempts SET ended = NULL", None),
    (
        "INSERT INTO attempts SELECT 9, kind, destination, study, epoch, began, ended, 0, NULL, entry FROM attempts",
        None,
    ),
    ("UPDATE words SET text = 'it went well' WHERE id = 2", None),
    ("UPDATE arrivals SET instance = 77 WHERE instance = 2", None),
    ("UPDATE instances SET sop_class = '1.2.3' WHERE id = 2", None),
    ("UPDATE instances SET transfer_syntax = '1.2.840.10008.1.2' WHERE id = 2", None),
    ("UPDATE instances SET length = length + 8192 WHERE id = 2", None),
    ("UPDATE studies SET uid = uid || '.1'", None),
    ("UPDATE arrivals SET origin_name = 'ELSE' WHERE instance = 2", None),
    ("UPDATE arrivals SET source = '{\"calling\":\"ELSE\"}' WHERE instance = 2", None),
    ("UPDATE transfers SET verify = 'readback' WHERE id = 2", None),
    ("UPDATE transfers SET lane = NULL WHERE id = 3", None),
    ("UPDATE transfers SET lane = 1 WHERE id = 4", None),
    ("UPDATE transfers SET lane = 2 WHERE id = 1", None),
    ("UPDATE transfers SET lane = 3, attempt = 1 WHERE id = 3", None),
    ("UPDATE transfers SET study = 2 WHERE id = 3", None),
    ("UPDATE transfers SET outcome = 'accepued' WHERE outcome IS NOT NULL", None),
    (
        "UPDATE transfers SET words = (SELECT max(id) FROM words) WHERE id = (SELECT min(id) FROM transfers WHERE words IS NOT NULL)",
        None,
    ),
    ("UPDATE transfers SET evidence = (SELECT max(id) FROM words) WHERE id = 3", None),
    (r#"UPDATE studies SET attributes = replace(attributes, '"00100020"', '"00100030"')"#, None),
    (r#"UPDATE studies SET attributes = replace(attributes, '"00100020"', '"00100060"')"#, None),
    (r#"UPDATE studies SET attributes = replace(attributes, '"00100020":"', '"00100020":"X')"#, None),
    ("UPDATE studies SET patient_id = 'X' || patient_id", None),
    ("UPDATE series SET attributes = substr(attributes, 2)", None),
    ("UPDATE series SET attributes = '{ }'", None),
    (r#"UPDATE series SET attributes = '{"00100020":"X"}'"#, None),
    (r#"UPDATE instances SET attributes = '{"00280010":1}' WHERE id = 2"#, None),
    ("UPDATE studies SET attributes = CAST(X'7B223030313030303230223A22FF227D' AS TEXT)", None),
    ("UPDATE also_said SET attributes = substr(attributes, 2)", None),
    ("UPDATE also_said SET attributes = '{ }' WHERE series = 0", None),
    (r#"UPDATE also_said SET attributes = '{"00100020":1}' WHERE series = 0"#, None),
    ("UPDATE also_said SET attributes = CAST(X'7B223030313030303230223A22FF227D' AS TEXT) WHERE series = 0", None),
    (r#"UPDATE also_said SET attributes = replace(attributes, '"00100020"', '"00280010"') WHERE series = 0"#, None),
    (r#"UPDATE also_said SET attributes = replace(attributes, '"00080060"', '"00100020"') WHERE series > 0"#, None),
    ("UPDATE also_said SET series = 1 WHERE series = 0", None),
    ("UPDATE also_said SET series = 0 WHERE series > 0", None),
    ("UPDATE also_said SET series = 7 WHERE series > 0", None),
    ("UPDATE also_said SET study = 77", None),
    ("CREATE INDEX one_more ON instances (length)", None),
];

#[tokio::test]
async fn every_other_change_is_found_too() {
    let dir = closed().await;
    let saved = std::fs::read(dir.path().join("records.db")).unwrap();
    for &(sql, first_bad) in CHANGES {
        let conn = open(dir.path());
        conn.execute_batch("PRAGMA foreign_keys = 0").unwrap();
        conn.execute_batch(sql).unwrap();
        drop(conn);
        let report = verify(dir.path()).await;
        assert!(!report.is_sound() && report.first_bad == first_bad, "{sql}: {report:#?}");
        let again = in_pieces(dir.path(), || {});
        assert!(!again.is_sound() && again.first_bad == first_bad, "{sql}, in pieces: {again:#?}");
        std::fs::write(dir.path().join("records.db"), &saved).unwrap();
    }
    let whole = verify(dir.path()).await;
    assert!(whole.is_sound());
    assert_eq!(in_pieces(dir.path(), || {}), whole);
    note_fired(CHANGES.len());
}

/// What waits to be sent and stands where no lane looks would never be sent, and nothing would tell it (FLT-025).
#[tokio::test]
async fn what_waits_where_nobody_looks_is_found() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.verify().await;
    site.records.close().await;
    let saved = std::fs::read(site.dir.path().join("records.db")).unwrap();
    let rows = [
        ("UPDATE transfers SET lane = NULL", "waits where nobody looks for it"),
        ("UPDATE transfers SET lane = 4", "waits where nobody looks for it"),
        ("UPDATE transfers SET lane = 3", "waits where nobody looks for it"),
        ("DELETE FROM queue", "not in the queue"),
        ("UPDATE queue SET due = NULL", "not in the queue"),
        ("UPDATE queue SET due = 4", "not in the queue"),
        ("UPDATE queue SET priority = 3", "not in the queue"),
    ];
    for (sql, want) in rows {
        open(site.dir.path()).execute_batch(sql).unwrap();
        for report in [verify(site.dir.path()).await, in_pieces(site.dir.path(), || {})] {
            assert!(report.problems.len() == 1 && report.problems[0].contains(want), "{sql}: {report:#?}");
            assert!(report.problems[0].starts_with("transfer 1: "), "{report:#?}");
        }
        std::fs::write(site.dir.path().join("records.db"), &saved).unwrap();
    }
    assert!(verify(site.dir.path()).await.is_sound());
    note_fired(rows.len());
}

/// LED-006: while it goes on, work goes on, the log can be copied back, and what came meanwhile is verified too.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_verification_in_pieces_stands_in_nobodys_way() {
    let site = Site::new();
    for n in 1..=20 {
        site.stored(push(n)).await;
    }
    let beside = open(site.dir.path());
    let (mut pieces, mut n) = (0, 20);
    let runtime = tokio::runtime::Handle::current();
    let report = tokio::task::block_in_place(|| {
        in_pieces(site.dir.path(), || {
            pieces += 1;
            if n < 40 {
                n += 1;
                runtime.block_on(async {
                    site.stored(push(n)).await;
                    if n % 3 == 0 {
                        site.send("surrey", support::verified(), noon()).await;
                    }
                });
            }
            let busy: bool = beside.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
            assert!(!busy, "the log cannot be copied back after piece {pieces}");
        })
    });
    assert!(report.is_sound(), "{report:#?}");
    assert!(pieces > 30 && report.unread.is_empty(), "{pieces} pieces: {report:?}");
    assert!(report.head.size > 40, "what came meanwhile is walked, too: {report:?}");
    site.verify().await;
}

#[tokio::test]
async fn words_may_be_erased_without_breaking_anything() {
    let dir = closed().await;
    let conn = open(dir.path());
    conn.execute_batch(
        "PRAGMA foreign_keys = 0; UPDATE transfers SET words = NULL, evidence = NULL; UPDATE steps SET words = NULL; \
         UPDATE exceptions SET words = NULL; UPDATE attempts SET words = NULL; UPDATE acts SET words = NULL; \
         UPDATE destinations SET words = NULL; DELETE FROM words; UPDATE studies SET patient_id = NULL, attributes = '{}'; \
         DELETE FROM also_said",
    )
    .unwrap();
    drop(conn);
    let report = verify(dir.path()).await;
    assert!(report.is_sound(), "{report:#?}");
}

#[tokio::test]
async fn a_history_that_was_written_anew_breaks_the_rules_or_the_head() {
    use crate::ledger::entry::{Entry, Fact};
    let dir = closed().await;
    let conn = open(dir.path());
    let bytes: Vec<u8> = conn.query_row("SELECT bytes FROM entries WHERE position = 7", [], |row| row.get(0)).unwrap();
    let mut entry = Entry::parse(&bytes).unwrap();
    // The outcome is turned: what was dead is now claimed to be verified, and the chain is mended from there on.
    let Some(Fact::List(steps)) = entry.facts.get_mut("steps") else { panic!("{entry:?}") };
    for step in steps {
        let Fact::Map(step) = step else { panic!("{step:?}") };
        step.insert("to".into(), "verified".into());
    }
    conn.execute("UPDATE entries SET bytes = ?1 WHERE position = 7", [entry.to_bytes()]).unwrap();
    mend(&conn);
    drop(conn);
    let report = verify(dir.path()).await;
    assert!(report.problems.iter().any(|p| p.contains("not the one that was committed")), "{report:#?}");
    assert!(report.problems.iter().any(|p| p.contains("no rule allows")), "{report:#?}");
}

/// Computes leaves and chain anew, as somebody would who wants to hide a change.
fn mend(conn: &Connection) {
    use crate::ledger::{chain, merkle};
    let mut find = conn.prepare("SELECT position, bytes FROM entries ORDER BY position").unwrap();
    let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: Vec<(i64, Vec<u8>)> = rows.map(Result::unwrap).collect();
    let mut link = chain::START;
    for (position, bytes) in rows {
        let leaf = merkle::leaf(&bytes);
        link = chain::next(&link, &leaf);
        let params = rusqlite::params![position, leaf, link];
        conn.execute("UPDATE entries SET leaf = ?2, chain = ?3 WHERE position = ?1", params).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_page_is_reported_not_believed() {
    let dir = closed().await;
    let path = dir.path().join("records.db");
    let sound = std::fs::read(&path).unwrap();
    let (mut found, mut silent) = (0, vec![]);
    for page in 2..sound.len() / 4096 {
        let mut bytes = sound.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0x5A);
        std::fs::write(&path, &bytes).unwrap();
        let told = match Records::open_read_only(dir.path()) {
            Err(_) => true,
            Ok(records) => match records.verify_ledger(Arc::new(AtomicU64::new(0))).await {
                Err(_) => true,
                Ok(report) => !report.is_sound(),
            },
        };
        if told {
            found += 1;
        } else {
            silent.push(page);
        }
    }
    assert_eq!(silent, Vec::<usize>::new());
    note_fired(found);
}
