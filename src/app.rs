//! `App::open(config)` -> `App::serve()` -> `Running::drain(deadline)`: the only module that knows every part.

mod expiry;
mod in_force;
mod kinship;
mod lanes;
mod options;
pub mod reconcile;
mod tasks;
mod unfinished;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
mod whole;

pub use lanes::{node_target, peer_client};
pub use options::scanner_limits;
pub use unfinished::Unfinished;

use crate::config::Config;
use crate::courier::Courier;
use crate::dimse;
use crate::edge::admin::{self, AdminFace};
use crate::edge::dimse_scp::{self, DimseFace};
use crate::edge::http::{self, ViewerOptions, WebFace, WebOptions};
use crate::edge::mllp::{self, Hearing, MllpFace};
use crate::intake::{Intake, IntakeOptions};
use crate::janitor::{self, Janitor};
use crate::judge::Judge;
use crate::priors::Priors;
use crate::priors::archive::Archives;
use crate::priors::fetch::{FetchOptions, Fetcher};
use crate::priors::prefetch::Prefetcher;
use crate::priors::worklist::Worklists;
use crate::records::{Records, Recovered};
use crate::rejections::NoteReader;
use crate::store::{Place, Store, take_lock};
use anyhow::Context;
use in_force::InForce;
use options::{BLOBS, janitor_options, scp_options, store_options};
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tasks::Critical;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The longest time that a request's head may take to arrive; less if `timers.http_idle` is shorter.
const HTTP_HEAD: Duration = Duration::from_secs(30);

/// Another process holds the lock of the data directory (FLT-072).
#[derive(Debug, thiserror::Error)]
#[error("another gateway works on {}; stop it first, or give this one a data_dir of its own", .0.display())]
pub struct InUse(PathBuf);

/// A gateway whose data is open and recovered, and which does not listen yet.
pub struct App {
    config: Config,
    records: Records,
    store: Store,
    intake: Intake,
    priors: Priors,
    archives: Archives,
    fetcher: Fetcher,
    /// Where blobs were to lie that are missing or cut (FLT-027).
    lost: Vec<Place>,
    /// When an earlier run entered something last.
    last_known: Option<SystemTime>,
    in_force: InForce,
    /// Held as long as the process lives: no second one may work on this data (FLT-072).
    lock: File,
}

impl App {
    /// Locks and opens the data directory, and puts right what a crash left. Fails with [`InUse`] if another process has it.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let data_dir = config.site.data_dir.clone();
        make(&data_dir).with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
        let lock = lock(&data_dir)?;
        unfinished::refuse(&data_dir)?;
        let (records, recovered) =
            Records::open(&data_dir, lanes::records_options(&config)).context("cannot open the records")?;
        tell(&recovered, &data_dir);
        let live = records.all_places().await.context("cannot read where the blobs are")?;
        let standing = kinship::standing(&data_dir.join(BLOBS), &records, &recovered).await?;
        let (store, freed) =
            Store::open_for(store_options(&config), standing, live).context("cannot open the blobs")?;
        tracing::info!(blobs = freed.blobs, removed = freed.orphans_removed, "blobs are open");
        if recovered.log_damaged {
            Records::damage_noted(&data_dir).context("cannot rename the copy of the damaged log")?;
        }
        if freed.doubted {
            tracing::error!(files_without_a_row = freed.strays, "{}", kinship::DOUBTED);
        }
        if freed.missing + freed.damaged > 0 {
            tracing::error!(
                missing = freed.missing,
                damaged = freed.damaged,
                "blobs that the records name are missing or cut; each is looked at and set aside"
            );
        }
        let options = IntakeOptions {
            instance_bytes: config.limits.instance_bytes,
            scanner: scanner_limits(&config),
            resend_after: config.courier.resend_after,
        };
        let about_store = store.is_doubted().then(|| kinship::DOUBTED.to_owned());
        let in_force = InForce::new(&config, about_store).context("cannot use the certificates")?;
        records.govern(in_force.registry.subscribe());
        in_force.movers.send_replace(Arc::new(lanes::movers(&config, &store, &records, &in_force.turns)?));
        let profiles = lanes::profiles(&config, &records).await?;
        in_force.sites.send_replace(Arc::new(lanes::sites(&config, &profiles)?));
        let key = records.marker_key().await.context("cannot read the key of the markers")?;
        let priors = Priors::new(records.clone(), in_force.sites.subscribe(), key.as_bytes());
        in_force.archives.send_replace(Arc::new(lanes::archives(&config)?));
        in_force.worklists.send_replace(Arc::new(lanes::worklists(&config)?));
        let archives = Archives::new(records.clone(), in_force.archives.subscribe());
        let version = Arc::clone(in_force.routes.borrow().version());
        records.routes_in_force(&version, SystemTime::now()).await.context("cannot put the routes in force")?;
        let intake = Intake::new(store.clone(), records.clone(), in_force.routes.subscribe(), options);
        let fetch = FetchOptions {
            patience: config.priors.patience,
            keep: config.priors.keep,
            commit_bytes: config.limits.commit_bytes,
            ..FetchOptions::default()
        };
        let registry = in_force.registry.subscribe();
        let fetcher = Fetcher::new(priors.clone(), records.clone(), intake.clone(), registry, fetch);
        Ok(Self {
            config,
            records,
            store,
            intake,
            priors,
            archives,
            fetcher,
            lost: freed.lost,
            last_known: recovered.last_known,
            in_force,
            lock,
        })
    }

    /// The records, for whoever runs the gateway inside a process of their own.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Binds every listener, starts the lanes, and serves.
    pub async fn serve(self) -> anyhow::Result<Running> {
        let (accepting, working) = (CancellationToken::new(), CancellationToken::new());
        let mut critical = Critical::new(accepting.clone());
        let mut addresses = Vec::new();
        let registry = self.in_force.registry.subscribe();
        let prefetcher = Prefetcher::new(self.fetcher.clone(), registry, self.in_force.prefetching.subscribe());
        prefetcher.prepare().await.context("cannot look for new studies")?;
        critical.spawn("what is pulled ahead", prefetcher.clone().run(working.clone()));
        let worklists = Worklists::new(self.records.clone(), self.in_force.worklists.subscribe());
        critical.spawn("the polling of worklists", worklists.clone().run(working.clone()));
        self.serve_dicom(&mut critical, &mut addresses, &accepting).await?;
        self.serve_web(&mut critical, &mut addresses, &accepting).await?;
        self.serve_viewers(&mut critical, &mut addresses, &accepting).await?;
        let hearing = self.serve_hl7(&mut critical, &mut addresses, &accepting).await?;
        let profiles = lanes::profiles(&self.config, &self.records).await?;
        let lanes = lanes::lanes(&self.config, &self.store, &self.records, &profiles, &self.in_force.turns)?;
        let courier = Arc::new(Courier::start(&self.records, self.in_force.routes.subscribe(), lanes, &working));
        let (records, store) = (self.records.clone(), self.store.clone());
        let registry = self.in_force.registry.subscribe();
        let judge = Judge::new(records.clone(), store.clone(), registry, self.config.courier.resend_after);
        let janitor = Janitor::new(records, store, judge.clone(), janitor_options(&self.config, self.last_known));
        critical.spawn("the janitor", janitor.clone().run(self.lost, working.clone()));
        critical.spawn("the judge", judge.run(working.clone()));
        let notes = NoteReader::new(self.records.clone(), self.store.clone());
        critical.spawn("the reader of rejection notes", notes.run(working.clone()));
        let every = self.config.courier.reconcile_every;
        let nightly = reconcile::nightly(self.config.path.clone(), self.records.clone(), every, working.clone());
        critical.spawn("the comparison with the peers", nightly);
        let admin = AdminFace {
            janitor,
            site: self.config.site.name.clone(),
            records: self.records.clone(),
            store: self.store.clone(),
            courier: Arc::clone(&courier),
            archives: self.archives.clone(),
            intake: self.intake.clone(),
            fetcher: self.fetcher.clone(),
            prefetcher,
            worklists,
            hearing,
            registry: self.in_force.registry.subscribe(),
            warnings: self.in_force.warnings.subscribe(),
            resend_after: self.config.courier.resend_after,
            started: SystemTime::now(),
        };
        let known = self.in_force.known.subscribe();
        let watching = expiry::watch(known, self.in_force.warnings.clone(), accepting.clone());
        critical.spawn("the watch over the certificates", watching);
        let socket = admin::bind(&self.config.site.data_dir).context("cannot open the admin socket")?;
        critical.spawn("the admin socket", admin::serve(socket, admin, working.clone()));
        Ok(Running {
            addresses,
            accepting,
            working,
            critical,
            courier,
            config: self.config,
            in_force: self.in_force,
            intake: self.intake,
            records: self.records,
            store: self.store,
            _lock: self.lock,
        })
    }

    async fn serve_dicom(
        &self,
        critical: &mut Critical,
        addresses: &mut Vec<(&'static str, SocketAddr)>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let face = Arc::new(DimseFace {
            intake: self.intake.clone(),
            registry: self.in_force.registry.subscribe(),
            records: self.records.clone(),
            ae_title: self.config.dicom.ae_title.clone(),
            priors: self.priors.clone(),
            archives: self.archives.clone(),
            fetcher: self.fetcher.clone(),
            movers: self.in_force.movers.subscribe(),
            retrievals: dimse_scp::retrievals(),
        });
        let server = dimse::Server::new(face, scp_options(&self.config));
        if let Some(address) = self.config.dicom.listen {
            let listener = bind(address).await?;
            addresses.push(("dicom", listener.local_addr()?));
            let (server, stop) = (server.clone(), stop.clone());
            critical.spawn("the DICOM listener", async move { server.serve(listener, None, stop).await });
        }
        if let (Some(address), Some(faces)) = (self.config.dicom.tls_listen, &self.in_force.tls) {
            let tls = faces.dicom.subscribe();
            let listener = bind(address).await?;
            addresses.push(("dicom over TLS", listener.local_addr()?));
            let source: dimse::TlsSource = Arc::new(move || Arc::clone(&tls.borrow()));
            let stop = stop.clone();
            critical
                .spawn("the DICOM listener over TLS", async move { server.serve(listener, Some(source), stop).await });
        }
        Ok(())
    }

    /// The face towards order systems, if there is one: where it listens, and what it hears.
    async fn serve_hl7(
        &self,
        critical: &mut Critical,
        addresses: &mut Vec<(&'static str, SocketAddr)>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<(SocketAddr, Hearing)>> {
        let Some(address) = self.config.hl7.listen else { return Ok(None) };
        let listener = bind(address).await?;
        let address = listener.local_addr()?;
        addresses.push(("hl7", address));
        let hearing = Hearing::default();
        let hl7 = &self.config.hl7;
        let own = || self.config.site.ods_code.clone().unwrap_or_else(|| self.config.site.name.clone());
        let face = MllpFace {
            records: self.records.clone(),
            from: hl7.from_addresses.clone().into(),
            terms: Arc::new(mllp::Terms {
                issuer: hl7.issuer.clone().unwrap_or_else(own),
                authorities: hl7.authorities.clone(),
                processing: hl7.processing.clone(),
            }),
            site: self.config.site.name.clone(),
            hearing: hearing.clone(),
        };
        critical.spawn("the HL7 listener", mllp::serve(listener, face, stop.clone()));
        Ok(Some((address, hearing)))
    }

    /// What the faces of DICOMweb work with.
    fn web_face(&self) -> WebFace {
        let options = WebOptions {
            connections: self.config.web.max_connections,
            handshake: self.config.timers.tls_handshake,
            head: HTTP_HEAD.min(self.config.timers.http_idle),
            body_idle: self.config.timers.http_idle,
            request_bytes: self.config.limits.request_bytes,
            instance_bytes: self.config.limits.instance_bytes,
            parts: self.config.limits.parts,
            part_header_bytes: usize::try_from(self.config.limits.part_header_bytes).unwrap_or(usize::MAX),
            commit_bytes: self.config.limits.commit_bytes,
            partial_metadata_as_ok: false,
        };
        WebFace {
            intake: self.intake.clone(),
            records: self.records.clone(),
            store: self.store.clone(),
            archives: self.archives.clone(),
            elsewhere: None,
            retrievals: Arc::default(),
            known: Arc::default(),
            registry: self.in_force.registry.subscribe(),
            options,
        }
    }

    /// The face towards viewers on this machine.
    async fn serve_viewers(
        &self,
        critical: &mut Critical,
        addresses: &mut Vec<(&'static str, SocketAddr)>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Some(viewer) = self.config.viewer.clone() else { return Ok(()) };
        let listener = bind(viewer.listen).await?;
        addresses.push(("viewers", listener.local_addr()?));
        let options = ViewerOptions { node: viewer.node, token: viewer.token, origins: viewer.origins };
        let face = self.web_face();
        let limits = WebOptions {
            connections: viewer.max_connections,
            partial_metadata_as_ok: viewer.partial_metadata_as_ok,
            ..face.options.clone()
        };
        let face = WebFace { elsewhere: Some(self.fetcher.clone()), options: limits, ..face };
        let serving = http::serve_viewers(listener, face, options, stop.clone());
        critical.spawn("the listener for viewers", serving);
        Ok(())
    }

    async fn serve_web(
        &self,
        critical: &mut Critical,
        addresses: &mut Vec<(&'static str, SocketAddr)>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let (Some(address), Some(faces)) = (self.config.web.listen, &self.in_force.tls) else { return Ok(()) };
        let listener = bind(address).await?;
        addresses.push(("dicomweb", listener.local_addr()?));
        let face = self.web_face();
        critical.spawn("the DICOMweb listener", http::serve(listener, faces.web.subscribe(), face, stop.clone()));
        Ok(())
    }
}

/// A gateway that serves.
pub struct Running {
    addresses: Vec<(&'static str, SocketAddr)>,
    accepting: CancellationToken,
    working: CancellationToken,
    critical: Critical,
    courier: Arc<Courier>,
    /// Of the start: what only a restart changes stays as it says, however often another is read.
    config: Config,
    in_force: InForce,
    intake: Intake,
    records: Records,
    store: Store,
    _lock: File,
}

impl Running {
    /// Every face and the address on which it listens.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// Returns when a part that must not end has ended, with its name and why.
    pub async fn failed(&mut self) -> String {
        self.critical.failed().await
    }

    /// Reads the configuration again and puts it in force without dropping anything; a wrong one changes nothing (FLT-088).
    ///
    /// Certificates, nodes, peers and routes change at once. What only a restart can change is named in the log.
    pub async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(()) => tracing::info!("the configuration was read again and is in force"),
            Err(error) => {
                self.in_force.refused(SystemTime::now());
                tracing::error!(error = %format!("{error:#}"), "the configuration was not taken; the old one stays in force")
            }
        }
    }

    async fn try_reload(&mut self) -> anyhow::Result<()> {
        // A line of the file may name a patient: the log has none.
        let mut config = Config::load(&self.config.path).map_err(|errors| anyhow::anyhow!(errors.without_source()))?;
        let waiting = in_force::needs_restart(&self.config, &config);
        for key in &waiting {
            tracing::warn!(key, "has changed, and takes effect at the next start");
        }
        in_force::keep_who_we_are(&self.config, &mut config);
        let profiles = lanes::profiles(&config, &self.records).await?;
        let lanes = lanes::lanes(&config, &self.store, &self.records, &profiles, &self.in_force.turns)?;
        let movers = lanes::movers(&config, &self.store, &self.records, &self.in_force.turns)?;
        let sites = lanes::sites(&config, &profiles)?;
        let archives = lanes::archives(&config)?;
        let worklists = lanes::worklists(&config)?;
        let prepared = self.in_force.prepare(&config)?;
        // First the records, then the rest, in which nothing can fail: an arrival that meets the moment is routed again.
        self.courier.pause();
        if let Err(error) = self.records.routes_in_force(prepared.routes.version(), SystemTime::now()).await {
            self.courier.go_on();
            return Err(error.into());
        }
        self.in_force.replace(&config, prepared, waiting);
        self.in_force.movers.send_replace(Arc::new(movers));
        self.in_force.sites.send_replace(Arc::new(sites));
        self.in_force.archives.send_replace(Arc::new(archives));
        self.in_force.worklists.send_replace(Arc::new(worklists));
        self.courier.replace(lanes);
        Ok(())
    }

    /// Stops: takes nothing new, lets what is in hand finish until the deadline, then closes the records (REL-26).
    pub async fn drain(mut self, deadline: Duration) {
        self.intake.stop();
        self.accepting.cancel();
        self.working.cancel();
        let finished = async {
            self.courier.ended().await;
            self.critical.ended().await;
        };
        if tokio::time::timeout(deadline, finished).await.is_err() {
            tracing::warn!("not everything in hand finished in time; it is as safe as after a power cut");
        }
        if let Err(error) = janitor::note(&self.records, &self.store).await {
            tracing::warn!(%error, "the blobs could not note how far the records have come");
        }
        self.records.close().await;
        drop(self.store);
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Makes the data directory, and its name durable in its parent: what is acknowledged is no safer than that (REL-05).
fn make(data_dir: &Path) -> io::Result<()> {
    if data_dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(data_dir)?;
    match std::fs::canonicalize(data_dir)?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// What opening the records found, for the log.
fn tell(recovered: &Recovered, data_dir: &Path) {
    if recovered.epoch == 1 {
        tracing::warn!(
            data_dir = %data_dir.display(),
            "there were no records: this site begins anew; if it held studies before, stop it: is its disk mounted?"
        );
    }
    if recovered.interrupted > 0 {
        tracing::warn!(
            attempts = recovered.interrupted,
            transfers = recovered.unknown,
            "an earlier run ended with these in hand; they are checked before they are sent again"
        );
    }
}

fn lock(data_dir: &Path) -> anyhow::Result<File> {
    match take_lock(data_dir) {
        Ok(file) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(InUse(data_dir.to_owned()).into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", data_dir.display())),
    }
}
