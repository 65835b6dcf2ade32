//! What an archive brings for a C-MOVE or C-GET, passed on while it brings the rest.

use crate::support::archive::{OddArchive, Prepared};
use crate::support::radiology::{ROOT, last};
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
