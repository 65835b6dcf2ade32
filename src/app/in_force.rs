//! What of the configuration can change while the gateway runs, and how it is changed (UIX-11, FLT-088).

use super::expiry::Known;
use crate::config::Config;
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
        Ok(Self {
            registry: watch::Sender::new(Arc::new(config.registry())),
            routes: watch::Sender::new(Arc::new(Routes::new(config.routes.clone()))),
            movers: watch::Sender::default(),
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

    /// Puts another configuration in force.
    pub(super) fn replace(&self, config: &Config, prepared: Prepared) {
        if let (Some(faces), Some((dicom, web))) = (&self.tls, prepared.faces) {
            faces.dicom.send_replace(dicom);
            faces.web.send_replace(web);
        }
        self.registry.send_replace(Arc::new(config.registry()));
        self.routes.send_replace(prepared.routes);
        self.prefetching.send_replace(Arc::new(prefetching(config)));
        self.known.send_replace(Arc::new(Known::of(config, self.about_store.clone())));
    }
}

/// What of a configuration can fail, made before anything is changed.
pub(super) struct Prepared {
    faces: Option<Pair>,
    pub(super) routes: Arc<Routes>,
}

fn prefetching(config: &Config) -> Prefetching {
    let (rules, retry) = (config.prefetch.clone(), config.priors.prefetch);
    Prefetching { rules, retry, resend_after: config.courier.resend_after }
}

type Pair = (Arc<ServerConfig>, Arc<ServerConfig>);

fn server_configs(config: &Config) -> Result<Option<Pair>, TlsError> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let dicom = tls::server_config(&tls.identity, &tls.trust, &[])?;
    let web = tls::server_config(&tls.identity, &tls.trust, &[b"http/1.1"])?;
    Ok(Some((dicom, web)))
}

/// What differs between two configurations and only a restart can change, by the names of its tables and keys.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let rows = [
        ("site.data_dir", old.site.data_dir != new.site.data_dir),
        ("dicom.listen", old.dicom.listen != new.dicom.listen),
        ("dicom.tls_listen", old.dicom.tls_listen != new.dicom.tls_listen),
        ("web.listen", old.web.listen != new.web.listen),
        ("viewer", old.viewer != new.viewer),
        ("hl7", old.hl7 != new.hl7),
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("limits", old.limits != new.limits),
        ("timers", old.timers != new.timers),
        ("store", old.store != new.store),
        ("retention", old.retention != new.retention),
    ];
    rows.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
