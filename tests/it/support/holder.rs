//! A site over real mutual TLS that lists and gives what it holds, as well or as badly as a test says, and counts what it is asked.

use super::certs::Identity;
use super::files::read_part10;
use super::scripted_peer::tls;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const BOUNDARY: &[u8] = b"\r\n--edge\r\n";

/// How one retrieval is answered.
#[derive(Clone)]
pub enum Manner {
    /// All of it.
    Whole,
    /// So many parts whole, half of the next, and then the connection breaks.
    Break(usize),
    /// All parts, and no closing boundary.
    NoEnd,
    /// A status.
    Refuse(u16),
    /// All but the last, and that this is not all (206).
    Some,
    /// Other files in their stead.
    Instead(Vec<Vec<u8>>),
    /// A part goes each time that the test says so.
    Told,
    /// The one instance as the whole body.
    Alone(Alone),
}

/// One instance as the whole body.
#[derive(Clone)]
pub struct Alone {
    /// Its entity tag, without quotes.
    pub tag: &'static str,
    /// Whether a Range under this tag is heeded.
    pub ranges: bool,
    /// So many bytes go, and then the connection breaks.
    pub cut: Option<usize>,
    /// Another file in its stead.
    pub instead: Option<Vec<u8>>,
}

struct Held {
    study: String,
    series: String,
    class: String,
    file: Bytes,
}

#[derive(Default)]
struct State {
    held: BTreeMap<String, Held>,
    /// Under which number, and of which issuer, a study is shown; else without any.
    filed: BTreeMap<String, (String, String)>,
    /// The most instances of a study that are listed; what is beyond is not told of.
    most: Option<usize>,
    /// It has no such service: everything is "not found".
    absent: bool,
    /// It does not say how many instances a study has.
    uncounted: bool,
    /// The question for one study is answered with this status.
    refusal: Option<u16>,
    script: VecDeque<Manner>,
    /// Instances that leave as soon as they have been listed once more.
    leaving: BTreeSet<String>,
    /// Instances that come once something was retrieved.
    coming: Vec<(String, String, Vec<u8>)>,
    lists: usize,
    retrievals: Vec<String>,
    accepts: BTreeSet<String>,
    /// The Range of each retrieval.
    ranges: Vec<Option<String>>,
    silent: bool,
    /// Questions that were taken and not answered.
    hushed: usize,
}

pub struct Holder {
    pub port: u16,
    word: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
}

impl Holder {
    pub fn start(identity: &Identity) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, word) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shared, token, config) = ((Arc::clone(&state), Arc::clone(&word)), stop.clone(), tls(identity));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(accept(listener, config, shared, token));
            runtime.shutdown_timeout(Duration::from_millis(200));
        });
        Self { port, word, state, stop }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.port)
    }

    pub fn hold(&self, study: &str, series: &str, file: &[u8]) {
        hold(&mut self.state.lock().unwrap(), study, series, file);
    }

    /// The next retrievals are answered so; those after them whole.
    pub fn then(&self, manners: impl IntoIterator<Item = Manner>) {
        self.state.lock().unwrap().script.extend(manners);
    }

    /// What was to be answered otherwise is answered whole.
    pub fn forget_script(&self) {
        self.state.lock().unwrap().script.clear();
    }

    /// An instance goes once it has been listed.
    pub fn leaves_after_the_list(&self, instance: &str) {
        self.state.lock().unwrap().leaving.insert(instance.to_owned());
    }

    /// It has one instance more once something was retrieved.
    pub fn gets_meanwhile(&self, study: &str, series: &str, file: &[u8]) {
        self.state.lock().unwrap().coming.push((study.to_owned(), series.to_owned(), file.to_vec()));
    }

    /// From now on it shows a study under this number of an issuer.
    pub fn files(&self, study: &str, patient: &str, issuer: &str) {
        self.state.lock().unwrap().filed.insert(study.to_owned(), (patient.to_owned(), issuer.to_owned()));
    }

    /// It lists so many instances of a study at most, and does not say so.
    pub fn lists_at_most(&self, most: Option<usize>) {
        self.state.lock().unwrap().most = most;
    }

    /// It has no such service at its address.
    pub fn be_absent(&self, absent: bool) {
        self.state.lock().unwrap().absent = absent;
    }

    /// It does not say how many instances a study has.
    pub fn counts_nothing(&self) {
        self.state.lock().unwrap().uncounted = true;
    }

    /// It refuses the question for one study with this status.
    pub fn refuses_one_study(&self, status: u16) {
        self.state.lock().unwrap().refusal = Some(status);
    }

    pub fn forget(&self, instance: &str) {
        self.state.lock().unwrap().held.remove(instance);
    }

    /// It takes questions, and does not answer.
    pub fn be_silent(&self, silent: bool) {
        self.state.lock().unwrap().silent = silent;
    }

    /// How many questions it took and did not answer.
    pub fn hushed(&self) -> usize {
        self.state.lock().unwrap().hushed
    }

    /// Lets so many parts go that wait to be told.
    pub fn speak(&self, parts: usize) {
        self.word.add_permits(parts);
    }

    /// How often it was asked for a list, and what was retrieved: the paths below the service.
    pub fn asked(&self) -> (usize, Vec<String>) {
        let state = self.state.lock().unwrap();
        (state.lists, state.retrievals.clone())
    }

    /// The Range of each retrieval, if it had one.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().ranges.clone()
    }

    /// The Accept headers of retrievals.
    pub fn accepts(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().accepts.clone()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn hold(state: &mut State, study: &str, series: &str, file: &[u8]) {
    let meta = read_part10(file).unwrap();
    let (study, series, file) = (study.to_owned(), series.to_owned(), Bytes::copy_from_slice(file));
    state.held.insert(meta.instance, Held { study, series, class: meta.sop_class, file });
}

type Shared = (Arc<Mutex<State>>, Arc<Semaphore>);
type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Error>>>;

async fn accept(
    listener: std::net::TcpListener,
    config: Arc<rustls::ServerConfig>,
    shared: Shared,
    stop: CancellationToken,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (config, shared) = (Arc::clone(&config), shared.clone());
        tokio::spawn(async move { connection(stream, config, shared).await });
    }
}

async fn connection(stream: TcpStream, config: Arc<rustls::ServerConfig>, shared: Shared) {
    let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await else { return };
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            if hushes(&mut shared.0.lock().unwrap()) {
                std::future::pending::<()>().await;
            }
            Ok::<_, Error>(answer(&request, shared))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Whether a question gets no answer.
fn hushes(state: &mut State) -> bool {
    state.hushed += usize::from(state.silent);
    state.silent
}

fn answer(request: &Request<Incoming>, (state, word): Shared) -> Response<Body> {
    let path = request.uri().path().trim_start_matches("/dicom-web/").to_owned();
    let mut state = state.lock().unwrap();
    if state.absent {
        return plain(404);
    }
    if request.uri().query().is_some() || path.ends_with("/instances") {
        return list(&mut state, &path, request.uri().query().unwrap_or_default());
    }
    let accept = request.headers()["accept"].to_str().unwrap().to_owned();
    state.accepts.insert(accept);
    let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    state.ranges.push(field("range"));
    state.retrievals.push(path.clone());
    let names: Vec<&str> = path.split('/').collect();
    let name = |at: usize| names.get(at).copied();
    let wanted = |uid: &str, held: &Held| {
        name(1) == Some(&held.study)
            && name(3).is_none_or(|series| series == held.series)
            && name(5).is_none_or(|instance| instance == uid)
    };
    let found = state.held.iter().filter(|(uid, held)| wanted(uid, held));
    let mut files: Vec<Bytes> = found.map(|(_, held)| held.file.clone()).collect();
    let coming = std::mem::take(&mut state.coming);
    coming.iter().for_each(|(study, series, file)| hold(&mut state, study, series, file));
    let manner = state.script.pop_front().unwrap_or(Manner::Whole);
    if let Manner::Refuse(status) = manner {
        return plain(status);
    }
    if files.is_empty() {
        return plain(404);
    }
    if let Manner::Instead(others) = &manner {
        files = others.iter().map(|file| Bytes::copy_from_slice(file)).collect();
    }
    if let Manner::Some = manner {
        files.pop();
    }
    if let Manner::Alone(how) = manner {
        let file = how.instead.clone().map_or_else(|| files.remove(0), Bytes::from);
        return alone(&file, &how, field("range").filter(|_| field("if-range") == Some(format!("\"{}\"", how.tag))));
    }
    multipart(files, manner, word)
}

/// One file as the whole body, or from the byte on that a Range names.
fn alone(file: &Bytes, how: &Alone, range: Option<String>) -> Response<Body> {
    let first = range.filter(|_| how.ranges).map(|range| range["bytes=".len()..range.len() - 1].parse().unwrap());
    let rest = file.slice(first.unwrap_or(0)..);
    let length = rest.len();
    let mut pieces = vec![Ok(Frame::data(rest.slice(..how.cut.unwrap_or(length))))];
    pieces.extend(how.cut.map(|_| Err(Error::other("by script: the connection breaks"))));
    let body = stream::iter(pieces).then(|piece| async move {
        if piece.is_err() {
            // What went before is on its way when the connection breaks.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        piece
    });
    let mut response = Response::new(StreamBody::new(body.boxed()));
    let mut put = |name: &'static str, value: String| response.headers_mut().insert(name, value.parse().unwrap());
    put("content-type", "application/dicom".into());
    put("content-length", length.to_string());
    put("etag", format!("\"{}\"", how.tag));
    if let Some(first) = first {
        put("content-range", format!("bytes {first}-{}/{}", file.len() - 1, file.len()));
        *response.status_mut() = hyper::StatusCode::PARTIAL_CONTENT;
    }
    response
}

fn multipart(files: Vec<Bytes>, manner: Manner, word: Arc<Semaphore>) -> Response<Body> {
    let part = |file: &Bytes| Bytes::from([BOUNDARY, b"Content-Type: application/dicom\r\n\r\n", &file[..]].concat());
    let mut parts: Vec<Result<Bytes, Error>> = files.iter().map(part).map(Ok).collect();
    match manner {
        Manner::Break(whole) => {
            parts.truncate(whole + 1);
            if let Some(Ok(last)) = parts.get_mut(whole) {
                *last = last.slice(..last.len() / 2);
            }
            parts.push(Err(Error::other("by script: the connection breaks")));
        }
        Manner::NoEnd => {}
        _ => parts.push(Ok(Bytes::from_static(b"\r\n--edge--\r\n"))),
    }
    let status = if matches!(manner, Manner::Some) { 206 } else { 200 };
    let told = matches!(manner, Manner::Told);
    if told {
        // A part is whole when the boundary after it has come.
        let places: Vec<usize> = (1..files.len()).collect();
        for at in places {
            let (Ok(before), Ok(part)) = (&parts[at - 1], &parts[at]) else { continue };
            let (line, rest) = part.split_at(BOUNDARY.len());
            let (before, rest) = ([before, line].concat(), Bytes::copy_from_slice(rest));
            (parts[at - 1], parts[at]) = (Ok(before.into()), Ok(rest));
        }
    }
    let body = stream::iter(parts).then(move |part| {
        let word = Arc::clone(&word);
        async move {
            match &part {
                Ok(part) if told && part.len() > 20 => word.acquire().await.unwrap().forget(),
                // What went before is on its way when the connection breaks.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Ok(_) => {}
            }
            part.map(Frame::data)
        }
    });
    let mut response = Response::new(StreamBody::new(body.boxed()));
    let kind = "multipart/related; type=\"application/dicom\"; boundary=edge";
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    response
}

/// One row of a search for studies: by a UID, or by a number.
fn study_row(state: &State, study: &str) -> Value {
    let one = |vr: &str, value: &str| json!({ "vr": vr, "Value": [value] });
    let mut row = json!({ "0020000D": one("UI", study) });
    if let Some((patient, issuer)) = state.filed.get(study) {
        (row["00100020"], row["00100021"]) = (one("LO", patient), one("LO", issuer));
    }
    if !state.uncounted {
        let count = state.held.values().filter(|held| held.study == study).count();
        row["00201208"] = json!({ "vr": "IS", "Value": [count] });
    }
    row
}

/// QIDO-RS for studies.
fn studies(state: &State, query: &str) -> Response<Body> {
    let key = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    if let Some(status) = state.refusal.filter(|_| key("0020000D").is_some()) {
        return plain(status);
    }
    let all: BTreeSet<&String> = state.held.values().map(|held| &held.study).collect();
    let number = |study: &str| state.filed.get(study).map(|(patient, _)| patient.as_str());
    let is_meant = |study: &&&String| match (key("0020000D"), key("00100020")) {
        (Some(uid), _) => study.as_str() == uid,
        (_, Some(patient)) => number(study) == Some(patient),
        _ => false,
    };
    let rows: Vec<Value> = all.iter().filter(is_meant).map(|study| study_row(state, study)).collect();
    if rows.is_empty() || key("offset") != Some("0") { plain(204) } else { told(&rows) }
}

fn told(rows: &[Value]) -> Response<Body> {
    let body = stream::iter([Ok(Frame::data(Bytes::from(Value::from(rows).to_string())))]).boxed();
    let mut response = Response::new(StreamBody::new(body));
    response.headers_mut().insert("content-type", "application/dicom+json".parse().unwrap());
    response
}

/// QIDO-RS for the instances of a study, with a largest page of three.
fn list(state: &mut State, path: &str, query: &str) -> Response<Body> {
    if path == "studies" {
        return studies(state, query);
    }
    let number = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok())
    };
    let (offset, limit) = (number("offset").unwrap_or(0), number("limit").unwrap_or(1000).min(3));
    state.lists += usize::from(offset == 0);
    let study = path.split('/').nth(1).unwrap_or_default().to_owned();
    let most = state.most.unwrap_or(usize::MAX);
    let matching = state.held.iter().filter(|(_, held)| held.study == study).take(most);
    let ui = |value: &str| json!({ "vr": "UI", "Value": [value] });
    let rows: Vec<Value> = matching
        .skip(offset)
        .take(limit)
        .map(|(uid, held)| {
            json!({ "00080016": ui(&held.class), "00080018": ui(uid), "0020000D": ui(&held.study), "0020000E": ui(&held.series) })
        })
        .collect();
    if rows.is_empty() {
        for gone in std::mem::take(&mut state.leaving) {
            state.held.remove(&gone);
        }
        return plain(204);
    }
    told(&rows)
}

fn plain(status: u16) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(stream::empty().boxed()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    response
}
