//! HTTPS as an outsider speaks it: curl with or without a client certificate.

use super::certs::Identity;
use super::process::finish;
use super::tools::tool;
use super::wait::seconds;
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub struct Answer {
    /// 0 when no HTTP answer came at all.
    pub status: u16,
    pub body: String,
    /// What curl says when the exchange failed below HTTP.
    pub trouble: String,
}

/// One request; `identity` is shown to the server, `trust` is what the server must be signed by.
pub fn request(identity: Option<&Identity>, trust: &Path, url: &str, options: &[&str]) -> Answer {
    let mut command = Command::new(tool("curl"));
    command.args(["--silent", "--show-error", "--http1.1", "--max-time", "30", "--noproxy", "*"]);
    command.args(["--write-out", "\n%{http_code}", "--header", "Accept: application/dicom+json"]);
    command.arg("--cacert").arg(trust);
    if let Some(identity) = identity {
        command.arg("--cert").arg(&identity.certificate).arg("--key").arg(&identity.key);
    }
    let done = finish(command.args(options).arg(url), seconds(60));
    let (body, status) = done.stdout.rsplit_once('\n').unwrap_or(("", "0"));
    Answer { status: status.trim().parse().unwrap_or(0), body: body.to_owned(), trouble: done.stderr }
}

/// STOW-RS of a body that lies in a file.
pub fn store(identity: &Identity, url: &str, content_type: &str, body: &Path, more: &[&str]) -> Answer {
    let data = format!("@{}", body.display());
    let kind = format!("Content-Type: {content_type}");
    let mut options = vec!["--request", "POST", "--header", &kind, "--header", "Expect:", "--data-binary", &data];
    options.extend(more);
    request(Some(identity), &identity.trust, url, &options)
}
