//! Tests of opening: the pragmas that durability needs, migrations, foreign files.

use super::*;
use crate::records::sqlite::schema;

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
    drop(conn);
    drop(schema::open_writer(dir.path(), 1 << 20).unwrap());
}
