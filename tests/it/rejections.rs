//! Rejection notes (IHE IOCM) through the front door: what they hide on every face, what they stop, whose count, and undoing them.

use crate::support::archive::{Dcmqrscp, OddArchive, Prepared};
use crate::support::certs::Identity;
use crate::support::dcmtk::{StoreScp, storescu};
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::radiology::{ROOT, Radiology, last};
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::wire::{Reply, Wire};
use crate::support::{multipart, python, web};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const KEY_OBJECT_SELECTION: &str = "1.2.840.10008.5.1.4.1.1.88.59";
const SAFETY: &str = "113037";

/// A note of a study, as a file: see `python/note.py`.
pub fn note(folder: &Path, said: &Value) -> PathBuf {
    let file = folder.join(format!("note-{}.dcm", said["uid"].as_str().unwrap()));
    let arguments = [file.to_str().unwrap().to_owned(), said.to_string()];
    python::run("note", &arguments, seconds(60)).ok("python/note.py");
    file
}

/// What a note says that names these instances of made-up studies.
fn naming(uid: &str, study: &str, code: &str, named: &[&Names]) -> Value {
    let named = named.iter().map(|names| {
        json!({ "study": names.study, "series": names.series, "sop_class": SECONDARY_CAPTURE, "sop_instance": names.instance })
    });
    json!({ "uid": uid, "study": study, "patient": "T0000001", "code": code, "named": named.collect::<Vec<_>>() })
}

fn image(folder: &Path, names: &Names) -> PathBuf {
    let file = folder.join(format!("{}.dcm", names.instance));
    fs::write(&file, part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 1000, 1))).unwrap();
    file
}

fn store(site: &Gateway, title: &str, files: &[PathBuf]) {
    storescu(site.config.dicom_port, title, &["-xe"], files).ok("storescu");
}

/// STOW-RS of one file as a peer.
fn store_as(identity: &Identity, site: &Gateway, file: &Path) {
    let body = file.with_extension("body");
    fs::write(&body, multipart::body(&[fs::read(file).unwrap()], true)).unwrap();
    let url = format!("{}/studies", site.config.url());
    let answer = web::store(identity, &url, &multipart::content_type(), &body, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The SOP Instance UIDs that a site shows of a study.
fn shown(identity: &Identity, site: &Gateway, study: &str) -> Vec<String> {
    let answer =
        web::request(Some(identity), &identity.trust, &format!("{}/studies/{study}/instances", site.config.url()), &[]);
    let found: Vec<Value> = if answer.status == 200 { serde_json::from_str(&answer.body).unwrap() } else { Vec::new() };
    let uid = |one: &Value| one["00080018"]["Value"][0].as_str().unwrap().to_owned();
    let mut all: Vec<String> = found.iter().map(uid).collect();
    all.sort();
    all
}

/// Waits until a note was read, and what it does is done; gives its row.
pub fn read(site: &Gateway, uid: &str, standing: &str, hides: u64) -> Value {
    until(seconds(60), &format!("{uid} is {standing} and hides {hides}"), || {
        let list = site.ask(&["rejections", "list", "--json"]);
        list.into_iter().find(|one| {
            one["sop_instance_uid"] == uid && one["standing"] == standing && one["hides"].as_u64() == Some(hides)
        })
    })
}

fn retrieve(site: &Radiology, path: &str) -> Reply {
    let mut wire = Wire::open(&site.stage.authority.issue(B_IDENTITY), site.site.config.web_port);
    let dicom = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    let accept = match path.rsplit('/').next() {
        Some("metadata") => "Accept: application/dicom+json",
        Some("rendered") => "Accept: image/png",
        Some("1") if path.contains("/frames/") => {
            "Accept: multipart/related; type=\"application/octet-stream\"; transfer-syntax=*"
        }
        _ => dicom,
    };
    wire.head(&format!("GET /dicom-web/{path}"), &[accept]).unwrap();
    wire.answer().unwrap()
}

fn push(site: &Radiology, caller: &str, rows: &[Value]) {
    let list = site.stage.path().join("more.jsonl");
    fs::write(&list, rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    let port = site.site.config.dicom_port.to_string();
    let said = python::lines("send", [port.as_str(), "WB_A", list.to_str().unwrap(), caller]);
    assert!(said.iter().all(|answer| answer["status"] == 0), "{said:?}");
}

fn push_note(site: &Radiology, caller: &str, said: &Value) {
    let file = note(site.stage.path(), said);
    let row =
        json!({ "path": file, "sop_class": KEY_OBJECT_SELECTION, "sop_instance": said["uid"], "syntax": EXPLICIT_LE });
    push(site, caller, &[row]);
}

/// A note about some of study 1 of the catalogue.
fn about(site: &Radiology, uid: &str, named: &[&str]) -> Value {
    let of = |suffix: &&str| -> Value {
        let uid = format!("{ROOT}.{suffix}");
        site.files.iter().find(|file| file["sop_instance"] == uid).unwrap().clone()
    };
    json!({ "uid": uid, "study": format!("{ROOT}.1"), "code": SAFETY, "named": named.iter().map(of).collect::<Vec<_>>() })
}

const NODES: &str = "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n\
                     [[node]]\nae_title = \"CT1\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n";

/// QIDO-RS and WADO-RS: a CT image and two notes of the study are left.
fn the_web_shows_nothing_of_it(site: &Radiology, study: &str) {
    let found = &site.search("studies?PatientID=P1&AccessionNumber=A1&includefield=all")[0];
    assert_eq!((&found["00201206"]["Value"][0], &found["00201208"]["Value"][0]), (&json!(3), &json!(3)));
    assert_eq!(site.search("studies?PatientID=P1&ModalitiesInStudy=OT"), Vec::<Value>::new());
    assert_eq!(site.search(&format!("studies/{study}/instances")).len(), 3);
    assert_eq!(site.search(&format!("studies/{study}/series?Modality=OT")), Vec::<Value>::new());
    // WADO-RS: as what was never here.
    let unknown = retrieve(site, "studies/1.2.3");
    for (series, instance) in [("1", "1.1"), ("2", "2.1")] {
        let path = format!("studies/{study}/series/{study}.{series}/instances/{study}.{instance}");
        assert_eq!(site.search(&format!("instances?SOPInstanceUID={study}.{instance}")), Vec::<Value>::new());
        for path in [path.clone(), format!("{path}/metadata"), format!("{path}/rendered"), format!("{path}/frames/1")] {
            let reply = retrieve(site, &path);
            assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        }
        assert_eq!(retrieve(site, &path).text(), unknown.text());
    }
    let rest = retrieve(site, &format!("studies/{study}"));
    let parts = memchr::memmem::find_iter(&rest.body, b"Content-Type: application/dicom").count();
    assert_eq!((rest.status, parts, rest.header("warning")), (200, 3, None));
}

/// C-FIND, C-GET and C-MOVE.
fn nodes_get_nothing_of_it(site: &Radiology, study: &str) {
    let keys = |level: &str, more: Value| {
        let mut keys = more;
        (keys["QueryRetrieveLevel"], keys["StudyInstanceUID"]) = (json!(level), json!(study));
        keys
    };
    let classes = ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7", KEY_OBJECT_SELECTION];
    let said = site.ask(&[
        json!({ "keys": keys("STUDY", json!({ "NumberOfStudyRelatedInstances": "", "ModalitiesInStudy": "" })) }),
        json!({ "keys": keys("IMAGE", json!({ "SeriesInstanceUID": format!("{study}.1"), "SOPInstanceUID": "" })) }),
        json!({ "op": "get", "classes": classes, "keys": keys("STUDY", json!({})) }),
        json!({ "op": "move", "to": "OUT", "keys": keys("STUDY", json!({})) }),
    ]);
    let answers = |at: usize| -> Vec<&Value> {
        let all = said[at]["answers"].as_array().unwrap().iter();
        all.map(|answer| &answer["identifier"]).filter(|identifier| identifier.is_object()).collect()
    };
    assert_eq!(answers(0)[0]["NumberOfStudyRelatedInstances"].as_str().map(str::trim), Some("3"));
    assert!(!answers(0)[0]["ModalitiesInStudy"].as_str().unwrap().contains("OT"));
    let images: Vec<_> = answers(1).iter().map(|one| one["SOPInstanceUID"].clone()).collect();
    assert_eq!(images, [json!(format!("{study}.1.2"))]);
    for at in [2, 3] {
        assert_eq!(last(&said[at])["completed"].as_u64(), Some(3), "{said:?}");
    }
}

/// WEB-105: of a study of two CT images and one other, a note rejects one CT image and the other: they are on no face and in no count; the
/// note itself is. They stay so when they come again, until a person undoes the note. Another node's note about them hides nothing.
#[test]
fn what_a_note_rejects_is_on_no_face() {
    let folder = tempfile::tempdir().unwrap();
    let node = StoreScp::start(&folder.path().join("out"), "OUT");
    let out = format!("[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\n", node.port);
    let site = Radiology::start(1, &format!("{NODES}{out}"));
    let (study, first, by_other) = (format!("{ROOT}.1"), format!("{ROOT}.1.9.1"), format!("{ROOT}.1.9.2"));
    push_note(&site, "CT1", &about(&site, &by_other, &["1.1.2"]));
    let words = read(&site.site, &by_other, "not honoured", 0)["words"].as_str().unwrap().to_owned();
    assert!(words.contains("only who brought it may reject it"), "{words}");
    push_note(&site, "SENDER", &about(&site, &first, &["1.1.1", "1.2.1"]));
    read(&site.site, &first, "in force", 2);

    the_web_shows_nothing_of_it(&site, &study);
    nodes_get_nothing_of_it(&site, &study);
    assert_eq!(node.files().len(), 3);
    // By hand, nothing of it goes; the note of the other node does, by a person's hand, and waits for one.
    site.site.cli(&["send", "--study", &study, "--to", "b"]).ok("send");
    assert_eq!(site.site.transfers("b", "cancelled"), (3, 0));
    until(seconds(60), "the note that does not count waits", || {
        let waiting = site.site.ask(&["exceptions", "list", "--json"]);
        let held = |one: &Value| one["kind"] == "held" && one["words"].as_str().unwrap().contains("not honoured here");
        waiting.iter().any(held).then_some(())
    });

    // What comes again is answered with success, and stays hidden; why says so.
    push(&site, "SENDER", &site.files[..1]);
    let why = site.site.cli(&["why", &format!("{study}.1.1")]).ok("why");
    assert!(why.contains("received again"), "{why}");
    let names =
        format!("rejection note {first} ({SAFETY}, Rejected for Patient Safety Reasons) names it: it is kept, hidden");
    assert!(why.contains(&names), "{why}");
    assert_eq!(site.search(&format!("studies/{study}/instances")).len(), 3);
    let of_study = site.site.study(&study);
    assert_eq!(of_study.iter().filter(|one| one["rejected_by"] == json!(first)).count(), 2, "{of_study:?}");
    // Undone by a person, it is shown again.
    let show = site.site.cli(&["rejections", "show", &first]).ok("show");
    assert!(show.contains(&format!("{study}.1.1  hidden")), "{show}");
    assert_ne!(site.site.cli(&["rejections", "undo", &by_other, "--by", "jo", "--reason", "no"]).code, Some(0));
    site.site.cli(&["rejections", "undo", &first, "--by", "jo", "--reason", "the wrong study"]).ok("undo");
    read(&site.site, &first, "lifted", 0);
    assert_eq!(site.search(&format!("studies/{study}/instances")).len(), 5);
    let why = site.site.cli(&["why", &first]).ok("why");
    assert!(why.contains("was undone by jo (the wrong study)"), "{why}");
    site.site.verify_ledger(true);
}

/// WEB-105: a note goes to who has what it rejects, and hides it there. It may itself be rejected, which goes the same way. A peer's note
/// about what is not its own hides nothing, and is not passed on.
#[test]
fn a_note_follows_what_it_rejects_and_no_peer_hides_what_is_not_its_own() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()));
    let [as_a, as_b] = [A_IDENTITY, B_IDENTITY].map(|name| stage.authority.issue(name));
    let [one, two] = [1, 2].map(|n| names(931, 1, n));
    store(&a, "WB_A", &[image(stage.path(), &one), image(stage.path(), &two)]);
    a.all_become("b", "verified", 2, seconds(120));
    let uids = [1, 2, 3].map(|n| format!("{}.9.{n}", one.study));
    store_as(&as_b, &a, &note(stage.path(), &naming(&uids[2], &one.study, SAFETY, &[&one])));
    read(&a, &uids[2], "not honoured", 0);
    assert_eq!(shown(&as_b, &a, &one.study), [one.instance.clone(), two.instance.clone(), uids[2].clone()]);

    store(&a, "WB_A", &[note(stage.path(), &naming(&uids[0], &one.study, SAFETY, &[&one]))]);
    read(&a, &uids[0], "in force", 1);
    read(&b, &uids[0], "in force", 1);
    assert_eq!(shown(&as_a, &b, &one.study), [two.instance.clone(), uids[0].clone()]);
    a.all_become("b", "verified", 3, seconds(120));
    let compared = a.cli(&["reconcile", "b"]).ok("reconcile");
    assert!(compared.contains("2 asked for, 0 missing at b"), "what is rejected is not missed there: {compared}");

    let of_the_note = Names { study: one.study.clone(), series: format!("{}.9", uids[0]), instance: uids[0].clone() };
    store(&a, "WB_A", &[note(stage.path(), &naming(&uids[1], &one.study, "113038", &[&of_the_note]))]);
    for site in [&a, &b] {
        read(site, &uids[1], "in force", 1);
        read(site, &uids[0], "in force", 0);
    }
    assert_eq!(shown(&as_a, &b, &one.study), [one.instance, two.instance, uids[1].clone()]);
    for site in [a, b] {
        site.verify_ledger(true);
    }
}

/// FLT-085: what was not sent when the note came is not sent; the note is, and a kill right behind the answer loses nothing of it. A note
/// that is too long is not honoured, and waits for a person.
#[test]
fn what_is_not_sent_yet_is_stopped_also_over_a_kill() {
    let stage = Stage::new();
    let mut b = Gateway::prepare(&stage.path().join("b"), stage.site_b());
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()));
    let as_a = stage.authority.issue(A_IDENTITY);
    let all: Vec<Names> = (1..=3).map(|n| names(932, 1, n)).collect();
    let files: Vec<PathBuf> = all.iter().map(|names| image(stage.path(), names)).collect();
    store(&a, "WB_A", &files);
    let [uid, long] = [1, 2].map(|n| format!("{}.9.{n}", all[0].study));
    store(&a, "WB_A", &[note(stage.path(), &naming(&uid, &all[0].study, "113001", &[&all[0], &all[1]]))]);
    a.kill();
    a.up();
    read(&a, &uid, "in force", 2);
    let mut too_long = naming(&long, &all[0].study, "113001", &[&all[2]]);
    too_long["bytes"] = json!(17 << 20);
    store(&a, "WB_A", &[note(stage.path(), &too_long)]);
    let words = read(&a, &long, "not honoured", 0)["words"].as_str().unwrap().to_owned();
    assert_eq!(words, "it is longer than 16 MiB");
    b.up();
    until(seconds(120), "the rest and the note are verified at B, the long note waits", || {
        let states: Vec<_> = ["cancelled", "verified", "held"].map(|field| a.transfers("b", field).1).into();
        (states == [2, 2, 1]).then_some(())
    });
    assert_eq!(shown(&as_a, &b, &all[0].study), [all[2].instance.clone(), uid.clone()]);
    assert_eq!(b.holds(&all[0].study), 2, "what was rejected never went");
    let why = a.cli(&["why", &all[0].instance]).ok("why");
    assert!(
        why.contains(&format!("rejected (rejection note {uid} names it: Rejected for Quality Reasons); now cancelled")),
        "{why}"
    );
    note_fired(a.transfers("b", "cancelled").1 as usize);
    for site in [a, b] {
        site.verify_ledger(true);
    }
}

/// WEB-105: what an archive behind the site still shows is hidden too, by a note that came before anything of it was here, and is not given
/// when the rest of its study is brought.
#[test]
fn what_an_archive_still_shows_is_hidden_too() {
    let prepared = Prepared::new(1);
    let archive = Dcmqrscp::start(&prepared.stage.path().join("archive"), prepared.config.dicom_port);
    storescu(archive.port, "ARCHIVE", &["-xe"], &prepared.paths()).ok("the archive is filled");
    let site = prepared.start("ARCHIVE", archive.port, "");
    let (study, uid) = (format!("{ROOT}.1"), format!("{ROOT}.1.9.1"));
    let rejected = site.files.iter().find(|file| file["sop_instance"] == format!("{study}.1.1")).unwrap();
    let said = json!({ "uid": uid, "study": study, "code": SAFETY, "named": [rejected] });
    let file = note(site.stage.path(), &said);
    let options = ["-xe", "-aet", "ARCHIVE"];
    storescu(site.site.config.dicom_port, "WB_B", &options, &[file]).ok("the archive's note");
    read(&site.site, &uid, "in force", 0);
    let seen = || -> Vec<String> {
        let found = site.found(&format!("studies/{study}/instances"));
        let mut all: Vec<_> =
            found.iter().map(|one| one["00080018"]["Value"][0].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    let rest = [format!("{study}.1.2"), format!("{study}.2.1"), uid.clone()];
    assert_eq!(seen(), rest);
    let instance = format!("studies/{study}/series/{study}.1/instances/{study}.1.1");
    let status =
        |resource: &str| site.retrieve(resource).map(|(status, given)| (status, given.into_keys().collect::<Vec<_>>()));
    assert_eq!(status(&instance).map(|(status, _)| status), Some(404));
    assert_eq!(status(&format!("studies/{study}")), Some((200, rest.to_vec())));
    read(&site.site, &uid, "in force", 1);
    assert_eq!((seen(), status(&instance).map(|(status, _)| status)), (rest.to_vec(), Some(404)));
    site.site.verify_ledger(true);
}

/// WEB-105: an archive gives what was rejected, and its note only after it: nobody is given it before the note is here.
#[test]
fn what_an_archive_gives_before_its_note_is_given_to_nobody() {
    let prepared = Prepared::new(2);
    let (study, uid) = (format!("{ROOT}.2"), format!("{ROOT}.2.9.1"));
    let rejected = prepared.files.iter().find(|file| file["sop_instance"] == format!("{study}.1.1")).unwrap();
    let said = json!({ "uid": uid, "study": study, "code": SAFETY, "named": [rejected] });
    let file = note(prepared.stage.path(), &said);
    let series = format!("{uid}.9");
    let row = json!({ "path": file, "sop_class": KEY_OBJECT_SELECTION, "sop_instance": uid, "syntax": EXPLICIT_LE,
        "study": study, "series": series });
    let mut files = prepared.files.clone();
    files.push(row);
    let archive = OddArchive::start(&prepared, &files);
    let site = prepared.start("ARCHIVE", archive.port, "");
    archive.behaves(&json!({ "gap": 1 }));
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study });
    let said = site.ask(&[json!({ "op": "move", "to": "OUT", "keys": keys })]).remove(0);
    read(&site.site, &uid, "in force", 1);
    let given: Vec<String> = site.given().into_keys().collect();
    assert_eq!(given, [format!("{study}.1.2"), uid], "{said}");
}
