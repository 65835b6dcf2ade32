//! C-MOVE and C-GET of what several hold: this site and another, two sites, an archive and a site. Who is silent or fails takes nothing
//! from what others give, and nothing is called whole that may not be.

use crate::support::archive::{OddArchive, Prepared};
use crate::support::config::SiteConfig;
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::holder::{Holder, Manner};
use crate::support::multipart;
use crate::support::neighbours::{self, identity};
use crate::support::pacs::{Association, Status};
use crate::support::radiology::{ROOT, is_dated, last};
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::web;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Site A with a workstation, a PACS and a node OUT, and two peers that are played.
struct Scene {
    a: Gateway,
    b: Holder,
    c: Holder,
    out: StoreScp,
    stage: Stage,
}

impl Scene {
    fn start(tables: &str) -> Self {
        let stage = Stage::new();
        let [b, c] = ["b", "c"].map(|name| Holder::start(&identity(&stage, name)));
        let out = StoreScp::start(&stage.path().join("out"), "OUT");
        let radiology = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n";
        let config = SiteConfig::new("a", stage.identity_of_a())
            .node("OUT", Some(out.port))
            .node("SENDER", None)
            .with(radiology)
            .peer("b", &b.url(), B_IDENTITY, "present")
            .peer("c", &c.url(), "c.weybridge.test", "present")
            .with(tables);
        let a = Gateway::start(&stage.path().join("a"), config);
        Self { a, b, c, out, stage }
    }

    fn ask(&self, request: Value) -> Value {
        neighbours::ask(self.stage.path(), &self.a, &[request]).remove(0)
    }

    /// Moves studies to OUT: status, completed and failed, and the comment.
    fn take(&self, stories: &[u64]) -> (u64, [u64; 2], String) {
        told(&self.ask(moved(stories)))
    }

    /// The PACS of A sends an instance of a study.
    fn push(&self, story: u64, n: u64) {
        let (names, data) = (names(story, 1, n), data(story, n));
        let mut pacs =
            Association::open(self.a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        assert_eq!(pacs.store(SECONDARY_CAPTURE, &names.instance, &data).unwrap(), Status::SUCCESS);
        pacs.release();
    }

    /// Site B sends A an instance of a study.
    fn push_as_b(&self, story: u64, n: u64) {
        let (_, file) = instance(story, n);
        let body = self.stage.path().join("b.body");
        std::fs::write(&body, multipart::body(&[file], true)).unwrap();
        let url = format!("{}/studies", self.a.config.url());
        let answer = web::store(&identity(&self.stage, "b"), &url, &multipart::content_type(), &body, &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn at_out(&self) -> BTreeMap<String, String> {
        self.out.digests()
    }
}

fn data(story: u64, n: u64) -> Vec<u8> {
    data_set(&names(story, 1, n), 4000, story * 100 + n)
}

fn instance(story: u64, n: u64) -> (Names, Vec<u8>) {
    let names = names(story, 1, n);
    let file = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data(story, n));
    (names, file)
}

/// Has a peer hold instances of a study; gives digests by UID.
fn hold(peer: &Holder, story: u64, instances: std::ops::RangeInclusive<u64>) -> BTreeMap<String, String> {
    let one = |n| {
        let (names, file) = instance(story, n);
        peer.hold(&names.study, &names.series, &file);
        (names.instance, digest(&data(story, n)))
    };
    instances.map(one).collect()
}

fn moved(stories: &[u64]) -> Value {
    let studies: Vec<String> = stories.iter().map(|story| names(*story, 1, 1).study).collect();
    json!({ "op": "move", "to": "OUT", "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": studies.join("\\") } })
}

fn told(said: &Value) -> (u64, [u64; 2], String) {
    let end = last(said);
    let number = |name: &str| end[name].as_u64().unwrap_or_default();
    (number("status"), [number("completed"), number("failed")], end["comment"].as_str().unwrap_or_default().into())
}

/// DIM-089, INV-17: what arrives here while another site is waited for is given too.
#[test]
fn what_arrives_while_other_sites_are_asked_is_given() {
    let scene = Scene::start("");
    scene.b.be_silent(true);
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| scene.take(&[700, 701]));
        until(seconds(60), "B is asked", || (scene.b.hushed() > 0).then_some(()));
        scene.push(701, 1);
        assert_eq!(taking.join().unwrap(), (0xB000, [1, 0], "b does not answer; there may be more".into()));
    });
    assert_eq!(scene.at_out(), BTreeMap::from([(names(701, 1, 1).instance, digest(&data(701, 1)))]));
    scene.a.verify_ledger(true);
}

/// The same of what one site lists while another is waited for: nobody waits for what is here by then.
#[test]
fn what_a_site_lists_and_somebody_sends_meanwhile_is_not_awaited() {
    let scene = Scene::start("");
    let all = hold(&scene.b, 702, 1..=2);
    scene.c.be_silent(true);
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| scene.take(&[702]));
        until(seconds(60), "C is asked", || (scene.c.hushed() > 0).then_some(()));
        scene.push(702, 1);
        scene.push(702, 2);
        assert_eq!(taking.join().unwrap(), (0xB000, [2, 0], "c does not answer; there may be more".into()));
    });
    assert_eq!(scene.at_out(), all);
    scene.c.be_silent(false);
    assert_eq!(scene.take(&[702]), (0, [2, 0], String::new()), "and no pull is left that keeps another from its end");
}

/// "A silent site is visible": a study of which a part came from our own nodes is not ours alone, and of one that a site once listed
/// more of the rest is missing.
#[test]
fn a_study_of_mixed_origin_is_not_called_whole_while_its_holder_is_silent() {
    let scene = Scene::start("");
    hold(&scene.b, 710, 1..=3);
    let of = names(710, 1, 1);
    let image = json!({ "op": "move", "to": "OUT", "keys": { "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": of.study,
        "SeriesInstanceUID": of.series, "SOPInstanceUID": "1.2.3" } });
    assert_eq!(told(&scene.ask(image)), (0, [0, 0], String::new()), "B has said how many it has");
    scene.push(710, 1);
    scene.push_as_b(710, 2);
    scene.b.be_silent(true);
    let (status, counts, comment) = scene.take(&[710]);
    assert_eq!((status, counts), (0xB000, [2, 1]), "{comment}");
    is_dated(&comment.into(), "b does not answer; 1 missing; last checked ");
    scene.b.be_silent(false);
    assert_eq!(scene.take(&[710]), (0, [3, 0], String::new()));
}

/// DIM-084, DIM-089: an instance that an archive does not give has not failed if another site gives it.
#[test]
fn what_an_archive_does_not_give_another_site_does() {
    let mut prepared = Prepared::new(2);
    let identity_of_a = prepared.stage.authority.issue(A_IDENTITY);
    let peer = Holder::start(&identity_of_a);
    prepared.config =
        SiteConfig::new("b", prepared.stage.authority.issue(B_IDENTITY)).peer("a", &peer.url(), A_IDENTITY, "present");
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    let study = format!("{ROOT}.2");
    let held: Vec<&Value> = site.files.iter().filter(|file| file["study"] == study).collect();
    let text = |file: &Value, name: &str| file[name].as_str().unwrap().to_owned();
    for file in &held {
        peer.hold(&study, &text(file, "series"), &std::fs::read(text(file, "path")).unwrap());
    }
    let names: Vec<String> = held.iter().map(|file| text(file, "sop_instance")).collect();
    archive.behaves(&json!({ "hold_back": names }));
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study });
    let said = site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]).remove(0);
    assert_eq!(told(&said), (0, [2, 0], String::new()), "{said}");
    assert_eq!(last(&said).get("identifier"), None);
    assert!(site.given().keys().eq(site.held(&study).keys()));
}

/// DIM-086: who waits for the lists of other sites is heard, and is not kept.
#[test]
fn a_cancel_ends_the_wait_for_other_sites() {
    let scene = Scene::start("");
    scene.b.be_silent(true);
    let mut request = moved(&[720, 721]);
    request["cancel"] = json!(1);
    let (status, counts, _) = told(&scene.ask(request));
    assert_eq!((status, counts), (0xFE00, [0, 0]));
}

/// DIM-083: the sites are asked for the studies of a list at once: a silent one costs its time once.
#[test]
fn a_silent_site_delays_a_list_of_studies_once() {
    let scene = Scene::start("");
    let files = hold(&scene.c, 735, 1..=1);
    scene.b.be_silent(true);
    let began = Instant::now();
    let (status, counts, _) = scene.take(&[730, 731, 732, 733, 734, 735]);
    // Each list may take two seconds to begin.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!((status, counts), (0xB000, [1, 0]));
    assert_eq!(scene.at_out(), files);
}

/// DIM-089: what a site that lists an instance does not give is taken from the next that does.
#[test]
fn what_one_site_does_not_give_the_next_does() {
    let scene = Scene::start("");
    let files = hold(&scene.b, 740, 1..=4);
    hold(&scene.c, 740, 1..=3);
    scene.b.then((0..20).map(|_| Manner::Refuse(404)));
    let (status, counts, _) = scene.take(&[740]);
    assert_eq!((status, counts), (0xB000, [3, 1]), "the fourth is at b alone");
    let want: BTreeMap<_, _> = files.into_iter().take(3).collect();
    assert_eq!(scene.at_out(), want);
    scene.a.verify_ledger(true);
}

/// FLT-083: a site that takes retrievals and gives nothing holds up those from itself, and no others.
#[test]
fn a_site_that_hangs_holds_up_no_other() {
    let scene = Scene::start("");
    let stories: Vec<u64> = (750..770).collect();
    for story in &stories {
        hold(&scene.b, *story, 1..=1);
    }
    let files = hold(&scene.c, 770, 1..=1);
    scene.b.then(stories.iter().map(|_| Manner::Told));
    let folder = scene.stage.path().join("hung");
    std::fs::create_dir_all(&folder).unwrap();
    std::thread::scope(|scope| {
        let hung = scope.spawn(|| neighbours::ask(&folder, &scene.a, &[moved(&stories)]));
        until(seconds(60), "B hangs", || (scene.b.asked().1.len() >= 4).then_some(()));
        let began = Instant::now();
        assert_eq!(scene.take(&[770]), (0, [1, 0], String::new()));
        // A pull that hangs is given up after two minutes.
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        assert_eq!(scene.at_out(), files);
        note_fired(scene.b.asked().1.len());
        scene.b.speak(stories.len());
        let said = hung.join().unwrap().remove(0);
        assert_eq!(told(&said).1, [20, 0], "{said}");
    });
}
