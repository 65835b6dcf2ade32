//! Tests of opening: the pragmas that durability needs, migrations, foreign files.

use super::*;
use crate::dicom::fired::note_fired;
use crate::ledger::outcome::Outcome;
use crate::records::sqlite::schema;
use crate::records::tests::support::{DAY, Site, dead, node, noon, push, push_other, to, uid, verified};

#[test]
fn the_writer_syncs_every_commit() {
    let dir = TempDir::new().unwrap();
    let conn = schema::open_writer(dir.path(), 1 << 20, false).unwrap();
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
    drop(schema::open_writer(dir.path(), 1 << 20, false).unwrap());
    let conn = schema::open_reader(dir.path(), false).unwrap();
    assert!(conn.execute("INSERT INTO words (text, salt) VALUES ('x', x'')", []).is_err());
}

#[test]
fn newer_and_foreign_files_are_refused() {
    let dir = TempDir::new().unwrap();
    drop(schema::open_writer(dir.path(), 1 << 20, false).unwrap());
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
    drop(schema::open_writer(dir.path(), 1 << 20, false).unwrap());
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

/// WEB-063, UIX-09: after the update, what an earlier version had parked for a class and forgotten is tried again, and who ended what
/// stands where it ended.
#[tokio::test]
async fn what_was_forgotten_is_tried_and_who_ended_what_is_kept_after_the_update() {
    let site = Site::new();
    let unsupported = Outcome::Unsupported { why: "0122".into(), said: true };
    for (n, outcome) in [(1, unsupported), (2, dead()), (3, dead())] {
        site.stored(push(n)).await;
        assert_eq!(site.send("surrey", outcome, noon()).await, 1);
    }
    // One is ended by a person, one by itself; and a conflict by a person.
    site.act(Verb::Retry, &[site.transfers(2).await[0].transfer]).await;
    site.record(Arrival { received_at: noon() + DAY, ..push(3) }).await;
    let Kept::Differs { exception, .. } = site.record(push_other(3, 90)).await.kept else { panic!() };
    site.records.resolve(exception, Resolution::Reject, "jo", "a phantom", noon()).await.unwrap();
    let Site { dir, records } = site;
    records.close().await;
    drop(records);
    let conn = open(dir.path());
    let acts = |conn: &Connection| -> Vec<(String, Option<String>)> {
        let sql = "SELECT x.kind, a.verb FROM exceptions x LEFT JOIN acts a ON a.id = x.act ORDER BY x.id";
        let mut find = conn.prepare(sql).unwrap();
        find.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    let want = [("dead", Some("retry")), ("dead", None), ("conflict", Some("reject"))];
    let want = want.map(|(kind, verb)| (kind.to_owned(), verb.map(str::to_owned)));
    assert_eq!(acts(&conn), want);
    let before = "ALTER TABLE exceptions DROP COLUMN act; DELETE FROM unsupported; \
        ALTER TABLE destinations RENAME COLUMN refused_alone TO refused; ALTER TABLE transfers RENAME COLUMN refused_at TO refused";
    conn.execute_batch(before).unwrap();
    conn.execute_batch(schema::MIGRATIONS[20]).unwrap();
    assert_eq!(acts(&conn), want);
    drop(conn);
    let (records, _) = Records::open(dir.path(), RecordsOptions::default()).unwrap();
    let site = Site { dir, records };
    let told = site.records.summary().await.unwrap().destinations.remove(0).unsupported;
    assert_eq!((told.len(), told[0].since, told[0].why.as_deref()), (1, noon(), Some("0122")));
    let probe = site.lease("surrey", noon()).await.unwrap();
    assert_eq!((probe.items.len(), &probe.items[0].sop_instance), (1, &uid(1)));
}
