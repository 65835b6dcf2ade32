//! One peer's DICOMweb: STOW-RS, QIDO-RS and WADO-RS over HTTP/1.1 and mutual TLS, with no redirect, no proxy of the environment, and no retry
//! but that of a question that met a connection just closed.

mod answer;
mod answered;
mod as_study;
mod body;
mod counted;
mod failure;
mod listing;
mod pace;
mod present;
mod probe;
mod read_back;
mod resolve;
mod resume;
mod retrieve;
mod search;
mod send;

pub use crate::dicomweb::stow::Form;
pub use answer::StoreAnswer;
pub use body::{OutPart, PartsBody, SourceError};
pub use failure::{QueryFailure, SendFailure, Stage};
pub use listing::{InPart, Listed, Listing, MOST_LISTED, StudyList};
pub use present::Presence;
pub use probe::Offered;
pub use read_back::{NotReadBack, ReadBack};
pub use retrieve::{Part, Piece, Retrieval, RetrieveFailure};
pub use search::{Pages, Resource, Search};

use crate::dicom::on_behalf::OnBehalf;
use crate::dicomweb::on_behalf;
use crate::dicomweb::tls::{self, Certified, TlsSetupError};
use answered::Answered;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, Proxy, Url, redirect, retry};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the client waits for what (WEB-072).
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Name, connection and TLS handshake together.
    pub connect: Duration,
    /// The time over which progress is measured.
    pub window: Duration,
    /// The least progress, in bytes a second, over that time; less ends the request.
    pub least_rate: u64,
    /// The wait for the beginning of an answer after the last byte of a request was handed over.
    pub answer: Duration,
    /// That wait is prolonged by the request's length at this many bytes a second.
    pub answer_rate: u64,
    /// How long an unused connection is kept; shorter than servers keep theirs, lest a request meets one just closed.
    pub idle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            window: Duration::from_secs(60),
            least_rate: 16 << 10,
            answer: Duration::from_secs(60),
            answer_rate: 1 << 20,
            idle: Duration::from_secs(4),
        }
    }
}

/// What is needed to reach one peer.
pub struct ClientOptions {
    /// Where its DICOMweb service begins, for example `https://gateway.example:8443/dicom-web`. Only https.
    pub base_url: String,
    /// The subject alternative name that its certificate must carry; the URL's host if absent.
    pub identity_pin: Option<String>,
    /// Who may vouch for its certificate.
    pub roots: Arc<RootCertStore>,
    /// Our certificate.
    pub client_certificate: Option<Certified>,
    /// A bearer token, sent in the Authorization header.
    pub token: Option<String>,
    /// An HTTP proxy to go through, as URL; that of the environment is never used.
    pub proxy: Option<String>,
    /// The name by which we introduce ourselves.
    pub user_agent: String,
    /// Time limits.
    pub timing: Timing,
    /// The most bytes of an answer that are read.
    pub answer_bytes: usize,
}

impl ClientOptions {
    /// Options with the defaults: no pin, no certificate, answers up to 16 MiB.
    pub fn new(base_url: impl Into<String>, roots: Arc<RootCertStore>) -> Self {
        Self {
            base_url: base_url.into(),
            identity_pin: None,
            roots,
            client_certificate: None,
            token: None,
            proxy: None,
            user_agent: concat!("weybridge/", env!("CARGO_PKG_VERSION")).into(),
            timing: Timing::default(),
            answer_bytes: 16 << 20,
        }
    }
}

/// Why a client cannot be made out of its options: a mistake in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is not one.
    #[error("{0:?} is not a URL of the form https://host[:port]/path")]
    Url(String),
    /// The token holds characters that cannot stand in a header.
    #[error("the token holds characters that cannot stand in a header")]
    Token,
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The proxy, or something else that the HTTP library refuses.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// So many unused connections to a peer are kept.
const IDLE: usize = 8;

/// One peer's DICOMweb service. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct PeerClient {
    http: Client,
    /// Makes a new connection for each request, and keeps none.
    fresh: Client,
    answered: Arc<Answered>,
    base: Url,
    authorization: Option<HeaderValue>,
    /// For whom it asks.
    behalf: Arc<HeaderMap>,
    timing: Timing,
    answer_bytes: usize,
    /// What the Server header of its last answer said.
    server: Arc<Mutex<Option<String>>>,
    /// In which form answers are asked for: those to STOW-RS, and those to QIDO-RS.
    xml: Arc<[AtomicBool; 2]>,
}

/// Which of the two services.
#[derive(Debug, Clone, Copy)]
enum Service {
    Store = 0,
    Query = 1,
}

impl fmt::Debug for PeerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerClient({})", self.base)
    }
}

impl PeerClient {
    /// A client for one peer. Nothing is connected yet. Errors: [`ClientError`].
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let base = base_url(&options.base_url)?;
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let identity = options.identity_pin.as_deref().unwrap_or(host);
        let tls = tls::client_config(options.roots.clone(), identity, options.client_certificate.as_ref())?;
        let authorization = options.token.as_deref().map(bearer).transpose()?;
        let (http, fresh) = (http(&options, tls.clone(), IDLE)?, http(&options, tls, 0)?);
        let (timing, answer_bytes) = (options.timing, options.answer_bytes);
        let (answered, behalf) = Default::default();
        let (server, xml) = (Arc::default(), Arc::default());
        Ok(Self { http, fresh, answered, base, authorization, behalf, timing, answer_bytes, server, xml })
    }

    /// The same client, with the same connections, asking on somebody's behalf: the other site is told for whom (SEC-023).
    pub fn on_behalf(&self, of: &OnBehalf) -> Self {
        Self { behalf: Arc::new(on_behalf::headers(of)), ..self.clone() }
    }

    /// Where the peer's service begins.
    pub fn base_url(&self) -> &str {
        self.base.as_str()
    }

    /// The program that the peer's last answer named in its Server header, at most 64 characters (RFC 9110 section 10.2.4);
    /// `None` before the first answer, and if it named none.
    pub fn server(&self) -> Option<String> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the program that gave the peer's last answer is one of ours, and does what the standard asks for where others may not.
    pub fn is_ours(&self) -> bool {
        self.server().is_some_and(|name| name.starts_with("Weybridge/"))
    }

    /// The form in which answers to STOW-RS are asked for; JSON at first.
    pub fn form(&self) -> Form {
        self.form_of(Service::Store)
    }

    /// Asks for answers to STOW-RS in this form from now on: some servers have only one (WEB-052).
    pub fn ask_for(&self, form: Form) {
        self.ask_of(Service::Store, form);
    }

    fn form_of(&self, service: Service) -> Form {
        if self.xml[service as usize].load(Ordering::Relaxed) { Form::Xml } else { Form::Json }
    }

    fn ask_of(&self, service: Service, form: Form) {
        self.xml[service as usize].store(form == Form::Xml, Ordering::Relaxed);
    }

    /// Notes who answered, and on which connection.
    fn note_server(&self, response: &reqwest::Response) {
        self.answered.note(response);
        let named = response.headers().get(reqwest::header::SERVER).and_then(|value| value.to_str().ok());
        let named = named.map(|name| name.chars().take(64).collect());
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = named;
    }

    /// The URL of a resource below the service; `path` holds checked UIDs and fixed words only.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let base = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{base}/{path}"));
        url
    }
}

/// A client that keeps so many unused connections.
fn http(options: &ClientOptions, tls: ClientConfig, idle: usize) -> Result<Client, ClientError> {
    let timing = options.timing;
    let mut http = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .https_only(true)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .dns_resolver(resolve::SystemResolver)
        .tcp_nodelay(true)
        .connect_timeout(timing.connect)
        // A peer that vanished without a word is noticed while nothing is sent, too (FLT-041).
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_keepalive_interval(Duration::from_secs(10))
        .tcp_keepalive_retries(3)
        // While something is sent there are no probes: this long it may go unacknowledged.
        .tcp_user_timeout(Duration::from_secs(60))
        .pool_idle_timeout(timing.idle)
        .pool_max_idle_per_host(idle)
        // Answers are read as they come: some servers and proxies compress unless they are told not to.
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]))
        .user_agent(options.user_agent.as_str());
    if let Some(proxy) = &options.proxy {
        http = http.proxy(Proxy::https(proxy)?);
    }
    Ok(http.build()?)
}

fn base_url(text: &str) -> Result<Url, ClientError> {
    let wrong = || ClientError::Url(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if url.scheme() == "https" && url.has_host() && plain { Ok(url) } else { Err(wrong()) }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
