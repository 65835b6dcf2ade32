//! Carries a batch to a node by C-STORE, one association a batch (PS3.4 annex B).

use super::body::{BodyError, Fault, Plan};
use super::carrier::Report;
use super::data_set::DataSet;
use super::foreign::{self, Decision};
use super::verdict;
use crate::dicom::rewrite::{Edits, Found, RewriteError, Survey};
use crate::dicom::transfer_syntax::{self, Encoding};
use crate::dimse::{self, Lost, Offer, Scu, ScuError, Source, SourceError, StoreCommand, StoreFailure, Target};
use crate::ledger::outcome::{Charge, Outcome};
use crate::peers::{Foreign, Origin};
use crate::records::{Batch, Leased};
use crate::store::Store;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Takes batches to one node.
pub struct StoreScu {
    target: Target,
    store: Store,
    foreigners: Foreigners,
}

/// How other sites' patients reach the node.
pub struct Foreigners {
    /// The node's `foreign`.
    pub mode: Foreign,
    /// The name of this site, for the record in the object.
    pub site: String,
    /// The `issuer` of each peer that has one.
    pub issuers: BTreeMap<String, String>,
}

impl StoreScu {
    /// A carrier to this node.
    pub fn new(target: Target, store: Store, foreigners: Foreigners) -> Self {
        Self { target, store, foreigners }
    }

    pub(super) async fn carry(&self, batch: &Batch) -> Report {
        let offers = offers(&batch.items);
        let offered = |item: &&Leased| {
            let mine = |offer: &Offer| {
                offer.abstract_syntax == item.sop_class.as_str()
                    && offer.transfer_syntaxes.iter().any(|syntax| syntax == item.transfer_syntax.as_str())
            };
            offers.iter().any(mine)
        };
        let (now, next): (Vec<&Leased>, Vec<&Leased>) = batch.items.iter().partition(offered);
        let mut report =
            self.carry_offered(&offers, &Batch { items: now.into_iter().cloned().collect(), ..batch.clone() }).await;
        for item in next {
            let why = "an association has 128 presentation contexts at most; goes with the next one".to_owned();
            let outcome = Outcome::Deferred { why, charge: Charge::Us, after: Some(Duration::ZERO) };
            report.outcomes.push((item.transfer, outcome));
        }
        report
    }

    async fn carry_offered(&self, offers: &[Offer], batch: &Batch) -> Report {
        match dimse::connect(&self.target, offers).await {
            Ok(association) => self.send_all(association, batch).await,
            Err(error) => {
                let why = error.to_string();
                let parked = needs_repair(&error);
                let outcome = match parked {
                    true => Outcome::Parked { why: why.clone() },
                    false => Outcome::Deferred { why: why.clone(), charge: Charge::Destination, after: None },
                };
                let outcomes = batch.items.iter().map(|item| (item.transfer, outcome.clone())).collect();
                Report { outcomes, detail: why, unusable: true, ..Report::default() }
            }
        }
    }

    async fn send_all(&self, mut association: Scu, batch: &Batch) -> Report {
        let mut report = Report::default();
        let mut broken: Option<Broken> = None;
        for item in &batch.items {
            match &broken {
                Some(Broken { why, charge }) => {
                    let outcome = Outcome::Deferred { why: format!("not sent: {why}"), charge: *charge, after: None };
                    report.outcomes.push((item.transfer, outcome));
                }
                None => {
                    let (fault, lost) = self.send_one(&mut association, item).await;
                    report.fault(item, fault);
                    broken = lost;
                }
            }
        }
        let stored = report.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Accepted { .. })).count();
        report.detail = format!("C-STORE: {stored} of {} stored", batch.items.len());
        match broken {
            None => {
                // The answers count; a node that mishandles the release changes nothing of them.
                let _ = association.release().await;
            }
            Some(Broken { why, charge }) => {
                association.abort().await;
                report.detail = format!("{}; {why}", report.detail);
                report.unusable = charge == Charge::Destination;
            }
        }
        report
    }

    /// What became of one instance, and why the association can be used no longer.
    async fn send_one(&self, association: &mut Scu, item: &Leased) -> (Fault, Option<Broken>) {
        let (context_id, plan) = match self.plan(association, item).await {
            Ok(planned) => planned,
            Err(fault) => return (fault, None),
        };
        let data = match DataSet::open(&self.store, item, &plan).await {
            Ok(data) => data,
            Err(error) => return (error.fault(), None),
        };
        let command = StoreCommand {
            context_id,
            sop_class: item.sop_class.to_string(),
            sop_instance: item.sop_instance.to_string(),
            priority: 0,
            move_originator: None,
        };
        let mut source = Outgoing { data, fault: None };
        let answered = association.store(command, Some(plan.length), &mut source).await;
        let destination = |why: &str| Some(Broken { why: why.to_owned(), charge: Charge::Destination });
        match answered {
            Ok(response) => {
                let comment = response.comment.as_deref().unwrap_or("");
                (verdict::c_store(response.status.0, comment).into(), None)
            }
            Err(StoreFailure::Source(error)) => {
                let why = error.to_string();
                let untold = Outcome::Deferred { why: why.clone(), charge: Charge::Us, after: None };
                let lost = (!association.is_alive()).then_some(Broken { why, charge: Charge::Us });
                (source.fault.unwrap_or_else(|| untold.into()), lost)
            }
            Err(StoreFailure::NotSent(error) | StoreFailure::Incomplete(error)) => {
                let why = error.to_string();
                let outcome = Outcome::Deferred { why: why.clone(), charge: Charge::Destination, after: None };
                (outcome.into(), destination(&why))
            }
            Err(StoreFailure::Unanswered(error)) => {
                let why = format!("sent, but not answered: {error}");
                (Outcome::Unknown { why: why.clone() }.into(), destination(&why))
            }
        }
    }

    /// In which context an instance goes, in which syntax, and with which changes; or why it does not go (DIM-050).
    async fn plan(&self, association: &Scu, item: &Leased) -> Result<(u8, Plan), Fault> {
        let class = item.sop_class.as_str();
        let edits = self.edits(item).await?;
        let native_big = transfer_syntax::encoding(&item.transfer_syntax) == Encoding::ExplicitBig;
        let as_stored = context_for(association, class, item.transfer_syntax.as_str());
        let (context, mut plan) = match as_stored.filter(|_| edits.is_none() || !native_big) {
            Some(context) => (context, Plan::as_stored(item)),
            None => {
                let explicit = context_for(association, class, transfer_syntax::EXPLICIT_VR_LE);
                let possible = !transfer_syntax::allowed_on_the_web(&item.transfer_syntax);
                let context = explicit.filter(|_| possible).ok_or_else(|| refused(item))?;
                (context, Plan::re_encoded(item).map_err(|error| error.fault())?)
            }
        };
        plan.edits = edits;
        let plan = plan.measured(&self.store, item).await.map_err(|error| error.fault())?;
        Ok((context, plan))
    }

    /// What must be changed in another site's instance for this node; `None` for our own, and where nothing must be.
    async fn edits(&self, item: &Leased) -> Result<Option<Edits>, Fault> {
        let Origin::Peer(name) = &item.origin else { return Ok(None) };
        if self.foreigners.mode == Foreign::AsIs {
            return Ok(None);
        }
        let issuer = self.foreigners.issuers.get(name).map(String::as_str);
        let stamp = foreign::Stamp { site: &self.foreigners.site, received: item.received };
        let found = self.survey(item).await.map_err(|error| error.fault())?;
        match foreign::decide(self.foreigners.mode, foreign::Source { name, issuer }, stamp, &found) {
            Decision::AsIs => Ok(None),
            Decision::Edit { edits, .. } => Ok(Some(edits)),
            Decision::Hold(reason) => Err(Outcome::Held { why: reason.to_string() }.into()),
        }
    }

    /// Reads as much of an instance as the decision needs.
    async fn survey(&self, item: &Leased) -> Result<Found, BodyError> {
        let unreadable = |error: RewriteError| BodyError::Rewrite(error.to_string());
        let base = match transfer_syntax::encoding(&item.transfer_syntax) {
            Encoding::ExplicitBig => Plan::re_encoded(item)?,
            _ => Plan::as_stored(item),
        };
        let mut survey = Survey::new(&base.transfer_syntax, &self.foreigners.site).map_err(unreadable)?;
        let mut data = DataSet::open(&self.store, item, &base).await?;
        while let Some(bytes) = data.next().await? {
            if survey.push(&bytes).map_err(unreadable)? {
                break;
            }
        }
        survey.finish().map_err(unreadable)
    }

    /// A node has no way to be asked, other than by sending again; the same content is harmless there (FLT-043).
    pub(super) fn check(&self, batch: &Batch) -> Report {
        let why = "a node cannot be asked; sent again";
        let outcomes = batch.items.iter().map(|item| (item.transfer, Outcome::Absent { why: why.into() })).collect();
        Report { outcomes, detail: why.into(), unusable: false, ..Report::default() }
    }
}

/// Why an instance cannot go in any context that the node accepted.
fn refused(item: &Leased) -> Fault {
    let (class, syntax) = (&item.sop_class, &item.transfer_syntax);
    let why = format!("the node accepts neither SOP class {class} in transfer syntax {syntax} nor re-encoded");
    Outcome::Dead { why }.into()
}

/// One context for each class and syntax as stored, then one for each class in Explicit VR Little Endian where we can
/// re-encode to it, as many as an association can have (DIM-003).
fn offers(items: &[Leased]) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut offer = |class: &str, syntax: &str| {
        let new = Offer { abstract_syntax: class.to_owned(), transfer_syntaxes: vec![syntax.to_owned()] };
        if !offers.contains(&new) && offers.len() < 128 {
            offers.push(new);
        }
    };
    for item in items {
        offer(item.sop_class.as_str(), item.transfer_syntax.as_str());
    }
    for item in items {
        if !transfer_syntax::allowed_on_the_web(&item.transfer_syntax) {
            offer(item.sop_class.as_str(), transfer_syntax::EXPLICIT_VR_LE);
        }
    }
    offers
}

/// The accepted context for a class in a syntax.
fn context_for(association: &Scu, class: &str, syntax: &str) -> Option<u8> {
    let found =
        association.accepted().find(|context| context.abstract_syntax == class && context.transfer_syntax == syntax);
    found.map(|context| context.id)
}

/// Whether a person must put something right: a permanent rejection is a fault of configuration (DIM-012), and
/// certificates do not mend themselves.
fn needs_repair(error: &ScuError) -> bool {
    match error {
        ScuError::Rejected { result, .. } => *result == 1,
        ScuError::Tls { error, .. } => matches!(error, Some(rustls::Error::InvalidCertificate(_))),
        ScuError::IdentityIgnored | ScuError::Offers => true,
        ScuError::Lost(Lost::Aborted { .. }) => false,
        _ => false,
    }
}

/// Why an association ended before its batch did, and whose doing it was.
struct Broken {
    why: String,
    charge: Charge,
}

/// A data set on its way into an association.
struct Outgoing {
    data: DataSet,
    fault: Option<Fault>,
}

impl Source for Outgoing {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        match self.data.next().await {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                self.fault = Some(error.fault());
                Err(SourceError(error.into()))
            }
        }
    }
}
