//! Faults of the surroundings: two gateways on one directory, requests that are played again, no descriptors left, TLS that
//! breaks within a body, studies that grow while they are sent, a person who cancels while the answer comes.

use crate::bits;
use crate::support::caller::{Caller, Pdu, Request};
use crate::support::files::{EXPLICIT_LE, Names, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::load::{send_all, send_one};
use crate::support::multipart::{BOUNDARY, body, content_type};
use crate::support::pacs::{Association, Status};
use crate::support::proxy::Proxy;
use crate::support::scripted_peer::{ScriptedPeer, Step};
use crate::support::two_sites::{B_IDENTITY, Stage};
use crate::support::wait::{seconds, until};
use crate::support::wire::Wire;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const NOWHERE: &str = "https://127.0.0.1:9/dicom-web";

/// Small batches and short waits.
const COURIER: &str =
    "[courier]\nbatch_instances = 5\nretry_first = \"100ms\"\nretry_longest = \"1s\"\noutage_probe = \"1s\"";

/// FLT-072: the second gateway on a directory refuses to start, says why, and harms nothing.
#[test]
fn a_second_gateway_on_one_directory_refuses_to_start() {
    let stage = Stage::new();
    let mut first = Gateway::start(&stage.path().join("a"), stage.site_a(NOWHERE));
    send_all(710, 0..2, first.config.dicom_port, "WB_A");
    let mut config = stage.site_a(NOWHERE);
    config.data_dir = first.data_dir().display().to_string();
    let mut second = Gateway::prepare(&stage.path().join("second"), config);
    let said = second.cli(&["serve"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("another gateway works on") && said.stderr.contains("stop it first"), "{said:?}");
    // The first works on, its command line too.
    send_all(710, 2..4, first.config.dicom_port, "WB_A");
    assert_eq!(first.ask(&["status", "--json"])[0]["instances"], 4);
    first.verify_ledger(true);
    // Once it is gone, however it went, the other may have the directory.
    first.kill();
    second.up();
    assert_eq!(second.ask(&["status", "--json"])[0]["instances"], 4);
    second.verify_ledger(true);
    note_fired(1);
}

/// Passes one connection on and keeps what went up.
fn recorder(upstream: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&kept);
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
        let (mut down_from, mut down_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut down_from, &mut down_to));
        let mut buffer = [0; 16 << 10];
        while let Ok(size @ 1..) = client.read(&mut buffer) {
            record.lock().unwrap().extend_from_slice(&buffer[..size]);
            if server.write_all(&buffer[..size]).is_err() {
                return;
            }
        }
    });
    (port, kept)
}

/// FLT-032: what was recorded and is played again changes nothing: as ciphertext it is not even read, as a request or an
/// association of its own it is a duplicate.
#[test]
fn what_is_played_again_changes_nothing() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()));
    let identity = stage.authority.issue(B_IDENTITY);
    let held = names(711, 1, 1);
    let part = part10(SECONDARY_CAPTURE, &held.instance, EXPLICIT_LE, &data_set(&held, 4096, 1));
    let request = body(&[part], true);
    let kind = format!("Content-Type: {}", content_type());

    let (port, kept) = recorder(a.config.web_port);
    for times in 1..=3 {
        let mut wire = Wire::open(&identity, if times == 1 { port } else { a.config.web_port });
        wire.request("POST /dicom-web/studies", &[&kind], &request).unwrap();
        assert_eq!(wire.answer().expect("an answer").status, 200, "time {times}");
    }
    let ciphertext = kept.lock().unwrap().clone();
    assert!(ciphertext.len() > 4096 && memchr::memmem::find(&ciphertext, BOUNDARY.as_bytes()).is_none());
    let mut thief = TcpStream::connect(("127.0.0.1", a.config.web_port)).unwrap();
    thief.set_read_timeout(Some(seconds(30))).unwrap();
    thief.write_all(&ciphertext).unwrap();
    let _ = thief.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    let _ = thief.read_to_end(&mut said);
    assert!(!said.is_empty(), "the ciphertext was heard");
    assert!(memchr::memmem::find(&said, b"200 OK").is_none(), "the thief learnt nothing");

    let (port, kept) = recorder(a.config.dicom_port);
    send_all(712, 0..3, port, "WB_A");
    let association = kept.lock().unwrap().clone();
    for _ in 0..2 {
        let mut thief = TcpStream::connect(("127.0.0.1", a.config.dicom_port)).unwrap();
        thief.set_read_timeout(Some(seconds(30))).unwrap();
        thief.write_all(&association).unwrap();
        let _ = thief.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        let _ = thief.read_to_end(&mut said);
    }
    a.all_become("b", "verified", 3, seconds(60));
    assert!(b.arrivals().values().all(|times| *times == 1), "nothing is sent twice: {:?}", b.arrivals());
    assert_eq!(a.ask(&["status", "--json"])[0]["instances"], 4);
    let arrivals = ledger::arrivals(&a);
    assert_eq!(arrivals[&held.instance], 3, "each is entered: {arrivals:?}");
    assert_eq!(arrivals.values().sum::<usize>(), 3 + 9, "and the ciphertext was none of them");
    a.verify_ledger(true);
    // The ciphertext, and what came again as a request or an association.
    note_fired(1);
    note_fired(arrivals.values().map(|times| times - 1).sum());
}

fn usual() -> Request {
    Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE])
}

/// How many descriptors a site may have from now on. It starts with as many as this test has.
fn limit_descriptors(site: &mut Gateway, to: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(site.process().id()).unwrap());
    let own = getrlimit(Resource::Nofile);
    prlimit(pid, Resource::Nofile, Rlimit { current: to.or(own.current), ..own }).unwrap();
}

/// FLT-026: near the end of the descriptors new associations get 2/3/1 and new requests 503, what is in hand goes on; at the end
/// of them instances are refused for now, and nothing is lost; then all is as before.
#[test]
fn without_descriptors_new_work_is_turned_away_and_the_gateway_lives() {
    let stage = Stage::new();
    let mut config = stage.site_a(NOWHERE);
    config.dicom = "max_associations = 500".to_owned();
    let node =
        "[[node]]\nae_title = \"MANY\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\nmax_associations = 500\n";
    let mut site = Gateway::start(&stage.path().join("a"), config.with(node));
    let (port, web) = (site.config.dicom_port, site.config.web_port);
    let identity = stage.authority.issue(B_IDENTITY);
    let (mut at_work, _) = Caller::accepted(port, &usual());
    let store = |caller: &mut Caller, number: u64, bytes: u32| {
        let names = names(713, 1, number);
        caller.store(1, SECONDARY_CAPTURE, &names.instance, &data_set(&names, bytes, number)).unwrap().status
    };
    assert_eq!(store(&mut at_work, 1, 4096), 0);

    limit_descriptors(&mut site, Some(120));
    let many = Request::new("MANY", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
    let mut crowd = Vec::new();
    let turned_away = (0..120).find_map(|_| match Caller::ask(port, &many) {
        (caller, Ok(Pdu::Accept(_))) => {
            crowd.push(caller);
            None
        }
        (_, said) => Some(said.unwrap()),
    });
    assert_eq!(turned_away, Some(Pdu::Reject(2, 3, 1)), "after {} associations", crowd.len());
    assert!(crowd.len() > 10, "{} associations were let in first", crowd.len());
    note_fired(1);
    let mut wire = Wire::open(&identity, web);
    wire.head("OPTIONS /dicom-web", &[]).unwrap();
    let reply = wire.answer().expect("an answer");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("30")), "{reply:?}");
    note_fired(1);
    // What is in hand has what it needs, a file of its own too.
    assert_eq!((store(&mut at_work, 2, 3_000_000), store(&mut at_work, 3, 4096)), (0, 0));

    // Not one more, whatever for.
    limit_descriptors(&mut site, Some(8));
    assert_eq!(store(&mut at_work, 4, 3_000_000), 0xA700, "for now");
    note_fired(1);
    let waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
    until(seconds(20), "the log says so", || site.log().contains("a connection could not be taken").then_some(()));
    note_fired(1);
    assert!(site.process().ended().is_none(), "the gateway lives");

    limit_descriptors(&mut site, None);
    drop((waiting, crowd));
    until(seconds(40), "all is as before", || match Caller::ask(port, &usual()) {
        (caller, Ok(Pdu::Accept(_))) => {
            caller.release();
            Some(())
        }
        _ => None,
    });
    assert_eq!(store(&mut at_work, 4, 3_000_000), 0, "the same again");
    let mut wire = Wire::open(&identity, web);
    wire.head("OPTIONS /dicom-web", &[]).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 200);
    assert_eq!(site.ask(&["status", "--json"])[0]["instances"], 4);
    site.verify_ledger(true);
    site.stop();
}

/// FLT-048, where we receive: TLS that breaks within a body is a reset. Of the part in hand nothing is kept, and the same again
/// is taken.
#[test]
fn tls_that_breaks_within_a_body_that_we_receive_keeps_nothing_of_it() {
    let stage = Stage::new();
    let site = Gateway::start(&stage.path().join("a"), stage.site_a(NOWHERE));
    let identity = stage.authority.issue(B_IDENTITY);
    let (whole, cut) = (names(714, 1, 1), names(714, 1, 2));
    let part = |of: &Names| part10(SECONDARY_CAPTURE, &of.instance, EXPLICIT_LE, &data_set(of, 1_500_000, 1));
    let request = body(&[part(&whole), part(&cut)], true);
    let (kind, length) = (format!("Content-Type: {}", content_type()), format!("Content-Length: {}", request.len()));
    let breaks: [&[u8]; 3] = [
        // A record that nobody encrypted, an alert in the clear, and what is no record at all.
        b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\x15\x03\x03\x00\x02\x02\x14",
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in breaks {
        let mut wire = Wire::open(&identity, site.config.web_port);
        wire.head("POST /dicom-web/studies", &[&kind, &length]).unwrap();
        wire.send(&request[..request.len() - 500_000]).unwrap();
        wire.raw(bytes).unwrap();
        let _ = wire.send(&request[request.len() - 500_000..]);
        assert!(wire.answer().is_none_or(|reply| reply.status != 200), "it was not all stored");
        until(seconds(30), "the part that was whole is kept", || (site.holds(&whole.study) == 1).then_some(()));
        note_fired(1);
    }
    let mut wire = Wire::open(&identity, site.config.web_port);
    wire.request("POST /dicom-web/studies", &[&kind], &request).unwrap();
    assert_eq!(wire.answer().expect("an answer").status, 200, "the same again");
    assert_eq!(site.study(&whole.study).len(), 2);
    site.verify_ledger(true);
}

/// FLT-048, where we send: a bit that flips below TLS within our body ends the connection at the peer. That is ambiguous: the peer
/// is asked, and gets what it lacks, once.
#[test]
fn tls_that_breaks_within_a_body_that_we_send_is_asked_about_and_sent_again() {
    let stage = Stage::new();
    let b = Gateway::start(&stage.path().join("b"), stage.site_b());
    let proxy = Proxy::to(b.config.web_port);
    let config = stage.site_a(&format!("https://127.0.0.1:{}/dicom-web", proxy.port)).with(COURIER);
    let a = Gateway::start(&stage.path().join("a"), config);
    proxy.flip_a_bit_after(1_000_000);
    send_one(715, 1, 4_000_000, a.config.dicom_port, "WB_A");
    a.all_become("b", "verified", 1, seconds(60));
    assert_eq!(proxy.fired(), 1, "a bit was flipped within the body");
    let held = names(715, 1, 1);
    assert_eq!(ledger::arrivals(&b).get(&held.instance), Some(&1), "of the broken body nothing was kept");
    let story = a.cli(&["why", &held.instance]).ok("why");
    assert!(ledger::failures(&a, "b") >= 1, "the first try failed: {story}");
    assert_eq!(a.study(&held.study)[0]["sha256"], b.study(&held.study)[0]["sha256"]);
    a.verify_ledger(true);
    b.verify_ledger(true);
    note_fired(proxy.fired() as usize);
}

/// FLT-027: a blob whose file is gone, found so at a start or when it is to be sent: told as missing and set aside, the others go, and
/// the same again from the node heals it.
#[test]
fn a_blob_whose_file_is_gone_is_set_aside_and_the_others_are_sent() {
    const LARGE: u32 = 3_000_000;
    let stage = Stage::new();
    let mut b = Gateway::prepare(&stage.path().join("b"), stage.site_b());
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.config.url()).with(COURIER));
    let port = a.config.dicom_port;
    let send = |number: u64| send_one(719, number, if number == 3 { 4096 } else { LARGE }, port, "WB_A");
    (1..=3).for_each(send);
    let blobs = a.data_dir().join("blobs");
    let lose = |number: u64| {
        let (path, _) = bits::find(&blobs, &data_set(&names(719, number, number), LARGE, 719 << 40 | number));
        std::fs::remove_file(path).unwrap();
        note_fired(1);
    };
    a.stop();
    lose(1);
    a.up();
    let aside = |count: usize| {
        until(seconds(60), "what is missing is set aside", || {
            let open = a.ask(&["exceptions", "list", "--json"]);
            (open.iter().filter(|one| one["kind"] == "corrupt").count() == count).then_some(())
        });
    };
    aside(1);
    assert!(a.log().contains("are missing or cut"), "{}", a.log());
    lose(2);
    b.up();
    aside(2);
    until(seconds(60), "what is there arrives", || (a.transfers("b", "verified").1 == 1).then_some(()));
    assert_eq!([1, 2, 3].map(|number| b.holds(&names(719, number, number).study)), [0, 0, 1]);
    let out = stage.path().join("out");
    let told = a.cli(&["store", "export", &names(719, 2, 2).study, out.to_str().unwrap()]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let alarm = a.ask(&["exceptions", "list", "--json"]).remove(0)["exception"].to_string();
    let told = a.cli(&["exceptions", "show", &alarm]).ok("show");
    assert!(told.contains("does not hold the blob"), "missing, not damaged: {told}");
    (1..=2).for_each(send);
    a.all_become("b", "verified", 3, seconds(60));
    a.verify_ledger(true);
    b.verify_ledger(true);
}

/// FLT-084: a study that grows while it is sent, and again when all of it has arrived: late instances are owed and sent too, and
/// the sums are those of the whole.
#[test]
fn a_study_that_grows_while_it_is_sent_arrives_whole() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.then([Step::StoreWhenTold]);
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()).with(COURIER));
    let port = a.config.dicom_port;
    let sent = send_all(716, 0..20, port, "WB_A");
    let study = sent.first().unwrap().0.clone();
    until(seconds(30), "the first batch is there and not answered", || (b.held() > 0).then_some(()));
    send_all(716, 20..40, port, "WB_A");
    assert_eq!(a.transfers("b", "verified"), (40, 0), "it has grown while it is sent");
    note_fired(1);
    b.speak();
    a.all_become("b", "verified", 40, seconds(60));
    send_all(716, 40..43, port, "WB_A");
    a.all_become("b", "verified", 43, seconds(60));
    let lines = a.ask(&["transfers", "list", "--json"]);
    let [line] = &lines[..] else { panic!("one study, one destination: {lines:?}") };
    assert_eq!((line["study_instance_uid"].as_str(), line["instances"].as_u64()), (Some(study.as_str()), Some(43)));
    assert!(
        b.arrivals().len() == 43 && b.arrivals().values().all(|times| *times == 1),
        "each once: {:?}",
        b.arrivals()
    );
    note_fired(1);
}

/// FLT-090: while the answer comes there is nothing to cancel; what was accepted stays accepted, and what was not sent yet is
/// cancelled and never sent.
#[test]
fn what_is_accepted_while_a_person_cancels_stays_accepted() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.then([Step::StoreWhenTold]);
    let a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()).with(COURIER));
    let sent = send_all(717, 0..12, a.config.dicom_port, "WB_A");
    let study = sent.first().unwrap().0.clone();
    until(seconds(30), "a batch is there and not answered", || (b.held() > 0).then_some(()));
    let in_hand = b.held() as u64;
    let cancel = || a.cli(&["transfers", "cancel", "--study", &study, "--reason", "sent in error"]);
    let said = cancel();
    let (changed, tried) = (format!("cancel: {} transfers", 12 - in_hand), "it is being tried now");
    assert!(said.code == Some(1) && said.stdout.contains(&changed) && said.stdout.contains(tried), "{said:?}");
    assert!(said.stderr.contains("say it again"), "what is in hand may go on, and a person is told so: {said:?}");
    assert_eq!(a.transfers("b", "cancelled"), (12, 12 - in_hand));
    assert_eq!(cancel().code, Some(1), "what is in hand is not cancelled");
    b.speak();
    until(seconds(60), "it ends verified", || (a.transfers("b", "verified") == (12, in_hand)).then_some(()));
    assert_eq!(cancel().code, Some(1), "what is verified is final");
    assert_eq!((a.transfers("b", "verified").1, a.transfers("b", "cancelled").1), (in_hand, 12 - in_hand));
    assert_eq!(b.arrivals().len() as u64, in_hand, "nothing was sent after it was cancelled");
    let story = a.cli(&["why", &study]).ok("why");
    assert!(story.contains("sent in error"), "{story}");
    a.verify_ledger(true);
    note_fired(in_hand as usize);
}

/// A reload of configuration and certificates in mid-transfer: what is on its way ends well, at the first try (UIX-11, DIM-113).
#[test]
fn a_transfer_on_its_way_survives_a_reload_of_certificates_and_configuration() {
    let stage = Stage::new();
    let b = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    b.then([Step::StoreWhenTold]);
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a(&b.url()));
    send_all(718, 0..5, a.config.dicom_port, "WB_A");
    until(seconds(30), "it is there and not answered", || (b.held() > 0).then_some(()));
    let first = b.held() as u64;
    // Half of another instance is on its way in, too.
    let mut sender = Association::open(a.config.dicom_port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let late = names(718, 0, 99);
    let bytes = data_set(&late, 200_000, 99);
    sender.begin(SECONDARY_CAPTURE, &late.instance).unwrap();
    sender.data(&bytes[..100_000], false).unwrap();

    a.config.identity = stage.authority.issue_for_days(crate::support::two_sites::A_IDENTITY, 300);
    let more = format!(
        "{}\n[[node]]\nae_title = \"NEW\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\n",
        a.config.toml()
    );
    std::fs::write(a.config_file(), more).unwrap();
    a.reload();

    sender.data(&bytes[100_000..], true).unwrap();
    assert_eq!(sender.answer().unwrap(), Status::SUCCESS, "what was on its way in is stored");
    sender.release();
    b.speak();
    a.all_become("b", "verified", 6, seconds(60));
    assert!(first > 0 && b.arrivals().values().all(|times| *times == 1), "once each: {:?}", b.arrivals());
    assert_eq!(ledger::failures(&a, "b"), 0, "no attempt was lost to the reload");
    let new = Association::open(a.config.dicom_port, "NEW", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE);
    new.expect("the new node is let in").release();
    a.verify_ledger(true);
}
