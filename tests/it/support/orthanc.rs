//! Orthanc with its DICOMweb plugin, and nginx before it for TLS: Debian's Orthanc crashes on its own HTTPS.

use super::certs::Identity;
use super::config::free_port;
use super::nginx::Nginx;
use super::process::{Process, finish};
use super::tools::tool;
use super::wait::{seconds, until};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

const PLUGIN: &str = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so";

pub struct Orthanc {
    pub dicom_port: u16,
    /// Plain HTTP, for the test itself.
    pub http_port: u16,
    /// TLS that asks for a client certificate, for the gateway.
    pub tls_port: u16,
    process: Process,
    nginx: Nginx,
}

impl Orthanc {
    /// Starts both in `folder`. Orthanc knows the gateway at `gateway_url` as its DICOMweb server `gateway` and
    /// shows it `identity`; nginx shows the same identity to callers.
    pub fn start(folder: &Path, identity: &Identity, gateway_url: &str) -> Self {
        std::fs::create_dir_all(folder.join("db")).unwrap();
        assert!(Path::new(PLUGIN).exists(), "the test needs Orthanc's DICOMweb plugin ({PLUGIN}): run .ci/setup");
        let (dicom_port, http_port, tls_port) = (free_port(), free_port(), free_port());
        let config = folder.join("orthanc.json");
        let text = configuration(folder, dicom_port, http_port, identity, gateway_url);
        std::fs::write(&config, serde_json::to_string_pretty(&text).unwrap()).unwrap();
        let mut command = Command::new(tool("Orthanc"));
        command.arg(&config).env("TCP_NODELAY", "1");
        let process = Process::spawn("Orthanc", &mut command, &folder.join("orthanc.log"));
        let nginx = Nginx::start(folder, tls_port, identity, "", &passing_on(tls_port, http_port));
        for port in [dicom_port, http_port] {
            until(seconds(30), "Orthanc listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        }
        Self { dicom_port, http_port, tls_port, process, nginx }
    }

    /// The URL of its DICOMweb root as the gateway is told it.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.tls_port)
    }

    pub fn get(&self, path: &str) -> Value {
        self.call(path, &[])
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.call(path, &["--data-binary", &body.to_string()])
    }

    pub fn put(&self, path: &str, body: &Value) {
        self.call(path, &["--request", "PUT", "--data-binary", &body.to_string()]);
    }

    /// How many instances it holds.
    pub fn instances(&self) -> u64 {
        self.get("/statistics")["CountInstances"].as_u64().unwrap()
    }

    fn call(&self, path: &str, options: &[&str]) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.http_port);
        let mut command = Command::new(tool("curl"));
        command.args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*"]).args(options).arg(&url);
        let answer = finish(&mut command, seconds(120)).ok(&format!("Orthanc's {path}"));
        serde_json::from_str(&answer).unwrap_or(Value::String(answer))
    }
}

fn configuration(folder: &Path, dicom: u16, http: u16, identity: &Identity, gateway_url: &str) -> Value {
    json!({
        "Name": "test", "StorageDirectory": folder.join("db"), "IndexDirectory": folder.join("db"),
        "DicomPort": dicom, "HttpPort": http, "DicomAet": "ORTHANC", "RemoteAccessAllowed": false,
        "AuthenticationEnabled": false, "DicomAlwaysAllowStore": true, "DicomAlwaysAllowFind": true, "Plugins": [PLUGIN],
        "HttpsVerifyPeers": true, "HttpsCACertificates": identity.trust,
        "DicomWeb": {
            "Enable": true, "Root": "/dicom-web/",
            "Servers": { "gateway": {
                "Url": format!("{gateway_url}/"), "ChunkedTransfers": true,
                "CertificateFile": identity.certificate, "CertificateKeyFile": identity.key,
            } },
        },
    })
}

fn passing_on(tls_port: u16, http_port: u16) -> String {
    format!(
        "client_max_body_size 0; proxy_request_buffering off; proxy_buffering off; proxy_http_version 1.1;\n\
         proxy_read_timeout 300s; proxy_send_timeout 300s;\n\
         location / {{ proxy_pass http://127.0.0.1:{http_port}; proxy_set_header Host $host:{tls_port};\n\
         proxy_set_header Forwarded \"by=localhost;for=$remote_addr;host=127.0.0.1:{tls_port};proto=https\"; }}\n"
    )
}
