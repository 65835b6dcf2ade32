//! Other sites' objects whose elements are out of order, on their way to a node that has numbers made distinct.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::dicom::sample::{EXPLICIT, Node, encode, instance, value};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid};
use crate::dicom::vr::Vr;
use crate::dimse::Status;
use crate::peers::Origin;
use crate::records::{InstanceId, RecordsOptions};
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
    let dir = TempDir::new().unwrap();
    let (records, _) = Records::open(dir.path(), RecordsOptions::default()).unwrap();
    let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::at(dir.path().join("blobs")) };
    let (store, _) = Store::open(options, Vec::new()).unwrap();
    let bytes = encode(nodes, EXPLICIT);
    let transfer_syntax = TransferSyntaxUid::parse(syntax).unwrap();
    let mut receiving = store.receive().await.unwrap();
    receiving.write(&bytes).await.unwrap();
    let place = store.settle(receiving.finish(&transfer_syntax).await.unwrap()).await.unwrap();
    let item = Retrievable {
        instance: InstanceId(1),
        sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
        sop_instance: InstanceUid::parse("1.2.3.4.5").unwrap(),
        study: StudyUid::parse("1.2.3.1").unwrap(),
        series: SeriesUid::parse("1.2.3.2").unwrap(),
        transfer_syntax,
        digest: Digest::of(&bytes),
        place,
        length: bytes.len() as u64,
        origin: Origin::Peer("surrey".into()),
        received: UNIX_EPOCH + Duration::from_secs(1_709_210_096),
        word: None,
    };
    let foreigners = Foreigners {
        policy: Policy { mode, ..Policy::default() },
        site: "Hampshire".into(),
        issuers: BTreeMap::new(),
        records,
        nhs_nodes: BTreeSet::new(),
    };
    let (sender, mut node) = (Sender::new(store, foreigners), Taker::default());
    let (context, plan, length) = sender.plan(&node, &item, &[], false).await.map_err(|fault| fault.outcome)?;
    let ahead = sender.ahead(&item);
    match sender.send_as(&mut node, (&item, ahead), context, plan, length, None).await {
        Ok(_) => Ok(node.got),
        Err(unsent) => {
            assert!(!node.whole);
            Err(unsent.fault.unwrap().outcome)
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
