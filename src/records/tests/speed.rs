//! How fast arrivals are committed; printed, and held to a floor that only a broken group commit would miss.

use super::support::*;
use crate::records::*;
use std::io::Write as _;
use std::time::Instant;

async fn commits_per_second(tasks: u32, each: u32) -> f64 {
    let site = Site::new();
    let start = Instant::now();
    let work = (0..tasks).map(|task| {
        let records = site.records.clone();
        tokio::spawn(async move {
            for n in 0..each {
                let number = task * each + n;
                let mut arrival = push(number);
                arrival.head.study = study(task);
                let recorded = records.record(arrival).await.unwrap();
                assert!(matches!(recorded.kept, Kept::Stored { .. }));
            }
        })
    });
    for task in work.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let rate = f64::from(tasks * each) / start.elapsed().as_secs_f64();
    assert_eq!(site.records.summary().await.unwrap().instances, u64::from(tasks * each));
    rate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_are_committed_in_groups() {
    let alone = commits_per_second(1, 200).await;
    let sixteen = commits_per_second(16, 500).await;
    let many = commits_per_second(256, 60).await;
    let told = format!("commits a second: alone {alone:.0}, 16 tasks {sixteen:.0}, 256 tasks {many:.0}\n");
    std::io::stdout().write_all(told.as_bytes()).unwrap();
    assert!(sixteen > alone, "{sixteen} with 16 tasks, {alone} alone");
}
