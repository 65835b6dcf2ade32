//! What of the configuration can change while the gateway runs, and how it is changed (UIX-11, FLT-088).

use super::expiry::Known;
use crate::config::{Config, Courier, EMPTY_LIST};
use crate::courier::turns::Turns;
use crate::edge::dimse_scp::Movers;
use crate::peers::Registry;
use crate::priors::Sites;
use crate::priors::archive::Archive;
use crate::priors::prefetch::Prefetching;
use crate::priors::worklist::Worklist;
use crate::router::Routes;
use crate::tls::{self, TlsError};
use rustls::ServerConfig;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// The settings that every face reads anew each time it needs them.
pub(super) struct InForce {
    pub(super) registry: watch::Sender<Arc<Registry>>,
    pub(super) routes: watch::Sender<Arc<Routes>>,
    /// Who gives instances to the nodes that ask for them.
    pub(super) movers: watch::Sender<Arc<Movers>>,
    /// Whose turn it is to give a node something: the same for lanes and movers, and over every reload.
    pub(super) turns: Turns,
    /// Who is asked for priors.
    pub(super) sites: watch::Sender<Arc<Sites>>,
    /// What is pulled ahead.
    pub(super) prefetching: watch::Sender<Arc<Prefetching>>,
    /// The archives that are asked for what they hold.
    pub(super) archives: watch::Sender<Arc<Vec<Arc<Archive>>>>,
    /// The worklists that are asked for what is scheduled.
    pub(super) worklists: watch::Sender<Arc<Vec<Arc<Worklist>>>>,
    pub(super) known: watch::Sender<Arc<Known>>,
    about_store: Option<String>,
    /// As `known` and the clock make them.
    pub(super) warnings: watch::Sender<Arc<Vec<String>>>,
    /// For DICOM over TLS and for DICOMweb; `None` without `[tls]`.
    pub(super) tls: Option<Faces>,
}

/// The TLS configurations of the listening faces.
pub(super) struct Faces {
    pub(super) dicom: watch::Sender<Arc<ServerConfig>>,
    pub(super) web: watch::Sender<Arc<ServerConfig>>,
}

impl InForce {
    /// `about_store` is a warning that lasts until the next start.
    pub(super) fn new(config: &Config, about_store: Option<String>) -> Result<Self, TlsError> {
        let faces = |(dicom, web)| Faces { dicom: watch::Sender::new(dicom), web: watch::Sender::new(web) };
        let tls = server_configs(config)?.map(faces);
        let known = Known::of(config, about_store.clone());
        tell_empty_lists(config);
        Ok(Self {
            registry: watch::Sender::new(Arc::new(config.registry())),
            routes: watch::Sender::new(Arc::new(Routes::new(config.routes.clone()))),
            movers: watch::Sender::default(),
            turns: Turns::default(),
            sites: watch::Sender::default(),
            prefetching: watch::Sender::new(Arc::new(prefetching(config))),
            archives: watch::Sender::default(),
            worklists: watch::Sender::default(),
            warnings: watch::Sender::new(Arc::new(known.warnings(SystemTime::now()))),
            known: watch::Sender::new(Arc::new(known)),
            about_store,
            tls,
        })
    }

    /// What another configuration needs; an error if its certificates cannot be used. Nothing is changed yet.
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, TlsError> {
        Ok(Prepared { faces: server_configs(config)?, routes: Arc::new(Routes::new(config.routes.clone())) })
    }

    /// Notes that the file was not taken, for `status`.
    pub(super) fn refused(&self, now: SystemTime) {
        self.known.send_modify(|known| *known = Arc::new(known.refused(now)));
    }

    /// Puts another configuration in force; `waiting` names what of it waits for a restart.
    pub(super) fn replace(&self, config: &Config, prepared: Prepared, waiting: Vec<&'static str>) {
        if let (Some(faces), Some((dicom, web))) = (&self.tls, prepared.faces) {
            faces.dicom.send_replace(dicom);
            faces.web.send_replace(web);
        }
        self.registry.send_replace(Arc::new(config.registry()));
        self.routes.send_replace(prepared.routes);
        self.prefetching.send_replace(Arc::new(prefetching(config)));
        self.known.send_replace(Arc::new(Known::of(config, self.about_store.clone()).waiting(waiting)));
        tell_empty_lists(config);
    }
}

/// Lists of patients that withhold nothing are told in the log, too: one that was cut by accident looks the same.
fn tell_empty_lists(config: &Config) {
    for warning in config.warnings.iter().filter(|warning| warning.hint == EMPTY_LIST) {
        tracing::warn!("{}; {}", warning.message, warning.hint);
    }
}

/// What of a configuration can fail, made before anything is changed.
pub(super) struct Prepared {
    faces: Option<Pair>,
    pub(super) routes: Arc<Routes>,
}

fn prefetching(config: &Config) -> Prefetching {
    let (rules, retry) = (config.prefetch.clone(), config.priors.prefetch);
    Prefetching { rules, retry, resend_after: config.courier.resend_after, keep: config.priors.keep }
}

type Pair = (Arc<ServerConfig>, Arc<ServerConfig>);

fn server_configs(config: &Config) -> Result<Option<Pair>, TlsError> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let dicom = tls::server_config(&tls.identity, &tls.trust, &[])?;
    let web = tls::server_config(&tls.identity, &tls.trust, &[b"http/1.1"])?;
    Ok(Some((dicom, web)))
}

/// What differs between the configuration of the start and another, and only a restart can change, by the names of its tables and keys.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (was, is) = (&old.courier, &new.courier);
    let tries =
        |courier: &Courier| (courier.retry_first, courier.retry_longest, courier.give_up_after, courier.refusals);
    let rows = [
        ("site.name", old.site.name != new.site.name),
        ("site.ods_code", old.site.ods_code != new.site.ods_code),
        ("site.data_dir", old.site.data_dir != new.site.data_dir),
        ("dicom.ae_title", old.dicom.ae_title != new.dicom.ae_title),
        ("dicom.listen", old.dicom.listen != new.dicom.listen),
        ("dicom.tls_listen", old.dicom.tls_listen != new.dicom.tls_listen),
        ("dicom.max_pdu_length", old.dicom.max_pdu_length != new.dicom.max_pdu_length),
        ("dicom.max_associations", old.dicom.max_associations != new.dicom.max_associations),
        ("web.listen", old.web.listen != new.web.listen),
        ("web.max_connections", old.web.max_connections != new.web.max_connections),
        ("viewer", old.viewer != new.viewer),
        ("hl7", old.hl7 != new.hl7),
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("limits", old.limits != new.limits),
        ("timers", old.timers != new.timers),
        ("store", old.store != new.store),
        ("retention", old.retention != new.retention),
        ("courier.retry_first, retry_longest, give_up_after or refusals", tries(was) != tries(is)),
        (
            "courier.outage_after or outage_probe",
            (was.outage_after, was.outage_probe) != (is.outage_after, is.outage_probe),
        ),
        ("courier.resend_after", was.resend_after != is.resend_after),
        ("courier.reconcile_every", was.reconcile_every != is.reconcile_every),
        ("priors.patience", old.priors.patience != new.priors.patience),
        ("priors.keep", old.priors.keep != new.priors.keep),
    ];
    rows.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Who this site is stays as it was until the next start: half of it new would be neither.
pub(super) fn keep_who_we_are(old: &Config, new: &mut Config) {
    (new.site.name, new.site.ods_code) = (old.site.name.clone(), old.site.ods_code.clone());
    new.dicom.ae_title = old.dicom.ae_title.clone();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let text = text.replace("SITE", "[site]\nname = \"a\"\ndata_dir = \"d\"\n[dicom]\nae_title = \"A\"\n");
        let text = text.replace("[dicom]", "[dicom]\nlisten = \"127.0.0.1:11112\"");
        let node = "[[node]]\nae_title = \"N\"\nfrom_addresses = [\"127.0.0.1\"]\nmay = [\"store\"]\n";
        Config::parse(&format!("{text}\n{node}"), Path::new("/nowhere/weybridge.toml"), SystemTime::UNIX_EPOCH).unwrap()
    }

    /// FLT-088: what does not take effect is named, and what does is not.
    #[test]
    fn what_only_a_restart_changes_is_named() {
        let rows = [
            ("SITE", ""),
            ("SITEmax_associations = 7", "dicom.max_associations"),
            ("SITEmax_pdu_length = 32768", "dicom.max_pdu_length"),
            ("SITEmatch_unknown = true", ""),
            ("SITE[web]\nmax_connections = 7", "web.max_connections"),
            ("SITE[courier]\nretry_first = \"7s\"", "courier.retry_first, retry_longest, give_up_after or refusals"),
            ("SITE[courier]\nrefusals = 7", "courier.retry_first, retry_longest, give_up_after or refusals"),
            ("SITE[courier]\noutage_after = \"7m\"", "courier.outage_after or outage_probe"),
            ("SITE[courier]\nresend_after = \"7d\"", "courier.resend_after"),
            ("SITE[courier]\nreconcile_every = \"7h\"", "courier.reconcile_every"),
            ("SITE[courier]\nbatch_instances = 7", ""),
            ("SITE[priors]\npatience = \"7s\"", "priors.patience"),
            ("SITE[priors]\nkeep = \"7h\"", "priors.keep"),
            ("SITE[priors]\ndeadline = \"7s\"", ""),
            ("SITE[timers]\nartim = \"7s\"", "timers"),
            ("[site]\nname = \"b\"\ndata_dir = \"d\"\n[dicom]\nae_title = \"A\"", "site.name"),
            ("[site]\nname = \"a\"\nods_code = \"XYZ\"\ndata_dir = \"d\"\n[dicom]\nae_title = \"A\"", "site.ods_code"),
            ("[site]\nname = \"a\"\ndata_dir = \"d\"\n[dicom]\nae_title = \"B\"", "dicom.ae_title"),
        ];
        let old = config("SITE");
        for (text, want) in rows {
            let mut new = config(text);
            let told = needs_restart(&old, &new);
            assert_eq!(told, Vec::from_iter((!want.is_empty()).then_some(want)), "{text}");
            keep_who_we_are(&old, &mut new);
            let who = |config: &Config| {
                (config.site.name.clone(), config.site.ods_code.clone(), config.dicom.ae_title.clone())
            };
            assert_eq!(who(&new), who(&old));
        }
    }
}
