//! Watches the certificates in force: their end is told in the log and in `status` before it comes, however long the gateway
//! runs (DIM-113).

use crate::config::Config;
use crate::tls::{Facts, Identity, expiry};
use jiff::{Timestamp, Unit};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the clock is looked at; the nearest mark is a day.
const LOOK: Duration = Duration::from_secs(3600);

/// What there is to know of a configuration in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Warnings that time does not change.
    lasting: Vec<String>,
    /// What has changed in the file and waits for a restart.
    waiting: Vec<&'static str>,
    /// When the file was not taken, if it was not the last time.
    refused: Option<SystemTime>,
    /// Every certificate that is shown or believed, with what it is.
    certificates: Vec<(String, Facts)>,
}

impl Known {
    pub(super) fn of(config: &Config, about_store: Option<String>) -> Self {
        let lasting = config.warnings.iter().filter(|warning| warning.hint != expiry::REPLACE);
        let lasting = lasting.map(|warning| format!("{} ({})", warning.message, warning.hint));
        let lasting = about_store.into_iter().chain(lasting).collect();
        let mut certificates = Vec::new();
        if let Some(tls) = &config.tls {
            certificates.extend(shown("this site's certificate", &tls.identity));
            certificates.extend(tls.trust.facts().iter().map(|facts| ("the authority".to_owned(), facts.clone())));
        }
        let clients = config.peers.iter().filter_map(|peer| Some((peer, peer.client.as_ref()?)));
        certificates
            .extend(clients.flat_map(|(peer, client)| shown(&format!("the certificate for {}", peer.name), client)));
        Self { lasting, certificates, ..Self::default() }
    }

    /// With what has changed in the file and waits for a restart (FLT-088).
    #[must_use]
    pub(super) fn waiting(self, keys: Vec<&'static str>) -> Self {
        Self { waiting: keys, ..self }
    }

    /// With that the file was not taken just now: who reads no log sees that it is not the one in force (UIX-11).
    #[must_use]
    pub(super) fn refused(&self, now: SystemTime) -> Self {
        Self { refused: Some(now), ..self.clone() }
    }

    /// What a reload has left to be done.
    fn of_reload(&self) -> impl Iterator<Item = String> {
        let refused = self.refused.map(|at| {
            let at = Timestamp::try_from(at).and_then(|at| at.round(Unit::Second));
            let at = at.map_or_else(|_| "?".to_owned(), |at| at.to_string());
            format!(
                "the configuration file was not taken at {at}, and the one before it stays in force: `weybridge check` or the log says \
                 why; mend it, then SIGHUP"
            )
        });
        let keys = self.waiting.join("; ");
        let waiting =
            (!keys.is_empty()).then(|| format!("changed in the configuration file, and waits for a restart: {keys}"));
        refused.into_iter().chain(waiting)
    }

    /// How long until something else is to be said: the end of a certificate is not told an hour late.
    fn next_look(&self, now: SystemTime) -> Duration {
        let left = self.certificates.iter().filter_map(|(_, facts)| facts.not_after.duration_since(now).ok());
        left.min().map_or(LOOK, |left| LOOK.min(left + Duration::from_secs(1)))
    }

    /// All warnings as they stand now.
    pub(super) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let ending = self.certificates.iter().filter_map(|(what, facts)| expiry::words(what, facts, now));
        let ending = ending.map(|words| format!("{words} ({})", expiry::REPLACE));
        self.of_reload().chain(self.lasting.iter().cloned()).chain(ending).collect()
    }
}

/// The certificates of an identity, as they are shown to the other side.
fn shown(what: &str, identity: &Identity) -> Vec<(String, Facts)> {
    let above = identity.above().iter().map(|facts| (format!("the authority in the file of {what}"), facts.clone()));
    std::iter::once((what.to_owned(), identity.facts().clone())).chain(above).collect()
}

/// Keeps `warnings` as they stand, and logs each mark that a certificate passes, once, until `stop`.
pub(super) async fn watch(
    mut known: watch::Receiver<Arc<Known>>,
    warnings: watch::Sender<Arc<Vec<String>>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut told: HashMap<(String, SystemTime), usize> = HashMap::new();
    loop {
        let now = SystemTime::now();
        let current = Arc::clone(&known.borrow_and_update());
        told.retain(|(subject, end), _| {
            current.certificates.iter().any(|(_, f)| f.subject == *subject && f.not_after == *end)
        });
        for (what, facts) in &current.certificates {
            let marks = expiry::marks_passed(facts, now);
            let before = told.insert((facts.subject.clone(), facts.not_after), marks).unwrap_or_default();
            if let Some(words) = expiry::words(what, facts, now).filter(|_| marks > before) {
                tracing::warn!("{words}; {}", expiry::REPLACE);
            }
        }
        warnings.send_replace(Arc::new(current.warnings(now)));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(current.next_look(now)) => {}
            changed = known.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::certs::{DevAuthority, Validity};

    /// DIM-113: an authority that stands in the site's own file ends as visibly as the certificate itself.
    #[test]
    fn every_certificate_that_is_shown_is_watched() {
        let authority = DevAuthority::create().unwrap();
        let issue = |name: &str, validity| authority.site(name, &["site.example"], validity).unwrap();
        let (leaf, good, ended) = (
            issue("leaf", Validity::days(365)),
            issue("good", Validity::days(365)),
            issue("ended", Validity::expired()),
        );
        let rows = [
            (vec![&leaf], vec![]),
            (vec![&leaf, &good], vec![]),
            (vec![&leaf, &good, &ended], vec!["the authority in the file of it (CN=ended) has expired"]),
            (vec![&ended], vec!["it (CN=ended) has expired"]),
        ];
        for (chain, want) in rows {
            let file: String = chain.iter().map(|keys| keys.certificate.as_str()).collect();
            let identity = Identity::from_pem(file.as_bytes(), chain[0].key.as_bytes()).unwrap();
            let known = Known { certificates: shown("it", &identity), ..Known::default() };
            assert_eq!(known.certificates.len(), chain.len());
            let told = known.warnings(SystemTime::now());
            let want: Vec<String> = want.iter().map(|words| format!("{words} ({})", expiry::REPLACE)).collect();
            assert_eq!(told, want);
        }
    }

    /// UIX-11, FLT-088: `status` tells that the file on the disk is not what is in force, until it is.
    #[test]
    fn what_a_reload_left_to_be_done_is_told_until_it_is_done() {
        let now = SystemTime::UNIX_EPOCH;
        let good = Known { lasting: vec!["something else".to_owned()], ..Known::default() };
        assert_eq!(good.warnings(now), ["something else"]);
        let waiting = good.clone().waiting(vec!["dicom.listen", "timers"]);
        let restart = "changed in the configuration file, and waits for a restart: dicom.listen; timers";
        assert_eq!(waiting.warnings(now), [restart, "something else"]);
        let told = waiting.refused(now).warnings(now);
        assert!(told[0].starts_with("the configuration file was not taken at 1970-01-01T00:00:00Z, and "), "{told:?}");
        assert_eq!(told[1..], [restart, "something else"], "what waited for a restart waits still");
    }
}
