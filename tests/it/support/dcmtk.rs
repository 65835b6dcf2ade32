//! DCMTK's programs: three that send, one that receives.

use super::certs::Identity;
use super::config::free_port;
use super::files::{data_set_digest, read_part10};
use super::process::{Finished, Process, finish};
use super::tools::tool;
use super::wait::{seconds, until};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `storescu` with any further options.
pub fn storescu(port: u16, called: &str, options: &[&str], files: &[PathBuf]) -> Finished {
    let mut command = quick("storescu");
    command.args(["-v", "-aet", "DCMTK", "-aec", called]).args(options);
    command.arg("127.0.0.1").arg(port.to_string()).args(files);
    finish(&mut command, seconds(300))
}

/// `dcmsend`, which proposes the syntax of each file by itself.
pub fn dcmsend(port: u16, called: &str, files: &[PathBuf]) -> Finished {
    let mut command = quick("dcmsend");
    command.args(["-v", "-dn", "-aet", "DCMTK", "-aec", called]);
    command.arg("127.0.0.1").arg(port.to_string()).args(files);
    finish(&mut command, seconds(300))
}

pub fn echoscu(port: u16, calling: &str, called: &str) -> Finished {
    let mut command = quick("echoscu");
    command.args(["-v", "-aet", calling, "-aec", called, "127.0.0.1", &port.to_string()]);
    finish(&mut command, seconds(60))
}

/// The option with which `storescu` proposes a transfer syntax, if it needs one.
pub fn storescu_option(syntax: &str) -> Option<&'static str> {
    Some(match syntax {
        "1.2.840.10008.1.2.1" => "-xe",
        "1.2.840.10008.1.2.2" => "-xb",
        "1.2.840.10008.1.2" => "-xi",
        "1.2.840.10008.1.2.1.99" => "-xd",
        "1.2.840.10008.1.2.5" => "-xr",
        "1.2.840.10008.1.2.4.50" => "-xy",
        "1.2.840.10008.1.2.4.51" => "-xx",
        "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => "-xs",
        "1.2.840.10008.1.2.4.80" => "-xt",
        "1.2.840.10008.1.2.4.81" => "-xu",
        "1.2.840.10008.1.2.4.90" => "-xv",
        "1.2.840.10008.1.2.4.91" => "-xw",
        _ => return None,
    })
}

/// A `storescp` that writes what it gets, bit for bit, into a folder.
pub struct StoreScp {
    pub port: u16,
    pub folder: PathBuf,
    process: Process,
}

impl StoreScp {
    pub fn start(folder: &Path, ae_title: &str) -> Self {
        Self::start_on(free_port(), folder, ae_title)
    }

    pub fn start_on(port: u16, folder: &Path, ae_title: &str) -> Self {
        Self::start_taking(port, folder, ae_title, &["+xa"])
    }

    /// One that takes only the transfer syntaxes of its options.
    pub fn start_with(folder: &Path, ae_title: &str, syntaxes: &[&str]) -> Self {
        Self::start_taking(free_port(), folder, ae_title, syntaxes)
    }

    /// One that speaks TLS with whom its authority vouches for, and with nobody else.
    pub fn start_tls(folder: &Path, ae_title: &str, identity: &Identity) -> Self {
        let mut command = quick("storescp");
        command.arg("+tls").arg(&identity.key).arg(&identity.certificate).arg("+cf").arg(&identity.trust);
        Self::start_by(command, free_port(), folder, ae_title, &["+xa"])
    }

    fn start_taking(port: u16, folder: &Path, ae_title: &str, syntaxes: &[&str]) -> Self {
        Self::start_by(quick("storescp"), port, folder, ae_title, syntaxes)
    }

    fn start_by(mut command: Command, port: u16, folder: &Path, ae_title: &str, syntaxes: &[&str]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        command.args(["-v", "--fork", "+B", "-pm", "-pdu", "131072", "-aet", ae_title]).args(syntaxes).arg("-od");
        command.arg(folder).arg(port.to_string());
        let process = Process::spawn(&format!("storescp {ae_title}"), &mut command, &folder.with_extension("log"));
        until(seconds(10), "storescp listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, folder: folder.to_owned(), process }
    }

    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Everything printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The files received so far.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The digests of the data sets received so far, by SOP Instance UID.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let one =
            |path: &PathBuf| (read_part10(&std::fs::read(path).unwrap()).unwrap().instance, data_set_digest(path));
        self.files().iter().map(one).collect()
    }
}

/// A DCMTK program without Nagle's delay, which DCMTK leaves on.
fn quick(name: &str) -> Command {
    let mut command = Command::new(tool(name));
    command.env("TCP_NODELAY", "1");
    command
}
