//! An archive behind a site: what it holds is found by peers and nodes, fetched once, byte for byte, and never mistaken for something else.

use crate::support::archive::{Behind, Dcmqrscp, OddArchive, Prepared};
use crate::support::certs::Identity;
use crate::support::dcmtk::storescu;
use crate::support::orthanc::Orthanc;
use crate::support::radiology::{ROOT, last, statuses};
use crate::support::two_sites::B_IDENTITY;
use serde_json::{Value, json};

const AVAILABILITY: &str = "00080056";
const INSTANCES: &str = "00201208";
const SERIES_INSTANCES: &str = "00201209";
/// What a node pushes would go to peer `a`.
const ROUTE: &str = "[[route]]\nname = \"everything to a\"\nto = [\"a\"]\n";

fn study(number: u32) -> String {
    format!("{ROOT}.{number}")
}

fn first<'a>(set: &'a Value, tag: &str) -> &'a Value {
    &set[tag]["Value"][0]
}

/// Each result with its availability and number of instances.
fn told(found: &[Value], count: &str) -> Vec<(String, u64)> {
    let mut told: Vec<(String, u64)> = found
        .iter()
        .map(|set| {
            let count = first(set, count);
            let number = count.as_u64().or_else(|| count.as_str().and_then(|text| text.parse().ok())).unwrap();
            (first(set, AVAILABILITY).as_str().unwrap().to_owned(), number)
        })
        .collect();
    told.sort();
    told
}

fn sender(title: &str) -> String {
    format!("[[node]]\nae_title = \"{title}\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n")
}

fn near(count: u64) -> (String, u64) {
    ("NEARLINE".to_owned(), count)
}

fn online(count: u64) -> (String, u64) {
    ("ONLINE".to_owned(), count)
}

/// A peer finds at every level what the archive holds, and gets it bit for bit; nothing of it is sent anywhere by a route.
fn is_found_and_fetched(site: &Behind) {
    assert_eq!(told(&site.found("studies?PatientID=P1"), INSTANCES), [near(2), near(3)]);
    assert_eq!(site.found("studies?PatientID=NOBODY"), Vec::<Value>::new());
    let one = study(1);
    assert_eq!(told(&site.found(&format!("studies/{one}/series")), SERIES_INSTANCES), [near(1), near(2)]);
    assert_eq!(site.found(&format!("studies/{one}/instances")).len(), 3);
    assert_eq!(site.found(&format!("studies/{one}/series/{one}.2/instances")).len(), 1);
    assert_eq!(site.site.holds(&one), 0, "to be asked is not to fetch");
    // A series first, then the rest of its study.
    let (status, came) = site.retrieve(&format!("studies/{one}/series/{one}.2")).unwrap();
    assert_eq!((status, came.len()), (200, 1));
    assert_eq!(told(&site.found(&format!("studies/{one}/series")), SERIES_INSTANCES), [near(2), online(1)]);
    let (status, came) = site.retrieve(&format!("studies/{one}")).unwrap();
    assert_eq!((status, came), (200, site.held(&one)));
    assert_eq!(told(&site.found("studies?AccessionNumber=A1"), INSTANCES), [online(3)]);
    // One instance of a study of which nothing is here.
    let instance = format!("studies/{}/series/{}.1/instances/{}.1.1", study(3), study(3), study(3));
    let (status, came) = site.retrieve(&instance).unwrap();
    assert_eq!((status, came), (200, site.held(&study(3))));
    assert_eq!(site.retrieve("studies/1.2.3.4.5").unwrap().0, 404);
    let source = site.site.study(&one);
    assert!(source.iter().all(|row| row["transfers"] == json!([])), "what is fetched fires no route: {source:?}");
    site.site.verify_ledger(true);
}

/// DIM-070, DIM-091: DCMTK's archive.
#[test]
fn what_dcmqrscp_holds_is_found_and_fetched() {
    let prepared = Prepared::new(2);
    let archive = Dcmqrscp::start(&prepared.stage.path().join("archive"), prepared.config.dicom_port);
    storescu(archive.port, "ARCHIVE", &["-xe"], &prepared.paths()).ok("the archive is filled");
    let mut site = prepared.start("ARCHIVE", archive.port, ROUTE);
    site.archived_in(&site.stage.path().join("archive/ARCHIVE"));
    is_found_and_fetched(&site);
}

/// DIM-070, DIM-091: Orthanc as archive.
#[test]
fn what_orthanc_holds_is_found_and_fetched() {
    let prepared = Prepared::new(2);
    let identity: Identity = prepared.stage.authority.issue(B_IDENTITY);
    let archive = Orthanc::start(&prepared.stage.path().join("orthanc"), &identity, "https://127.0.0.1:9/dicom-web");
    archive.put("/modalities/rtv", &json!(["RTV", "127.0.0.1", prepared.config.dicom_port]));
    storescu(archive.dicom_port, "ORTHANC", &["-xe"], &prepared.paths()).ok("the archive is filled");
    let port = archive.dicom_port;
    let mut site = prepared.start("ORTHANC", port, ROUTE);
    site.archived_in(&site.stage.path().join("orthanc/db"));
    archive.put("/modalities/wb", &json!(["WB_B", "127.0.0.1", site.site.config.dicom_port]));
    is_found_and_fetched(&site);
}

/// The files of a study as they are, but with another Patient ID of 12 characters.
pub fn numbered(files: &[Value], study: &str, number: &str) {
    for file in files.iter().filter(|file| file["study"] == study) {
        let path = file["path"].as_str().unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(10).position(|at| at == b"\x10\0\x20\0LO\x02\0P2").expect("its Patient ID");
        bytes.splice(at + 6..at + 10, [b"\x0c\0", number.as_bytes()].concat());
        std::fs::write(path, bytes).unwrap();
    }
}

/// IDY-042: an archive compares numbers as texts; an NHS number is found there in whatever form it holds it and is asked for it.
#[test]
fn an_nhs_number_is_found_in_an_archive_in_whatever_form() {
    let prepared = Prepared::new(1);
    numbered(&prepared.files, &study(3), "943 476 5919");
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let reader =
        "[[node]]\nae_title = \"READER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\"]\npatient_id = \"nhs\"\n";
    // The archive's numbers are NHS numbers, too.
    let site = prepared.start("ARCHIVE\"\npatient_id = \"nhs", port, reader);
    for asked in ["9434765919", "943%20476%205919", "943-476-5919"] {
        assert_eq!(told(&site.found(&format!("studies?PatientID={asked}")), INSTANCES), [near(1)], "{asked}");
        // A node that asks by C-FIND finds it likewise.
        let patient = asked.replace("%20", " ");
        let keys = json!({ "QueryRetrieveLevel": "STUDY", "PatientID": patient, "StudyInstanceUID": "" });
        let said = site.ask(&[json!({ "calling": "READER", "keys": keys })]).remove(0);
        let uids: Vec<&Value> = said["answers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| &answer["identifier"]["StudyInstanceUID"])
            .collect();
        assert_eq!(uids.iter().filter(|uid| **uid == &study(3)).count(), 1, "{patient}: {said}");
    }
    assert_eq!(site.found("studies?PatientID=9434765870"), Vec::<Value>::new());
}

/// "A silent site is visible": an archive that does not answer is told of, and its silence is never "there is nothing".
#[test]
fn a_silent_archive_is_never_an_empty_one() {
    let prepared = Prepared::new(1);
    let mut archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, &sender("SENDER"));
    site.push(&study(1));
    let find = json!({ "keys": { "QueryRetrieveLevel": "STUDY", "PatientID": "P1", "StudyInstanceUID": "" } });
    for how in [json!({ "find_delay": 20 }), json!({ "find_status": 0xA700 }), Value::Null] {
        if how.is_null() {
            archive.kill()
        } else {
            archive.behaves(&how)
        }
        let answer = site.search("studies?PatientID=P1");
        assert!(
            answer.status == 200 && answer.body.contains("archive of this site did not answer"),
            "{how}: {answer:?}"
        );
        assert_eq!(told(&site.found("studies?PatientID=P1"), INSTANCES), [online(3)], "{how}");
        assert_eq!(site.search("studies?PatientID=P2").status, 503, "{how}");
        assert_eq!(site.search(&format!("studies/{}/instances", study(3))).status, 503, "{how}");
        assert_eq!(site.retrieve(&format!("studies/{}", study(3))).unwrap().0, 503, "{how}");
        // What is here is given, and not as all (WEB-101); one instance is all of itself.
        let (status, came) = site.retrieve(&format!("studies/{}", study(1))).unwrap();
        assert_eq!((status, came), (206, site.held(&study(1))), "{how}");
        let head = site.search(&format!("studies/{}/metadata", study(1)));
        assert!(head.status == 206 && head.body.to_lowercase().contains("weybridge-incomplete: archive"), "{head:?}");
        let one = format!("studies/{0}/series/{0}.1/instances/{0}.1.1/metadata", study(1));
        assert_eq!(site.search(&one).status, 200, "{how}");
        let said = site.ask(std::slice::from_ref(&find));
        // What is here, the marker of a site that was not asked since it does not know the number, and the failure.
        assert_eq!(statuses(&said[0]), [0xFF00, 0xFF00, 0xA700], "{how}");
        assert!(last(&said[0])["comment"].as_str().unwrap().contains("ARCHIVE"));
    }
}

/// DIM-091: the archive says success without counts. What came counts: the answer breaks off when something did not, it is asked
/// for by name, and what is here is not asked for again.
#[test]
fn what_arrives_counts_and_not_what_the_archive_says() {
    let prepared = Prepared::new(12);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    let two = study(2);
    archive.behaves(&json!({ "hold_back": [format!("{two}.1.7")] }));
    assert_eq!(site.retrieve(&format!("studies/{two}")), None, "a body that lacks one has no end");
    assert_eq!(site.site.holds(&two), 11);
    let moves = archive.seen("move");
    assert!(moves.iter().all(|one| one["to"] == "RTV"));
    let levels: Vec<&str> = moves.iter().map(|one| one["keys"]["QueryRetrieveLevel"].as_str().unwrap()).collect();
    assert_eq!(levels, ["STUDY", "IMAGE"]);
    assert_eq!(moves[1]["keys"]["SOPInstanceUID"], format!("{two}.1.7"));
    assert_eq!(told(&site.found("studies?AccessionNumber=A2"), INSTANCES), [near(12)]);
    archive.behaves(&json!({}));
    assert_eq!(site.retrieve(&format!("studies/{two}")), Some((200, site.held(&two))));
    assert_eq!(archive.seen("store").len(), 12, "each instance was moved once");
    site.site.verify_ledger(true);
}

/// "Moves": what an archive moves without having been asked is not taken; what was asked for beside it is.
#[test]
fn an_archive_that_moves_another_study_is_refused_that() {
    let prepared = Prepared::new(1);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let other = prepared.files.iter().find(|file| file["study"] == study(3).as_str()).unwrap().to_string();
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    archive.behaves(&json!({ "besides": [other] }));
    assert_eq!(site.retrieve(&format!("studies/{}", study(2))), Some((200, site.held(&study(2)))));
    let refused: Vec<Value> = archive.seen("store").into_iter().filter(|one| one["status"] != 0).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["status"], 0x0124);
    assert_eq!(site.site.holds(&study(3)), 0);
}

/// "Freshness", "Moves": however many ask, the archive is asked to move once; each is given instances before the last has come.
#[test]
fn ten_who_ask_at_once_are_served_by_one_move() {
    let prepared = Prepared::new(12);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    archive.behaves(&json!({ "gap": 0.1 }));
    let (two, held) = (format!("studies/{}", study(2)), site.held(&study(2)));
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| site.retrieve(&two))).collect();
        for answer in asked {
            assert_eq!(answer.join().unwrap(), Some((200, held.clone())));
        }
    });
    assert_eq!((archive.seen("move").len(), archive.seen("store").len()), (1, 12));
}

/// A node's queries find what the archive holds, at every level; what was purged here comes back from it.
#[test]
fn what_left_the_spool_is_nearline_and_comes_back() {
    let prepared = Prepared::new(3);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let mine = prepared.paths().into_iter().filter(|path| path.to_str().unwrap().contains("/2-")).collect::<Vec<_>>();
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, &sender("DCMTK"));
    // Written anew on the way here: what comes back from the archive says the same in other bytes, and takes its place.
    storescu(site.site.config.dicom_port, "WB_B", &["-xe"], &mine).ok("a study of its own");
    let two = study(2);
    assert_eq!(told(&site.found("studies?AccessionNumber=A2"), INSTANCES), [online(3)]);
    site.site.cli(&["store", "drop", &two, "--reason", "test"]).ok("dropped");
    assert_eq!(told(&site.found("studies?AccessionNumber=A2"), INSTANCES), [near(3)]);
    let keys = |level: &str, more: Value| {
        let mut keys = json!({ "QueryRetrieveLevel": level, "InstanceAvailability": "", "StudyInstanceUID": two });
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "keys": keys })
    };
    let series = format!("{two}.1");
    let asked = [
        keys("STUDY", json!({ "NumberOfStudyRelatedInstances": "" })),
        keys("SERIES", json!({ "SeriesInstanceUID": "", "NumberOfSeriesRelatedInstances": "" })),
        keys("IMAGE", json!({ "SeriesInstanceUID": series, "SOPInstanceUID": "" })),
    ];
    for (said, count) in site.ask(&asked).iter().zip([1, 1, 3]) {
        let answers = said["answers"].as_array().unwrap();
        assert_eq!(answers.len(), count + 1, "{said}");
        for answer in &answers[..count] {
            assert_eq!(answer["identifier"]["InstanceAvailability"], "NEARLINE", "{said}");
            assert_eq!(answer["identifier"]["RetrieveAETitle"], "WB_B", "{said}");
        }
    }
    assert_eq!(site.retrieve(&format!("studies/{two}")), Some((200, site.held(&two))));
    assert_eq!(told(&site.found("studies?AccessionNumber=A2"), INSTANCES), [online(3)]);
    site.site.verify_ledger(true);
}

/// DIM-089, DIM-091: a node moves and gets what the archive holds; what the archive does not give has failed, by name, and a silent
/// archive is no empty one.
#[test]
fn a_node_is_given_what_the_archive_holds() {
    let prepared = Prepared::new(4);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    let (one, two) = (study(1), study(2));
    let of_study = |uid: &str| json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid });
    let moved = |keys: Value| json!({ "op": "move", "to": "OUT", "keys": keys });
    archive.behaves(&json!({ "hold_back": [format!("{two}.1.3")] }));
    let said = site.ask(&[moved(of_study(&two))]).remove(0);
    let end = last(&said);
    assert_eq!((&end["status"], &end["completed"], &end["failed"]), (&json!(0xB000), &json!(3), &json!(1)), "{said}");
    assert_eq!(end["identifier"]["FailedSOPInstanceUIDList"], format!("{two}.1.3"));
    archive.behaves(&json!({}));
    let image = json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": one, "SeriesInstanceUID": format!("{one}.1"),
        "SOPInstanceUID": format!("{one}.1.2") });
    let got = json!({ "op": "get", "keys": of_study(&study(3)), "classes": ["1.2.840.10008.5.1.4.1.1.4"] });
    let asked = [moved(of_study(&two)), moved(image), got];
    let ends: Vec<(Value, Value)> =
        site.ask(&asked).iter().map(|said| (last(said)["status"].clone(), last(said)["completed"].clone())).collect();
    let want = [(0, Some(4)), (0, Some(1)), (0, Some(1))].map(|(status, done)| (json!(status), json!(done)));
    assert_eq!(ends, want);
    let mut held = site.held(&two);
    held.extend(site.held(&one).into_iter().filter(|(uid, _)| *uid == format!("{one}.1.2")));
    assert_eq!(site.given(), held);
    assert_eq!(site.site.holds(&one), 1, "one image is fetched where one is asked for");
    archive.behaves(&json!({ "find_status": 0xA700 }));
    let ends = site.ask(&[
        moved(json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.3.4.6" })),
        moved(of_study(&two)),
    ]);
    assert_eq!([&last(&ends[0])["status"], &last(&ends[1])["status"]], [&json!(0xA702), &json!(0xB000)]);
    site.site.verify_ledger(true);
}

/// DIM-089: of what is here while the archive keeps silent nobody knows whether it is all: it is given, and the end is a warning. What is
/// named and here is all; what is named and not here, or was here once, has failed.
#[test]
fn what_a_silent_archive_may_hold_is_not_called_given() {
    let prepared = Prepared::new(4);
    let mut archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE", archive.port, &sender("SENDER"));
    let (one, two) = (study(1), study(2));
    site.push_of(&one, 2);
    site.push(&two);
    site.site.cli(&["store", "drop", &two, "--reason", "test"]).ok("dropped");
    site.push_of(&two, 3);
    archive.kill();
    let end = |mut asked: Value| {
        asked["to"] = json!("OUT");
        let said = site.ask(&[asked]).remove(0);
        let end = last(&said).clone();
        let list = end["identifier"]["FailedSOPInstanceUIDList"].as_str().unwrap_or_default().to_owned();
        (end["status"].clone(), [end["completed"].clone(), end["failed"].clone()], list, end["comment"].clone())
    };
    let of_study = |uid: &str| json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid });
    let images = |uids: &[u32]| {
        let uids: Vec<String> = uids.iter().map(|number| format!("{one}.1.{number}")).collect();
        json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": one, "SeriesInstanceUID": format!("{one}.1"),
            "SOPInstanceUID": uids.join("\\") })
    };
    let more = json!("archive ARCHIVE did not answer; there may be more");
    let counts = |completed: u64, failed: u64| [json!(completed), json!(failed)];
    let none = String::new;
    let moved = |keys: Value| end(json!({ "op": "move", "keys": keys }));
    assert_eq!(moved(of_study(&one)), (json!(0xB000), counts(2, 0), none(), more.clone()));
    let got = json!({ "op": "get", "keys": of_study(&one), "classes": ["1.2.840.10008.5.1.4.1.1.2"] });
    assert_eq!(end(got), (json!(0xB000), counts(2, 0), none(), more.clone()));
    assert_eq!(moved(of_study(&two)), (json!(0xB000), counts(3, 1), none(), more.clone()), "one was here once");
    assert_eq!(moved(images(&[1, 2])), (json!(0), counts(2, 0), none(), Value::Null));
    assert_eq!(moved(images(&[1, 9])), (json!(0xB000), counts(1, 1), format!("{one}.1.9"), more));
    site.site.verify_ledger(true);
}

/// DIM-080, DIM-089: in the Patient Root a study that only an archive holds is given as well, if it is the patient's.
#[test]
fn a_patients_study_that_only_an_archive_holds_is_given() {
    let prepared = Prepared::new(4);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE", archive.port, "");
    let end = |patient: &str, number: u32| {
        let keys = json!({ "QueryRetrieveLevel": "STUDY", "PatientID": patient, "StudyInstanceUID": study(number) });
        let said = site.ask(&[json!({ "op": "move", "model": "patient", "to": "OUT", "keys": keys })]).remove(0);
        let end = last(&said);
        (end["status"].as_u64().unwrap(), end["completed"].as_u64().unwrap())
    };
    assert_eq!(end("P1", 2), (0, 4));
    assert_eq!(site.given(), site.held(&study(2)));
    assert_eq!(end("P2", 1), (0, 0), "it is another patient's");
    assert_eq!(site.given().len(), 4);
    assert_eq!(end("P1", 1), (0, 3));
}

/// DIM-091, DIM-070: what two archives hold of a study is found, fetched and given, from each what the other lacks.
#[test]
fn two_archives_give_what_they_hold_together() {
    let prepared = Prepared::new(1);
    let one = study(1);
    let (ct, rest): (Vec<Value>, Vec<Value>) =
        prepared.files.iter().cloned().partition(|file| file["series"] == format!("{one}.1"));
    // The first of the CT lies in both.
    let rest: Vec<Value> = rest.into_iter().filter(|file| file["study"] == one).chain([ct[0].clone()]).collect();
    let pacs = OddArchive::start(&prepared, &ct);
    let vna = OddArchive::start_as("VNA", &prepared, &rest);
    let port = pacs.port;
    let second = format!(
        "[[node]]\nae_title = \"VNA\"\naddress = \"127.0.0.1:{}\"\nfrom_addresses = [\"127.0.0.0/8\"]\n\
         may = [\"store\"]\narchive = true\nretrieve_ae = \"RTV\"\nfetch_timeout = \"5s\"\n",
        vna.port
    );
    let site = prepared.start("ARCHIVE", port, &second);
    let found = site.found(&format!("studies?StudyInstanceUID={one}"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["00080061"]["Value"], json!(["CT", "OT"]), "{found:?}");
    assert_eq!(told(&site.found(&format!("studies/{one}/series")), SERIES_INSTANCES), [near(1), near(2)]);
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": one });
    let said = site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]).remove(0);
    let end = last(&said);
    assert_eq!((&end["status"], &end["completed"]), (&json!(0), &json!(3)), "{said}");
    assert_eq!(site.given(), site.held(&one));
    assert_eq!((pacs.seen("store").len(), vna.seen("store").len()), (2, 1), "nothing comes twice");
}

/// DIM-083: who asks hears from us within a second, however long an archive takes.
#[test]
fn who_moves_hears_from_us_before_an_archive_is_asked() {
    let prepared = Prepared::new(1);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE\"\nquery_timeout = \"15s", archive.port, "");
    archive.behaves(&json!({ "find_delay": 2 }));
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(2) });
    let said = site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]).remove(0);
    let first = &said["answers"][0];
    assert_eq!((&first["status"], &last(&said)["completed"]), (&json!(0xFF00), &json!(1)), "{said}");
    let times: Vec<f64> = said["times"].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
    assert!(times[0] + 2.0 < *times.last().unwrap(), "{said}");
}

/// DIM-086: a cancel ends the wait for an archive, and nothing is sent.
#[test]
fn a_cancel_ends_the_wait_for_an_archive() {
    let prepared = Prepared::new(1);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    archive.behaves(&json!({ "silent": true }));
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(2) });
    let said = site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys, "cancel": 1 })]).remove(0);
    let end = last(&said);
    assert_eq!((&end["status"], &end["remaining"]), (&json!(0xFE00), &json!(1)), "{said}");
    archive.behaves(&json!({}));
    assert_eq!(site.given().len(), 0);
}

/// "How a user names a destination": by hand, what only the archive holds is sent like what is here; what it does not give is told.
#[test]
fn what_an_archive_holds_is_sent_by_hand() {
    let prepared = Prepared::new(3);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    let send = |arguments: &[&str]| site.site.cli(&[&["send", "--to", "OUT"], arguments].concat());
    send(&["--accession", "A2", "--wait"]).ok("sent by accession number");
    assert_eq!(site.given(), site.held(&study(2)));
    let shown = send(&["--patient", "P1", "--dry-run"]).ok("shown");
    assert!(shown.contains("2 studies, 6 instances") && shown.contains("ARCHIVE"), "{shown}");
    archive.behaves(&json!({ "hold_back": [format!("{}.1.1", study(3))] }));
    let lacking = send(&["--study", &study(3)]);
    assert!(lacking.code != Some(0) && lacking.stderr.contains("1 instances that an archive holds"), "{lacking:?}");
    archive.behaves(&json!({ "find_status": 0xA700 }));
    let silent = send(&["--study", &study(3)]);
    assert!(silent.code != Some(0) && silent.stderr.contains("archive ARCHIVE did not answer"), "{silent:?}");
    let elsewhere = send(&["--study", &study(2), "--from", "OUT"]);
    assert!(elsewhere.stderr.contains("holds nothing of it that came from OUT"), "{elsewhere:?}");
    site.site.verify_ledger(true);
}

/// DIM-072: an archive that agrees to relational queries is asked once for the instances of a study, any other once for each series; what
/// is found and fetched is the same.
#[test]
fn an_archive_that_can_is_asked_once_for_all_instances_of_a_study() {
    let prepared = Prepared::new(1);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE", archive.port, "");
    let one = study(1);
    let asked = || archive.seen("find").iter().filter(|find| find["keys"]["QueryRetrieveLevel"] == "IMAGE").count();
    let search = || site.found(&format!("studies/{one}/instances"));
    let before = search();
    assert_eq!((asked(), before.len()), (2, 3), "once for each series");
    archive.behaves(&json!({ "relational": true }));
    assert_eq!((search(), asked()), (before, 3), "and now once");
    assert_eq!(site.retrieve(&format!("studies/{one}")), Some((200, site.held(&one))));
    assert_eq!(asked(), 4);
}

/// DIM-089: where an archive tells of an instance without its name, what is given is not called all.
#[test]
fn what_an_archive_lists_unreadably_is_told_of() {
    let prepared = Prepared::new(3);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let port = archive.port;
    let site = prepared.start("ARCHIVE", port, "");
    archive.behaves(&json!({ "nameless": [format!("{}.1.2", study(2))] }));
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(2) });
    let said = site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]).remove(0);
    let end = last(&said);
    assert_eq!(
        (&end["status"], &end["completed"]),
        (&json!(0xB000), &json!(3)),
        "the study came whole all the same: {said}"
    );
    assert_eq!(end["comment"], "archive ARCHIVE did not answer; there may be more");
}
