//! Tests of turns, priorities, pauses and orders (REL-20, REL-22, REL-23, IDY-046, UIX-03).

use super::support::*;
use crate::dicom::fired::note_fired;
use crate::ledger::outcome::{Charge, Outcome};
use crate::ledger::step::Patience;
use crate::ledger::transfer::State;
use crate::peers::{Chosen, Priority};
use crate::records::*;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Instance `n` of a study, owed to surrey in a priority, received at a time.
fn due(n: u32, of: u32, priority: Priority, at: SystemTime) -> Arrival {
    let mut arrival = push(n);
    arrival.head.study = study(of);
    Arrival { chosen: vec![Chosen { priority, ..to("surrey") }], received_at: at, ..arrival }
}

fn limits(instances: usize, together: bool) -> LeaseLimits {
    LeaseLimits { instances, bytes: 1 << 30, together }
}

/// Sends one batch of at most so many instances; the study.
async fn turn(site: &Site, instances: usize, now: SystemTime) -> Option<String> {
    let batch = site.records.lease(&destination("surrey"), limits(instances, false), now).await.unwrap()?;
    site.settle(&batch, verified(), now).await;
    Some(batch.study.to_string())
}

#[tokio::test]
async fn a_study_of_many_does_not_hold_up_one_of_four() {
    let site = Site::new();
    for n in 1..=400 {
        site.stored(due(n, 1, Priority::Routine, noon())).await;
    }
    assert_eq!(turn(&site, 10, noon()).await, Some("1.2.1".into()));
    for n in 401..=404 {
        site.stored(due(n, 2, Priority::Routine, noon() + MINUTE)).await;
    }
    assert_eq!(turn(&site, 10, noon() + MINUTE).await, Some("1.2.2".into()), "one that had no turn yet goes next");
    for n in 405..=424 {
        site.stored(due(n, 3, Priority::Routine, noon() + MINUTE)).await;
    }
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(turn(&site, 10, noon() + MINUTE).await.unwrap());
    }
    // The third is the new study's, then they take turns; the fifth of all turns is for what has waited longest.
    assert_eq!(turns, ["1.2.3", "1.2.1", "1.2.1", "1.2.3"].map(str::to_owned));
    site.verify().await;
}

#[tokio::test]
async fn urgent_goes_first_and_nothing_starves() {
    let site = Site::new();
    let mut n = 0;
    let mut at = |of: u32, priority, minutes: u32| {
        n += 1;
        due(n, of, priority, noon() + minutes * MINUTE)
    };
    // Old work of every kind, and an endless stream of urgent new studies: one comes for each batch that goes.
    for i in 0..10 {
        site.stored(at(100 + i, Priority::Backfill, 0)).await;
        site.stored(at(200 + i, Priority::Routine, 1)).await;
        site.stored(at(300 + i, Priority::Prior, 2)).await;
    }
    let mut kinds = BTreeMap::new();
    let mut last = BTreeMap::new();
    for round in 0..200u32 {
        let now = noon() + (10 + round) * MINUTE;
        site.stored(at(1000 + round, Priority::Urgent, 10 + round)).await;
        let study = turn(&site, 10, now).await.unwrap();
        let number: u32 = study.strip_prefix("1.2.").unwrap().parse().unwrap();
        let kind = (number / 100).min(10);
        *kinds.entry(kind).or_insert(0) += 1;
        last.insert(kind, round);
    }
    // Each of the thirty old ones had its turn although something urgent waited all the time.
    assert_eq!((kinds[&1], kinds[&2], kinds[&3], kinds[&10]), (10, 10, 10, 170), "{kinds:?}");
    assert!(last[&1] < 51 && last[&2] < 101 && last[&3] < 151, "the oldest first, one turn in five: {last:?}");
    // When the stream ends, what is left goes by priority.
    site.stored(at(101, Priority::Backfill, 300)).await;
    site.stored(at(201, Priority::Routine, 301)).await;
    site.stored(at(301, Priority::Prior, 302)).await;
    let mut left = Vec::new();
    while let Some(study) = turn(&site, 10, noon() + 400 * MINUTE).await {
        left.push(study);
    }
    let of = |name: &str| left.iter().position(|study| study == name).unwrap();
    assert!(of("1.2.301") < of("1.2.201"), "{left:?}");
    site.verify().await;
}

#[tokio::test]
async fn new_work_and_a_backlog_share_four_to_one() {
    let site = Site::new();
    for n in 1..=100 {
        site.stored(due(n, n, Priority::Routine, noon())).await;
    }
    let mut old = 0;
    for round in 0..100 {
        let now = noon() + HOUR + round * MINUTE;
        site.stored(due(1000 + round, 1000 + round, Priority::Routine, now)).await;
        let study = turn(&site, 10, now).await.unwrap();
        old += u32::from(study.len() < "1.2.1000".len());
    }
    assert_eq!(old, 20, "one in five");
    site.verify().await;
}

#[tokio::test]
async fn one_batch_of_a_study_at_a_time_unless_the_other_side_is_a_weybridge() {
    let site = Site::new();
    for n in 1..=4 {
        site.stored(due(n, 1 + n / 4, Priority::Routine, noon())).await;
    }
    let surrey = destination("surrey");
    let lease = |together| site.records.lease(&surrey, limits(1, together), noon());
    let (first, second) = (lease(false).await.unwrap().unwrap(), lease(false).await.unwrap().unwrap());
    assert_ne!(first.study, second.study);
    assert_eq!(lease(false).await.unwrap(), None, "both studies are on their way");
    assert_eq!(site.records.next_due(&surrey, false, noon()).await.unwrap(), None, "no spinning: a settle kicks");
    assert_eq!(site.records.next_due(&surrey, true, noon()).await.unwrap(), Some(noon()));
    let third = lease(true).await.unwrap().unwrap();
    for batch in [first, second, third] {
        site.settle(&batch, verified(), noon()).await;
    }
    assert!(lease(false).await.unwrap().is_some());
    site.verify().await;
}

#[tokio::test]
async fn what_is_expedited_goes_first_and_the_ledger_says_by_whom() {
    let site = Site::new();
    for n in 1..=6 {
        site.stored(due(n, n, Priority::Backfill, noon())).await;
    }
    let chosen = site.transfers(2).await[0].transfer;
    assert_eq!(site.act(Verb::Expedite, &[chosen]).await.changed, 1);
    assert_eq!(site.transfers(2).await[0].priority, Priority::Urgent);
    assert_eq!(site.records.destinations().await.unwrap()[0].urgent, Some(noon()));
    assert_eq!(turn(&site, 10, noon()).await, Some("1.2.2".into()));
    assert_eq!(site.records.destinations().await.unwrap()[0].urgent, None);
    assert_eq!(site.act(Verb::Expedite, &[chosen]).await.changed, 0, "it is done");
    let story = site.records.why_instance(&uid(2), noon()).await.unwrap();
    let told = story.iter().any(
        |event| matches!(&event.what, What::Moved { what, who: Some(who), .. } if what == "expedite" && who == "jo"),
    );
    assert!(told, "{story:#?}");
    site.verify().await;
}

#[tokio::test]
async fn a_paused_destination_is_left_alone_until_it_is_resumed_also_after_a_restart() {
    let patience = Patience { give_up: HOUR, ..Patience::default() };
    let site = Site::with(RecordsOptions { patience, ..RecordsOptions::default() });
    let surrey = destination("surrey");
    site.stored(push(1)).await;
    site.send("surrey", unknown(), noon()).await;
    site.stored(push(2)).await;
    let nobody = site.records.pause(&surrey, true, " ", "why", noon()).await;
    assert!(matches!(nobody, Err(RecordsError::Refused(_))));
    assert!(matches!(site.records.pause(&surrey, true, "jo", "", noon()).await, Err(RecordsError::Refused(_))));
    assert!(site.records.pause(&surrey, true, "jo", "their archive moves", noon()).await.unwrap());
    assert!(!site.records.pause(&surrey, true, "al", "again", noon()).await.unwrap(), "the first reason stands");
    let (site, _) = site.restart();
    let mut now = noon();
    for _ in 0..240 {
        now += HOUR;
        assert!(site.lease("surrey", now).await.is_none() && site.check("surrey", now).await.is_none());
        assert_eq!(site.records.next_due(&surrey, true, now).await.unwrap(), None);
    }
    let view = &site.records.destinations().await.unwrap()[0];
    let paused = view.paused.clone().unwrap();
    assert_eq!((paused.who.as_str(), paused.why.as_deref()), ("jo", Some("their archive moves")));
    let sums = site.records.transfers_list(TransferFilter::default(), now).await.unwrap().0;
    assert_eq!((sums[0].paused, sums[0].next_attempt, sums[0].pending, sums[0].unknown), (true, None, 1, 1));
    let story = site.records.why_instance(&uid(2), now).await.unwrap();
    let last = format!("{:?}", story.last().unwrap());
    assert!(last.contains("paused by jo: their archive moves"), "{last}");
    // Ten days later nothing was given up, and everything goes on at once.
    assert!(site.records.pause(&surrey, false, "jo", "", now).await.unwrap());
    assert!(!site.records.pause(&surrey, false, "jo", "", now).await.unwrap());
    assert!(site.check("surrey", now).await.is_some() && site.lease("surrey", now).await.is_some());
    site.verify().await;
}

#[tokio::test]
async fn an_outage_of_days_costs_an_unknown_transfer_nothing() {
    let patience = Patience { give_up: HOUR, ..Patience::default() };
    let site = Site::with(RecordsOptions { patience, ..RecordsOptions::default() });
    site.stored(push(1)).await;
    site.send("surrey", unknown(), noon()).await;
    let mut now = noon();
    let mut asked = 0;
    while now < noon() + 6 * DAY {
        now += 5 * MINUTE;
        if let Some(check) = site.check("surrey", now).await {
            site.settle(&check, unknown(), now).await;
            asked += 1;
        }
    }
    assert!(asked > 100 && site.states(1).await == [State::Unknown], "{asked} {:?}", site.states(1).await);
    now += 20 * MINUTE;
    let check = site.check("surrey", now).await.unwrap();
    site.settle(&check, verified(), now).await;
    assert_eq!(site.states(1).await, [State::Verified]);
    site.verify().await;
    note_fired(asked);
}

/// The schedule of an outage under a simulated clock (REL-20, FLT-068): what is tried when, for six days.
#[tokio::test]
async fn six_days_of_outage_are_probed_one_at_a_time_on_schedule_and_cost_nothing() {
    let site = Site::new();
    for n in 1..=50 {
        site.stored(due(n, n, Priority::Routine, noon())).await;
    }
    let (mut now, mut probes) = (noon(), Vec::new());
    while now < noon() + 6 * DAY {
        if let Some(probe) = site.lease("surrey", now).await {
            assert!(now == noon() || site.lease("surrey", now).await.is_none(), "one probe at a time");
            site.settle(&probe, deferred(Charge::Destination, None), now).await;
            probes.push(now);
        }
        now = site
            .records
            .next_due(&destination("surrey"), false, now)
            .await
            .unwrap()
            .unwrap()
            .max(now + Duration::from_millis(1));
    }
    let gaps: Vec<Duration> = probes.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap()).collect();
    for (at, gap) in probes.iter().zip(&gaps) {
        let out = at.duration_since(noon()).unwrap();
        assert!(*gap <= 5 * MINUTE + Duration::from_millis(2), "{gap:?} after {out:?}");
        assert!(out < HOUR || *gap >= 5 * MINUTE, "{gap:?} after {out:?}");
    }
    assert!(gaps[0] <= Duration::from_secs(5), "{:?}", gaps[0]);
    let hours = 6 * 24 - 1;
    assert!((hours * 12..hours * 12 + 200).contains(&probes.len()), "{}", probes.len());
    for n in 1..=50 {
        assert!(matches!(site.states(n).await[..], [State::Pending | State::Deferred]));
    }
    while site.send("surrey", verified(), now).await > 0 {}
    for n in 1..=50 {
        assert_eq!(site.states(n).await, [State::Verified]);
    }
    site.verify().await;
    note_fired(probes.len());
}

fn order(of: u32, to: &str) -> Order {
    Order {
        study: study(of),
        from: None,
        destination: destination(to),
        verify: crate::peers::Verify::Present,
        priority: Priority::Routine,
        who: "jo".into(),
        reason: "asked for by phone".into(),
        again: false,
        resend_after: DAY,
        now: noon(),
    }
}

async fn ordered(site: &Site, order: Order) -> (u64, u64, u64, u64, u64) {
    let Ordered { owed, under_way, done, came_from_there, unsendable } = site.records.order(order).await.unwrap();
    (owed, under_way, done, came_from_there, unsendable)
}

#[tokio::test]
async fn an_order_owes_what_is_held_and_nothing_twice() {
    let site = Site::new();
    for n in 1..=300 {
        site.stored(Arrival { chosen: vec![], ..push(n) }).await;
    }
    site.record(push_other(1, 999)).await;
    assert_eq!(site.records.summary().await.unwrap().unrouted, 300);
    assert_eq!(ordered(&site, order(1, "kent")).await, (300, 0, 0, 0, 1), "the conflicting version waits for a person");
    assert_eq!(site.records.summary().await.unwrap().unrouted, 0);
    assert_eq!(ordered(&site, order(1, "kent")).await, (0, 300, 0, 0, 1));
    let urgent = Order { priority: Priority::Urgent, who: "al".into(), ..order(1, "kent") };
    assert_eq!(ordered(&site, urgent).await, (0, 300, 0, 0, 1));
    assert_eq!(site.transfers(2).await[0].priority, Priority::Urgent, "what is on its way becomes urgent");
    while site.send("kent", verified(), noon()).await > 0 {}
    assert_eq!(ordered(&site, order(1, "kent")).await, (0, 0, 300, 0, 1), "it is there");
    let again = Order { again: true, now: noon() + MINUTE, ..order(1, "kent") };
    assert_eq!(ordered(&site, again).await, (300, 0, 0, 0, 1));
    let check = site.check("kent", noon() + MINUTE).await.unwrap();
    assert_eq!(check.items.len(), 100, "what is there already is asked about before it is sent once more");
    let later = Order { now: noon() + 2 * DAY, ..order(1, "PACS2") };
    assert_eq!(ordered(&site, later).await, (300, 0, 0, 0, 1));
    assert_eq!(ordered(&site, order(1, "PACS")).await, (0, 0, 0, 300, 1), "it came from there");
    assert_eq!(ordered(&site, Order { from: Some("CT9".into()), ..order(1, "kent") }).await, (0, 0, 0, 0, 0));
    assert_eq!(ordered(&site, order(7, "kent")).await, (0, 0, 0, 0, 0), "nothing is held of it");
    let story = site.records.why_instance(&uid(2), noon()).await.unwrap();
    let asked = |event: &Event| matches!(&event.what, What::Owed { cause: crate::ledger::transfer::Cause::Operator(who), .. } if who.contains("by jo"));
    assert!(story.iter().any(asked), "{story:#?}");
    site.verify().await;
}

/// What was given up for one cause and is sent by hand goes on, and nothing of it waits for a person any more.
#[tokio::test]
async fn an_order_takes_up_what_was_given_up() {
    let site = Site::new();
    site.stored(push(1)).await;
    let lease = site.lease("surrey", noon()).await.unwrap();
    site.settle(&lease, dead(), noon()).await;
    assert_eq!(site.states(1).await, [State::Dead]);
    assert_eq!(ordered(&site, order(1, "surrey")).await, (1, 0, 0, 0, 0));
    assert_eq!(site.states(1).await, [State::Pending], "the same transfer, not a second one");
    assert_eq!(ordered(&site, order(1, "surrey")).await, (0, 1, 0, 0, 0));
    while site.send("surrey", verified(), noon() + MINUTE).await > 0 {}
    assert_eq!(site.states(1).await, [State::Verified]);
    assert_eq!(ordered(&site, order(1, "surrey")).await, (0, 0, 1, 0, 0));
    site.verify().await;
}

#[tokio::test]
async fn what_is_owed_for_two_causes_is_sent_once() {
    let site = Site::new();
    site.stored(Arrival { chosen: vec![], ..push(1) }).await;
    assert_eq!(ordered(&site, order(1, "surrey")).await, (1, 0, 0, 0, 0));
    let first = site.lease("surrey", noon()).await.unwrap();
    site.settle(&first, unknown(), noon()).await;
    site.record(push(1)).await;
    let both = site.check("surrey", noon() + MINUTE).await.unwrap();
    assert_eq!(both.items.len(), 2);
    site.settle(&both, absent(), noon() + MINUTE).await;
    assert_eq!(site.states(1).await, [State::Unknown, State::Pending], "one goes, the other is asked about again");
    let one = site.lease("surrey", noon() + MINUTE).await.unwrap();
    assert_eq!(one.items.len(), 1);
    site.settle(&one, verified(), noon() + MINUTE).await;
    let other = site.check("surrey", noon() + HOUR).await.unwrap();
    site.settle(&other, verified(), noon() + HOUR).await;
    assert_eq!(site.states(1).await, [State::Verified, State::Verified]);
    assert_eq!(site.transfers(1).await.iter().map(|transfer| transfer.attempts).sum::<u32>(), 2);
    site.verify().await;
    note_fired(1);
}

#[tokio::test]
async fn holdings_tell_whose_a_number_is_without_a_name_in_debug() {
    let site = Site::new();
    for (n, issuer) in [(1, "TRUST A"), (2, "TRUST B")] {
        let mut arrival = push(n);
        arrival.head.study = study(n);
        let values = &mut arrival.head.attributes.values;
        values.insert(crate::dicom::attributes::ISSUER_OF_PATIENT_ID, issuer.as_bytes().into());
        values.insert(crate::dicom::attributes::ACCESSION_NUMBER, b"A1".as_slice().into());
        site.stored(arrival).await;
    }
    let find = |wanted| site.records.holdings(wanted, None);
    for wanted in [Wanted::Accession("A1".into()), Wanted::Patient("secret-id".into())] {
        let found = find(wanted.clone()).await.unwrap();
        let issuers: Vec<_> = found.iter().map(|holding| holding.issuer.as_deref()).collect();
        assert_eq!(issuers, [Some("TRUST A"), Some("TRUST B")]);
        assert_eq!((found[0].instances, found[0].bytes, found[0].origins.clone()), (1, 1000, vec![node("PACS")]));
        assert!(!format!("{wanted:?}{found:?}").contains("secret"));
    }
    assert_eq!(find(Wanted::Study(study(2))).await.unwrap().len(), 1);
    assert!(find(Wanted::Accession("A".into())).await.unwrap().is_empty(), "not by a part of it");
    let from = site.records.holdings(Wanted::Study(study(2)), Some("CT9".into())).await.unwrap();
    assert!(from.is_empty());
}

/// WEB-055, FLT-056: what a destination says to have already is compared before it counts, however often it could not be asked and
/// over a restart, until it says that it does not have it; what counts without that is counted.
#[tokio::test]
async fn what_is_said_to_be_there_is_compared_before_it_counts() {
    let claimed = || Outcome::Claimed { why: "409".into() };
    let site = Site::new();
    site.stored(push(1)).await;
    let mut now = noon();
    assert_eq!(site.send("surrey", claimed(), now).await, 1);
    assert_eq!(site.states(1).await, [State::Unknown]);
    let (site, _) = site.restart();
    for outcome in [unknown(), claimed(), unknown()] {
        now += HOUR;
        let check = site.check("surrey", now).await.unwrap();
        assert!(check.items[0].claimed);
        site.settle(&check, outcome, now).await;
    }
    now += HOUR;
    let check = site.check("surrey", now).await.unwrap();
    site.settle(&check, absent(), now).await;
    now += HOUR;
    let batch = site.lease("surrey", now).await.unwrap();
    assert!(!batch.items[0].claimed, "it does not have it");
    site.settle(&batch, unknown(), now).await;
    now += HOUR;
    let check = site.check("surrey", now).await.unwrap();
    assert!(!check.items[0].claimed);
    site.settle(&check, Outcome::Uncompared { evidence: "nobody may look".into() }, now).await;
    assert_eq!(site.states(1).await, [State::Verified]);
    let counted = async || site.records.destinations().await.unwrap()[0].uncompared;
    assert_eq!(counted().await, 1);
    site.act(Verb::Reopen, &[site.transfers(1).await[0].transfer]).await;
    let check = site.check("surrey", now).await.unwrap();
    assert!(check.items[0].claimed, "it still was not compared");
    site.settle(&check, verified(), now).await;
    assert_eq!(counted().await, 0);
    site.verify().await;
}
