//! Priors that are pulled before anybody asks: once for each cause, by the administrator's filters, given to a node, and flushed in the end.

use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::StoreScp;
use crate::support::gateway::Gateway;
use crate::support::mllp;
use crate::support::neighbours::*;
use crate::support::odd_node::OddNode;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn uid(n: u32) -> String {
    format!("2.25.70000000098.{n}")
}

fn study(n: u32, modality: &str, part: &str, date: &str) -> Value {
    json!({ "uid": n, "PatientID": NHS, "PatientName": "Prior^Ann", "StudyDate": date, "Modality": modality,
        "BodyPartExamined": part })
}

/// An NHS number that is none of those for tests.
const NUMBER: &str = "4000000004";

fn node(title: &str, port: u16) -> String {
    format!("[[node]]\nae_title = \"{title}\"\naddress = \"127.0.0.1:{port}\"\nmay = [\"receive\"]\n")
}

/// Site A, which asks B; and B, where the patient has studies, not yet running.
fn sites(stage: &Stage, tables: &str) -> (SiteConfig, SiteConfig) {
    let b = holding(stage, "b", "");
    let a = asking(stage, &[Neighbour::new("b", &b.url())], tables);
    (a, b)
}

/// What is pulled ahead at a site, the first cause first.
fn ahead(site: &Gateway) -> Vec<Value> {
    let mut rows = site.ask(&["priors", "list", "--json"]);
    rows.retain(|row| row["prefetch"].is_number());
    rows.reverse();
    rows
}

fn ended(row: &Value, how: &str) -> bool {
    row["next"].is_null() && row["how"].as_str().unwrap().contains(how)
}

/// "Origins and loops", SEC-022, IDY-051: a new study of our own PACS has the priors pulled that the rule means, and no others; they
/// are given to the node under their issuer, and flushed after their time. Once a study, also after a restart; and what was pulled
/// causes nothing, though its modality is the rule's.
#[test]
fn a_new_study_has_the_priors_pulled_that_a_rule_means_and_each_study_once() {
    let stage = Stage::new();
    let out = StoreScp::start(&stage.path().join("out"), "OUT");
    let rule = "[priors]\nkeep = \"6s\"\nprefetch_retry = \"1s\"\n[retention]\nevery = \"1s\"\n[[prefetch]]\nname = \"chest\"\narrived = [\"CT\"]\n\
        modality = [\"CT\"]\nbody_part = [\"CHEST*\"]\nmax_age = \"3650d\"\nnewest = 2\nsites = [\"b\"]\nto = \"OUT\"\n";
    let (a, b) = sites(&stage, &format!("{rule}{}", node("OUT", out.port)));
    let b = Gateway::start(&stage.path().join("b"), b);
    let theirs = json!([
        study(1, "CT", "CHEST", "20240102"),
        study(2, "CT", "CHESTABDOMEN", "20250102"),
        study(3, "CT", "HEAD", "20260102"),
        study(4, "MR", "CHEST", "20260103"),
        study(5, "CT", "CHEST", "19900101"),
        study(6, "CT", "CHEST", "20230102"),
    ]);
    give(&stage, &b, "PACS", &theirs);
    let mut a = Gateway::start(&stage.path().join("a"), a);
    give(&stage, &a, "PACS", &json!([study(10, "MR", "CHEST", "20261101"), study(11, "CT", "CHEST", "20261102")]));

    until(seconds(60), "both are at the node", || (out.files().len() == 2).then_some(()));
    a.all_become("OUT", "accepted", 2, seconds(60));
    let first = until(seconds(30), "it has ended", || ahead(&a).first().filter(|row| ended(row, "2 studies")).cloned());
    assert_eq!((&first["cause"], &first["of"], &first["who"]), (&json!("study"), &json!(uid(11)), &json!("node PACS")));
    for file in out.files() {
        let bytes = std::fs::read(file).unwrap();
        let prefixed = memchr::memmem::find(&bytes, format!("b:{NHS}").as_bytes());
        assert!(prefixed.is_some(), "another site's patient keeps its issuer (IDY-040)");
    }
    for n in [3, 4, 5, 6] {
        assert_eq!(a.holds(&uid(n)), 0, "study {n} is not what the rule means");
    }
    let (caused, chosen) = (a.cli(&["why", &uid(11)]).ok("why"), a.cli(&["why", &uid(2)]).ok("why"));
    assert!(caused.contains("priors are pulled ahead because of it: 2 studies chosen, 2 instances came"), "{caused}");
    assert!(chosen.contains("rule \"chest\" chose it to be pulled ahead from b: 1 instances came"), "{chosen}");
    let told = b.cli(&["why", &uid(2)]).ok("why");
    assert!(told.contains("for node PACS of a, purpose prefetch"), "the holder knows what for: {told}");
    let by = "node PACS had it pulled from peer b (1 instances came), purpose prefetch";
    assert!(chosen.contains(by), "and so does who asked: {chosen}");
    until(seconds(60), "the copies are flushed", || {
        [1, 2].iter().all(|n| a.study(&uid(*n)).iter().all(|row| row["state"] == "purged")).then_some(())
    });

    // The same study again after a restart is no news; another one is.
    a.stop();
    a.up();
    give(&stage, &a, "PACS", &json!([study(11, "CT", "CHEST", "20261102"), study(12, "CT", "CHEST", "20261103")]));
    let rows = until(seconds(60), "the next has ended", || {
        let rows = ahead(&a);
        rows.iter().any(|row| row["of"] == uid(12) && ended(row, "2 studies")).then_some(rows)
    });
    let causes: Vec<&Value> = rows.iter().map(|row| &row["of"]).collect();
    assert_eq!(causes, [&json!(uid(11)), &json!(uid(12))]);
    assert!(!a.log().contains(NHS) && !a.log().contains("Prior^Ann"), "{}", a.log());
    for site in [&a, &b] {
        site.verify_ledger(false);
    }
}

/// IDY-051: what a slow node took some time after it was pulled is not old yet when the pull is; it goes later, and goes.
#[test]
fn a_copy_that_was_given_lately_goes_later() {
    let stage = Stage::new();
    let out = OddNode::start(stage.path(), &["--slow", "4"]);
    let rule = "[priors]\nkeep = \"6s\"\nprefetch_retry = \"1s\"\n[retention]\nevery = \"1s\"\n[[prefetch]]\nname = \"all\"\nto = \"OUT\"\n";
    let (a, b) = sites(&stage, &format!("{rule}{}", node("OUT", out.port)));
    let b = Gateway::start(&stage.path().join("b"), b);
    give(&stage, &b, "PACS", &json!([study(1, "CT", "CHEST", "20240102")]));
    let a = Gateway::start(&stage.path().join("a"), a);
    a.cli(&["priors", "prefetch", "--nhs", NHS, "--modality", "CT"]).ok("prefetch");
    a.all_become("OUT", "accepted", 1, seconds(60));
    let rows = a.study(&uid(1));
    assert!(rows.iter().all(|row| row["state"] == "stored"), "it was given just now: {rows:?}");
    until(seconds(60), "the copy is flushed", || (a.study(&uid(1))[0]["state"] == "purged").then_some(()));
}

/// A PET-CT sends its CT series first: what the rule for PET means is pulled as well, though the study has caused a prefetch by then.
#[test]
fn each_modality_of_a_study_has_its_priors_pulled() {
    let stage = Stage::new();
    let rule =
        |name: &str| format!("[[prefetch]]\nname = \"{name}\"\narrived = [\"{name}\"]\nmodality = [\"{name}\"]\n");
    let (a, b) = sites(&stage, &["[priors]\nprefetch_retry = \"1s\"\n".to_owned(), rule("CT"), rule("PT")].concat());
    let b = Gateway::start(&stage.path().join("b"), b);
    give(&stage, &b, "PACS", &json!([study(1, "CT", "CHEST", "20240102"), study(2, "PT", "CHEST", "20240102")]));
    let a = Gateway::start(&stage.path().join("a"), a);
    let mut second = study(10, "PT", "CHEST", "20261101");
    second["series"] = json!(2);
    give(&stage, &a, "PACS", &json!([study(10, "CT", "CHEST", "20261101")]));
    until(seconds(60), "the CT is here", || ahead(&a).first().filter(|row| ended(row, "1 studies chosen")).map(|_| ()));
    assert_eq!((a.holds(&uid(1)), a.holds(&uid(2))), (1, 0));
    give(&stage, &a, "PACS", &json!([second]));
    until(seconds(60), "the PET is here", || (a.holds(&uid(2)) == 1).then_some(()));
    until(seconds(30), "it has ended", || ended(&ahead(&a)[0], "2 studies chosen").then_some(()));
    assert_eq!(ahead(&a).len(), 1, "one cause");
}

/// UIX-12: while a site keeps silent it is tried again, also after a restart here; what it has is pulled once it is back.
#[test]
fn a_prefetch_waits_for_a_silent_site_across_a_restart() {
    let stage = Stage::new();
    let rules = "[priors]\nprefetch_retry = \"1s\"\n[[prefetch]]\nname = \"all\"\n";
    let (a, b) = sites(&stage, rules);
    let mut b = Gateway::start(&stage.path().join("b"), b);
    give(&stage, &b, "PACS", &json!([study(1, "CT", "CHEST", "20240102")]));
    b.stop();
    let mut a = Gateway::start(&stage.path().join("a"), a);
    let asked = a.cli(&["priors", "prefetch", "--nhs", NHS, "--modality", "CT"]).ok("prefetch");
    assert!(asked.contains("by all"), "{asked}");
    until(seconds(30), "it is to be tried again", || {
        let rows = ahead(&a);
        rows[0]["how"].as_str().unwrap().contains("to be tried again: no answer that can be used from b").then_some(())
    });
    a.stop();
    b.up();
    a.up();
    until(seconds(60), "what B has is here", || (a.holds(&uid(1)) == 1).then_some(()));
    until(seconds(30), "it has ended", || ended(&ahead(&a)[0], "1 studies chosen").then_some(()));
}

/// What no site answers is given up after its time, and that is told; a request without a rule, or for nobody, is refused.
#[test]
fn a_prefetch_is_given_up_and_says_so() {
    let stage = Stage::new();
    let rules = "[priors]\nprefetch_retry = \"1s\"\nprefetch_give_up = \"3s\"\n\
        [[prefetch]]\nname = \"ct\"\narrived = [\"CT\"]\n";
    let (a, _) = sites(&stage, rules);
    let a = Gateway::start(&stage.path().join("a"), a);
    a.cli(&["priors", "prefetch", "--nhs", NHS, "--modality", "CT"]).ok("prefetch");
    until(seconds(60), "it is given up", || {
        ahead(&a).first().filter(|row| ended(row, "given up: no answer that can be used from b")).map(|_| ())
    });
    assert!(a.log().contains("a prefetch is given up"), "{}", a.log());
    let nothing = a.cli(&["priors", "prefetch", "--nhs", NHS, "--modality", "MR"]);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("no rule of [[prefetch]] concerns it"), "{nothing:?}");
    let nobody = a.cli(&["priors", "prefetch", "--nhs", "9434765918", "--modality", "CT"]);
    assert!(nobody.code != Some(0) && nobody.stderr.contains("names nobody"), "{nobody:?}");
    assert_eq!(ahead(&a).len(), 1);
}

/// Posts JSON to the admin socket as another program would: the status, and the body.
fn post(site: &Gateway, body: &Value) -> (u16, Value) {
    post_text(site, &body.to_string())
}

fn post_text(site: &Gateway, body: &str) -> (u16, Value) {
    let mut socket = UnixStream::connect(site.data_dir().join("admin.sock")).unwrap();
    let head = "POST /prefetch HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
}

/// SEC-022: another program asks by JSON; the same id again does nothing more, whoever may not be asked for is refused, and so is what no
/// rule concerns. A site that does not know the number is not asked, and that is told.
#[test]
fn another_program_has_priors_pulled_and_asks_twice_in_vain() {
    let stage = Stage::new();
    let (a, b) = sites(
        &stage,
        "[priors]\nprefetch_retry = \"1s\"\n[[prefetch]]\nname = \"ct\"\narrived = [\"CT\"]\nnewest = 1\n",
    );
    let b = Gateway::start(&stage.path().join("b"), b);
    give(&stage, &b, "PACS", &json!([study(1, "CT", "CHEST", "20240102"), study(2, "CR", "HAND", "20250102")]));
    let a = Gateway::start(&stage.path().join("a"), a);
    let asked = json!({ "nhs": NHS, "modality": ["CT"], "who": "ris", "id": "appointment 1" });
    let (status, said) = post(&a, &asked);
    assert_eq!((status, &said["rules"]), (202, &json!(["ct"])), "{said}");
    until(seconds(60), "the newest is here", || (a.holds(&uid(2)) == 1).then_some(()));
    assert_eq!(a.holds(&uid(1)), 0, "one is the most");
    assert_eq!(post(&a, &asked).0, 200, "known already");
    for wrong in ["{", "[]", "{\"modality\": \"CT\"}", ""] {
        let (status, said) = post_text(&a, wrong);
        assert!(status == 400 && said["detail"].as_str().unwrap().contains("what is asked for"), "{wrong}: {said}");
    }
    let told = b.cli(&["why", &uid(2)]).ok("why");
    assert!(told.contains("for user ris of a, purpose prefetch"), "{told}");

    let local = json!({ "patient": "SECRET-4711", "modality": ["CT"], "who": "ris" });
    assert_eq!(post(&a, &local).0, 202);
    until(seconds(60), "nobody was asked", || {
        let rows = ahead(&a);
        rows.iter().any(|row| ended(row, "not asked for want of a number: b")).then_some(())
    });
    let wrong = [
        (409, json!({ "nhs": NHS, "modality": ["MR"], "who": "ris" })),
        (400, json!({ "nhs": "9434765918", "modality": ["CT"], "who": "ris" })),
        (400, json!({ "nhs": NHS, "patient": "1", "modality": ["CT"], "who": "ris" })),
        (400, json!({ "patient": "47*", "modality": ["CT"], "who": "ris" })),
        (400, json!({ "nhs": NHS, "modality": ["CT"], "who": " " })),
        (400, json!({ "nhs": NHS, "modality": ["not a modality at all"], "who": "ris" })),
    ];
    for (want, body) in wrong {
        assert_eq!(post(&a, &body).0, want, "{body}");
    }
    assert_eq!(ahead(&a).len(), 2);
    assert!(!a.log().contains("SECRET-4711") && !a.log().contains(NHS), "{}", a.log());
}

/// IDY-051: an id is its caller's own: what another program asks under the same one is not lost, and one that is used again for another
/// patient is refused.
#[test]
fn an_id_is_its_callers_own_and_names_one_patient() {
    let stage = Stage::new();
    let (a, _) = sites(&stage, "[[prefetch]]\nname = \"ct\"\narrived = [\"CT\"]\n");
    let a = Gateway::start(&stage.path().join("a"), a);
    let asked = |who: &str, id: &str, patient: &str| {
        post(&a, &json!({ "patient": patient, "modality": ["CT"], "who": who, "id": id })).0
    };
    let rows = [
        ("ris", "42", "SECRET-1", 202),
        ("booking", "42", "SECRET-2", 202),
        ("ris", "42", "SECRET-1", 200),
        ("booking", "42", "SECRET-2", 200),
        ("ris", "42", "SECRET-2", 409),
        ("booking", "42", "SECRET-1", 409),
        // Where one ends and the other begins is not guessed.
        ("ris 4", "2", "SECRET-3", 202),
        ("ris", "4 2", "SECRET-4", 202),
    ];
    for (who, id, patient, want) in rows {
        assert_eq!(asked(who, id, patient), want, "{who} {id} {patient}");
    }
    let told: Vec<(Value, Value)> = ahead(&a).iter().map(|row| (row["who"].clone(), row["of"].clone())).collect();
    let want = [("ris", "ris 42"), ("booking", "booking 42"), ("ris 4", "ris%204 2"), ("ris", "ris 4 2")];
    assert_eq!(told, want.map(|(who, of)| (json!(format!("user {who}")), json!(of))));
    assert!(!a.log().contains("SECRET"), "{}", a.log());
}

/// IDY-051: copies that a move is giving are not flushed, though that takes longer than copies are kept; afterwards they are.
#[test]
fn a_move_that_takes_longer_than_copies_are_kept_loses_none_of_them() {
    let stage = Stage::new();
    let slow = StoreScp::start_with(&stage.path().join("slow"), "SLOW", &["+xa", "--sleep-after", "2"]);
    let tables = "[priors]\nkeep = \"8s\"\nprefetch_retry = \"1s\"\n[retention]\nevery = \"1s\"\n[[prefetch]]\nname = \"all\"\nnewest = 10\n\
        [[node]]\nae_title = \"READER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"SLOW\"]\n";
    let (a, b) = sites(&stage, &format!("{tables}{}", node("SLOW", slow.port)));
    let b = Gateway::start(&stage.path().join("b"), b);
    let theirs: Vec<Value> = (1..=8).map(|n| study(n, "CT", "CHEST", "20240102")).collect();
    give(&stage, &b, "PACS", &json!(theirs));
    let a = Gateway::start(&stage.path().join("a"), a);
    a.cli(&["priors", "prefetch", "--nhs", NHS]).ok("prefetch");
    until(seconds(60), "all are here", || ahead(&a).first().filter(|row| ended(row, "8 studies")).map(|_| ()));
    let all: Vec<String> = (1..=8).map(uid).collect();
    let request = json!({ "op": "move", "calling": "READER", "to": "SLOW",
        "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": all } });
    let said = &ask(stage.path(), &a, &[request])[0];
    let last = said["answers"].as_array().unwrap().last().unwrap();
    assert_eq!((last["status"].as_u64(), last["completed"].as_u64()), (Some(0), Some(8)), "{said}");
    until(seconds(60), "the copies are flushed", || {
        all.iter().all(|uid| a.study(uid).iter().all(|row| row["state"] == "purged")).then_some(())
    });
}

/// An order by HL7 has the patient's priors pulled, once however often it is told, also after a restart; one that is cancelled, or
/// that no rule concerns, causes nothing.
#[test]
fn an_order_has_the_priors_pulled_once() {
    let (stage, port) = (Stage::new(), free_port());
    let tables = format!(
        "[hl7]\nlisten = \"127.0.0.1:{port}\"\nfrom_addresses = [\"127.0.0.0/8\"]\nissuer = \"ZZ001\"\n\
         [priors]\nprefetch_retry = \"1s\"\n[[prefetch]]\nname = \"ct\"\narrived = [\"CT\"]\n"
    );
    let (a, b) = sites(&stage, &tables);
    let b = Gateway::start(&stage.path().join("b"), b);
    let mut theirs = study(1, "CT", "CHEST", "20240102");
    // Numbers for tests say nothing in a message.
    theirs["PatientID"] = json!(NUMBER);
    give(&stage, &b, "PACS", &json!([theirs]));
    let mut a = Gateway::start(&stage.path().join("a"), a);
    let told = |control: &str, number: &str, modality: &str, id: &str| {
        let rest = format!(
            "PID|||R7^^^^MR~{NUMBER}^^^NHS^NH||SECRET^NAME||19700101|F\rORC|{control}|{number}\rOBR|1|{number}||X^X{}|{modality}",
            "|".repeat(19)
        );
        let mut socket = mllp::connect(port);
        std::io::Write::write_all(&mut socket, &mllp::framed("ORM^O01", id, &rest)).unwrap();
        let answer = mllp::hear(&mut socket);
        assert!(answer.contains(&format!("MSA|AA|{id}|")), "{answer}");
    };
    told("CA", "P0", "CT", "m0");
    told("NW", "P1", "MR", "m1");
    // For a day on which what were pulled now would be gone (OBR-36).
    told("NW", "P4", "CT||||||||||||20991231", "m6");
    told("NW", "P2", "CT", "m2");
    until(seconds(60), "the prior is here", || (a.holds(&uid(1)) == 1).then_some(()));
    until(seconds(30), "it has ended", || ended(&ahead(&a)[0], "1 studies chosen").then_some(()));
    told("XO", "P2", "CT", "m3");
    // The same number of another system behind the same sender is another order.
    told("NW", "P2^WARD", "CT", "m5");
    a.stop();
    a.up();
    told("NW", "P3", "CT", "m4");
    let rows = until(seconds(60), "the next has ended", || {
        let rows = ahead(&a);
        rows.last().filter(|row| rows.len() > 2 && ended(row, "1 studies chosen")).is_some().then_some(rows)
    });
    let causes: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["cause"].as_str().unwrap(), row["of"].as_str().unwrap())).collect();
    let orders = ["P2", "P2^WARD", "P3"].map(|number| format!("hl7 RIS at ROYAL {number}"));
    assert_eq!(causes, orders.each_ref().map(|order| ("order", order.as_str())));
    assert!(!a.log().contains(NUMBER), "{}", a.log());
}
