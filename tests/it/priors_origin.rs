//! Which site a prior lies at, as a workstation and a viewer see it (DIM-070).

use crate::support::gateway::Gateway;
use crate::support::neighbours::*;
use crate::support::process::finish;
use crate::support::tools::tool;
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;
use crate::viewer_search::Viewed;
use serde_json::{Value, json};
use std::process::Command;

fn uid(n: u32) -> String {
    format!("2.25.70000000098.{n}")
}

/// A study of the one patient; two sites' numbers look alike.
fn described(n: u32, text: &str) -> Value {
    json!({ "uid": n, "PatientID": NHS, "IssuerOfPatientID": "NHS", "PatientName": "Prior^Ann", "StudyDate": "20240102",
        "StudyDescription": text, "InstitutionName": "Elsewhere", "SpecificCharacterSet": "ISO_IR 192" })
}

/// What findscu shows of each study: its UID, Institution Name and Study Description; and the statuses of its answers.
fn findscu(site: &Gateway, calling: &str, institution: &str, more: &[&str]) -> (Vec<[String; 3]>, String) {
    let mut command = Command::new(tool("findscu"));
    command.args(["-d", "-S", "-aet", calling, "-aec", "WB_A", "-k", "0008,0052=STUDY", "-k", "0020,000d"]);
    command.args(["-k", &format!("0010,0020={NHS}"), "-k", "0008,1030", "-k", &format!("0008,0080={institution}")]);
    command.args(["-k", "0008,0005=ISO_IR 192"]).args(more).args(["127.0.0.1", &site.config.dicom_port.to_string()]);
    let done = finish(&mut command, seconds(60));
    let text = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(0), "{text}");
    // The request shows its keys likewise: it has no Retrieve AE Title.
    let answers: Vec<&str> = text.split("# Dicom-Data-Set").filter(|set| set.contains("(0008,0054)")).collect();
    let value = |set: &str, tag: &str| {
        let line = set.lines().find(|line| line.contains(tag)).unwrap_or_else(|| panic!("no {tag} in {set}"));
        line.split_once('[')
            .and_then(|(_, rest)| rest.rsplit_once(']'))
            .map_or("", |(value, _)| value)
            .trim()
            .to_owned()
    };
    let mut all: Vec<[String; 3]> =
        answers.iter().map(|set| ["(0020,000d)", "(0008,0080)", "(0008,1030)"].map(|tag| value(set, tag))).collect();
    all.sort();
    (all, text)
}

/// DIM-070: of a study at another site Institution Name says which, if it is asked for, whatever the objects say; it is matched by nobody, and a
/// value that is asked for is told as not supported. A node may have the site before the description, within the 64 characters of LO.
#[test]
fn a_prior_shows_the_site_where_it_lies() {
    let stage = Stage::new();
    let [b, c] = ["b", "c"].map(|name| Gateway::start(&stage.path().join(name), holding(&stage, name, "")));
    let node = "[[node]]\nae_title = \"WARD\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\npatient_id = \"nhs\"\n\
        origin_in_description = true\n";
    let neighbours = [("b", &b), ("surrey", &c)].map(|(name, site)| Neighbour::new(name, &site.config.url()));
    // What A calls surrey has the identity of C.
    let mut config = asking(&stage, &neighbours[..1], node);
    config = config.peer("surrey", &neighbours[1].url, "c.weybridge.test", "present");
    let a = Gateway::start(&stage.path().join("a"), config);
    let long = "x".repeat(60);
    give(&stage, &a, "PACS", &json!([described(1, "Own chest")]));
    give(&stage, &b, "PACS", &json!([described(2, "Schädel"), described(3, "")]));
    give(&stage, &c, "PACS", &json!([described(4, &long)]));

    let rows = |named: [&str; 4]| -> Vec<[String; 3]> {
        let sites = ["", "b", "b", "surrey"];
        (1..=4).map(|n| [uid(n), sites[n as usize - 1].into(), named[n as usize - 1].into()]).collect()
    };
    let plain = rows(["Own chest", "Schädel", "", &long]);
    let (found, text) = findscu(&a, "RADIOLOGY", "", &[]);
    assert_eq!(found, plain);
    assert!(!text.contains("0xff01"), "{text}");
    let (found, text) = findscu(&a, "RADIOLOGY", "NOWHERE", &[]);
    assert_eq!(found, plain, "it is not matched");
    assert!(text.contains("0xff01"), "and that is told: {text}");
    let cut = format!("[SURREY] {}..", &long[..53]);
    let (found, _) = findscu(&a, "WARD", "", &[]);
    assert_eq!(found, rows(["Own chest", "[B] Schädel", "[B]", &cut]));
    assert_eq!(cut.len(), 64);
    // The description that the object has is the one that is looked for.
    let (found, _) = findscu(&a, "WARD", "", &["-k", "0008,1030=Sch*"]);
    assert_eq!(found, [[uid(2), "b".into(), "[B] Schädel".into()]]);
    for site in [&a, &b, &c] {
        assert!(!site.log().contains(NHS), "{}", site.log());
    }
}

/// The same for a viewer that searches by QIDO-RS, for Institution Name by `includefield` (WEB-093), also of a copy that is here by then.
#[test]
fn a_viewer_is_shown_the_site_where_a_prior_lies() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let site = Viewed::start(stage, &[Neighbour::new("b", &b.config.url())], "origin_in_description = true", "");
    give(&site.stage, &site.a, "PACS", &json!([described(1, "Own chest")]));
    give(&site.stage, &b, "PACS", &json!([described(2, "Hand")]));
    let shown = |fields: &str| -> Vec<(Value, Value)> {
        let sets = site.shown(&format!("studies?PatientID={NHS}{fields}")).sets;
        sets.iter().map(|set| (set["00080080"]["Value"][0].clone(), set["00081030"]["Value"][0].clone())).collect()
    };
    let all = [(Value::Null, json!("Own chest")), (json!("b"), json!("[B] Hand"))];
    let fields = "&includefield=00080080,00081030";
    assert_eq!(shown(fields), all);
    assert_eq!(shown(""), [(Value::Null, Value::Null), (Value::Null, Value::Null)], "only if it is asked for");
    site.a.cli(&["priors", "pull", &uid(2)]).ok("pull");
    assert_eq!(shown(fields), all);
}
