//! A peer that cannot be spoken to: its name means nothing, it refuses our certificate since that has expired, it lost its power.
//! Nothing is charged to an instance, and all goes when it can.

use crate::support::config::{SiteConfig, free_port};
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::load::{send_all, send_one};
use crate::support::odd_node::OddNode;
use crate::support::pacs::Association;
use crate::support::process::Process;
use crate::support::scripted_peer::{ScriptedPeer, Step};
use crate::support::tools::{python, root};
use crate::support::two_sites::{A_IDENTITY, B_IDENTITY, Stage};
use crate::support::wait::{seconds, until, until_or_tell};
use rustix::net::{getpeername, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Instant;

/// Short waits; two refusals of an instance would end it.
const COURIER: &str =
    "[courier]\nretry_first = \"100ms\"\nretry_longest = \"200ms\"\noutage_probe = \"1s\"\nrefusals = 2";

/// Puts another configuration in force, on the same ports.
fn change(a: &mut Gateway, mut to: SiteConfig) {
    (to.dicom_port, to.web_port) = (a.config.dicom_port, a.config.web_port);
    a.config = to;
    a.write_config();
    a.reload();
}

/// Waits until it is told of each study why it does not go.
fn is_told(a: &Gateway, study: &str, words: &str) {
    let story = || a.cli(&["why", study]).stdout;
    until_or_tell(seconds(90), || story().contains(words).then_some(()), || format!("{words}\n{}", story()));
}

/// FLT-044: surely not sent, so that it is owed as before, however often it was tried; and the peer's right name is enough.
#[test]
fn a_name_that_does_not_resolve_costs_no_instance_an_attempt() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let nowhere = stage.site_a("https://gateway.invalid:8443/dicom-web").with(COURIER);
    let mut a = Gateway::start(&stage.path().join("a"), nowhere);
    let sent = send_all(722, 0..3, a.config.dicom_port, "WB_A");
    is_told(&a, &sent.first().unwrap().0, "name cannot be resolved");
    until(seconds(120), "it is tried more often than an instance may be refused", || {
        (ledger::failures(&a, "b") > 2).then_some(())
    });
    assert_eq!(a.transfers("b", "pending"), (3, 3), "owed as before");
    note_fired(ledger::failures(&a, "b"));
    change(&mut a, stage.site_a(&peer.url()).with(COURIER));
    a.all_become("b", "verified", 3, seconds(60));
    assert!(peer.arrivals().values().all(|times| *times == 1), "{:?}", peer.arrivals());
    assert!(ledger::found_absent(&a, "b").is_empty(), "nothing was ever unknown");
    a.verify_ledger(true);
}

/// FLT-047: the end of our own certificate is told as ours, at once and by name; what is owed waits, and goes with the next one. If a
/// request had begun when the peer closed, the words of its refusal may be lost: that one is unknown, and the question that follows is told.
#[test]
fn our_own_certificate_that_has_expired_is_told_as_ours_and_nothing_is_lost() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let with = |identity| {
        let mut config = stage.site_a(&peer.url()).with(COURIER);
        config.identity = identity;
        config
    };
    let mut a = Gateway::start(&stage.path().join("a"), with(stage.authority.issue_expired(A_IDENTITY)));
    let check = a.cli(&["check"]);
    let ours = format!("CN={A_IDENTITY}");
    assert!(check.stdout.contains(&ours) && check.stdout.contains("expired"), "{check:?}");
    assert!(a.log().contains("expired"), "{}", a.log());
    let sent = send_all(723, 0..3, a.config.dicom_port, "WB_A");
    is_told(&a, &sent.first().unwrap().0, "refuses our certificate");
    let waits = || a.transfers("b", "parked").1 + a.transfers("b", "unknown").1;
    until(seconds(30), "all is parked, or asked about", || (waits() == 3).then_some(()));
    assert_eq!(peer.held(), 0, "nothing goes out without a name");
    note_fired(ledger::failures(&a, "b"));
    change(&mut a, with(stage.authority.issue(A_IDENTITY)));
    a.all_become("b", "verified", 3, seconds(60));
    assert!(peer.arrivals().values().all(|times| *times == 1), "{:?}", peer.arrivals());
    a.verify_ledger(true);
}

/// The sockets of a gateway that lead to a port, or come to one of its own.
fn sockets(a: &mut Gateway, port: u16) -> Vec<OwnedFd> {
    let id = a.process().id();
    let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    let gateway = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let numbers = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // What was closed meanwhile, and what is no socket, is passed over.
    let taken = numbers.filter_map(|number| pidfd_getfd(&gateway, number, PidfdGetfdFlags::empty()).ok());
    let port_of = |address: Option<std::net::SocketAddr>| address.map(|address| address.port());
    let leads = |fd: &OwnedFd| {
        let other = port_of(getpeername(fd).ok().flatten().and_then(|address| address.try_into().ok()));
        let own = port_of(rustix::net::getsockname(fd).ok().and_then(|address| address.try_into().ok()));
        other.is_some() && (other == Some(port) || own == Some(port))
    };
    taken.filter(leads).collect()
}

/// After how many milliseconds the system gives a connection up: nothing under way, and something under way; 0 is never.
fn limits(socket: &OwnedFd) -> [u64; 2] {
    let idle = sockopt::tcp_keepidle(socket).unwrap();
    let probing = idle + sockopt::tcp_keepintvl(socket).unwrap() * sockopt::tcp_keepcnt(socket).unwrap();
    let probing = if sockopt::socket_keepalive(socket).unwrap() { probing.as_millis() } else { 0 };
    [u64::try_from(probing).unwrap(), sockopt::tcp_user_timeout(socket).unwrap().into()]
}

/// FLT-041: the system tells the gateway within two minutes of a peer that is no longer there, whether something is on its way to it or
/// not. Read back from the gateway's own sockets: the first probe, the others, and how long what was sent may go unanswered.
#[test]
fn each_connection_notices_within_two_minutes_that_the_other_side_is_gone() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let node = OddNode::start(stage.path(), &["--slow-first", "60"]);
    peer.always(Some(Step::Hang));
    let config = stage.site_a(&peer.url()).node("OUT", Some(node.port)).route("all to the node", "OUT", "");
    let mut a = Gateway::start(&stage.path().join("a"), config);
    let port = a.config.dicom_port;
    send_all(724, 0..1, port, "WB_A");
    let sender = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    for (what, port) in [("the peer", peer.port), ("the node", node.port), ("the sender", port)] {
        let mut last = Vec::new();
        let noticed = || {
            last = sockets(&mut a, port).iter().map(limits).collect();
            (!last.is_empty() && last.iter().flatten().all(|limit| (1..=120_000).contains(limit))).then_some(last.len())
        };
        note_fired(until(seconds(60), what, noticed));
        println!("summary: {what}: unanswered probes, unanswered data: {last:?} ms");
    }
    sender.release();
}

/// A proxy of which one end falls silent once so many bytes have gone up.
struct Vanishing {
    port: u16,
    process: Process,
}

impl Vanishing {
    fn start(stage: &Stage, upstream: u16, end: &str) -> Self {
        let port = free_port();
        let mut command = Command::new(python());
        command.arg(root().join("tests/it/python/vanish.py"));
        command.args([&port.to_string(), &upstream.to_string(), "100000", end]);
        let process = Process::spawn("vanish.py", &mut command, &stage.path().join(format!("vanish-{port}.log")));
        until(seconds(30), "the proxy listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, process }
    }

    fn has_vanished(&self) -> bool {
        self.process.log().contains("vanished")
    }
}

/// FLT-041: a peer, a node and a sender lose their power in the midst of an object, all at once. The gateway notices each within two
/// minutes; of the half that came nothing is kept, and what did not arrive is sent when the others are back.
#[test]
fn who_loses_its_power_in_the_midst_of_an_object_is_noticed_within_two_minutes() {
    let stage = Stage::new();
    let peer = ScriptedPeer::start(&stage.authority.issue(B_IDENTITY));
    let node = OddNode::start(stage.path(), &[]);
    let [to_peer, to_node] = [peer.port, node.port].map(|port| Vanishing::start(&stage, port, "near"));
    let config = stage.site_a(&format!("https://127.0.0.1:{}/dicom-web", to_peer.port)).with(COURIER);
    let config = config.node("OUT", Some(to_node.port)).route("all to the node", "OUT", "");
    let mut a = Gateway::start(&stage.path().join("a"), config);
    let port = a.config.dicom_port;
    let to_us = Vanishing::start(&stage, port, "far");
    let half = names(725, 9, 1);
    let mut sender = Association::open(to_us.port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    sender.begin(SECONDARY_CAPTURE, &half.instance).unwrap();
    sender.data(&data_set(&half, 1_000_000, 9)[..200_000], false).unwrap();
    send_one(725, 1, 4_000_000, port, "WB_A");
    let gone = [&to_peer, &to_node, &to_us];
    until(seconds(60), "all three have vanished", || gone.iter().all(|one| one.has_vanished()).then_some(()));
    let began = Instant::now();
    let mut noticed = [None; 3];
    until(seconds(120), "each is noticed", || {
        let seen = [ledger::failures(&a, "b") > 0, ledger::failures(&a, "OUT") > 0, sockets(&mut a, port).is_empty()];
        for (at, _) in seen.iter().enumerate().filter(|(_, seen)| **seen) {
            noticed[at].get_or_insert_with(|| began.elapsed().as_secs());
        }
        noticed.iter().all(Option::is_some).then_some(())
    });
    println!("summary: the peer, the node and the sender were noticed after {noticed:?} s");
    note_fired(noticed.len());
    a.all_become("b", "verified", 1, seconds(60));
    a.all_become("OUT", "accepted", 1, seconds(60));
    assert_eq!(a.holds(&half.study), 0, "half an instance is none");
    assert_eq!(peer.arrivals().values().collect::<Vec<_>>(), [&1]);
    a.verify_ledger(true);
}
