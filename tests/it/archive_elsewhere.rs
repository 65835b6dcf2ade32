//! A site whose archive is silent, as another site sees it: what its spool holds is shown and given, and never as all that there is.

use crate::archive::numbered;
use crate::support::archive::{Behind, OddArchive, Prepared, Qrscp};
use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::{StoreScp, storescu};
use crate::support::gateway::Gateway;
use crate::support::radiology::{ROOT, is_dated, last, last_time};
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY};
use crate::support::wait::{seconds, until};
use crate::support::{multipart, neighbours, web};
use crate::viewer::TOKEN;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SENDER: &str = "[[node]]\nae_title = \"SENDER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n";

/// Site B with an archive behind it, and site A, whose workstation asks for what B has.
struct Scene {
    a: Gateway,
    b: Behind,
    archive: OddArchive,
    out: StoreScp,
}

impl Scene {
    /// The archive's second study has four instances.
    fn start() -> Self {
        let prepared = Prepared::new(4);
        let archive = OddArchive::start(&prepared, &prepared.files);
        let b = prepared.start("ARCHIVE", archive.port, SENDER);
        let out = StoreScp::start(&b.stage.path().join("out-a"), "OUT");
        let radiology = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n";
        let config = SiteConfig::new("a", b.stage.identity_of_a())
            .node("OUT", Some(out.port))
            .with(radiology)
            .peer("b", &b.site.config.url(), B_IDENTITY, "present")
            .route("all to b", "b", "");
        let a = Gateway::start(&b.stage.path().join("a"), config);
        Self { a, b, archive, out }
    }

    fn ask(&self, request: Value) -> Value {
        neighbours::ask(self.b.stage.path(), &self.a, &[request]).remove(0)
    }

    /// Moves a study at A, or a series of it: status, completed and failed, and the comment.
    fn take(&self, keys: Value) -> (u64, [u64; 2], String) {
        let said = self.ask(json!({ "op": "move", "to": "OUT", "keys": keys }));
        let end = last(&said);
        let number = |name: &str| end[name].as_u64().unwrap_or_default();
        (number("status"), [number("completed"), number("failed")], end["comment"].as_str().unwrap_or_default().into())
    }
}

fn study(number: u32) -> String {
    format!("{ROOT}.{number}")
}

fn of_study(number: u32) -> Value {
    json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(number) })
}

/// "A silent site is visible", UIX-12: of a site whose archive is silent A shows what it shows, and that there may be more; what it
/// lists is given, and what it does not list is not taken for gone.
#[test]
fn a_peers_partial_answer_is_not_taken_for_the_whole() {
    let mut scene = Scene::start();
    assert_eq!(scene.take(of_study(2)), (0, [4, 0], String::new()));
    scene.b.push_of(&study(1), 2);
    scene.b.push_of(&study(2), 1);
    scene.archive.kill();
    // The service says so to programs, not only to people.
    let answer = scene.b.search(&format!("studies?StudyInstanceUID={}", study(1)));
    assert!(answer.body.to_lowercase().contains("weybridge-incomplete: archive"), "{answer:?}");
    let series = json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study(1), "SeriesInstanceUID": "" });
    for keys in [of_study(1), series] {
        let said = scene.ask(json!({ "keys": keys }));
        let answers = said["answers"].as_array().unwrap();
        assert_eq!(answers.len(), 2, "what it shows, and then that it may be more: {said}");
        assert_eq!(answers[1]["status"], 0xC001, "{said}");
        assert_eq!(answers[1]["comment"], "B NOT ANSWERING", "{said}");
    }
    // All of it is here: that the spool of B lists one alone takes none away.
    let (status, counts, comment) = scene.take(of_study(2));
    assert_eq!((status, counts), (0, [4, 0]));
    is_dated(&json!(comment), "an archive of b does not answer; given as of ");
    assert_eq!(scene.out.files().len(), 4);
    // What the spool of B holds is given, and not as all.
    let more = "an archive of b does not answer; there may be more";
    assert_eq!(scene.take(of_study(1)), (0xB000, [2, 0], more.to_owned()));
    assert_eq!(scene.out.files().len(), 6);
}

/// "Freshness": an archive that keeps silent for longer than A waits for the list leaves the spool of its site to be had, at once the first
/// time and each further time.
#[test]
fn a_spool_is_to_be_had_while_its_archive_hangs() {
    let scene = Scene::start();
    scene.b.push_of(&study(1), 2);
    scene.b.push_of(&study(2), 4);
    scene.archive.behaves(&json!({ "find_delay": 20 }));
    let more = (0xB000, [2, 0], "an archive of b does not answer; there may be more".to_owned());
    // A busy machine may take longer over the first list than A waits.
    until(seconds(60), "the spool is given", || (scene.take(of_study(1)) == more).then_some(()));
    // B remembers that it is silent, once somebody has waited for as long as it may take.
    let search = || {
        let began = Instant::now();
        assert_eq!(scene.b.search(&format!("studies?StudyInstanceUID={}", study(1))).status, 200);
        began.elapsed()
    };
    search();
    assert!(search() < Duration::from_millis(2900));
    assert_eq!(scene.take(of_study(2)).1, [4, 0]);
    // Its return is noticed.
    scene.archive.behaves(&json!({}));
    until(seconds(30), "the archive is asked again", || (scene.take(of_study(1)).0 == 0).then_some(()));
}

/// "A silent site is visible": of a list of studies that is longer than other sites are asked for, the rest is not called absent.
#[test]
fn a_list_of_studies_that_is_too_long_is_no_answer() {
    let scene = Scene::start();
    let unknown: Vec<String> = (1..=11).map(|n| format!("2.25.99.{n}")).collect();
    let find = |studies: &[String]| json!({ "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": studies.join("\\") } });
    let said = scene.ask(find(&unknown));
    assert_eq!(last(&said)["status"], 0xC001, "{said}");
    assert_eq!(last(&said)["comment"], "1 studies not asked for elsewhere; name 10 at most");
    let said = scene.ask(find(&unknown[..10]));
    assert_eq!((&last(&said)["status"], last(&said).get("comment")), (&json!(0), None), "{said}");
}

/// DIM-070: of a study that another site sent first, an archive may hold more than that: a workstation and a viewer are told so.
#[test]
fn what_an_archive_has_beyond_another_sites_copy_is_told() {
    let mut prepared = Prepared::new(4);
    let archive = OddArchive::start(&prepared, &prepared.files);
    // Both sites have the numbers of one trust.
    prepared.config = prepared.config.with("issuer = \"ZZ001\"");
    let (token, port) = (prepared.stage.path().join("viewer.token"), free_port());
    std::fs::write(&token, TOKEN).unwrap();
    let viewer = format!(
        "[[node]]\nae_title = \"VIEWER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\"]\nforeign = \"as_is\"\n\
         [viewer]\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"{}\"\nnode = \"VIEWER\"\n",
        token.display()
    );
    let b = prepared.start("ARCHIVE", archive.port, &viewer);
    let of_two = b.files.iter().find(|file| file["study"] == study(2)).unwrap();
    let file = std::fs::read(of_two["path"].as_str().unwrap()).unwrap();
    let body = b.stage.path().join("copy.body");
    std::fs::write(&body, multipart::body(&[file], true)).unwrap();
    let a = b.stage.authority.issue(A_IDENTITY);
    let url = format!("{}/studies", b.site.config.url());
    assert_eq!(web::store(&a, &url, &multipart::content_type(), &body, &[]).status, 200);
    let said = neighbours::ask(b.stage.path(), &b.site, &[neighbours::priors_of("P1")]).remove(0);
    let row = |n: u32, id: &str, count: &str| (study(n), id.to_owned(), "NEARLINE".to_owned(), count.to_owned());
    assert_eq!(neighbours::studies(&said), [row(1, "P1", "3"), row(2, "ZZ001:P1", "4")], "{said}");
    let url = format!("http://127.0.0.1:{port}/dicom-web/studies?PatientID=P1");
    let answer = web::request(None, &a.trust, &url, &["--header", &format!("Authorization: Bearer {TOKEN}")]);
    let sets: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
    let two = sets.iter().find(|set| set["0020000D"]["Value"][0] == study(2)).unwrap();
    let told = ["00080056", "00201208"].map(|tag| two[tag]["Value"][0].clone());
    assert_eq!(told, [json!("NEARLINE"), json!(4)], "{two}");
}

/// DIM-091: an archive that answers each series once for each of its instances, and tells no counts, holds no more for that.
#[test]
fn an_archive_that_repeats_itself_holds_no_more() {
    let scene = Scene::start();
    scene.archive.behaves(&json!({ "repeats": true, "uncounted": true }));
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(2), "NumberOfStudyRelatedSeries": "",
        "NumberOfStudyRelatedInstances": "" });
    let found = neighbours::identifiers(&scene.ask(json!({ "keys": keys })));
    let told: Vec<_> =
        found.iter().map(|set| (&set["NumberOfStudyRelatedSeries"], &set["NumberOfStudyRelatedInstances"])).collect();
    assert_eq!(told, [(&json!("1"), &json!("4"))]);
    let keys = json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study(2), "SeriesInstanceUID": "",
        "NumberOfSeriesRelatedInstances": "" });
    let found = neighbours::identifiers(&scene.ask(json!({ "keys": keys })));
    let told: Vec<_> = found.iter().map(|set| &set["NumberOfSeriesRelatedInstances"]).collect();
    assert_eq!(told, [&json!("4")]);
    assert_eq!(scene.take(of_study(2)), (0, [4, 0], String::new()));
}

/// DIM-070, DIM-091: the same of a real one, pynetdicom's.
#[test]
fn what_qrscp_holds_is_counted_once_and_fetched() {
    let prepared = Prepared::new(6);
    let archive = Qrscp::start(&prepared.stage.path().join("qrscp"), prepared.config.dicom_port);
    storescu(archive.port, "ARCHIVE", &["-xe"], &prepared.paths()).ok("the archive is filled");
    let site = prepared.start("ARCHIVE", archive.port, "");
    let keys = |level: &str, more: &str, count: &str| {
        let mut keys = json!({ "QueryRetrieveLevel": level, "StudyInstanceUID": study(2) });
        (keys[more], keys[count]) = (json!(""), json!(""));
        json!({ "keys": keys })
    };
    let counts = ["NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"];
    let said = site.ask(&[
        keys("STUDY", "PatientID", counts[0]),
        keys("SERIES", "SeriesInstanceUID", counts[1]),
        json!({ "op": "move", "to": "OUT", "keys": of_study(2) }),
    ]);
    for (said, count) in said.iter().zip(counts) {
        let told: Vec<_> = neighbours::identifiers(said).iter().map(|set| set[count].clone()).collect();
        assert_eq!(told, [json!("6")], "{said}");
    }
    let end = last(&said[2]);
    assert_eq!((&end["status"], &end["completed"], &end["failed"]), (&json!(0), &json!(6), &json!(0)), "{end}");
    assert!(site.given().keys().eq(site.held(&study(2)).keys()));
}

/// DIM-083: a list of studies takes as long as one where an archive hangs, and not as many times as long.
#[test]
fn a_hanging_archive_is_waited_for_once_in_a_list_of_studies() {
    let prepared = Prepared::new(1);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE", archive.port, "");
    archive.behaves(&json!({ "find_delay": 20 }));
    let unknown: Vec<String> = (1..=4).map(|n| format!("2.25.98.{n}")).collect();
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": unknown.join("\\") });
    let said = site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]).remove(0);
    assert_eq!(last(&said)["status"], 0xA702, "{said}");
    // Five times the 3 s of a query for the first, half a second for each of the others.
    assert!(last_time(&said) < 35.0, "{said}");
}

/// UIX-12: what an archive does not say of a study is looked up below it; what it says unreadably is told of. Neither is taken for nothing.
#[test]
fn what_an_archive_does_not_say_is_not_taken_for_nothing() {
    let prepared = Prepared::new(3);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE", archive.port, "");
    archive.behaves(&json!({ "unsaid": ["ModalitiesInStudy"], "nameless": [format!("{}.1.2", study(2))] }));
    let mut studies = neighbours::priors_of("P1");
    studies["keys"]["ModalitiesInStudy"] = json!("MR");
    let images = json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": study(2),
        "SeriesInstanceUID": format!("{}.1", study(2)), "SOPInstanceUID": "" });
    let said = site.ask(&[studies, json!({ "keys": images })]);
    let row = (study(2), "P1".to_owned(), "NEARLINE".to_owned(), "3".to_owned());
    assert_eq!((neighbours::studies(&said[0]), &last(&said[0])["status"]), (vec![row], &json!(0)), "{}", said[0]);
    let end = last(&said[1]);
    assert_eq!((neighbours::identifiers(&said[1]).len(), &end["status"]), (2, &json!(0xA700)), "{}", said[1]);
    assert_eq!(end["comment"], "archive ARCHIVE did not answer; there may be more");
}

/// DIM-066, DIM-068: an archive is asked as the standard has it, whatever a workstation asks: it is sent no list of modalities, which it would
/// take for the name of one, and letters in its own character set.
#[test]
fn an_archive_is_asked_in_words_that_it_knows() {
    let prepared = Prepared::new(3);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE", archive.port, "");
    let mut listed = neighbours::priors_of("P1");
    listed["keys"]["ModalitiesInStudy"] = json!("MR\\US");
    let mut named = neighbours::priors_of("");
    named["keys"]["SpecificCharacterSet"] = json!("ISO_IR 192");
    named["keys"]["PatientName"] = json!("Müller*");
    let said = site.ask(&[listed, named]);
    let row = |number: u32| (study(number), "P1".to_owned(), "NEARLINE".to_owned(), "3".to_owned());
    assert_eq!((neighbours::studies(&said[0]), &last(&said[0])["status"]), (vec![row(2)], &json!(0)), "{}", said[0]);
    assert_eq!(neighbours::studies(&said[1]), [row(1), row(2)], "{}", said[1]);
    let asked = archive.seen("find").pop().unwrap()["keys"].clone();
    assert_eq!([&asked["PatientName"], &asked["SpecificCharacterSet"]], ["Müller*", "ISO_IR 100"], "{asked}");
}

/// IDY-042, DIM-060: in the Patient Root a series at an archive is found by an NHS number in whatever form the archive holds it, and by no
/// other number.
#[test]
fn a_series_at_an_archive_is_found_by_an_nhs_number_in_whatever_form() {
    let prepared = Prepared::new(1);
    numbered(&prepared.files, &study(3), "943 476 5919");
    let archive = OddArchive::start(&prepared, &prepared.files);
    let reader =
        "[[node]]\nae_title = \"READER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\"]\npatient_id = \"nhs\"\n";
    let site = prepared.start("ARCHIVE\"\npatient_id = \"nhs", archive.port, reader);
    for (patient, want) in [("9434765919", 1), ("943-476-5919", 1), ("9434765870", 0)] {
        let keys = json!({ "QueryRetrieveLevel": "SERIES", "PatientID": patient, "StudyInstanceUID": study(3),
            "SeriesInstanceUID": "" });
        let said = site.ask(&[json!({ "calling": "READER", "model": "patient", "keys": keys })]).remove(0);
        assert_eq!(neighbours::identifiers(&said).len(), want, "{patient}: {said}");
    }
}
