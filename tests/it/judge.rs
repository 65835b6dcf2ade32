//! The independent judge (tests/judge.py) agrees with a sound ledger and with what a PACS received, and with no other.

use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, digest, names, part10};
use crate::support::gateway::Gateway;
use crate::support::load::send_all;
use crate::support::process::{Finished, finish};
use crate::support::tools::{python, root};
use crate::support::two_sites::TwoSites;
use crate::support::wait::seconds;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const COUNT: u64 = 120;

/// An export, a head that was noted before, and the folder of the node.
struct Case {
    export: PathBuf,
    head: String,
    received: PathBuf,
}

impl Case {
    fn judge(&self) -> Finished {
        let received = self.received.to_str().unwrap();
        judge(&self.export, &["--head", &self.head, "--received", received, "--destination", "OUT"])
    }

    /// The judge must say this once `spoil` was done; the case is whole again afterwards.
    fn finds(&self, what: &str, spoil: impl FnOnce(&mut Vec<String>)) {
        let sound = fs::read_to_string(&self.export).unwrap();
        let mut lines: Vec<String> = sound.lines().map(str::to_owned).collect();
        spoil(&mut lines);
        fs::write(&self.export, lines.join("\n")).unwrap();
        let judged = self.judge();
        assert_eq!(judged.code, Some(5), "{what}: {}{}", judged.stdout, judged.stderr);
        assert!(judged.stdout.contains(what), "`{what}` is not in {}", judged.stdout);
        fs::write(&self.export, sound).unwrap();
    }
}

/// The judge on an export alone, or with more arguments.
pub fn judge(export: &Path, more: &[&str]) -> Finished {
    let mut command = Command::new(python());
    command.arg(root().join("tests/judge.py")).arg(export).args(more);
    finish(&mut command, seconds(60))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An export of entries, with leaves and chain as the gateway would compute them.
fn exported(entries: &[Value]) -> String {
    let mut chain = vec![0_u8; 32];
    let mut lines = String::new();
    for (entry, position) in entries.iter().zip(1_u64..) {
        let bytes = entry.to_string();
        let leaf = Sha256::digest([&[0_u8][..], bytes.as_bytes()].concat()).to_vec();
        chain = Sha256::digest([&chain[..], &leaf[..]].concat()).to_vec();
        let line = json!({
            "position": position, "id": entry["id"], "kind": entry["kind"], "at": entry["at"],
            "leaf": hex(&leaf), "chain": hex(&chain), "bytes": bytes,
        });
        lines += &format!("{line}\n");
    }
    lines
}

/// What a restored site finds at a node it has not sent there, by its ledger; the node has it all the same. And the ways to ask.
#[test]
fn what_was_found_at_a_node_after_a_restore_is_no_stranger_there() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (export, received) = (folder.path().join("ledger.ndjson"), folder.path().join("out"));
    fs::create_dir(&received).unwrap();
    let names = names(822, 1, 1);
    let bytes = data_set(&names, 64, 1);
    fs::write(received.join("one"), part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &bytes)).unwrap();
    // In the order of their names, as the canonical form has them.
    let entry = |number: u64, kind: &str, facts: Value| {
        let id = format!("{number:032x}");
        json!({"at": number, "causes": [], "facts": facts, "id": id, "kind": kind})
    };
    let step = |number: u64, to: &str| entry(number, "act", json!({"steps": [{"to": to, "transfers": [1]}]}));
    let version = json!({"id": 1, "sha256": digest(&bytes), "syntax": EXPLICIT_LE, "uid": names.instance});
    let made = json!({"destination": "OUT", "id": 1, "instance": 1, "state": "pending"});
    let arrived = entry(1, "received", json!({"made": [made.clone()], "versions": [version]}));
    let there = received.to_str().unwrap();
    for (last, code) in [("held", 5), ("verified", 0)] {
        fs::write(&export, exported(&[arrived.clone(), step(2, "unknown"), step(3, last)])).unwrap();
        let judged = judge(&export, &["--received", there, "--destination", "OUT"]);
        assert_eq!(judged.code, Some(code), "{last}: {judged:?}");
    }
    // Who is given an instance with changes has other bytes by right, if the ledger says so.
    let stored = json!({"id": 1, "sha256": digest(b"as it came"), "syntax": EXPLICIT_LE, "uid": names.instance});
    let stored = entry(1, "received", json!({"made": [made], "versions": [stored]}));
    for (step, code) in [
        (json!({"changed": 1, "to": "accepted", "transfers": [1]}), 0),
        (json!({"to": "accepted", "transfers": [1]}), 5),
    ] {
        fs::write(&export, exported(&[stored.clone(), entry(2, "settled", json!({"steps": [step]}))])).unwrap();
        let judged = judge(&export, &["--received", there, "--destination", "OUT"]);
        assert_eq!(judged.code, Some(code), "{judged:?}");
    }
    fs::write(&export, exported(&[arrived.clone(), step(2, "unknown"), step(3, "verified")])).unwrap();
    let told = judge(&export, &[]).ok("the judge");
    let tree = told.lines().find_map(|line| line.strip_prefix("tree  ")).unwrap();
    let (right, wrong) = (format!("3:{tree}"), format!("3:{}", "0".repeat(64)));
    let (right, wrong) = (right.as_str(), wrong.as_str());
    // No head hides another of the same size, and a folder is somebody's.
    for (arguments, code) in [
        (vec!["--head", right, "--head", right], 0),
        (vec!["--head", wrong, "--head", right], 5),
        (vec!["--head", right, "--head", wrong], 5),
        (vec!["--received", there], 2),
        (vec!["--destination", "OUT"], 2),
        (vec!["--received", "/nowhere", "--destination", "OUT"], 2),
    ] {
        let judged = judge(&export, &arguments);
        assert_eq!(judged.code, Some(code), "{arguments:?}: {judged:?}");
    }
    // What is JSON and no entry is told as wrong, too.
    for line in ["[1]", r#"{"bytes":"[1]"}"#, r#"{"bytes":"{}"}"#] {
        fs::write(&export, exported(std::slice::from_ref(&arrived)) + line).unwrap();
        assert_eq!(judge(&export, &[]).code, Some(5), "{line}");
    }
}

fn head(site: &Gateway) -> String {
    let told = &site.ask(&["ledger", "verify", "--json"])[0];
    format!("{}:{}", told["entries"], told["root"].as_str().unwrap())
}

fn a_file_of(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.swap_remove(files.len() / 2)
}

/// A file whose meta names another transfer syntax of as many letters.
fn in_another_syntax(file: &[u8]) -> Vec<u8> {
    let (explicit, big) = (b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0");
    let at = file.windows(explicit.len()).position(|window| window == explicit).unwrap();
    let mut other = file.to_vec();
    other[at..at + big.len()].copy_from_slice(big);
    other
}

#[test]
fn the_judge_finds_the_ledger_and_reality_in_agreement_and_every_forgery() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let received = folder.path().join("out");
    let mut out = StoreScp::start(&received, "OUT");
    let sites = TwoSites::start(Some(out.port));
    send_all(821, 0..COUNT / 2, sites.a.config.dicom_port, "WB_A");
    sites.b.all_become("OUT", "accepted", COUNT / 2, seconds(120));
    let head = head(&sites.b);
    send_all(821, COUNT / 2..COUNT, sites.a.config.dicom_port, "WB_A");
    sites.a.all_become("b", "verified", COUNT, seconds(120));
    sites.b.all_become("OUT", "accepted", COUNT, seconds(120));
    out.stop();
    let export = folder.path().join("b.ndjson");
    sites.b.cli(&["ledger", "export", export.to_str().unwrap()]).ok("ledger export");

    let case = Case { export, head, received };
    let told = case.judge().ok("the judge");
    assert!(
        told.contains(&format!(
            "{COUNT} received byte for byte, 0 not compared (another syntax, or changed), of {COUNT} owed"
        )),
        "{told}"
    );
    // Both compute the same head from the same entries.
    let ours = sites.b.cli(&["ledger", "verify"]).ok("ledger verify");
    let hashes = |text: &str| text.lines().filter(|line| line.starts_with("tree ")).collect::<Vec<_>>().join("");
    assert_eq!(hashes(&told), hashes(&ours));

    case.finds("the leaf is not what it should be", |lines| {
        lines[7] = lines[7].replacen("\\\"at\\\":1", "\\\"at\\\":2", 1)
    });
    case.finds("the position is not what it should be", |lines| drop(lines.remove(9)));
    case.finds("the chain is not what it should be", |lines| lines.swap(4, 5));
    case.finds("the ledger ends after", |lines| lines.truncate(10));
    case.finds("cannot be read", |lines| lines[3].truncate(40));
    assert!(case.judge().code == Some(0), "it is sound again");

    let file = a_file_of(&case.received);
    let sound = fs::read(&file).unwrap();
    let mut spoilt = sound.clone();
    *spoilt.last_mut().unwrap() ^= 1;
    fs::write(&file, &spoilt).unwrap();
    case.finds("was received with other bytes than the ledger says", |_| {});
    // Wrong bytes are no better for lying beside the right ones.
    fs::write(&file, &sound).unwrap();
    let beside = case.received.join("beside");
    fs::write(&beside, &spoilt).unwrap();
    case.finds("was received with other bytes too, beside the right ones", |_| {});
    fs::remove_file(beside).unwrap();
    // What came in another syntax has other bytes by right; whether it is the same nobody has compared.
    fs::write(&file, in_another_syntax(&sound)).unwrap();
    let told = case.judge().ok("the judge");
    let (same, all) = (COUNT - 1, COUNT);
    assert!(
        told.contains(&format!("{same} received byte for byte, 1 not compared (another syntax, or changed), of {all}")),
        "{told}"
    );
    fs::remove_file(&file).unwrap();
    case.finds("is accepted by the ledger, but was not received", |_| {});
    // A file under a UID that nobody sent: the last digit of the UID in its meta is another letter.
    let uid = b"2.25.7000000000821";
    let at = sound.windows(uid.len()).position(|window| window == uid).unwrap();
    let mut strange = sound;
    strange[at + uid.len() - 1] = b'9';
    fs::write(&file, strange).unwrap();
    case.finds("was received, but by the ledger it was never sent", |_| {});
}
