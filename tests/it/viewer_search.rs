//! What neighbouring sites hold, found by a viewer at this one by QIDO-RS: merged with what is here, and nobody's silence taken for nothing.

use crate::rejections;
use crate::support::config::free_port;
use crate::support::dcmtk::storescu;
use crate::support::gateway::Gateway;
use crate::support::neighbours::*;
use crate::support::process::finish;
use crate::support::python;
use crate::support::searched_peer::{Manner, SearchedPeer, study};
use crate::support::tools::tool;
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;
use crate::viewer::TOKEN;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

fn uid(n: u32) -> String {
    format!("2.25.70000000098.{n}")
}

fn patient(n: u32, id: &str) -> Value {
    json!({ "uid": n, "PatientID": id, "PatientName": "Prior^Ann", "StudyDate": "20240102", "AccessionNumber": "ACC" })
}

/// Site A with a viewer whose numbers are NHS numbers.
pub struct Viewed {
    pub a: Gateway,
    pub port: u16,
    pub stage: Stage,
}

impl Viewed {
    /// `lines` go into the node's entry, `tables` behind all.
    pub fn start(stage: Stage, neighbours: &[Neighbour], lines: &str, tables: &str) -> Self {
        let (token, port) = (stage.path().join("viewer.token"), free_port());
        std::fs::write(&token, TOKEN).unwrap();
        let viewer = format!(
            "[[node]]\nae_title = \"VIEWER\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\npatient_id = \"nhs\"\n\
             foreign = \"as_is\"\n{lines}\n[viewer]\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"{}\"\nnode = \"VIEWER\"\n{tables}",
            token.display()
        );
        let a = Gateway::start(&stage.path().join("a"), asking(&stage, neighbours, &viewer));
        Self { a, port, stage }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/dicom-web", self.port)
    }

    /// As the viewer asks.
    pub fn shown(&self, resource: &str) -> Got {
        let mut command = Command::new(tool("curl"));
        command.args(["--silent", "--show-error", "--noproxy", "*", "--globoff", "--include"]);
        command.args(["--header", &format!("Authorization: Bearer {TOKEN}"), "--header", "Accept: */*"]);
        let said = finish(command.arg(format!("{}/{resource}", self.url())), seconds(120)).ok(resource);
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let warnings =
            fields.filter(|(name, _)| name.eq_ignore_ascii_case("warning")).map(|(_, text)| text.to_owned()).collect();
        let retry = head.to_lowercase().contains("retry-after:");
        Got { status, warnings, retry, sets: serde_json::from_str(body).unwrap_or_default(), body: body.to_owned() }
    }

    /// The results of a search that is answered in full.
    fn found(&self, resource: &str) -> Vec<(String, String, u64)> {
        let got = self.shown(resource);
        assert!(got.warnings.is_empty() && [200, 204].contains(&got.status), "{resource}: {got:?}");
        got.list()
    }
}

/// One answer.
#[derive(Debug)]
pub struct Got {
    status: u16,
    warnings: Vec<String>,
    retry: bool,
    pub sets: Vec<Value>,
    body: String,
}

fn text(set: &Value, tag: &str) -> String {
    set[tag]["Value"][0].as_str().unwrap_or_default().to_owned()
}

impl Got {
    /// The UID of the level, availability, and number of instances of each result.
    fn list(&self) -> Vec<(String, String, u64)> {
        let one = |set: &Value| {
            let uid = ["00080018", "0020000E", "0020000D"].map(|tag| text(set, tag));
            let count = ["00201208", "00201209"].iter().find_map(|tag| set[*tag]["Value"][0].as_u64());
            (uid.into_iter().find(|uid| !uid.is_empty()).unwrap(), text(set, "00080056"), count.unwrap_or_default())
        };
        self.sets.iter().map(one).collect()
    }

    fn warns(&self, words: &str) -> bool {
        self.warnings.iter().any(|warning| warning.starts_with("299 http://127.0.0.1:") && warning.contains(words))
    }
}

fn row(uid: &str, available: &str, instances: u64) -> (String, String, u64) {
    (uid.to_owned(), available.to_owned(), instances)
}

/// DIM-070, WEB-090, "Below the study": a patient's studies of both sites, each once, ours first; what is below one of a neighbour's is
/// found, opened, and found again as the copy that it is then, in the same place. dicomweb-client finds the same.
#[test]
fn a_neighbours_study_is_found_by_its_patient_and_opened() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let site = Viewed::start(stage, &[Neighbour::new("b", &b.config.url())], "", "");
    give(&site.stage, &b, "PACS", &json!([patient(1, NHS), patient(2, "943 476 5919"), patient(8, "4000000004")]));
    give(&site.stage, &site.a, "PACS", &json!([patient(4, NHS)]));
    let [ours, one, two] = [4, 1, 2].map(uid);
    let all = |of_one: &str| [row(&ours, "ONLINE", 1), row(&one, of_one, 1), row(&two, "NEARLINE", 1)];
    let of_patient = format!("studies?PatientID={NHS}&includefield=00081030");
    assert_eq!(site.found(&of_patient), all("NEARLINE"));
    let link = text(&site.shown(&of_patient).sets[1], "00081190");
    assert_eq!(link, format!("{}/studies/{one}", site.url()), "it is had from here");
    // Matching is done again here, whatever the site matched.
    let modality = text(&site.shown(&of_patient).sets[1], "00080061");
    let narrowed = [
        ("StudyDate=20240102", 3),
        (&*format!("ModalitiesInStudy={modality}"), 3),
        ("ModalitiesInStudy=XX", 0),
        ("StudyDate=20240103-", 0),
    ];
    for (narrowed, count) in narrowed {
        assert_eq!(site.found(&format!("studies?PatientID={NHS}&{narrowed}")).len(), count, "{narrowed}");
    }
    let (series, instance) = (format!("{one}.1"), format!("{one}.1.1"));
    let below = [
        (format!("studies?StudyInstanceUID={one}"), row(&one, "NEARLINE", 1)),
        (format!("studies/{one}/series"), row(&series, "NEARLINE", 1)),
        (format!("series?StudyInstanceUID={one}"), row(&series, "NEARLINE", 1)),
        (format!("studies/{one}/instances"), row(&instance, "NEARLINE", 0)),
        (format!("studies/{one}/series/{series}/instances"), row(&instance, "NEARLINE", 0)),
        (format!("instances?StudyInstanceUID={one}&SOPInstanceUID={instance}"), row(&instance, "NEARLINE", 0)),
    ];
    for (resource, want) in &below {
        assert_eq!(site.found(resource), std::slice::from_ref(want), "{resource}");
    }
    assert_eq!(site.a.holds(&one), 0, "a search pulls nothing");
    for nothing in [
        format!("studies/{one}/series?Modality=XX"),
        format!("studies/{one}/series/1.2/instances"),
        "studies/1.2.3/series".into(),
    ] {
        assert_eq!(site.found(&nothing), [], "{nothing}");
    }
    let said = python::lines("viewer_search", [&*site.url(), TOKEN, NHS]);
    let want: BTreeSet<&str> = [&*ours, &*one, &*two].into();
    assert_eq!(said.iter().map(|line| line["study"].as_str().unwrap()).collect::<BTreeSet<_>>(), want);
    for line in &said {
        assert_eq!(
            (&line["series"], &line["instances"], &line["described"]),
            (&json!(1), &json!(1), &json!(1)),
            "{line}"
        );
    }
    // All three were opened: they are here now, each in its place.
    let here = [row(&ours, "ONLINE", 1), row(&one, "ONLINE", 1), row(&two, "ONLINE", 1)];
    assert_eq!(site.found(&of_patient), here);
    for (resource, (uid, _, count)) in &below {
        assert_eq!(site.found(resource), [row(uid, "ONLINE", *count)], "{resource}");
    }
    assert!(!site.a.log().contains(NHS) && !site.a.log().contains("Prior^Ann"), "{}", site.a.log());
    site.a.verify_ledger(true);
}

/// "A silent site is visible": by a study that says so and by Warning headers beside what others show, by 503 where nothing else is shown.
#[test]
fn a_silent_site_is_shown_and_never_nothing() {
    let stage = Stage::new();
    let stopped = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[study("2.25.5", NHS, "NHS", 3)]));
    let neighbours = [Neighbour::new("b", &b.url()), Neighbour::new("surrey", &stopped)];
    let site = Viewed::start(stage, &neighbours, "", "");
    give(&site.stage, &site.a, "PACS", &json!([patient(4, NHS)]));
    let got = site.shown(&format!("studies?PatientID={NHS}&ModalitiesInStudy=CT"));
    let marker = got.sets.last().unwrap();
    assert!(text(marker, "00081030").starts_with("SURREY NOT ANSWERING "), "{marker}");
    let told = ["00080056", "00100020", "00080061"].map(|tag| text(marker, tag));
    assert_eq!((got.status, told), (200, ["UNAVAILABLE".into(), NHS.into(), "CT".into()]), "{marker}");
    assert!(got.warns("site surrey does not answer; what it alone holds is not shown"), "{got:?}");
    // Below the marker there is nothing, and nobody is asked.
    let below = format!("studies/{}/series", text(marker, "0020000D"));
    assert_eq!(site.found(&below), []);
    // A page behind others cannot be told to fit them; ours can.
    let page = site.shown(&format!("studies?PatientID={NHS}&offset=1"));
    assert_eq!((page.status, page.retry), (503, true), "{page:?}");
    give(&site.stage, &site.a, "PACS", &json!([patient(3, NHS)]));
    let page = site.shown(&format!("studies?PatientID={NHS}&offset=1"));
    assert_eq!((page.status, page.list()), (200, vec![row(&uid(3), "ONLINE", 1)]));
    assert!(page.warns("begin again at offset 0"), "{page:?}");
    // A study that nobody has shown might be there.
    for resource in ["studies/1.2.3/series", "studies/1.2.3/instances", "studies?StudyInstanceUID=1.2.3"] {
        let got = site.shown(resource);
        assert_eq!((got.status, got.retry), (503, true), "{resource}: {got:?}");
        assert!(got.body.contains("site surrey does not answer"), "{got:?}");
    }
    // One that is here from our own nodes is not asked for.
    assert_eq!(site.found(&format!("studies/{}/series", uid(4))).len(), 1);
}

/// "A silent site is visible": where the node wants a failure, the search has one. What is not asked is said.
#[test]
fn who_was_not_asked_is_told_and_a_node_may_want_a_failure() {
    let stage = Stage::new();
    let stopped = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[study("2.25.5", NHS, "NHS", 3)]));
    let site = Viewed::start(stage, &[Neighbour::new("b", &b.url())], "", "");
    give(&site.stage, &site.a, "PACS", &json!([patient(4, NHS)]));
    // A number that nobody else issued: nobody is asked, and the viewer sees it.
    let got = site.shown("studies?PatientID=LOCAL7");
    assert!(text(&got.sets[0], "00081030").starts_with("B NOT ASKED ") && got.warns("not asked"), "{got:?}");
    // What names nobody stays here, and says so.
    for resource in [
        "studies".to_owned(),
        format!("studies?PatientID=*{NHS}*"),
        "studies?PatientName=Prior*".to_owned(),
        format!("series?PatientID={NHS}"),
    ] {
        let got = site.shown(&resource);
        assert_eq!((got.status, got.sets.len()), (200, 1), "{resource}: {got:?}");
        assert!(got.warns("other sites were not asked: they are asked by one whole Patient ID"), "{resource}: {got:?}");
    }
    let many: Vec<String> = (0..11).map(|n| format!("1.2.{n}")).collect();
    assert!(site.shown(&format!("studies?StudyInstanceUID={}", many.join(","))).warns("more than 10"));
    assert_eq!(b.asked(), [""; 0]);
    let strict = Stage::new();
    let b = SearchedPeer::start(&identity(&strict, "b"), Manner::shows(&[study("2.25.5", NHS, "NHS", 3)]));
    let neighbours = [Neighbour::new("b", &b.url()), Neighbour::new("surrey", &stopped)];
    let site = Viewed::start(strict, &neighbours, "silent = \"failure\"", "");
    let got = site.shown(&format!("studies?PatientID={NHS}"));
    assert!(got.status == 503 && got.retry && got.body.contains("site surrey does not answer"), "{got:?}");
}

/// WEB-094: pages of what two sites and we hold fit together, whichever site answers first: each study on one of them, once.
#[test]
fn pages_of_a_merged_answer_fit_together() {
    let stage = Stage::new();
    let shows = |list: &[u32]| -> Vec<Value> {
        list.iter().map(|n| study(&format!("2.25.6.{n}"), NHS, "NHS", u32::from(*n == 3) + 1)).collect()
    };
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&shows(&[5, 3, 1])));
    let c = SearchedPeer::start(&identity(&stage, "c"), Manner::shows(&shows(&[4, 3, 2, 6])));
    let site = Viewed::start(stage, &[Neighbour::new("b", &b.url()), Neighbour::new("c", &c.url())], "", "");
    give(&site.stage, &site.a, "PACS", &json!([patient(9, NHS), patient(7, NHS)]));
    let mut all = Vec::new();
    for (page, left) in [Some(6), Some(4), Some(2), None, None].into_iter().enumerate() {
        let slow = std::time::Duration::from_millis(700);
        let (first, second) = if page % 2 == 0 { (&b, &c) } else { (&c, &b) };
        let (of_b, of_c) = (Manner::shows(&shows(&[5, 3, 1])), Manner::shows(&shows(&[4, 3, 2, 6])));
        let (early, late) = if page % 2 == 0 { (of_b, of_c) } else { (of_c, of_b) };
        first.manner(early);
        second.manner(late.after(slow));
        let got = site.shown(&format!("studies?PatientID={NHS}&limit=2&offset={}", page * 2));
        let words = left.map(|left| format!("There are {left} additional results that can be requested"));
        assert!(words.as_ref().map_or(got.warnings.is_empty(), |words| got.warns(words)), "{page}: {got:?}");
        all.extend(got.list().into_iter().map(|(uid, ..)| uid));
    }
    let mut want = vec![uid(9), uid(7)];
    want.extend((1..=6).map(|n| format!("2.25.6.{n}")));
    assert_eq!(all, want);
}

/// "Sharing limits": what is withheld from the node is as if no site had it, to its viewer and to the node itself.
#[test]
fn what_is_withheld_is_not_found_at_other_sites_either() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let rule = "[[withhold]]\nname = \"all of b\"\nfrom = [\"b\"]\nto = [\"VIEWER\", \"RADIOLOGY\"]\n";
    let site = Viewed::start(stage, &[Neighbour::new("b", &b.config.url())], "", rule);
    give(&site.stage, &b, "PACS", &json!([patient(1, NHS)]));
    give(&site.stage, &site.a, "PACS", &json!([patient(4, NHS)]));
    assert_eq!(site.found(&format!("studies?PatientID={NHS}")), [row(&uid(4), "ONLINE", 1)]);
    for resource in ["series", "instances"] {
        assert_eq!(site.found(&format!("studies/{}/{resource}", uid(1))), [], "{resource}");
    }
    assert_eq!(site.found(&format!("studies?StudyInstanceUID={}", uid(1))), []);
    let series =
        json!({ "keys": { "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": uid(1), "SeriesInstanceUID": "" } });
    let said = ask(site.stage.path(), &site.a, &[priors_of(NHS), series]);
    assert_eq!((studies(&said[0]).len(), markers(&said[0])), (1, Vec::new()), "{}", said[0]);
    assert_eq!(said[1]["answers"], json!([{ "status": 0 }]));
}

/// WEB-105: an instance that a rejection note hides here is not shown because another site lists it still.
#[test]
fn what_is_rejected_here_is_not_found_at_other_sites() {
    let stage = Stage::new();
    let (of, series) = (uid(4), format!("{}.1", uid(4)));
    let one = |vr: &str, value: &str| json!({ "vr": vr, "Value": [value] });
    let listed = |n: u32| {
        json!({ "0020000D": one("UI", &of), "0020000E": one("UI", &series), "00080018": one("UI", &format!("{series}.{n}")),
            "00080016": one("UI", MR) })
    };
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[listed(1), listed(2)]));
    let site = Viewed::start(stage, &[Neighbour::new("b", &b.url())], "", "");
    give(&site.stage, &site.a, "PACS", &json!([patient(4, NHS)]));
    let named = json!([{ "study": of, "series": series, "sop_class": MR, "sop_instance": format!("{series}.1") }]);
    let said = json!({ "uid": "2.25.77.1", "study": of, "code": "113037", "named": named });
    let file = rejections::note(site.stage.path(), &said);
    storescu(site.a.config.dicom_port, &site.a.config.ae_title, &["-xe", "-aet", "PACS"], &[file]).ok("storescu");
    rejections::read(&site.a, "2.25.77.1", "in force", 1);
    let instances = format!("studies/{of}/series/{series}/instances");
    assert_eq!(site.found(&instances), [row(&format!("{series}.2"), "NEARLINE", 0)]);
    let images = json!({ "keys": { "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": of, "SeriesInstanceUID": series,
        "SOPInstanceUID": "" } });
    let found = identifiers(&ask(site.stage.path(), &site.a, &[images])[0]);
    let found: Vec<&Value> = found.iter().map(|set| &set["SOPInstanceUID"]).collect();
    assert_eq!(found, [&json!(format!("{series}.2"))]);
}
