//! Who is let in: certificate, address and both titles together; who is not is entered in the ledger and told; certificates
//! change while associations are open, and their end is told before it comes.

use crate::support::caller::{Caller, Pdu, Request, store_command};
use crate::support::certs::{Authority, Identity};
use crate::support::config::free_port;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names};
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::tls;
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const NOWHERE: &str = "https://127.0.0.1:9/dicom-web";

fn request(calling: &str, called: &str) -> Request {
    Request::new(calling, called).context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE])
}

/// One question over TLS; what the other side says, if it says anything.
fn ask_tls(port: u16, identity: Option<&Identity>, trust: &Path, request: &Request) -> io::Result<Pdu> {
    let mut caller = Caller { stream: tls::connect(port, identity, trust)? };
    caller.send(&request.pdu())?;
    caller.read()
}

fn node(title: &str, rest: &str) -> String {
    format!("\n[[node]]\nae_title = \"{title}\"\n{rest}\n")
}

/// A site with a node for each way of being known, and a TLS port.
fn site_with_nodes(stage: &Stage) -> (Gateway, u16) {
    let tls_port = free_port();
    let mut config = stage.site_a(NOWHERE);
    config.dicom = format!("tls_listen = \"127.0.0.1:{tls_port}\"");
    let nodes = [
        node("SECURE", "identity = \"modality.test\"\nmay = [\"store\"]"),
        node("OTHER", "identity = \"other.test\"\nmay = [\"store\"]"),
        node("BOUND", "identity = \"modality.test\"\nfrom_addresses = [\"10.9.9.9\"]\nmay = [\"store\"]"),
        node("FARAWAY", "from_addresses = [\"10.9.9.0/24\"]\nmay = [\"store\"]"),
        node("CLOSED", "from_addresses = [\"127.0.0.1\"]"),
    ];
    (Gateway::start(&stage.path().join("a"), config.with(&nodes.concat())), tls_port)
}

/// A caller and the title it calls, over TLS or not; how it is rejected; what the log says of it.
type Row = (&'static str, bool, &'static str, Option<(u8, u8, u8)>, &'static str);

const UNKNOWN: Option<(u8, u8, u8)> = Some((1, 1, 3));
const CALLED: Option<(u8, u8, u8)> = Some((1, 1, 7));
const ROWS: [Row; 10] = [
    ("SENDER", false, "WB_A", None, ""),
    ("STRANGER", false, "WB_A", UNKNOWN, "no [[node]] has the calling AE title"),
    ("SENDER", false, "NOBODY", CALLED, "the called AE title is none of ours"),
    ("FARAWAY", false, "WB_A", UNKNOWN, "the node may not call from this address"),
    ("SECURE", false, "WB_A", UNKNOWN, "the node must call over TLS"),
    ("SECURE", true, "WB_A", None, ""),
    ("OTHER", true, "WB_A", UNKNOWN, "the certificate does not carry the node's `identity`, but modality.test"),
    ("SENDER", true, "WB_A", UNKNOWN, "the node called over TLS but has no `identity`"),
    ("BOUND", true, "WB_A", UNKNOWN, "the node may not call from this address"),
    ("SECURE", true, "NOBODY", CALLED, "the called AE title is none of ours"),
];

#[test]
fn certificate_address_and_titles_decide_together_and_refusals_are_entered_and_told() {
    let stage = Stage::new();
    let (site, tls_port) = site_with_nodes(&stage);
    let (port, trust) = (site.config.dicom_port, stage.authority.trust());
    let own = stage.authority.issue("modality.test");
    for (calling, over_tls, called, want, words) in ROWS {
        let request = request(calling, called);
        let got = match over_tls {
            false => Caller::ask(port, &request).1,
            true => ask_tls(tls_port, Some(&own), &trust, &request),
        };
        let got = match got.unwrap() {
            Pdu::Accept(_) => None,
            Pdu::Reject(result, by, reason) => Some((result, by, reason)),
            other => panic!("{calling} to {called}: {other:?}"),
        };
        assert_eq!(got, want, "{calling} to {called}");
        assert!(site.log().contains(words), "`{words}` is not in the log");
    }
    // Who does not even pass the handshake is told by TLS alone.
    let stranger = Authority::new(&stage.path().join("strangers"), "strangers").issue("modality.test");
    let expired = stage.authority.issue_expired("modality.test");
    for (name, identity) in [("none", None), ("a stranger's", Some(&stranger)), ("an expired one", Some(&expired))] {
        let got = ask_tls(tls_port, identity, &trust, &request("SECURE", "WB_A"));
        assert!(got.is_err(), "certificate: {name}: {got:?}");
    }
    // Let in, and allowed nothing: the least is the default.
    let (mut closed, _) = Caller::accepted(port, &request("CLOSED", "WB_A"));
    let names = names(351, 1, 1);
    let answer = closed.store(1, SECONDARY_CAPTURE, &names.instance, &data_set(&names, 1000, 1)).unwrap();
    assert_eq!(answer.status, 0x0124);

    // A handshake's end and its entry are not one moment; who only knocks at the other face may be entered too.
    let entered = |what: &str| {
        let entries = ledger::export(&site);
        entries.iter().filter(|entry| entry["kind"] == "refused" && entry["facts"]["what"] == what).count()
    };
    until(seconds(60), "every handshake is in the ledger", || (entered("tls") >= 3).then_some(()));
    let rejected = ROWS.iter().filter(|row| row.3.is_some()).count();
    assert_eq!((entered("association"), entered("store")), (rejected, 1));
    let status = &site.ask(&["status", "--json"])[0];
    assert!(status["refused"].as_u64().unwrap() >= rejected as u64 + 4, "{status}");
    assert!(status["last_refusal"].as_str().unwrap().ends_with("store: CLOSED may not store here"), "{status}");
    assert!(site.cli(&["status"]).ok("status").contains("refused since the start"));
    let said = [site.cli(&["ledger", "export"]).ok("ledger export"), site.log(), status.to_string()];
    for words in ["showed no certificate", "no authority in `trust` vouches", "certificate has expired"] {
        assert!(said[1].contains(words), "`{words}` is not in the log");
    }
    for patient in ["Specimen", "T0000001"] {
        assert!(said.iter().all(|said| !said.contains(patient)), "a patient was told of");
    }
    site.verify_ledger(true);
}

/// The files that a site's `[tls]` names, to be overwritten.
fn own_files(folder: &Path, from: &Identity) -> Identity {
    fs::create_dir_all(folder).unwrap();
    let to = |name: &str| folder.join(name);
    let own = Identity { certificate: to("site.crt"), key: to("site.key"), trust: to("trust.pem") };
    replace(&own, from);
    own
}

fn replace(own: &Identity, from: &Identity) {
    let pairs = [(&from.certificate, &own.certificate), (&from.key, &own.key), (&from.trust, &own.trust)];
    for (from, to) in pairs {
        fs::copy(from, to).unwrap();
    }
    fs::set_permissions(&own.key, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn certificates_change_while_an_association_is_open() {
    let stage = Stage::new();
    let tls_port = free_port();
    let mut config = stage.site_a(NOWHERE);
    config.dicom = format!("tls_listen = \"127.0.0.1:{tls_port}\"");
    let config_identity = own_files(&stage.path().join("own"), &config.identity);
    config.identity = config_identity.clone();
    let config = config.with(&node("SECURE", "identity = \"modality.test\"\nmay = [\"store\"]"));
    let mut site = Gateway::start(&stage.path().join("a"), config);
    let old = stage.authority.issue("modality.test");
    let next = Authority::new(&stage.path().join("next"), "next");
    let new = next.issue("modality.test");
    let ask = |identity: &Identity, trust: &Path| {
        matches!(ask_tls(tls_port, Some(identity), trust, &request("SECURE", "WB_A")), Ok(Pdu::Accept(_)))
    };
    let names = names(352, 1, 1);
    let bytes = data_set(&names, 200_000, 1);
    let mut open = Caller { stream: tls::connect(tls_port, Some(&old), &old.trust).unwrap() };
    open.send(&request("SECURE", "WB_A").pdu()).unwrap();
    assert!(matches!(open.read().unwrap(), Pdu::Accept(_)));
    open.fragment(1, true, true, &store_command(SECONDARY_CAPTURE, &names.instance, 1)).unwrap();
    open.fragment(1, false, false, &bytes[..100_000]).unwrap();
    assert!(ask(&old, &old.trust) && !ask(&new, &old.trust));

    // A key that does not fit changes nothing.
    fs::copy(&new.key, &config_identity.key).unwrap();
    let pid = site.process().id().to_string();
    crate::support::process::finish(std::process::Command::new("kill").args(["-HUP", &pid]), seconds(5)).ok("kill");
    until(seconds(20), "the old one stays", || site.log().contains("the old one stays in force").then_some(()));
    assert!(ask(&old, &old.trust));

    replace(&config_identity, &next.issue("a.weybridge.test"));
    site.reload();
    assert!(ask(&new, &new.trust), "the new authority is believed, and vouches for us");
    assert!(!ask(&old, &new.trust), "the old one is no longer");
    open.fragment(1, false, true, &bytes[100_000..]).unwrap();
    assert_eq!(open.answer().unwrap().status, 0, "who was there went on");
    open.send(&crate::support::caller::release_request()).unwrap();
    assert_eq!(open.read().unwrap(), Pdu::ReleaseReply);
    assert_eq!(site.study(&names.study).len(), 1);
}

#[test]
fn the_end_of_a_certificate_is_told_by_check_log_and_status() {
    let stage = Stage::new();
    let mut config = stage.site_a(NOWHERE);
    config.identity = own_files(&stage.path().join("own"), &stage.authority.issue_for_days("a.weybridge.test", 10));
    let files = config.identity.clone();
    let mut site = Gateway::start(&stage.path().join("a"), config);
    let words = "(CN=a.weybridge.test) expires in 9 days";
    assert!(site.cli(&["check"]).ok("check").contains(words));
    assert_ne!(site.cli(&["check", "--strict"]).code, Some(0));
    until(seconds(20), "the log warns", || site.log().contains(words).then_some(()));
    let warnings = |site: &Gateway| site.ask(&["status", "--json"])[0]["warnings"].to_string();
    assert!(warnings(&site).contains(words), "{}", warnings(&site));
    assert!(site.cli(&["status"]).ok("status").contains(words));

    replace(&files, &stage.authority.issue_for_days("a.weybridge.test", 5));
    site.reload();
    until(seconds(20), "a nearer end is told anew", || site.log().contains("expires in 4 days").then_some(()));
    until(seconds(20), "and by status", || warnings(&site).contains("expires in 4 days").then_some(()));

    replace(&files, &stage.authority.issue("a.weybridge.test"));
    site.reload();
    until(seconds(20), "nothing to tell", || (!warnings(&site).contains("expires in")).then_some(()));
    site.cli(&["check", "--strict"]).ok("check --strict");
}
