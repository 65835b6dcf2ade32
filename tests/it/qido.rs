//! QIDO-RS as a peer's program searches: studies, series and instances, by what they hold, page by page while more arrive.

use crate::support::certs::Identity;
use crate::support::dcmtk::storescu;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::gateway::Gateway;
use crate::support::multipart::{body, content_type};
use crate::support::process::finish;
use crate::support::python;
use crate::support::tools::{demo_study, tool};
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wait::seconds;
use crate::support::wire::{Reply, Wire};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A site that lets peer `b` do everything, and peer `a` only store.
struct Site {
    gateway: Gateway,
    b: Identity,
    a: Identity,
    stage: Stage,
}

impl Site {
    fn start() -> Self {
        let stage = Stage::new();
        let only_store = format!(
            "[[peer]]\nname = \"a\"\nurl = \"https://127.0.0.1:9/dicom-web\"\nidentity = \"{A_IDENTITY}\"\nmay = [\"store\"]"
        );
        let config = stage.site_a("https://127.0.0.1:9/dicom-web").with(&only_store);
        let gateway = Gateway::start(&stage.path().join("site"), config);
        let (b, a) = (stage.authority.issue(B_IDENTITY), stage.authority.issue(A_IDENTITY));
        Self { gateway, b, a, stage }
    }

    fn store(&self, all: &[Names]) {
        let mut wire = Wire::open(&self.b, self.gateway.config.web_port);
        let parts: Vec<Vec<u8>> = all
            .iter()
            .map(|names| part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 1000, 1)))
            .collect();
        let kind = format!("Content-Type: {}", content_type());
        wire.request("POST /dicom-web/studies", &[&kind], &body(&parts, true)).unwrap();
        let reply = wire.answer().expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    fn ask(&self, who: &Identity, resource: &str) -> Reply {
        let mut wire = Wire::open(who, self.gateway.config.web_port);
        wire.head(&format!("GET /dicom-web/{resource}"), &[]).unwrap();
        wire.answer().expect("an answer")
    }

    /// The results; none if the answer is 204.
    fn search(&self, resource: &str) -> Vec<Value> {
        let reply = self.ask(&self.b, resource);
        match reply.status {
            200 => reply.json().as_array().unwrap().clone(),
            204 => Vec::new(),
            _ => panic!("{resource}: {reply:?}"),
        }
    }
}

fn value<'a>(set: &'a Value, tag: &str) -> &'a Value {
    &set[tag]["Value"][0]
}

#[test]
fn studies_series_and_instances_are_found_by_what_they_hold() {
    let site = Site::start();
    let all = [names(440, 1, 1), names(440, 1, 2), names(440, 2, 1)];
    site.store(&all);
    let (study, series) = (&all[0].study, &all[0].series);
    let rows = [
        ("studies?StudyDate=20250310".to_owned(), 2),
        (format!("studies?StudyInstanceUID={study}"), 1),
        (format!("studies?StudyInstanceUID={study},{}", all[2].study), 2),
        ("studies?PatientID=T0000001".to_owned(), 2),
        // Padding and Python's words.
        ("studies?PatientID=T0000001%20&fuzzymatching=True".to_owned(), 2),
        ("studies?StudyDate=20250310%20".to_owned(), 2),
        ("studies?PatientID=T000*&PatientName=specimen^*".to_owned(), 2),
        ("studies?PatientID=t0000001".to_owned(), 0),
        ("studies?00100020=T0000001&StudyDate=20250301-20250331".to_owned(), 2),
        ("studies?StudyDate=-20250309".to_owned(), 0),
        ("studies?StudyDate=20250310&ModalitiesInStudy=OT".to_owned(), 2),
        ("studies?StudyDate=20250310&ModalitiesInStudy=CT".to_owned(), 0),
        // Held nowhere, so nothing can match it; what is not supported is ignored.
        ("studies?AccessionNumber=A1".to_owned(), 0),
        ("studies?StudyDate=20250310&Nonsense=1&PatientComments=x&limit=1&offset=1".to_owned(), 1),
        ("studies?StudyDate=20250310&offset=2".to_owned(), 0),
        ("series?PatientID=T0000001".to_owned(), 2),
        (format!("series?SeriesInstanceUID={series}&Modality=OT"), 1),
        (format!("studies/{study}/series"), 1),
        (format!("studies/{study}/series?Modality=CT"), 0),
        (format!("studies/{study}/instances"), 2),
        (format!("studies/{study}/series/{series}/instances"), 2),
        (format!("studies/{study}/series/1.2/instances"), 0),
        (format!("studies/{study}/instances?SOPClassUID={SECONDARY_CAPTURE}"), 2),
        (format!("studies/{study}/instances?SOPClassUID=1.2"), 0),
        (format!("instances?SOPInstanceUID={},{}", all[1].instance, all[2].instance), 2),
    ];
    for (resource, found) in rows {
        assert_eq!(site.search(&resource).len(), found, "{resource}");
    }
    in_the_form_that_is_wanted(&site);
    for wrong in [
        "studies?StudyDate=2025",
        "studies?limit=-1",
        "series?SeriesNumber=x",
        "studies?StudyDate=20250310&StudyTime=25",
        "studies?StudyDate=20250310&StudyTime=1000-2561",
        "studies?StudyInstanceUID=..",
        "instances",
        // Nobody is listed at large (SEC-022).
        "studies",
        "series",
        "studies?limit=1",
        "studies?PatientName=*",
        "studies?PatientName=*%5E*&PatientID=**",
        "series?Modality=OT",
        "studies?ModalitiesInStudy=OT",
        // Nor by what a study is not matched by.
        "studies?SeriesInstanceUID=1.2.3",
    ] {
        assert_eq!(site.ask(&site.b, wrong).status, 400, "{wrong}");
    }
}

/// WEB-091: JSON or parts of XML, whichever Accept prefers; neither for who takes neither.
fn in_the_form_that_is_wanted(site: &Site) {
    let ask = |accept: &str| {
        let mut wire = Wire::open(&site.b, site.gateway.config.web_port);
        wire.head("GET /dicom-web/studies?PatientID=T0000001", &[&format!("Accept: {accept}")]).unwrap();
        wire.answer().expect("an answer")
    };
    let xml = "multipart/related; type=\"application/dicom+xml\"";
    for accept in
        ["application/dicom+json", "application/json", "*/*", &format!("{xml}; q=0.5, application/dicom+json")]
    {
        let reply = ask(accept);
        assert_eq!((reply.status, reply.json().as_array().map(Vec::len)), (200, Some(2)), "{accept}");
    }
    let reply = ask(xml);
    let kind = reply.header("content-type").unwrap().to_owned();
    assert!(reply.status == 200 && kind.starts_with(xml), "{kind}");
    let text = reply.text();
    let boundary = kind.split("boundary=").nth(1).unwrap().trim_matches('"');
    assert!(
        text.starts_with(&format!("--{boundary}\r\n")) && text.trim_end().ends_with(&format!("--{boundary}--")),
        "{text}"
    );
    assert_eq!(text.matches("<NativeDicomModel").count(), 2, "{text}");
    assert_eq!(text.matches("keyword=\"StudyInstanceUID\"").count(), 2, "{text}");
    let any_parts = ask("multipart/related");
    assert!(any_parts.status == 200 && any_parts.header("content-type").unwrap().starts_with(xml), "{any_parts:?}");
    assert_eq!(ask("image/png").status, 406);
}

#[test]
fn what_the_standard_requires_is_returned_and_more_if_asked_for() {
    let site = Site::start();
    let names = names(441, 1, 1);
    site.store(std::slice::from_ref(&names));
    let base = "https://gateway.test/dicom-web/studies";
    let study = &site.search(&format!("studies?StudyInstanceUID={}", names.study))[0];
    let own = format!("{base}/{}", names.study);
    assert_eq!(
        (value(study, "0020000D"), value(study, "00081190")),
        (&names.study.clone().into(), &own.clone().into())
    );
    assert_eq!((value(study, "00080061"), value(study, "00080056")), (&"OT".into(), &"ONLINE".into()));
    assert_eq!((value(study, "00201206"), value(study, "00201208")), (&1.into(), &1.into()));
    assert_eq!(
        (value(study, "00080005"), &value(study, "00100010")["Alphabetic"]),
        (&"ISO_IR 192".into(), &"Specimen^Test".into())
    );
    assert_eq!((value(study, "00080020"), value(study, "00100020")), (&"20250310".into(), &"T0000001".into()));
    assert!(study.get("00080060").is_none(), "a modality is not a study's");
    let series = &site.search(&format!("series?SeriesInstanceUID={}", names.series))[0];
    let below = format!("{own}/series/{}", names.series);
    assert_eq!((value(series, "00081190"), value(series, "00201209")), (&below.clone().into(), &1.into()));
    assert_eq!((value(series, "00080060"), value(series, "00100020")), (&"OT".into(), &"T0000001".into()));
    let instances = format!("studies/{}/instances", names.study);
    let instance = &site.search(&instances)[0];
    assert_eq!(value(instance, "00081190"), &format!("{below}/instances/{}", names.instance));
    assert!(instance.get("00100020").is_none(), "the study's attributes are known to who asks below it");
    let asked = &site.search(&format!("{instances}?includefield=PatientID,00080020"))[0];
    let encoded = &site.search(&format!("{instances}?includefield=PatientID%2C00080020"))[0];
    assert_eq!(encoded, asked, "OHIF encodes the comma");
    assert_eq!((value(asked, "00100020"), value(asked, "00080020")), (&"T0000001".into(), &"20250310".into()));
    assert_eq!(
        value(&site.search(&format!("{instances}?includefield=all"))[0], "00100010")["Alphabetic"],
        "Specimen^Test"
    );
    // Who only verifies what it sent learns nothing of the patient.
    let verified = site.ask(&site.a, &format!("instances?SOPInstanceUID={}&includefield=all", names.instance));
    assert!(verified.status == 200 && !verified.text().contains("T0000001"), "{verified:?}");
    for resource in ["studies", "series", &instances] {
        assert_eq!(site.ask(&site.a, resource).status, 403, "{resource}");
    }
}

#[test]
fn pages_are_stable_while_more_arrives_and_say_what_is_left() {
    let site = Site::start();
    let of = |study: u64| names(442, study, 1);
    site.store(&(1..=5).map(of).collect::<Vec<_>>());
    let mut seen = Vec::new();
    for (page, left) in [(0, Some(3)), (1, Some(3)), (2, Some(3)), (3, Some(2)), (4, None)] {
        let reply = site.ask(&site.b, &format!("studies?StudyDate=20250310&limit=2&offset={}", page * 2));
        let warning = left.map(|left| {
            format!("299 https://gateway.test/dicom-web: There are {left} additional results that can be requested")
        });
        assert_eq!(reply.header("warning").map(str::to_owned), warning, "page {page}");
        seen.extend(
            reply.json().as_array().unwrap().iter().map(|set| value(set, "0020000D").as_str().unwrap().to_owned()),
        );
        // More comes in while the pages are read.
        if page < 3 {
            site.store(
                &(6 + page * 2..8 + page * 2).map(of).chain([of(1)]).collect::<Vec<_>>()
                    [..if page == 2 { 1 } else { 2 }],
            );
        }
    }
    assert_eq!(seen.len(), 10);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 10, "none twice, none left out");
    let reply = site.ask(&site.b, "studies?StudyDate=20250310&fuzzymatching=true&limit=20");
    let words = "299 https://gateway.test/dicom-web: The fuzzymatching parameter is not supported. Only literal matching has been performed.";
    assert_eq!((reply.status, reply.header("warning")), (200, Some(words)));
}

/// WEB-094: a list of as many names as a query may hold is answered, and one that is longer is refused with the reason.
#[test]
fn a_list_of_as_many_names_as_are_allowed_is_answered() {
    let site = Site::start();
    let all = [names(443, 1, 1), names(443, 1, 2)];
    site.store(&all);
    let list = |count: usize| {
        let others = (0..count - all.len()).map(|n| format!("1.2.{n}"));
        let list: Vec<String> = others.chain(all.iter().map(|names| names.instance.clone())).collect();
        format!("instances?SOPInstanceUID={}", list.join(","))
    };
    for count in [1_000, 1_001, 1_024] {
        for who in [&site.b, &site.a] {
            let reply = site.ask(who, &list(count));
            assert_eq!((reply.status, reply.json().as_array().map(Vec::len)), (200, Some(2)), "{count}");
        }
    }
    let reply = site.ask(&site.b, &list(1_025));
    assert!(reply.status == 400 && reply.text().contains("more than 1024 values"), "{reply:?}");
}

/// Copies of files, with a time zone and two requests.
fn requested(folder: &Path, files: &[PathBuf]) -> Vec<PathBuf> {
    let copy = |file: &PathBuf| {
        let path = folder.join(file.file_name().unwrap());
        std::fs::copy(file, &path).unwrap();
        path
    };
    let copies: Vec<PathBuf> = files.iter().map(copy).collect();
    let mut command = Command::new(tool("dcmodify"));
    command.args(["-nb", "-i", "(0008,0201)=+0100"]);
    for (at, (step, procedure)) in [("SPS1", "RP1"), ("", "RP2")].iter().enumerate() {
        command.arg("-i").arg(format!("(0040,0275)[{at}].(0040,0009)={step}"));
        command.arg("-i").arg(format!("(0040,0275)[{at}].(0040,1001)={procedure}"));
    }
    finish(command.args(&copies), seconds(20)).ok("dcmodify");
    copies
}

/// WEB-096, UIX-13: dicomweb-client finds what was sent, and is told all that the standard requires where the file has it.
#[test]
fn dicomweb_client_finds_what_was_sent() {
    let site = Site::start();
    let ct = requested(site.stage.path(), &demo_study("ct"));
    let files = [ct, demo_study("mr"), demo_study("sr"), demo_study("pdf")].concat();
    storescu(site.gateway.config.dicom_port, "WB_A", &["-R", "-xe"], &files).ok("storescu");
    let url = site.gateway.config.url();
    let arguments: Vec<OsString> =
        [url.into(), site.b.certificate.clone().into(), site.b.key.clone().into(), site.b.trust.clone().into()]
            .into_iter()
            .chain(files.iter().map(Into::into))
            .collect();
    for line in python::lines("qido", &arguments) {
        assert_eq!(line["missing"].as_array().unwrap().len() + line["more"].as_array().unwrap().len(), 0, "{line}");
        assert!(line["found"].as_u64().unwrap() > 0, "{line}");
        assert_eq!(line["wrong"].as_array().unwrap().len(), 0, "{line}");
    }
}

/// WEB-091, WEB-095: a series is found by the numbers of one of its requests; a key that is not matched is named.
#[test]
fn requests_are_matched_and_keys_that_are_not_are_named() {
    let site = Site::start();
    let ct = requested(site.stage.path(), &demo_study("ct"));
    storescu(site.gateway.config.dicom_port, "WB_A", &["-R", "-xe"], &ct).ok("storescu");
    let lines = site.gateway.ask(&["transfers", "list", "--json"]);
    let study = lines[0]["study_instance_uid"].as_str().unwrap();
    let series = |query: &str| site.search(&format!("studies/{study}/series?{query}")).len();
    let all = series("");
    assert!(all > 0);
    let (step, procedure) =
        ("RequestAttributesSequence.ScheduledProcedureStepID", "RequestAttributesSequence.RequestedProcedureID");
    let rows = [
        (format!("{step}=SPS1"), all),
        (format!("{step}=NOPE"), 0),
        (format!("00400275.00401001=RP2&{step}="), all),
        (format!("{step}=SPS1&{procedure}=RP1"), all),
        (format!("{step}=SPS1&{procedure}=RP2"), 0),
    ];
    for (query, found) in rows {
        assert_eq!(series(&query), found, "{query}");
    }
    for (value, found) in [("RP2", ct.len()), ("NOPE", 0)] {
        assert_eq!(site.search(&format!("studies/{study}/instances?{procedure}={value}")).len(), found, "{value}");
    }
    let rows = [
        (
            format!("studies?StudyInstanceUID={study}&PatientComments=x&Modality=CT"),
            Some(": PatientComments, Modality."),
        ),
        (format!("studies/{study}/series?PatientComments=x&Modality=CT"), Some(": PatientComments.")),
        (format!("studies?StudyInstanceUID={study}&{step}=NOPE&accept=*/*"), Some(step)),
        (format!("studies?StudyInstanceUID={study}&ModalitiesInStudy=CT&accept=*/*&SeriesDescription="), None),
    ];
    for (resource, named) in rows {
        let reply = site.ask(&site.b, &resource);
        let warning = reply.header("warning").map(|text| text.trim_end_matches('.'));
        let right = match named {
            Some(named) => warning.is_some_and(|text| text.ends_with(named.trim_end_matches('.'))),
            None => warning.is_none(),
        };
        assert!(reply.status == 200 && right, "{resource}: {reply:?}");
    }
}
