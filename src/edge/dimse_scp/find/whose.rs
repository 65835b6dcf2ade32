//! Whose number it is that a match bears: nobody is listed under another's, and what is none of the node's own numbers is told with its issuer.

use super::Find;
use crate::dicom::attributes::{ISSUER_OF_PATIENT_ID, Level, PATIENT_BIRTH_DATE, PATIENT_ID};
use crate::dicom::query::matching;
use crate::dicom::tag::Tag;
use crate::edge::dimse_scp::asked::exact;
use crate::edge::dimse_scp::shown::{issued_by, patient_of};
use crate::peers::{Foreign, Origin};
use crate::priors::whom::Patient;
use crate::records::Texts;
use std::collections::BTreeMap;

impl Find<'_, '_> {
    /// The patient whom the query names, if it names one.
    pub(super) async fn named_patient(&self) -> Option<Patient> {
        let id = exact(&self.keys.matches, PATIENT_ID).or_else(|| exact(&self.asked.unique, PATIENT_ID))?;
        let issuer = exact(&self.keys.matches, ISSUER_OF_PATIENT_ID);
        let patient = self.face.priors.named(&self.registry, self.node, id, issuer)?;
        let birth_date = exact(&self.keys.matches, PATIENT_BIRTH_DATE).map(str::to_owned);
        Some(self.face.priors.linked(patient, birth_date).await)
    }

    /// Whether what came from a site, or is held of it, means the patient whom the query names: then its number need not be the
    /// one that was asked for, since the node is shown it with its issuer.
    pub(super) fn is_meant(&self, origin: &Origin, held: &Texts) -> bool {
        self.patient.as_ref().is_some_and(|patient| patient.is_told_by(&self.registry, origin, &held.0))
    }

    /// Whether what does not mean the patient whom the query names is another's, though its number may be the same (IDY-040): what another
    /// site sent, unless its issuer stands before its number; and what came from a node of ours whose entry names another issuer than the
    /// asking node's own. Below a study it is the study that is asked for.
    pub(super) fn is_anothers(&self, origin: &Origin, held: &Texts) -> bool {
        let Some(patient) = self.patient.as_ref().filter(|_| self.asked.level <= Level::Study) else { return false };
        if origin.site().is_some() {
            return self.node.foreign != Foreign::Prefix && patient.is_anothers(&self.registry, origin, &held.0);
        }
        let own = self.node.issuer.as_ref() == Some(&patient.issuer);
        let said = held.0.get(&ISSUER_OF_PATIENT_ID).is_some_and(|issuer| !issuer.is_empty());
        own && !said && self.registry.named_issuer(origin).is_some_and(|named| named != patient.issuer)
    }

    /// Tells by our word who issued a number, where the object does not: of a number that is none of the node's own, and where the query
    /// goes by issuers (IDY-040).
    pub(super) fn tell_issuer(&self, origin: &Origin, values: &mut BTreeMap<Tag, String>) {
        // Such a number begins with it.
        let prefixed = origin.site().is_some() && self.node.foreign == Foreign::Prefix;
        if prefixed || patient_of(values).is_none() {
            return;
        }
        let own = self.registry.issuer(&Origin::Node(self.node.ae_title.clone()));
        // Where nobody names one, it is of the numbers that the asking node goes by.
        let issuer = issued_by(&self.registry, origin, values).map_or_else(|| own.clone(), |(issuer, _)| issuer);
        if issuer != own || matching(&self.keys.matches, ISSUER_OF_PATIENT_ID).is_some() {
            values.insert(ISSUER_OF_PATIENT_ID, issuer);
        }
    }
}
