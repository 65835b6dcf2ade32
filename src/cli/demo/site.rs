//! The demo's two sites: each a whole gateway with a configuration file, keys and data of its own.

use super::super::Failure;
use super::super::init::write_new;
use super::MODALITY;
use crate::app::{App, Running};
use crate::certs::{DevAuthority, Validity};
use crate::config::Config;
use crate::records::Records;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running site.
pub(super) struct Site {
    config_file: PathBuf,
    dicom: SocketAddr,
    web: SocketAddr,
    records: Records,
    running: Running,
}

impl Site {
    pub(super) fn dicom(&self) -> SocketAddr {
        self.dicom
    }

    pub(super) fn web(&self) -> SocketAddr {
        self.web
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    pub(super) fn config_file(&self) -> &Path {
        &self.config_file
    }

    pub(super) async fn stop(self) {
        self.running.drain(Duration::from_secs(5)).await;
    }
}

/// Starts site A, which sends to site B what nodes push to TO_B, and site B, which hands A's pushes to PACS_B.
pub(super) async fn pair(folder: &Path, authority: &DevAuthority, node: SocketAddr) -> Result<(Site, Site), Failure> {
    let [dicom_a, web_a, dicom_b, web_b] = free_addresses()?;
    let a = Faces { name: "A", identity: "a.demo.weybridge", dicom: dicom_a, web: web_a };
    let b = Faces { name: "B", identity: "b.demo.weybridge", dicom: dicom_b, web: web_b };
    let b_site = start(&folder.join("b"), authority, &b, &receiving(&b, &a, node)).await?;
    let a_site = start(&folder.join("a"), authority, &a, &sending(&a, &b)).await?;
    Ok((a_site, b_site))
}

/// Who a site is and where it listens.
struct Faces {
    name: &'static str,
    identity: &'static str,
    dicom: SocketAddr,
    web: SocketAddr,
}

impl Faces {
    /// The tables that every site has.
    fn tables(&self) -> String {
        let Self { name, dicom, web, .. } = self;
        format!(
            r#"[site]
name = "{name}"
data_dir = "data"

[dicom]
ae_title = "WEYBRIDGE_{name}"
listen = "{dicom}"

[web]
listen = "{web}"

[tls]
certificate = "site.crt"
key = "site.key"
trust = "trust.pem"
"#
        )
    }
}

/// Site A: a modality that may store, a peer, and a route to it.
fn sending(own: &Faces, other: &Faces) -> String {
    format!(
        r#"{}
[[node]]
ae_title = "{MODALITY}"
from_addresses = ["127.0.0.1"]
may = ["store"]

[[peer]]
name = "site-b"
url = "https://{}/dicom-web"
identity = "{}"
verify = "present"

[[route]]
name = "to B"
called = ["TO_B"]
to = ["site-b"]
"#,
        own.tables(),
        other.web,
        other.identity
    )
}

/// Site B: a peer that may store, a PACS, and a route from the one to the other.
fn receiving(own: &Faces, other: &Faces, node: SocketAddr) -> String {
    format!(
        r#"{}
[[node]]
ae_title = "PACS_B"
address = "{node}"
may = ["receive"]
foreign = "as_is"

[[peer]]
name = "site-a"
url = "https://{}/dicom-web"
identity = "{}"
may = ["store"]

[[route]]
name = "A to PACS"
from = ["site-a"]
to = ["PACS_B"]
"#,
        own.tables(),
        other.web,
        other.identity
    )
}

async fn start(folder: &Path, authority: &DevAuthority, faces: &Faces, text: &str) -> Result<Site, Failure> {
    std::fs::create_dir(folder).map_err(Failure::some)?;
    let names = [faces.identity, "127.0.0.1"];
    let made = authority.site(faces.identity, &names, Validity::days(1)).map_err(Failure::some)?;
    let config_file = folder.join("weybridge.toml");
    let files = [
        ("site.crt", made.certificate.as_str(), 0o644),
        ("site.key", made.key.as_str(), 0o600),
        ("trust.pem", &authority.trust(), 0o644),
        ("weybridge.toml", text, 0o644),
    ];
    for (name, content, mode) in files {
        write_new(&folder.join(name), content.as_bytes(), mode)?;
    }
    let config = Config::load(&config_file).map_err(Failure::some)?;
    let app = App::open(config).await.map_err(Failure::some)?;
    let records = app.records().clone();
    let running = app.serve().await.map_err(Failure::some)?;
    Ok(Site { config_file, dicom: faces.dicom, web: faces.web, records, running })
}

/// Four addresses that were free a moment ago.
fn free_addresses() -> Result<[SocketAddr; 4], Failure> {
    let bind = || TcpListener::bind("127.0.0.1:0").map_err(Failure::some);
    let held = [bind()?, bind()?, bind()?, bind()?];
    let mut found = [SocketAddr::from(([127, 0, 0, 1], 0)); 4];
    for (address, listener) in found.iter_mut().zip(&held) {
        *address = listener.local_addr().map_err(Failure::some)?;
    }
    Ok(found)
}
