//! Sending: one STOW-RS request under the watchdog, one query under a deadline.

use super::body::PartsBody;
use super::counted::{Counted, Gauge};
use super::failure::{SendFailure, Stage};
use super::pace::Pace;
use super::{PeerClient, StoreAnswer};
use crate::dicom::uid::StudyUid;
use crate::dicomweb::prefer;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Request, RequestBuilder, Response, Url};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Breaks the request off when the one who awaits it goes away.
struct AbortOnDrop(Arc<Gauge>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PeerClient {
    /// Sends parts to `/studies/{study}` and reads the answer (PS3.18 section 10.5).
    ///
    /// `Ok` for any answer, whatever its status, also one that came before the request was whole (FLT-066): then
    /// nothing more is sent, unless the status is one of success. A peer that resets the connection right behind its early
    /// answer may take the answer away from us; that is told as ambiguous.
    /// Dropping the future breaks the request off. Errors: [`SendFailure`]; its
    /// [`surely_not_sent`](SendFailure::surely_not_sent) tells whether the peer may have stored something.
    pub async fn store(&self, study: &StudyUid, parts: PartsBody) -> Result<StoreAnswer, SendFailure> {
        self.store_at(&format!("studies/{study}"), parts).await
    }

    /// The same to `/studies`, for a peer that takes nothing below a study: to which one the parts belong, they say themselves.
    pub async fn store_plainly(&self, parts: PartsBody) -> Result<StoreAnswer, SendFailure> {
        self.store_at("studies", parts).await
    }

    async fn store_at(&self, path: &str, parts: PartsBody) -> Result<StoreAnswer, SendFailure> {
        let gauge = Arc::new(Gauge::default());
        let guard = AbortOnDrop(gauge.clone());
        let length = parts.length();
        let request = self.http.post(self.url(path)).header(ACCEPT, self.form().media_type());
        let request = request.header(CONTENT_TYPE, parts.content_type.as_str());
        let request = self.authorized(request).body(reqwest::Body::wrap(Counted::new(parts, gauge.clone())));
        let response = self.watched(request, &gauge, length).await?;
        self.note_server(&response);
        if !gauge.finished() && !response.status().is_success() {
            gauge.pause();
        }
        let answer = self.store_answer(response, &gauge).await;
        drop(guard);
        Ok(answer)
    }

    /// Sends a request and awaits the head of its answer, but no longer than progress and patience last (WEB-072).
    async fn watched(&self, request: RequestBuilder, gauge: &Gauge, length: u64) -> Result<Response, SendFailure> {
        let patience = Duration::from_secs(length / self.timing.answer_rate.max(1));
        let patience = self.timing.answer.saturating_add(patience);
        let mut clock = Clock::new(self, patience);
        let mut tick = tokio::time::interval(clock.pace.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sending = request.send();
        tokio::pin!(sending);
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map_err(|error| failure(error, gauge)),
                _ = tick.tick() => if let Some((stage, detail)) = clock.judge(Instant::now(), gauge) {
                    return Err(SendFailure { stage, sent: gauge.handed(), detail });
                },
            }
        }
    }

    /// Asks for something in one of these media types and awaits the head of the answer.
    pub(super) async fn get(&self, url: Url, accept: &str) -> Result<Response, SendFailure> {
        self.ask(Method::GET, url, accept).await
    }

    /// A query that is waited for so long.
    pub(super) async fn query(
        &self,
        url: Url,
        accept: &str,
        within: Option<Duration>,
    ) -> Result<Response, SendFailure> {
        let mut request = self.http.get(url).header(ACCEPT, accept);
        if let Some(wait) = within.and_then(prefer::wait) {
            request = request.header(prefer::PREFER, wait);
        }
        self.sent(request).await
    }

    /// Asks for a representation from a byte on, or for all of it if its tag is another by now (RFC 9110 section 13.1.5).
    pub(super) async fn rest(
        &self,
        url: Url,
        accept: &str,
        from: u64,
        tag: &HeaderValue,
    ) -> Result<Response, SendFailure> {
        let request = self.http.get(url).header(ACCEPT, accept).header(RANGE, format!("bytes={from}-"));
        self.sent(request.header(IF_RANGE, tag)).await
    }

    /// A request without a body.
    pub(super) async fn ask(&self, method: Method, url: Url, accept: &str) -> Result<Response, SendFailure> {
        self.sent(self.http.request(method, url).header(ACCEPT, accept)).await
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, SendFailure> {
        let request = self.authorized(request).build().map_err(|error| SendFailure::from_http(error, 0))?;
        let asking = self.asked(request);
        match tokio::time::timeout(self.timing.connect.saturating_add(self.timing.answer), asking).await {
            Ok(sent) => {
                let response = sent.map_err(|error| SendFailure::from_http(error, 0))?;
                self.note_server(&response);
                Ok(response)
            }
            Err(_) => {
                Err(SendFailure { stage: Stage::Timeout, sent: 0, detail: "no answer to the query in time".into() })
            }
        }
    }

    /// Puts a question; once more, on a new connection, if it met one that the peer had just closed: that is not the silence of the peer
    /// (WEB-070).
    async fn asked(&self, question: Request) -> Result<Response, reqwest::Error> {
        let again = question.try_clone();
        match (self.http.execute(question).await, again) {
            (Err(error), Some(again)) if self.answered.met_a_closed_one(&error) => self.fresh.execute(again).await,
            (answer, _) => answer,
        }
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.headers((*self.behalf).clone());
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }
}

fn failure(error: reqwest::Error, gauge: &Gauge) -> SendFailure {
    match gauge.failure() {
        Some(why) => SendFailure { stage: Stage::Source, sent: gauge.handed(), detail: why.to_owned() },
        None => SendFailure::from_http(error, gauge.handed()),
    }
}

/// The three things that are waited for in turn: the connection, progress, the answer.
struct Clock {
    pace: Pace,
    window: Duration,
    rate: u64,
    connected: bool,
    begun: Instant,
    connect: Duration,
    finished_at: Option<Instant>,
    patience: Duration,
}

impl Clock {
    fn new(client: &PeerClient, patience: Duration) -> Self {
        let (window, rate, now) = (client.timing.window, client.timing.least_rate, Instant::now());
        Self {
            pace: Pace::new(window, rate, now),
            window,
            rate,
            connected: false,
            begun: now,
            // The library's own limit, which tells more, comes first.
            connect: client.timing.connect.saturating_add(window),
            finished_at: None,
            patience,
        }
    }

    /// Why the request must end now, if it must.
    fn judge(&mut self, now: Instant, gauge: &Gauge) -> Option<(Stage, String)> {
        if !gauge.started() {
            return (now.duration_since(self.begun) > self.connect)
                .then(|| (Stage::Timeout, "no connection in time".into()));
        }
        if !self.connected {
            self.connected = true;
            self.pace = Pace::new(self.window, self.rate, now);
        }
        if gauge.finished() {
            let since = *self.finished_at.get_or_insert(now);
            let late = now.duration_since(since) > self.patience;
            return late.then(|| (Stage::Timeout, format!("no answer within {} s", self.patience.as_secs())));
        }
        if !self.pace.too_slow(now, gauge.handed()) {
            return None;
        }
        let seconds = self.window.as_secs();
        Some(if gauge.starving() {
            (Stage::Source, format!("our own data came too slowly for {seconds} s"))
        } else {
            (Stage::Timeout, format!("the peer took less than {} bytes a second for {seconds} s", self.rate))
        })
    }
}
