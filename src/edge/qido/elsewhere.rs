//! What other sites hold of what a viewer searches for, as part of one list: asked as for a node's C-FIND, and never for a peer
//! ("Behaviour that decides safety"). Our own come first; what is not ours follows in the order of its UIDs, be a copy of it here or not.

mod below;
mod studies;

pub(super) use below::Below;

use super::{Asked, Shelf, Window};
use crate::dicom::attributes::{
    INSTITUTION_NAME, ISSUER_OF_PATIENT_ID, PATIENT_BIRTH_DATE, PATIENT_ID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID,
    STUDY_DESCRIPTION,
};
use crate::dicom::tag::Tag;
use crate::dicom::uid::{InstanceUid, SeriesUid};
use crate::edge::http::problem;
use crate::peers::Origin;
use crate::peers::{Node, Silent};
use crate::priors::marker::Silence;
use crate::priors::merge::Found;
use crate::priors::search::{Answers, Wanted};
use crate::priors::whom::{Patient, is_filed_alike, is_refiled};
use crate::priors::{Priors, Site};
use crate::records::{self, StudyRow};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Seconds after which a search may be repeated that met a silent site.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("30");

/// Said where other sites are not asked since nothing is named by which they could be.
const NOT_BY_THESE: &str =
    "other sites were not asked: they are asked by one whole Patient ID, or by Study Instance UIDs";
/// Said where a page begins too far behind.
const TOO_FAR: &str = "other sites were not asked: what they hold is listed among the first 10,000 results only";
/// Said where a page would not fit those before it.
const NOT_THIS_PAGE: &str = "on this page nothing is shown that came from other sites, since one of them does not answer now: the pages \
    would not fit together; begin again at offset 0";

/// Where what a site has shown stands.
pub(in crate::edge) fn found_elsewhere(found: &Found) -> records::Elsewhere {
    let series = found.values.0.get(&SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::parse(uid).ok());
    let instance = found.values.0.get(&SOP_INSTANCE_UID).and_then(|uid| InstanceUid::parse(uid).ok());
    records::Elsewhere {
        study: found.study.clone(),
        series,
        instance,
        attributes: found.values.clone(),
        modalities: found.size.modalities.clone(),
        origin: Origin::Peer(found.site.clone()),
    }
}

/// Whether a copy that is held here is told as what a site shows of its study: it bears the same number (IDY-040). That it bears another one
/// says of the site that it came from that the study is filed otherwise there by now, and of another site nothing.
pub(in crate::edge) fn is_told_as(found: &Found, copy: &StudyRow) -> bool {
    if is_refiled((&copy.attributes.0, copy.origin.site()), (&found.values.0, &found.site)) {
        tracing::warn!(site = found.site, study = %found.study, "a site now files a study under another patient than the copy here");
    }
    is_filed_alike(&copy.attributes.0, &found.values.0)
}

/// The longest value of LO, and how much of a site's name stands before a description, in characters.
const LONGEST_DESCRIPTION: usize = 64;
const LONGEST_NAME: usize = 32;

/// Says of a study at which other site it lies: as Institution Name, and before its description where the node wants that, cut to the 64
/// characters of LO. Of a study of this site it says nothing (DIM-070).
pub(in crate::edge) fn tell_site(node: &Node, origin: &Origin, values: &mut BTreeMap<Tag, String>) {
    let Some(site) = origin.site() else {
        values.remove(&INSTITUTION_NAME);
        return;
    };
    values.insert(INSTITUTION_NAME, site.to_owned());
    if node.origin_in_description {
        let site: String = site.to_uppercase().chars().take(LONGEST_NAME).collect();
        let own = values.get(&STUDY_DESCRIPTION).map(String::as_str).unwrap_or_default();
        let whole = format!("[{site}] {own}");
        let told = match whole.chars().count() > LONGEST_DESCRIPTION {
            true => whole.chars().take(LONGEST_DESCRIPTION - 2).chain("..".chars()).collect(),
            false => whole.trim_end().to_owned(),
        };
        values.insert(STUDY_DESCRIPTION, told);
    }
}

/// What of other sites' silence stands in the Warning headers, a line for each matter.
pub(super) fn warnings(service: &str, window: &Window) -> Vec<String> {
    let silences = window.silences.iter().map(|silence| format!("299 {service}: {}", told(silence)));
    silences.chain(window.remarks.iter().map(|remark| format!("299 {service}: {remark}"))).collect()
}

fn told(silence: &Silence) -> String {
    let sites = silence.sites();
    match silence {
        Silence::NotAnswering(_) => format!("site {sites} does not answer; what it alone holds is not shown"),
        Silence::Unusable(_) => format!("the answer of site {sites} cannot be used; what it alone holds is not shown"),
        Silence::NotAsked(_) => {
            format!(
                "not asked, since no number is known by which they know the patient: {sites}; what they hold is not shown"
            )
        }
        Silence::HeldBack(_) => format!("site {sites} holds studies that are not shown before a person has decided"),
    }
}

/// No answer is not the answer that there is nothing ("A silent site is visible").
fn not_answering(silences: &[Silence]) -> Box<Response> {
    let all: Vec<String> = silences.iter().map(told).collect();
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, &all.join("; "));
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    Box::new(response)
}

impl Asked {
    /// Who asks other sites, and for which node: a viewer of this site, where there are any.
    fn asking(&self) -> Option<(&Priors, &Arc<Node>)> {
        let asking = self.face.elsewhere.as_ref()?.priors();
        (!asking.sites().sites.is_empty()).then_some(asking).zip(self.viewer.as_ref())
    }

    /// Asks these sites at once, each within its own time.
    fn ask(&self, wanted: &Wanted, sites: Vec<Site>) -> Option<Answers> {
        let (priors, node) = self.asking()?;
        let behalf = self.face.registry.borrow().behalf_of_node(&node.ae_title);
        Some(priors.search(wanted, sites, &behalf))
    }

    /// The value of a key that names one thing exactly.
    fn exact(&self, tag: Tag) -> Option<&str> {
        let value = self.one(tag)?;
        // A hyphen in a date makes a range of it.
        let range = tag == PATIENT_BIRTH_DATE && value.contains('-');
        (!value.is_empty() && !value.contains(['*', '?', '\\']) && !range).then_some(value)
    }

    /// The patient whom a viewer's search names, if it names one; whether other sites are asked or not, what came from them is here.
    pub(super) async fn named_patient(&self) -> Option<Patient> {
        let priors = self.face.elsewhere.as_ref()?.priors();
        let node = self.viewer.as_ref()?;
        let registry = Arc::clone(&self.face.registry.borrow());
        let patient = priors.named(&registry, node, self.exact(PATIENT_ID)?, self.exact(ISSUER_OF_PATIENT_ID))?;
        Some(priors.linked(patient, self.exact(PATIENT_BIRTH_DATE).map(str::to_owned)).await)
    }

    /// Ends a search with a failure where sites kept silent: if there is nothing else to show, or if the node wants it so.
    pub(super) fn or_failure(&self, window: &Window) -> Result<(), Box<Response>> {
        let strict = self.viewer.as_ref().is_some_and(|node| node.silent == Silent::Failure);
        match !window.silences.is_empty() && (strict && !window.ours || window.sets.is_empty()) {
            true => Err(not_answering(&window.silences)),
            false => Ok(()),
        }
    }

    /// Whether what is not ours can be told on this page; else the answer says why not. Of a site that was there for an earlier page and
    /// is silent now, what is missing would have the rest move up, and some of it would be on no page.
    fn fits_page(&self, window: &mut Window, silences: Vec<Silence>) -> bool {
        let fits = silences.is_empty() || self.query.offset == 0;
        window.silences.extend(silences);
        if !fits {
            window.remarks.push(NOT_THIS_PAGE);
        }
        fits
    }

    /// Where what is not ours waits for its turn; `None` where other sites are not asked.
    fn shelf(&self, window: &mut Window) -> Option<Shelf> {
        self.asking()?;
        let shelf = Shelf::of(&self.query);
        if shelf.is_none() {
            window.remarks.push(TOO_FAR);
        }
        shelf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicomweb::qido::Limits;

    /// "A silent site is visible": each matter has its words.
    #[test]
    fn what_may_be_missing_is_told() {
        let query = crate::dicomweb::qido::parse("", Limits::default()).unwrap_or_else(|_| unreachable!());
        let mut window = Window::of(&query);
        let site = || "surrey".to_owned();
        window.silences = vec![
            Silence::NotAnswering(site()),
            Silence::Unusable(site()),
            Silence::NotAsked("dorset, kent".into()),
            Silence::HeldBack(site()),
        ];
        window.remarks.push(NOT_BY_THESE);
        let want = [
            "299 u: site surrey does not answer; what it alone holds is not shown",
            "299 u: the answer of site surrey cannot be used; what it alone holds is not shown",
            "299 u: not asked, since no number is known by which they know the patient: dorset, kent; what they hold is not shown",
            "299 u: site surrey holds studies that are not shown before a person has decided",
            "299 u: other sites were not asked: they are asked by one whole Patient ID, or by Study Instance UIDs",
        ];
        assert_eq!(warnings("u", &window), want);
    }
}
