//! How long a start takes after a crash when there is much to know.

use crate::support::damage::rounds;
use crate::support::dcmtk::echoscu;
use crate::support::gateway::Gateway;
use crate::support::load::{send_all, send_one};
use crate::support::python;
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// From the start of the process until it is of use: it answers a C-ECHO, and says by its admin socket that it runs. That it listens
/// says less: the lanes and the admin socket come later.
fn start(a: &mut Gateway) -> Duration {
    let began = Instant::now();
    a.launch();
    let port = a.config.dicom_port;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(a.process().ended().is_none() && began.elapsed() < seconds(120), "it starts\n{}", a.log());
        std::thread::yield_now();
    }
    assert_eq!(echoscu(port, "DCMTK", "WB_A").code, Some(0), "C-ECHO is answered");
    // Until the socket is there, the command would read the files, at leisure.
    while UnixStream::connect(a.data_dir().join("admin.sock")).is_err() {
        assert!(a.process().ended().is_none() && began.elapsed() < seconds(120), "it can be commanded\n{}", a.log());
        std::thread::yield_now();
    }
    assert_eq!(a.ask(&["status", "--json"])[0]["running"], true);
    began.elapsed()
}

/// With a million instances and a hundred thousand transfers that wait, a start after a crash takes three seconds at most.
#[test]
fn a_start_after_a_crash_is_quick() {
    let count = rounds("WEYBRIDGE_STARTUP", 20_000);
    let stage = Stage::new();
    let quick = "[courier]\nretry_first = \"100ms\"\nretry_longest = \"300ms\"\n[retention]\npurge = false\n\
                 [store]\nscrub_rate = \"64 KiB\"";
    let mut a = Gateway::start(&stage.path().join("a"), stage.site_a("https://127.0.0.1:9/dicom-web").with(quick));
    send_all(890, 0..1, a.config.dicom_port, "WB_A");
    a.stop();
    let arguments = [a.data_dir().to_str().unwrap().to_owned(), count.to_string(), (count / 10).to_string()];
    python::run("many_instances", arguments, seconds(900)).ok("many instances");
    let mut slowest = Duration::ZERO;
    let first = start(&mut a);
    for number in 0..3 {
        // Something is under way when it is killed.
        send_one(891, number, 4096, a.config.dicom_port, "WB_A");
        a.kill();
        slowest = slowest.max(start(&mut a));
    }
    let held = a.ask(&["status", "--json"]).remove(0);
    assert_eq!(held["instances"].as_u64(), Some(count + 4), "{held}");
    assert_eq!(held["exceptions"], 0, "{held}");
    println!(
        "summary: {count} instances, {} transfers waiting: ready after a crash in {} ms at most, {} ms the first time",
        count / 10,
        slowest.as_millis(),
        first.as_millis()
    );
    assert!(slowest <= seconds(3), "{slowest:?}");
}
