//! The janitor on real records and real blobs in a temporary directory.

mod asked;
mod catalogue;
mod compaction;
mod proof;
mod scrub;

use super::*;
use crate::dicom::canon::VERSION;
use crate::dicom::fired::note_fired;
use crate::dicom::head::{Attributes, Head};
use crate::dicom::uid::{InstanceUid, SeriesUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::ledger::outcome::Outcome;
use crate::peers::{Chosen, Destination, Origin, Priority, Verify};
use crate::records::{
    Arrival, AttemptSummary, BlobRef, InstanceId, Kept, LeaseLimits, RecordsOptions, ScrubPass, SourceFacts, Summary,
};
use crate::store::{Standing, StoreOptions};
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(86_400);

struct House {
    dir: TempDir,
    records: Records,
    store: Store,
    janitor: Janitor,
}

fn options() -> JanitorOptions {
    JanitorOptions {
        purge: true,
        keep_at_least: 3 * DAY,
        keep_at_most: 30 * DAY,
        keep_copies: DAY,
        room_bytes: Some(0),
        every: Duration::from_millis(10),
        scrub_every: 30 * DAY,
        scrub_bytes: 1 << 40,
        verify_every: None,
        last_known: None,
    }
}

impl House {
    async fn new(options: JanitorOptions) -> Self {
        Self::open(TempDir::new().unwrap(), options).await.0
    }

    async fn open(dir: TempDir, options: JanitorOptions) -> (Self, Vec<Place>) {
        Self::open_as(dir, options, Standing::Proven).await
    }

    async fn open_as(dir: TempDir, options: JanitorOptions, standing: Standing) -> (Self, Vec<Place>) {
        let (records, _) = Records::open(dir.path(), RecordsOptions::default()).unwrap();
        let live = records.all_places().await.unwrap();
        let settings = StoreOptions {
            reserve_bytes: Some(0),
            segment_bytes: 1 << 20,
            small_object_bytes: 100_000,
            ..StoreOptions::at(dir.path().join("blobs"))
        };
        let (store, recovered) = Store::open_for(settings, (standing, None), live).unwrap();
        let registry = tokio::sync::watch::Sender::default().subscribe();
        let judge = Judge::new(records.clone(), store.clone(), registry, DAY);
        let janitor = Janitor::new(records.clone(), store.clone(), judge, options);
        (Self { dir, records, store, janitor }, recovered.lost)
    }

    async fn restart(self, options: JanitorOptions) -> (Self, Vec<Place>) {
        let Self { dir, records, store, janitor } = self;
        drop(janitor);
        records.close().await;
        drop((records, store));
        Self::open(dir, options).await
    }

    /// Instance `n` of `length` bytes, received so long ago, and done at its destination if it has one.
    async fn keep(&self, n: u32, length: usize, ago: Duration, done: bool) -> InstanceId {
        let at = SystemTime::now() - ago;
        let place = self.write(n, length).await;
        let chosen = Chosen {
            destination: Destination("surrey".into()),
            route: "all".into(),
            mandatory: true,
            verify: Verify::Accepted,
            priority: Priority::Routine,
        };
        let head = Head {
            sop_class: SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
            sop_instance: InstanceUid::parse(&format!("1.2.3.{n}")).unwrap(),
            study: StudyUid::parse("1.2.3").unwrap(),
            series: SeriesUid::parse("1.2.3.4").unwrap(),
            transfer_syntax: syntax(),
            attributes: Attributes::default(),
        };
        let arrival = Arrival {
            origin: Origin::Operator("a test".into()),
            source: SourceFacts::default(),
            head,
            digest: Digest::of(&bytes(n, length)),
            length: length as u64,
            blob: BlobRef::New(place),
            chosen: vec![chosen],
            routes: None,
            requested: None,
            received_at: at,
            resend_after: DAY,
        };
        let recorded = self.records.record(arrival).await.unwrap();
        let (Kept::Stored { instance } | Kept::Same { instance, .. }) = recorded.kept else { panic!("{recorded:?}") };
        if done {
            self.deliver(at).await;
        }
        instance
    }

    async fn deliver(&self, at: SystemTime) {
        let to = Destination("surrey".into());
        let limits = LeaseLimits { instances: 100, bytes: 1 << 30, together: true };
        let batch = self.records.lease(&to, limits, at).await.unwrap().unwrap();
        let accepted = Outcome::Accepted { evidence: "named".into() };
        let outcomes = batch.items.iter().map(|item| (item.transfer, accepted.clone())).collect();
        self.records.settle(batch.attempt, outcomes, AttemptSummary::default(), at).await.unwrap();
    }

    async fn write(&self, n: u32, length: usize) -> Place {
        let mut receiving = self.store.receive().await.unwrap();
        receiving.write(&bytes(n, length)).await.unwrap();
        self.store.settle(receiving.finish(&syntax()).await.unwrap()).await.unwrap()
    }

    async fn place(&self, n: u32, length: usize) -> Option<Place> {
        self.records.blob_of(&Digest::of(&bytes(n, length))).await.unwrap().map(|(_, place)| place)
    }

    async fn is_whole(&self, n: u32, length: usize) -> bool {
        match self.place(n, length).await {
            Some(place) => self.store.verify(place, Digest::of(&bytes(n, length))).await.is_ok(),
            None => false,
        }
    }

    /// Flips a bit of a blob, behind the back of everybody.
    async fn flip(&self, n: u32, length: usize) {
        let place = self.place(n, length).await.unwrap();
        let name = format!("{:016x}.{}", place.file, if place.shared { "seg" } else { "obj" });
        let path = self.dir.path().join("blobs").join(name);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[!bytes(n, length)[10]], place.offset + 10).unwrap();
        file.sync_all().unwrap();
    }

    /// Puts another byte into the label of a blob, or this one; gives the one that stood there.
    fn swap_label(&self, place: Place, with: Option<u8>) -> u8 {
        // The label ends the last page.
        let at = (place.length + 256).next_multiple_of(4096) - 20;
        let name = format!("{:016x}.{}", place.file, if place.shared { "seg" } else { "obj" });
        let path = self.dir.path().join("blobs").join(name);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut was = [0];
        file.read_exact_at(&mut was, place.offset + at).unwrap();
        file.write_all_at(&[with.unwrap_or(!was[0])], place.offset + at).unwrap();
        file.sync_all().unwrap();
        was[0]
    }

    /// Writes the byte that was flipped as it was.
    fn mend(&self, n: u32, length: usize, place: Place) {
        let name = format!("{:016x}.{}", place.file, if place.shared { "seg" } else { "obj" });
        let path = self.dir.path().join("blobs").join(name);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&bytes(n, length)[10..11], place.offset + 10).unwrap();
        file.sync_all().unwrap();
    }

    async fn summary(&self) -> Summary {
        self.records.summary().await.unwrap()
    }

    async fn verify_ledger(&self) {
        let report = self.records.verify_ledger(Default::default()).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
    }

    fn segments(&self) -> usize {
        let names = std::fs::read_dir(self.dir.path().join("blobs")).unwrap();
        names.filter(|name| name.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "seg")).count()
    }
}

fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap()
}

fn bytes(n: u32, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u32).wrapping_mul(2_654_435_761).wrapping_add(n).to_le_bytes()[3] ^ n as u8).collect()
}

/// LED-030: room is made before nothing new is taken any more, however little was asked for.
#[test]
fn room_is_made_before_the_reserve_is_reached() {
    let rows = [
        (None, 1000, 20, 100),
        (None, 1000, 60, 120),
        (Some(300), 1000, 60, 300),
        (Some(60), 1000, 60, 120),
        (Some(1), 1000, 60, 120),
        (Some(0), 1000, 60, 0),
        (Some(1), 1000, u64::MAX, u64::MAX),
    ];
    for (asked, disk, reserve, want) in rows {
        assert_eq!(room_mark(asked, disk, reserve), want, "{asked:?} of {disk}, reserve {reserve}");
    }
}

/// LED-030: three days at least, thirty at most, and only what is done.
#[tokio::test]
async fn what_is_done_goes_by_age_and_sooner_for_room() {
    let house = House::new(options()).await;
    house.keep(1, 5000, 40 * DAY, true).await;
    house.keep(2, 200_000, 10 * DAY, true).await;
    house.keep(3, 5000, DAY, true).await;
    house.keep(4, 5000, 40 * DAY, false).await;
    let report = house.janitor.purge().await.unwrap();
    assert_eq!(report, PurgeReport { by_age: 1, bytes: 5000, ..Default::default() });
    assert!(house.place(1, 5000).await.is_none());
    assert_eq!(house.records.condemned().await.unwrap(), [], "freed, and noted");
    assert_eq!(house.janitor.purge().await.unwrap(), PurgeReport::default());

    let (house, _) = house.restart(JanitorOptions { room_bytes: Some(u64::MAX), ..options() }).await;
    let report = house.janitor.purge().await.unwrap();
    let want = PurgeReport { for_room: 1, bytes: 200_000, ..Default::default() };
    assert_eq!(report, want, "never what is younger than three days");
    assert!(house.is_whole(3, 5000).await && house.is_whole(4, 5000).await, "and never what is owed");
    // An arrival of what was purged is kept anew.
    house.keep(1, 5000, DAY, false).await;
    assert!(house.is_whole(1, 5000).await);
    house.verify_ledger().await;
}

/// "The same instance again": what comes later under the same UID is compared with what was kept of this; here, that nothing can be told.
#[tokio::test]
async fn what_goes_by_age_leaves_its_digests() {
    let house = House::new(options()).await;
    let instance = house.keep(1, 5000, 40 * DAY, true).await;
    assert_eq!(house.records.digests(instance, VERSION.into()).await.unwrap(), None);
    assert_eq!(house.janitor.purge().await.unwrap().by_age, 1);
    assert_eq!(house.records.digests(instance, VERSION.into()).await.unwrap(), Some(None));
    // Bytes that are damaged leave none, and stay: they are set aside, and no purge looks at them again.
    house.keep(2, 5000, 40 * DAY, true).await;
    house.flip(2, 5000).await;
    assert_eq!(house.janitor.purge().await.unwrap(), PurgeReport::default());
    assert_eq!(house.summary().await.exceptions["corrupt"], 1);
    let (due, _) = house.records.purgeable(SystemTime::now(), None, 0).await.unwrap();
    assert_eq!(due, []);
    house.verify_ledger().await;
}

/// FLT-012, REL-07: what is to be removed and is not labelled as itself is set aside once, in a segment and in a file of its own. Nothing is
/// deleted, an exception tells it, no round tries it again, and what lies beside it goes. With its label back it goes too.
#[tokio::test]
async fn what_cannot_be_freed_is_set_aside_once() {
    let house = House::new(JanitorOptions { scrub_every: Duration::ZERO, ..options() }).await;
    let sizes = [(1, 5000), (2, 200_000), (3, 5000)];
    let mut places = Vec::new();
    for (n, length) in sizes {
        house.keep(n, length, 40 * DAY, true).await;
        places.push(house.place(n, length).await.unwrap());
    }
    let ends: Vec<u8> = places[..2].iter().map(|place| house.swap_label(*place, None)).collect();
    assert_eq!(house.janitor.purge().await.unwrap().by_age, 3);
    assert_eq!(house.records.condemned().await.unwrap(), [], "none of them is tried again");
    assert_eq!(house.summary().await.exceptions["corrupt"], 2);
    assert_eq!(house.records.blob_counts().await.unwrap().corrupt, 2);
    assert_eq!(
        house.store.verify(places[0], Digest::of(&bytes(1, 5000))).await.map_err(drop),
        Ok(()),
        "it is still there"
    );
    let entries = house.summary().await.head.size;
    house.janitor.free_condemned().await.unwrap();
    assert_eq!(house.janitor.purge().await.unwrap(), PurgeReport::default());
    house.janitor.scrub_next().await.unwrap();
    assert_eq!(house.summary().await.head.size, entries + 1, "the end of the scrub, and nothing else");
    assert_eq!(
        house.records.blob_counts().await.unwrap().corrupt,
        2,
        "whole bytes without their label are not used again"
    );
    // The same bytes again end it, for the one; its label, for the other.
    house.keep(2, 200_000, DAY, false).await;
    assert_eq!(house.summary().await.exceptions["corrupt"], 1);
    house.swap_label(places[0], Some(ends[0]));
    house.janitor.scrub_next().await.unwrap();
    assert!(!house.summary().await.exceptions.contains_key("corrupt"));
    house.janitor.free_condemned().await.unwrap();
    assert_eq!(house.records.condemned().await.unwrap(), []);
    assert!(house.store.verify(places[0], Digest::of(&bytes(1, 5000))).await.is_err(), "it is gone");
    assert!(house.is_whole(2, 200_000).await);
    house.verify_ledger().await;
    note_fired(ends.len());
}

/// FLT-012: killed between the entry and the removal.
#[tokio::test]
async fn what_an_earlier_run_condemned_is_freed() {
    let house = House::new(options()).await;
    let small = house.keep(1, 5000, 40 * DAY, true).await;
    let large = house.keep(2, 200_000, 40 * DAY, true).await;
    house.keep(3, 5000, DAY, true).await;
    let purging = Purging::by("jo", "a test").unwrap();
    let condemned = house.records.condemn(vec![small, large], purging, SystemTime::now()).await.unwrap();
    assert_eq!(condemned.blobs.len(), 2);
    let (house, lost) = house.restart(options()).await;
    assert_eq!(lost, []);
    assert_eq!(house.records.condemned().await.unwrap().len(), 2);
    // One of them went before the kill.
    house.store.free(condemned.blobs[1].1).await.unwrap();
    house.janitor.free_condemned().await.unwrap();
    assert_eq!(house.records.condemned().await.unwrap(), []);
    for (_, place) in condemned.blobs {
        assert!(house.store.verify(place, Digest::of(b"")).await.is_err());
        note_fired(1);
    }
    assert!(house.is_whole(3, 5000).await);
    house.verify_ledger().await;
}

/// REL-07: the scrub finds a flipped bit, sets aside and does not delete; the same bytes heal it.
#[tokio::test]
async fn the_scrub_sets_damage_aside_and_the_same_bytes_heal_it() {
    let house = House::new(options()).await;
    for n in 1..=100 {
        house.keep(n, 5000, DAY, n % 2 == 0).await;
    }
    house.keep(101, 300_000, DAY, true).await;
    house.flip(7, 5000).await;
    house.flip(101, 300_000).await;
    house.janitor.scrub_next().await.unwrap();
    let pass = house.records.scrub_pass().await.unwrap().unwrap();
    assert!(pass.ended.is_some());
    assert_eq!((pass.blobs, pass.bytes, pass.damaged), (101, 100 * 5000 + 300_000, 2));
    assert_eq!(house.summary().await.exceptions["corrupt"], 2);
    assert_eq!(house.records.all_places().await.unwrap().len(), 101, "nothing was deleted");
    assert!(house.janitor.scrub_next().await.unwrap() > 29 * DAY, "the next pass comes when it is time");
    house.keep(7, 5000, Duration::ZERO, false).await;
    assert!(house.is_whole(7, 5000).await);
    assert_eq!(house.summary().await.exceptions["corrupt"], 1);
    house.verify_ledger().await;
}

#[tokio::test]
async fn a_scrub_goes_on_where_it_was_stopped() {
    let house = House::new(options()).await;
    for n in 1..=10 {
        house.keep(n, 5000, DAY, true).await;
    }
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let half = ScrubPass { after: BlobId(6), blobs: 6, bytes: 30_000, ..ScrubPass::begin(began) };
    house.records.note_scrub(half).await.unwrap();
    let (house, _) = house.restart(options()).await;
    house.janitor.scrub_next().await.unwrap();
    let pass = house.records.scrub_pass().await.unwrap().unwrap();
    assert_eq!((pass.began, pass.blobs, pass.bytes, pass.damaged), (began, 10, 50_000, 0));
}

/// REL-07: the rate is a bound.
#[tokio::test]
async fn a_scrub_is_no_faster_than_it_may_be() {
    let house = House::new(JanitorOptions { scrub_bytes: 200_000, ..options() }).await;
    for n in 1..=10 {
        house.keep(n, 5000, DAY, true).await;
    }
    let began = std::time::Instant::now();
    house.janitor.scrub_next().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(245), "50,000 bytes at 200,000 a second");
}

/// FLT-070: a clock that jumps ahead makes nothing old, also not where the gateway is started anew.
#[tokio::test]
async fn a_jump_of_the_clock_outlasts_a_restart() {
    let house = House::new(options()).await;
    house.keep(1, 5000, DAY, true).await;
    let jumped = Arc::new(AtomicBool::new(false));
    let year = 365 * DAY;
    let janitor = |last_known| {
        let jumped = Arc::clone(&jumped);
        let ahead = move || if jumped.load(Ordering::SeqCst) { year } else { Duration::ZERO };
        let clock = Clock::of(move || SystemTime::now() + ahead());
        let (records, store, judge) = (house.records.clone(), house.store.clone(), house.janitor.inner.judge.clone());
        Janitor::with_clock(clock, records, store, judge, JanitorOptions { last_known, ..options() })
    };
    let before = janitor(None);
    before.round().await;
    jumped.store(true, Ordering::SeqCst);
    before.round().await;
    assert!(house.is_whole(1, 5000).await);
    let after = janitor(Some(SystemTime::now() + year));
    after.recall_jump().await;
    after.round().await;
    assert!(house.is_whole(1, 5000).await, "what was entered meanwhile bears the time of the clock");
    // The run that saw it, and the one after.
    note_fired(2);
}

/// FLT-027: a blob whose file is gone is set aside as missing, the others are not touched.
#[tokio::test]
async fn missing_blobs_are_set_aside_at_the_start() {
    let house = House::new(options()).await;
    house.keep(1, 5000, DAY, false).await;
    house.keep(2, 500_000, DAY, false).await;
    let gone = house.place(2, 500_000).await.unwrap();
    std::fs::remove_file(house.dir.path().join("blobs").join(format!("{:016x}.obj", gone.file))).unwrap();
    let (house, lost) = house.restart(options()).await;
    assert_eq!(lost, [gone]);
    house.janitor.set_aside(lost).await;
    assert_eq!(house.summary().await.exceptions["corrupt"], 1);
    let exceptions = house.records.exceptions(true, crate::records::ExceptionId(0), 0).await.unwrap();
    assert!(exceptions[0].words.as_deref().unwrap().contains("does not hold the blob"), "{exceptions:?}");
    assert!(house.is_whole(1, 5000).await);
    house.verify_ledger().await;
    note_fired(1);
}

/// REL-07: the end of each reading looks once more at what is set aside; only what is whole is used again, and only if nothing
/// has healed it before.
#[tokio::test]
async fn the_scrub_takes_back_what_reads_whole_again() {
    let house = House::new(JanitorOptions { scrub_every: Duration::ZERO, ..options() }).await;
    let mut places = Vec::new();
    for n in 1..=3 {
        house.keep(n, 5000, DAY, false).await;
        places.push(house.place(n, 5000).await.unwrap());
        house.flip(n, 5000).await;
    }
    house.janitor.scrub_next().await.unwrap();
    assert_eq!(house.summary().await.exceptions["corrupt"], 3);
    house.keep(2, 5000, Duration::ZERO, false).await;
    for n in 1..=2 {
        house.mend(n, 5000, places[n as usize - 1]);
    }
    house.janitor.scrub_next().await.unwrap();
    assert_eq!(house.summary().await.exceptions["corrupt"], 1);
    assert_eq!(house.place(1, 5000).await.unwrap(), places[0], "where it was");
    assert_ne!(house.place(2, 5000).await.unwrap(), places[1], "where it arrived anew");
    assert!(house.place(3, 5000).await.is_none());
    assert!(house.is_whole(1, 5000).await && house.is_whole(2, 5000).await);
    house.deliver(SystemTime::now()).await;
    house.verify_ledger().await;
}

/// With records that are not these blobs' own nothing is purged, freed, moved or dropped: the newest find all when they are put back.
#[tokio::test]
async fn nothing_is_freed_while_the_records_are_doubted() {
    let house = House::new(options()).await;
    let length = 50_000;
    let (mut instances, mut places) = (Vec::new(), Vec::new());
    for n in 1..=40 {
        instances.push(house.keep(n, length, if n == 1 { DAY } else { 40 * DAY }, true).await);
        places.push(house.place(n, length).await.unwrap());
    }
    let purging = || Purging::by("jo", "a test").unwrap();
    house.records.condemn(instances[1..30].to_vec(), purging(), SystemTime::now()).await.unwrap();
    let House { dir, records, store, janitor } = house;
    records.close().await;
    drop((records, store, janitor));
    let (house, _) = House::open_as(dir, options(), Standing::Foreign).await;
    let before = house.records.all_places().await.unwrap();
    house.janitor.round().await;
    assert_eq!(house.janitor.purge().await.unwrap(), PurgeReport { is_paused: true, ..Default::default() });
    let asked = house.janitor.purge_for(Some(("jo", "full"))).await;
    assert!(matches!(asked, Err(JanitorError::Doubted)), "{asked:?}");
    let dropped = house.janitor.drop_bytes(vec![instances[0]], purging()).await;
    assert!(matches!(dropped, Err(JanitorError::Doubted)), "{dropped:?}");
    assert_eq!(house.records.all_places().await.unwrap(), before, "nothing is moved or purged");
    for (n, place) in (1..).zip(places) {
        house.store.verify(place, Digest::of(&bytes(n, length))).await.unwrap();
    }
    let House { dir, records, store, janitor } = house;
    records.close().await;
    drop((records, store, janitor));
    assert!(Store::accept(dir.path().join("blobs")).unwrap());
    let (house, _) = House::open(dir, options()).await;
    house.janitor.round().await;
    assert_eq!(house.records.condemned().await.unwrap(), []);
    assert_eq!(house.records.blob_counts().await.unwrap().live, 1, "it goes on");
    house.verify_ledger().await;
}
