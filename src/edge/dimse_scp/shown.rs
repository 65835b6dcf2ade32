//! What a node is shown of another site's patients: the values that the objects will carry when they reach it ("Foreign patients").

use crate::courier::foreign::{self, Case, Decision, Policy, Source, Stamp};
use crate::dicom::attributes::{ISSUER_OF_PATIENT_ID, PATIENT_ID};
use crate::dicom::charset::Charset;
use crate::dicom::head::Attributes;
use crate::dicom::patient::Judgement;
use crate::dicom::rewrite::Found;
use crate::dicom::tag::Tag;
use crate::peers::{Foreign, Node, Origin, Registry};
use crate::records::Texts;
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

/// The values as the node will have them; `None` for what will not reach it before a person has decided.
pub(super) fn shown(registry: &Registry, node: &Node, origin: &Origin, held: Texts) -> Option<BTreeMap<Tag, String>> {
    let Some(name) = origin.site() else { return Some(held.0) };
    if node.foreign == Foreign::AsIs {
        return Some(held.0);
    }
    let issuer = registry.peer(name).and_then(|peer| peer.issuer.as_deref());
    let values = held.0.iter().map(|(tag, text)| (*tag, text.as_bytes().into())).collect();
    let charset = Charset::declared(b"ISO_IR 192");
    let found = Found { attributes: Attributes { values, charset, ..Attributes::default() }, ..Found::default() };
    // When it was received stays in the object alone.
    let stamp = Stamp { site: "", received: UNIX_EPOCH };
    let mut values = held.0;
    // What a person has released, or who is surely ours, is not looked up here: a node that holds is shown neither.
    let case = Case { found: &found, judged: Judgement::NoNumber, released: &[] };
    let policy = Policy { mode: node.foreign, ..Policy::default() };
    match foreign::decide(policy, Source { name, issuer }, stamp, case) {
        Decision::Hold(_) => return None,
        Decision::AsIs => {}
        Decision::Edit { edits, .. } => {
            for (tag, value) in edits.values {
                values.insert(tag, String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    Some(values)
}

/// Who issued the number with which a node is shown something, and whether the object says so itself: else its sender's entry does
/// (IDY-040). `None` where a sender of this site is meant whose entry names none: a modality bears the numbers of its PACS.
pub(super) fn issued_by(
    registry: &Registry,
    origin: &Origin,
    values: &BTreeMap<Tag, String>,
) -> Option<(String, bool)> {
    let said = values.get(&ISSUER_OF_PATIENT_ID).filter(|issuer| !issuer.is_empty()).cloned();
    said.map(|issuer| (issuer, true)).or_else(|| registry.named_issuer(origin).map(|issuer| (issuer, false)))
}

/// The Patient IDs under which a patient may be held whom a node asks for: as given, and without the issuer that we put before it.
pub(super) fn held_as(node: &Node, patient_id: &str) -> Vec<String> {
    let mut ids = vec![patient_id.to_owned()];
    if node.foreign == Foreign::Prefix
        && let Some((_, number)) = patient_id.split_once(':')
    {
        ids.push(number.to_owned());
    }
    ids
}

/// The number that a node is shown, if there is one.
pub(super) fn patient_of(values: &BTreeMap<Tag, String>) -> Option<&str> {
    values.get(&PATIENT_ID).map(String::as_str).filter(|id| !id.is_empty())
}
