//! What a neighbouring site holds, moved and got at this one as if it lay here: three levels, byte for byte, from real gateways.

use crate::support::config::SiteConfig;
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, data_set_digest, digest, names, read_part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::pacs::{Association, Status};
use crate::support::process::finish;
use crate::support::proxy::Proxy;
use crate::support::python;
use crate::support::tools::tool;
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::web;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// Site A with a workstation and a node; its neighbour B, behind a proxy, with what its PACS sent.
struct Neighbours {
    a: Gateway,
    b: Gateway,
    proxy: Proxy,
    out: StoreScp,
    stage: Stage,
}

impl Neighbours {
    /// `foreign` is how other sites' patients reach the node; `tables` go into the configuration of A.
    fn start(foreign: &str, tables: &str) -> Self {
        let stage = Stage::new();
        let b = Gateway::start(&stage.path().join("b"), stage.site_b().node("SENDER", None));
        let proxy = Proxy::to(b.config.web_port);
        let out = StoreScp::start(&stage.path().join("out"), "OUT");
        let nodes = format!(
            "[[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\nforeign = \"{foreign}\"\n\
             [[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nmay = [\"receive\"]\nforeign = \"{foreign}\"\n",
            out.port
        );
        let url = format!("https://127.0.0.1:{}/dicom-web", proxy.port);
        let config = SiteConfig::new("a", stage.identity_of_a())
            .node("SENDER", None)
            .peer("b", &url, B_IDENTITY, "present")
            .route("all to b", "b", "")
            .with(&nodes)
            .with(tables);
        let a = Gateway::start(&stage.path().join("a"), config);
        Self { a, b, proxy, out, stage }
    }

    /// The PACS of B sends so many instances of a study; gives digests by UID.
    fn send(&self, story: u64, instances: u64, bytes: u32) -> BTreeMap<String, String> {
        let mut pacs =
            Association::open(self.b.config.dicom_port, "SENDER", "WB_B", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        let sent = (1..=instances).map(|n| {
            let names = names(story, 1, n);
            let data = data_set(&names, bytes, story + n);
            assert_eq!(pacs.store(SECONDARY_CAPTURE, &names.instance, &data).unwrap(), Status::SUCCESS);
            (names.instance, digest(&data))
        });
        let sent = sent.collect();
        pacs.release();
        sent
    }

    fn ask(&self, name: &str, requests: &[Value]) -> Vec<Value> {
        let list = self.stage.path().join(format!("{name}.jsonl"));
        std::fs::write(&list, requests.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
        python::lines("query", [self.a.config.dicom_port.to_string().as_str(), "WB_A", list.to_str().unwrap()])
    }

    fn at_out(&self) -> BTreeMap<String, String> {
        digests(&self.out.files())
    }
}

fn digests(files: &[PathBuf]) -> BTreeMap<String, String> {
    let one = |path: &PathBuf| (read_part10(&std::fs::read(path).unwrap()).unwrap().instance, data_set_digest(path));
    files.iter().map(one).collect()
}

fn last(said: &Value) -> &Value {
    said["answers"].as_array().unwrap().last().unwrap()
}

fn move_of(keys: Value) -> Value {
    json!({ "op": "move", "to": "OUT", "keys": keys })
}

/// DIM-089, UIX-13, "Below the study": an image, a series and the study of a neighbour, moved by level, each byte for byte.
#[test]
fn images_series_and_studies_of_a_neighbour_are_moved_as_they_are() {
    let sites = Neighbours::start("as_is", "");
    let sent = sites.send(600, 7, 3000);
    let of = names(600, 1, 4);
    let image =
        move_of(json!({ "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": of.study, "SeriesInstanceUID": of.series,
        "SOPInstanceUID": [of.instance, "1.2.3"] }));
    let said = sites.ask("image", &[image]);
    assert_eq!(
        (last(&said[0])["status"].as_u64(), last(&said[0])["completed"].as_u64()),
        (Some(0), Some(1)),
        "{said:?}"
    );
    assert!(sites.at_out().keys().eq([&of.instance]), "only the image that was asked for");
    assert_eq!(sites.a.holds(&of.study), 1, "only what was asked for has come");
    let series = move_of(
        json!({ "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": of.study, "SeriesInstanceUID": of.series }),
    );
    let study = move_of(json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": of.study }));
    for said in sites.ask("rest", &[series, study]) {
        assert_eq!((last(&said)["status"].as_u64(), last(&said)["completed"].as_u64()), (Some(0), Some(7)), "{said}");
    }
    assert_eq!(sites.at_out(), sent, "bit for bit");
    // A route of A sends everything of A's nodes to B; what was pulled goes nowhere by itself, and nobody looks for a route for it.
    assert_eq!(sites.a.transfers("b", "pending"), (0, 0));
    let status = &sites.a.ask(&["status", "--json"])[0];
    assert_eq!(status["unrouted"], 0, "{status}");
    let why = sites.a.cli(&["why", &of.study]).ok("why");
    assert!(why.contains("peer b, which was asked for it"), "{why}");
    let told = sites.a.cli(&["ledger", "export"]).ok("export");
    assert!(told.contains("\"pulled\""), "{told}");
    // It went to who asked: no other site is shown it or given it, least of all the one that keeps it.
    let (a, b) = (sites.stage.identity_of_a(), sites.stage.authority.issue(B_IDENTITY));
    for (resource, at_b, at_a) in [
        (format!("studies?StudyInstanceUID={}", of.study), 200, 204),
        (format!("studies/{}/series", of.study), 200, 204),
        (format!("studies/{}/instances", of.study), 200, 204),
        (format!("studies/{}/metadata", of.study), 200, 404),
    ] {
        let asked =
            |who, site: &Gateway| web::request(Some(who), &a.trust, &format!("{}/{resource}", site.config.url()), &[]);
        assert_eq!((asked(&a, &sites.b).status, asked(&b, &sites.a).status), (at_b, at_a), "{resource}");
    }
    sites.a.verify_ledger(true);
    sites.b.verify_ledger(true);
}

/// UIX-13, DIM-090: DCMTK's `movescu` and `getscu` take a neighbour's study as they are.
#[test]
fn movescu_and_getscu_take_a_neighbours_study() {
    let sites = Neighbours::start("as_is", "");
    let (one, two) = (sites.send(610, 4, 3000), sites.send(611, 4, 3000));
    let dcmtk = |program: &str, story: u64, more: &[&str]| {
        let mut command = Command::new(tool(program));
        command.args(["-v", "-S", "-aet", "RADIOLOGY", "-aec", "WB_A"]).args(more);
        command.args(["-k", "0008,0052=STUDY", "-k", &format!("0020,000d={}", names(story, 1, 1).study)]);
        command.args(["127.0.0.1", &sites.a.config.dicom_port.to_string()]);
        let done = finish(&mut command, seconds(60));
        assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    };
    dcmtk("movescu", 610, &["-aem", "OUT"]);
    assert_eq!(sites.at_out(), one);
    let got = sites.stage.path().join("got");
    std::fs::create_dir_all(&got).unwrap();
    dcmtk("getscu", 611, &["+B", "-od", got.to_str().unwrap()]);
    let files: Vec<PathBuf> = std::fs::read_dir(&got).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(digests(&files), two);
}

/// DIM-089, DIM-083: the neighbour is killed half-way and comes back: the rest comes, everything once.
#[test]
fn a_neighbour_that_is_killed_half_way_and_comes_back_gives_the_rest() {
    let mut sites = Neighbours::start("as_is", "");
    let sent = sites.send(620, 40, 60_000);
    sites.proxy.throttle_down(400_000);
    let study = names(620, 1, 1).study;
    let list = sites.stage.path().join("killed.jsonl");
    std::fs::write(&list, move_of(json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study })).to_string())
        .unwrap();
    let port = sites.a.config.dicom_port.to_string();
    let asking = std::thread::spawn(move || python::lines("query", [port.as_str(), "WB_A", list.to_str().unwrap()]));
    until(seconds(60), "some are at the workstation", || (sites.out.files().len() >= 5).then_some(()));
    sites.b.kill();
    let then = sites.a.holds(&study);
    assert!((5..40).contains(&then), "killed half-way: {then} had come");
    sites.proxy.throttle_down(0);
    sites.b.up();
    let said = asking.join().unwrap();
    let answer = last(&said[0]);
    assert_eq!(
        (answer["status"].as_u64(), answer["completed"].as_u64(), answer["failed"].as_u64()),
        (Some(0), Some(40), Some(0))
    );
    assert_eq!(sites.at_out(), sent);
    assert_eq!(sites.a.holds(&study), 40);
    sites.a.verify_ledger(true);
}

/// "Foreign patients", IDY-040: what is pulled reaches the node under the number that it is shown, and is moved by that number.
#[test]
fn a_pulled_study_carries_the_number_that_the_node_is_shown() {
    let sites = Neighbours::start("prefix", "");
    sites.send(630, 2, 1000);
    let study = names(630, 1, 1).study;
    let by = |level: &str, patient: &str| {
        let mut request =
            move_of(json!({ "QueryRetrieveLevel": level, "PatientID": patient, "StudyInstanceUID": study }));
        if level == "PATIENT" {
            request = move_of(json!({ "QueryRetrieveLevel": level, "PatientID": patient }));
        }
        request["model"] = json!("patient");
        request
    };
    let said = sites.ask("by", &[by("STUDY", "T0000001"), by("STUDY", "b:T0000001"), by("PATIENT", "b:T0000001")]);
    let counts = |said: &Value| (last(said)["completed"].as_u64().unwrap(), last(said)["failed"].as_u64().unwrap());
    assert_eq!(counts(&said[0]), (0, 2), "nobody here is shown that number: {}", said[0]);
    assert_eq!(counts(&said[1]), (2, 0), "{}", said[1]);
    assert_eq!(counts(&said[2]), (2, 0), "{}", said[2]);
    for file in sites.out.files() {
        let text = finish(Command::new(tool("dcmdump")).arg("+L").arg(&file), seconds(20)).ok("dcmdump");
        assert!(text.contains("(0010,0020) LO [b:T0000001]"), "{text}");
    }
}

/// LED-030 for copies: they go when nobody has asked for them for a while, and come again when somebody does; never what a node sent.
#[test]
fn copies_go_when_nobody_asks_for_them_and_come_again() {
    let sites = Neighbours::start("as_is", "[priors]\nkeep = \"6s\"\n[retention]\nevery = \"1s\"");
    let sent = sites.send(640, 3, 1000);
    let own = names(641, 1, 1);
    let mut pacs =
        Association::open(sites.a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    assert_eq!(pacs.store(SECONDARY_CAPTURE, &own.instance, &data_set(&own, 1000, 1)).unwrap(), Status::SUCCESS);
    pacs.release();
    let study = names(640, 1, 1).study;
    let request = move_of(json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study }));
    for round in 0..2 {
        let said = sites.ask("copies", std::slice::from_ref(&request));
        assert_eq!(last(&said[0])["completed"], 3, "round {round}: {said:?}");
        let kept = || sites.a.study(&study).iter().filter(|row| row["state"] == "stored").count();
        until(seconds(60), "the copies are gone", || (kept() == 0).then_some(()));
    }
    assert_eq!(sites.at_out(), sent);
    assert_eq!(sites.a.study(&own.study)[0]["state"], "stored");
    sites.a.verify_ledger(true);
}

/// UIX-12, UIX-06: a person pulls a study by hand, sees what was pulled from whom, and drops the copies; never what a node sent. What is
/// not known is told apart from what is not there.
#[test]
fn a_person_pulls_a_study_lists_it_and_drops_the_copies() {
    let mut sites = Neighbours::start("as_is", "");
    let sent = sites.send(650, 5, 3000);
    let study = names(650, 1, 1).study;
    let pulled = &sites.a.ask(&["priors", "pull", &study, "--from", "b", "--json"])[0];
    assert_eq!((&pulled["how"], &pulled["came"], &pulled["kept"]), (&json!("done"), &json!(5), &json!(5)), "{pulled}");
    let again = &sites.a.ask(&["priors", "pull", &study, "--json"])[0];
    assert_eq!((&again["how"], &again["came"], &again["kept"]), (&json!("done"), &json!(0), &json!(5)), "{again}");
    let digests: BTreeMap<String, String> = sites.a.study(&study).iter().map(uid_and_digest).collect();
    assert_eq!(digests, sent, "bit for bit");
    let listed = &sites.a.ask(&["priors", "list", "--json"])[0];
    assert_eq!((&listed["peer"], &listed["kept"], &listed["missing"]), (&json!("b"), &json!(5), &json!(0)), "{listed}");
    let told = sites.b.cli(&["why", &study]).ok("why");
    assert!(told.contains("user "), "the neighbour knows for whom it was: {told}");
    let own = names(651, 1, 1);
    let mut pacs =
        Association::open(sites.a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    assert_eq!(pacs.store(SECONDARY_CAPTURE, &own.instance, &data_set(&own, 1000, 1)).unwrap(), Status::SUCCESS);
    pacs.release();
    let drop = |study: &str| sites.a.cli(&["priors", "drop", study, "--reason", "seen", "--json"]);
    let dropped: Value = serde_json::from_str(&drop(&study).ok("drop")).unwrap();
    assert_eq!(dropped["instances"], 5, "{dropped}");
    assert!(sites.a.study(&study).iter().all(|row| row["state"] == "purged"));
    assert_eq!(drop(&own.study).code, Some(1), "what a node sent is no copy");
    assert_eq!(sites.a.study(&own.study)[0]["state"], "stored");
    assert_eq!(sites.a.cli(&["priors", "pull", "2.25.652"]).code, Some(1), "nobody has it");
    sites.b.kill();
    let silent = sites.a.cli(&["priors", "pull", &study]);
    assert_eq!(silent.code, Some(3), "{}{}", silent.stdout, silent.stderr);
    assert!(silent.stderr.contains("b does not answer"), "{}", silent.stderr);
    sites.b.up();
    assert_eq!(sites.a.ask(&["priors", "pull", &study, "--json"])[0]["came"], 5, "the copies come again");
    sites.a.verify_ledger(true);
}

/// UIX-06: who pulls by hand over a slow line sees how far it is and how long the rest will take: a program line by line, a person by a bar.
#[test]
fn how_far_a_pull_is_and_how_long_it_will_take_is_shown() {
    let sites = Neighbours::start("as_is", "");
    sites.send(660, 40, 30_000);
    let study = names(660, 1, 1).study;
    sites.proxy.throttle_down(300_000);
    let order = json!({ "study": study, "from": null, "who": "jo", "purpose": null }).to_string();
    let mut curl = Command::new(tool("curl"));
    curl.args(["--silent", "--show-error", "--unix-socket"]).arg(sites.a.data_dir().join("admin.sock"));
    curl.args(["--header", "content-type: application/json", "--data", &order, "http://localhost/priors/pull"]);
    let said = finish(&mut curl, seconds(60)).ok("curl");
    let mut lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.pop().unwrap();
    assert_eq!((&last["how"], &last["came"], &last["failed"]), (&json!("done"), &json!(40), &json!(0)), "{last}");
    let count = |line: &Value, name: &str| line[name].as_u64().unwrap();
    let came: Vec<u64> = lines.iter().map(|line| count(line, "came")).collect();
    assert!(came.len() > 2 && came.is_sorted(), "{came:?}");
    for line in &lines {
        let (came, awaited) = (count(line, "came"), count(line, "awaited"));
        assert_eq!(came + awaited, 40, "{line}");
        // 4 seconds in all, if nothing else goes on; none before anything came.
        match (came, line["left_seconds"].as_f64()) {
            (0, left) => assert_eq!(left, None, "{line}"),
            (_, left) => assert!(left.is_some_and(|left| left > 0.0 && left < 300.0) || awaited == 0, "{line}"),
        }
    }
    assert!(lines.iter().any(|line| line["left_seconds"].as_f64() >= Some(1.0)), "{lines:?}");

    sites.a.cli(&["priors", "drop", &study, "--reason", "once more"]).ok("drop");
    let mut terminal = Command::new("sh");
    terminal.args(["-c", "exec script --quiet --return --command \"$0 $*\" /dev/null"]).env("TERM", "xterm");
    let shown = sites.a.cli_through(terminal, &["priors", "pull", &study]).ok("pull on a terminal");
    assert!(shown.contains("40 came, 0 failed, 40 are kept here"), "{shown:?}");
    let bars: Vec<&str> = shown.split(['\r', '\n']).filter(|text| text.contains(" left")).collect();
    assert!(bars.iter().any(|bar| bar.contains("/40 ") && !bar.contains(" 0/40 ")), "{shown:?}");
    let plain = sites.a.cli(&["priors", "pull", &study]);
    assert!(!format!("{}{}", plain.stdout, plain.stderr).contains(" left"), "on a terminal only: {plain:?}");
}

fn uid_and_digest(row: &Value) -> (String, String) {
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("sop_instance_uid"), text("sha256"))
}

/// WEB-103: one large instance comes over a line that is cut time and again, from where it was cut each time.
#[test]
fn one_large_instance_comes_over_a_line_that_is_cut_time_and_again() {
    let sites = Neighbours::start("as_is", "[priors]\npatience = \"60s\"");
    let sent = sites.send(640, 1, 30 << 20);
    sites.proxy.cut_each_after(4 << 20);
    let study = move_of(json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": names(640, 1, 1).study }));
    let said = sites.ask("cut", &[study]).remove(0);
    assert_eq!((&last(&said)["status"], &last(&said)["completed"]), (&json!(0), &json!(1)), "{said}");
    assert_eq!(sites.at_out(), sent, "bit for bit");
    let (cuts, carried) = (sites.proxy.fired(), sites.proxy.carried_down());
    assert!(cuts >= 6, "it was cut {cuts} times");
    // TLS and heads of answers besides; what was under way at a cut is lost.
    assert!(carried < 45 << 20, "{carried} bytes came for 30 MiB");
    note_fired(usize::try_from(cuts).unwrap());
    sites.a.verify_ledger(true);
}

/// DIM-083, DIM-089: a requester that takes what is here slowly, on its own association, keeps nobody else from what another site has of the
/// same study.
#[test]
fn a_slow_get_keeps_nobody_from_the_rest_of_the_study() {
    let sites = Neighbours::start("as_is", "");
    sites.send(690, 4, 1000);
    let study = names(690, 1, 1).study;
    let whole = json!({ "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study });
    // B has shown the study before our own nodes sent more of it.
    let shown = sites.ask("shown", &[json!({ "keys": whole })]);
    assert_eq!(shown[0]["answers"].as_array().unwrap().len(), 2, "{shown:?}");
    let mut pacs =
        Association::open(sites.a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    for n in 101..=106 {
        let names = names(690, 1, n);
        let data = data_set(&names, 1000, n);
        assert_eq!(pacs.store(SECONDARY_CAPTURE, &names.instance, &data).unwrap(), Status::SUCCESS);
    }
    pacs.release();
    let get = json!({ "op": "get", "keys": whole, "classes": [SECONDARY_CAPTURE], "slow": 3, "cancel": 8 });
    let list = sites.stage.path().join("slow.jsonl");
    std::fs::write(&list, get.to_string()).unwrap();
    let port = sites.a.config.dicom_port.to_string();
    let getting = std::thread::spawn(move || python::lines("query", [port.as_str(), "WB_A", list.to_str().unwrap()]));
    until(seconds(60), "the slow one has begun", || {
        sites.a.cli(&["ledger", "export"]).ok("export").contains("C-GET").then_some(())
    });
    let said = sites.ask("quick", &[move_of(whole)]).remove(0);
    assert_eq!((&last(&said)["status"], &last(&said)["completed"]), (&json!(0), &json!(10)), "{said}");
    let took = said["times"].as_array().unwrap().last().unwrap().as_f64().unwrap();
    assert!(took < 10.0, "it waited for who takes 18 s over what is here: {said}");
    getting.join().unwrap();
}
