//! Arrivals, purges and compaction of the same bytes under a scheduler that tries interleavings: the real rules and the real
//! statements, with a stand-in for the disk. What was acknowledged is there unless it was purged afterwards (INV-06, IDY-009).

use super::support::*;
use crate::records::sqlite::tx::{Fixed, Group, Tx};
use crate::records::sqlite::{blobs, purge, record, rows::Fault, schema};
use crate::records::*;
use crate::store::{Digest, Place};
use rusqlite::Connection;
use shuttle::sync::{Arc, Mutex};
use shuttle::{Config, Runner, scheduler::PctScheduler, scheduler::RandomScheduler, thread};
use std::collections::BTreeMap;

/// Schedules of each kind.
const SCHEDULES: usize = 500;

/// An arrival that loses its generation so often is refused; its bytes are not acknowledged (as `intake::commit` does).
const ROUNDS: usize = 4;

/// The file that all blobs begin in.
const OLD: u64 = 1;

/// The rows, the fixed parts of a transaction, and what is durable at which place.
struct Site {
    conn: Connection,
    fixed: Fixed,
    disk: BTreeMap<(u64, u64), Digest>,
    next: u64,
}

impl Site {
    fn new() -> Self {
        let conn = Connection::open_in_memory().unwrap();
        schema::MIGRATIONS.iter().for_each(|layout| conn.execute_batch(layout).unwrap());
        let fixed = Fixed { writer: "w".into(), epoch: 1, options: RecordsOptions::default() };
        Self { conn, fixed, disk: BTreeMap::new(), next: 0 }
    }

    /// One command as the writer runs it: whole or not at all.
    fn commit<T>(&mut self, run: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> T {
        let mut group = Group::default();
        self.conn.execute_batch("BEGIN").unwrap();
        let done = run(&mut Tx { conn: &self.conn, fixed: &self.fixed, group: &mut group });
        self.conn.execute_batch("COMMIT").unwrap();
        done.unwrap()
    }

    fn write(&mut self, digest: Digest, file: u64) -> Place {
        self.next += 4096;
        self.disk.insert((file, self.next), digest);
        Place { file, shared: true, offset: self.next, length: 1000 }
    }

    fn free(&mut self, place: Place) {
        self.disk.remove(&(place.file, place.offset));
    }

    fn holds(&self, place: Place, digest: Digest) -> bool {
        self.disk.get(&(place.file, place.offset)) == Some(&digest)
    }

    /// Whoever is `stored` has its bytes, at every moment.
    fn check(&self) {
        let sql = "SELECT b.file, b.offset, b.digest, b.state FROM instances i JOIN blobs b ON b.id = i.blob \
                   WHERE i.state = 'stored'";
        let mut find = self.conn.prepare(sql).unwrap();
        let mut rows = find.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (file, offset, digest): (i64, i64, [u8; 32]) =
                (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
            assert_eq!(row.get::<_, String>(3).unwrap(), "live");
            assert_eq!(self.disk.get(&(file as u64, offset as u64)), Some(&Digest(digest)), "bytes of what is stored");
        }
    }

    fn count(&self, sql: &str) -> i64 {
        self.conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

/// The steps of `intake::commit`: look for a live blob, else write, commit, and begin again if it has gone meanwhile.
fn arrive(site: &Mutex<Site>, n: u32) {
    let mut spooled = Some(());
    for _ in 0..ROUNDS {
        let found = blobs::blob_of(&site.lock().unwrap().conn, &digest(n)).unwrap();
        let blob = match found {
            Some((id, _)) => BlobRef::Known(id),
            None if spooled.take().is_some() => BlobRef::New(site.lock().unwrap().write(digest(n), OLD)),
            // Refused: the sender keeps it and sends again.
            None => return,
        };
        let recorded = {
            let mut site = site.lock().unwrap();
            let arrival = Arrival { blob, ..push(n) };
            let recorded = site.commit(|tx| record::record(tx, &arrival));
            if recorded.kept != Kept::BlobGone {
                // The acknowledgement: at this very moment it is stored, with its bytes.
                let stored = "SELECT count(*) FROM instances WHERE state = 'stored'";
                assert!(site.count(stored) > 0);
                site.check();
            }
            recorded
        };
        if let Some(place) = recorded.redundant {
            site.lock().unwrap().free(place);
        }
        if recorded.kept != Kept::BlobGone {
            return;
        }
    }
}

/// The steps of the janitor: look for what is due, condemn it, free it, note that.
fn purge_once(site: &Mutex<Site>) {
    let due = noon() + DAY;
    let (found, _) = purge::candidates(&site.lock().unwrap().conn, due, Cursor(i64::MIN, 0), 100).unwrap();
    let ids: Vec<InstanceId> = found.into_iter().map(|candidate| candidate.instance).collect();
    let by_age = Purging::by_rule(PurgeRule::Age, due);
    let purged = site.lock().unwrap().commit(|tx| purge::condemn(tx, &ids, &by_age, noon()));
    for (_, place) in &purged.blobs {
        site.lock().unwrap().free(*place);
    }
    let freed: Vec<BlobId> = purged.blobs.iter().map(|(blob, _)| *blob).collect();
    let mut site = site.lock().unwrap();
    site.commit(|tx| purge::freed(tx, &freed));
    site.check();
}

/// The steps of a compaction: copy each blob, commit its place, and free the old one.
fn compact(site: &Mutex<Site>) {
    let found = blobs::in_file(&site.lock().unwrap().conn, OLD).unwrap();
    for (blob, digest, from) in found {
        let copied = {
            let mut site = site.lock().unwrap();
            // Purged since: its place reads as zeros.
            if !site.holds(from, digest) {
                assert!(
                    !site.commit(|tx| blobs::damaged_at(tx, (blob, from), "zeros", noon())),
                    "it was live, and gone"
                );
                continue;
            }
            site.write(digest, OLD + 1)
        };
        let moved = site.lock().unwrap().commit(|tx| blobs::moved(tx, blob, from, copied));
        site.lock().unwrap().free(if moved { from } else { copied });
    }
    site.lock().unwrap().check();
}

fn story() {
    let mut site = Site::new();
    for n in 1..=2 {
        let place = site.write(digest(n), OLD);
        let arrival = Arrival { blob: BlobRef::New(place), chosen: vec![to_accepting("surrey")], ..push(n) };
        site.commit(|tx| record::record(tx, &arrival));
    }
    // Delivered: from here on, only time keeps the bytes.
    site.conn.execute_batch("UPDATE transfers SET state = 'accepted', lane = NULL, done = 1").unwrap();
    let site = Arc::new(Mutex::new(site));
    let run = |work: fn(&Mutex<Site>)| {
        let site = Arc::clone(&site);
        thread::spawn(move || work(&site))
    };
    let threads = [
        run(|site| arrive(site, 1)),
        run(|site| arrive(site, 1)),
        run(|site| (0..2).for_each(|_| arrive(site, 2))),
        run(|site| (0..2).for_each(|_| purge_once(site))),
        run(compact),
    ];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let site = site.lock().unwrap();
    site.check();
    let live = site.count("SELECT count(*) FROM blobs WHERE state = 'live'");
    assert_eq!(site.disk.len() as i64, live, "nothing is left on the disk that no row names");
    assert_eq!(site.count("SELECT count(*) FROM blobs WHERE state = 'corrupt'"), 0);
    let reused =
        "SELECT count(*) FROM (SELECT digest FROM blobs WHERE state = 'live' GROUP BY digest HAVING count(*) > 1)";
    assert_eq!(site.count(reused), 0, "one live generation of each digest");
}

fn config() -> Config {
    let mut config = Config::new();
    // SQLite runs on these stacks.
    config.stack_size = 1 << 20;
    config
}

#[test]
fn no_interleaving_of_arrival_purge_and_compaction_loses_bytes() {
    Runner::new(RandomScheduler::new(SCHEDULES), config()).run(story);
    Runner::new(PctScheduler::new(3, SCHEDULES), config()).run(story);
}
