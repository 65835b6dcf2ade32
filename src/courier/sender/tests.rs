//! Objects on their way to a node: other sites' whose elements are out of order, those of odd length, those that are not as their syntax says.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::courier::mover::{Mover, SubOperation};
use crate::courier::turns::Turns;
use crate::dicom::sample::{DELIMITED, EXPLICIT, Form, IMPLICIT, Node, encode, instance, value};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::dicom::vr::Vr;
use crate::dimse::Status;
use crate::peers::Origin;
use crate::records::tests::support::{LIMITS, destination, noon, push, to};
use crate::records::{Arrival, AttemptSummary, BlobRef, InstanceId, RecordsOptions, Selection, Verb};
use crate::store::{Digest, StoreOptions};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// A node that takes everything as it is stored.
#[derive(Default)]
struct Taker {
    got: Vec<u8>,
    whole: bool,
}

impl Stores for Taker {
    fn context_for(&self, _class: &str, _syntax: &str) -> Option<u8> {
        Some(1)
    }

    async fn store(
        &mut self,
        _command: StoreCommand,
        _length: Option<u64>,
        source: &mut (impl Source + Sync),
    ) -> Result<StoreResponse, StoreFailure> {
        while let Some(bytes) = source.next().await.map_err(StoreFailure::Source)? {
            self.got.extend_from_slice(&bytes);
        }
        self.whole = true;
        Ok(StoreResponse { status: Status(0), comment: None, offending: None })
    }
}

/// What a node gets of an object that came from a peer, or why it does not.
async fn sent(mode: Foreign, syntax: &str, nodes: &[Node]) -> Result<Vec<u8>, Outcome> {
    sent_bytes(mode, syntax, &encode(nodes, EXPLICIT)).await
}

async fn sent_bytes(mode: Foreign, syntax: &str, bytes: &[u8]) -> Result<Vec<u8>, Outcome> {
    Ready::with(mode, syntax, bytes).await.send().await
}

/// Stores an object and says what is known of it: it came from a peer.
pub(in crate::courier) async fn retrievable(store: &Store, syntax: &str, bytes: &[u8]) -> Retrievable {
    let transfer_syntax = TransferSyntaxUid::parse(syntax).unwrap();
    let mut receiving = store.receive().await.unwrap();
    receiving.write(bytes).await.unwrap();
    let place = store.settle(receiving.finish(&transfer_syntax).await.unwrap()).await.unwrap();
    Retrievable {
        instance: InstanceId(1),
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        sop_instance: InstanceUid::parse("1.2.3.4.5").unwrap(),
        study: StudyUid::parse("1.2.3.1").unwrap(),
        series: SeriesUid::parse("1.2.3.2").unwrap(),
        transfer_syntax,
        digest: Digest::of(bytes),
        place,
        length: bytes.len() as u64,
        origin: Origin::Peer("surrey".into()),
        received: UNIX_EPOCH + Duration::from_secs(1_709_210_096),
        word: None,
    }
}

/// An object that came from a peer, and what sends it.
struct Ready {
    sender: Sender,
    item: Retrievable,
    dir: TempDir,
}

impl Ready {
    async fn with(mode: Foreign, syntax: &str, bytes: &[u8]) -> Self {
        let dir = TempDir::new().unwrap();
        let (records, _) = Records::open(dir.path(), RecordsOptions::default()).unwrap();
        let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::at(dir.path().join("blobs")) };
        let (store, _) = Store::open(options, Vec::new()).unwrap();
        let item = retrievable(&store, syntax, bytes).await;
        let foreigners = Foreigners {
            policy: Policy { mode, ..Policy::default() },
            site: "Hampshire".into(),
            issuers: BTreeMap::new(),
            records,
            nhs_nodes: BTreeSet::new(),
        };
        Self { sender: Sender::new(store, foreigners), item, dir }
    }

    /// What a node gets, or why it does not.
    async fn send(&self) -> Result<Vec<u8>, Outcome> {
        let (Self { sender, item, .. }, mut node) = (self, Taker::default());
        let mut reading = Reading::from(sender.ahead(item));
        let planned = sender.plan(&node, (item, &mut reading), &[], false).await;
        let (context, plan, length) = planned.map_err(|fault| fault.outcome)?;
        match sender.send_as(&mut node, (item, reading), context, plan, length, None).await {
            Ok(_) => Ok(node.got),
            Err(unsent) => {
                assert!(!node.whole);
                Err(unsent.fault.unwrap().outcome)
            }
        }
    }
}

/// IDY-040, IDY-046: a bare number does not reach the node because it stands where nobody looks; short and long, and with something
/// that is changed before it.
#[tokio::test]
async fn numbers_that_stand_out_of_order_are_held() {
    const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
    let long = |node: Node| match node {
        Node::Value { tag, vr, .. } if tag.0 == 0x7FE0_0010 => value(tag.0, vr, &vec![7; DRY_PASS as usize + 2]),
        node => node,
    };
    let accession = value(0x0008_0050, Vr::SH, b"A1");
    for nodes in [instance(), instance().into_iter().map(long).collect::<Vec<_>>()] {
        let reversed: Vec<Node> = nodes.iter().rev().cloned().collect();
        let after_accession = [std::slice::from_ref(&accession), &reversed].concat();
        for mode in [Foreign::Prefix, Foreign::Issuer, Foreign::Hold] {
            for nodes in [&reversed, &after_accession] {
                let outcome = sent(mode, EXPLICIT_LE, nodes).await.unwrap_err();
                assert!(matches!(&outcome, Outcome::Held { .. }), "{mode:?} {outcome:?}");
            }
        }
        assert_eq!(sent(Foreign::AsIs, EXPLICIT_LE, &reversed).await.unwrap(), encode(&reversed, EXPLICIT));
        let got = sent(Foreign::Prefix, EXPLICIT_LE, &nodes).await.unwrap();
        assert!(got.windows(11).any(|at| at == b"surrey:4711"));
    }
}

/// REL-07: a long copy whose beginning is damaged, so that it cannot be read as a data set any more, is damaged and nothing else.
#[tokio::test]
async fn a_damaged_beginning_is_damage_and_no_matter_of_its_contents() {
    let long = |node: Node| match node {
        Node::Value { tag, vr, .. } if tag.0 == 0x7FE0_0010 => value(tag.0, vr, &vec![7; 5 << 20]),
        node => node,
    };
    let bytes = encode(&instance().into_iter().map(long).collect::<Vec<_>>(), EXPLICIT);
    let ready = Ready::with(Foreign::Prefix, "1.2.840.10008.1.2.1", &bytes).await;
    assert!(ready.send().await.unwrap().len() > bytes.len());
    // The first element now seems to stand behind all others.
    for file in std::fs::read_dir(ready.dir.path().join("blobs")).unwrap().map(|file| file.unwrap().path()) {
        let Ok(mut content) = std::fs::read(&file) else { continue };
        if let Some(at) = content.windows(64).position(|window| window == &bytes[..64]) {
            content[at + 1] = 0xF0;
            std::fs::write(&file, content).unwrap();
        }
    }
    let (Ready { sender, item, .. }, mut node) = (&ready, Taker::default());
    let mut reading = Reading::from(sender.ahead(item));
    let fault = match sender.plan(&node, (item, &mut reading), &[], false).await {
        Err(fault) => fault,
        Ok((context, plan, length)) => {
            let sent = sender.send_as(&mut node, (item, reading), context, plan, length, None).await;
            sent.map(drop).unwrap_err().fault.unwrap()
        }
    };
    assert!(fault.damage.is_some() && matches!(fault.outcome, Outcome::Deferred { .. }), "{fault:?}");
}

/// REL-07: a short copy that must be changed is read once for all of that; damaged, nothing of it is sent.
#[tokio::test]
async fn a_short_damaged_copy_that_must_be_changed_is_not_sent() {
    let short = |node: Node| match node {
        Node::Value { tag, vr, .. } if tag.0 == 0x7FE0_0010 => value(tag.0, vr, &vec![7; 500_000]),
        node => node,
    };
    let bytes = encode(&instance().into_iter().map(short).collect::<Vec<_>>(), EXPLICIT);
    for ahead in [false, true] {
        let ready = Ready::with(Foreign::Prefix, "1.2.840.10008.1.2.1", &bytes).await;
        for file in std::fs::read_dir(ready.dir.path().join("blobs")).unwrap().map(|file| file.unwrap().path()) {
            let Ok(mut content) = std::fs::read(&file) else { continue };
            if let Some(at) = content.windows(64).position(|window| window == &bytes[..64]) {
                content[at + 400_000] ^= 1;
                std::fs::write(&file, content).unwrap();
            }
        }
        let (Ready { sender, item, .. }, node) = (&ready, Taker::default());
        let mut reading = if ahead { Reading::from(sender.ahead(item)) } else { Reading::default() };
        let Err(fault) = sender.plan(&node, (item, &mut reading), &[], false).await else { panic!("it is damaged") };
        assert!(fault.damage.is_some() && matches!(fault.outcome, Outcome::Deferred { .. }), "{fault:?}");
    }
}

/// DIM-055: nothing of odd length leaves; what is deflated is padded, all else is made even value by value, or does not go.
#[tokio::test]
async fn what_is_of_odd_length_is_made_even_or_does_not_go() {
    const IMPLICIT_AS_WRITTEN: Form = Form { explicit: false, ..DELIMITED };
    let named = |name: &[u8]| vec![value(0x0008_0018, Vr::UI, b"1.2.3.4.5\0"), value(0x0010_0010, Vr::PN, name)];
    let (odd, even) = (named(b"Specimen^Test"), named(b"Specimen^Test "));
    let two = [odd.clone(), vec![value(0x0010_0020, Vr::LO, b"471")]].concat();
    let rows = [
        ("1.2.840.10008.1.2.1", encode(&odd, EXPLICIT), Some(encode(&even, DELIMITED))),
        ("1.2.840.10008.1.2", encode(&odd, IMPLICIT), Some(encode(&even, IMPLICIT_AS_WRITTEN))),
        ("1.2.840.10008.1.2.5", encode(&odd, EXPLICIT), Some(encode(&even, DELIMITED))),
        ("1.2.840.10008.1.2.1.99", vec![1, 2, 3], Some(vec![1, 2, 3, 0])),
        ("1.2.840.10008.1.2.1.99", vec![1, 2, 3, 4], Some(vec![1, 2, 3, 4])),
        // Altogether even: as it is stored.
        ("1.2.840.10008.1.2.1", encode(&two, EXPLICIT), Some(encode(&two, EXPLICIT))),
        ("1.2.840.10008.1.2.4.102", encode(&odd, EXPLICIT), None),
    ];
    for (syntax, stored, want) in rows {
        match (sent_bytes(Foreign::AsIs, syntax, &stored).await, want) {
            (Ok(got), Some(want)) => assert_eq!(got, want, "{syntax}"),
            (Err(Outcome::Dead { why }), None) => assert!(why.starts_with("odd length, PS3.5 7.1.1"), "{why}"),
            (got, want) => panic!("{syntax}: {got:?}, not {want:?}"),
        }
    }
    // A number that is changed may have made up for a name that is odd.
    let got = sent(Foreign::Prefix, "1.2.840.10008.1.2.1", &two).await.unwrap();
    assert_eq!(got.len() % 2, 0);
    assert!(got.windows(16).any(|at| at == b"\x0e\x00Specimen^Test "));
}

/// DIM-055: what is long is changed as it goes, so that its odd length is found out too late, and remembered.
#[tokio::test]
async fn what_is_long_and_comes_out_odd_is_made_even_the_next_time() {
    let nodes = vec![
        value(0x0008_0018, Vr::UI, b"1.2.3.4.5\0"),
        value(0x0010_0010, Vr::PN, b"Specimen^Test"),
        value(0x0010_0020, Vr::LO, b"471"),
        value(0x7FE0_0010, Vr::OW, &vec![7; DRY_PASS as usize + 2]),
    ];
    let ready = Ready::with(Foreign::Prefix, "1.2.840.10008.1.2.1", &encode(&nodes, EXPLICIT)).await;
    let first = ready.send().await.unwrap_err();
    assert!(matches!(first, Outcome::Deferred { charge: Charge::Us, .. }), "{first:?}");
    let got = ready.send().await.unwrap();
    assert_eq!(got.len() % 2, 0);
    assert!(got.windows(16).any(|at| at == b"\x0e\x00Specimen^Test "));
}

/// DIM-057: nobody is sent a data set without representations under a syntax that has them.
#[tokio::test]
async fn what_is_not_encoded_as_its_syntax_says_goes_natively_or_not_at_all() {
    let nodes = [value(0x0008_0018, Vr::UI, b"1.2.3.4.5\0"), value(0x0010_0020, Vr::LO, b"4711")];
    let stored = encode(&nodes, IMPLICIT);
    assert_eq!(sent_bytes(Foreign::AsIs, "1.2.840.10008.1.2.5", &stored).await.unwrap(), encode(&nodes, DELIMITED));
    let outcome = sent_bytes(Foreign::AsIs, "1.2.840.10008.1.2.4.102", &stored).await.unwrap_err();
    assert!(matches!(&outcome, Outcome::Dead { why } if why.contains("no value representations")), "{outcome:?}");
    let explicit = encode(&nodes, EXPLICIT);
    assert_eq!(sent_bytes(Foreign::AsIs, "1.2.840.10008.1.2.4.102", &explicit).await.unwrap(), explicit);
}

/// IDY-044: what a person has released to a node that holds, the node gets also when it asks for it (C-MOVE, C-GET), prefixed as a lane sends
/// it; not before, not what was held again, and no other node.
#[tokio::test]
async fn what_a_person_released_to_a_node_it_is_given_when_it_asks() {
    let bytes = encode(&instance(), EXPLICIT);
    let Ready { sender, item, dir: _dir } = Ready::with(Foreign::Hold, "1.2.840.10008.1.2.1", &bytes).await;
    let Sender { store, foreigners, .. } = sender;
    let records = foreigners.records.clone();
    let arrival = Arrival {
        origin: item.origin.clone(),
        digest: item.digest,
        length: item.length,
        blob: BlobRef::New(item.place),
        chosen: vec![to("OUT")],
        ..push(1)
    };
    records.record(arrival).await.unwrap();
    let mover = Mover::new(destination("OUT"), None, store, foreigners, Turns::default());
    let given = async || {
        let mut node = Taker::default();
        (mover.give(&mut node, (&item, mover.ahead(&item)), None).await, node.got)
    };
    let (SubOperation::Failed { why, .. }, _) = given().await else { panic!("nobody has released it") };
    let batch = records.lease(&destination("OUT"), LIMITS, noon()).await.unwrap().unwrap();
    let transfer = batch.items[0].transfer;
    let held = vec![(transfer, Outcome::Held { why: why.clone() })];
    records.settle(batch.attempt, held, AttemptSummary::default(), noon()).await.unwrap();
    assert!(matches!(given().await.0, SubOperation::Failed { .. }), "it waits for a person");
    let act = async |verb| {
        let acted = records.act(verb, Selection::Transfers(vec![transfer]), "jo", "seen", noon()).await.unwrap();
        assert_eq!(acted.changed, 1, "{acted:?}");
    };
    act(Verb::Release).await;
    let (came, got) = given().await;
    assert_eq!(came, SubOperation::Completed);
    assert!(got.windows(11).any(|at| at == b"surrey:4711"));
    assert_eq!(records.released_to(InstanceId(1), &destination("OUT")).await.unwrap(), [why]);
    assert_eq!(records.released_to(InstanceId(1), &destination("OTHER")).await.unwrap(), Vec::<String>::new());
    act(Verb::Hold).await;
    assert!(matches!(given().await.0, SubOperation::Failed { .. }), "a person holds it again");
    act(Verb::Cancel).await;
    assert!(matches!(given().await.0, SubOperation::Failed { .. }), "a person has cancelled it");
}
