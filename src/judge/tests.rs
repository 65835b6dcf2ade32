//! The judge on real records and real blobs: what is released, what stays held, what is remembered after a purge.

use super::*;
use crate::dicom::sample::{EXPLICIT, IMPLICIT, Node, encode, instance, value};
use crate::dicom::scanner::{Limits, Scanner};
use crate::dicom::vr::Vr;
use crate::peers::{Chosen, Priority, Verify};
use crate::records::{Arrival, BlobRef, Kept, LeaseLimits, PurgeRule, Purging, RecordsOptions, SourceFacts};
use crate::store::{Digest, StoreOptions};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);
const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
const IMPLICIT_LE: &str = "1.2.840.10008.1.2";
const HTJ2K_LOSSLESS: &str = "1.2.840.10008.1.2.4.201";

struct Site {
    dir: TempDir,
    records: Records,
    store: Store,
    judge: Judge,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (records, _) = Records::open(dir.path(), RecordsOptions::default()).unwrap();
        let options = StoreOptions { reserve_bytes: Some(0), ..StoreOptions::at(dir.path().join("blobs")) };
        let (store, _) = Store::open(options, Vec::new()).unwrap();
        let registry = watch::Sender::default().subscribe();
        let judge = Judge::new(records.clone(), store.clone(), registry, DAY);
        Self { dir, records, store, judge }
    }

    /// The same data set arrives, routed to surrey.
    async fn arrive(&self, syntax: &str, bytes: &[u8]) -> Kept {
        let syntax = TransferSyntaxUid::parse(syntax).unwrap();
        let mut scanner = Scanner::new(&syntax, Limits::default());
        scanner.push(bytes).unwrap();
        let mut receiving = self.store.receive().await.unwrap();
        receiving.write(bytes).await.unwrap();
        let place = self.store.settle(receiving.finish(&syntax).await.unwrap()).await.unwrap();
        let chosen = Chosen {
            destination: Destination("surrey".into()),
            route: "all".into(),
            mandatory: true,
            verify: Verify::Accepted,
            priority: Priority::Routine,
        };
        let arrival = Arrival {
            origin: Origin::Operator("a test".into()),
            source: SourceFacts::default(),
            head: scanner.finish().unwrap(),
            digest: Digest::of(bytes),
            length: bytes.len() as u64,
            blob: BlobRef::New(place),
            chosen: vec![chosen],
            routes: None,
            requested: None,
            received_at: SystemTime::now(),
            resend_after: DAY,
        };
        self.records.record(arrival).await.unwrap().kept
    }

    async fn deliver(&self) {
        let limits = LeaseLimits { instances: 100, bytes: 1 << 30, together: true };
        let now = SystemTime::now();
        let batch = self.records.lease(&Destination("surrey".into()), limits, now).await.unwrap().unwrap();
        let accepted = crate::ledger::outcome::Outcome::Accepted { evidence: "named".into() };
        let outcomes = batch.items.iter().map(|item| (item.transfer, accepted.clone())).collect();
        self.records.settle(batch.attempt, outcomes, Default::default(), now).await.unwrap();
    }

    /// What is held is judged; the verdict of the newest conflict, and whether it still waits.
    async fn verdict(&self) -> (Option<Verdict>, bool) {
        self.judge.round(&mut HashMap::new()).await;
        let all = self.records.exceptions(false, ExceptionId(0), 0).await.unwrap();
        let last = all.into_iter().rfind(|exception| exception.kind == "conflict").unwrap();
        (last.verdict, last.closed.is_none())
    }

    async fn verify(&self) {
        let report = self.records.verify_ledger(Arc::default()).await.unwrap();
        assert!(report.is_sound(), "{report:#?}");
    }
}

fn changed(tag: u32, vr: Vr, bytes: &[u8]) -> Vec<Node> {
    let is = |node: &Node| matches!(node, Node::Value { tag: found, .. } if found.0 == tag);
    let change = |node: Node| if is(&node) { value(tag, vr, bytes) } else { node };
    instance().into_iter().map(change).collect()
}

/// IDY-020, with real bytes.
#[tokio::test]
async fn each_arrival_gets_its_verdict() {
    let rows = [
        (IMPLICIT_LE, encode(&instance(), IMPLICIT), Verdict::Same),
        (EXPLICIT_LE, encode(&changed(0x0010_0020, Vr::LO, b"4711  "), EXPLICIT), Verdict::Same),
        (EXPLICIT_LE, encode(&changed(0x0010_0020, Vr::LO, b"4712"), EXPLICIT), Verdict::Revision),
        (IMPLICIT_LE, encode(&changed(0x0010_0020, Vr::LO, b"4712"), IMPLICIT), Verdict::Revision),
        (EXPLICIT_LE, encode(&changed(0x0020_0013, Vr::IS, b"8 "), EXPLICIT), Verdict::OtherContent),
        (EXPLICIT_LE, encode(&changed(0x7FE0_0010, Vr::OW, &[0; 256]), EXPLICIT), Verdict::OtherPixels),
        (EXPLICIT_LE, encode(&changed(0x0020_000E, Vr::UI, b"1.2.3.9\0"), EXPLICIT), Verdict::OtherPlace),
        (
            EXPLICIT_LE,
            encode(&changed(0x0008_0016, Vr::UI, b"1.2.840.10008.5.1.4.1.1.4\0"), EXPLICIT),
            Verdict::OtherClass,
        ),
        // Native pixels in a syntax that has fragments: nobody says what they are.
        (HTJ2K_LOSSLESS, encode(&instance(), EXPLICIT), Verdict::Unknown),
    ];
    for (syntax, bytes, want) in rows {
        let site = Site::new();
        site.arrive(EXPLICIT_LE, &encode(&instance(), EXPLICIT)).await;
        assert!(matches!(site.arrive(syntax, &bytes).await, Kept::Differs { .. }), "{want:?}");
        assert_eq!(site.verdict().await, (Some(want), want != Verdict::Same));
        site.verify().await;
    }
}

/// Patients by NHS number: D8 and never D2.
#[tokio::test]
async fn another_patients_nhs_number_is_no_revision() {
    let site = Site::new();
    site.arrive(EXPLICIT_LE, &encode(&changed(0x0010_0020, Vr::LO, b"4505577104"), EXPLICIT)).await;
    site.arrive(EXPLICIT_LE, &encode(&changed(0x0010_0020, Vr::LO, b"6328797966"), EXPLICIT)).await;
    assert_eq!(site.verdict().await, (Some(Verdict::OtherPatient), true));
}

/// A third arrival is compared with each that was released, and a held one is nobody's measure.
#[tokio::test]
async fn what_is_held_is_no_measure_for_others() {
    let site = Site::new();
    let other = changed(0x0020_0013, Vr::IS, b"8 ");
    site.arrive(EXPLICIT_LE, &encode(&instance(), EXPLICIT)).await;
    site.arrive(EXPLICIT_LE, &encode(&other, EXPLICIT)).await;
    assert_eq!(site.verdict().await, (Some(Verdict::OtherContent), true));
    site.arrive(IMPLICIT_LE, &encode(&other, IMPLICIT)).await;
    assert_eq!(site.verdict().await, (Some(Verdict::OtherContent), true), "equal to what is held is held too");
    let waiting = site.records.exceptions(true, ExceptionId(0), 0).await.unwrap()[0].exception;
    let accept = crate::records::Resolution::Accept;
    site.records.resolve(waiting, accept, "jo", "corrected", SystemTime::now()).await.unwrap();
    // In another order of elements: other bytes, and the same content as the accepted one.
    let (first, rest) = other.split_first().unwrap();
    let turned: Vec<Node> = std::iter::once(first).chain(rest.iter().rev().skip(1)).cloned().collect();
    let turned = [&turned[..], &rest[rest.len() - 1..]].concat();
    site.arrive(EXPLICIT_LE, &encode(&turned, EXPLICIT)).await;
    assert_eq!(site.verdict().await, (Some(Verdict::Same), false));
    site.verify().await;
}

/// "The same instance again": the digests are kept before the bytes go, and judge what comes after.
#[tokio::test]
async fn what_was_purged_is_still_a_measure() {
    for (bytes, want) in [(instance(), Verdict::Same), (changed(0x0020_0013, Vr::IS, b"8 "), Verdict::OtherContent)] {
        let site = Site::new();
        let kept = site.arrive(EXPLICIT_LE, &encode(&instance(), EXPLICIT)).await;
        let Kept::Stored { instance: first } = kept else { panic!("{kept:?}") };
        site.deliver().await;
        assert_eq!(site.judge.keep(vec![first]).await.unwrap().kept, [first]);
        let purging = Purging::by_rule(PurgeRule::Age, SystemTime::now());
        let purged = site.records.condemn(vec![first], purging, SystemTime::now()).await.unwrap();
        site.store.free_all(purged.blobs.iter().map(|(_, place)| *place).collect()).await.1.unwrap();
        site.records.freed(purged.blobs.into_iter().map(|(blob, _)| blob).collect()).await.unwrap();
        site.arrive(IMPLICIT_LE, &encode(&bytes, IMPLICIT)).await;
        assert_eq!(site.verdict().await, (Some(want), want != Verdict::Same));
        site.verify().await;
    }
}

#[tokio::test]
async fn bytes_without_a_digest_are_unknown_and_bytes_that_cannot_be_read_stay() {
    let site = Site::new();
    let kept = site.arrive(EXPLICIT_LE, &encode(&instance(), EXPLICIT)).await;
    let Kept::Stored { instance: first } = kept else { panic!("{kept:?}") };
    site.deliver().await;
    // The file is gone from under it: no digest can be made, so nothing may be purged.
    let blobs = site.dir.path().join("blobs");
    for entry in std::fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "seg" || ending == "obj") {
            std::fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
        }
    }
    assert_eq!(site.judge.keep(vec![first]).await.unwrap().kept, []);
    site.records.corrupt_here(first, "cut", SystemTime::now()).await.unwrap();
    site.arrive(IMPLICIT_LE, &encode(&instance(), IMPLICIT)).await;
    assert_eq!(site.verdict().await, (Some(Verdict::Unknown), true));
    site.verify().await;
}

#[test]
fn the_profile_is_that_of_the_source() {
    let profile = profile(&Registry::default(), &Origin::Peer("surrey".into()));
    assert_eq!(profile.name(), "4");
}
