//! One instance into one association: in which context, syntax and form it goes, whoever opened the association.

#[cfg(test)]
pub(super) mod tests;

use super::body::{BodyError, Fault, Plan};
use super::data_set::DataSet;
use super::foreign::{self, Case, Decision, Policy};
use super::general;
use super::offers::stand_ins;
use super::reading::Reading;
use crate::dicom::nhs_number::is_issuer;
use crate::dicom::patient::{Judgement, Patient, judge};
use crate::dicom::rewrite::{Edits, Found, RewriteError, Survey};
use crate::dicom::transcode::{Transcoder, begins_implicit};
use crate::dicom::transfer_syntax::{self, EXPLICIT_VR_LE, Encoding, IMPLICIT_VR_LE};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dimse::{Source, SourceError, StoreCommand, StoreFailure, StoreResponse, Stores};
use crate::ledger::outcome::{Charge, Outcome};
use crate::peers::{Destination, Foreign};
use crate::records::{InstanceId, KnownPatient, Records, RecordsError, Retrievable};
use crate::store::{Ahead, Store};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is stored in more bytes than these is decided upon by its head, and changed without a dry pass.
pub(super) const DRY_PASS: u64 = 2 << 20;

/// Most instances that are remembered for their odd length; beyond them all are forgotten.
const MOST_ODD: usize = 10_000;

/// Sends instances to one node as it must have them.
pub(super) struct Sender {
    store: Store,
    foreigners: Foreigners,
    /// Long ones whose odd length their changes brought to light on the way, since this program started.
    odd: Mutex<BTreeSet<InstanceId>>,
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

/// A node's answer.
pub(super) struct Answered {
    pub(super) response: StoreResponse,
    /// By which rules what it was sent differs from what is stored.
    pub(super) changes: Option<String>,
}

/// Why no answer came.
pub(super) struct Unsent {
    /// A fault of our own.
    pub(super) fault: Option<Fault>,
    /// What happened to the association, if anything was begun.
    pub(super) failure: Option<StoreFailure>,
    /// It is not encoded as its transfer syntax says. Nothing was sent.
    contradicts: bool,
}

impl Sender {
    pub(super) fn new(store: Store, foreigners: Foreigners) -> Self {
        Self { store, foreigners, odd: Mutex::default() }
    }

    /// Has the beginning of an instance read that is to be sent next.
    pub(super) fn ahead(&self, item: &Retrievable) -> Ahead {
        self.store.ahead(item.place, item.digest)
    }

    /// Sends one instance as it is planned; natively if it turns out not to be encoded as its compressed syntax says, for over that some
    /// nodes never answer (DIM-057).
    pub(super) async fn send_as(
        &self,
        to: &mut impl Stores,
        (item, reading): (&Retrievable, Reading),
        context_id: u8,
        plan: Plan,
        length: Option<u64>,
        move_originator: Option<(String, u16)>,
    ) -> Result<Answered, Unsent> {
        let stored = (!plan.transcode).then(|| plan.clone());
        let sent = self.send_once(to, (item, reading), (context_id, plan, length), move_originator.clone()).await;
        let (Err(Unsent { contradicts: true, .. }), Some(stored)) = (&sent, stored) else { return sent };
        let class = stored.general.unwrap_or(item.sop_class.as_str());
        let Some((context, Some(syntax))) = context(to, item, class, false, Form::Native) else { return sent };
        let native = Plan::for_a_node(item, syntax).map_err(|error| ours(&error))?;
        let Plan { edits, guarded, general, transform, .. } = stored;
        let plan = Plan { edits, guarded, general, transform, ..native };
        let mut reading = Reading::default();
        let (plan, length) = self.sized(plan, item, &mut reading).await.map_err(|error| ours(&error))?;
        self.send_once(to, (item, reading), (context, plan, length), move_originator).await
    }

    async fn send_once(
        &self,
        to: &mut impl Stores,
        (item, reading): (&Retrievable, Reading),
        (context_id, plan, length): (u8, Plan, Option<u64>),
        move_originator: Option<(String, u16)>,
    ) -> Result<Answered, Unsent> {
        let opened = DataSet::open_last(&self.store, item, &plan, reading).await;
        let data = opened.map_err(|error| ours(&error))?;
        let encapsulated = Encoding::EncapsulatedExplicitLittle;
        let looks = !plan.transcode && transfer_syntax::encoding(&item.transfer_syntax) == encapsulated;
        let pads = !plan.transcode && is_deflated(item);
        let command = StoreCommand {
            context_id,
            sop_class: plan.general.map_or_else(|| item.sop_class.to_string(), str::to_owned),
            sop_instance: item.sop_instance.to_string(),
            priority: 0,
            move_originator,
        };
        let evened = plan.transcode;
        let mut source =
            Outgoing { data, pads, odd: false, came_out_odd: false, looks, evened, contradicts: false, fault: None };
        let sent = to.store(command, length, &mut source).await;
        if source.came_out_odd && !evened {
            self.remember_odd(item);
        }
        let changes = plan.changes(source.data.re_encoded());
        sent.map(|response| Answered { response, changes }).map_err(|failure| {
            let fault = match &failure {
                StoreFailure::Source(error) => {
                    let (why, charge) = (error.to_string(), Charge::Us);
                    Some(source.fault.take().unwrap_or_else(|| Outcome::Deferred { why, charge, after: None }.into()))
                }
                _ => None,
            };
            Unsent { fault, failure: Some(failure), contradicts: source.contradicts }
        })
    }

    /// Why an instance was held for this node until a person released it; asked only where its patient's numbers decide.
    pub(super) async fn released(&self, item: &Retrievable, node: &Destination) -> Result<Vec<String>, RecordsError> {
        if !self.decides(item) {
            return Ok(Vec::new());
        }
        self.foreigners.records.released_to(item.instance, node).await
    }

    /// In which context an instance goes, in which syntax, and with which changes; or why it does not go (DIM-050). As it
    /// is stored if the node accepted that, else natively, its pixels decoded if they are compressed (DIM-007).
    ///
    /// The length is known for what goes unchanged, and by a dry pass for what is short: so an object that cannot be changed as
    /// it must be costs nothing but itself. A long one would keep the node waiting; it is found out while it is sent, and the
    /// association is aborted (DIM-053).
    /// With `natively`, not as it is stored. What is stored in an odd length cannot be sent so: what is deflated is padded with one NUL (PS3.5
    /// section A.5), all else is re-encoded with every value made even (PS3.5 section 7.1.1; DIM-055).
    ///
    /// What is read for it, the sending need not read again.
    pub(super) async fn plan(
        &self,
        association: &impl Stores,
        (item, reading): (&Retrievable, &mut Reading),
        released: &[String],
        natively: bool,
    ) -> Result<(u8, Plan, Option<u64>), Fault> {
        let odd = item.length % 2 == 1 || self.odd().contains(&item.instance);
        let form = match natively {
            _ if odd && !is_deflated(item) => Form::Evened,
            true => Form::Native,
            false => Form::Stored,
        };
        match self.plan_in(association, (item, reading), released, form).await? {
            // What was changed has brought an odd length to light.
            (_, Plan { transcode: false, .. }, Some(length)) if length % 2 == 1 => {
                even(self.plan_in(association, (item, reading), released, Form::Evened).await?)
            }
            planned => even(planned),
        }
    }

    fn odd(&self) -> MutexGuard<'_, BTreeSet<InstanceId>> {
        self.odd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next time it is made even as it goes.
    fn remember_odd(&self, item: &Retrievable) {
        let mut odd = self.odd();
        if odd.len() >= MOST_ODD {
            odd.clear();
        }
        odd.insert(item.instance);
    }

    async fn plan_in(
        &self,
        association: &impl Stores,
        (item, reading): (&Retrievable, &mut Reading),
        released: &[String],
        form: Form,
    ) -> Result<(u8, Plan, Option<u64>), Fault> {
        let (edits, transform) = self.edits((item, reading), released).await?.unzip();
        let own = Some((item.sop_class.as_str(), None));
        let general =
            stand_ins(item.sop_class.as_str(), self.general_class()).iter().map(|class| (*class, Some(*class)));
        let chosen = own.into_iter().chain(general).find_map(|(class, general)| {
            let changed = edits.is_some() || general.is_some();
            Some((context(association, item, class, changed, form)?, general))
        });
        let ((context, syntax), general) =
            chosen.ok_or_else(|| if form == Form::Evened { odd() } else { refused(item, association) })?;
        let mut plan = match syntax {
            None => Plan::as_stored(item),
            Some(syntax) => Plan::for_a_node(item, syntax).map_err(|error| error.fault())?,
        };
        (plan.edits, plan.transform, plan.general) = (edits, transform, general);
        plan.guarded = self.decides(item) && !is_read_whole(item);
        if let Some(class) = general {
            general::change(&mut plan, item, class, &self.foreigners.site);
        }
        let (plan, length) = self.sized(plan, item, reading).await.map_err(|error| error.fault())?;
        // The padding of what is deflated.
        let pads = !plan.transcode && is_deflated(item);
        Ok((context, plan, length.map(|length| if pads { length.next_multiple_of(2) } else { length })))
    }

    /// The plan with its length, but for what is changed and long.
    async fn sized(
        &self,
        plan: Plan,
        item: &Retrievable,
        reading: &mut Reading,
    ) -> Result<(Plan, Option<u64>), BodyError> {
        let unchanged = !plan.transcode && plan.edits.is_none();
        if !unchanged && item.length > DRY_PASS {
            return Ok((plan, None));
        }
        let plan = plan.measured_in(&self.store, item, reading).await?;
        let length = plan.length;
        Ok((plan, Some(length)))
    }

    /// Whether an object may go to this node under a related general class (DIM-051).
    pub(super) fn general_class(&self) -> bool {
        self.foreigners.policy.general_class
    }

    /// What must be changed in another site's instance for this node; `None` for our own, and where nothing must be.
    async fn edits(
        &self,
        (item, reading): (&Retrievable, &mut Reading),
        released: &[String],
    ) -> Result<Option<(Edits, String)>, Fault> {
        let Some(name) = item.origin.site() else { return Ok(None) };
        let policy = self.foreigners.policy;
        if !self.decides(item) && !policy.mark_imported {
            return Ok(None);
        }
        let issuer = item.word.as_ref().or_else(|| self.foreigners.issuers.get(name)).map(String::as_str);
        let stamp = foreign::Stamp { site: &self.foreigners.site, received: item.received };
        let found = self.survey(item, reading).await.map_err(|error| error.fault())?;
        let source = foreign::Source { name, issuer };
        let judged = match policy.mode {
            Foreign::Hold => self.judge(&foreign::patient(source, &found)).await?,
            _ => Judgement::NoNumber,
        };
        let case = Case { found: &found, judged, released };
        match foreign::decide(policy, source, stamp, case) {
            Decision::AsIs => Ok(None),
            Decision::Edit { edits, transform } => Ok(Some((edits, transform))),
            Decision::Hold(reason) => Err(Outcome::Held { why: reason.to_string() }.into()),
        }
    }

    /// Whether the patient's numbers in an object decide what becomes of it.
    fn decides(&self, item: &Retrievable) -> bool {
        item.origin.site().is_some() && self.foreigners.policy.mode != Foreign::AsIs
    }

    /// Whether a patient is surely one of ours: of those who came from our nodes under this NHS number (IDY-044).
    async fn judge(&self, foreign: &Patient) -> Result<Judgement, Fault> {
        let Some(number) = foreign.number else { return Ok(Judgement::NoNumber) };
        let unreadable = |error: RecordsError| {
            let why = format!("whose number it is cannot be read: {error}");
            Fault::from(Outcome::Deferred { why, charge: Charge::Us, after: None })
        };
        let known = self.foreigners.records.patients_of(number).await.map_err(unreadable)?;
        let counts = |patient: &KnownPatient| {
            let said = patient.issuer.as_deref().is_some_and(is_issuer);
            said || patient.nodes.iter().any(|node| self.foreigners.nhs_nodes.contains(node))
        };
        let ours: Vec<Patient> = known.into_iter().filter(counts).map(|known| known.patient).collect();
        Ok(judge(foreign, &ours))
    }

    /// Reads as much of an instance as the decision needs. Where a patient's number decides, none may stand further on: what is short, or
    /// could not be guarded as it is sent, is read to its end.
    async fn survey(&self, item: &Retrievable, reading: &mut Reading) -> Result<Found, BodyError> {
        let unreadable = |error: RewriteError| BodyError::Rewrite(error.to_string());
        let base = if is_opaque(item) { Plan::re_encoded(item)? } else { Plan::as_stored(item) };
        let whole = self.decides(item) && is_read_whole(item);
        let survey = Survey::new(&base.transfer_syntax, &self.foreigners.site).map_err(unreadable)?;
        let mut survey = if whole { survey.guarding() } else { survey };
        let mut data = DataSet::open_in(&self.store, item, &base, reading).await?;
        while let Some(bytes) = data.next().await? {
            match survey.push(&bytes) {
                Ok(found) if found && !whole => break,
                Ok(_) => {}
                Err(error) => {
                    // Who holds a buffer must not wait for the next.
                    drop(bytes);
                    return Err(data.or_damage(unreadable(error)).await);
                }
            }
        }
        survey.finish().map_err(unreadable)
    }
}

/// The context of a class for an instance, and the native syntax in which it goes there, or none if as it is stored.
fn context(
    association: &impl Stores,
    item: &Retrievable,
    class: &str,
    changed: bool,
    form: Form,
) -> Option<(u8, Option<&'static str>)> {
    let as_stored = form == Form::Stored && !(changed && is_opaque(item));
    let context = as_stored.then(|| association.context_for(class, item.transfer_syntax.as_str())).flatten();
    context.map(|context| (context, None)).or_else(|| {
        let implicit = item.transfer_syntax.as_str() == IMPLICIT_VR_LE;
        let syntaxes = if implicit { [IMPLICIT_VR_LE, EXPLICIT_VR_LE] } else { [EXPLICIT_VR_LE, IMPLICIT_VR_LE] };
        syntaxes.into_iter().find_map(|syntax| {
            match form {
                Form::Evened => Transcoder::evening(&item.transfer_syntax, syntax)?,
                _ => Transcoder::between(&item.transfer_syntax, syntax)?,
            };
            Some((association.context_for(class, syntax)?, Some(syntax)))
        })
    })
}

/// A fault of our own before anything was sent.
fn ours(error: &BodyError) -> Unsent {
    Unsent { fault: Some(error.fault()), failure: None, contradicts: false }
}

/// Refuses what is of odd length all the same, since nodes cannot take it.
fn even(planned: (u8, Plan, Option<u64>)) -> Result<(u8, Plan, Option<u64>), Fault> {
    match planned.2 {
        Some(length) if length % 2 == 1 => Err(odd()),
        _ => Ok(planned),
    }
}

/// Why an instance of odd length cannot go: fragments are even (PS3.8 annex E).
fn odd() -> Fault {
    Outcome::Dead {
        why: "odd length, PS3.5 7.1.1: it cannot be sent as it is stored, nor be re-encoded so that it can".into(),
    }
    .into()
}

/// Why an instance cannot go in any context that the node accepted.
fn refused(item: &Retrievable, association: &impl Stores) -> Fault {
    let (class, syntax) = (&item.sop_class, &item.transfer_syntax);
    let said = association.refusals(class.as_str());
    let said = if said.is_empty() { String::new() } else { format!(" (it says: {})", said.join(", ")) };
    let why = format!(
        "the node accepts neither SOP class {class} in transfer syntax {syntax} nor natively in one that we can make of it{said}"
    );
    Outcome::Dead { why }.into()
}

/// Whether a decision reads all of an object, and not its head alone.
fn is_read_whole(item: &Retrievable) -> bool {
    item.length <= DRY_PASS || is_opaque(item)
}

/// Whether changes can be made only after re-encoding: in big endian and deflated data sets.
fn is_opaque(item: &Retrievable) -> bool {
    let encoding = transfer_syntax::encoding(&item.transfer_syntax);
    matches!(encoding, Encoding::ExplicitBig | Encoding::DeflatedExplicitLittle)
}

/// Whether the whole data set is deflated.
fn is_deflated(item: &Retrievable) -> bool {
    transfer_syntax::encoding(&item.transfer_syntax) == Encoding::DeflatedExplicitLittle
}

/// Whether a syntax is one of those that every node can read.
pub(super) fn native(syntax: &TransferSyntaxUid) -> bool {
    matches!(syntax.as_str(), EXPLICIT_VR_LE | IMPLICIT_VR_LE)
}

/// In which form an instance is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is stored, or else natively.
    Stored,
    /// Natively, and not as it is stored.
    Native,
    /// The same, also where it is native already: each value is made even.
    Evened,
}

/// A data set on its way into an association: of even length, for so are fragments (PS3.8 annex E).
struct Outgoing {
    data: DataSet,
    /// It is made even by one NUL at its end.
    pads: bool,
    odd: bool,
    /// It was given to its end, and was of odd length.
    came_out_odd: bool,
    /// Its beginning is to be looked at: whether it is encoded as its syntax says.
    looks: bool,
    /// It is re-encoded on its way.
    evened: bool,
    contradicts: bool,
    fault: Option<Fault>,
}

impl Source for Outgoing {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        match self.data.next().await {
            Ok(Some(bytes)) if std::mem::take(&mut self.looks) && begins_implicit(&bytes) => {
                self.contradicts = true;
                let why = "no node is sent it as it is stored: it has no value representations, against its compressed transfer syntax";
                self.fault = Some(Outcome::Dead { why: format!("{why}; nor can it be re-encoded") }.into());
                Err(SourceError(why.into()))
            }
            Ok(Some(bytes)) => {
                self.odd ^= bytes.len() % 2 == 1;
                Ok(Some(bytes))
            }
            Ok(None) if !self.odd => Ok(None),
            Ok(None) if self.pads => {
                self.odd = false;
                Ok(Some(Bytes::from_static(&[0])))
            }
            Ok(None) => {
                let why = "its changes make its length odd; the next time it is made even as it goes";
                let later = Outcome::Deferred { why: why.into(), charge: Charge::Us, after: None };
                self.came_out_odd = true;
                self.fault = Some(if self.evened { odd() } else { later.into() });
                Err(SourceError("of odd length".into()))
            }
            Err(error) => {
                self.fault = Some(error.fault());
                Err(SourceError(error.into()))
            }
        }
    }
}
