//! STOW-RS and QIDO-RS as a peer's program speaks them: sized and chunked, repeats, conflicts, other studies, and who may ask what.

use crate::support::certs::Identity;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::gateway::Gateway;
use crate::support::multipart::{body, content_type};
use crate::support::store_answer::read;
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::web::{self, Answer};
use serde_json::Value;
use std::path::PathBuf;

/// A site that lets peer `b` store and query, and peer `a` only store.
struct Site {
    stage: Stage,
    gateway: Gateway,
    b: Identity,
    a: Identity,
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
        Self { stage, gateway, b, a }
    }

    fn saved(&self, bytes: &[u8]) -> PathBuf {
        let path = self.stage.path().join("body");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn store(&self, resource: &str, bytes: &[u8], more: &[&str]) -> Answer {
        let url = format!("{}/{resource}", self.gateway.config.url());
        web::store(&self.b, &url, &content_type(), &self.saved(bytes), more)
    }

    fn ask(&self, who: &Identity, resource: &str) -> Answer {
        web::request(Some(who), &who.trust, &format!("{}/{resource}", self.gateway.config.url()), &[])
    }
}

fn file(names: &Names, seed: u64) -> Vec<u8> {
    part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 60_000, seed))
}

fn several(count: u64) -> Vec<Names> {
    (1..=count).map(|number| names(310, 1, number)).collect()
}

#[test]
fn sized_and_chunked_requests_store_the_same_and_repeats_change_nothing() {
    let site = Site::start();
    let all = several(7);
    let whole = body(&all.iter().map(|names| file(names, 1)).collect::<Vec<_>>(), true);
    for more in [&["--header", "Transfer-Encoding: chunked"][..], &[], &[]] {
        let answer = site.store("studies", &whole, more);
        assert_eq!(answer.status, 200, "{answer:?}");
        let named = read(&answer.body);
        assert_eq!(named.len(), all.len(), "each part is named once");
        assert!(named.iter().all(|item| item.reason.is_none()));
    }
    assert_eq!(site.gateway.study(&all[0].study).len(), all.len());
    let stats = site.gateway.ask(&["store", "stats", "--json"]);
    assert_eq!(stats[0]["blobs"], all.len() as u64, "no second blob of anything");
    site.gateway.verify_ledger(true);
}

#[test]
fn one_instance_may_be_the_whole_body() {
    let site = Site::start();
    let names = names(311, 1, 1);
    let url = format!("{}/studies", site.gateway.config.url());
    let answer = web::store(&site.b, &url, "application/dicom", &site.saved(&file(&names, 1)), &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(site.gateway.study(&names.study).len(), 1);
}

#[test]
fn an_instance_of_another_study_and_other_content_are_named_as_failed() {
    let site = Site::start();
    let (own, other) = (names(312, 1, 1), names(312, 2, 1));
    let resource = format!("studies/{}", own.study);
    let both = site.store(&resource, &body(&[file(&own, 1), file(&other, 1)], true), &[]);
    assert_eq!(both.status, 202, "{both:?}");
    let failed: Vec<_> = read(&both.body).into_iter().filter(|item| item.reason.is_some()).collect();
    assert_eq!((failed.len(), failed[0].instance.as_str()), (1, other.instance.as_str()));
    let alone = site.store(&resource, &body(&[file(&other, 1)], true), &[]);
    assert_eq!(alone.status, 409, "{alone:?}");
    let changed = site.store("studies", &body(&[file(&own, 2)], true), &[]);
    assert_eq!(changed.status, 409, "{changed:?}");
    assert_eq!(read(&changed.body)[0].reason, Some(0xC010));
    let versions = site.gateway.study(&own.study);
    let states: Vec<&str> = versions.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["stored", "held"], "both are kept, the second held");
    let open = site.gateway.ask(&["exceptions", "list", "--json"]);
    assert_eq!((open.len(), open[0]["kind"].as_str().unwrap()), (1, "conflict"));
}

#[test]
fn a_peer_that_stores_can_verify_by_name_and_one_that_queries_can_list() {
    let site = Site::start();
    let all = several(3);
    let whole = body(&all.iter().map(|names| file(names, 1)).collect::<Vec<_>>(), true);
    assert_eq!(site.store("studies", &whole, &[]).status, 200);
    let by_name = format!("instances?SOPInstanceUID={}", all[0].instance);
    let list = format!("studies/{}/instances", all[0].study);
    let some = format!("{list}?SOPInstanceUID={},{}", all[1].instance, all[2].instance);
    let count = |answer: &Answer| serde_json::from_str::<Value>(&answer.body).unwrap().as_array().unwrap().len();
    for (who, resource, found) in
        [(&site.b, &by_name, 1), (&site.b, &list, 3), (&site.b, &some, 2), (&site.a, &some, 2)]
    {
        let answer = site.ask(who, resource);
        assert_eq!((answer.status, count(&answer)), (200, found), "{resource}: {answer:?}");
    }
    assert_eq!(site.ask(&site.a, &list).status, 403, "who may only store may not list");
    let absent = site.ask(&site.b, "instances?SOPInstanceUID=1.2.3.4");
    assert_eq!((absent.status, absent.body.as_str()), (204, ""));
    assert_eq!(site.ask(&site.b, "instances?SOPInstanceUID=..%2Fetc").status, 400);
    assert_eq!(site.ask(&site.b, "instances").status, 400, "everything is not something to ask for");
    assert_eq!(site.ask(&site.b, "nowhere").status, 404);
}
