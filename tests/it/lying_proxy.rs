//! A real nginx between two sites that answers in the peer's stead and wrongly, row by row: nothing is called verified that the other
//! site has not got, and once the lie ends everything is there, byte for byte, sent again only where the lie left no other way.

use crate::support::config::free_port;
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, digest, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::nginx::Nginx;
use crate::support::pacs::{Association, Status};
use crate::support::proxy::Proxy;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until, until_or_tell};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Instant;

const STORY: u64 = 930;

/// Short waits; all of a row goes in one request, if it may.
const COURIER: &str =
    "[courier]\nbatch_instances = 25\nretry_first = \"100ms\"\nretry_longest = \"500ms\"\noutage_probe = \"500ms\"";

/// What is between nginx and the other site, and how that is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// It stands there.
    Well,
    /// It takes what is sent, and no answer to POST comes back.
    AnsweringLate,
    /// Its process is stopped.
    Frozen,
    /// Its process is gone.
    Down,
    /// It is well, and nginx is killed with the answer in its hands.
    CutOff,
}

/// One lie.
struct Row {
    name: &'static str,
    requirement: &'static str,
    instances: u64,
    pixel_bytes: u32,
    /// Further lines of nginx's blocks `http` and `location`.
    http: &'static str,
    lie: &'static str,
    behind: Behind,
    /// What nginx says to POST, and how often at least.
    said: (&'static str, usize),
    /// To what all of it comes as long as the lie stands, as `transfers list` counts; where nothing is to be waited for, "".
    meanwhile: &'static str,
    /// How many requests with instances go out meanwhile, at most.
    posts: usize,
    /// What `why` says of it.
    words: &'static str,
    /// A person has to say when the lie has ended.
    by_hand: bool,
}

const SMALL: Row = Row {
    name: "",
    requirement: "",
    instances: 20,
    pixel_bytes: 4096,
    http: "",
    lie: "",
    behind: Behind::Well,
    said: ("", 0),
    meanwhile: "unknown",
    posts: 1,
    words: "",
    by_hand: false,
};

const LOST: &str = "unknown (the connection failed while or after data were sent";
/// A proxy that has another word for a peer that is too slow.
const BUSY: &str = "proxy_read_timeout 3s; error_page 504 =503 @busy; } location @busy { return 503;";

/// A service that is at `/studies` and not below it.
const PLAIN: &str =
    "set $posted \"$request_method$request_uri\"; if ($posted ~ \"^POST/dicom-web/studies/.\") { return 405; }";

const HTML: &str = "default_type text/html; return 200 '<html><body>It works!</body></html>';";

/// One request with instances a minute; whoever asks what is there is let pass.
const LIMITED: &str = "map $request_method $sends { POST all; default \"\"; }\n\
    limit_req_zone $sends zone=few:64k rate=1r/m; limit_req_status";

const ROWS: &[Row] = &[
    // 20 of 20 kB each: what is too large together is taken in parts.
    Row {
        name: "too large together",
        requirement: "FLT-058",
        pixel_bytes: 20_000,
        lie: "client_max_body_size 150k;",
        said: ("413", 3),
        meanwhile: "verified",
        posts: 40,
        words: "verified (HTTP 200",
        ..SMALL
    },
    Row {
        name: "too large alone",
        requirement: "FLT-058",
        instances: 1,
        pixel_bytes: 600_000,
        lie: "client_max_body_size 150k;",
        said: ("413", 1),
        meanwhile: "dead",
        words: "larger than the peer takes",
        by_hand: true,
        ..SMALL
    },
    Row {
        name: "504 after it was stored",
        requirement: "FLT-062",
        lie: "proxy_read_timeout 3s;",
        behind: Behind::AnsweringLate,
        said: ("504", 1),
        meanwhile: "verified",
        words: "HTTP 504",
        ..SMALL
    },
    Row {
        name: "504 since it is stopped",
        requirement: "WEB-062",
        lie: "proxy_connect_timeout 1s; proxy_read_timeout 1s;",
        behind: Behind::Frozen,
        said: ("504", 1),
        words: "HTTP 504",
        ..SMALL
    },
    Row {
        name: "502 since it is down",
        requirement: "WEB-062",
        behind: Behind::Down,
        said: ("502", 1),
        words: "HTTP 502",
        ..SMALL
    },
    Row { name: "200 with a page", requirement: "FLT-065", lie: HTML, said: ("200", 1), words: "HTTP 200", ..SMALL },
    Row {
        name: "301 to elsewhere",
        requirement: "FLT-064",
        lie: "return 301 https://127.0.0.1:ELSEWHERE$request_uri;",
        said: ("301", 1),
        meanwhile: "parked",
        words: "redirects are not followed",
        by_hand: true,
        ..SMALL
    },
    Row {
        name: "429 without a word when",
        requirement: "FLT-060",
        instances: 60,
        http: LIMITED,
        lie: "limit_req zone=few;",
        said: ("429", 2),
        meanwhile: "",
        posts: usize::MAX,
        words: "HTTP 429",
        ..SMALL
    },
    Row {
        name: "503 with Retry-After",
        requirement: "FLT-061",
        instances: 60,
        http: LIMITED,
        lie: "limit_req zone=few; add_header Retry-After 1 always;",
        said: ("503", 2),
        meanwhile: "",
        posts: usize::MAX,
        words: "HTTP 503",
        ..SMALL
    },
    Row {
        name: "503 after it was stored",
        requirement: "FLT-061",
        lie: BUSY,
        behind: Behind::AnsweringLate,
        said: ("503", 1),
        meanwhile: "verified",
        words: "HTTP 503",
        ..SMALL
    },
    Row {
        name: "no answer at all",
        requirement: "FLT-067",
        lie: "if ($request_method = POST) { return 444; }",
        said: ("444", 1),
        meanwhile: "",
        posts: usize::MAX,
        words: LOST,
        ..SMALL
    },
    Row {
        name: "an answer that breaks off",
        requirement: "FLT-067",
        lie: "limit_rate 40;",
        behind: Behind::CutOff,
        meanwhile: "",
        words: LOST,
        ..SMALL
    },
    Row {
        name: "nothing below the studies",
        requirement: "WEB-051",
        lie: PLAIN,
        said: ("405", 1),
        meanwhile: "verified",
        posts: 2,
        words: "verified (HTTP 200",
        ..SMALL
    },
];

struct Sites {
    stage: Stage,
    a: Gateway,
    b: Gateway,
    /// Where A finds nginx, and whoever listens where it must not go.
    port: u16,
    elsewhere: TcpListener,
}

impl Sites {
    fn start() -> Self {
        let stage = Stage::new();
        let b = Gateway::start(&stage.path().join("b"), stage.site_b());
        let port = free_port();
        let config = stage.site_a(&format!("https://127.0.0.1:{port}/dicom-web")).with(COURIER);
        let a = Gateway::start(&stage.path().join("a"), config);
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        elsewhere.set_nonblocking(true).unwrap();
        Self { stage, a, b, port, elsewhere }
    }

    /// nginx with these lines; POST goes on to one port, everything else to another.
    fn nginx(&self, name: &str, http: &str, lie: &str, post_to: u16) -> Nginx {
        let shown = self.stage.identity_of_a();
        let http = format!(
            "map $request_method $to {{ POST 127.0.0.1:{post_to}; default 127.0.0.1:{}; }}\n{http}",
            self.b.config.web_port
        );
        let server = format!(
            "proxy_http_version 1.1; proxy_set_header Host $host:$server_port; proxy_ssl_certificate {}; proxy_ssl_certificate_key {};\n\
             location / {{ proxy_pass https://$to; {lie} }}\n",
            shown.certificate.display(),
            shown.key.display()
        );
        Nginx::start(&self.stage.path().join(name), self.port, &self.b.config.identity, &http, &server)
    }

    /// Pushes what a row sends into A, before any of it goes on; each with the digest of what was sent.
    fn push(&self, row: u64, count: u64, pixel_bytes: u32) -> BTreeMap<String, String> {
        self.a.cli(&["peers", "pause", "b", "--reason", "the row is being prepared"]).ok("pause");
        let mut association =
            Association::open(self.a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        let mut sent = BTreeMap::new();
        for number in 1..=count {
            let Names { instance, .. } = &names(STORY, row, number);
            let bytes = data_set(&names(STORY, row, number), pixel_bytes, row << 16 | number);
            assert_eq!(association.store(SECONDARY_CAPTURE, instance, &bytes).unwrap(), Status::SUCCESS);
            sent.insert(instance.clone(), digest(&bytes));
        }
        association.release();
        sent
    }

    /// Waits until all of a row is in the state of `field` at B, as A counts.
    fn come(&self, row: &Row, study: &str, field: &str) {
        let line = || {
            let lines = self.a.ask(&["transfers", "list", "--json"]);
            lines.into_iter().find(|line| line["study_instance_uid"] == study).expect("it is owed")
        };
        let story = || {
            let story = self.a.cli(&["why", study]).ok("why");
            let last = story.lines().rev().take(20).collect::<Vec<_>>().join("\n");
            format!("{}: not all are {field}: {}\nthe last first:\n{last}", row.name, line())
        };
        until_or_tell(seconds(60), || (line()[field] == row.instances).then_some(()), story);
    }
}

/// What a site holds of a study: each instance with its digest.
fn held(site: &Gateway, study: &str) -> BTreeMap<String, String> {
    if site.holds(study) == 0 {
        return BTreeMap::new();
    }
    site.study(study).iter().map(|line| (uid(line), line["sha256"].as_str().unwrap().to_owned())).collect()
}

fn uid(line: &Value) -> String {
    line["sop_instance_uid"].as_str().unwrap().to_owned()
}

/// Tells one lie, and the truth afterwards.
fn lies(sites: &mut Sites, number: u64, row: &Row) {
    let (b_port, study) = (sites.b.config.web_port, names(STORY, number, 1).study);
    let late = Proxy::to(b_port);
    // Past the handshake, and within the body.
    late.hold_answers(if row.behind == Behind::AnsweringLate { 40_000 } else { 0 });
    let limits = if row.http.is_empty() { String::new() } else { format!("{} {};", row.http, row.said.0) };
    let lie = row.lie.replace("ELSEWHERE", &sites.elsewhere.local_addr().unwrap().port().to_string());
    let nginx = sites.nginx(&format!("lie{number}"), &limits, &lie, late.port);
    let sent = sites.push(number, row.instances, row.pixel_bytes);
    match row.behind {
        Behind::Frozen => sites.b.process().freeze(),
        Behind::Down => sites.b.kill(),
        _ => {}
    }
    sites.a.cli(&["peers", "resume", "b"]).ok("resume");
    believed(sites, row, &study, &nginx, &sent);

    late.hold_answers(0);
    nginx.kill();
    let honest = sites.nginx(&format!("truth{number}"), "", "client_max_body_size 0;", b_port);
    match row.behind {
        Behind::Frozen => sites.b.process().thaw(),
        Behind::Down => sites.b.up(),
        _ => {}
    }
    if row.by_hand {
        sites.a.cli(&["transfers", "retry", "--study", &study]).ok("retry");
    }
    sites.come(row, &study, "verified");
    assert_eq!(held(&sites.b, &study), sent, "{}: byte for byte", row.name);
    let story = sites.a.cli(&["why", &study]).ok("why");
    assert!(story.contains(row.words), "{}: {story}", row.name);
    honest.kill();
}

/// The lie is told, and A makes of it what it should.
fn believed(sites: &mut Sites, row: &Row, study: &str, nginx: &Nginx, sent: &BTreeMap<String, String>) {
    let (name, (status, times)) = (row.name, row.said);
    let posts = || nginx.told().into_iter().filter(|line| line.starts_with("POST ")).collect::<Vec<_>>();
    let told = format!("POST {status}");
    until(seconds(60), &format!("{name}: {told}"), || {
        (posts().iter().filter(|line| **line == told).count() >= times).then_some(())
    });
    if row.behind == Behind::CutOff {
        let there = || (sites.b.holds(study) as u64 == row.instances).then_some(());
        until(seconds(60), "B holds it, and its answer is on the way", there);
    }
    if !row.meanwhile.is_empty() {
        sites.come(row, study, row.meanwhile);
    }
    let is_verified = |line: &&Value| line["transfers"][0]["state"] == "verified";
    let verified: Vec<String> = sites.a.study(study).iter().filter(is_verified).map(uid).collect();
    if matches!(row.behind, Behind::Frozen | Behind::Down) {
        assert!(verified.is_empty(), "{name}: nobody could say so: {verified:?}");
    } else {
        let there = held(&sites.b, study);
        assert!(verified.iter().all(|uid| there.get(uid) == sent.get(uid)), "{name}: {verified:?} of {there:?}");
    }
    assert!(posts().len() <= row.posts, "{name}: {:?}", posts());
}

/// FLT-058, FLT-060 to FLT-062, FLT-064, FLT-065, FLT-067, WEB-051, WEB-062, WEB-064: what a proxy in between answers is taken for no more than it is.
#[test]
fn a_proxy_that_lies_is_believed_nothing_and_loses_nothing() {
    let mut sites = Sites::start();
    for (number, row) in (1..).zip(ROWS) {
        let began = Instant::now();
        lies(&mut sites, number, row);
        note_fired(1);
        println!("summary: {} ({}): {:.1} s", row.name, row.requirement, began.elapsed().as_secs_f32());
    }
    // Sent again is what A asked for and B did not have, and nothing else.
    let (arrivals, absences) = (ledger::arrivals(&sites.b), ledger::absences(&sites.a, |name| name == "b"));
    let owed: u64 = ROWS.iter().map(|row| row.instances).sum();
    assert_eq!(arrivals.len() as u64, owed, "nothing else arrived");
    let (twice, again) = ledger::needless(arrivals, &absences);
    assert!(twice.is_empty(), "sent so often without need: {twice:?}");
    println!("summary: {owed} instances; {} were found absent, {again} sent again for it", absences.len());
    let called = sites.elsewhere.accept();
    assert!(called.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "nobody went elsewhere");
    assert_eq!(sites.a.transfers("b", "verified"), (owed, owed));
    sites.a.verify_ledger(true);
    sites.b.verify_ledger(true);
}
