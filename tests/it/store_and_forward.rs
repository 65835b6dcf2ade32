//! Real files by three different senders into A, by STOW-RS to B, by C-STORE to a node at B: nothing is altered.

use crate::support::certs::Authority;
use crate::support::corpus::{self, CorpusFile, Fate};
use crate::support::dcmtk::{StoreScp, dcmsend, echoscu, storescu, storescu_option};
use crate::support::files::{digest, read_part10};
use crate::support::gateway::Gateway;
use crate::support::process::finish;
use crate::support::python;
use crate::support::tools::{demo_study, tool};
use crate::support::two_sites::TwoSites;
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const EXPLICIT_LE: &str = "1.2.840.10008.1.2.1";
/// The two syntaxes that no web service may carry (WEB-001).
const NOT_ON_THE_WEB: [&str; 2] = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"];

#[test]
fn a_node_may_verify_its_connection() {
    let sites = TwoSites::start(None);
    echoscu(sites.a.config.dicom_port, "SENDER", "WB_A").ok("C-ECHO");
}

#[test]
fn what_storescu_sends_arrives_unaltered() {
    let files = sendable_by_dcmtk();
    journey(&files, |a| {
        let mut by_option: BTreeMap<Option<&str>, Vec<PathBuf>> = BTreeMap::new();
        for file in &files {
            by_option.entry(storescu_option(&file.syntax)).or_default().push(file.path.clone());
        }
        for (option, paths) in by_option {
            let options: Vec<&str> = ["-R"].into_iter().chain(option).collect();
            storescu(a.config.dicom_port, "WB_A", &options, &paths).ok("storescu");
        }
    });
}

#[test]
fn what_dcmsend_sends_arrives_unaltered() {
    let files = sendable_by_dcmtk();
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    journey(&files, |a| drop(dcmsend(a.config.dicom_port, "WB_A", &paths).ok("dcmsend")));
}

#[test]
fn what_pynetdicom_sends_arrives_unaltered() {
    let files: Vec<CorpusFile> = corpus::files().into_iter().filter(|file| file.fate == Fate::First).collect();
    assert!(NOT_ON_THE_WEB.iter().all(|syntax| files.iter().any(|file| file.syntax == *syntax)), "some are re-encoded");
    journey(&files, |a| {
        for (file, status) in files.iter().zip(send_as_they_are(a, &files)) {
            assert_eq!(status, Some(0), "{}", file.name);
        }
        // This sender alters nothing, so the gateway's digests are those of the files.
        let held = instances(a, &files);
        for file in &files {
            assert_eq!(held[&file.instance]["sha256"], file.sha256, "{}", file.name);
        }
    });
}

#[test]
fn other_files_of_a_uid_give_what_the_table_says() {
    let sites = TwoSites::start(None);
    let files = corpus::files();
    let of = |fate: Fate| files.iter().filter(|file| file.fate == fate).cloned().collect::<Vec<_>>();
    let (first, same, refused) = (of(Fate::First), of(Fate::Same), of(Fate::Refused));
    let is_other = |file: &&CorpusFile| matches!(file.fate, Fate::Differs | Fate::Equal);
    let other: Vec<CorpusFile> = files.iter().filter(is_other).cloned().collect();
    send_as_they_are(&sites.a, &first);
    let owed = first.len() as u64;
    sites.a.all_become("b", "verified", owed, seconds(200));

    let before = digests(&instances(&sites.b, &first));
    for (file, status) in same.iter().zip(send_as_they_are(&sites.a, &same)) {
        assert_eq!(status, Some(0), "{}: the same again is a success", file.name);
    }
    assert_eq!(sites.a.transfers("b", "verified"), (owed, owed), "the same again owes nothing");
    let answers = refused.iter().zip(send_as_they_are(&sites.a, &refused));
    let taken: Vec<_> = answers.filter(|(_, status)| !status.is_none_or(is_failure)).collect();
    assert!(taken.is_empty(), "to be refused, yet: {taken:04x?}");
    assert_eq!(sites.a.transfers("b", "verified"), (owed, owed), "what was refused is not stored");
    for (file, status) in other.iter().zip(send_as_they_are(&sites.a, &other)) {
        assert_eq!(status, Some(0), "{}: kept, so the sender is told so", file.name);
    }
    // IDY-020: the judge looks at each and releases what was no conflict. They were numbered as they came.
    let open = || sites.a.ask(&["exceptions", "list", "--json"]);
    until(seconds(120), "all are judged", || open().iter().all(|one| !one["verdict"].is_null()).then_some(()));
    let open: BTreeSet<u64> = open().iter().map(|one| one["exception"].as_u64().unwrap()).collect();
    for (number, file) in (1..).zip(&other) {
        assert_eq!(open.contains(&number), file.fate == Fate::Differs, "{}: {:?}", file.name, file.fate);
    }
    assert_eq!(sites.a.transfers("b", "verified").1, owed, "the first versions stay verified");
    assert_eq!(sites.a.transfers("b", "held").1, open.len() as u64, "each version with other content is held");
    assert_eq!(digests(&instances(&sites.b, &first)), before, "B still has the first versions");
    for file in first.iter().filter(|file| !NOT_ON_THE_WEB.contains(&file.syntax.as_str())) {
        assert_eq!(before[&file.instance], file.sha256, "{}: byte for byte at B", file.name);
    }
    each_version_is_kept(&sites.a, &first, &other);
    // That the blobs have these digests.
    sites.a.verify_ledger(true);
}

/// IDY-020: of every SOP Instance UID the file that came first is the first version, byte for byte, and each other file a version of its own,
/// with the bytes that were sent: held in the exception that names it where it says something else, kept where it says the same.
fn each_version_is_kept(site: &Gateway, first: &[CorpusFile], other: &[CorpusFile]) {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let conflicts = site.ask(&["exceptions", "list", "--all", "--json"]);
    let of_conflicts = conflicts.iter().map(|conflict| text(conflict, "study_instance_uid"));
    let studies: BTreeSet<String> = first.iter().map(|file| file.study.clone()).chain(of_conflicts).collect();
    let rows = studies.iter().flat_map(|study| site.study(study));
    let versions: BTreeMap<(String, u64), Value> =
        rows.map(|row| ((text(&row, "sop_instance_uid"), row["version"].as_u64().unwrap()), row)).collect();
    assert_eq!(versions.len(), first.len() + other.len(), "one version for each file");
    let kept = |file: &CorpusFile, version: u64, state: &str| {
        let row =
            versions.get(&(file.instance.clone(), version)).unwrap_or_else(|| panic!("{} is not kept", file.name));
        assert_eq!((text(row, "sha256"), text(row, "state")), (file.sha256.clone(), state.to_owned()), "{}", file.name);
    };
    first.iter().for_each(|file| kept(file, 1, "stored"));
    for (number, file) in (1_u64..).zip(other) {
        let conflict = conflicts.iter().find(|conflict| conflict["exception"] == number).unwrap();
        assert_eq!(text(conflict, "sop_instance_uid"), file.instance, "{}", file.name);
        let state = if file.fate == Fate::Differs { "held" } else { "stored" };
        kept(file, conflict["version"].as_u64().unwrap(), state);
    }
}

#[test]
fn a_signature_that_was_made_before_verifies_behind_both_sites() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(tool(program));
        let done = finish(command.args(arguments).current_dir(folder.path()), seconds(60));
        (done.code, format!("{}{}", done.stdout, done.stderr))
    };
    let authority = Authority::new(folder.path(), "signers");
    let signer = authority.issue("signer.test");
    let (key, certificate, trust) = (signer.key.to_str(), signer.certificate.to_str(), signer.trust.to_str());
    std::fs::copy(&demo_study("ct")[0], path("plain.dcm")).unwrap();
    let sign = ["+s", key.unwrap(), certificate.unwrap(), "plain.dcm", "signed.dcm"];
    assert_eq!(run("dcmsign", &sign).0, Some(0));
    let verify = |file: &str| run("dcmsign", &["--verify", "+rg", "+cf", trust.unwrap(), file]);
    assert_eq!(verify("signed.dcm").0, Some(0));

    let out = StoreScp::start(&path("out"), "OUT");
    let sites = TwoSites::start(Some(out.port));
    storescu(sites.a.config.dicom_port, "WB_A", &["-xe"], &[path("signed.dcm")]).ok("storescu");
    sites.b.all_become("OUT", "accepted", 1, seconds(60));
    let received = out.files().remove(0);
    let (code, said) = verify(received.to_str().unwrap());
    assert_eq!(code, Some(0), "{said}");
    let mut bytes = std::fs::read(&received).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    std::fs::write(path("changed.dcm"), bytes).unwrap();
    assert_ne!(verify("changed.dcm").0, Some(0), "the check would see a changed bit");
}

fn sendable_by_dcmtk() -> Vec<CorpusFile> {
    corpus::files().into_iter().filter(|file| file.fate == Fate::First && file.dcmtk).collect()
}

/// A failure class of PS3.7 annex C.
fn is_failure(status: u64) -> bool {
    matches!(status, 0xA000..=0xAFFF | 0xC000..=0xCFFF | 0x0110..=0x01FF | 0x0210..=0x02FF)
}

/// Sends through both sites to a node and compares every instance at every stop.
fn journey(files: &[CorpusFile], send: impl FnOnce(&Gateway)) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let out = StoreScp::start(&folder.path().join("out"), "OUT");
    let sites = TwoSites::start(Some(out.port));
    send(&sites.a);
    let count = files.len() as u64;
    sites.a.all_become("b", "verified", count, seconds(200));
    sites.b.all_become("OUT", "accepted", count, seconds(200));

    let (at_a, at_b) = (instances(&sites.a, files), instances(&sites.b, files));
    let received = by_instance(&out.files());
    for file in files {
        let (a, b, name) = (&at_a[&file.instance], &at_b[&file.instance], &file.name);
        if NOT_ON_THE_WEB.contains(&a["transfer_syntax_uid"].as_str().unwrap()) {
            assert_eq!(b["transfer_syntax_uid"], EXPLICIT_LE, "{name}");
            // WEB-002, IDY-034: by which rules and dictionary, and how much of it has no representation.
            let evidence = a["transfers"][0]["evidence"].as_str().unwrap();
            let told = evidence.contains("named as stored; changed by explicit-le/2 (dicom-dictionary-std ");
            assert!(told && evidence.contains(" UN); shown by QIDO-RS"), "{name}: {evidence}");
        } else {
            assert!(!a["transfers"][0]["evidence"].as_str().unwrap().contains("changed"), "{name}");
            assert_eq!((&a["sha256"], &a["transfer_syntax_uid"]), (&b["sha256"], &b["transfer_syntax_uid"]), "{name}");
        }
        let path = received.get(&file.instance).unwrap_or_else(|| panic!("{name} did not reach the node"));
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(b["sha256"], digest(&bytes[read_part10(&bytes).unwrap().data_set_at..]), "{name} at the node");
    }
    let sent = exported(&sites.a, files, &folder.path().join("exported"));
    compare(folder.path(), &sent, &received);
    sites.a.verify_ledger(true);
    sites.b.verify_ledger(true);
}

/// Element by element and pixel by pixel, what A took in is what the node at B got.
fn compare(folder: &Path, sent: &BTreeMap<String, PathBuf>, received: &BTreeMap<String, PathBuf>) {
    let list = folder.join("pairs.jsonl");
    let pairs = sent.iter().map(|(uid, path)| json!({ "sent": path, "received": received[uid] }).to_string());
    std::fs::write(&list, pairs.collect::<Vec<_>>().join("\n")).unwrap();
    let results = python::lines("compare", [&list]);
    assert_eq!(results.len(), sent.len());
    let wrong: Vec<&Value> = results.iter().filter(|r| r["elements"] != true || r["pixels"] != true).collect();
    assert!(wrong.is_empty(), "{} of {} differ: {wrong:#?}", wrong.len(), results.len());
}

/// Sends by pynetdicom, bytes as they lie in the files; each file's status, in order.
fn send_as_they_are(a: &Gateway, files: &[CorpusFile]) -> Vec<Option<u64>> {
    let list = tempfile::NamedTempFile::new().unwrap();
    let rows = files.iter().map(|file| {
        let row = json!({
            "path": file.path, "sop_class": file.sop_class, "sop_instance": file.instance, "syntax": file.syntax,
        });
        row.to_string()
    });
    std::fs::write(list.path(), rows.collect::<Vec<_>>().join("\n")).unwrap();
    let port = a.config.dicom_port.to_string();
    let answers = python::lines("send", [port.as_ref(), "WB_A".as_ref(), list.path().as_os_str()]);
    assert_eq!(answers.len(), files.len());
    answers.iter().map(|answer| answer["status"].as_u64()).collect()
}

/// What a site says of each instance of these files, by SOP Instance UID.
fn instances(site: &Gateway, files: &[CorpusFile]) -> BTreeMap<String, Value> {
    let studies: BTreeSet<&str> = files.iter().map(|file| file.study.as_str()).collect();
    let rows = studies.iter().flat_map(|study| site.study(study)).filter(|row| row["state"] == "stored");
    rows.map(|row| (row["sop_instance_uid"].as_str().unwrap().to_owned(), row)).collect()
}

fn digests(rows: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    rows.iter().map(|(uid, row)| (uid.clone(), row["sha256"].clone())).collect()
}

/// Part 10 files of what a site stored, as `store export` writes them.
fn exported(site: &Gateway, files: &[CorpusFile], folder: &Path) -> BTreeMap<String, PathBuf> {
    let studies: BTreeSet<&str> = files.iter().map(|file| file.study.as_str()).collect();
    for study in studies {
        site.cli(&["store", "export", study, folder.to_str().unwrap()]).ok("store export");
    }
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    by_instance(&paths)
}

fn by_instance(paths: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let named = paths.iter().map(|path| {
        let meta = read_part10(&std::fs::read(path).unwrap());
        (meta.unwrap_or_else(|| panic!("{} is no Part 10 file", path.display())).instance, path.clone())
    });
    named.collect()
}
