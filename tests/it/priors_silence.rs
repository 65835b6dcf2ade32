//! A site that kept silent costs the next query little, is named all the same, and is there again as soon as it answers.

use crate::support::config::free_port;
use crate::support::gateway::Gateway;
use crate::support::neighbours::*;
use crate::support::radiology::{is_dated, last, last_time};
use crate::support::searched_peer::{Manner, SearchedPeer, study};
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn uid(n: u32) -> String {
    format!("2.25.70000000097.{n}")
}

/// Asks as a person does: the lines of the answer, and how long it took.
fn find(site: &Gateway) -> (Vec<Value>, Duration) {
    let began = Instant::now();
    let stdout = site.cli(&["priors", "find", "--nhs", NHS, "--json"]).stdout;
    (stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), began.elapsed())
}

fn how(lines: &[Value], site: &str) -> String {
    let line = lines.iter().find(|line| line["site"] == site && line["how"].is_string());
    line.and_then(|line| line["how"].as_str()).unwrap_or_default().to_owned()
}

/// UIX-12: the first query waits its whole time for a silent site, the second hardly at all; both name it, and show what others have.
/// It is asked all the same: after its return a quick site is found at once, and a slow one after one query.
#[test]
fn a_site_that_kept_silent_is_not_waited_for_again_and_its_return_is_noticed() {
    let stage = Stage::new();
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[study(&uid(1), NHS, "NHS", 3)]));
    let theirs = Manner::shows(&[study(&uid(2), NHS, "NHS", 5)]);
    let c = SearchedPeer::start(&identity(&stage, "c"), theirs.clone().after(seconds(3600)));
    let neighbours = [Neighbour::new("b", &b.url()), Neighbour::new("c", &c.url())];
    let tables = "[priors]\ndeadline = \"10s\"\nsilence_grace = \"2s\"\nsilence = \"1h\"\nsilence_longest = \"1h\"";
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, tables));
    let (lines, took) = find(&a);
    assert!(took >= seconds(10) && how(&lines, "c") == "not answering", "{took:?} {lines:?}");

    let asked = c.asked().len();
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    assert_eq!((studies(said).len(), markers(said)), (1, vec!["C NOT ANSWERING".to_owned()]), "{said}");
    let (lines, took) = find(&a);
    assert!(took < seconds(6) && how(&lines, "c") == "not answering" && how(&lines, "b") == "answered", "{took:?}");
    assert!(c.asked().len() > asked, "it is asked all the same");

    // It is back, and quick: found at once.
    c.manner(theirs.clone());
    let (lines, _) = find(&a);
    assert_eq!(how(&lines, "c"), "answered", "{lines:?}");

    // Silent again, then back and slower than the grace: a query that does not wait for it has it known.
    c.manner(theirs.clone().after(seconds(3600)));
    assert_eq!(how(&find(&a).0, "c"), "not answering");
    c.manner(theirs.after(seconds(4)));
    assert_eq!(how(&find(&a).0, "c"), "not answering");
    until(seconds(60), "its return is noticed", || (how(&find(&a).0, "c") == "answered").then_some(()));
    assert!(!a.log().contains(NHS), "{}", a.log());
}

/// When a study was shown, in seconds after it was asked for.
fn shown_after(said: &Value, study: &str) -> f64 {
    let answers = said["answers"].as_array().unwrap();
    let at = answers.iter().position(|answer| answer["identifier"]["StudyInstanceUID"] == study);
    said["times"][at.unwrap_or_else(|| panic!("{study} is not shown: {said}"))].as_f64().unwrap()
}

/// UIX-12: what a quick site shows, and what is here, the node has before a slow site has answered; what that shows comes after.
#[test]
fn what_a_quick_site_shows_is_given_before_a_slow_one_answers() {
    const SLOW: f64 = 12.0;
    let stage = Stage::new();
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[study(&uid(1), NHS, "NHS", 3)]));
    let theirs = Manner::shows(&[study(&uid(2), NHS, "NHS", 5)]).after(Duration::from_secs_f64(SLOW));
    let c = SearchedPeer::start(&identity(&stage, "c"), theirs);
    // The slow one stands first.
    let neighbours = [Neighbour::new("c", &c.url()), Neighbour::new("b", &b.url())];
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &neighbours, "[priors]\ndeadline = \"45s\""));
    let ours = json!([{ "uid": 3, "PatientID": NHS, "PatientName": "Prior^Ann", "StudyDate": "20240102" }]);
    let own = give(&stage, &a, "PACS", &ours)[0]["study"].as_str().unwrap().to_owned();
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    assert_eq!((studies(said).len(), markers(said), &last(said)["status"]), (3, Vec::new(), &json!(0)), "{said}");
    for quick in [&own, &uid(1)] {
        assert!(shown_after(said, quick) < SLOW, "{said}");
    }
    assert!(shown_after(said, &uid(2)) >= SLOW, "{said}");
}

/// A site whose port is closed says so at once: nothing need be remembered, and what it is asked next is waited for.
#[test]
fn a_site_that_refuses_at_once_is_given_its_whole_time_when_it_is_back() {
    let stage = Stage::new();
    let stopped = format!("https://127.0.0.1:{}/dicom-web", free_port());
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("c", &stopped)], ""));
    for _ in 0..2 {
        assert_eq!(how(&find(&a).0, "c"), "not answering");
    }
    assert!(!a.log().contains("is not waited for"), "{}", a.log());
}

/// "A silent site is visible": a study of our own nodes is found and given whole though a site that has it too keeps silent, and it is said
/// that there may be more.
#[test]
fn a_neighbours_silence_takes_nothing_from_our_own_studies() {
    let stage = Stage::new();
    let mut b = Gateway::start(&stage.path().join("b"), holding(&stage, "b", ""));
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.config.url())], ""));
    let both = json!([{ "uid": 1, "PatientID": NHS, "PatientName": "Prior^Ann", "StudyDate": "20240102" }]);
    give(&stage, &a, "PACS", &both);
    let study = give(&stage, &b, "PACS", &both)[0]["study"].as_str().unwrap().to_owned();
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    assert_eq!((studies(said).len(), markers(said).len()), (1, 0), "{said}");
    b.stop();
    let series = json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study, "SeriesInstanceUID": "" });
    let whole = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study });
    let requests = [
        json!({ "keys": series }),
        json!({ "op": "get", "keys": whole, "classes": ["1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"] }),
    ];
    let said = ask(stage.path(), &a, &requests);
    assert_eq!((identifiers(&said[0]).len(), &last(&said[0])["status"]), (1, &json!(0)), "{}", said[0]);
    assert_eq!(last(&said[0])["comment"], "B NOT ANSWERING; there may be more");
    let end = last(&said[1]);
    assert_eq!((&end["status"], &end["completed"], &end["failed"]), (&json!(0), &json!(1), &json!(0)), "{}", said[1]);
    is_dated(&end["comment"], "b does not answer; there may be more; last checked ");
}

/// An archive that takes calls, and says nothing, for which is waited for 8 seconds: what listens for it, and its entry.
fn silent_archive() -> (TcpListener, String) {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let entry = format!(
        "[[node]]\nae_title = \"ARCHIVE\"\naddress = \"{}\"\nfrom_addresses = [\"127.0.0.0/8\"]\n\
         may = [\"store\"]\narchive = true\nretrieve_ae = \"RTV\"\nquery_timeout = \"8s\"\n",
        hangs.local_addr().unwrap()
    );
    (hangs, entry)
}

/// UIX-12, DIM-070: what is here, and an archive cannot change, the node has before the time of a silent archive is up; that it kept silent
/// is told at the end.
#[test]
fn what_is_here_is_told_before_the_time_of_a_silent_archive_is_up() {
    let stage = Stage::new();
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[study(&uid(1), NHS, "NHS", 3)]));
    let (_hangs, archive) = silent_archive();
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.url())], &archive));
    let ours = json!([{ "uid": 3, "PatientID": NHS, "PatientName": "Prior^Ann", "StudyDate": "20240102" }]);
    let own = give(&stage, &a, "PACS", &ours)[0]["study"].as_str().unwrap().to_owned();
    let keys = json!({ "QueryRetrieveLevel": "STUDY", "PatientID": NHS, "StudyInstanceUID": "", "StudyDate": "" });
    let said = &ask(stage.path(), &a, &[json!({ "keys": keys })])[0];
    assert_eq!((identifiers(said).len(), &last(said)["status"]), (2, &json!(0xA700)), "{said}");
    assert!(shown_after(said, &own) < 8.0 && last_time(said) >= 8.0, "{said}");
}

/// UIX-12: a site that answers in many pages is not called silent because an archive of ours keeps the query busy for longer than a site
/// may take.
#[test]
fn a_site_is_not_called_silent_while_an_archive_is_awaited() {
    let stage = Stage::new();
    let theirs: Vec<Value> = (1..=30).map(|n| study(&uid(n), NHS, "NHS", 1)).collect();
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&theirs).in_pages_of(1));
    let (_hangs, archive) = silent_archive();
    let tables = format!("[priors]\ndeadline = \"4s\"\n{archive}");
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.url())], &tables));
    let said = &ask(stage.path(), &a, &[priors_of(NHS)])[0];
    assert_eq!((studies(said).len(), markers(said)), (30, Vec::new()), "{said}");
    assert_eq!(last(said)["status"], 0xA700, "{said}");
}

/// DIM-071: who asks for an instance that is no part of a study of ours, or names one of ours that does not match, is told that there is
/// nothing, and not of the silence of a neighbour that never showed it.
#[test]
fn what_is_no_part_of_our_own_study_is_asked_of_nobody() {
    let stage = Stage::new();
    let b = SearchedPeer::start(&identity(&stage, "b"), Manner::shows(&[]).after(seconds(3600)));
    let tables = "[priors]\ndeadline = \"4s\"";
    let a = Gateway::start(&stage.path().join("a"), asking(&stage, &[Neighbour::new("b", &b.url())], tables));
    let patients = json!([{ "uid": 1, "PatientID": NHS, "PatientName": "Prior^Ann", "StudyDate": "20240102" }]);
    let sent = &give(&stage, &a, "PACS", &patients)[0];
    let (study, instance) = (&sent["study"], &sent["sop_instance"]);
    let series = format!("{}.1", study.as_str().unwrap());
    let images = |instance: &Value| {
        json!({ "keys": { "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": study, "SeriesInstanceUID": series,
            "SOPInstanceUID": instance } })
    };
    let another =
        json!({ "keys": { "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study, "PatientName": "Another" } });
    let before = b.asked().len();
    let said = ask(stage.path(), &a, &[images(&json!("1.2.3")), images(instance), another]);
    let ends: Vec<(usize, Option<u64>, Option<&str>)> = said
        .iter()
        .map(|said| (identifiers(said).len(), last(said)["status"].as_u64(), last(said)["comment"].as_str()))
        .collect();
    assert_eq!(ends, [(0, Some(0), None), (1, Some(0), None), (0, Some(0), None)], "{said:?}");
    assert_eq!(b.asked().len(), before, "{:?}", b.asked());
}
