//! The disk is full within an instance, from its k-th call on: that instance is refused, nothing of it stays, receipt goes on, and once
//! there is room it is taken like any other (FLT-021, REL-06).

use crate::support::calls::{Call, Log, Plan, WRITE};
use crate::support::config::free_port;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::pacs::{Association, Status};
use crate::support::scripted_peer::ScriptedPeer;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::{multipart, store_answer, web};

/// Who sends by STOW-RS.
const C_IDENTITY: &str = "c.weybridge.test";
/// Small buffers, so that a large instance is many writes; and no reserve, so that it does not matter how much room there really is.
const SMALL: &str = "[store]\nreserve = \"0 B\"\nsegment = \"1 MiB\"\nsmall_object = \"256 KiB\"\nchunk = \"64 KiB\"\n\
                     buffers = \"4 MiB\"\n[courier]\nretry_first = \"100ms\"\nretry_longest = \"300ms\"";
/// What gives a file room ahead of its writes.
const RESERVE: &str = "fallocate";
/// A file of its own, which is given room more than once.
const LARGE: u32 = 6 << 20;
/// It lies in a segment.
const LITTLE: u32 = 8 << 10;

struct Item {
    names: Names,
    bytes: Vec<u8>,
}

/// An instance in a study of its own.
fn item(study: u64, pixel_bytes: u32) -> Item {
    let names = names(723, study, 1);
    Item { bytes: data_set(&names, pixel_bytes, study), names }
}

/// What is sent: a little one before, the large one at which the disk is full, and a little one after it.
fn items() -> [Item; 3] {
    [item(1, LITTLE), item(2, LARGE), item(3, LITTLE)]
}

/// A site that takes from a node and from a peer, and sends on to B. The files that large instances have of their own meet a full disk.
struct Site {
    a: Gateway,
    b: ScriptedPeer,
    log: Log,
    // After what runs in it.
    stage: Stage,
}

impl Site {
    /// The disk is full from the `nth` of these calls on; if there is none, it has room, and the calls are noted.
    fn start(nth: Option<usize>) -> Self {
        let stage = Stage::new();
        let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
        let nobody = format!("https://127.0.0.1:{}/dicom-web", free_port());
        let config = stage.site_a(&b.url()).peer("c", &nobody, C_IDENTITY, "present");
        let config = config.route("what c sends too", "b", "from = [\"c\"]").with(SMALL);
        let mut a = Gateway::prepare(&stage.path().join("a"), config);
        let log = Log::at(stage.path().join("calls"));
        let effect = if nth.is_some() { "FULL" } else { "NONE" };
        let calls = format!("{WRITE},{RESERVE}");
        let plan = Plan { effect, nth: nth.unwrap_or(0), calls, part: ".obj".to_owned() };
        let wrapper = plan.wrapper(&a.data_dir(), &log);
        a.up_through(wrapper);
        Self { a, b, log, stage }
    }

    fn associate(&self) -> Association {
        Association::open(self.a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap()
    }

    /// One STOW-RS request with these.
    fn stow(&self, items: &[&Item]) -> web::Answer {
        let file = |item: &&Item| part10(SECONDARY_CAPTURE, &item.names.instance, EXPLICIT_LE, &item.bytes);
        let parts: Vec<Vec<u8>> = items.iter().map(file).collect();
        let path = self.stage.path().join("body");
        std::fs::write(&path, multipart::body(&parts, true)).unwrap();
        let url = format!("{}/studies", self.a.config.url());
        web::store(&self.stage.authority.issue(C_IDENTITY), &url, &multipart::content_type(), &path, &[])
    }

    /// What was refused has left nothing: no file, no blob, no record; and the gateway has not stopped for it.
    fn nothing_stays_of(&self, refused: &Item) {
        let folder = self.a.data_dir().join("blobs");
        let own = || {
            let files = std::fs::read_dir(&folder).unwrap().flatten();
            files.filter(|file| file.file_name().to_string_lossy().ends_with(".obj")).count()
        };
        until(seconds(30), "the unfinished file goes", || (own() == 0).then_some(()));
        assert_eq!(self.a.holds(&refused.names.study), 0, "nothing is known of it");
        assert_eq!(self.a.ask(&["store", "status", "--json"])[0]["blobs"], 2, "the little ones are there");
        assert!(self.a.ask(&["status", "--json"])[0]["poisoned"].is_null(), "a full disk is no failure");
    }

    /// All of them have come to B, once and whole, and here all is sound; how often the fault fired.
    fn ends_well(&self, all: &[Item]) -> usize {
        self.a.all_become("b", "verified", all.len() as u64, seconds(60));
        for one in all {
            assert_eq!(self.b.digest_of(&one.names.instance), Some(digest(&one.bytes)), "{} at B", one.names.instance);
        }
        let arrivals = self.b.arrivals();
        assert!(arrivals.len() == all.len() && arrivals.values().all(|times| *times == 1), "{arrivals:?}");
        self.a.verify_ledger(true);
        self.a.cli(&["store", "verify"]).ok("store verify");
        self.log.times_fired()
    }
}

/// The calls within a large instance at which the disk is to be full: its second write, where its file is given more room, and its last write.
fn places() -> [usize; 3] {
    let site = Site::start(None);
    let mut association = site.associate();
    let Item { names, bytes } = item(2, LARGE);
    assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
    association.release();
    let calls: Vec<Call> = site.log.calls();
    let of = |kind: &str| -> Vec<usize> { (1..=calls.len()).filter(|nth| calls[nth - 1].is_of(kind)).collect() };
    let (writes, reserves) = (of(WRITE), of(RESERVE));
    assert!(writes.len() > 10 && reserves.len() > 1, "{calls:?}");
    [writes[1], reserves[1], writes[writes.len() - 1]]
}

#[test]
fn a_disk_that_is_full_within_an_instance_refuses_that_one_and_takes_the_next() {
    let mut fired = 0;
    for nth in places() {
        let (site, all) = (Site::start(Some(nth)), items());
        let [before, large, after] = &all;
        let mut association = site.associate();
        let mut store = |one: &Item| association.store(SECONDARY_CAPTURE, &one.names.instance, &one.bytes).unwrap();
        assert_eq!(store(before), Status::SUCCESS);
        for time in 1..=2 {
            let status = store(large);
            assert_eq!(status.0 & 0xFF00, 0xA700, "call {nth}, time {time}: {status:04x?}");
        }
        assert_eq!(store(after), Status::SUCCESS, "call {nth}: receipt goes on, on the same association");
        site.nothing_stays_of(large);
        site.log.make_room();
        assert_eq!(store(large), Status::SUCCESS, "call {nth}: there is room");
        association.release();
        fired += site.ends_well(&all);
    }
    note_fired(fired);
}

#[test]
fn a_disk_that_is_full_within_a_part_refuses_that_one_and_takes_the_others() {
    let mut fired = 0;
    for nth in places() {
        let (site, all) = (Site::start(Some(nth)), items());
        let [before, large, after] = &all;
        assert_eq!(site.stow(&[before]).status, 200);
        let alone = site.stow(&[large]);
        assert_eq!(alone.status, 503, "call {nth}: {alone:?}");
        let together = site.stow(&[large, after]);
        assert_eq!(together.status, 202, "call {nth}: {together:?}");
        let named = store_answer::read(&together.body);
        let reason = |of: &Item| named.iter().find(|one| one.instance == of.names.instance).map(|one| one.reason);
        assert_eq!((reason(large), reason(after)), (Some(Some(0xA700)), Some(None)), "call {nth}: {together:?}");
        site.nothing_stays_of(large);
        site.log.make_room();
        let again = site.stow(&[large]);
        assert_eq!(again.status, 200, "call {nth}: there is room: {again:?}");
        fired += site.ends_well(&all);
    }
    note_fired(fired);
}
