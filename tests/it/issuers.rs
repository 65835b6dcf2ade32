//! Numbers that several parties issued, as nodes and viewers of a site search for them: nobody is listed under another's number.

use crate::support::gateway::Gateway;
use crate::support::neighbours::*;
use crate::support::radiology::last;
use crate::support::two_sites::Stage;
use crate::support::{multipart, python, web};
use crate::viewer_search::Viewed;
use serde_json::{Value, json};

fn uid(n: u32) -> String {
    format!("2.25.70000000098.{n}")
}

fn patient(n: u32, id: &str) -> Value {
    json!({ "uid": n, "PatientID": id, "PatientName": "Prior^Ann", "StudyDate": "20240102" })
}

/// The studies that were found, with the issuer that each is told with, in order.
fn issued(said: &Value) -> Vec<(String, String)> {
    let text = |set: &Value, keyword: &str| set[keyword].as_str().unwrap_or_default().to_owned();
    let sets = identifiers(said);
    let found = sets.iter().filter(|set| set["InstanceAvailability"] != "UNAVAILABLE");
    let mut all: Vec<_> = found.map(|set| (text(set, "StudyInstanceUID"), text(set, "IssuerOfPatientID"))).collect();
    all.sort();
    all
}

/// IDY-040, DIM-080: two nodes of one site whose entries name two issuers send one number for two people. A search tells the two apart,
/// finds one of them for whoever names its issuer or gives out that number itself, and a retrieve of the patient is refused. What a modality
/// sends whose entry names no issuer stays with the numbers of the PACS.
#[test]
fn a_number_of_two_issuers_within_a_site_is_no_one_patient() {
    let stage = Stage::new();
    let pacs = |title: &str, issuer: &str| {
        format!(
            "[[node]]\nae_title = \"{title}\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\", \"find\", \"move\"]\nissuer = \"{issuer}\"\n"
        )
    };
    let modality = "[[node]]\nae_title = \"CT1\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\n";
    let tables = [pacs("PACS1", "RAA"), pacs("PACS2", "RBB"), modality.to_owned()].concat();
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[], &tables));
    give(&stage, &a, "PACS1", &json!([patient(1, "123"), patient(3, "77")]));
    give(&stage, &a, "PACS2", &json!([patient(2, "123")]));
    give(&stage, &a, "CT1", &json!([patient(5, "77")]));
    let of = |id: &str, calling: &str, issuer: &str| {
        json!({ "calling": calling, "keys": { "QueryRetrieveLevel": "STUDY", "PatientID": id, "StudyInstanceUID": "",
            "IssuerOfPatientID": issuer } })
    };
    let find = |calling: &str, issuer: &str| of("123", calling, issuer);
    let get = |keys: Value| json!({ "op": "get", "model": "patient", "classes": ["1.2.840.10008.5.1.4.1.1.4"], "keys": keys });
    let said = ask(
        stage.path(),
        &a,
        &[
            find("RADIOLOGY", ""),
            find("RADIOLOGY", "RBB"),
            find("PACS1", ""),
            find("PACS1", "RBB"),
            json!({ "model": "patient", "keys": { "QueryRetrieveLevel": "PATIENT", "PatientID": "123", "IssuerOfPatientID": "" } }),
            get(json!({ "QueryRetrieveLevel": "PATIENT", "PatientID": "123" })),
            get(json!({ "QueryRetrieveLevel": "STUDY", "PatientID": "123", "StudyInstanceUID": uid(2) })),
            get(json!({ "QueryRetrieveLevel": "PATIENT", "PatientID": "77" })),
            of("77", "PACS1", ""),
            of("77", "PACS1", "RAA"),
        ],
    );
    assert_eq!((&last(&said[5])["status"], last(&said[5]).get("completed")), (&json!(0xA900), None), "{}", said[5]);
    for (said, count) in [(&said[6], 1), (&said[7], 2)] {
        assert_eq!((&last(said)["status"], &last(said)["completed"]), (&json!(0), &json!(count)), "{said}");
    }
    assert_eq!(issued(&said[8]), [3, 5].map(|n| (uid(n), String::new())), "{}", said[8]);
    assert_eq!(issued(&said[9]), [3, 5].map(|n| (uid(n), "RAA".to_owned())), "{}", said[9]);
    let (one, two) = ((uid(1), "RAA".to_owned()), (uid(2), "RBB".to_owned()));
    assert_eq!(issued(&said[0]), [one, two.clone()], "each with its issuer: {}", said[0]);
    assert_eq!(issued(&said[1]), std::slice::from_ref(&two), "{}", said[1]);
    assert_eq!(issued(&said[2]), [(uid(1), String::new())], "its own number, as the object has it: {}", said[2]);
    assert_eq!(issued(&said[3]), [two], "{}", said[3]);
    let people: Vec<Value> = identifiers(&said[4]).into_iter().map(|set| set["IssuerOfPatientID"].clone()).collect();
    assert!(people.len() == 2 && people.contains(&json!("RAA")) && people.contains(&json!("RBB")), "{}", said[4]);
}

/// IDY-040: a namesake's study stays out of the list of a viewer, and of a node that is shown everything as it came, once a copy of it is
/// here too; by its own issuer it is found. What cannot tell itself whose it is comes in because its site says so.
#[test]
fn a_namesakes_copy_does_not_join_the_patient() {
    let stage = Stage::new();
    let mut config = holding(&stage, "b", "");
    "ZZ002".clone_into(&mut config.ods_code);
    let b = Gateway::start(&stage.path().join("b"), config);
    let neighbour = Neighbour::new("b", &b.config.url()).with("issuer = \"ZZ002\"");
    let site = Viewed::start(stage, &[neighbour], "", "");
    give(&site.stage, &b, "SENDER", &json!([patient(1, "123")]));
    give(&site.stage, &b, "PACS", &json!([patient(2, NHS)]));
    give(&site.stage, &site.a, "SENDER", &json!([patient(4, "123")]));
    for n in [1, 2] {
        assert_eq!(site.shown(&format!("studies/{}/metadata", uid(n))).sets.len(), 1, "it is pulled");
        assert_eq!(site.a.holds(&uid(n)), 1);
    }
    let viewed = |query: &str| {
        let got = site.shown(&format!("studies?{query}"));
        let here = |set: &&Value| set["00080056"]["Value"][0] != "UNAVAILABLE";
        let uids = got.sets.iter().filter(here).map(|set| set["0020000D"]["Value"][0].as_str().unwrap().to_owned());
        uids.collect::<Vec<_>>()
    };
    assert_eq!(viewed("PatientID=123"), [uid(4)]);
    assert_eq!(viewed("PatientID=123&IssuerOfPatientID=ZZ002"), [uid(1)]);
    assert_eq!(viewed(&format!("PatientID={NHS}")), [uid(2)]);
    let by = |patient: &str, issuer: &str| {
        let mut request = priors_of(patient);
        request["calling"] = json!("VIEWER");
        request["keys"]["IssuerOfPatientID"] = json!(issuer);
        request
    };
    let said = ask(site.stage.path(), &site.a, &[by("123", ""), by("123", "ZZ002"), by(NHS, "")]);
    let online = |n: u32, id: &str| (uid(n), id.to_owned(), "ONLINE".to_owned(), "1".to_owned());
    assert_eq!(studies(&said[0]), [online(4, "123")], "{}", said[0]);
    assert_eq!(studies(&said[1]), [online(1, "123")], "{}", said[1]);
    assert_eq!(studies(&said[2]), [online(2, NHS)], "{}", said[2]);
}

/// IDY-040: the same where the site that pushed them is asked nothing: the namesake is not listed, and a number of the NHS is, though nothing says
/// that it is one.
#[test]
fn a_namesake_whose_site_is_not_asked_is_not_listed_either() {
    let stage = Stage::new();
    let b = identity(&stage, "b");
    let neighbour = Neighbour::new("b", "https://127.0.0.1:9/dicom-web").with("priors = false");
    let site = Viewed::start(stage, &[neighbour], "", "");
    give(&site.stage, &site.a, "SENDER", &json!([patient(4, "123")]));
    let people = json!([patient(1, "123"), patient(2, NHS)]);
    let files = python::lines("patients", [site.stage.path().as_os_str(), people.to_string().as_ref()]);
    let parts: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file["path"].as_str().unwrap()).unwrap()).collect();
    let body = site.stage.path().join("pushed.body");
    std::fs::write(&body, multipart::body(&parts, true)).unwrap();
    let url = format!("{}/studies", site.a.config.url());
    assert_eq!(web::store(&b, &url, &multipart::content_type(), &body, &[]).status, 200);
    for (number, want) in [("123", uid(4)), (NHS, uid(2))] {
        let sets = site.shown(&format!("studies?PatientID={number}")).sets;
        let uids: Vec<&Value> = sets.iter().map(|set| &set["0020000D"]["Value"][0]).collect();
        assert_eq!(uids, [&json!(want)], "{number}");
        let mut request = priors_of(number);
        request["calling"] = json!("VIEWER");
        let said = &ask(site.stage.path(), &site.a, &[request])[0];
        assert_eq!(studies(said), [(want, number.to_owned(), "ONLINE".to_owned(), "1".to_owned())], "{said}");
    }
}
