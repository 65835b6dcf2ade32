//! The face towards viewers on this machine: who shows the token is shown what its node may see, and pages only of known origins.

use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::storescu;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE};
use crate::support::gateway::Gateway;
use crate::support::pacs::Association;
use crate::support::tools::demo_study;
use crate::support::two_sites::Stage;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PAGE: &str = "http://127.0.0.1:3000";

pub struct Site {
    pub gateway: Gateway,
    pub port: u16,
    _stage: Stage,
}

impl Site {
    /// A site with a CT study, and a viewer's node that may do `may`.
    pub fn start(may: &str) -> Self {
        Self::with(may, "")
    }

    /// The same with these tables.
    fn with(may: &str, tables: &str) -> Self {
        let stage = Stage::new();
        let token = stage.path().join("viewer.token");
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let port = free_port();
        let viewer = format!(
            "[[node]]\nae_title = \"VIEWER\"\nmay = [{may}]\nforeign = \"as_is\"\n\
             [viewer]\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"{}\"\nnode = \"VIEWER\"\nallow_origin = [\"{PAGE}\"]\n{tables}",
            token.display()
        );
        let config = SiteConfig::new("a", stage.identity_of_a()).node("DCMTK", None).with(&viewer);
        let gateway = Gateway::start(&stage.path().join("a"), config);
        storescu(gateway.config.dicom_port, "WB_A", &["-R"], &demo_study("ct")).ok("storescu");
        Self { gateway, port, _stage: stage }
    }

    /// The whole answer as text, what is no text replaced.
    fn ask(&self, line: &str, headers: &[&str]) -> String {
        self.ask_as(&format!("127.0.0.1:{}", self.port), line, headers)
    }

    /// The same with this in Host.
    fn ask_as(&self, host: &str, line: &str, headers: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let host = format!("Host: {host}");
        let head = [&[&*host, "Connection: close"], headers].concat().join("\r\n");
        write!(stream, "{line} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn shown(&self, resource: &str) -> String {
        self.ask(&format!("GET /dicom-web/{resource}"), &[&format!("Authorization: Bearer {TOKEN}")])
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn who_shows_the_token_is_shown_what_its_node_may_see() {
    let site = Site::start("\"find\", \"move\"");
    for headers in [&[][..], &["Authorization: Bearer wrong"], &["Authorization: Basic eDp5"]] {
        let refused = site.ask("GET /dicom-web/studies", headers);
        assert_eq!(status(&refused), 401, "{refused}");
        assert!(refused.to_lowercase().contains("www-authenticate: bearer"), "{refused}");
    }
    // A node is listed at large, as by C-FIND; links lead back by the way that was come.
    let studies = site.shown("studies?limit=10");
    assert_eq!(status(&studies), 200, "{studies}");
    let link = format!("http://127.0.0.1:{}/dicom-web/studies/", site.port);
    let at = studies.find(&link).unwrap_or_else(|| panic!("{studies}")) + link.len();
    let study = &studies[at..at + studies[at..].find('"').unwrap()];
    let metadata = site.shown(&format!("studies/{study}/metadata"));
    assert_eq!(
        (status(&metadata), metadata.contains("\"7FE00010\":{\"vr\":\"OW\",\"BulkDataURI\":\"http://127.0.0.1:")),
        (200, true)
    );
    // Through a proxy that speaks TLS they lead back through it.
    let token = format!("Authorization: Bearer {TOKEN}");
    let proxied = [&*token, "X-Forwarded-Proto: https", "X-Forwarded-Host: view.example"];
    for (resource, link) in [("studies?limit=10", "/studies/"), (&*format!("studies/{study}/metadata"), "/bulkdata/")] {
        let answer = site.ask(&format!("GET /dicom-web/{resource}"), &proxied);
        let through = answer.contains("\"https://view.example/dicom-web/studies/") && answer.contains(link);
        assert!(through && !answer.contains("http://"), "{answer}");
    }
    let picture = site.shown(&format!("studies/{study}/thumbnail"));
    assert!(status(&picture) == 200 && picture.contains("image/jpeg"));
    let stored = site.ask(
        "POST /dicom-web/studies",
        &[&format!("Authorization: Bearer {TOKEN}"), "Content-Type: application/dicom", "Content-Length: 0"],
    );
    assert_eq!(status(&stored), 403, "nothing is stored by this way: {stored}");
    assert!(stored.contains("for search and retrieval only"), "{stored}");
    // dicomweb-client writes two slashes where it was given one at the end of the service's address.
    for path in ["/studies?limit=10", "studies/?limit=10"] {
        let same = site.shown(path);
        assert!(status(&same) == 200 && same.contains(&link), "{path}: {same}");
    }
    let ledger = site.gateway.cli(&["ledger", "export"]).stdout;
    assert!(
        ledger.contains("\\\"peer\\\":\\\"VIEWER\\\"") && ledger.contains("\\\"what\\\":\\\"viewer\\\""),
        "{ledger}"
    );
}

/// dicomweb-client for Python leaves the port out of Host: the links lead back to it all the same, where no proxy stands before us.
#[test]
fn links_lead_back_to_a_port_that_was_left_out() {
    let site = Site::start("\"find\", \"move\"");
    let (port, token) = (site.port, format!("Authorization: Bearer {TOKEN}"));
    let rows = [
        ("127.0.0.1", "X: y", format!("\"http://127.0.0.1:{port}/dicom-web/studies/")),
        ("localhost", "X: y", format!("\"http://localhost:{port}/dicom-web/studies/")),
        ("localhost", "X-Forwarded-Proto: https", "\"https://localhost/dicom-web/studies/".to_owned()),
        ("view.example", "X: y", "\"http://view.example/dicom-web/studies/".to_owned()),
    ];
    for (host, more, link) in rows {
        let answer = site.ask_as(host, "GET /dicom-web/studies?limit=10", &[&token, more]);
        assert!(status(&answer) == 200 && answer.contains(&link), "{host}: {answer}");
    }
}

/// DIM-020: under the title of a node that viewers have, and that says nothing of where it calls from, nobody gets an association.
#[test]
fn nobody_calls_as_the_node_of_viewers() {
    let site = Site::start("\"find\", \"move\"");
    let open =
        |title: &str| Association::open(site.gateway.config.dicom_port, title, "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE);
    open("DCMTK").unwrap().release();
    assert!(open("VIEWER").is_err());
    let refused = site.gateway.ask(&["status", "--json"]).remove(0);
    assert!(
        refused["last_refusal"].as_str().is_some_and(|why| why.contains("may not call from this address")),
        "{refused}"
    );
    assert_eq!(status(&site.shown("studies?limit=10")), 200);
}

#[test]
fn rights_are_those_of_the_node() {
    let site = Site::start("\"find\"");
    assert_eq!(status(&site.shown("studies")), 200);
    assert_eq!(status(&site.shown("studies/1.2.3/metadata")), 403);
    let site = Site::start("\"move\"");
    assert_eq!(status(&site.shown("studies")), 403);
}

/// "Sharing limits": to the viewer, what is withheld from its node is as what was never here, in every form; what is withheld from
/// others alone it is shown.
#[test]
fn what_is_withheld_from_the_node_is_not_shown_to_its_viewers() {
    let rule =
        |to: &str| format!("[[withhold]]\nname = \"no CT\"\nwhen = {{ modality = [\"CT\"] }}\nto = [\"{to}\"]\n");
    let site = Site::with("\"find\", \"move\"", &rule("DCMTK"));
    let studies = site.shown("studies?limit=10");
    let link = format!("http://127.0.0.1:{}/dicom-web/studies/", site.port);
    let at = studies.find(&link).unwrap_or_else(|| panic!("{studies}")) + link.len();
    let study = studies[at..at + studies[at..].find('"').unwrap()].to_owned();
    assert_eq!(status(&site.shown(&format!("studies/{study}/metadata"))), 200);
    let site = Site::with("\"find\", \"move\"", &rule("VIEWER"));
    let words = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    for search in [
        "studies?limit=10",
        "studies?PatientID=H0000001",
        &format!("studies/{study}/series"),
        &format!("studies/{study}/instances"),
    ] {
        let answer = site.shown(search);
        assert_eq!((status(&answer), answer.to_lowercase().contains("warning:")), (204, false), "{search}: {answer}");
    }
    for form in ["", "/metadata", "/rendered", "/thumbnail"] {
        let [hidden, unknown] = [&*study, "1.2.3"].map(|study| site.shown(&format!("studies/{study}{form}")));
        assert_eq!((status(&hidden), words(&hidden)), (404, words(&unknown)), "{form}");
    }
    assert_eq!(site.gateway.study(&study).len(), demo_study("ct").len(), "it is here all the same");
}

#[test]
fn only_pages_of_known_origins_may_read_answers() {
    let site = Site::start("\"find\", \"move\"");
    let token = format!("Authorization: Bearer {TOKEN}");
    let allowed = |answer: &str, origin: &str| {
        answer.to_lowercase().contains(&format!("access-control-allow-origin: {}\r\n", origin.to_lowercase()))
    };
    let wanted = "Access-Control-Request-Method: GET";
    for origin in [PAGE, "http://127.0.0.1:3001", "http://evil.example", "null"] {
        let header = format!("Origin: {origin}");
        let before = site.ask("OPTIONS /dicom-web/studies", &[&header, wanted]);
        let answer = site.ask("GET /dicom-web/studies", &[&header, &token]);
        assert_eq!((status(&before), status(&answer)), (204, 200));
        assert_eq!((allowed(&before, origin), allowed(&answer, origin)), (origin == PAGE, origin == PAGE), "{origin}");
        assert!(before.to_lowercase().contains("if-match, if-none-match"), "{before}");
        assert!(!before.contains('*') && !answer.to_lowercase().contains("allow-origin: *"), "{before}");
    }
}
