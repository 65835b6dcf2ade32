//! DICOM over TLS: a node is known by its certificate, and comes with it or not at all.

use crate::support::certs::{Authority, Identity};
use crate::support::config::free_port;
use crate::support::gateway::Gateway;
use crate::support::process::finish;
use crate::support::tools::{demo_study, tool};
use crate::support::two_sites::Stage;
use crate::support::wait::seconds;
use std::process::Command;

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
