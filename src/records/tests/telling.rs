//! Tests of lists, sums and stories.

use super::support::*;
use crate::ledger::outcome::Charge;
use crate::ledger::transfer::{State, TransferId};
use crate::records::*;

/// What was owed for days and done just now counts from when it was done: reconciliation looks back no further than that.
#[tokio::test]
async fn transfers_are_listed_by_when_they_were_done() {
    let (site, late) = (Site::new(), noon() + 3 * DAY);
    site.stored(push(1)).await;
    site.send("surrey", verified(), late).await;
    for (since, count) in [(noon() + 2 * DAY, 1), (late, 1), (late + DAY, 0)] {
        let filter = TransferFilter { done_since: Some(since), ..TransferFilter::default() };
        let found = site.records.transfers(filter, Some(State::Verified), TransferId(0), late).await.unwrap();
        assert_eq!(found.len(), count);
    }
}

#[tokio::test]
async fn the_sums_of_each_study_and_destination_add_up() {
    let site = Site::new();
    for n in 1..=8 {
        site.stored(Arrival { chosen: vec![to("surrey"), to_accepting("PACS2")], ..push(n) }).await;
    }
    site.record(push_other(1, 99)).await;
    let batch = site.lease("surrey", noon()).await.unwrap();
    let outcomes =
        [accepted(), verified(), unknown(), deferred(Charge::Instance, Some(HOUR)), dead(), parked(), absent()];
    let outcomes: Vec<_> = batch.items.iter().map(|i| i.transfer).zip(outcomes).collect();
    let settled = site.records.settle(batch.attempt, outcomes, AttemptSummary::default(), noon()).await.unwrap();
    assert!(!settled.ended);
    site.act(Verb::Cancel, &[batch.items[6].transfer]).await;
    let (sums, more) = site.records.transfers_list(TransferFilter::default(), noon() + MINUTE).await.unwrap();
    assert_eq!((sums.len(), more), (2, None));
    let surrey = &sums[0];
    assert_eq!(surrey.destination, destination("surrey"));
    assert_eq!((surrey.instances, surrey.pending, surrey.unknown, surrey.accepted), (9, 2, 1, 1));
    assert_eq!((surrey.verified, surrey.parked, surrey.held, surrey.dead, surrey.cancelled), (1, 1, 1, 1, 1));
    assert_eq!(surrey.oldest_age_seconds, Some(60));
    assert_eq!((sums[1].pending, sums[1].instances, sums[1].next_attempt), (8, 8, Some(noon() + MINUTE)));
    site.send("PACS2", accepted(), noon()).await;
    let open = TransferFilter { open_only: true, ..TransferFilter::default() };
    let (open, _) = site.records.transfers_list(open, noon()).await.unwrap();
    assert_eq!(open.iter().map(|s| s.destination.0.as_str()).collect::<Vec<_>>(), ["surrey"]);
    let done = TransferFilter { destination: Some(destination("PACS2")), ..TransferFilter::default() };
    let (done, _) = site.records.transfers_list(done, noon()).await.unwrap();
    assert_eq!((done[0].accepted, done[0].oldest_age_seconds, done[0].next_attempt), (8, None, None));
    site.verify().await;
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let site = Site::new();
    for n in 1..=5 {
        let mut arrival = push(n);
        arrival.head.study = study(n);
        site.stored(arrival).await;
    }
    let mut filter = TransferFilter { limit: 2, ..TransferFilter::default() };
    let mut seen = vec![];
    loop {
        let (rows, more) = site.records.transfers_list(filter.clone(), noon()).await.unwrap();
        seen.extend(rows.into_iter().map(|row| row.study_instance_uid));
        match more {
            Some(after) => filter.after = Some(after),
            None => break,
        }
    }
    assert_eq!(seen, (1..=5).map(study).collect::<Vec<_>>());
    let page = |after| {
        site.records.transfers(TransferFilter { limit: 3, ..Default::default() }, None, TransferId(after), noon())
    };
    assert_eq!((page(0).await.unwrap().len(), page(3).await.unwrap().len(), page(5).await.unwrap().len()), (3, 2, 0));
    let none =
        site.records.transfers(TransferFilter::default(), Some(State::Dead), TransferId(0), noon()).await.unwrap();
    assert_eq!(none, []);
    let of_study = site.records.study(&study(3), InstanceId(0), 0, noon()).await.unwrap();
    assert_eq!(of_study.iter().map(|i| i.sop_instance_uid.clone()).collect::<Vec<_>>(), [uid(3)]);
    assert_eq!(of_study[0].transfers.len(), 1);
}

#[tokio::test]
async fn the_whole_is_seen_at_a_glance() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.record(push_other(1, 2)).await;
    let mut other = push(3);
    other.head.study = study(3);
    site.stored(other).await;
    site.send("surrey", deferred(Charge::Destination, None), noon()).await;
    let summary = site.records.summary().await.unwrap();
    assert_eq!((summary.instances, summary.transfers, summary.unrouted, summary.poisoned), (3, 3, 0, None));
    assert_eq!(summary.exceptions, [("conflict".to_owned(), 1)].into());
    let surrey = &summary.destinations[0];
    assert_eq!(surrey.open, [("deferred", 1), ("held", 1), ("pending", 1)].into());
    assert_eq!((surrey.words.as_deref(), surrey.oldest), (Some("503: busy"), Some(noon())));
    assert_eq!(summary.head, site.records.ledger_head().await.unwrap());
    let counts = site.records.blob_counts().await.unwrap();
    assert_eq!(counts, BlobCounts { live: 3, live_bytes: 3000, condemned: 0, corrupt: 0 });
}

/// The story in words that are short enough to compare.
fn words(events: &[Event]) -> Vec<String> {
    let say = |event: &Event| {
        let n = event.instances;
        match &event.what {
            What::Received { origin, taken, .. } => format!("{n} received from {} ({taken:?})", origin.name()),
            What::Unrouted => format!("{n} unrouted"),
            What::Owed { destination, route, .. } => format!("{n} owed to {destination} by {route:?}"),
            What::Tried { kind, destination, outcome, became, words, summary, .. } => {
                format!("{n} {} {destination}: {outcome}, {became}, {words:?}, {summary:?}", kind.word())
            }
            What::Trying { kind, destination, .. } => format!("{n} in hand: {} {destination}", kind.word()),
            What::Moved { destination, what, who, words, became } => {
                format!("{n} {what} for {destination} by {who:?} {words:?}: {became}")
            }
            What::Exception { kind, closed, .. } => format!("{n} exception {kind} {}", closed.is_none()),
            What::Accessed(access) => format!("{n} {} by {}", access.what, access.party),
            What::Prefetch { rule, peer, how } => format!("{n} prefetch by {rule:?} from {peer:?}: {how}"),
            What::Rejected(told) => format!("{n} of note {}, which is {}", told.note, told.standing.word()),
            What::Purged { rule, who, words } => format!("{n} purged by {rule} {who:?} {words:?}"),
            What::Withheld { rule, later, .. } => format!("{n} withheld by {rule} {later}"),
            What::Now { destination, state, next, waiting_for, .. } => {
                format!("{n} now {state} for {destination}, next {}, {waiting_for:?}", next.is_some())
            }
        }
    };
    events.iter().map(say).collect()
}

#[tokio::test]
async fn the_story_of_a_study_is_told_in_order() {
    let site = Site::new();
    for n in 1..=3 {
        site.stored(push(n)).await;
    }
    let t = |minutes: u32| noon() + minutes * MINUTE;
    let batch = site.lease("surrey", t(1)).await.unwrap();
    let outcomes = batch.items.iter().map(|i| i.transfer).zip([unknown(), dead(), accepted()]).collect();
    let detail = AttemptSummary { detail: "reset after 2 of 3".into(), ..AttemptSummary::default() };
    site.records.settle(batch.attempt, outcomes, detail, t(2)).await.unwrap();
    let selection = Selection::Transfers(vec![batch.items[1].transfer]);
    site.records.act(Verb::Retry, selection, "jo", "fixed", t(3)).await.unwrap();
    site.record(Arrival { received_at: t(4), ..push(3) }).await;
    site.lease("surrey", t(5)).await.unwrap();
    let story = words(&site.records.why_study(&study(1), t(6)).await.unwrap());
    let named = "Some(\"named in the answer\")";
    let summary = "Some(\"reset after 2 of 3\")";
    let want = [
        "3 received from PACS (First)".to_owned(),
        "3 owed to surrey by Some(\"to surrey\")".to_owned(),
        "1 exception dead false".to_owned(),
        format!("1 send surrey: unknown, unknown, Some(\"the connection broke\"), {summary}"),
        format!("1 send surrey: dead, dead, Some(\"0xC000: cannot understand\"), {summary}"),
        format!("1 send surrey: accepted, accepted, {named}, {summary}"),
        "1 retry for surrey by Some(\"jo\") Some(\"fixed\"): pending".to_owned(),
        "1 received from PACS (Again)".to_owned(),
        "1 in hand: send surrey".to_owned(),
        "1 now accepted for surrey, next true, None".to_owned(),
        "1 now leased for surrey, next false, None".to_owned(),
        "1 now unknown for surrey, next true, None".to_owned(),
    ];
    let (mut sorted, mut expected) = (story.clone(), want.to_vec());
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected, "{story:#?}");
    assert_eq!((&story[..2], &story[6..], story.len()), (&want[..2], &want[6..], want.len()));
    let one = words(&site.records.why_instance(&uid(2), t(6)).await.unwrap());
    assert_eq!(one.len(), 7, "{one:#?}");
    assert_eq!(site.records.why_instance(&uid(9), t(6)).await.unwrap(), []);
}

/// LED-033: of each retrieval it is kept how much was taken, once it has ended, whatever was expected when it began.
#[tokio::test]
async fn an_ended_retrieval_is_told_with_what_was_taken() {
    let site = Site::new();
    site.stored(push(1)).await;
    let began = |node: &str| RetrievalBegan {
        operation: "C-MOVE",
        node: node.into(),
        purpose: String::new(),
        destination: "OUT".into(),
        studies: vec![study(1), study(7)],
        instances: 3,
    };
    let entered = site.records.retrieval_began(began("ONE")).await.unwrap();
    site.records.retrieval_began(began("TWO")).await.unwrap();
    let ended =
        RetrievalEnded { how: "done", completed: 5, warning: 2, failed: 1, remaining: 0, failed_instances: Vec::new() };
    site.records.retrieval_ended(entered, ended).await.unwrap();
    let story = site.records.why_study(&study(1), noon()).await.unwrap();
    let given = story.iter().filter_map(|event| match &event.what {
        What::Accessed(access) => Some((access.party.as_str(), access.given)),
        _ => None,
    });
    let mut given: Vec<_> = given.collect();
    given.sort_unstable();
    assert_eq!(given, [("ONE", 7), ("TWO", 3)]);
    site.verify().await;
}

#[tokio::test]
async fn the_story_says_what_is_waited_for() {
    let site = Site::new();
    site.stored(push(1)).await;
    site.send("surrey", parked(), noon()).await;
    let story = words(&site.records.why_instance(&uid(1), noon()).await.unwrap());
    assert_eq!(story.last().unwrap(), "1 now parked for surrey, next true, Some(\"it is parked: 403: not allowed\")");
    let site = Site::new();
    site.stored(Arrival { chosen: vec![], ..push(1) }).await;
    let story = words(&site.records.why_instance(&uid(1), noon()).await.unwrap());
    assert_eq!(story, ["1 received from PACS (First)", "1 unrouted"]);
}

/// UIX-02: versions of one instance are one instance, and each has its own lines.
#[tokio::test]
async fn the_story_of_an_instance_says_which_version_it_tells_of() {
    let site = Site::new();
    site.stored(push(1)).await;
    for content in 2..=4 {
        site.record(push_other(1, content)).await;
    }
    site.send("surrey", verified(), noon()).await;
    let told = site.records.why_instance(&uid(1), noon()).await.unwrap();
    assert!(told.iter().all(|event| event.instances == 1 && event.version.is_some()), "{told:#?}");
    let of = |version: u32| -> Vec<String> {
        words(&told.iter().filter(|event| event.version == Some(version)).cloned().collect::<Vec<_>>())
    };
    let first = of(1);
    assert!(first[0].contains("received from PACS (First)"), "{first:#?}");
    assert!(first.iter().any(|line| line.starts_with("1 send surrey: verified")), "{first:#?}");
    for version in 2..=4 {
        let other = of(version);
        assert!(other[0].contains("(Differs)") && other.len() == first.len(), "{other:#?}");
        assert!(other.iter().all(|line| !line.contains("send surrey")), "{other:#?}");
    }
    let of_study = site.records.why_study(&study(1), noon()).await.unwrap();
    assert!(of_study.iter().all(|event| event.instances == 1 && event.version.is_none()), "{of_study:#?}");
    let site = Site::new();
    site.stored(push(1)).await;
    let only = site.records.why_instance(&uid(1), noon()).await.unwrap();
    assert!(only.iter().all(|event| event.version.is_none()), "{only:#?}");
}
