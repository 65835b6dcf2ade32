//! Associations that we ask for: what a node's rejection means, and who we say that we are.

use crate::support::caller::{Caller, Request, item, pdu, read_pdu, verification_node};
use crate::support::certs::Identity;
use crate::support::config::free_port;
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::tools::{python, root};
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const NOWHERE: &str = "https://127.0.0.1:9/dicom-web";

fn usual() -> Request {
    Request::new("SENDER", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE])
}

#[test]
fn a_nodes_rejection_is_for_now_or_parks_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = listener.local_addr().unwrap().port();
    let config = stage.site_a(NOWHERE).node("OUT", Some(node)).route("to the node", "OUT", "");
    let config = config.with("[courier]\nretry_first = \"1s\"\nretry_longest = \"2s\"");
    let site = Gateway::start(&stage.path().join("a"), config);
    let (codes, count, stop) = (Mutex::new([2, 3, 1]), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let listener = listener;
            listener.set_nonblocking(true).unwrap();
            while !stop.load(Ordering::SeqCst) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                // A request is not read further than to its end.
                let _ = read_pdu(&mut stream);
                let [result, by, reason] = *codes.lock().unwrap();
                let _ = stream.write_all(&pdu(3, &[0, result, by, reason]));
                let _ = stream.read_to_end(&mut Vec::new());
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let names = names(316, 1, 1);
        let (mut caller, _) = Caller::accepted(site.config.dicom_port, &usual());
        let bytes = data_set(&names, 1000, 1);
        assert_eq!(caller.store(1, SECONDARY_CAPTURE, &names.instance, &bytes).unwrap().status, 0);
        caller.release();
        until(seconds(60), "congestion is tried again", || (count.load(Ordering::SeqCst) >= 3).then_some(()));
        assert_eq!(site.transfers("OUT", "pending"), (1, 1), "and charged to nobody");
        *codes.lock().unwrap() = [1, 1, 7];
        until(seconds(60), "a permanent rejection parks", || (site.transfers("OUT", "parked") == (1, 1)).then_some(()));
        let story = site.cli(&["why", &names.instance]).ok("why");
        assert!(story.contains("called AE title not recognised (result 1, source 1, reason 7)"), "{story}");
        stop.store(true, Ordering::SeqCst);
    });
    let _out = StoreScp::start_on(node, &folder.path().join("out"), "OUT");
    until(seconds(60), "it is put right", || {
        site.cli(&["transfers", "retry", "--to", "OUT"]);
        (site.transfers("OUT", "accepted") == (1, 1)).then_some(())
    });
}

/// pynetdicom as a node that answers C-ECHO, with the users that it knows, over TLS or not.
fn node_with_users(folder: &Path, users: &str, identity: Option<&Identity>) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new(python());
    command.arg("-B").arg(root().join("tests/it/python/users.py")).args([&port.to_string(), users]);
    if let Some(Identity { certificate, key, trust }) = identity {
        command.args([certificate, key, trust]);
    }
    let process = Process::spawn("users.py", &mut command, &folder.join(format!("users-{port}.log")));
    until(seconds(60), "the node listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    (process, port)
}

#[test]
fn a_user_identity_is_confirmed_or_the_node_is_not_spoken_to() {
    let stage = Stage::new();
    let node = stage.authority.issue("node.test");
    let (_silent, silent) = node_with_users(stage.path(), "-", None);
    let (_names, names) = node_with_users(stage.path(), "gateway", None);
    let (_codes, codes) = node_with_users(stage.path(), "gateway:hunter2", Some(&node));
    for (file, text) in [("right", "hunter2\n"), ("wrong", "hunter3")] {
        std::fs::write(stage.path().join(file), text).unwrap();
    }
    let passcode = |file: &str| {
        let file = stage.path().join(file);
        format!("user = \"gateway\"\nidentity = \"node.test\"\npasscode = \"{}\"", file.display())
    };
    let (user, other) = ("user = \"gateway\"".to_owned(), "user = \"somebody\"".to_owned());
    // pynetdicom lets a user in or not, but confirms none by name: that takes the positive response.
    let lenient = |user: &str| format!("{user}\nuser_confirmed = false");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let confirming = listener.local_addr().unwrap().port();
    let rows = [
        ("NOUSER", silent, String::new(), true),
        ("IGNORED", silent, user.clone(), false),
        ("LENIENT", silent, lenient(&user), true),
        ("KNOWN", names, lenient(&user), true),
        ("UNKNOWN", names, lenient(&other), false),
        ("CODE", codes, lenient(&passcode("right")), true),
        ("WRONGCODE", codes, lenient(&passcode("wrong")), false),
        ("CONFIRMS", confirming, user, true),
    ];
    let mut config = stage.site_a(NOWHERE);
    for (title, port, rest, _) in &rows {
        config = config.with(&format!("[[node]]\nae_title = \"{title}\"\naddress = \"127.0.0.1:{port}\"\n{rest}"));
    }
    let site = Gateway::prepare(&stage.path().join("a"), config);
    for (title, _, _, goes) in rows {
        let answer = std::thread::scope(|scope| {
            if title == "CONFIRMS" {
                scope.spawn(|| verification_node(&listener, &item(0x59, &[0, 0]), Duration::ZERO));
            }
            site.cli(&["nodes", "test", title])
        });
        assert_eq!(answer.code == Some(0), goes, "{title}: {answer:?}");
        assert!(!format!("{answer:?}").contains("hunter"), "{title}: {answer:?}");
    }
    assert!(site.cli(&["nodes", "test", "IGNORED"]).stderr.contains("did not confirm our user identity"));

    // A passcode goes over TLS only, and belongs to a user.
    let stage_b = Stage::new();
    let bare = format!("passcode = \"{}\"", stage.path().join("right").display());
    let config =
        stage_b.site_a(NOWHERE).with(&format!("[[node]]\nae_title = \"BARE\"\naddress = \"127.0.0.1:9\"\n{bare}"));
    let site = Gateway::prepare(&stage_b.path().join("a"), config);
    let refused = site.cli(&["check"]);
    assert_ne!(refused.code, Some(0));
    for words in ["needs `user`", "travels over TLS only"] {
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
}
