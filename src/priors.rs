//! Priors: what archives and other sites hold of a patient, found and fetched for the nodes of this one.

pub mod archive;
pub mod fetch;
pub mod gather;
pub mod marker;
pub mod merge;
pub mod prefetch;
pub mod search;
pub mod silence;
pub mod watch;
pub mod whom;
pub mod worklist;

use crate::dicom::cross_reference::{Link, LocalId};
use crate::dicom::uid::StudyUid;
use crate::dicomweb::client::PeerClient;
use crate::peers::{Node, Origin, Registry};
use crate::records::Records;
use jiff::Zoned;
use silence::{Memory, Silences};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;
use whom::Patient;

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
    /// How the silence of a site is remembered.
    pub memory: Memory,
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
    /// Searches that may begin still.
    seats: Arc<Semaphore>,
    /// What the UIDs of markers are made with.
    key: Arc<[u8]>,
    /// Who kept silent lately.
    silences: Silences,
}

/// Now, as people of this site read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The day, counted from year 1 of the calendar.
    pub day: i64,
    /// As DA.
    pub date: String,
    /// As TM, without fractions.
    pub moment: String,
    /// Hours and minutes, for people.
    pub time: String,
}

impl Clock {
    /// The time now, in the zone of this machine.
    pub fn now() -> Self {
        let now = Zoned::now();
        let text = |format: &str| now.strftime(format).to_string();
        let date = text("%Y%m%d");
        Self { day: date.parse().unwrap_or_default(), date, moment: text("%H%M%S"), time: text("%H:%M") }
    }
}

impl Priors {
    /// Priors of these sites; the receiver follows the configuration. For the key see [`Priors::marker_key`].
    pub fn new(records: Records, sites: Receiver<Arc<Sites>>, key: &[u8]) -> Self {
        let seats = Arc::new(Semaphore::new(search::AT_ONCE));
        Self { records, sites, seats, key: key.into(), silences: Silences::default() }
    }

    /// What the UIDs of markers are made with, so that they tell nobody's number.
    pub fn marker_key(&self) -> &[u8] {
        &self.key
    }

    /// The patient whom a node names by a Patient ID and perhaps an issuer; `None` if it names nobody.
    pub fn named(&self, registry: &Registry, node: &Node, id: &str, issuer: Option<&str>) -> Option<Patient> {
        whom::named(node, &registry.issuer(&Origin::Node(node.ae_title.clone())), id, issuer)
    }

    /// The same patient with the NHS number that the cross-reference knows for its own number, and the birth date that confirms it
    /// ("Whom to ask for priors"; IDY-041). Where it knows none for sure, other sites are not asked, which the answer shows.
    /// `birth_date` is what the asker knows of it.
    pub async fn linked(&self, patient: Patient, birth_date: Option<String>) -> Patient {
        let own = LocalId::new(&patient.issuer, &patient.id).filter(|_| patient.nhs.is_none());
        let Some(who) = own else { return patient };
        let birth_dates = self.records.birth_dates(who.clone()).await;
        let link = self.records.nhs_number_of(who, birth_date.clone()).await;
        match (link, birth_dates) {
            (Ok(Link::To(number)), Ok(dates)) => {
                let date = dates.into_iter().chain(birth_date).find(|date| !date.is_empty()).unwrap_or_default();
                patient.linked(number, &date)
            }
            (Ok(Link::Nobody(_)), Ok(_)) => patient,
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(error = %error, "the cross-reference cannot be read; other sites are not asked by an NHS number");
                patient
            }
        }
    }

    /// The sites as they are configured now.
    pub fn sites(&self) -> Arc<Sites> {
        Arc::clone(&self.sites.borrow())
    }

    /// The configured sites that have shown a study, who showed it last first; all of them if none has (DIM-070).
    pub async fn holders(&self, study: &StudyUid) -> Vec<Site> {
        let holders = self.known_holders(study).await;
        if holders.is_empty() { self.sites().sites.clone() } else { holders }
    }

    /// The configured sites that have shown a study, who showed it last first.
    pub async fn known_holders(&self, study: &StudyUid) -> Vec<Site> {
        let sites = self.sites();
        let known = self.records.holders(study).await.unwrap_or_else(|error| {
            tracing::error!(error = %error, "who holds a study cannot be looked up; all sites are asked");
            Vec::new()
        });
        known.iter().filter_map(|holder| sites.site(&holder.peer).cloned()).collect()
    }
}
