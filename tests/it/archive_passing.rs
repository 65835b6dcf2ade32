//! A slow archive: what is here is told while it is asked, and what it brings for a C-MOVE or C-GET is passed on while it brings the rest.

use crate::support::archive::{OddArchive, Prepared};
use crate::support::radiology::{ROOT, last, last_time, statuses};
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};

/// DIM-083, DIM-089: what an archive brings is given instance by instance: the first is at the workstation, and counted, before the last has
/// left the archive.
#[test]
fn what_an_archive_brings_is_passed_on_as_it_comes() {
    // The archive says nothing until the first is seen to have arrived, which takes a busy machine long.
    let mut prepared = Prepared::new(3);
    prepared.patience = "60s";
    let archive = OddArchive::start(&prepared, &prepared.files);
    let site = prepared.start("ARCHIVE", archive.port, "");
    archive.behaves(&json!({ "at_most": 1 }));
    let two = format!("{ROOT}.2");
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": two });
    let counted = |said: &Value| -> Vec<(u64, u64)> {
        let answers = said["answers"].as_array().unwrap().iter().filter(|answer| answer["status"] == 0xFF00);
        answers.map(|one| (one["remaining"].as_u64().unwrap(), one["completed"].as_u64().unwrap())).collect()
    };
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]).remove(0));
        until(seconds(30), "the first is at the workstation", || (site.out.files().len() == 1).then_some(()));
        assert_eq!(
            (site.site.holds(&two), archive.seen("store").len() <= 1),
            (1, true),
            "the others have not left the archive"
        );
        archive.behaves(&json!({}));
        let said = asked.join().unwrap();
        let end = last(&said);
        assert_eq!((&end["status"], &end["completed"], &end["failed"]), (&json!(0), &json!(3), &json!(0)), "{said}");
        assert!(counted(&said).contains(&(2, 1)), "the first is counted while the others are to come: {said}");
    });
    assert_eq!(site.given(), site.held(&two), "each is given once");
    // By C-GET likewise: it is counted long before the end.
    site.site.cli(&["store", "drop", &two, "--reason", "test"]).ok("dropped");
    archive.behaves(&json!({ "gap": 2 }));
    let classes = ["1.2.840.10008.5.1.4.1.1.4"];
    let said = site.ask(&[json!({ "op": "get", "keys": keys, "classes": classes })]).remove(0);
    let first = counted(&said).iter().position(|(_, completed)| *completed == 1).expect("the first is counted");
    let times: Vec<f64> = said["times"].as_array().unwrap().iter().map(|time| time.as_f64().unwrap()).collect();
    assert_eq!((&last(&said)["status"], &last(&said)["completed"]), (&json!(0), &json!(3)), "{said}");
    assert!(times[first] + 1.0 < *times.last().unwrap(), "{said}");
    site.site.verify_ledger(true);
}

/// UIX-12, DIM-070: at every level the node has what is here, where an archive cannot change it, before the archive answers; how much there
/// is of a study waits for that. Each is told once.
#[test]
fn what_is_here_is_told_before_a_slow_archive_answers() {
    const SLOW: f64 = 4.0;
    let prepared = Prepared::new(3);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let sender = "[[node]]\nae_title = \"SENDER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n";
    let site = prepared.start("ARCHIVE\"\nquery_timeout = \"60s", archive.port, sender);
    let (one, two) = (format!("{ROOT}.1"), format!("{ROOT}.2"));
    let (series, image) = (format!("{two}.1"), |number: u32| format!("{two}.1.{number}"));
    site.push_of(&two, 2);
    archive.behaves(&json!({ "find_delay": SLOW }));
    let studies = json!({ "QueryRetrieveLevel": "STUDY", "PatientID": "P1", "StudyInstanceUID": "" });
    let mut counted = studies.clone();
    counted["NumberOfStudyRelatedInstances"] = json!("");
    counted["InstanceAvailability"] = json!("");
    let all_series = json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": two, "SeriesInstanceUID": "" });
    let images = json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": two, "SeriesInstanceUID": series,
        "SOPInstanceUID": "" });
    // What is asked for, its UID, and what is told before the archive answers and after.
    let rows = [
        (studies, "StudyInstanceUID", vec![two.clone()], vec![one.clone()]),
        (all_series, "SeriesInstanceUID", vec![series], vec![]),
        (images, "SOPInstanceUID", vec![image(1), image(2)], vec![image(3)]),
        (counted, "StudyInstanceUID", vec![], vec![one, two.clone()]),
    ];
    for (keys, unique, before, after) in rows {
        let said = site.ask(&[json!({ "keys": keys })]).remove(0);
        let answers: Vec<&Value> = said["answers"].as_array().unwrap().iter().collect();
        let at = |uid: &String| -> f64 {
            let at: Vec<usize> =
                (0..answers.len()).filter(|at| answers[*at]["identifier"][unique] == uid.as_str()).collect();
            assert_eq!(at.len(), 1, "{uid} is told once: {said}");
            said["times"][at[0]].as_f64().unwrap()
        };
        assert!(before.iter().all(|uid| at(uid) < SLOW), "{said}");
        assert!(after.iter().all(|uid| at(uid) >= SLOW) && last_time(&said) >= SLOW, "{said}");
        assert_eq!(last(&said)["status"], 0, "{said}");
        if keys["InstanceAvailability"].is_string() {
            let of_two = answers.iter().find(|answer| answer["identifier"][unique] == two.as_str()).unwrap();
            let told = &of_two["identifier"];
            let (count, where_it_is) = (&told["NumberOfStudyRelatedInstances"], &told["InstanceAvailability"]);
            assert_eq!((count, where_it_is), (&json!("3"), &json!("NEARLINE")), "{said}");
        }
    }
}

/// DIM-070, UIX-12: who lists by name what is here, as to see whether it arrived, has it without an archive being asked, be it silent or not.
/// Of what is listed and is not here, and of how much there is, the archive is asked.
#[test]
fn an_archive_is_not_asked_for_what_is_named_and_here() {
    let prepared = Prepared::new(3);
    let archive = OddArchive::start(&prepared, &prepared.files);
    let sender = "[[node]]\nae_title = \"SENDER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n";
    let site = prepared.start("ARCHIVE", archive.port, sender);
    let two = format!("{ROOT}.2");
    let (series, image) = (format!("{two}.1"), |number: u32| format!("{two}.1.{number}"));
    site.push_of(&two, 2);
    archive.behaves(&json!({ "find_status": 0xA700 }));
    let studies = |uids: String| json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uids });
    let all_series = json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": two, "SeriesInstanceUID": series });
    let images = |uids: String| json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": two, "SeriesInstanceUID": series, "SOPInstanceUID": uids });
    let mut counted = all_series.clone();
    counted["NumberOfSeriesRelatedInstances"] = json!("");
    let before = archive.seen("find").len();
    let here = [studies(two.clone()), all_series, images(image(2)), images(format!("{}\\{}", image(1), image(2)))];
    let requests = here.map(|keys| json!({ "keys": keys }));
    for (said, pending) in site.ask(&requests).iter().zip([1, 1, 1, 2]) {
        let mut want = vec![0xFF00; pending];
        want.push(0);
        assert_eq!(statuses(said), want, "{said}");
    }
    assert_eq!(archive.seen("find").len(), before, "nobody is asked");
    for keys in [images(format!("{}\\{}", image(1), image(3))), counted] {
        let said = site.ask(&[json!({ "keys": keys })]).remove(0);
        assert_eq!(statuses(&said), [0xFF00, 0xA700], "{said}");
    }
}
