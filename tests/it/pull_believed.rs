//! What a site lists is believed as far as its own words go: a list that is cut short, a service that is not there, a study that it files
//! under another patient by now, and a number that two of its people have.

use crate::pull_scripted::{PRIORS, Scene, counts, digests, instance, study};
use crate::support::dcmtk::StoreScp;
use crate::support::holder::Manner;
use crate::support::neighbours::{priors_of, studies};
use crate::support::process::finish;
use crate::support::tools::tool;
use crate::support::wait::seconds;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// The number in the objects, and the one under which their site files them later.
const BEFORE: &str = "T0000001";
pub const AFTER: &str = "T0000002";

/// The site holds so many instances of a study under a number.
fn filed(scene: &Scene, story: u64, count: u64, number: &str) {
    scene.hold(story, count);
    scene.b.files(&study(story), number, "");
}

fn find(scene: &Scene, number: &str) -> Vec<(String, String, String, String)> {
    studies(&scene.ask(&[priors_of(number)])[0])
}

fn row(story: u64, number: &str, available: &str, instances: u64) -> (String, String, String, String) {
    (study(story), number.to_owned(), available.to_owned(), instances.to_string())
}

/// The files of a study, corrected: the same UIDs, another number. Their site files them under this number of an issuer.
pub fn correct(scene: &Scene, story: u64, count: u64, (number, issuer): (&str, &str)) {
    for (names, mut file) in (1..=count).map(|n| instance(story, n)) {
        let at = memchr::memmem::find(&file, BEFORE.as_bytes()).unwrap();
        file[at..at + AFTER.len()].copy_from_slice(AFTER.as_bytes());
        scene.b.hold(&names.study, &names.series, &file);
    }
    scene.b.files(&study(story), number, issuer);
}

/// DIM-089, INV-17: a site that lists no more than so many, and does not say so, is found out by its own count. What it gives beyond its list
/// is given; what it does not give is counted as missing; and a copy is not called withdrawn because it is not on such a list.
#[test]
fn a_list_that_is_cut_short_is_not_the_whole_study() {
    let scene = Scene::start(PRIORS);
    let files = scene.hold(600, 8);
    scene.b.lists_at_most(Some(3));
    assert_eq!(counts(&scene.take(600)), (0, [8, 0, 0]), "the whole study is asked for");
    assert_eq!(scene.at_out(), digests(&files));
    assert_eq!(counts(&scene.take(600)), (0, [8, 0, 0]), "what is not listed is not withdrawn");

    let listed: Vec<Vec<u8>> = scene.hold(601, 8).into_values().take(3).collect();
    scene.b.then((0..4).map(|_| Manner::Instead(listed.clone())));
    let answer = scene.take(601);
    assert_eq!(counts(&answer), (0xB000, [3, 5, 0]), "{answer}");
    assert_eq!(answer["comment"], "b lists fewer than it has; 5 missing");

    scene.hold(602, 8);
    scene.b.lists_at_most(Some(0));
    let answer = scene.take(602);
    assert_eq!(
        (&answer["status"], &answer["comment"]),
        (&json!(0xA702), &json!("b lists fewer than it has; ask again later"))
    );
    // One that does not count is believed as far as it lists what it did before.
    scene.b.counts_nothing();
    assert_eq!(counts(&scene.take(600)), (0, [8, 0, 0]));
    scene.a.verify_ledger(true);
}

/// DIM-089: one that does not count has deleted an instance. Its list alone does not tell that from one that is cut short; once it has given the
/// whole study without that instance, nothing more is expected.
#[test]
fn what_a_site_gives_no_more_is_expected_no_more() {
    let scene = Scene::start(PRIORS);
    scene.b.counts_nothing();
    scene.hold(605, 4);
    assert_eq!(counts(&scene.take(605)), (0, [4, 0, 0]));
    scene.a.cli(&["priors", "drop", &study(605), "--reason", "to pull it anew"]).ok("drop");
    scene.b.forget(&instance(605, 4).0.instance);
    let answer = scene.take(605);
    assert_eq!(counts(&answer), (0xB000, [3, 1, 0]), "{answer}");
    assert_eq!(answer["comment"], "b lists fewer than it has; 1 missing");
    assert_eq!(counts(&scene.take(605)), (0, [3, 0, 0]));
}

/// DIM-089: of a site that does not count, an answer that says itself that it is not all tells nothing of what the site lists no more.
#[test]
fn what_a_site_gives_in_part_leaves_the_rest_expected() {
    let scene = Scene::start(PRIORS);
    scene.b.counts_nothing();
    scene.hold(606, 4);
    assert_eq!(counts(&scene.take(606)), (0, [4, 0, 0]));
    scene.a.cli(&["priors", "drop", &study(606), "--reason", "to pull it anew"]).ok("drop");
    scene.b.lists_at_most(Some(3));
    scene.b.then([Manner::Some]);
    for _ in 0..2 {
        let answer = scene.take(606);
        assert_eq!(counts(&answer), (0xB000, [3, 1, 0]), "{answer}");
        assert_eq!(answer["comment"], "b lists fewer than it has; 1 missing");
    }
}

/// IDY-040: where an entry names who issued a site's numbers, and the site refuses to be asked for one study, nothing says whether that holds for
/// this one: the answer says so.
#[test]
fn a_study_of_which_its_site_does_not_say_whose_it_is() {
    for (entry, comment) in [("", None), ("issuer = \"RAA\"", Some("b does not say whose it is; there may be more"))] {
        let scene = Scene::knowing(PRIORS, entry);
        scene.hold(645, 2);
        scene.b.refuses_one_study(403);
        let answer = scene.take(645);
        let status = if comment.is_some() { 0xB000 } else { 0 };
        assert_eq!(counts(&answer), (status, [2, 0, 0]), "{answer}");
        assert_eq!(answer["comment"].as_str(), comment);
    }
}

/// "A silent site is visible": "not found" to everything says nothing of a study. What is here is given, and the site stays known as its holder.
#[test]
fn a_service_that_is_not_there_is_no_empty_site() {
    let scene = Scene::start(PRIORS);
    let files = scene.hold(610, 3);
    assert_eq!(counts(&scene.take(610)), (0, [3, 0, 0]));
    scene.b.be_absent(true);
    let answer = scene.take(610);
    assert_eq!(counts(&answer), (0, [3, 0, 0]), "{answer}");
    assert_eq!(scene.at_out(), digests(&files));
    let answer = scene.take(611);
    assert_eq!((&answer["status"], &answer["comment"]), (&json!(0xA702), &json!("b does not answer; ask again later")));
    let series =
        json!({ "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study(610), "SeriesInstanceUID": "" } });
    let said = scene.ask(&[series]).remove(0);
    let end = said["answers"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&end["status"], &end["comment"]), (&json!(0xC001), &json!("B NOT ANSWERING")), "{said}");
    scene.b.be_absent(false);
    scene.hold(610, 4);
    assert_eq!(counts(&scene.take(610)), (0, [4, 0, 0]), "it is still asked for what it holds");
}

/// DIM-089: a site that refuses every retrieval is not asked again and again, and the status of its answer is what people read first.
#[test]
fn a_site_that_refuses_retrievals_is_not_waited_for() {
    let scene = Scene::start("[priors]\npatience = \"120s\"");
    for (story, status) in [(620, 401), (621, 403), (622, 501)] {
        scene.hold(story, 8);
        scene.b.then((0..3).map(|_| Manner::Refuse(status)));
        let began = Instant::now();
        let answer = scene.take(story);
        // Three tries for each of eight instances, one after the other, would take longer.
        assert!(began.elapsed() < Duration::from_secs(20), "{status}: {:?}", began.elapsed());
        assert_eq!(counts(&answer), (0xA702, [0, 8, 0]), "{answer}");
        assert!(answer["comment"].as_str().unwrap().starts_with(&format!("{status} from b: ")), "{answer}");
        // What was left of the script.
        scene.b.forget_script();
    }
}

/// DIM-089: who refuses one instance after the other is asked for no more of them once nothing has come for `patience`.
#[test]
fn a_site_that_refuses_each_instance_is_asked_while_there_is_patience() {
    let scene = Scene::start("[priors]\npatience = \"1ms\"");
    scene.hold(627, 40);
    scene.b.then((0..200).map(|_| Manner::Refuse(406)));
    let answer = scene.take(627);
    assert_eq!(counts(&answer), (0xA702, [0, 40, 0]), "{answer}");
    // The study, its series, and one instance, each without the wildcard, too; or a few more, but not forty within a millisecond.
    let asked = scene.b.asked().1;
    assert!((6..40).contains(&asked.len()), "{asked:?}");
}

/// DIM-089: "not so" to one instance is said of that one: the others are asked for and come.
#[test]
fn one_instance_that_a_site_refuses_costs_no_other() {
    let scene = Scene::start(PRIORS);
    for (story, status) in [(625, 406), (626, 403)] {
        let mut files = scene.hold(story, 5);
        // The study and the series break off at once; who does not know the wildcard is asked without it.
        let tries = if status == 406 { 2 } else { 1 };
        scene.b.then((0..2).map(|_| Manner::Break(0)).chain((0..tries).map(|_| Manner::Refuse(status))));
        let answer = scene.take(story);
        assert_eq!(counts(&answer), (0xB000, [4, 1, 0]), "{status}: {answer}");
        let refused = instance(story, 1).0.instance;
        assert_eq!(answer["identifier"]["FailedSOPInstanceUIDList"], refused.as_str(), "{status}");
        files.remove(&refused);
        let given = scene.at_out();
        assert!(digests(&files).iter().all(|file| given.get(file.0) == Some(file.1)), "{status}");
    }
}

/// IDY-040: a site has corrected a study, whose copy here names the patient whom it had before. The copy is listed under neither: the site's own
/// row is, under the patient whom it names now. It is retrieved again, and what differs is held for a person and given to nobody.
#[test]
fn a_copy_of_another_patient_is_not_listed_nor_given() {
    let scene = Scene::start(PRIORS);
    filed(&scene, 630, 2, BEFORE);
    filed(&scene, 631, 1, BEFORE);
    for story in [630, 631] {
        assert_eq!(scene.take(story)["status"], 0);
    }
    let (old, new) = (format!("b:{BEFORE}"), format!("b:{AFTER}"));
    assert_eq!(find(&scene, &old), [row(630, &old, "ONLINE", 2), row(631, &old, "ONLINE", 1)]);
    correct(&scene, 630, 2, (AFTER, ""));
    assert_eq!(find(&scene, &new), [row(630, &new, "NEARLINE", 2)]);
    assert_eq!(find(&scene, &old), [row(631, &old, "ONLINE", 1)]);
    let before = scene.at_out();
    let answer = scene.take(630);
    assert_eq!(counts(&answer), (0xA702, [0, 2, 0]), "{answer}");
    assert!(answer["comment"].as_str().unwrap().contains("another content is kept here"), "{answer}");
    assert_eq!(scene.at_out(), before);
    let log = scene.a.log();
    assert!(log.contains("now files a study under another patient") && !log.contains(AFTER), "{log}");
    // One that it files otherwise and gives as before is its own word, and is given.
    scene.b.files(&study(631), AFTER, "");
    let retrieved = scene.b.asked().1.len();
    assert_eq!(counts(&scene.take(631)), (0, [1, 0, 0]));
    assert!(scene.b.asked().1.len() > retrieved, "it was retrieved again");
    // While the site is silent nobody knows.
    scene.b.be_silent(true);
    assert_eq!(find(&scene, &old).len(), 2);
    scene.a.verify_ledger(true);
}

/// IDY-040, IDY-046: two people of one neighbour have one number, and only its own lists tell who issued it. They stay two here: each reaches a
/// node under its issuer, before it is pulled and afterwards.
#[test]
fn two_people_of_one_neighbour_with_one_number_stay_two() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kept = StoreScp::start(folder.path(), "KEPT");
    let node = format!(
        "{PRIORS}\n[[node]]\nae_title = \"KEPT\"\naddress = \"127.0.0.1:{}\"\nfrom_addresses = [\"127.0.0.0/8\"]\n\
         may = [\"find\", \"move\", \"receive\"]\n",
        kept.port
    );
    let scene = Scene::knowing(&node, "issuer = \"RAA\"");
    for (story, issuer) in [(640, "RAA"), (641, "RBB")] {
        scene.hold(story, 1);
        scene.b.files(&study(story), BEFORE, issuer);
    }
    let take = |keys: Value, model: &str| {
        let request = json!({ "op": "move", "calling": "KEPT", "to": "KEPT", "model": model, "keys": keys });
        let said = scene.ask(&[request]).remove(0);
        counts(said["answers"].as_array().unwrap().last().unwrap())
    };
    for story in [640, 641] {
        let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study(story) });
        assert_eq!(take(keys, "study"), (0, [1, 0, 0]));
    }
    let number = |file: &std::path::PathBuf| {
        let said = finish(Command::new(tool("dcmdump")).args(["+P", "0010,0020"]).arg(file), seconds(20)).ok("dcmdump");
        said.split(['[', ']']).nth(1).unwrap().to_owned()
    };
    let mut numbers: Vec<String> = kept.files().iter().map(number).collect();
    numbers.sort();
    assert_eq!(numbers, [format!("RAA:{BEFORE}"), format!("RBB:{BEFORE}")]);
    let [first, second] = ["RAA", "RBB"].map(|issuer| format!("{issuer}:{BEFORE}"));
    assert_eq!(find(&scene, &first), [row(640, &first, "ONLINE", 1)]);
    assert_eq!(find(&scene, &second), [row(641, &second, "ONLINE", 1)]);
    let keys = json!({ "QueryRetrieveLevel": "PATIENT", "PatientID": second });
    assert_eq!(take(keys, "patient"), (0, [1, 0, 0]), "one of the two");
}
