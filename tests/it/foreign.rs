//! Other sites' patients on the way to a local node: never with a bare number that could be somebody else's.

use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::gateway::Gateway;
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::tools::tool;
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;
use std::path::Path;
use std::process::Command;

/// Site A pushes one instance to B, which passes it on to the node OUT whose entry has these lines.
fn pass_on(stage: &Stage, node: &StoreScp, lines: &str) -> (Gateway, Gateway) {
    let entry =
        format!("[[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\n{lines}\n", node.port);
    let b = stage.site_b().with(&entry).route("from a to the node", "OUT", "from = [\"a\"]");
    let a = stage.site_a(&b.url());
    let b = Gateway::start(&stage.path().join("b"), b);
    let a = Gateway::start(&stage.path().join("a"), a);
    let names = names(70, 1, 1);
    let mut association =
        Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let status = association.store(SECONDARY_CAPTURE, &names.instance, &data_set(&names, 4096, 1)).unwrap();
    assert_eq!(status, Status::SUCCESS);
    association.release();
    a.all_become("b", "verified", 1, seconds(60));
    (a, b)
}

fn dump(file: &Path) -> String {
    finish(Command::new(tool("dcmdump")).arg("+L").arg(file), seconds(20)).ok("dcmdump")
}

#[test]
fn the_number_gets_its_issuer_and_the_old_one_is_recorded() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let (_a, b) = pass_on(&stage, &node, "");
    b.all_become("OUT", "accepted", 1, seconds(60));
    let text = dump(&node.files()[0]);
    assert!(text.contains("(0010,0020) LO [a:T0000001]"), "prefixed with the peer's name:\n{text}");
    assert!(text.contains("(0400,0561) SQ"), "the change is recorded:\n{text}");
    assert!(text.contains("[T0000001]") && text.contains("[COERCE]"), "with the old value:\n{text}");
    assert!(!dump_of_stored(&stage, &b).contains("a:T0000001"), "what is stored stays as it was received");
}

fn dump_of_stored(stage: &Stage, b: &Gateway) -> String {
    let out = stage.path().join("stored");
    b.cli(&["store", "export", &names(70, 1, 1).study, out.to_str().unwrap()]).ok("export");
    dump(&out.join(format!("{}.dcm", names(70, 1, 1).instance)))
}

#[test]
fn a_site_may_have_a_person_decide() {
    let stage = Stage::new();
    let node = StoreScp::start(&stage.path().join("out"), "OUT");
    let (_a, b) = pass_on(&stage, &node, "foreign = \"hold\"");
    b.all_become("OUT", "held", 1, seconds(60));
    assert!(node.files().is_empty());
    let story = b.cli(&["why", &names(70, 1, 1).instance]).ok("why");
    assert!(story.contains("wait for a person"), "{story}");
    b.verify_ledger(true);
}
