//! Tests of the ledger over real records: export, and the check of an exported copy (LED-006, LED-031).

use super::support::*;
use crate::ledger::check::{Checker, Stored};
use crate::ledger::entry::{Entry, Kind};
use crate::records::*;

#[tokio::test]
async fn an_exported_ledger_proves_itself_and_has_the_same_head() {
    let site = Site::new();
    for n in 1..=30 {
        site.stored(push(n)).await;
    }
    site.send("surrey", verified(), noon()).await;
    let mut checker = Checker::new();
    let mut kinds = vec![];
    loop {
        let page = site.records.ledger_page(checker.size()).await.unwrap();
        if page.is_empty() {
            break;
        }
        for line in page {
            let EntryLine { position, ref bytes, leaf, chain, .. } = line;
            let entry = checker.push(Stored { position, bytes, leaf, chain }).unwrap();
            assert_eq!((entry.kind.word(), entry.id.to_string()), (line.kind.as_str(), line.id.clone()));
            kinds.push(entry.kind);
            let json: serde_json::Value = serde_json::from_str(&line.to_json()).unwrap();
            assert!(Entry::parse(json["bytes"].as_str().unwrap().as_bytes()).is_ok());
        }
    }
    let head = LedgerHead { size: checker.size(), root: checker.edge().root(), chain: checker.chain() };
    assert_eq!(site.records.ledger_head().await.unwrap(), head);
    assert_eq!((kinds[0], kinds.len()), (Kind::Opened, 33));
    assert_eq!(kinds[31..], [Kind::Attempt, Kind::Outcome]);
}

#[tokio::test]
async fn causes_lead_from_the_outcome_back_to_the_arrival() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", verified(), noon()).await;
    let page = site.records.ledger_page(1).await.unwrap();
    let entries: Vec<_> = page.iter().map(|line| Entry::parse(&line.bytes).unwrap()).collect();
    assert_eq!(entries.iter().map(|e| e.kind).collect::<Vec<_>>(), [Kind::Received, Kind::Attempt, Kind::Outcome]);
    assert_eq!((&entries[1].causes, &entries[2].causes), (&vec![entries[0].id], &vec![entries[1].id]));
}

#[tokio::test]
async fn progress_is_counted() {
    let site = Site::new();
    site.stored(push(1)).await;
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let report = site.records.verify_ledger(seen.clone()).await.unwrap();
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), report.head.size);
}
