//! Tests of the loop rules ("Behaviour that decides safety" 1): nothing goes back to where it came from.

use super::support::*;
use crate::ledger::transfer::State;
use crate::peers::Origin;
use crate::records::*;

#[tokio::test]
async fn nothing_is_sent_to_where_it_came_from() {
    let rows = [(node("PACS"), "PACS"), (Origin::Peer("surrey".into()), "surrey")];
    for (origin, back) in rows {
        let site = Site::new();
        site.stored(Arrival { origin: origin.clone(), chosen: vec![to(back), to("kent")], ..push(1) }).await;
        let transfers = site.transfers(1).await;
        assert_eq!(transfers.iter().map(|t| t.destination.0.as_str()).collect::<Vec<_>>(), ["kent"], "{origin:?}");
        // Another sender of the same does not change where it came from.
        site.record(Arrival { origin: node("CT1"), chosen: vec![to(back)], ..push(1) }).await;
        assert_eq!(site.transfers(1).await.len(), 1);
        let told = site.records.why_instance(&uid(1), noon()).await.unwrap();
        let withheld = |event: &Event| matches!(&event.what, What::Received { withheld, .. } if withheld.len() == 1);
        assert_eq!(told.iter().filter(|event| withheld(event)).count(), 2);
        site.verify().await;
    }
}

/// "No destination": what is owed to nobody, because it came from all whom a route chose, was handed back, or is named by a note, is told
/// and kept as what no route chose, until somebody is owed it.
#[tokio::test]
async fn what_none_of_the_chosen_may_have_is_unrouted() {
    let site = Site::new();
    let unrouted = async || site.records.summary().await.unwrap().unrouted;
    let one = site.stored(Arrival { chosen: vec![to("PACS")], ..push(1) }).await;
    assert_eq!(unrouted().await, 1);
    let forever = Purging::by_rule(PurgeRule::Room, noon() + 10_000 * DAY);
    assert_eq!(site.condemn(one, forever).await.kept, [(one, crate::ledger::generation::Stays::Unrouted)]);
    let told = site.records.why_instance(&uid(1), noon()).await.unwrap();
    let left_out = |event: &Event| matches!(&event.what, What::Received { withheld, .. } if withheld.len() == 1);
    assert!(told.iter().any(|event| event.what == What::Unrouted) && told.iter().any(left_out), "{told:?}");
    site.record(Arrival { chosen: vec![to("PACS")], ..push(1) }).await;
    assert_eq!(unrouted().await, 1, "once");
    site.record(Arrival { origin: node("CT1"), chosen: vec![to("kent")], ..push(1) }).await;
    assert_eq!(unrouted().await, 0);
    // What was a copy of another's, and is sent to us to be sent back there.
    let pulled = Arrival { origin: Origin::Pulled("surrey".into()), chosen: vec![], ..push(2) };
    site.stored(pulled).await;
    assert_eq!(unrouted().await, 0);
    site.record(push(2)).await;
    assert_eq!(unrouted().await, 1, "surrey has it, and nobody else");
    // What was owed and is done stays done, whoever hands it back.
    site.stored(Arrival { origin: Origin::Peer("kent".into()), chosen: vec![to_accepting("PACS")], ..push(3) }).await;
    site.send("PACS", accepted(), noon()).await;
    site.record(push(3)).await;
    assert_eq!(unrouted().await, 1);
    site.record(push_other(3, 50)).await;
    assert_eq!(unrouted().await, 2, "other content that was handed back is owed to nobody");
    site.verify().await;
    let (site, _) = site.restart();
    assert_eq!(site.records.summary().await.unwrap().unrouted, 2);
}

#[tokio::test]
async fn an_operator_of_the_same_name_is_not_the_destination() {
    let site = Site::new();
    let origin = Origin::Operator("surrey".into());
    site.stored(Arrival { origin, ..push(1) }).await;
    assert_eq!(site.states(1).await, [State::Pending]);
}

#[tokio::test]
async fn what_a_node_hands_back_goes_nowhere() {
    for (outcome, delivered) in [(accepted(), true), (verified(), true), (unknown(), false), (dead(), false)] {
        let site = Site::new();
        let peer = Origin::Peer("kent".into());
        site.stored(Arrival { origin: peer.clone(), chosen: vec![to("PACS")], ..push(1) }).await;
        site.send("PACS", outcome.clone(), noon()).await;
        // The PACS sends it on by its own rules, back to us and to a destination of ours.
        let back = site.record(Arrival { chosen: vec![to("surrey")], ..push(1) }).await;
        let owed_again = usize::from(!delivered);
        assert_eq!(back.kept, Kept::Same { instance: InstanceId(1), owed_again }, "{outcome:?}");
        // Changed on the way, it is another version, and its way on is withheld as well.
        site.record(Arrival { chosen: vec![to("sussex")], ..push_other(1, 50) }).await;
        let sussex = site.transfers(1).await.iter().filter(|t| t.destination.0 == "sussex").count();
        assert_eq!(sussex, usize::from(!delivered), "{outcome:?}");
        site.verify().await;
    }
}

#[tokio::test]
async fn another_node_may_send_on_what_we_delivered_elsewhere() {
    let site = Site::new();
    site.stored(Arrival { origin: Origin::Peer("kent".into()), chosen: vec![to("PACS")], ..push(1) }).await;
    site.send("PACS", verified(), noon()).await;
    site.record(Arrival { origin: node("CT1"), ..push(1) }).await;
    assert_eq!(site.states(1).await, [State::Verified, State::Pending]);
}
