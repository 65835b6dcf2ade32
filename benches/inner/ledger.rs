//! Parts of the ledger and the records: an entry written, read and bound, and an arrival committed.

use crate::inputs::{CT_CLASS, ct_head};
use crate::{Part, Run};
use std::hint::black_box;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use weybridge::dicom::ae_title::AeTitle;
use weybridge::dicom::uid::{InstanceUid, SeriesUid, StudyUid};
use weybridge::ledger::chain;
use weybridge::ledger::entry::{Entry, EntryId, Fact, Kind, facts};
use weybridge::ledger::merkle::{self, Edge};
use weybridge::peers::{Chosen, Destination, Origin, Priority, Verify};
use weybridge::records::{Arrival, BlobRef, Kept, Records, RecordsOptions, SourceFacts};
use weybridge::store::{Digest, Place};

/// Instances of a study.
const EACH: u64 = 100;

pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "entry-write",
        unit: "entry",
        units: 1,
        times: 1000,
        input: "the entry of an instance received and owed to one destination",
        make: || {
            let entry = entry();
            Box::new(move || drop(black_box(black_box(&entry).to_bytes())))
        },
    },
    Part {
        name: "entry-read",
        unit: "entry",
        units: 1,
        times: 1000,
        input: "the same entry's bytes, as a proof reads them",
        make: || {
            let bytes = entry().to_bytes();
            Box::new(move || drop(black_box(Entry::parse(black_box(&bytes)).unwrap())))
        },
    },
    Part {
        name: "entry-bind",
        unit: "entry",
        units: 1,
        times: 1000,
        input: "the same bytes: leaf, chain and the tree's edge; SHA-256 without the CPU's instructions for it",
        make: bind,
    },
    Part {
        name: "arrival",
        unit: "object",
        units: EACH as usize,
        times: 10,
        input: "CT slices by 100 a study, owed to one destination, recorded one after the other in a temporary folder",
        make: || arrivals(1),
    },
    Part {
        name: "arrival-group",
        unit: "object",
        units: EACH as usize,
        times: 10,
        input: "the same, a study at once",
        make: || arrivals(EACH as usize),
    },
];

/// As the records write it.
fn entry() -> Entry {
    let version = facts([
        ("class", CT_CLASS.into()),
        ("id", 4711.into()),
        ("series", "2.25.35833477446030196446523602219424200839".into()),
        ("sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into()),
        ("state", "stored".into()),
        ("study", "2.25.203566475323398203752236726392498418432".into()),
        ("syntax", "1.2.840.10008.1.2.1".into()),
        ("uid", "2.25.197478879990279617990537972772895805834".into()),
        ("version", 1.into()),
    ]);
    let made = facts([
        ("cause", "route to surrey".into()),
        ("destination", "surrey".into()),
        ("instance", 4711.into()),
        ("priority", "routine".into()),
        ("state", "pending".into()),
        ("transfer", 815.into()),
        ("verify", "present".into()),
    ]);
    let source = facts([("address", "192.0.2.7".into()), ("called", "WEYBRIDGE".into()), ("calling", "PACS".into())]);
    let facts = facts([
        ("bytes", 525_600.into()),
        ("how", "stored".into()),
        ("instance", 4711.into()),
        ("made", [Fact::from(made)].into_iter().collect()),
        ("origin", facts([("kind", "node".into()), ("name", "PACS".into())]).into()),
        ("source", source.into()),
        ("versions", [Fact::from(version)].into_iter().collect()),
    ]);
    let (at, writer) = (1_800_000_000_000_000, "8f0e3a9d3d6a1c22e7a84ad61d674cc5".to_owned());
    Entry { id: EntryId([7; 16]), writer, kind: Kind::Received, at, facts, causes: Vec::new() }
}

fn bind() -> Run {
    let (bytes, mut edge, mut last) = (entry().to_bytes(), Edge::default(), chain::START);
    Box::new(move || {
        let leaf = merkle::leaf(black_box(&bytes));
        last = chain::next(&last, &leaf);
        edge.push(leaf);
        black_box(edge.to_bytes());
    })
}

/// Records in a temporary folder.
struct Site {
    runtime: tokio::runtime::Runtime,
    records: Records,
    _folder: TempDir,
}

impl Drop for Site {
    /// Copies the log back, as a gateway does at its end: that belongs to what was recorded, and must not be cut off somewhere.
    fn drop(&mut self) {
        self.runtime.block_on(self.records.close());
    }
}

/// Records a study at each run, so many instances of it at a time.
fn arrivals(together: usize) -> Run {
    let folder = TempDir::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (records, _) = Records::open(folder.path(), RecordsOptions::default()).unwrap();
    let (site, model, mut study) = (Site { runtime, records, _folder: folder }, arrival(), 0);
    Box::new(move || {
        study += 1;
        let numbers: Vec<u64> = (0..EACH).collect();
        for some in numbers.chunks(together) {
            let recorded = some.iter().map(|number| site.records.record(numbered(&model, study, *number)));
            let recorded = site.runtime.block_on(futures_util::future::join_all(recorded));
            assert!(recorded.into_iter().all(|one| matches!(one.unwrap().kept, Kept::Stored { .. })));
        }
    })
}

fn numbered(model: &Arrival, study: u64, number: u64) -> Arrival {
    let (mut arrival, all) = (model.clone(), study * EACH + number);
    arrival.head.study = StudyUid::parse(&format!("2.25.2035664753233982037522367263{study:08}")).unwrap();
    arrival.head.series = SeriesUid::parse(&format!("2.25.3583347744603019644652360221{study:08}")).unwrap();
    arrival.head.sop_instance = InstanceUid::parse(&format!("2.25.1974788799902796179905379727{all:08}")).unwrap();
    // Digests come in no order.
    let mixed = all.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    arrival.digest = Digest([mixed; 4].concat().try_into().unwrap());
    arrival.blob = BlobRef::New(Place { file: 1 + study, shared: true, offset: number << 20, length: model.length });
    arrival
}

fn arrival() -> Arrival {
    let chosen = Chosen {
        destination: Destination("surrey".to_owned()),
        route: "to surrey".to_owned(),
        mandatory: true,
        verify: Verify::Present,
        priority: Priority::Routine,
    };
    Arrival {
        origin: Origin::Node(AeTitle::parse("PACS").unwrap()),
        source: SourceFacts {
            calling: Some("PACS".to_owned()),
            called: Some("WEYBRIDGE".to_owned()),
            ..SourceFacts::default()
        },
        head: ct_head(),
        digest: Digest([0; 32]),
        length: 525_600,
        blob: BlobRef::New(Place { file: 1, shared: true, offset: 0, length: 525_600 }),
        chosen: vec![chosen],
        routes: None,
        requested: None,
        received_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        resend_after: Duration::from_secs(86_400),
    }
}
