//! Who asked other sites for what, and what for: entered where it was asked, beside what the site that was asked enters (SEC-023).

use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::neighbours::*;
use crate::support::radiology::last;
use crate::support::two_sites::Stage;
use serde_json::{Value, json};

fn uid(n: u32) -> String {
    format!("2.25.70000000098.{n}")
}

/// What the entries of a kind say, in order.
fn facts(entries: &[Value], kind: &str) -> Vec<Value> {
    entries.iter().filter(|entry| entry["kind"] == kind).map(|entry| entry["facts"].clone()).collect()
}

/// The caller and the purpose, as both ends have them.
fn whose(facts: &Value) -> (&str, &str) {
    (facts["caller"].as_str().unwrap_or("-"), facts["purpose"].as_str().unwrap_or("-"))
}

/// SEC-023: each search across sites and each pull has an entry where it was asked: whom, for whom, what for, which study; each once a minute
/// however often it is asked, and never for which patient. The other end has the same caller and purpose; `why` shows them here.
#[test]
fn who_asks_other_sites_and_why_is_entered_where_it_is_asked() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.config.url())], ""));
    let patient = |n: u32| json!({ "uid": n, "PatientID": NHS, "PatientName": "Prior^Ann", "StudyDate": "20240102" });
    give(&stage, &b, "PACS", &json!([patient(1), patient(2)]));

    let series =
        json!({ "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": uid(1), "SeriesInstanceUID": "" } });
    let get = json!({ "op": "get", "classes": ["1.2.840.10008.5.1.4.1.1.4"],
        "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid(1) } });
    let mut requests = vec![priors_of(NHS); 5];
    requests.extend([series, get]);
    let said = ask(stage.path(), &a, &requests);
    assert_eq!((studies(&said[0]).len(), last(&said[6])["completed"].as_u64()), (2, Some(1)), "{said:?}");
    a.cli(&["priors", "find", "--nhs", NHS, "--purpose", "audit"]).ok("find");
    a.cli(&["priors", "pull", &uid(2), "--purpose", "audit"]).ok("pull");
    // Nobody there knows the patient by such a number: nobody was asked.
    a.cli(&["priors", "find", "--patient", "4711"]);

    let entries = ledger::export(&a);
    let sought = facts(&entries, "sought");
    let of = |what: &str| sought.iter().filter(|facts| facts["what"] == what).collect::<Vec<_>>();
    let (patients, lists) = (of("patient"), of("list"));
    assert!((2..=3).contains(&patients.len()), "once a minute: {sought:?}");
    assert!(sought.iter().all(|facts| facts["peers"] == json!(["b"]) && facts["site"] == "a"), "{sought:?}");
    let workstation = ("node RADIOLOGY", "direct-care");
    assert_eq!(whose(patients[0]), workstation);
    let (person, purpose) = whose(patients.last().unwrap());
    assert!(person.starts_with("user ") && purpose == "audit", "{sought:?}");
    assert!(
        of("series").iter().all(|facts| facts["study"] == uid(1).as_str() && whose(facts) == workstation),
        "{sought:?}"
    );
    assert_eq!(of("series").len(), 1);
    let listed: Vec<_> =
        lists.iter().map(|facts| (facts["study"].as_str().unwrap().to_owned(), whose(facts))).collect();
    assert_eq!(listed, [(uid(1), workstation), (uid(2), (person, "audit"))]);

    let pulled = facts(&entries, "pulled");
    let by: Vec<_> = pulled.iter().map(|facts| (facts["study"].as_str().unwrap().to_owned(), whose(facts))).collect();
    assert_eq!(by, [(uid(1), workstation), (uid(2), (person, "audit"))], "{pulled:?}");
    assert_eq!(facts(&entries, "retrieval")[0]["purpose"], "direct-care");
    let told = format!("{entries:?}");
    assert!(!told.contains(NHS) && !told.contains("Prior^Ann") && !told.contains("\"4711\""), "{told}");

    // The other end has the same.
    let asked = facts(&ledger::export(&b), "asked");
    let same = |facts: &&Value| asked.iter().any(|theirs| whose(theirs) == whose(facts));
    assert!(sought.iter().chain(&pulled).all(|facts| same(&facts)), "{asked:?}\n{sought:?}");

    let (first, second) = (a.cli(&["why", &uid(1)]).ok("why"), a.cli(&["why", &uid(2)]).ok("why"));
    for line in [
        "node RADIOLOGY had other sites asked for it (b), purpose direct-care",
        "node RADIOLOGY had it pulled from peer b (1 instances came), purpose direct-care",
        "node RADIOLOGY asked by C-GET for it to be given to RADIOLOGY (1 instances), purpose direct-care",
    ] {
        assert!(first.contains(line), "{line}\n{first}");
    }
    assert!(
        second.contains(&format!("{person} had it pulled from peer b (1 instances came), purpose audit")),
        "{second}"
    );
    for site in [&a, &b] {
        site.verify_ledger(true);
    }
}
