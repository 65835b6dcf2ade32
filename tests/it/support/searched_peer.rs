//! A site that answers searches by script over real mutual TLS, slowly or with rubbish, and remembers what it was asked.

use super::certs::Identity;
use super::scripted_peer::tls;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What every search gets.
#[derive(Clone)]
pub struct Manner {
    pub after: Duration,
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    /// Results of a page, of a list that is paged; else there is one page.
    pub page: Option<usize>,
    /// What is answered 400 where a question holds it.
    pub refuses: Option<&'static str>,
}

impl Manner {
    /// These studies, as soon as it is asked; one page of them.
    pub fn shows(studies: &[Value]) -> Self {
        Self::says(&Value::from(studies).to_string())
    }

    /// A body that claims to be DICOM JSON.
    pub fn says(body: &str) -> Self {
        let body = body.to_owned();
        Self {
            after: Duration::ZERO,
            status: 200,
            content_type: "application/dicom+json",
            body,
            page: None,
            refuses: None,
        }
    }

    /// The same in pages of so many results.
    pub fn in_pages_of(self, results: usize) -> Self {
        Self { page: Some(results), ..self }
    }

    fn page_at(&self, target: &str) -> String {
        let offset = target.rsplit_once("offset=").and_then(|(_, offset)| offset.parse().ok()).unwrap_or(0);
        match self.page {
            Some(results) => {
                let all: Vec<Value> = serde_json::from_str(&self.body).unwrap();
                Value::from_iter(all.into_iter().skip(offset).take(results)).to_string()
            }
            None if offset == 0 => self.body.clone(),
            None => "[]".into(),
        }
    }

    /// The same, but 400 to each question that holds this.
    pub fn refusing(self, text: &'static str) -> Self {
        Self { refuses: Some(text), ..self }
    }

    /// The same after a while.
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// One study as QIDO-RS shows it.
pub fn study(uid: &str, patient: &str, issuer: &str, instances: u32) -> Value {
    let one = |vr: &str, value: Value| json!({ "vr": vr, "Value": [value] });
    json!({
        "00080020": one("DA", "20240102".into()), "00080030": one("TM", "1200".into()),
        "00080061": one("CS", "CT".into()), "00081030": one("LO", format!("Study {uid}").into()),
        "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Elsewhere^Ann" }] },
        "00100020": one("LO", patient.into()), "00100021": one("LO", issuer.into()),
        "0020000D": one("UI", uid.into()),
        "00201206": one("IS", 1.into()), "00201208": one("IS", instances.into()),
    })
}

pub struct SearchedPeer {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    manner: Arc<Mutex<Manner>>,
    stop: CancellationToken,
}

impl SearchedPeer {
    pub fn start(identity: &Identity, manner: Manner) -> Self {
        let config = tls(identity);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, manner, stop) =
            (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(manner)), CancellationToken::new());
        let (shared, token) = ((Arc::clone(&asked), Arc::clone(&manner)), stop.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let stream = tokio::select! {
                        () = token.cancelled() => return,
                        accepted = listener.accept() => accepted.unwrap().0,
                    };
                    tokio::spawn(converse(stream, Arc::clone(&config), shared.clone()));
                }
            });
        });
        Self { port, asked, manner, stop }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.port)
    }

    /// From now on searches get this.
    pub fn manner(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The paths and queries of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for SearchedPeer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Shared = (Arc<Mutex<Vec<String>>>, Arc<Mutex<Manner>>);

async fn converse(stream: TcpStream, config: Arc<rustls::ServerConfig>, shared: Shared) {
    let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else { return };
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (asked, manner) = shared.clone();
        async move {
            let target = request.uri().to_string();
            let manner = manner.lock().unwrap().clone();
            let refused = manner.refuses.is_some_and(|text| target.contains(text));
            let body = if refused { String::new() } else { manner.page_at(&target) };
            asked.lock().unwrap().push(target);
            tokio::time::sleep(manner.after).await;
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = if refused { 400 } else { manner.status }.try_into().unwrap();
            response.headers_mut().insert("content-type", manner.content_type.parse().unwrap());
            Ok::<_, Infallible>(response)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
