//! What a STOW-RS answer says, to the letter: links, reasons, forms, statuses and limits, and what is refused by its head alone.

use crate::support::certs::Identity;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::gateway::Gateway;
use crate::support::multipart::{BOUNDARY, body, content_type};
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wire::{Reply, Wire};
use serde_json::Value;

/// A site that lets peer `b` do everything, and peer `a` nothing but query.
struct Site {
    stage: Stage,
    gateway: Gateway,
    b: Identity,
    a: Identity,
}

impl Site {
    fn start(more: &str) -> Self {
        let stage = Stage::new();
        let only_query = format!(
            "[[peer]]\nname = \"a\"\nurl = \"https://127.0.0.1:9/dicom-web\"\nidentity = \"{A_IDENTITY}\"\nmay = [\"query\"]"
        );
        let config = stage.site_a("https://127.0.0.1:9/dicom-web").with(&only_query).with(more);
        let gateway = Gateway::start(&stage.path().join("site"), config);
        let (b, a) = (stage.authority.issue(B_IDENTITY), stage.authority.issue(A_IDENTITY));
        Self { stage, gateway, b, a }
    }

    fn wire(&self, who: &Identity) -> Wire {
        Wire::open(who, self.gateway.config.web_port)
    }

    fn send(&self, who: &Identity, line: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut wire = self.wire(who);
        wire.request(line, headers, body).unwrap();
        wire.answer().expect("an answer")
    }

    fn store(&self, resource: &str, headers: &[&str], parts: &[Vec<u8>]) -> Reply {
        let kind = format!("Content-Type: {}", content_type());
        self.send(&self.b, &format!("POST /dicom-web/{resource}"), &[headers, &[&kind]].concat(), &body(parts, true))
    }
}

fn file(names: &Names, seed: u64) -> Vec<u8> {
    part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 4000, seed))
}

/// The items of a sequence.
fn items<'a>(module: &'a Value, tag: &str) -> &'a [Value] {
    module[tag]["Value"].as_array().map_or(&[], Vec::as_slice)
}

fn reasons(module: &Value, tag: &str) -> Vec<u64> {
    items(module, tag).iter().map(|item| item["00081197"]["Value"][0].as_u64().unwrap()).collect()
}

#[test]
fn answers_say_where_to_retrieve_and_name_every_part_once() {
    let site = Site::start("");
    let study = "https://gateway.test/dicom-web/studies";
    let (one, two, other) = (names(420, 1, 1), names(420, 1, 2), names(420, 2, 1));
    let reply = site.store("studies", &[], &[file(&one, 1), file(&two, 1)]);
    let own = format!("{study}/{}", one.study);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("location"), Some(own.as_str()));
    assert_eq!(reply.header("content-location"), Some(own.as_str()));
    assert_eq!(reply.header("content-type"), Some("application/dicom+json"));
    let module = reply.json();
    assert_eq!(module["00081190"]["Value"][0], own);
    let urls: Vec<&Value> = items(&module, "00081199").iter().map(|item| &item["00081190"]["Value"][0]).collect();
    assert_eq!(urls[1], &format!("{own}/series/{}/instances/{}", two.series, two.instance));
    assert_eq!(items(&module, "00081199")[0]["00081150"]["Value"][0], SECONDARY_CAPTURE);
    assert!(module.get("00081198").is_none() && module.get("0008119A").is_none());

    // Nothing new: nothing was created, but the links stand.
    let again = site.store("studies", &[], &[file(&one, 1)]);
    assert_eq!((again.status, again.header("location")), (200, None), "{again:?}");
    assert_eq!(again.json()["00081190"]["Value"][0], own);

    // Two studies have no one address; of twelve parts each stands once.
    let (third, lost) = (names(420, 1, 3), names(420, 1, 4));
    let verification = part10("1.2.840.10008.1.1", &lost.instance, EXPLICIT_LE, &data_set(&lost, 100, 1));
    let truncated = file(&lost, 1)[..600].to_vec();
    let mismatch = part10(SECONDARY_CAPTURE, "1.2.3.4", EXPLICIT_LE, &data_set(&lost, 100, 1));
    let wrong_class = part10("1.2.840.10008.5.1.4.1.1.2", &lost.instance, EXPLICIT_LE, &data_set(&lost, 100, 1));
    let mut parts =
        vec![b"no DICOM".to_vec(), verification, truncated, mismatch, wrong_class, file(&one, 2), Vec::new()];
    parts.extend([file(&third, 1), file(&third, 1), file(&other, 1), vec![0; 132], b"DICM".to_vec()]);
    let reply = site.store("studies", &[], &parts);
    let module = reply.json();
    assert_eq!(reply.status, 202, "{module}");
    assert_eq!(items(&module, "00081199").len(), 3);
    assert_eq!(reasons(&module, "00081198"), [0x0122, 0xC000, 0xA901, 0xA900, 0xC010]);
    assert_eq!(reasons(&module, "0008119A"), [0xC000; 4]);
    assert_eq!(3 + 5 + 4, parts.len());
    assert!(reply.header("location").is_none() && module.get("00081190").is_none(), "two studies have no one address");
}

#[test]
fn one_garbage_part_among_fifty_changes_nothing_for_the_others() {
    let site = Site::start("");
    let mut parts: Vec<Vec<u8>> = (1..=49).map(|number| file(&names(421, 1, number), 1)).collect();
    parts.insert(25, vec![0xFF; 5000]);
    let reply = site.store("studies", &[], &parts);
    let module = reply.json();
    assert_eq!((reply.status, items(&module, "00081199").len()), (202, 49), "{module}");
    assert_eq!((reasons(&module, "00081198").len(), reasons(&module, "0008119A")), (0, vec![0xC000]));
    assert_eq!(site.gateway.study(&names(421, 1, 1).study).len(), 49);
}

#[test]
fn the_answer_comes_in_json_or_xml_as_accept_prefers() {
    let site = Site::start("");
    let names = names(422, 1, 1);
    let rows = [
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/dicom+json"),
        ("application/dicom+xml", "application/dicom+xml"),
        ("application/dicom+json;q=0.1, application/dicom+xml;q=0.9", "application/dicom+xml"),
        ("multipart/related; type=\"application/dicom+xml\"", "application/dicom+xml"),
        // An instance is not refused for the form of its receipt.
        ("text/html", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
    ];
    for (accept, form) in rows {
        let reply = site.store("studies", &[&format!("Accept: {accept}")], &[file(&names, 1), b"x".to_vec()]);
        assert_eq!((reply.status, reply.header("content-type")), (202, Some(form)), "{accept}: {reply:?}");
        let said = [&names.instance, "49152", "instances/"].iter().all(|word| reply.text().contains(*word));
        assert!(said, "{accept}: {}", reply.text());
        if form.ends_with("xml") {
            assert!(reply.text().contains("keyword=\"ReferencedSOPSequence\""), "{}", reply.text());
        }
    }
}

#[test]
fn what_we_do_not_take_is_415_and_says_what_we_take() {
    let site = Site::start("");
    let related = |kind: &str| format!("Content-Type: multipart/related; type=\"{kind}\"; boundary={BOUNDARY}");
    let gzip = [format!("Content-Type: {}", content_type()), "Content-Encoding: gzip".to_owned()].join("\r\n");
    let rows = [
        (related("application/dicom+json"), "metadata with bulk data is not supported"),
        (related("application/dicom+xml"), "metadata with bulk data is not supported"),
        (related("application/octet-stream"), "metadata with bulk data is not supported"),
        ("Content-Type: application/dicom+json".to_owned(), "metadata with bulk data is not supported"),
        ("Content-Type: image/jpeg".to_owned(), "send multipart/related"),
        ("Content-Type: nonsense".to_owned(), "cannot be read"),
        ("X: no type at all".to_owned(), "cannot be read"),
        (gzip, "without Content-Encoding"),
    ];
    // A nesting that would break a careless reader: it is not read at all.
    let bomb = "[".repeat(3_000_000);
    for (header, words) in rows {
        let reply = site.send(&site.b, "POST /dicom-web/studies", &[&header], bomb.as_bytes());
        assert_eq!(reply.status, 415, "{header}: {reply:?}");
        assert!(reply.json()["detail"].as_str().unwrap().contains(words), "{header}: {reply:?}");
        assert!(reply.header("accept").is_some_and(|taken| taken.contains("application/dicom")), "{reply:?}");
    }
}

#[test]
fn the_capabilities_are_told_with_the_limits() {
    let site = Site::start("[limits]\nrequest = \"2 MiB\"\nparts = 7");
    for path in ["/dicom-web", "/dicom-web/"] {
        let json = site.send(&site.a, &format!("OPTIONS {path}"), &["Accept: application/json"], b"");
        assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")), "{json:?}");
        let told = json.json();
        assert_eq!(told["base"], "https://gateway.test/dicom-web");
        assert_eq!(
            (told["limits"]["request_bytes"].as_u64(), told["limits"]["parts"].as_u64()),
            (Some(2 << 20), Some(7))
        );
        let wadl = site.send(&site.a, &format!("OPTIONS {path}"), &[], b"");
        assert_eq!(wadl.header("content-type"), Some("application/vnd.sun.wadl+xml"));
        // What is told is there: each resource answers its method, whatever it says of this request.
        for resource in told["resources"].as_array().unwrap() {
            let (method, place) = (resource["method"].as_str().unwrap(), resource["path"].as_str().unwrap());
            assert!(wadl.text().contains(&format!("<resource path=\"{place}\">")), "{}", wadl.text());
            let place = ["study", "series", "instance"]
                .iter()
                .fold(place.to_owned(), |place, level| place.replace(&format!("{{{level}}}"), "1.2.3"));
            let reply = site.send(&site.b, &format!("{method} /dicom-web{place}"), &["Content-Type: a/b"], b"");
            assert!(![405, 501].contains(&reply.status), "{method} {place}: {reply:?}");
        }
    }
    let neither = site.send(&site.a, "OPTIONS /dicom-web", &["Accept: image/png"], b"");
    assert_eq!(neither.status, 406);
    // The lines of a list are one list.
    let second = site.send(&site.a, "OPTIONS /dicom-web", &["Accept: image/png", "Accept: application/json"], b"");
    assert_eq!((second.status, second.header("content-type")), (200, Some("application/json")), "{second:?}");
}

#[test]
fn over_a_limit_is_413_before_the_body_is_read_where_its_length_is_told() {
    let site = Site::start("[limits]\nrequest = \"1 MiB\"\ninstance = \"1 MiB\"\nparts = 3");
    let kind = format!("Content-Type: {}", content_type());
    let line = "POST /dicom-web/studies";
    // Nothing of the body is sent, and nothing is waited for.
    let mut wire = site.wire(&site.b);
    wire.head(line, &[&kind, "Content-Length: 2000000", "Expect: 100-continue"]).unwrap();
    let reply = wire.answer().expect("an answer");
    assert_eq!((reply.status, reply.json()["temporary"].as_bool()), (413, Some(false)), "{reply:?}");
    // Whoever may go on is told so first.
    let names = names(423, 1, 1);
    let whole = body(&[file(&names, 1)], true);
    let mut wire = site.wire(&site.b);
    wire.head(line, &[&kind, &format!("Content-Length: {}", whole.len()), "Expect: 100-continue"]).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 100);
    wire.send(&whole).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 200);
    // Without a length it shows on the way; what came whole before stays.
    let too_large = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(&names, 1 << 20, 1));
    for (parts, status) in [(vec![too_large.clone()], 413), (vec![file(&names, 1), too_large], 202)] {
        let mut wire = site.wire(&site.b);
        wire.head(line, &[&kind, "Transfer-Encoding: chunked"]).unwrap();
        let whole = body(&parts, true);
        let _ = wire.send(&[format!("{:x}\r\n", whole.len()).as_bytes(), &whole, b"\r\n0\r\n\r\n"].concat());
        let reply = wire.answer().expect("an answer");
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{reply:?}");
        if status == 202 {
            assert_eq!(reasons(&reply.json(), "00081198"), [0x0110], "the part that was cut off is named: {reply:?}");
        }
    }
    // Too many parts.
    let reply = site.store("studies", &[], &vec![b"x".to_vec(); 4]);
    assert_eq!(reply.status, 413, "{reply:?}");
    assert!(reply.json()["detail"].as_str().unwrap().contains("3 instances"), "{reply:?}");
}

/// SEC-021, WEB-026: what is past the limit of instances is not read; the answer says so, and names all that was stored before, however
/// much the sender still has to say.
#[test]
fn past_the_limit_of_instances_the_answer_names_what_was_stored() {
    let site = Site::start("[limits]\nparts = 3");
    let all: Vec<Names> = (1..=40).map(|number| names(426, 1, number)).collect();
    let large = |names: &Names| part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &data_set(names, 100_000, 1));
    let parts: Vec<Vec<u8>> = all.iter().map(large).collect();
    let reply = site.store("studies", &[], &parts);
    assert_eq!((reply.status, reply.header("connection")), (202, Some("close")), "{reply:?}");
    let warning = reply.header("warning").unwrap_or_default();
    assert!(warning.starts_with("299 ") && warning.contains("a request may have 3 instances"), "{reply:?}");
    let module = reply.json();
    let named: Vec<&Value> = items(&module, "00081199").iter().map(|item| &item["00081155"]["Value"][0]).collect();
    assert_eq!(named, all[..3].iter().map(|names| names.instance.as_str()).collect::<Vec<_>>());
    assert_eq!((items(&module, "00081198").len(), items(&module, "0008119A").len()), (0, 0));
    assert_eq!(site.gateway.study(&all[0].study).len(), 3);
    let reply = site.store("studies", &[], &parts[2..5]);
    assert_eq!((reply.status, reply.header("warning")), (200, None), "as many as it may have");
    assert_eq!(site.gateway.study(&all[0].study).len(), 5);
}

#[test]
fn refused_callers_learn_why_and_the_ledger_knows() {
    let site = Site::start("");
    let nobody = site.stage.authority.issue("nobody.weybridge.test");
    let kind = format!("Content-Type: {}", content_type());
    let names = names(424, 1, 1);
    let whole = body(&[file(&names, 1)], true);
    let rows = [
        (&nobody, "POST /dicom-web/studies", "names no peer of this site"),
        (&nobody, "GET /dicom-web/instances?SOPInstanceUID=1.2", "names no peer of this site"),
        // A stranger does not learn what there is and what not.
        (&nobody, "GET /dicom-web/nowhere", "names no peer of this site"),
        (&nobody, "OPTIONS /dicom-web", "names no peer of this site"),
        (&site.a, "POST /dicom-web/studies", "does not let yours store"),
    ];
    for (who, line, words) in rows {
        let reply = site.send(who, line, &[&kind], &whole);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (403, Some("application/problem+json")),
            "{line}: {reply:?}"
        );
        let told = reply.json();
        assert!(told["detail"].as_str().unwrap().contains(words), "{line}: {told}");
        assert_eq!((told["side"].as_str(), told["temporary"].as_bool()), (Some("the caller"), Some(false)));
        assert!(told["advice"].as_str().unwrap().contains("administrator"), "{told}");
    }
    assert_eq!(site.gateway.cli(&["study", &names.study, "--json"]).stdout.lines().count(), 0, "nothing was stored");
    let ledger = site.gateway.cli(&["ledger", "export"]).stdout;
    // Once a caller and minute. The words themselves stand beside the ledger, which holds their salted hash.
    for (what, times) in [("store", 1), ("peer", 1)] {
        assert_eq!(ledger.matches(&format!("what\\\":\\\"{what}\\\"")).count(), times, "{what}: {ledger}");
    }
    site.gateway.verify_ledger(true);
}

#[test]
fn what_an_answer_names_as_stored_survives_a_kill() {
    let mut site = Site::start("");
    let parts: Vec<Vec<u8>> = (1..=20).map(|number| file(&names(425, 1, number), 1)).collect();
    let mut wire = site.wire(&site.b);
    let whole = body(&parts, true);
    let kind = format!("Content-Type: {}", content_type());
    wire.request("POST /dicom-web/studies", &[&kind], &whole).unwrap();
    let reply = wire.answer().expect("an answer");
    site.gateway.kill();
    assert_eq!((reply.status, items(&reply.json(), "00081199").len()), (200, 20));
    site.gateway.up();
    assert_eq!(site.gateway.study(&names(425, 1, 1).study).len(), 20);
    site.gateway.verify_ledger(true);
}
