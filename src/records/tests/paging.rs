//! Tests of what is remembered of pages: it never says otherwise than a look at every row.

use super::support::*;
use crate::dicom::ae_title::AeTitle;
use crate::peers::Origin;
use crate::records::sharing::Eyes;
use crate::records::sqlite::sharing::Look;
use crate::records::sqlite::tally::{Asked, Tally};
use crate::records::sqlite::{catalogue, rows, schema};
use crate::records::*;
use futures_util::future::join;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;

/// How many studies are shown in a view. Each page of them begins, and leaves behind it, what it does if all rows are looked at.
fn fit(conn: &Connection, asked: &Asked, another_site: bool) -> usize {
    let mut look = Look::new(Eyes { viewers: Vec::new(), another_site });
    let (mut walk, mut all) = (Walk::default(), Vec::new());
    loop {
        let rows = catalogue::studies(conn, walk.clone(), &mut look).unwrap();
        let Some(last) = rows.last() else { break };
        walk.after = last.row;
        all.extend(rows.iter().map(|row| row.row));
    }
    for before in 0..=all.len() + 1 {
        let (behind, left) = match before {
            0 => (0, all.len()),
            _ => (all.get(before - 1).copied().unwrap_or(i64::MAX), all.len().saturating_sub(before)),
        };
        let skipped = catalogue::skip(conn, before as u64, &look, asked).unwrap();
        assert_eq!(skipped, (before > 0).then_some(behind), "{before} of {all:?}, {another_site}");
        let after = catalogue::after(conn, behind, &look, asked).unwrap();
        assert_eq!(after, Some(left as u64), "behind {behind} of {all:?}, {another_site}");
    }
    all.len()
}

/// The same of records as they are now, as seen here and from another site.
pub(super) async fn pages_fit(records: &Records) {
    for another_site in [false, true] {
        let asked = records.inner.tally.ask();
        records.inner.readers.ask(move |conn| Ok(fit(conn, &asked, another_site))).await.unwrap();
    }
}

/// What takes a study out of sight, or brings it back, each as the commands do it.
const CHANGES: [&str; 4] = [
    "UPDATE instances SET state = CASE state WHEN 'stored' THEN 'held' ELSE 'stored' END WHERE id = ?1",
    "UPDATE instances SET hidden = iif(hidden IS NULL, id, NULL) WHERE id = ?1",
    "UPDATE instances SET behind = iif(behind IS NULL, id, NULL) WHERE id = ?1",
    "UPDATE instances SET borrowed = (borrowed + 1) % 3 WHERE id = ?1",
];

#[derive(Debug, Clone)]
enum Act {
    Arrive { uid: u32, content: u32, from: usize },
    Change { what: usize, instance: i64 },
    Purge { instance: i64 },
    Damage { instance: i64 },
    Die,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (1..25u32, 0..6u32, 0..4usize).prop_map(|(uid, content, from)| Act::Arrive { uid, content, from }),
        4 => (0..CHANGES.len(), 1..25i64).prop_map(|(what, instance)| Act::Change { what, instance }),
        2 => (1..25i64).prop_map(|instance| Act::Purge { instance }),
        1 => (1..25i64).prop_map(|instance| Act::Damage { instance }),
        1 => Just(Act::Die),
    ]
}

/// Instance `uid`, mostly of its own content, of one of a dozen studies.
fn arrival(uid: u32, content: u32, from: usize) -> Arrival {
    let mut arrival = push_other(uid, if content == 0 { 100 + uid } else { uid });
    arrival.head.study = study(1 + uid / 2);
    arrival.chosen.clear();
    let archive = AeTitle::parse("VNA").unwrap();
    arrival.origin = match from {
        0 => Origin::Pulled("kent".into()),
        1 => Origin::Archive(archive),
        _ => node("PACS"),
    };
    arrival
}

async fn play(acts: &[Act]) {
    let start = |disk| Records::inline(disk, RecordsOptions::default(), noon()).0;
    let mut records = start(Disk::new());
    for (n, act) in acts.iter().enumerate() {
        match *act {
            Act::Arrive { uid, content, from } => {
                records.record(arrival(uid, content, from)).await.unwrap();
            }
            Act::Change { what, instance } => {
                let change = records.commit(move |tx| Ok(tx.conn.execute(CHANGES[what], [instance])?));
                // Now and then beside one that is refused, so that all is done again.
                let refused = records.commit(|tx| {
                    tx.conn.execute(CHANGES[0], [1])?;
                    rows::refuse::<()>("no")
                });
                match n % 2 {
                    0 => assert!(change.await.is_ok()),
                    _ => assert!(matches!(join(refused, change).await, (Err(_), Ok(_)))),
                }
            }
            Act::Purge { instance } => {
                let purging = Purging::by("jo", "because").unwrap();
                records.condemn(vec![InstanceId(instance)], purging, noon()).await.unwrap();
            }
            Act::Damage { instance } => {
                // There may be no such instance.
                let _ = records.corrupt_here(InstanceId(instance), "bits", noon()).await;
            }
            Act::Die => records = start(records.die()),
        }
        pages_fit(&records).await;
    }
}

/// WEB-094: whatever comes, goes and comes back, a page begins where it would if all rows before it were looked at.
#[test]
fn what_is_remembered_of_pages_is_what_every_row_says() {
    let config = ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let played = TestRunner::new(config).run(&prop::collection::vec(act(), 1..60), |acts| {
        runtime.block_on(play(&acts));
        Ok(())
    });
    played.unwrap_or_else(|error| panic!("{error}"));
}

/// A dozen studies of one instance each.
async fn a_dozen() -> Site {
    let site = Site::new();
    for n in 1..=12 {
        let mut arrival = push(n);
        arrival.head.study = study(n);
        arrival.chosen.clear();
        site.stored(arrival).await;
    }
    site
}

/// A view that began before a commit believes nothing that was counted behind it, and leaves nothing to those behind it.
#[tokio::test]
async fn what_another_view_counted_is_not_believed() {
    let site = a_dozen().await;
    let old = site.records.inner.readers.separate().unwrap();
    let asked = site.records.inner.tally.ask();
    let view = old.unchecked_transaction().unwrap();
    assert_eq!(fit(&view, &asked, false), 12);
    site.condemn(InstanceId(5), Purging::by("jo", "because").unwrap()).await;
    // The same view, before anything was counted anew and after.
    for _ in 0..2 {
        assert_eq!(fit(&view, &asked, false), 12);
        pages_fit(&site.records).await;
    }
}

/// From before a commit until after it nobody believes or leaves a count of what it changes, whichever moment a question was put at.
#[tokio::test]
async fn what_is_being_committed_is_believed_by_nobody() {
    let Site { dir, records } = a_dozen().await;
    records.close().await;
    let mut conn = schema::open_writer(dir.path(), 1 << 20, false).unwrap();
    let tally = Tally::watch(&mut conn).unwrap();
    let reader = schema::open_reader(dir.path(), false).unwrap();
    let shown = |asked: &Asked| fit(&reader.unchecked_transaction().unwrap(), asked, false);
    let questions = |earlier: &[Asked], want: usize| {
        earlier.iter().for_each(|asked| assert_eq!(shown(asked), want));
        assert_eq!(shown(&tally.ask()), want);
    };
    let mut earlier = vec![tally.ask()];
    for gone in 1..=12 {
        let before = 13 - gone as usize;
        questions(&earlier, before);
        tally.begin();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        conn.execute("UPDATE instances SET state = 'purged' WHERE id = ?1", [gone]).unwrap();
        earlier.push(tally.ask());
        questions(&earlier, before);
        let changing = tally.changing(&conn).unwrap();
        earlier.push(tally.ask());
        questions(&earlier, before);
        conn.execute_batch("COMMIT").unwrap();
        earlier.push(tally.ask());
        questions(&earlier, before - 1);
        tally.changed(&changing);
    }
    questions(&earlier, 0);
}

/// Records that who changes them does not tell of it remember nothing, nor what lies behind all that can be remembered.
#[tokio::test]
async fn where_nothing_is_remembered_every_row_is_looked_at() {
    let site = a_dozen().await;
    let (read, tally) = (Records::open_read_only(site.dir.path()).unwrap(), std::sync::Arc::<Tally>::default());
    pages_fit(&read).await;
    site.condemn(InstanceId(1), Purging::by("jo", "because").unwrap()).await;
    pages_fit(&read).await;
    let conn = site.records.inner.readers.separate().unwrap();
    assert_eq!(fit(&conn, &tally.ask(), true), 11);
}
