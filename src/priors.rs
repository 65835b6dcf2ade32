//! Priors: what archives and other sites hold of a patient, found and fetched for the nodes of this one.

pub mod archive;
pub mod fetch;
pub mod gather;
pub mod marker;
pub mod watch;

use crate::dicomweb::client::PeerClient;
use crate::records::Records;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// Another site as it is asked for priors.
#[derive(Debug, Clone)]
pub struct Site {
    /// The peer's name.
    pub name: String,
    /// Who issued the patient identifiers that it sends without one.
    pub issuer: Option<String>,
    /// Its DICOMweb service. Its connections are not those of the deliveries: neither waits for the other.
    pub client: PeerClient,
    /// How long it may take to answer a query.
    pub timeout: Duration,
}

/// The sites that are asked for priors, and how long a query waits for all of them.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    /// In the order of the configuration.
    pub sites: Vec<Site>,
    /// How long a query waits.
    pub deadline: Duration,
}

impl Sites {
    /// The site of this name.
    pub fn site(&self, name: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.name == name)
    }
}

/// Asks other sites. Cheap to clone.
#[derive(Clone)]
pub struct Priors {
    records: Records,
    sites: Receiver<Arc<Sites>>,
}

impl Priors {
    /// Priors of these sites; the receiver follows the configuration.
    pub fn new(records: Records, sites: Receiver<Arc<Sites>>) -> Self {
        Self { records, sites }
    }

    /// The sites as they are configured now.
    pub fn sites(&self) -> Arc<Sites> {
        Arc::clone(&self.sites.borrow())
    }

    /// The configured sites that have shown a study, who showed it last first; all of them if none has (DIM-070).
    pub async fn holders(&self, study: &crate::dicom::uid::StudyUid) -> Vec<Site> {
        let sites = self.sites();
        let known = self.records.holders(study).await.unwrap_or_else(|error| {
            tracing::error!(error = %error, "who holds a study cannot be looked up; all sites are asked");
            Vec::new()
        });
        let holders: Vec<Site> = known.iter().filter_map(|holder| sites.site(&holder.peer).cloned()).collect();
        if holders.is_empty() { sites.sites.clone() } else { holders }
    }
}
