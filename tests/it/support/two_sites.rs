//! The usual stage: site A takes from its nodes and forwards to site B, over mutual TLS; B may pass on to a node.

use super::certs::{Authority, Identity};
use super::config::{SiteConfig, free_port};
use super::gateway::Gateway;
use std::path::Path;
use tempfile::TempDir;

pub const A_IDENTITY: &str = "a.weybridge.test";
pub const B_IDENTITY: &str = "b.weybridge.test";

/// A folder, an authority and the two sites' configurations, nothing started.
pub struct Stage {
    pub folder: TempDir,
    pub authority: Authority,
}

impl Stage {
    pub fn new() -> Self {
        // On the disk that holds the build: the system's temporary folder may be memory. Long runs that try calls and wires, not
        // disks, name one that is memory.
        let on = std::env::var("WEYBRIDGE_STAGE").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
        let folder = tempfile::Builder::new().prefix("wb-").tempdir_in(on).unwrap();
        let authority = Authority::new(&folder.path().join("certs"), "tests");
        Self { folder, authority }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Site A with one node `SENDER`, everything routed to peer `b` at a URL; `B_IDENTITY` is expected there.
    pub fn site_a(&self, url_of_b: &str) -> SiteConfig {
        self.site_a_verifying(url_of_b, "present")
    }

    pub fn site_a_verifying(&self, url_of_b: &str, verify: &str) -> SiteConfig {
        SiteConfig::new("a", self.authority.issue(A_IDENTITY))
            .node("SENDER", None)
            .node("DCMTK", None)
            .peer("b", url_of_b, B_IDENTITY, verify)
            .route("all to b", "b", "mandatory = true")
    }

    /// Site B, which takes from peer `a` and keeps.
    pub fn site_b(&self) -> SiteConfig {
        let nobody = format!("https://127.0.0.1:{}/dicom-web", free_port());
        SiteConfig::new("b", self.authority.issue(B_IDENTITY)).peer("a", &nobody, A_IDENTITY, "present")
    }

    /// Site B, which also passes on what `a` sends to the node `OUT` at a port.
    pub fn site_b_with_node(&self, port: u16) -> SiteConfig {
        self.site_b().node("OUT", Some(port)).route("from a to the node", "OUT", "from = [\"a\"]")
    }

    pub fn identity_of_a(&self) -> Identity {
        self.authority.issue(A_IDENTITY)
    }
}

/// Both sites, running.
pub struct TwoSites {
    pub a: Gateway,
    pub b: Gateway,
    pub stage: Stage,
}

impl TwoSites {
    /// A forwards to B; B passes on to a node at `port`, if there is one.
    pub fn start(node_port: Option<u16>) -> Self {
        let stage = Stage::new();
        let b = node_port.map_or_else(|| stage.site_b(), |port| stage.site_b_with_node(port));
        let a = stage.site_a(&b.url());
        let b = Gateway::start(&stage.path().join("b"), b);
        let a = Gateway::start(&stage.path().join("a"), a);
        Self { a, b, stage }
    }
}
