//! The configuration: one file, read whole, valid or refused with every mistake at once.
//!
//! raw.rs holds the file as written, values.rs how single values are written; site.rs, parties.rs, routes.rs and limits.rs
//! read a table each into its valid form; check.rs compares them. What comes out needs no further check. Every key is
//! described in config/weybridge.toml, which a test holds equal to this code.

mod check;
mod hl7;
mod limits;
mod mistakes;
mod parties;
mod prefetch;
mod priors;
mod raw;
mod routes;
mod site;
mod template;
#[cfg(test)]
mod tests;
mod values;
mod viewer;
mod withhold;
mod worklist;

pub use hl7::Hl7;
pub use limits::{Courier, Limits, Retention, StoreSettings, Timers};
pub use mistakes::{ConfigErrors, Mistake};
pub use priors::Priors;
pub use site::{Dicom, Site, Tls, Web};
pub use template::init_template;
pub use viewer::Viewer;
pub use withhold::EMPTY_LIST;

use crate::peers::{Node, Peer, Registry, Withhold};
use crate::priors::prefetch::Rule;
use crate::priors::worklist::Polling;
use crate::router::Route;
use mistakes::Mistakes;
use raw::Table;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use toml::de::DeTable;

/// Largest configuration file, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// Who this site is.
    pub site: Site,
    /// The face towards nodes.
    pub dicom: Dicom,
    /// The face towards peers.
    pub web: Web,
    /// Where orders are heard.
    pub hl7: Hl7,
    /// Keys and trust; present whenever a face or a peer needs them.
    pub tls: Option<Tls>,
    /// Local DICOM nodes, in the order of the file.
    pub nodes: Vec<Node>,
    /// Other sites, in the order of the file.
    pub peers: Vec<Peer>,
    /// Routes, in the order of the file.
    pub routes: Vec<Route>,
    /// What is withheld from whom, in the order of the file.
    pub withhold: Vec<Withhold>,
    /// How long things may take.
    pub timers: Timers,
    /// How much is taken.
    pub limits: Limits,
    /// How deliveries are made.
    pub courier: Courier,
    /// How blobs are kept.
    pub store: StoreSettings,
    /// How long they are kept.
    pub retention: Retention,
    /// How other sites are asked for what they hold.
    pub priors: Priors,
    /// Which priors are pulled before anybody asks, in the order of the file.
    pub prefetch: Vec<Rule>,
    /// Which nodes are asked for what is scheduled, in the order of the file.
    pub worklists: Vec<Polling>,
    /// The face towards viewers on this machine, if there is one.
    pub viewer: Option<Viewer>,
    /// What works but should be looked at: expiring certificates, rights without effect.
    pub warnings: Vec<Mistake>,
}

impl Config {
    /// Reads a file and those that it names. Relative paths are taken from its directory (UIX-11).
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let fail = |why: &str, hint| mistakes::unreadable(path, format!("cannot read the configuration: {why}"), hint);
        let unread = |error: io::Error| fail(&error.to_string(), what_to_do(error.kind()));
        let size = std::fs::metadata(path).map_err(unread)?.len();
        if size > LARGEST_FILE {
            return Err(fail(&format!("it has {size} bytes; at most {LARGEST_FILE} are allowed"), ""));
        }
        let text = std::fs::read_to_string(path).map_err(unread)?;
        Self::parse(&text, path, SystemTime::now())
    }

    /// `[site]` alone of a file that is wrong elsewhere: who only reads needs no more. `None` if that cannot be had either.
    pub fn site_of(path: &Path) -> Option<Site> {
        let length = std::fs::metadata(path).ok()?.len();
        let text = std::fs::read_to_string(path).ok().filter(|_| length <= LARGEST_FILE)?;
        let mistakes = Mistakes::new(path, &text);
        let (document, _) = DeTable::parse_recoverable(&text);
        let site = {
            let mut document = Table::document(document.get_ref(), &mistakes);
            site::site(document.table("site"), path.parent().unwrap_or(Path::new("")))
        };
        mistakes.end().0.is_ok().then_some(site)
    }

    /// The same for a text that is, or would be, the file `path`; `now` decides about certificates.
    pub fn parse(text: &str, path: &Path, now: SystemTime) -> Result<Self, ConfigErrors> {
        parse(text, path, now).0
    }

    /// Everybody who may call or be called. The titles that answer are our own and each that a route names in `called`.
    pub fn registry(&self) -> Registry {
        let called = self.routes.iter().flat_map(|route| &route.called);
        let ours = std::iter::once(&self.dicom.ae_title).chain(called).cloned();
        let issuer = self.site.ods_code.clone().unwrap_or_else(|| self.site.name.clone());
        Registry::new(ours, self.nodes.clone(), self.peers.clone())
            .issued_by(issuer)
            .withholding(self.withhold.clone())
            .matching_unknown(self.dicom.match_unknown)
            .asking_as(self.site.name.clone(), self.site.purpose.clone())
    }
}

/// What to do about a file that cannot be read.
fn what_to_do(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "`weybridge init` writes one to start from; --config or WEYBRIDGE_CONFIG names another"
        }
        io::ErrorKind::PermissionDenied => "the gateway's user may read it: try `sudo -u` and that user's name",
        _ => "",
    }
}

/// Reads the text; returns also every key that the code asked for, as `table.key`.
fn parse(text: &str, path: &Path, now: SystemTime) -> (Result<Config, ConfigErrors>, BTreeSet<String>) {
    let mistakes = Mistakes::new(path, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    // What does not even parse is shown alone: everything else would be guesswork.
    let config = match errors.is_empty() {
        true => read(Table::document(document.get_ref(), &mistakes), path, now, &mistakes),
        false => None,
    };
    for error in &errors {
        mistakes.wrong(error.span(), format!("this is not TOML: {}", error.message()), "");
    }
    let (result, known) = mistakes.end();
    let result = result.and_then(|warnings| match config {
        Some(config) => Ok(Config { warnings, ..config }),
        None => Err(mistakes::unreadable(path, "this is not TOML".into(), "")),
    });
    (result, known)
}

fn read(mut document: Table<'_>, path: &Path, now: SystemTime, mistakes: &Mistakes<'_>) -> Option<Config> {
    let base = path.parent().unwrap_or(Path::new(""));
    let site = site::site(document.table("site"), base);
    let (dicom, web) = (document.table("dicom"), document.table("web"));
    let listens = dicom.has("listen") || dicom.has("tls_listen") || web.has("listen");
    check::anybody(listens, document.has("node") || document.has("peer"), mistakes);
    let (dicom, mut listeners) = site::dicom(dicom)?;
    let (web, web_listener) = site::web(web);
    listeners.extend(web_listener);
    let (hl7, hl7_listener) = hl7::hl7(document.table("hl7"));
    listeners.extend(hl7_listener);
    let tls_table = document.table("tls");
    let has_tls = tls_table.present();
    let tls = site::tls(tls_table, base, now);
    let timers = limits::timers(document.table("timers"));
    let limits = limits::limits(document.table("limits"));
    let courier = limits::courier(document.table("courier"));
    let store = limits::store(document.table("store"));
    let retention = limits::retention(document.table("retention"), store.reserve_bytes);
    let priors = priors::priors(document.table("priors"));
    let mut nodes: Vec<_> = document.tables("node").into_iter().filter_map(|t| parties::node(t, base)).collect();
    let (viewer, viewer_listener) = viewer::viewer(document.table("viewer"), base, &mut nodes).unzip();
    listeners.extend(viewer_listener);
    let peers: Vec<_> = document.tables("peer").into_iter().filter_map(|t| parties::peer(t, base, now)).collect();
    let routes: Vec<_> = document.tables("route").into_iter().filter_map(routes::route).collect();
    let withhold: Vec<_> =
        document.tables("withhold").into_iter().filter_map(|t| withhold::withhold(t, base)).collect();
    let prefetch: Vec<_> = document.tables("prefetch").into_iter().filter_map(prefetch::prefetch).collect();
    let worklists: Vec<_> = document.tables("worklist").into_iter().filter_map(worklist::worklist).collect();
    document.finish();
    check::listeners(&listeners, has_tls, mistakes);
    check::parties(&nodes, &peers, &listeners, has_tls, mistakes);
    check::callers(&nodes, mistakes);
    check::moves(&nodes, mistakes);
    check::archives(&nodes, &routes, &dicom.ae_title, mistakes);
    check::identities(&peers, mistakes);
    check::worklists(&worklists, &nodes, mistakes);
    check::route_names(&routes, mistakes);
    let names = check::Names::collect(&nodes, &peers, mistakes);
    let routes = routes.into_iter().map(|entry| names.route(entry, mistakes)).collect();
    let withhold = names.withhold(withhold, mistakes);
    let prefetch = names.prefetch(prefetch, mistakes);
    check::days_ahead(&worklists, &prefetch, priors.keep, mistakes);
    Some(Config {
        path: path.to_owned(),
        site,
        dicom,
        web,
        hl7,
        tls,
        nodes: nodes.into_iter().map(|entry| entry.node).collect(),
        peers: peers.into_iter().map(|entry| entry.peer).collect(),
        routes,
        withhold,
        timers,
        limits,
        courier,
        store,
        retention,
        priors,
        prefetch,
        worklists: worklists.into_iter().map(|entry| entry.polling).collect(),
        viewer,
        warnings: Vec::new(),
    })
}
