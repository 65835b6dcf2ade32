//! nginx, which ends TLS with client certificates on a port of the loopback.

use super::certs::Identity;
use super::process::Process;
use super::tools::tool;
use super::wait::{seconds, until};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Nginx {
    process: Process,
    told: PathBuf,
}

impl Nginx {
    /// Starts it in `folder` on `port`; it shows `identity`, and believes whom that believes. `http` and `server` are further lines of
    /// these blocks of its configuration.
    pub fn start(folder: &Path, port: u16, identity: &Identity, http: &str, server: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let (config, told) = (folder.join("nginx.conf"), folder.join("nginx.told"));
        std::fs::write(&config, configuration(folder, port, identity, http, server)).unwrap();
        let mut command = Command::new(tool("nginx"));
        command.arg("-p").arg(folder).arg("-c").arg(&config).arg("-e").arg(folder.join("nginx.err"));
        let mut process = Process::spawn("nginx", &mut command, &folder.join("nginx.log"));
        until(seconds(30), "nginx listens", || {
            assert!(process.ended().is_none(), "nginx ended: {}", process.log());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { process, told }
    }

    /// What it answered, `METHOD STATUS` each, in order.
    pub fn told(&self) -> Vec<String> {
        std::fs::read_to_string(&self.told).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

fn configuration(folder: &Path, port: u16, identity: &Identity, http: &str, server: &str) -> String {
    let folder = folder.display();
    let Identity { certificate, key, trust } = identity;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!(" {kind}_temp_path {folder}/{kind};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{ log_format told '$request_method $status'; access_log {folder}/nginx.told told;\n{temporary}{http}\n\
         server {{ listen 127.0.0.1:{port} ssl; server_name localhost;\n\
         ssl_certificate {}; ssl_certificate_key {};\n\
         ssl_client_certificate {}; ssl_verify_client on; ssl_protocols TLSv1.2 TLSv1.3;\n\
         {server} }} }}\n",
        certificate.display(),
        key.display(),
        trust.display()
    )
}
