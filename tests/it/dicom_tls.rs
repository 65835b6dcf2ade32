//! DICOM over TLS: a node is known by its certificate, and comes with it or not at all.

use crate::support::caller::{Caller, Pdu, Request, store_command};
use crate::support::certs::{Authority, Identity};
use crate::support::config::{SiteConfig, free_port};
use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names, part10, read_part10};
use crate::support::fired::note_fired;
use crate::support::gateway::Gateway;
use crate::support::ledger;
use crate::support::process::finish;
use crate::support::proxy::Proxy;
use crate::support::tls;
use crate::support::tools::{demo_study, tool};
use crate::support::two_sites::Stage;
use crate::support::wait::{seconds, until};
use std::process::Command;
use std::time::Instant;

#[test]
fn a_node_with_a_certificate_stores_over_tls_and_not_without() {
    let stage = Stage::new();
    let port = free_port();
    let mut config = stage.site_a("https://127.0.0.1:9/dicom-web");
    config.dicom = format!("tls_listen = \"127.0.0.1:{port}\"");
    let config = config.with("[[node]]\nae_title = \"SECURE\"\nidentity = \"modality.test\"\nmay = [\"store\"]");
    let a = Gateway::start(&stage.path().join("a"), config);
    let store = |identity: &Identity, calling: &str, port: u16| {
        let mut command = Command::new(tool("storescu"));
        command.env("TCP_NODELAY", "1").args([
            "+tls".as_ref(),
            identity.key.as_os_str(),
            identity.certificate.as_os_str(),
        ]);
        command.arg("+cf").arg(stage.authority.trust()).args([
            "-aet",
            calling,
            "-aec",
            "WB_A",
            "127.0.0.1",
            &port.to_string(),
        ]);
        finish(command.arg(&demo_study("ct")[0]), seconds(30)).code
    };
    let own = stage.authority.issue("modality.test");
    let other = stage.authority.issue("somebody.test");
    assert_eq!(store(&own, "SECURE", port), Some(0), "its own certificate");
    assert_ne!(store(&other, "SECURE", port), Some(0), "a certificate that names somebody else");
    assert_ne!(store(&own, "SENDER", port), Some(0), "a node that is known by its address only");
    let stranger = Authority::new(&stage.path().join("strangers"), "strangers").issue("modality.test");
    assert_ne!(store(&stranger, "SECURE", port), Some(0), "a certificate of an authority that is not trusted");
    let plain = Command::new(tool("storescu"))
        .args(["-aet", "SECURE", "-aec", "WB_A", "127.0.0.1", &a.config.dicom_port.to_string()])
        .arg(&demo_study("ct")[0])
        .output();
    assert!(!plain.unwrap().status.success(), "a node that has a certificate may not come without it");
    assert_eq!(a.transfers("b", "pending"), (1, 1), "one instance came in");
}

#[test]
fn only_tls_1_2_and_1_3_with_ephemeral_elliptic_curves_are_spoken() {
    let stage = Stage::new();
    let port = free_port();
    let mut config = stage.site_a("https://127.0.0.1:9/dicom-web");
    config.dicom = format!("tls_listen = \"127.0.0.1:{port}\"");
    let site = Gateway::start(&stage.path().join("a"), config);
    let own = stage.authority.issue("modality.test");
    // What was agreed on, as openssl says it; none if nothing was.
    let agreed = |port: u16, options: &[&str]| {
        let mut command = Command::new(tool("openssl"));
        command.args(["s_client", "-brief", "-connect", &format!("127.0.0.1:{port}")]);
        command.arg("-cert").arg(&own.certificate).arg("-key").arg(&own.key).arg("-CAfile").arg(&own.trust);
        let done = finish(command.args(options), seconds(30));
        let said = format!("{}{}", done.stdout, done.stderr);
        let word = |name: &str| said.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        word("Protocol version:").zip(word("Ciphersuite:"))
    };
    let weak = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
    let suites = finish(Command::new(tool("openssl")).args(["ciphers", "-tls1_2", weak]), seconds(10)).ok("ciphers");
    let suites: Vec<&str> = suites.trim().split(':').filter(|suite| !suite.starts_with("TLS_")).collect();
    assert!(suites.len() > 50, "openssl knows {} suites", suites.len());
    for port in [port, site.config.web_port] {
        assert_eq!(agreed(port, &[]).unwrap().0, "TLSv1.3", "1.3 is preferred");
        assert_eq!(agreed(port, &["-tls1_2"]).unwrap().0, "TLSv1.2", "1.2 is spoken");
        for old in ["-tls1", "-tls1_1"] {
            assert_eq!(agreed(port, &[old, "-cipher", weak]), None, "{old}");
        }
        for group in ["ffdhe2048", "ffdhe3072"] {
            assert_eq!(agreed(port, &["-tls1_3", "-groups", group]), None, "{group}");
        }
    }
    let taken: Vec<&&str> = suites
        .iter()
        .filter(|suite| agreed(port, &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]).is_some())
        .collect();
    assert!(!taken.is_empty());
    let modern = |suite: &str| suite.starts_with("ECDHE-") && (suite.contains("GCM") || suite.contains("CHACHA20"));
    assert!(taken.iter().all(|suite| modern(suite)), "{taken:?}");
}

#[test]
fn a_record_that_was_tampered_with_ends_the_association_and_nothing_is_stored() {
    let stage = Stage::new();
    let port = free_port();
    let mut config = stage.site_a("https://127.0.0.1:9/dicom-web");
    config.dicom = format!("tls_listen = \"127.0.0.1:{port}\"");
    let config = config.with("[[node]]\nae_title = \"SECURE\"\nidentity = \"modality.test\"\nmay = [\"store\"]");
    let site = Gateway::start(&stage.path().join("a"), config);
    let own = stage.authority.issue("modality.test");
    let proxy = Proxy::to(port);
    let names = names(361, 1, 1);
    let bytes = data_set(&names, 200_000, 1);
    for tampered in [true, false] {
        let request = Request::new("SECURE", "WB_A").context(1, SECONDARY_CAPTURE, &[EXPLICIT_LE]);
        let mut caller = Caller { stream: tls::connect(proxy.port, Some(&own), &own.trust).unwrap() };
        caller.send(&request.pdu()).unwrap();
        assert!(matches!(caller.read().unwrap(), Pdu::Accept(_)));
        caller.fragment(1, true, true, &store_command(SECONDARY_CAPTURE, &names.instance, 1)).unwrap();
        caller.fragment(1, false, false, &bytes[..100_000]).unwrap();
        if tampered {
            proxy.flip_a_bit();
        }
        let rest = caller.fragment(1, false, true, &bytes[100_000..]);
        let answer = rest.and_then(|()| caller.answer());
        if tampered {
            assert!(answer.is_err(), "it was answered {answer:?}");
            assert_eq!(proxy.fired(), 1, "the bit was flipped");
            until(seconds(20), "the log says so", || site.log().contains("the TLS connection failed").then_some(()));
            assert_eq!(site.holds(&names.study), 0);
        } else {
            assert_eq!(answer.unwrap().status, 0, "the same again, untouched");
        }
    }
    assert_eq!(site.study(&names.study).len(), 1);
    site.verify_ledger(true);
    note_fired(proxy.fired() as usize);
}

/// A line that carries less in a minute than an instance is long, on its way in from storescu and on its way out to storescp, over
/// TLS both: no timer ends what moves, and it arrives whole, at the first try (DIM-021, FLT-040).
#[test]
fn a_narrow_line_carries_dicom_over_tls_in_and_out_at_the_first_try() {
    const RATE: u64 = 64 << 10;
    let stage = Stage::new();
    let (own, pacs) = (stage.authority.issue("modality.test"), stage.authority.issue("pacs.test"));
    let node = StoreScp::start_tls(&stage.path().join("out"), "OUT", &pacs);
    let listen = free_port();
    let (inward, outward) = (Proxy::to(listen), Proxy::to(node.port));
    inward.throttle(RATE);
    outward.throttle(RATE);
    let nodes = format!(
        "[[node]]\nae_title = \"SECURE\"\nidentity = \"modality.test\"\nmay = [\"store\"]\n\n\
         [[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{}\"\nidentity = \"pacs.test\"\nmay = [\"receive\"]\n\n\
         [timers]\nmessage_idle = \"5s\"\nresponse = \"20s\"",
        outward.port
    );
    let mut config = SiteConfig::new("a", stage.identity_of_a()).with(&nodes);
    config.dicom = format!("tls_listen = \"127.0.0.1:{listen}\"");
    let site = Gateway::start(&stage.path().join("a"), config.route("to the node", "OUT", "from = [\"SECURE\"]"));

    let names = names(362, 1, 1);
    let bytes = data_set(&names, 500_000, 1);
    let file = stage.path().join("one.dcm");
    std::fs::write(&file, part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &bytes)).unwrap();
    let least = seconds(bytes.len() as u64 / RATE);
    let began = Instant::now();
    let mut command = Command::new(tool("storescu"));
    command.args(["-v", "-xe", "-aet", "SECURE", "-aec", "WB_A"]);
    command.arg("+tls").arg(&own.key).arg(&own.certificate).arg("+cf").arg(&own.trust);
    command.args(["127.0.0.1", &inward.port.to_string()]).arg(&file);
    finish(&mut command, seconds(120)).ok("storescu over a narrow line");
    assert!(began.elapsed() >= least, "the line in was narrow");
    note_fired(1);
    site.all_become("OUT", "accepted", 1, seconds(120));
    assert!(began.elapsed() + seconds(1) >= least + least, "the line out was narrow");
    note_fired(1);
    assert_eq!(site.study(&names.study)[0]["transfers"][0]["attempts"], 1, "it went through at the first try");
    assert_eq!(ledger::arrivals(&site).get(&names.instance), Some(&1));
    let came = node.files();
    let [came] = &came[..] else { panic!("one file: {came:?}") };
    let came = std::fs::read(came).unwrap();
    let meta = read_part10(&came).expect("a Part 10 file");
    assert!(came[meta.data_set_at..] == bytes[..], "byte for byte");
    site.verify_ledger(true);
}
