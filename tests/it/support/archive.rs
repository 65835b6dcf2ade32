//! A site with an archive behind it, a peer that asks it, and archives: DCMTK's, and one by pynetdicom that misbehaves as it is told.

use super::certs::Identity;
use super::config::{SiteConfig, free_port};
use super::dcmtk::StoreScp;
use super::files::{data_set_digest, digest, read_part10};
use super::gateway::Gateway;
use super::multipart::{boundary_of, complete_parts};
use super::process::Process;
use super::python;
use super::tools::{python as interpreter, root, tool};
use super::two_sites::{A_IDENTITY, Stage};
use super::wait::{seconds, until};
use super::web::{self, Answer};
use super::wire::Wire;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

const ALL: &str = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";

/// Site B with an archive, and the catalogue of `python/catalogue.py` in files: nothing of it is at the site.
pub struct Behind {
    pub site: Gateway,
    /// One line for each file.
    pub files: Vec<Value>,
    pub stage: Stage,
    /// A node that may be given things.
    pub out: StoreScp,
    a: Identity,
}

/// What a site needs before it can be started: its ports are known, and the files are written.
pub struct Prepared {
    pub stage: Stage,
    pub config: SiteConfig,
    pub files: Vec<Value>,
    /// How long an archive may bring nothing.
    pub patience: &'static str,
    out: StoreScp,
}

impl Prepared {
    /// The second study has so many instances.
    pub fn new(instances: u32) -> Self {
        let stage = Stage::new();
        let config = stage.site_b();
        let folder = stage.path().join("files");
        std::fs::create_dir_all(&folder).unwrap();
        let files = python::lines("catalogue", [folder.to_str().unwrap(), &instances.to_string()]);
        let out = StoreScp::start(&stage.path().join("out"), "OUT");
        Self { stage, config, files, patience: "5s", out }
    }

    /// Starts the site; its archive is called so and listens at a port. `tables` go into its configuration.
    pub fn start(self, archive: &str, port: u16, tables: &str) -> Behind {
        let (out, patience) = (self.out.port, self.patience);
        let node = format!(
            "[[node]]\nae_title = \"{archive}\"\naddress = \"127.0.0.1:{port}\"\nfrom_addresses = [\"127.0.0.0/8\"]\n\
             may = [\"store\"]\narchive = true\nretrieve_ae = \"RTV\"\nfetch_timeout = \"{patience}\"\n\
             [[node]]\nae_title = \"RADIOLOGY\"\nfrom_addresses = [\"127.0.0.0/8\"]\nmay = [\"find\", \"move\"]\nmove_to = [\"OUT\"]\n\
             [[node]]\nae_title = \"OUT\"\naddress = \"127.0.0.1:{out}\"\nmay = [\"receive\"]\n{tables}"
        );
        let site = Gateway::start(&self.stage.path().join("b"), self.config.with(&node));
        let a = self.stage.authority.issue(A_IDENTITY);
        Behind { site, files: self.files, stage: self.stage, out: self.out, a }
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| PathBuf::from(file["path"].as_str().unwrap())).collect()
    }
}

impl Behind {
    /// QIDO-RS as peer `a` asks.
    pub fn search(&self, resource: &str) -> Answer {
        let url = format!("{}/{resource}", self.site.config.url());
        web::request(Some(&self.a), &self.a.trust, &url, &["--dump-header", "-"])
    }

    /// The results of a search; none if there are none.
    pub fn found(&self, resource: &str) -> Vec<Value> {
        let url = format!("{}/{resource}", self.site.config.url());
        let answer = web::request(Some(&self.a), &self.a.trust, &url, &[]);
        match answer.status {
            200 => serde_json::from_str(&answer.body).unwrap(),
            204 => Vec::new(),
            _ => panic!("{resource}: {answer:?}"),
        }
    }

    /// WADO-RS as peer `a` asks: status, and each instance with the digest of its data set; `None` if it breaks off.
    pub fn retrieve(&self, resource: &str) -> Option<(u16, BTreeMap<String, String>)> {
        let mut wire = Wire::open(&self.a, self.site.config.web_port);
        wire.head(&format!("GET /dicom-web/{resource}"), &[ALL]).unwrap();
        let reply = wire.answer()?;
        let mut came = BTreeMap::new();
        if matches!(reply.status, 200 | 206) {
            let boundary = boundary_of(reply.header("content-type").unwrap()).unwrap();
            for part in complete_parts(&reply.body, &boundary) {
                let file = read_part10(part).expect("a Part 10 file");
                came.insert(file.instance.clone(), digest(&part[file.data_set_at..]));
            }
        }
        Some((reply.status, came))
    }

    /// What the node OUT was given, with the digests of the data sets.
    pub fn given(&self) -> BTreeMap<String, String> {
        let one =
            |path: PathBuf| (read_part10(&std::fs::read(&path).unwrap()).unwrap().instance, data_set_digest(&path));
        self.out.files().into_iter().map(one).collect()
    }

    /// The files of a study with the digests of their data sets.
    pub fn held(&self, study: &str) -> BTreeMap<String, String> {
        let mine = self.files.iter().filter(|file| file["study"] == study);
        let one = |file: &Value| {
            let bytes = std::fs::read(file["path"].as_str().unwrap()).unwrap();
            let read = read_part10(&bytes).unwrap();
            (read.instance, digest(&bytes[read.data_set_at..]))
        };
        mine.map(one).collect()
    }

    /// From now on the archive holds these files: other programs write anew what they are sent.
    pub fn archived_in(&mut self, folder: &Path) {
        let mut files = Vec::new();
        walk(folder, &mut files);
        for line in &mut self.files {
            let wanted = line["sop_instance"].as_str().unwrap();
            let is = |path: &&PathBuf| {
                read_part10(&std::fs::read(path).unwrap()).is_some_and(|file| file.instance == wanted)
            };
            line["path"] = files.iter().find(is).expect("the archive's file").to_str().unwrap().into();
        }
    }

    /// Pushes the files of a study to the site as they are, as node SENDER.
    pub fn push(&self, study: &str) {
        self.push_of(study, usize::MAX);
    }

    /// The same with so many of its instances.
    pub fn push_of(&self, study: &str, instances: usize) {
        let list = self.stage.path().join("push.jsonl");
        let mine = self.files.iter().filter(|file| file["study"] == study);
        let mine: Vec<Value> = mine.take(instances).cloned().collect();
        std::fs::write(&list, lines(&mine)).unwrap();
        let port = self.site.config.dicom_port.to_string();
        let said = python::lines("send", [port.as_str(), "WB_B", list.to_str().unwrap()]);
        assert!(said.len() == mine.len() && said.iter().all(|answer| answer["status"] == 0), "{said:?}");
    }

    /// Asks by DIMSE as the workstation does; see `python/query.py`.
    pub fn ask(&self, requests: &[Value]) -> Vec<Value> {
        let list = self.stage.path().join("requests.jsonl");
        std::fs::write(&list, lines(requests)).unwrap();
        let port = self.site.config.dicom_port.to_string();
        python::lines("query", [port.as_str(), "WB_B", list.to_str().unwrap()])
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

fn lines(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// DCMTK's `dcmqrscp`, called ARCHIVE, which moves to `RTV` at the gateway and to nobody else.
pub struct Dcmqrscp {
    pub port: u16,
    _process: Process,
}

impl Dcmqrscp {
    pub fn start(folder: &Path, gateway_port: u16) -> Self {
        let port = free_port();
        let storage = folder.join("ARCHIVE");
        std::fs::create_dir_all(&storage).unwrap();
        let config = folder.join("dcmqrscp.cfg");
        let text = format!(
            "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
             HostTable BEGIN\nwb = (RTV, 127.0.0.1, {gateway_port})\nHostTable END\n\
             VendorTable BEGIN\nVendorTable END\n\
             AETable BEGIN\nARCHIVE {} RW (200, 1024mb) ANY\nAETable END\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(tool("dcmqrscp"));
        command.env("TCP_NODELAY", "1").args(["-v", "-c"]).arg(&config);
        let process = Process::spawn("dcmqrscp", &mut command, &folder.join("dcmqrscp.log"));
        until(seconds(10), "dcmqrscp listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, _process: process }
    }
}

/// pynetdicom's own `qrscp`, called ARCHIVE, which moves to `RTV` at the gateway.
pub struct Qrscp {
    pub port: u16,
    _process: Process,
}

impl Qrscp {
    pub fn start(folder: &Path, gateway_port: u16) -> Self {
        let port = free_port();
        std::fs::create_dir_all(folder).unwrap();
        let config = folder.join("config.ini");
        let (held, database) = (folder.join("held"), folder.join("held.sqlite"));
        let text = format!(
            "[DEFAULT]\nae_title: ARCHIVE\nport: {port}\nmax_pdu: 16382\nacse_timeout: 30\ndimse_timeout: 30\n\
             network_timeout: 30\nbind_address: 127.0.0.1\ninstance_location: {}\ndatabase_location: {}\n\
             [RTV]\naddress: 127.0.0.1\nport: {gateway_port}\n",
            held.display(),
            database.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(interpreter());
        command.current_dir(folder).args(["-m", "pynetdicom", "qrscp", "-c"]).arg(&config);
        let process = Process::spawn("qrscp", &mut command, &folder.join("qrscp.log"));
        until(seconds(60), "qrscp listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, _process: process }
    }
}

/// `python/archive.py`, called ARCHIVE or otherwise: it holds the files of a list, and does as it is told.
pub struct OddArchive {
    pub port: u16,
    behaviour: PathBuf,
    log: PathBuf,
    process: Process,
}

impl OddArchive {
    pub fn start(prepared: &Prepared, files: &[Value]) -> Self {
        Self::start_as("ARCHIVE", prepared, files)
    }

    /// The same with another title.
    pub fn start_as(title: &str, prepared: &Prepared, files: &[Value]) -> Self {
        let folder = prepared.stage.path().join(title);
        std::fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let (list, behaviour, log) = (folder.join("list"), folder.join("behaviour"), folder.join("log.jsonl"));
        std::fs::write(&list, lines(files)).unwrap();
        std::fs::write(&behaviour, "{}").unwrap();
        let mut command = Command::new(interpreter());
        command
            .arg("-B")
            .arg(root().join("tests/it/python/archive.py"))
            .arg(port.to_string())
            .args([&list, &behaviour, &log]);
        command.args([&prepared.config.dicom_port.to_string(), title]);
        let process = Process::spawn("archive.py", &mut command, &folder.join("archive.log"));
        until(seconds(60), "the archive listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, behaviour, log, process }
    }

    /// How it behaves from now on; see the script.
    pub fn behaves(&self, how: &Value) {
        let new = self.behaviour.with_extension("new");
        std::fs::write(&new, how.to_string()).unwrap();
        std::fs::rename(new, &self.behaviour).unwrap();
    }

    /// What it was asked, and what it did, of one kind.
    pub fn seen(&self, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["kind"] == kind).collect()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }
}
