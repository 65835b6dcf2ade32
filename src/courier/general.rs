//! An object that goes under a related general SOP class, because the node refuses its own (PS3.4 section B.4.2.1; DIM-051).

use super::body::Plan;
use super::foreign::INSTANCE_COERCION_DATE_TIME;
use crate::dicom::rewrite::{Edits, date_time};
use crate::dicom::tag::Tag;
use crate::records::Retrievable;
use std::collections::{BTreeMap, BTreeSet};

const SOP_CLASS_UID: Tag = Tag::new(0x0008, 0x0016);

/// Original Specialized SOP Class UID.
const ORIGINAL_SPECIALIZED: Tag = Tag::new(0x0008, 0x001B);

/// Name and version of the rule, for the ledger (IDY-034).
const RULE: &str = "general-class/1";

/// Adds to a plan that the object leaves under this class: it says which was its own, and the change is recorded in it beside the others.
pub(super) fn change(plan: &mut Plan, item: &Retrievable, class: &str, site: &str) {
    let edits = plan.edits.get_or_insert_with(|| Edits {
        values: BTreeMap::new(),
        items: BTreeMap::new(),
        cleared: BTreeMap::new(),
        known: BTreeMap::new(),
        beside: BTreeSet::new(),
        // The same each time that it is sent (INV-16).
        at: item.received,
        system: site.to_owned(),
        source: item.origin.name().to_owned(),
    });
    edits.values.insert(INSTANCE_COERCION_DATE_TIME, date_time(item.received).into_bytes().into());
    edits.values.insert(SOP_CLASS_UID, class.as_bytes().into());
    edits.values.insert(ORIGINAL_SPECIALIZED, item.sop_class.as_str().as_bytes().into());
    plan.transform = Some(plan.transform.take().map_or_else(|| RULE.to_owned(), |rules| format!("{rules}+{RULE}")));
}
