//! Another site asks by an NHS number, and ours are local: which of them are surely the same patient's (IDY-041; "Whom to ask for priors").

use super::{Asked, unreadable};
use crate::dicom::attributes::{ISSUER_OF_PATIENT_ID, PATIENT_ID};
use crate::dicom::cross_reference::LocalId;
use crate::dicom::nhs_number::{ISSUER_OID, is_issuer};
use crate::dicom::tag::Tag;
use crate::peers::Origin;
use crate::records::Texts;
use axum::response::Response;

impl Asked {
    /// The numbers of this site that are surely the patient's whom another site asks for by an NHS number; a viewer of this site names
    /// its patients otherwise.
    pub(super) async fn local_numbers(&self) -> Result<Vec<LocalId>, Box<Response>> {
        let one = self.query.matching(PATIENT_ID).is_some_and(|matched| matched.values.len() == 1);
        let another = self.one(ISSUER_OF_PATIENT_ID).is_some_and(|issuer| !issuer.is_empty() && !is_issuer(issuer));
        match self.nhs.filter(|_| one && !another && self.viewer.is_none()) {
            Some(nhs) => self.face.records.local_ids_of(nhs).await.map_err(unreadable),
            None => Ok(Vec::new()),
        }
    }

    /// Who issued the Patient ID of what came from here, where the object does not say; `None` if nobody here knows (IDY-040).
    pub(super) fn issuer(&self, origin: &Origin) -> Option<String> {
        let registry = self.face.registry.borrow();
        let issuer = match origin.site() {
            Some(name) => registry.peer(name)?.issuer.clone()?,
            None => registry.issuer(origin),
        };
        // To other sites by its one name.
        Some(if is_issuer(&issuer) { ISSUER_OID.to_owned() } else { issuer })
    }

    /// Whether what is held under a number of ours is that patient's.
    pub(super) fn is_linked(&self, origin: &Origin, held: &Texts) -> bool {
        if self.locals.is_empty() {
            return false;
        }
        let text = |tag: Tag| held.0.get(&tag).map(|text| text.trim()).filter(|text| !text.is_empty());
        let issuer = text(ISSUER_OF_PATIENT_ID).map(str::to_owned).or_else(|| self.issuer(origin));
        let (Some(id), Some(issuer)) = (text(PATIENT_ID), issuer) else { return false };
        self.locals.iter().any(|local| local.id == id && local.issuer == issuer)
    }
}
