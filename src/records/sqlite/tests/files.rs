//! Tests of opening: the pragmas that durability needs, migrations, foreign files.

use super::*;
use crate::dicom::fired::note_fired;
use crate::records::sqlite::schema;
use crate::records::tests::support::{Site, node, noon, push, push_other, to, verified};

#[test]
fn the_writer_syncs_every_commit() {
    let dir = TempDir::new().unwrap();
    let conn = schema::open_writer(dir.path(), 1 << 20).unwrap();
    let pragma = |name: &str| {
        conn.pragma_query_value(None, name, |row| {
            row.get::<_, String>(0).or_else(|_| row.get::<_, i64>(0).map(|n| n.to_string()))
        })
        .unwrap()
    };
    let newest = schema::LAYOUT.to_string();
    let rows = [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1"), ("user_version", &newest)];
    for (name, want) in rows {
        assert_eq!(pragma(name), want, "{name}");
    }
}

#[test]
fn a_reader_cannot_write() {
    let dir = TempDir::new().unwrap();
    drop(schema::open_writer(dir.path(), 1 << 20).unwrap());
    let conn = schema::open_reader(dir.path(), false).unwrap();
    assert!(conn.execute("INSERT INTO words (text, salt) VALUES ('x', x'')", []).is_err());
}

#[test]
fn newer_and_foreign_files_are_refused() {
    let dir = TempDir::new().unwrap();
    drop(schema::open_writer(dir.path(), 1 << 20).unwrap());
    open(dir.path()).pragma_update(None, "user_version", 99).unwrap();
    let newer = Records::open(dir.path(), RecordsOptions::default()).unwrap_err();
    assert_eq!(newer, RecordsError::Newer { found: 99, known: schema::LAYOUT });
    assert!(matches!(Records::open_read_only(dir.path()), Err(RecordsError::Newer { .. })));
    open(dir.path()).pragma_update(None, "application_id", 7).unwrap();
    let foreign = Records::open(dir.path(), RecordsOptions::default()).unwrap_err();
    assert!(foreign.to_string().contains("another program"), "{foreign}");
    let junk = TempDir::new().unwrap();
    std::fs::write(junk.path().join(schema::FILE), vec![7u8; 5000]).unwrap();
    assert!(matches!(Records::open(junk.path(), RecordsOptions::default()), Err(RecordsError::Open { .. })));
}

#[test]
fn an_interrupted_migration_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let conn = open(dir.path());
    conn.execute_batch("PRAGMA journal_mode = wal; BEGIN; CREATE TABLE meta (x)").unwrap();
    assert!(!conn.is_autocommit(), "it is in the middle of it");
    drop(conn);
    drop(schema::open_writer(dir.path(), 1 << 20).unwrap());
    note_fired(1);
}

/// "No destination": what an earlier version left untold is told after the update, and what a person rejected is told no more. What is
/// owed, done, or another's stays as it was.
#[tokio::test]
async fn what_was_left_untold_is_told_after_the_update() {
    let site = Site::new();
    site.stored(Arrival { chosen: vec![to("PACS")], ..push(1) }).await;
    site.stored(push(2)).await;
    site.stored(Arrival { chosen: vec![to("PACS"), to("kent")], ..push(3) }).await;
    site.stored(Arrival { chosen: vec![], ..push(4) }).await;
    let rejected = Arrival { chosen: vec![], ..push_other(2, 90) };
    let Kept::Differs { exception, .. } = site.record(rejected).await.kept else { panic!() };
    site.records.resolve(exception, Resolution::Reject, "jo", "a phantom", noon()).await.unwrap();
    site.send("surrey", verified(), noon()).await;
    // It comes again, and is left out by name.
    site.record(Arrival { origin: node("CT1"), ..push_other(2, 90) }).await;
    let Site { dir, records } = site;
    records.close().await;
    drop(records);
    let unrouted = |conn: &Connection| -> Vec<bool> {
        let mut find = conn.prepare("SELECT unrouted FROM instances ORDER BY id").unwrap();
        find.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let conn = open(dir.path());
    assert_eq!(unrouted(&conn), [true, false, false, true, false]);
    let before = "DROP INDEX exceptions_rejected; UPDATE instances SET unrouted = id = 5 WHERE id IN (1, 5)";
    conn.execute_batch(before).unwrap();
    conn.execute_batch(schema::MIGRATIONS[15]).unwrap();
    assert_eq!(unrouted(&conn), [true, false, false, true, false]);
}
