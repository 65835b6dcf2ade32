//! Carries a batch to a node by C-STORE, over as many associations as its contexts need, one after the other (PS3.4 annex
//! B; DIM-003).

use super::body::{BodyError, Fault, Plan};
use super::carrier::Report;
use super::data_set::DataSet;
use super::foreign::{self, Case, Decision, Policy};
use super::linger::Linger;
use super::offers::{Group, groups};
use super::verdict::{self, Judged};
use crate::dicom::nhs_number::is_issuer;
use crate::dicom::patient::{Judgement, Patient, judge};
use crate::dicom::rewrite::{Edits, Found, RewriteError, Survey};
use crate::dicom::transcode::Transcoder;
use crate::dicom::transfer_syntax::{self, EXPLICIT_VR_LE, Encoding, IMPLICIT_VR_LE};
use crate::dicom::uid::{StudyUid, TransferSyntaxUid};
use crate::dimse::{self, Lost, Scu, ScuError, Source, SourceError, StoreCommand, StoreFailure, Target};
use crate::ledger::outcome::{Charge, Outcome};
use crate::peers::{Foreign, Origin};
use crate::records::{Batch, KnownPatient, Leased, Records, RecordsError};
use crate::store::Store;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is stored in more bytes than these is changed without a dry pass.
const DRY_PASS: u64 = 2 << 20;

/// Takes batches to one node.
pub struct StoreScu {
    target: Box<Target>,
    store: Store,
    foreigners: Foreigners,
    linger: Linger,
}

/// How other sites' patients reach the node.
pub struct Foreigners {
    /// The node's policy.
    pub policy: Policy,
    /// The name of this site, for the record in the object.
    pub site: String,
    /// The `issuer` of each peer that has one.
    pub issuers: BTreeMap<String, String>,
    /// Where our own patients are known.
    pub records: Records,
    /// The nodes whose Patient IDs are NHS numbers.
    pub nhs_nodes: BTreeSet<String>,
}

impl StoreScu {
    /// A carrier to this node. An association stays open for `linger` after a batch, for the next one of its study.
    pub fn new(target: Target, store: Store, foreigners: Foreigners, linger: Duration) -> Self {
        Self { target: Box::new(target), store, foreigners, linger: Linger::new(linger) }
    }

    pub(super) async fn carry(&self, batch: &Batch) -> Report {
        let mut report = Report::default();
        for group in groups(&batch.items) {
            match report.unusable {
                true => {
                    let untouched = deferred(format!("not sent: {}", report.detail), Charge::Destination);
                    report.outcomes.extend(group.items.iter().map(|item| (item.transfer, untouched.clone())));
                }
                false => self.carry_group(&batch.study, &group, &mut report).await,
            }
        }
        let stored = report.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Accepted { .. })).count();
        let trouble = if report.detail.is_empty() { String::new() } else { format!("; {}", report.detail) };
        report.detail = format!("C-STORE: {stored} of {} stored{trouble}", batch.items.len());
        report
    }

    /// Sends what goes over one association. One that stayed open from the last batch may have been closed meanwhile: if its
    /// first instance gets no answer, that is no fault of the node's, and all goes over a new one.
    async fn carry_group(&self, study: &StudyUid, group: &Group<'_>, report: &mut Report) {
        if let Some(association) = self.linger.take(study, &group.offers).await
            && self.send_all(association, study, group, report, true).await
        {
            return;
        }
        match dimse::connect(&self.target, &group.offers).await {
            Ok(association) => {
                self.send_all(association, study, group, report, false).await;
            }
            Err(error) => {
                let why = error.to_string();
                let outcome = match needs_repair(&error) {
                    true => Outcome::Parked { why: why.clone() },
                    false => deferred(why.clone(), Charge::Destination),
                };
                report.outcomes.extend(group.items.iter().map(|item| (item.transfer, outcome.clone())));
                (report.detail, report.unusable) = (why, true);
            }
        }
    }

    /// Sends a group; tells whether that counts, which it does not if a `stale` association turns out to be closed.
    async fn send_all(
        &self,
        mut association: Scu,
        study: &StudyUid,
        group: &Group<'_>,
        report: &mut Report,
        stale: bool,
    ) -> bool {
        let mut broken: Option<Broken> = None;
        for (at, item) in group.items.iter().enumerate() {
            if let Some(Broken { why, charge }) = &broken {
                report.outcomes.push((item.transfer, deferred(format!("not sent: {why}"), *charge)));
                continue;
            }
            let (fault, lost) = self.send_one(&mut association, item).await;
            if stale && at == 0 && lost.as_ref().is_some_and(|lost| lost.charge == Charge::Destination) {
                association.abort().await;
                return false;
            }
            report.fault(item, fault);
            broken = lost;
        }
        match broken {
            None => self.linger.leave(study, &group.offers, association).await,
            Some(Broken { why, charge }) => {
                association.abort().await;
                report.detail = why;
                report.unusable = charge == Charge::Destination;
            }
        }
        true
    }

    /// What became of one instance, and why the association can be used no longer. What the node could not make sense of is
    /// sent once more natively if it had gone compressed: some accept syntaxes that they cannot read (DIM-054).
    async fn send_one(&self, association: &mut Scu, item: &Leased) -> (Fault, Option<Broken>) {
        let (context, plan, length) = match self.plan(association, item, false).await {
            Ok(planned) => planned,
            Err(fault) => return (fault, None),
        };
        let transcoded = plan.transcode;
        let refusal = match self.send_as(association, item, context, plan, length).await {
            Sent::Answered(Judged::Syntax(refusal)) => refusal,
            Sent::Answered(Judged::Outcome(outcome)) => return (outcome.into(), None),
            Sent::Answered(Judged::There) => return (doubtful().into(), None),
            Sent::Failed(fault, broken) => return (fault, broken),
        };
        if transcoded || native(&item.transfer_syntax) {
            return (refusal.into(), None);
        }
        let Ok((context, plan, length)) = self.plan(association, item, true).await else {
            return (refusal.into(), None);
        };
        match self.send_as(association, item, context, plan, length).await {
            Sent::Answered(Judged::Outcome(outcome) | Judged::Syntax(outcome)) => (outcome.into(), None),
            Sent::Answered(Judged::There) => (doubtful().into(), None),
            Sent::Failed(fault, broken) => (fault, broken),
        }
    }

    /// Sends one instance as it is planned.
    async fn send_as(
        &self,
        association: &mut Scu,
        item: &Leased,
        context_id: u8,
        plan: Plan,
        length: Option<u64>,
    ) -> Sent {
        let data = match DataSet::open(&self.store, item, &plan).await {
            Ok(data) => data,
            Err(error) => return Sent::Failed(error.fault(), None),
        };
        let command = StoreCommand {
            context_id,
            sop_class: item.sop_class.to_string(),
            sop_instance: item.sop_instance.to_string(),
            priority: 0,
            move_originator: None,
        };
        let mut source = Outgoing { data, fault: None };
        let answered = association.store(command, length, &mut source).await;
        let destination = |why: &str| Some(Broken { why: why.to_owned(), charge: Charge::Destination });
        match answered {
            Ok(response) => {
                let comment = response.comment.as_deref().unwrap_or("");
                Sent::Answered(changed(verdict::c_store(response.status.0, comment), plan.transform.as_deref()))
            }
            Err(StoreFailure::Source(error)) => {
                let why = error.to_string();
                let untold = Outcome::Deferred { why: why.clone(), charge: Charge::Us, after: None };
                let lost = (!association.is_alive()).then_some(Broken { why, charge: Charge::Us });
                Sent::Failed(source.fault.unwrap_or_else(|| untold.into()), lost)
            }
            Err(StoreFailure::NotSent(error) | StoreFailure::Incomplete(error)) => {
                let why = error.to_string();
                let outcome = Outcome::Deferred { why: why.clone(), charge: Charge::Destination, after: None };
                Sent::Failed(outcome.into(), destination(&why))
            }
            Err(StoreFailure::Unanswered(error)) => {
                let why = format!("sent, but not answered: {error}");
                Sent::Failed(Outcome::Unknown { why: why.clone() }.into(), destination(&why))
            }
        }
    }

    /// In which context an instance goes, in which syntax, and with which changes; or why it does not go (DIM-050). As it
    /// is stored if the node accepted that, else natively, its pixels decoded if they are compressed (DIM-007).
    ///
    /// The length is known for what goes unchanged, and by a dry pass for what is short: so an object that cannot be changed as
    /// it must be costs nothing but itself. A long one would keep the node waiting; it is found out while it is sent, and the
    /// association is aborted (DIM-053).
    /// With `natively`, not as it is stored.
    async fn plan(&self, association: &Scu, item: &Leased, natively: bool) -> Result<(u8, Plan, Option<u64>), Fault> {
        let class = item.sop_class.as_str();
        let (edits, transform) = self.edits(item).await?.unzip();
        let unchanged = !natively && (edits.is_none() || !is_opaque(item));
        let stored = item.transfer_syntax.as_str();
        let as_stored = unchanged.then(|| context_for(association, class, stored)).flatten();
        let (context, mut plan) = match as_stored {
            Some(context) => (context, Plan::as_stored(item)),
            None => {
                let natively = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].into_iter().find_map(|syntax| {
                    Transcoder::between(&item.transfer_syntax, syntax)?;
                    Some((context_for(association, class, syntax)?, syntax))
                });
                let (context, syntax) = natively.ok_or_else(|| refused(item))?;
                (context, Plan::re_encoded_to(item, syntax).map_err(|error| error.fault())?)
            }
        };
        (plan.edits, plan.transform) = (edits, transform);
        let unchanged = !plan.transcode && plan.edits.is_none();
        if !unchanged && item.length > DRY_PASS {
            return Ok((context, plan, None));
        }
        let plan = plan.measured(&self.store, item).await.map_err(|error| error.fault())?;
        let length = plan.length;
        Ok((context, plan, Some(length)))
    }

    /// What must be changed in another site's instance for this node; `None` for our own, and where nothing must be.
    async fn edits(&self, item: &Leased) -> Result<Option<(Edits, String)>, Fault> {
        let Origin::Peer(name) = &item.origin else { return Ok(None) };
        let policy = self.foreigners.policy;
        if policy.mode == Foreign::AsIs && !policy.mark_imported {
            return Ok(None);
        }
        let issuer = self.foreigners.issuers.get(name).map(String::as_str);
        let stamp = foreign::Stamp { site: &self.foreigners.site, received: item.received };
        let found = self.survey(item).await.map_err(|error| error.fault())?;
        let source = foreign::Source { name, issuer };
        let judged = match policy.mode {
            Foreign::Hold => self.judge(&foreign::patient(source, &found)).await?,
            _ => Judgement::NoNumber,
        };
        let case = Case { found: &found, judged, released: &item.released };
        match foreign::decide(policy, source, stamp, case) {
            Decision::AsIs => Ok(None),
            Decision::Edit { edits, transform } => Ok(Some((edits, transform))),
            Decision::Hold(reason) => Err(Outcome::Held { why: reason.to_string() }.into()),
        }
    }

    /// Whether a patient is surely one of ours: of those who came from our nodes under this NHS number (IDY-044).
    async fn judge(&self, foreign: &Patient) -> Result<Judgement, Fault> {
        let Some(number) = foreign.number else { return Ok(Judgement::NoNumber) };
        let unreadable = |error: RecordsError| {
            Fault::from(deferred(format!("whose number it is cannot be read: {error}"), Charge::Us))
        };
        let known = self.foreigners.records.patients_of(number).await.map_err(unreadable)?;
        let counts = |patient: &KnownPatient| {
            let said = patient.issuer.as_deref().is_some_and(is_issuer);
            said || patient.nodes.iter().any(|node| self.foreigners.nhs_nodes.contains(node))
        };
        let ours: Vec<Patient> = known.into_iter().filter(counts).map(|known| known.patient).collect();
        Ok(judge(foreign, &ours))
    }

    /// Reads as much of an instance as the decision needs.
    async fn survey(&self, item: &Leased) -> Result<Found, BodyError> {
        let unreadable = |error: RewriteError| BodyError::Rewrite(error.to_string());
        let base = if is_opaque(item) { Plan::re_encoded(item)? } else { Plan::as_stored(item) };
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

/// What was accepted says by which rules it was changed (IDY-034).
fn changed(judged: Judged, transform: Option<&str>) -> Judged {
    match (judged, transform) {
        (Judged::Outcome(Outcome::Accepted { evidence }), Some(transform)) => {
            Judged::Outcome(Outcome::Accepted { evidence: format!("{evidence}; changed by {transform}") })
        }
        (judged, _) => judged,
    }
}

/// Why an instance cannot go in any context that the node accepted.
fn refused(item: &Leased) -> Fault {
    let (class, syntax) = (&item.sop_class, &item.transfer_syntax);
    let why = format!(
        "the node accepts neither SOP class {class} in transfer syntax {syntax} nor natively in one that we can make of it"
    );
    Outcome::Dead { why }.into()
}

/// Whether changes can be made only after re-encoding: in big endian and deflated data sets.
fn is_opaque(item: &Leased) -> bool {
    let encoding = transfer_syntax::encoding(&item.transfer_syntax);
    matches!(encoding, Encoding::ExplicitBig | Encoding::DeflatedExplicitLittle)
}

fn deferred(why: String, charge: Charge) -> Outcome {
    Outcome::Deferred { why, charge, after: None }
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

/// What came of sending one instance.
enum Sent {
    /// The node answered.
    Answered(Judged),
    /// It did not; and why the association can be used no longer.
    Failed(Fault, Option<Broken>),
}

/// A node cannot be asked what it holds, so that nothing it says of that is believed.
fn doubtful() -> Outcome {
    Outcome::Unknown { why: "the node says that it has it already".into() }
}

/// Whether a syntax is one of those that every node can read.
fn native(syntax: &TransferSyntaxUid) -> bool {
    matches!(syntax.as_str(), EXPLICIT_VR_LE | IMPLICIT_VR_LE)
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
