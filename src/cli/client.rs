//! How commands reach the gateway: its admin socket for what changes something, its files for what only reads.

use super::{ConfigPlace, Failure};
use crate::config::{Config, Site};
use crate::peers::{Node, Peer};
use crate::records::{Records, RecordsError};
use crate::store::take_lock;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tokio::net::UnixStream;

/// Largest answer read from the admin socket, in bytes.
const ANSWER_BYTES: usize = 64 << 20;

/// Most names that are told of what the configuration has.
const NAMED: usize = 20;

/// What to do about what is for the gateway's own user alone.
pub(super) const AS_ITS_USER: &str = "its user may: try `sudo -u` and that user's name";

/// Reads and validates the configuration, or says every mistake.
pub(super) fn load(place: &ConfigPlace) -> Result<Config, Failure> {
    Config::load(&place.path()).map_err(Failure::usage)
}

/// Who the site is and where its data are, for who only reads. What is wrong with the rest of the configuration is a warning then: a
/// gateway may run on an older one.
pub(super) fn site(place: &ConfigPlace) -> Result<Site, Failure> {
    let path = place.path();
    let errors = match Config::load(&path) {
        Ok(config) => return Ok(config.site),
        Err(errors) => errors,
    };
    let Some(site) = Config::site_of(&path) else { return Err(Failure::usage(errors)) };
    // Nobody may be there to read it.
    let _ = writeln!(io::stderr(), "the configuration is wrong; only its [site] is used\n{errors}");
    Ok(site)
}

/// Whether the configuration has a peer or a node of this name.
pub(super) fn is_destination(config: &Config, name: &str) -> bool {
    config.peers.iter().any(|peer| peer.name == name) || config.nodes.iter().any(|node| node.ae_title.as_str() == name)
}

/// The peer of this name, which the configuration must have (UIX-04).
pub(super) fn peer<'a>(config: &'a Config, name: &str) -> Result<&'a Peer, Failure> {
    let found = config.peers.iter().find(|peer| peer.name == name);
    found.ok_or_else(|| not_configured(name, "peer", config.peers.iter().map(|peer| peer.name.as_str())))
}

/// The node of this AE title, which the configuration must have (UIX-04).
pub(super) fn node<'a>(config: &'a Config, ae_title: &str) -> Result<&'a Node, Failure> {
    let found = config.nodes.iter().find(|node| node.ae_title.as_str() == ae_title.trim());
    found.ok_or_else(|| not_configured(ae_title, "node", config.nodes.iter().map(|node| node.ae_title.as_str())))
}

/// A name that the configuration does not have, with some that it has.
fn not_configured<'a>(name: &str, what: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<&str> = known.take(NAMED).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::usage(format!(
        "{name} is no {what} of this configuration, which has {known}; see `weybridge {what}s list`"
    ))
}

/// Opens the records of a site for reading; works whether the gateway runs or not.
pub(super) fn records(config: &Config) -> Result<Records, Failure> {
    records_of(&config.site)
}

/// The same.
pub(super) fn records_of(site: &Site) -> Result<Records, Failure> {
    Records::open_read_only(&site.data_dir).map_err(|error| match error {
        RecordsError::NotAllowed { .. } => Failure::forbidden(format!("{error}; {AS_ITS_USER}")),
        _ => Failure::unreachable(format!(
            "cannot read the records of this site: {error}{}",
            nothing_there(&site.data_dir)
        )),
    })
}

/// What to look at where a data directory has no records.
fn nothing_there(data_dir: &Path) -> &'static str {
    match data_dir.join("records.db").exists() {
        true => "",
        false => {
            ". Either no gateway has run there yet (`weybridge serve`), its disk is not mounted, or `data_dir` or --config names another place"
        }
    }
}

/// Refuses whoever does not own a data directory, before anything is written into it: the gateway, which runs as its owner, could not open
/// their files. One that is not there yet is nobody's.
pub(super) fn owner_only(data_dir: &Path) -> Result<(), Failure> {
    let Ok(found) = std::fs::metadata(data_dir) else { return Ok(()) };
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(Failure::forbidden(format!(
        "{} belongs to user {owner}, and this is user {user}: the gateway could not open what is written there now; {AS_ITS_USER}",
        data_dir.display()
    )))
}

/// Takes the lock of a data directory, as a gateway does before anything else; it is held as long as the file is. A gateway that is only
/// starting has no socket yet, and is not to meet who changes its files (FLT-072).
pub(super) fn lock(data_dir: &Path) -> Result<File, Failure> {
    take_lock(data_dir).map_err(|error| match error {
        TryLockError::WouldBlock => Failure::usage(format!(
            "a gateway runs or starts on {}, or another command changes it; stop it first",
            data_dir.display()
        )),
        TryLockError::Error(error) => Failure::some(format!("cannot lock {}: {error}", data_dir.display())),
    })
}

/// A connection to the admin socket of a running gateway.
pub(super) struct Gateway {
    sender: http1::SendRequest<BoxBody<Bytes, io::Error>>,
}

impl Gateway {
    /// Connects to the gateway that serves this data directory; `None` if none runs.
    pub(super) async fn connect(data_dir: &Path) -> Option<Self> {
        Self::open(data_dir).await.ok()
    }

    async fn open(data_dir: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(data_dir.join(crate::edge::admin::SOCKET)).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// The same, but a gateway that does not run is a failure with exit code 3, and one that we may not command with 4.
    pub(super) async fn required(config: &Config) -> Result<Self, Failure> {
        let dir = config.site.data_dir.display();
        Self::open(&config.site.data_dir).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Failure::unreachable(format!("no gateway is running on {dir}; start it with `weybridge serve`"))
            }
            io::ErrorKind::PermissionDenied => {
                Failure::forbidden(format!("you may not command the gateway on {dir}; {AS_ITS_USER}"))
            }
            _ => Failure::unreachable(format!("the gateway on {dir} cannot be reached: {error}")),
        })
    }

    /// Asks for something.
    pub(super) async fn get(&mut self, path: &str) -> Result<Value, Failure> {
        let nothing = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        self.call(Method::GET, path, nothing).await
    }

    /// Asks for a change.
    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
        self.call(Method::POST, path, body).await
    }

    /// Sends a stream of bytes.
    pub(super) async fn upload(&mut self, path: &str, body: BoxBody<Bytes, io::Error>) -> Result<Value, Failure> {
        self.call(Method::POST, path, body).await
    }

    /// Asks for something that is told of as it goes, a JSON value on each line; gives the last.
    pub(super) async fn follow(
        &mut self,
        path: &str,
        body: &Value,
        mut each: impl FnMut(&Value),
    ) -> Result<Value, Failure> {
        let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
        let response = self.send(Method::POST, path, body).await?;
        if !response.status().is_success() {
            return read(response).await;
        }
        let mut body = Limited::new(response.into_body(), ANSWER_BYTES);
        let (mut held, mut last) = (Vec::new(), Value::Null);
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame.map_err(|error| gone(&error))?.into_data() {
                held.extend_from_slice(&bytes);
            }
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                last = serde_json::from_slice(&line).unwrap_or(Value::Null);
                each(&last);
            }
        }
        Ok(last)
    }

    async fn call(&mut self, method: Method, path: &str, body: BoxBody<Bytes, io::Error>) -> Result<Value, Failure> {
        read(self.send(method, path, body).await?).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: BoxBody<Bytes, io::Error>,
    ) -> Result<Response<Incoming>, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "weybridge")
            .header("content-type", "application/json")
            .body(body);
        let request = request.map_err(|error| Failure::usage(format!("cannot ask the gateway: {error}")))?;
        self.sender.ready().await.map_err(|error| gone(&error))?;
        self.sender.send_request(request).await.map_err(|error| gone(&error))
    }
}

fn gone(error: &dyn std::fmt::Display) -> Failure {
    Failure::unreachable(format!("the gateway does not answer: {error}"))
}

/// The whole answer, or what it says is wrong.
async fn read(response: Response<Incoming>) -> Result<Value, Failure> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let bytes = body.map_err(|error| gone(&error))?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(value);
    }
    let untold = format!("the gateway answered {status}; see its log");
    Err(failure(status, value["detail"].as_str().map_or(untold, str::to_owned)))
}

/// What an answer of the gateway that is no success means for the exit code (UIX-04).
fn failure(status: StatusCode, detail: String) -> Failure {
    match status {
        StatusCode::BAD_REQUEST => Failure::usage(detail),
        StatusCode::NOT_FOUND => Failure::absent(detail),
        StatusCode::FORBIDDEN => Failure::forbidden(detail),
        StatusCode::SERVICE_UNAVAILABLE => Failure::unreachable(detail),
        _ => Failure::some(detail),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// UIX-04: root, too, leaves no files in another user's data directory.
    #[test]
    fn who_does_not_own_a_data_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(owner_only(dir.path()).is_ok() && owner_only(&dir.path().join("none")).is_ok());
        // Only root can give a directory away; nobody else owns the topmost.
        let is_root = rustix::process::geteuid().is_root();
        let theirs = if is_root { dir.path() } else { Path::new("/") };
        if is_root {
            std::os::unix::fs::chown(theirs, Some(65_534), None).unwrap();
        }
        let refused = owner_only(theirs).unwrap_err();
        assert!(refused.code == 4 && refused.message.contains(AS_ITS_USER), "{refused:?}");
    }

    /// FLT-072: one at a time, whether or not it listens already.
    #[test]
    fn a_data_directory_that_somebody_works_on_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let refused = lock(dir.path()).unwrap_err();
        assert!(refused.code == 2 && refused.message.contains("stop it first"), "{refused:?}");
        drop(held);
        assert!(lock(dir.path()).is_ok());
        assert_eq!(lock(&dir.path().join("none")).unwrap_err().code, 1);
    }

    /// UIX-10: who looks in the wrong place, or before the first start, is told so.
    #[test]
    fn a_data_directory_without_records_says_what_to_look_at() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            nothing_there(dir.path()).contains("`weybridge serve`") && nothing_there(dir.path()).contains("mounted")
        );
        std::fs::write(dir.path().join("records.db"), "").unwrap();
        assert_eq!(nothing_there(dir.path()), "");
    }

    /// UIX-04: what the gateway says is not there ends as what its files do not have, and a wrong request as wrong usage.
    #[test]
    fn each_answer_of_the_gateway_has_its_exit_code() {
        let rows = [(400, 2), (403, 4), (404, 1), (409, 1), (422, 1), (429, 1), (500, 1), (503, 3)];
        for (status, want) in rows {
            let failure = failure(StatusCode::from_u16(status).unwrap(), "why".to_owned());
            assert_eq!((failure.code, failure.message.as_str()), (want, "why"), "{status}");
        }
    }

    /// UIX-04, UIX-10: a name that the configuration does not have is wrong usage, and those that it has are told.
    #[test]
    fn a_name_that_is_not_configured_is_told_with_those_that_are() {
        let text = "[site]\nname = \"a\"\n[dicom]\nlisten = \"127.0.0.1:11112\"\n[[node]]\nae_title = \"PACS\"\n\
                    from_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\n";
        let config = Config::parse(text, Path::new("weybridge.toml"), std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(node(&config, " PACS ").unwrap().ae_title.as_str(), "PACS");
        let told = [node(&config, "PAX").unwrap_err(), peer(&config, "PACS").unwrap_err()];
        assert!(told.iter().all(|failure| failure.code == 2), "{told:?}");
        assert!(told[0].message.contains("PAX is no node of this configuration, which has PACS"), "{told:?}");
        assert!(told[1].message.contains("PACS is no peer of this configuration, which has none"), "{told:?}");
    }
}
