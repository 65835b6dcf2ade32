//! The configuration that a test site is started with, as its TOML.

use super::certs::Identity;
use std::fmt::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the system gives to those who call (and to `:0`), so that none of them takes it before it is used.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port on the loopback that nobody listens on now, another one each time, and far from those of other test processes. Of two tests that
/// nextest runs at once one takes odd ports and the other even ones.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    let slot: Option<u32> = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok().and_then(|slot| slot.parse().ok());
    let (step, parity) = slot.map_or((1, 0), |slot| (2, slot % 2));
    let first = std::process::id().wrapping_mul(7_919) / step * step + parity;
    loop {
        let at = first.wrapping_add(step * NEXT.fetch_add(1, Ordering::SeqCst)) % count;
        let port = PORTS.start + u16::try_from(at).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What every test site has beside the tables that a story adds.
pub struct SiteConfig {
    pub name: String,
    pub ae_title: String,
    pub dicom_port: u16,
    pub web_port: u16,
    pub identity: Identity,
    /// Who issues the site's own numbers.
    pub ods_code: String,
    /// Where the site keeps everything; relative to its configuration file.
    pub data_dir: String,
    /// Further lines of `[dicom]`.
    pub dicom: String,
    /// The tables that a story needs: its nodes, peers and routes.
    tables: String,
}

impl SiteConfig {
    pub fn new(name: &str, identity: Identity) -> Self {
        let [dicom_port, web_port] = [free_port(), free_port()];
        Self {
            name: name.to_owned(),
            ae_title: format!("WB_{}", name.to_uppercase()),
            dicom_port,
            web_port,
            identity,
            ods_code: "ZZ001".to_owned(),
            data_dir: "data".to_owned(),
            dicom: String::new(),
            tables: String::new(),
        }
    }

    /// A local node that may store here; with a port, it also receives.
    pub fn node(mut self, ae_title: &str, port: Option<u16>) -> Self {
        let _ = write!(self.tables, "\n[[node]]\nae_title = \"{ae_title}\"\nfrom_addresses = [\"127.0.0.0/8\"]\n");
        let _ = match port {
            Some(port) => writeln!(
                self.tables,
                "address = \"127.0.0.1:{port}\"\nmay = [\"store\", \"receive\"]\nforeign = \"as_is\""
            ),
            None => writeln!(self.tables, "may = [\"store\"]"),
        };
        self
    }

    /// A peer site at `url` that may store here and is asked for what it has.
    pub fn peer(mut self, name: &str, url: &str, identity: &str, verify: &str) -> Self {
        let _ = write!(
            self.tables,
            "\n[[peer]]\nname = \"{name}\"\nurl = \"{url}\"\nidentity = \"{identity}\"\n\
             may = [\"store\", \"query\", \"retrieve\"]\nverify = \"{verify}\"\n"
        );
        self
    }

    /// A route; `rest` holds the lines that narrow it.
    pub fn route(mut self, name: &str, to: &str, rest: &str) -> Self {
        let _ = write!(self.tables, "\n[[route]]\nname = \"{name}\"\nto = [\"{to}\"]\n{rest}\n");
        self
    }

    /// Any further text, for example a table of limits.
    pub fn with(mut self, text: &str) -> Self {
        let _ = write!(self.tables, "\n{text}\n");
        self
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.web_port)
    }

    pub fn toml(&self) -> String {
        let Identity { certificate, key, trust } = &self.identity;
        format!(
            "[site]\nname = \"{}\"\nods_code = \"{}\"\ndata_dir = \"{}\"\n\n\
             [dicom]\nae_title = \"{}\"\nlisten = \"127.0.0.1:{}\"\n{}\n\
             [web]\nlisten = \"127.0.0.1:{}\"\n\n\
             [tls]\ncertificate = \"{}\"\nkey = \"{}\"\ntrust = \"{}\"\n{}",
            self.name,
            self.ods_code,
            self.data_dir,
            self.ae_title,
            self.dicom_port,
            self.dicom,
            self.web_port,
            certificate.display(),
            key.display(),
            trust.display(),
            self.tables
        )
    }
}
