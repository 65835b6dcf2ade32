//! odil, an implementation of DICOM of its own, as the node that sends, asks, gets and is given.

use crate::support::config::{SiteConfig, free_port};
use crate::support::files::read_part10;
use crate::support::gateway::Gateway;
use crate::support::process::{Process, finish};
use crate::support::python;
use crate::support::tools::{demo_study, root, tool};
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its `store` offers native syntaxes alone, so nothing that is compressed.
const STUDIES: [&str; 5] = ["ct", "mr", "rt", "sr", "pdf"];

/// One of its commands, as `ODIL` to the gateway.
fn odil(site: &Gateway, command: &str, options: &[&str], rest: &[&Path], keys: &[&str]) -> String {
    let mut odil = Command::new(tool("odil"));
    odil.arg(command).args(options).args(["127.0.0.1", &site.config.dicom_port.to_string(), "ODIL", "WB_A"]);
    finish(odil.args(rest).args(keys), seconds(60)).ok(&format!("odil {command}"))
}

/// Files by the instance that they hold.
fn by_instance(files: &[PathBuf]) -> BTreeMap<String, &PathBuf> {
    let name = |file: &PathBuf| read_part10(&std::fs::read(file).unwrap()).unwrap().instance;
    files.iter().map(|file| (name(file), file)).collect()
}

/// What became of each instance, as `python/compare.py` tells.
fn compared(stage: &Stage, sent: &[PathBuf], came: &[PathBuf]) -> Vec<Value> {
    let (before, after) = (by_instance(sent), by_instance(came));
    assert!(before.keys().eq(after.keys()), "{} of {}", after.len(), before.len());
    let pairs = before.iter().map(|(uid, file)| json!({ "sent": file, "received": after[uid] }).to_string());
    let list = stage.path().join("pairs.jsonl");
    std::fs::write(&list, pairs.collect::<Vec<_>>().join("\n")).unwrap();
    python::lines("compare", [&list])
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

/// DIM-050, DIM-068: it answers on another context of the class than it was asked on, and sends undeclared what is typed.
#[test]
fn odil_stores_finds_gets_and_is_given() {
    let stage = Stage::new();
    let (port, given, got) = (free_port(), stage.path().join("given"), stage.path().join("got"));
    std::fs::create_dir_all(&given).unwrap();
    // Its module is of the system's Python, not of the tests' own.
    let mut node = Command::new("/usr/bin/python3");
    node.arg("-B").arg(root().join("tests/it/python/odil_node.py")).arg(port.to_string()).arg(&given);
    let _node = Process::spawn("odil_node.py", &mut node, &stage.path().join("odil.log"));
    let odils = "[[node]]\nae_title = \"ODIL\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\", \"find\", \"move\"]\n\
                 [courier]\nretry_first = \"1s\"\nretry_longest = \"1s\"\n";
    let config = SiteConfig::new("a", stage.identity_of_a())
        .node("OUT", Some(port))
        .route("all to the node", "OUT", "from = [\"ODIL\"]")
        .with(odils);
    let site = Gateway::start(&stage.path().join("a"), config);
    let files: Vec<PathBuf> = STUDIES.iter().flat_map(|study| demo_study(study)).collect();
    odil(&site, "echo", &[], &[], &[]);
    odil(&site, "store", &[], &files.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &[]);
    let count = files.len() as u64;
    until(seconds(60), "the node has all", || (site.transfers("OUT", "accepted") == (count, count)).then_some(()));
    // It writes decimal strings in its own way; pixels are what they were.
    let given = files_in(&given);
    let pixels = compared(&stage, &files, &given);
    assert!(pixels.iter().all(|pair| pair["pixels"] != false), "{pixels:?}");
    let found = |keys: &[&str]| odil(&site, "find", &[], &[Path::new("study")], keys);
    let studies = found(&["QueryRetrieveLevel=STUDY", "PatientName=*", "StudyInstanceUID"]);
    assert!(studies.starts_with(&format!("{} answers", STUDIES.len())), "{studies}");
    std::fs::create_dir_all(&got).unwrap();
    let uids: Vec<&str> = studies.lines().filter(|line| line.starts_with("Study Instance UID")).collect();
    for uid in uids.iter().filter_map(|line| line.split('\'').nth(1)) {
        let study = format!("StudyInstanceUID={uid}");
        let folder = ["-d", got.to_str().unwrap()];
        odil(&site, "get", &folder, &[Path::new("study")], &["QueryRetrieveLevel=STUDY", &study]);
    }
    let both = compared(&stage, &given, &files_in(&got));
    assert!(both.iter().all(|pair| pair["elements"] == true && pair["pixels"] != false), "{both:?}");
}
