//! Priors of other sites as a workstation finds them: of whoever answers, once each, and no site's silence taken for "nothing there".

use crate::support::certs::Identity;
use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::StoreScp;
use crate::support::gateway::Gateway;
use crate::support::neighbours::*;
use crate::support::process::finish;
use crate::support::proxy::Proxy;
use crate::support::radiology::{last, statuses};
use crate::support::searched_peer::{Manner, SearchedPeer, study};
use crate::support::tools::tool;
use crate::support::two_sites::{A_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

fn uid(n: u32) -> String {
    format!("2.25.70000000098.{n}")
}

fn row(n: u32, patient: &str, available: &str, instances: u32) -> (String, String, String, String) {
    (uid(n), patient.to_owned(), available.to_owned(), instances.to_string())
}

fn patient(n: u32, id: &str) -> Value {
    json!({ "uid": n, "PatientID": id, "PatientName": "Prior^Ann", "StudyDate": "20240102", "AccessionNumber": "ACC" })
}

/// UIX-12, DIM-070, DIM-071: three sites, of which one is slow and one is stopped. Those that answer are listed, a study once though two
/// sites hold it; the third is named by a marker; all that within the time of a query.
#[test]
fn three_sites_are_asked_and_the_one_that_is_stopped_is_named() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let slow = Manner::shows(&[study(&uid(2), NHS, "NHS", 7), study(&uid(3), "943 476 5919", "NHS", 9)]);
    let c = SearchedPeer::start(&identity(&stage, "c"), slow.after(Duration::from_millis(1500)));
    let stopped = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let neighbours =
        [("b", b.config.url()), ("c", c.url()), ("surrey", stopped)].map(|(n, url)| Neighbour::new(n, &url));
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, "[priors]\ndeadline = \"10s\""));
    give(&stage, &b, "PACS", &json!([patient(1, NHS), patient(2, "943 476 5919"), patient(8, "4000000004")]));
    give(&stage, &a, "PACS", &json!([patient(4, NHS)]));

    let began = Instant::now();
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    assert!(began.elapsed() < seconds(9), "the stopped site holds up nobody: {:?}", began.elapsed());
    // What came from B is shown as this node will be given it: with an issuer before the number (IDY-040).
    let want = [
        row(1, &format!("b:{NHS}"), "NEARLINE", 1),
        row(2, "b:943 476 5919", "NEARLINE", 1),
        row(3, "NHS:943 476 5919", "NEARLINE", 9),
        row(4, NHS, "ONLINE", 1),
    ];
    assert_eq!(studies(said), want, "{said}");
    assert_eq!(markers(said), ["SURREY NOT ANSWERING"]);
    assert_eq!(last(said)["status"], 0);
    let marker = identifiers(said).into_iter().find(|set| set["InstanceAvailability"] == "UNAVAILABLE").unwrap();
    assert_eq!(
        (&marker["PatientID"], &marker["NumberOfStudyRelatedInstances"]),
        (&json!(NHS), &json!("0")),
        "{marker}"
    );
    let retrieved_here = identifiers(said).iter().all(|set| set["RetrieveAETitle"] == "WB_A");
    assert!(retrieved_here, "everything is retrieved here: {said}");
    let remote = identifiers(said).into_iter().find(|set| set["StudyInstanceUID"] == uid(1).as_str()).unwrap();
    assert_eq!(remote["AccessionNumber"], "", "another site's accession number is nobody's here: {remote}");

    // The same marker all day, and nothing to be found below it.
    let again = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    assert!(identifiers(again).iter().any(|set| set["StudyInstanceUID"] == marker["StudyInstanceUID"]), "{again}");
    let below = json!({ "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": marker["StudyInstanceUID"],
        "SeriesInstanceUID": "" } });
    assert_eq!(ask(stage.path(), &a, &[below])[0]["answers"], json!([{ "status": 0 }]));

    // UIX-13: DCMTK's findscu as it is.
    let mut command = Command::new(tool("findscu"));
    command.args([
        "-v",
        "-S",
        "-aet",
        "RADIOLOGY",
        "-aec",
        "WB_A",
        "-k",
        "0008,0052=STUDY",
        "-k",
        &format!("0010,0020={NHS}"),
    ]);
    command.args(["-k", "0020,000d", "-k", "0008,1030", "127.0.0.1", &a.config.dicom_port.to_string()]);
    let done = finish(&mut command, seconds(60));
    let text = format!("{}{}", done.stdout, done.stderr);
    let once = |n: u32| text.matches(&format!("[{}]", uid(n))).count() == 1;
    assert!(done.code == Some(0) && (1..=4).all(once) && text.contains("[SURREY NOT ANSWERING "), "{text}");
    for gateway in [&a, &b] {
        assert!(!gateway.log().contains(NHS) && !gateway.log().contains("Prior^Ann"), "{}", gateway.log());
        gateway.verify_ledger(false);
    }
}

/// UIX-12, UIX-13, DIM-070, DIM-089: four gateways, of which one is stopped and one is far away. DCMTK's findscu lists what the others hold, with
/// true counts, and names the one that is stopped; movescu has both studies brought to a node, byte for byte, and counts them.
#[test]
fn priors_of_three_gateways_are_found_and_moved_by_dcmtk() {
    let stage = Stage::new();
    let [b, c, mut d] = ["b", "c", "d"].map(|name| Gateway::start(&stage.path().join(name), holding(&stage, name, "")));
    let far = Proxy::to(c.config.web_port);
    let out = StoreScp::start(&stage.path().join("out"), "OUT");
    let nodes = format!(
        "[priors]\ndeadline = \"10s\"\n[[node]]\nae_title = \"WARD\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\n\
         patient_id = \"nhs\"\nmove_to = [\"OUT\"]\nforeign = \"as_is\"\n\
         [[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\nforeign = \"as_is\"\n",
        out.port
    );
    let url_of_c = format!("https://127.0.0.1:{}/dicom-web", far.port);
    let neighbours =
        [("b", b.config.url()), ("c", url_of_c), ("d", d.config.url())].map(|(n, url)| Neighbour::new(n, &url));
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, &nodes));
    let series = |n: u32, count: u32| -> Value { (1..=count).map(|at| one_series(n, at)).collect() };
    for (site, n, count) in [(&b, 1, 3), (&c, 2, 5), (&d, 3, 1)] {
        give(&stage, site, "PACS", &series(n, count));
    }
    d.stop();
    far.throttle_down(30_000);

    let port = a.config.dicom_port.to_string();
    let dcmtk = |program: &str, more: &[&str]| -> String {
        let mut command = Command::new(tool(program));
        command.args(["-d", "-S", "-aet", "WARD", "-aec", "WB_A", "-k", "0008,0052=STUDY"]).args(more);
        let done = finish(command.args(["127.0.0.1", &port]), seconds(100));
        assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
        format!("{}{}", done.stdout, done.stderr)
    };
    let found =
        dcmtk("findscu", &["-k", &format!("0010,0020={NHS}"), "-k", "0020,000d", "-k", "0020,1208", "-k", "0008,1030"]);
    // The answers, by the element that the request has not.
    let sets: Vec<&str> = found.split("# Dicom-Data-Set").filter(|set| set.contains("(0008,0054)")).collect();
    let counted = |n: u32| -> Vec<&str> {
        let named = sets.iter().filter(|set| set.contains(&format!("[{}]", uid(n))));
        let lines = named.flat_map(|set| set.lines()).filter(|line| line.contains("(0020,1208)"));
        lines.filter_map(|line| line.split(['[', ']']).nth(1)).map(str::trim).collect()
    };
    assert_eq!((counted(1), counted(2), counted(3), sets.len()), (vec!["3"], vec!["5"], vec![], 3), "{found}");
    assert!(sets.iter().any(|set| set.contains("[D NOT ANSWERING ")), "{found}");

    for (n, count) in [(1, "3"), (2, "5")] {
        let began = Instant::now();
        let moved = dcmtk("movescu", &["-aem", "OUT", "-k", &format!("0020,000d={}", uid(n))]);
        let last =
            |name: &str| moved.lines().rfind(|line| line.contains(name)).and_then(|line| line.rsplit(": ").next());
        let counts =
            ["Completed", "Failed", "Warning"].map(|what| last(&format!("{what} Suboperations")).map(str::trim));
        assert_eq!(counts, [Some(count), Some("0"), Some("0")], "{moved}");
        assert!(n == 1 || began.elapsed() > seconds(1), "it is far away: {:?}", began.elapsed());
    }
    let held = |site: &Gateway, n: u32| -> Vec<(String, String)> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        site.study(&uid(n)).iter().map(|row| (text(row, "sop_instance_uid"), text(row, "sha256"))).collect()
    };
    let sent: BTreeMap<String, String> = held(&b, 1).into_iter().chain(held(&c, 2)).collect();
    assert_eq!((out.files().len(), out.digests()), (8, sent), "bit for bit");
    for site in [&a, &b, &c] {
        site.verify_ledger(true);
    }
}

fn one_series(n: u32, at: u32) -> Value {
    let mut one = patient(n, NHS);
    one["series"] = json!(at);
    one
}

/// "A silent site is visible": where the node wants it so, the query fails after the answers of those that did answer.
#[test]
fn a_node_that_wants_no_markers_is_told_of_silence_by_the_status() {
    let stage = Stage::new();
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[study(&uid(1), NHS, "NHS", 3)]));
    let stopped = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let neighbours = [Neighbour::new("b", &b.url()), Neighbour::new("surrey", &stopped)];
    let node = "[[node]]\nae_title = \"STRICT\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\"]\npatient_id = \"nhs\"\n\
        silent = \"failure\"\nforeign = \"as_is\"\n";
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, node));
    let mut request = priors_of(NHS);
    request["calling"] = json!("STRICT");
    let said = &ask(stage.path(), &a, &[request])[0];
    assert_eq!(studies(said), [row(1, NHS, "NEARLINE", 3)]);
    assert_eq!(
        (last(said)["status"].as_u64(), last(said)["comment"].as_str()),
        (Some(0xC001), Some("SURREY NOT ANSWERING"))
    );
    assert_eq!(markers(said), [""; 0]);
}

/// UIX-12: a person at the command line sees the same, how old it is and how much of it is here, and that it may not be all.
#[test]
fn a_person_finds_priors_and_sees_who_did_not_answer() {
    let stage = Stage::new();
    let mut b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let c = SearchedPeer::start(&identity(&stage, "c"), Manner::shows(&[]));
    let stopped = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let neighbours =
        [("b", b.config.url()), ("c", c.url()), ("surrey", stopped)].map(|(n, url)| Neighbour::new(n, &url));
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, ""));
    give(&stage, &b, "PACS", &json!([patient(1, NHS), patient(8, "4000000004")]));
    let asked = a.cli(&["priors", "find", "--nhs", "943 476 5919", "--purpose", "audit", "--json"]);
    let lines: Vec<Value> = asked.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(asked.code, Some(1), "it may not be all: {}", asked.stderr);
    let study = &lines[0];
    assert_eq!(
        [&study["site"], &study["study_instance_uid"], &study["state"], &study["instances"]],
        [&json!("b"), &json!(uid(1)), &json!("there"), &json!(1)]
    );
    assert!(study["bytes_here"] == 0 && study["answered"].is_string(), "{study}");
    let mut sites: Vec<(&str, &str)> =
        lines[1..].iter().map(|site| (site["site"].as_str().unwrap(), site["how"].as_str().unwrap())).collect();
    sites.sort_unstable();
    assert_eq!(sites, [("b", "answered"), ("c", "nothing"), ("surrey", "not answering")]);
    assert!(asked.stderr.contains("surrey (not answering)"), "{}", asked.stderr);
    let age = |lines: &[Value], name: &str| {
        let line = lines.iter().find(|line| line["site"] == name && line["how"].is_string()).unwrap();
        assert_eq!(line["answered"].is_string(), line["age_seconds"].is_u64(), "{line}");
        line["age_seconds"].as_u64()
    };
    assert_eq!(["b", "c", "surrey"].map(|site| age(&lines, site).map(|age| age < 60)), [Some(true), Some(true), None]);
    assert!(b.cli(&["why", &uid(1)]).ok("why").contains("audit"), "the holder knows what for");
    // A number that no other site knows is asked of nobody.
    let local = a.cli(&["priors", "find", "--patient", "4711"]);
    assert!(local.code == Some(1) && local.stdout.contains("b not asked: no NHS number is known"), "{}", local.stdout);
    let wrong = a.cli(&["priors", "find", "--nhs", "9434765918"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    a.cli(&["priors", "pull", &uid(1), "--from", "b"]).ok("pull");
    let pulled = a.cli(&["priors", "find", "--nhs", NHS, "--json"]).stdout;
    let pulled: Value = serde_json::from_str(pulled.lines().next().unwrap()).unwrap();
    let bytes: u64 = a.study(&uid(1)).iter().map(|instance| instance["bytes"].as_u64().unwrap()).sum();
    assert!(pulled["state"] == "here" && bytes > 0 && pulled["bytes_here"] == bytes, "{pulled}");
    // Of a site that is silent it is told when it last showed something.
    b.stop();
    let silent = a.cli(&["priors", "find", "--nhs", NHS]).stdout;
    let line = |site: &str| silent.lines().find(|line| line.starts_with(site)).unwrap_or_default();
    assert!(line("b not answering").contains("; it last showed a study ") && line("b ").ends_with(" ago"), "{silent}");
    assert!(line("c nothing").ends_with(", just now"), "{silent}");
    assert!(line("surrey not answering").ends_with("; it has never shown a study"), "{silent}");
}

/// A node that holds other sites' patients for a person is not shown them; that there is something it is shown.
#[test]
fn a_node_that_holds_foreign_patients_sees_that_a_site_has_something() {
    let stage = Stage::new();
    let mut held = study(&uid(1), NHS, "NHS", 3);
    held["0020000E"] = json!({ "vr": "UI", "Value": [format!("{}.1", uid(1))] });
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[held]));
    let node = "[[node]]\nae_title = \"CAREFUL\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\"]\npatient_id = \"nhs\"\n\
        foreign = \"hold\"\n";
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.url())], node));
    let mut request = priors_of(NHS);
    request["calling"] = json!("CAREFUL");
    let said = &ask(stage.path(), &a, &[request])[0];
    assert_eq!((studies(said).len(), markers(said)), (0, vec!["B HELD BACK".to_owned()]), "{said}");
    let series = json!({ "calling": "CAREFUL", "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": uid(1),
        "SeriesInstanceUID": "" } });
    let said = &ask(stage.path(), &a, &[series])[0];
    assert_eq!((statuses(said), last(said)["comment"].as_str()), (vec![0xC001], Some("B HELD BACK")), "{said}");
}

/// IDY-040, IDY-046: two people with one number at two sites are never listed as one. Who did not issue a number is not asked for
/// it, and the radiologist sees that.
#[test]
fn two_people_with_one_number_are_not_taken_for_one() {
    let stage = Stage::new();
    let mut config = holding(&stage, "b", "");
    "ZZ002".clone_into(&mut config.ods_code);
    let b = Gateway::start(&stage.path().join("b"), config);
    let neighbour = Neighbour::new("b", &b.config.url()).with("issuer = \"ZZ002\"");
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[neighbour], ""));
    // SENDER's numbers are the site's own; one of B's looks like an NHS number and is none.
    give(&stage, &b, "SENDER", &json!([patient(1, "4711"), patient(2, NHS)]));
    give(&stage, &b, "PACS", &json!([patient(3, NHS)]));
    give(&stage, &a, "SENDER", &json!([patient(4, "4711")]));
    let said = ask(stage.path(), &a, &[priors_of("4711"), priors_of(NHS), priors_of("ZZ002:4711")]);
    assert_eq!(studies(&said[0]), [row(4, "4711", "ONLINE", 1)]);
    assert_eq!(markers(&said[0]), ["B NOT ASKED"]);
    assert_eq!(studies(&said[1]), [row(3, &format!("ZZ002:{NHS}"), "NEARLINE", 1)], "{}", said[1]);
    assert_eq!(markers(&said[1]), [""; 0], "B has answered, and its namesake is nobody's business");
    // By the number as it is shown, B is asked for its own patient.
    assert_eq!(studies(&said[2]), [row(1, "ZZ002:4711", "NEARLINE", 1)]);
    assert_eq!(markers(&said[2]), [""; 0]);
}

/// "Below the study": series and images of a study that another site has shown, also after a restart and without a query before;
/// whoever has not shown it is not asked. A holder that is silent makes the answer a failure, never an empty list.
#[test]
fn series_and_images_of_another_sites_study_are_found_after_a_restart() {
    let stage = Stage::new();
    let mut b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let c = SearchedPeer::start(&identity(&stage, "c"), Manner::shows(&[]));
    let neighbours = [Neighbour::new("b", &b.config.url()), Neighbour::new("c", &c.url())];
    let mut a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, "[priors]\ndeadline = \"4s\""));
    give(&stage, &b, "PACS", &json!([patient(1, NHS), patient(2, NHS)]));
    assert_eq!(studies(&ask(stage.path(), &a, &[priors_of(NHS)])[0]).len(), 2);
    a.stop();
    a.up();
    let asked_before = c.asked().len();
    let series = json!({ "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": uid(1), "SeriesInstanceUID": "",
        "Modality": "", "NumberOfSeriesRelatedInstances": "" } });
    let images = json!({ "keys": { "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": uid(1),
        "SeriesInstanceUID": format!("{}.1", uid(1)), "SOPInstanceUID": "", "InstanceAvailability": "" } });
    let by_uid = json!({ "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid(2), "PatientID": "",
        "InstanceAvailability": "", "NumberOfStudyRelatedInstances": "" } });
    let said = ask(stage.path(), &a, &[series.clone(), images, by_uid]);
    let found = identifiers(&said[0]);
    assert_eq!(found.len(), 1, "{}", said[0]);
    assert_eq!(found[0]["SeriesInstanceUID"], format!("{}.1", uid(1)));
    assert_eq!(found[0]["NumberOfSeriesRelatedInstances"], "1");
    let found = identifiers(&said[1]);
    assert_eq!(found.len(), 1, "{}", said[1]);
    assert_eq!(
        (&found[0]["SOPInstanceUID"], &found[0]["InstanceAvailability"]),
        (&json!(format!("{}.1.1", uid(1))), &json!("NEARLINE"))
    );
    assert_eq!(studies(&said[2]), [row(2, &format!("b:{NHS}"), "NEARLINE", 1)]);
    assert_eq!(c.asked().len(), asked_before, "C has never shown the study");
    b.stop();
    let said = &ask(stage.path(), &a, &[series])[0];
    assert_eq!((statuses(said), last(said)["comment"].as_str()), (vec![0xC001], Some("B NOT ANSWERING")), "{said}");
}

/// DIM-080: what a search by an NHS number shows is retrieved by it too, in whatever form the number is held.
#[test]
fn a_number_that_is_held_with_spaces_retrieves_what_it_finds() {
    let stage = Stage::new();
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[], ""));
    give(&stage, &a, "PACS", &json!([patient(1, "943 476 5919"), patient(2, NHS), patient(8, "4000000004")]));
    let get = |keys: Value| json!({ "op": "get", "model": "patient", "classes": ["1.2.840.10008.5.1.4.1.1.4"], "keys": keys });
    let said = ask(
        stage.path(),
        &a,
        &[
            get(json!({ "QueryRetrieveLevel": "PATIENT", "PatientID": NHS })),
            get(json!({ "QueryRetrieveLevel": "STUDY", "PatientID": NHS, "StudyInstanceUID": uid(1) })),
            get(json!({ "QueryRetrieveLevel": "STUDY", "PatientID": NHS, "StudyInstanceUID": uid(8) })),
        ],
    );
    for (said, completed) in said.iter().zip([2, 1, 0]) {
        assert_eq!((&last(said)["status"], &last(said)["completed"]), (&json!(0), &json!(completed)), "{said}");
    }
}

/// "Origins and loops": what a peer searches for here is answered from what is held here, and asked of nobody else.
#[test]
fn a_peers_search_is_not_passed_on() {
    let stage = Stage::new();
    let c = SearchedPeer::start(&identity(&stage, "c"), Manner::shows(&[study(&uid(9), NHS, "NHS", 1)]));
    let nobody = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let neighbours = [Neighbour::new("b", &nobody), Neighbour::new("c", &c.url())];
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, ""));
    give(&stage, &a, "PACS", &json!([patient(1, "943 476 5919")]));
    let peer: Identity = identity(&stage, "b");
    for resource in [
        format!("studies?PatientID={NHS}"),
        format!("studies/{}/series", uid(9)),
        format!("studies?StudyInstanceUID={}", uid(9)),
    ] {
        let answer = search_as(&peer, &a, &resource);
        // A number is found in whatever form it is held.
        assert_eq!(answer.status, if resource.contains("PatientID") { 200 } else { 204 }, "{resource}: {answer:?}");
    }
    assert_eq!(c.asked(), [""; 0]);
}

/// DIM-070: a study of which a copy is held here is listed once, as held here, unless its holder has more of it by now; so is a series.
#[test]
fn a_copy_held_here_is_listed_once_with_the_right_count() {
    let stage = Stage::new();
    // Each knows the other's address before either runs.
    let mut config_of_b = SiteConfig::new("b", identity(&stage, "b"));
    let config_of_a = asking(&stage, &[Neighbour::new("b", &config_of_b.url())], "");
    config_of_b = config_of_b
        .with("[[node]]\nae_title = \"PACS\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"store\"]\npatient_id = \"nhs\"\n")
        .peer("a", &config_of_a.url(), A_IDENTITY, "present");
    let a = Gateway::start(&stage.path().join("a"), config_of_a);
    let b = Gateway::start(&stage.path().join("b"), config_of_b);
    give(&stage, &b, "PACS", &json!([patient(1, NHS)]));
    b.cli(&["send", "--study", &uid(1), "--to", "a", "--wait"]).ok("send");
    until(seconds(30), "the copy is at A", || (a.holds(&uid(1)) == 1).then_some(()));
    let mine = format!("b:{NHS}");
    assert_eq!(studies(&ask(stage.path(), &a, &[priors_of(NHS)])[0]), [row(1, &mine, "ONLINE", 1)]);
    // A second instance of it comes into being at B.
    grow(&stage, &b);
    let series = json!({ "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": uid(1), "SeriesInstanceUID": "",
        "NumberOfSeriesRelatedInstances": "", "InstanceAvailability": "" } });
    let said = ask(stage.path(), &a, &[priors_of(NHS), series]);
    assert_eq!(studies(&said[0]), [row(1, &mine, "NEARLINE", 2)]);
    let found = identifiers(&said[1]);
    let [series] = &found[..] else { panic!("one series, once: {}", said[1]) };
    let told = (&series["InstanceAvailability"], &series["NumberOfSeriesRelatedInstances"]);
    assert_eq!(told, (&json!("NEARLINE"), &json!("2")), "its series likewise: {}", said[1]);
}

/// Study 1 of the patient gets another instance.
fn grow(stage: &Stage, site: &Gateway) {
    let folder = stage.path().join("grown");
    std::fs::create_dir_all(&folder).unwrap();
    let first = stage.path().join("b-PACS").join(format!("{}.dcm", uid(1)));
    let bytes = std::fs::read(first).unwrap();
    let (old, new) = (format!("{}.1.1", uid(1)), format!("{}.1.2", uid(1)));
    let mut text = bytes;
    while let Some(at) = memchr::memmem::find(&text, old.as_bytes()) {
        text[at..at + old.len()].copy_from_slice(new.as_bytes());
    }
    let path = folder.join("second.dcm");
    std::fs::write(&path, text).unwrap();
    let done =
        crate::support::dcmtk::storescu(site.config.dicom_port, &site.config.ae_title, &["-aet", "PACS"], &[path]);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    until(seconds(30), "it is held", || (site.holds(&uid(1)) == 2).then_some(()));
}

/// IDY-041, "Whom to ask for priors": two sites with numbers of their own, and what each was told of NHS numbers. The one finds and is given
/// what the other holds under its own number; where the other is not sure, nothing is shown.
#[test]
fn sites_with_numbers_of_their_own_find_one_patient_by_the_nhs_number() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let local = "[[node]]\nae_title = \"LOCAL\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\n";
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.config.url())], local));
    let ann = |n: u32, id: &str, born: &str| json!({ "uid": n, "PatientID": id, "PatientName": "Prior^Ann", "PatientBirthDate": born, "StudyDate": "20240102" });
    give(&stage, &b, "SENDER", &json!([ann(1, "Q9", "19600229"), ann(2, "Q8", "19600229"), ann(3, "Q7", "19610301")]));
    give(&stage, &a, "SENDER", &json!([ann(4, "P7", "19600229")]));
    let learn = |site: &Gateway, ids: &[&str]| {
        let lines: Vec<String> = ids.iter().map(|id| format!("{id},4000000004,1960-02-29\n")).collect();
        let file = stage.path().join("links.csv");
        std::fs::write(&file, format!("patient_id,nhs_number,birth_date\n{}", lines.concat())).unwrap();
        site.cli(&["patients", "import", file.to_str().unwrap(), "--issuer", "ZZ001"]).ok("import");
    };
    learn(&a, &["P7"]);
    // Of Q7 the cross-reference and the object disagree, so that it is nobody's.
    learn(&b, &["Q9", "Q7"]);
    let mut request = priors_of("P7");
    request["calling"] = "LOCAL".into();
    let said = &ask(stage.path(), &a, &[request])[0];
    assert_eq!(studies(said), [row(1, "b:Q9", "NEARLINE", 1), row(4, "P7", "ONLINE", 1)], "{said}");
    assert_eq!((markers(said).len(), &last(said)["status"]), (0, &json!(0)), "{said}");
    let get = json!({ "op": "get", "calling": "LOCAL", "classes": ["1.2.840.10008.5.1.4.1.1.4"],
        "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": uid(1) } });
    let said = &ask(stage.path(), &a, &[get])[0];
    assert_eq!((&last(said)["status"], &last(said)["completed"]), (&json!(0), &json!(1)), "{said}");
}
