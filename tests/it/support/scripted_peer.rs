//! A DICOMweb site over real mutual TLS that answers by script and counts what it takes.

mod holding;

use super::certs::Identity;
use super::files::read_part10;
use super::multipart::{boundary_of, complete_parts};
use super::store_answer::{self, Item};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// An answer in all its parts.
#[derive(Clone)]
pub struct Said {
    pub status: u16,
    /// Empty for none.
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// The instances of the request that are kept.
    pub keep: Vec<String>,
}

/// One request as the peer saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// STOW-RS: each instance with its transfer syntax, and what was accepted as answer.
    Sent { instances: Vec<(String, String)>, accept: String },
    /// QIDO-RS for these instances.
    Asked(Vec<String>),
    /// WADO-RS for this instance.
    Retrieved(String),
}

/// Says what a request with these instances gets.
pub type Answerer = Arc<dyn Fn(&[Item]) -> Said + Send + Sync>;

/// What the next STOW-RS request gets; when the script is used up, everything is stored.
#[derive(Clone)]
pub enum Step {
    /// Whatever the test says.
    Say(Answerer),
    /// Everything is stored and named.
    Store,
    /// A status without a body, nothing stored; with seconds for Retry-After.
    Refuse(u16, Option<u64>),
    /// 200, but the first instance is named as failed with this reason and not stored.
    FailFirst(u16),
    /// 200 and everything stored, but the answer names nothing.
    SayNothing,
    /// Everything is stored, then the connection ends without an answer.
    StoreAndDrop,
    /// The body is read, nothing is stored, the connection is reset.
    Reset,
    /// No answer ever; the body is read.
    Hang,
    /// Everything is stored and named, but the answer waits for [`ScriptedPeer::speak`].
    StoreWhenTold,
}

/// One instance as the peer holds it.
#[derive(Debug, Clone)]
struct Held {
    class: String,
    study: String,
    series: String,
    /// The Part 10 file.
    file: Bytes,
}

#[derive(Default)]
struct State {
    script: VecDeque<Step>,
    /// What every request gets once the script is used up.
    always: Option<Step>,
    log: Vec<Seen>,
    /// Whether answers come in XML, and to those who accept it alone.
    only_xml: bool,
    /// What every query and retrieval gets, if not an answer: a status, and seconds for Retry-After.
    refuse_queries: Option<(u16, Option<u64>)>,
    /// How many got that.
    refused_queries: usize,
    /// What every retrieval gets, if not an answer.
    refuse_retrievals: Option<u16>,
    held: BTreeMap<String, Held>,
    /// Whether only the digests of what comes from now on are kept, not the files.
    lean: bool,
    digests: BTreeMap<String, String>,
    /// Studies of which it does not say what it holds: 503.
    silent_on: BTreeSet<String>,
    stored: BTreeMap<String, usize>,
    requests: usize,
    queries: usize,
    fired: usize,
    /// When a request was first refused, and when one was first stored after that.
    refused: Option<Instant>,
    relented: Option<Instant>,
}

pub struct ScriptedPeer {
    pub port: u16,
    word: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
}

impl ScriptedPeer {
    /// Listens with an identity; only callers that its authority signed are let in.
    pub fn start(identity: &Identity) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let stop = CancellationToken::new();
        let config = tls(identity);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shared, token) = (Arc::clone(&state), stop.clone());
        let word = Arc::new(Semaphore::new(0));
        let awaited = Arc::clone(&word);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(accept(listener, config, (shared, awaited), token));
            runtime.shutdown_timeout(Duration::from_millis(200));
        });
        Self { port, word, state, stop }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.port)
    }

    /// Adds steps to the end of the script.
    pub fn then(&self, steps: impl IntoIterator<Item = Step>) {
        self.state.lock().unwrap().script.extend(steps);
    }

    /// Lets one answer go that waits for it.
    pub fn speak(&self) {
        self.word.add_permits(1);
    }

    /// Once the script is used up, every request gets this; with `None`, everything is stored again.
    pub fn always(&self, step: Option<Step>) {
        self.state.lock().unwrap().always = step;
    }

    /// From now on everything is stored, and answers come in XML and to those who accept it alone.
    pub fn only_xml(&self) {
        self.state.lock().unwrap().only_xml = true;
    }

    /// Every query gets this status from now on, or an answer again.
    pub fn refuse_queries(&self, status: Option<u16>) {
        self.state.lock().unwrap().refuse_queries = status.map(|status| (status, None));
    }

    /// Every query gets this status from now on, and is asked to wait so many seconds.
    pub fn put_off_queries(&self, status: u16, seconds: u64) {
        self.state.lock().unwrap().refuse_queries = Some((status, Some(seconds)));
    }

    /// Queries and retrievals that were refused so far.
    pub fn refused_queries(&self) -> usize {
        self.state.lock().unwrap().refused_queries
    }

    /// Every retrieval gets this status from now on, or an answer again.
    pub fn refuse_retrievals(&self, status: Option<u16>) {
        self.state.lock().unwrap().refuse_retrievals = status;
    }

    /// Has it hold a file as if somebody else had sent it.
    pub fn hold(&self, study: &str, series: &str, file: Vec<u8>) {
        let meta = read_part10(&file).unwrap();
        let (study, series, file) = (study.to_owned(), series.to_owned(), file.into());
        self.state.lock().unwrap().held.insert(meta.instance, Held { class: meta.sop_class, study, series, file });
    }

    /// Every request so far that was read to its end, in order.
    pub fn log(&self) -> Vec<Seen> {
        self.state.lock().unwrap().log.clone()
    }

    /// How often each instance arrived as a completed part that the peer did not refuse.
    pub fn arrivals(&self) -> BTreeMap<String, usize> {
        self.state.lock().unwrap().stored.clone()
    }

    /// How long it took from the first request that was refused to the first that was not, after it.
    pub fn turned_away(&self) -> Duration {
        let state = self.state.lock().unwrap();
        state.relented.unwrap().duration_since(state.refused.unwrap())
    }

    /// STOW-RS requests and queries seen so far.
    pub fn seen(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.requests, state.queries)
    }

    /// How many of the requests got something else than that all is stored.
    pub fn fired(&self) -> usize {
        self.state.lock().unwrap().fired
    }
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a site shows of itself, and whom it believes.
pub fn tls(identity: &Identity) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&identity.trust).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let callers = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(callers.build().unwrap())
        .with_single_cert(chain, key);
    let mut config = config.unwrap();
    // A ticket is the first thing that comes down after the handshake; a proxy that waits for an answer would take it for one.
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

async fn accept(
    listener: std::net::TcpListener,
    config: Arc<rustls::ServerConfig>,
    shared: (Arc<Mutex<State>>, Arc<Semaphore>),
    stop: CancellationToken,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        tokio::spawn(connection(stream, Arc::clone(&config), shared.clone()));
    }
}

async fn connection(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    (state, word): (Arc<Mutex<State>>, Arc<Semaphore>),
) {
    // A second handle on the socket, to turn its end into a reset.
    let stream = stream.into_std().unwrap();
    let handle = Arc::new(stream.try_clone().unwrap());
    let stream = TcpStream::from_std(stream).unwrap();
    let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else { return };
    let service = hyper::service::service_fn(move |request| {
        answer(request, Arc::clone(&state), Arc::clone(&word), Arc::clone(&handle))
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    word: Arc<Semaphore>,
    socket: Arc<std::net::TcpStream>,
) -> Result<Response<Full<Bytes>>, Error> {
    let accept = request.headers().get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default().to_owned();
    if request.method() != Method::POST {
        if state.lock().unwrap().only_xml && !accept.contains("application/dicom+xml") {
            return Ok(empty(406, None));
        }
        let refused = refuse_query(&mut state.lock().unwrap());
        return Ok(refused.map_or_else(|| query(request.uri(), &state), |(status, after)| empty(status, after)));
    }
    let study = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    // What brings nothing asks for something that is not there.
    let Some(kind) = request.headers().get("content-type") else { return Ok(empty(404, None)) };
    let kind = kind.to_str().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(Error::other)?.to_bytes();
    let parts = read_parts(&body, &kind, &study);
    let step = next_step(&mut state.lock().unwrap(), &parts, &accept);
    let keep = |skip: usize| {
        let mut state = state.lock().unwrap();
        for (instance, held) in parts.iter().skip(skip) {
            *state.stored.entry(instance.clone()).or_default() += 1;
            state.keep(instance, held);
        }
    };
    let items: Vec<Item> = parts.iter().map(|(instance, held)| Item::stored(&held.class, instance)).collect();
    if state.lock().unwrap().only_xml {
        keep(0);
        let text = store_answer::write_xml(&items);
        let xml = accept.contains("application/dicom+xml");
        return Ok(if xml { answer_of("application/dicom+xml", text) } else { empty(406, None) });
    }
    match step {
        Step::Say(answerer) => Ok(say(answerer(&items), &parts, &state)),
        Step::Store => {
            keep(0);
            Ok(json_answer(200, &store_answer::write(&items)))
        }
        Step::StoreWhenTold => {
            keep(0);
            word.acquire().await.unwrap().forget();
            Ok(json_answer(200, &store_answer::write(&items)))
        }
        Step::FailFirst(reason) => {
            keep(1);
            let mut items = items;
            items[0].reason = Some(reason);
            Ok(json_answer(200, &store_answer::write(&items)))
        }
        Step::SayNothing => {
            keep(0);
            Ok(empty(200, None))
        }
        Step::Refuse(status, retry_after) => Ok(empty(status, retry_after)),
        Step::StoreAndDrop => {
            keep(0);
            Err(Error::other("by script: no answer"))
        }
        Step::Reset => {
            let _ = rustix::net::sockopt::set_socket_linger(&*socket, Some(Duration::ZERO));
            Err(Error::other("by script: reset"))
        }
        Step::Hang => std::future::pending().await,
    }
}

/// What a query gets if not an answer; it is counted.
fn refuse_query(state: &mut State) -> Option<(u16, Option<u64>)> {
    state.refused_queries += usize::from(state.refuse_queries.is_some());
    state.refuse_queries
}

/// Notes a request, and takes what it gets from the script.
fn next_step(state: &mut State, parts: &[(String, Held)], accept: &str) -> Step {
    state.requests += 1;
    let syntax = |held: &Held| read_part10(&held.file).unwrap().syntax;
    let instances = parts.iter().map(|(instance, held)| (instance.clone(), syntax(held))).collect();
    state.log.push(Seen::Sent { instances, accept: accept.to_owned() });
    let step = state.script.pop_front().or_else(|| state.always.clone()).unwrap_or(Step::Store);
    state.fired += usize::from(!matches!(step, Step::Store));
    match step {
        Step::Refuse(..) => state.refused = state.refused.or(Some(Instant::now())),
        _ if state.refused.is_some() => state.relented = state.relented.or(Some(Instant::now())),
        _ => {}
    }
    step
}

/// Keeps what an answer says, and gives it.
fn say(said: Said, parts: &[(String, Held)], state: &Mutex<State>) -> Response<Full<Bytes>> {
    let mut state = state.lock().unwrap();
    for (instance, held) in parts.iter().filter(|(instance, _)| said.keep.contains(instance)) {
        *state.stored.entry(instance.clone()).or_default() += 1;
        state.held.insert(instance.clone(), held.clone());
    }
    let mut response = Response::new(Full::new(Bytes::from(said.body)));
    *response.status_mut() = StatusCode::from_u16(said.status).unwrap();
    if !said.content_type.is_empty() {
        response.headers_mut().insert("content-type", said.content_type.parse().unwrap());
    }
    response
}

fn read_parts(body: &[u8], content_type: &str, study: &str) -> Vec<(String, Held)> {
    let boundary = boundary_of(content_type).expect("a STOW-RS request names its boundary");
    let parts = complete_parts(body, &boundary).into_iter().map(|part| {
        let meta = read_part10(part).expect("each part is a Part 10 file");
        let data_set = &part[meta.data_set_at..];
        let held = Held {
            class: meta.sop_class,
            study: uid_in(data_set, [0x20, 0, 0x0D, 0]).unwrap_or_else(|| study.to_owned()),
            series: uid_in(data_set, [0x20, 0, 0x0E, 0]).unwrap_or_default(),
            file: Bytes::copy_from_slice(part),
        };
        (meta.instance, held)
    });
    parts.collect()
}

/// The first UI element with this tag in an explicit little-endian data set; nothing in a deflated one.
fn uid_in(data_set: &[u8], tag: [u8; 4]) -> Option<String> {
    let key = [&tag[..], b"UI"].concat();
    let at = memmem::find(data_set, &key)?;
    let length = usize::from(u16::from_le_bytes([data_set[at + 6], data_set[at + 7]]));
    Some(String::from_utf8_lossy(&data_set[at + 8..at + 8 + length]).trim_end_matches('\0').to_owned())
}

/// QIDO-RS for instances, by SOP Instance UID and study, with limit and offset (PS3.18 section 10.6).
fn query(uri: &hyper::Uri, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let mut state = state.lock().unwrap();
    state.queries += 1;
    let path = uri.path().strip_prefix("/dicom-web/").unwrap_or_default();
    let study = match path.split('/').collect::<Vec<_>>()[..] {
        ["instances"] => None,
        ["studies", study, "instances"] => Some(study.to_owned()),
        ["studies", _, "series", _, "instances", instance] => return retrieve(instance, &mut state),
        _ => return empty(404, None),
    };
    if study.as_ref().is_some_and(|study| state.silent_on.contains(study)) {
        return empty(503, None);
    }
    let mut wanted: Option<Vec<String>> = None;
    let (mut limit, mut offset) = (usize::MAX, 0);
    for (key, value) in uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        match key {
            "SOPInstanceUID" | "00080018" => {
                wanted.get_or_insert_default().extend(value.split([',', '\\']).map(str::to_owned));
            }
            "limit" => limit = value.parse().unwrap(),
            "offset" => offset = value.parse().unwrap(),
            _ => {}
        }
    }
    state.log.push(Seen::Asked(wanted.clone().unwrap_or_default()));
    let matching = state.held.iter().filter(|(uid, held)| {
        wanted.as_ref().is_none_or(|list| list.contains(uid)) && study.as_ref().is_none_or(|study| *study == held.study)
    });
    if state.only_xml {
        let parts = matching.skip(offset).take(limit).map(|(uid, held)| {
            let ui = |tag: &str, value: &str| {
                format!("<DicomAttribute tag=\"{tag}\" vr=\"UI\"><Value number=\"1\">{value}</Value></DicomAttribute>")
            };
            let set = ui("00080018", uid) + &ui("0020000D", &held.study);
            format!(
                "--edge\r\nContent-Type: application/dicom+xml\r\n\r\n<NativeDicomModel>{set}</NativeDicomModel>\r\n"
            )
        });
        let parts: String = parts.collect();
        let kind = "multipart/related; type=\"application/dicom+xml\"; boundary=edge";
        return if parts.is_empty() { empty(204, None) } else { answer_of(kind, parts + "--edge--\r\n") };
    }
    let found: Vec<Value> = matching.skip(offset).take(limit).map(|(uid, held)| row(uid, held)).collect();
    if found.is_empty() { empty(204, None) } else { json_answer(200, &Value::Array(found)) }
}

/// WADO-RS for one instance, as it is held (PS3.18 section 10.4).
fn retrieve(instance: &str, state: &mut State) -> Response<Full<Bytes>> {
    state.log.push(Seen::Retrieved(instance.to_owned()));
    if let Some(status) = state.refuse_retrievals {
        return empty(status, None);
    }
    let Some(held) = state.held.get(instance) else { return empty(404, None) };
    let head = b"--edge\r\nContent-Type: application/dicom\r\n\r\n";
    let body = [head, &held.file[..], b"\r\n--edge--\r\n"].concat();
    answer_of("multipart/related; type=\"application/dicom\"; boundary=edge", body)
}

fn row(uid: &str, held: &Held) -> Value {
    let ui = |value: &str| json!({ "vr": "UI", "Value": [value] });
    json!({
        "00080016": ui(&held.class), "00080018": ui(uid),
        "0020000D": ui(&held.study), "0020000E": ui(&held.series),
    })
}

fn json_answer(status: u16, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/dicom+json".parse().unwrap());
    response
}

fn answer_of(content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert("content-type", content_type.parse().unwrap());
    response
}

fn empty(status: u16, retry_after: Option<u64>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
