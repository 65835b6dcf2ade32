//! The bundled studies: made by test-data/make.py, part of the binary.

use super::super::Failure;
use crate::dicom::part10::{Found, MetaParser};
use crate::dicom::scanner::{Limits, Scanner};
use crate::dicom::uid::{InstanceUid, SopClassUid, StudyUid, TransferSyntaxUid};
use crate::store::Digest;
use rust_embed::RustEmbed;
use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(RustEmbed)]
#[folder = "test-data/studies"]
#[include = "*.dcm"]
struct Files;

/// The folders of the bundle in the order in which they are pushed, each with what people call it.
const TITLES: &[(&str, &str)] = &[
    ("ct", "CT series"),
    ("mr", "MR series"),
    ("us", "ultrasound clip in JPEG"),
    ("rt", "radiotherapy plan with its CT, structures and dose"),
    ("sr", "structured report"),
    ("pdf", "report as PDF"),
    ("conflict", "a CT slice with the same UID and other content"),
];

/// The folders that are pushed twice.
const TWICE: &[&str] = &["ct", "rt", "pdf"];

/// One folder of the bundle.
pub(super) struct Study {
    pub(super) title: &'static str,
    pub(super) uid: StudyUid,
    pub(super) conflicting: bool,
    /// Whether it is pushed a second time, to show that nothing comes of it.
    pub(super) twice: bool,
    pub(super) instances: Vec<Instance>,
}

/// One instance of the bundle.
pub(super) struct Instance {
    pub(super) sop_class: SopClassUid,
    pub(super) sop_instance: InstanceUid,
    pub(super) transfer_syntax: TransferSyntaxUid,
    pub(super) digest: Digest,
    bytes: Cow<'static, [u8]>,
    data_set: usize,
}

impl Instance {
    /// The data set without preamble and file meta information.
    pub(super) fn data_set(&self) -> &[u8] {
        &self.bytes[self.data_set..]
    }
}

/// Every bundled study.
pub(super) fn studies() -> Result<Vec<Study>, Failure> {
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in Files::iter() {
        if let Some((folder, _)) = file.split_once('/') {
            folders.entry(folder.to_owned()).or_default().push(file.to_string());
        }
    }
    let titled = TITLES.iter().filter_map(|(folder, title)| folders.get(*folder).map(|files| (*folder, *title, files)));
    titled.map(|(folder, title, files)| study(folder, title, files)).collect()
}

fn study(folder: &str, title: &'static str, files: &[String]) -> Result<Study, Failure> {
    let mut files = files.to_vec();
    files.sort();
    let mut uid = None;
    let mut instances = Vec::new();
    for file in &files {
        let embedded = Files::get(file).ok_or_else(|| Failure::some(format!("{file} is not in the bundle")))?;
        let (instance, study) = instance(embedded.data).map_err(|why| Failure::some(format!("{file}: {why}")))?;
        uid = Some(study);
        instances.push(instance);
    }
    let uid = uid.ok_or_else(|| Failure::some(format!("the bundle has no file in {folder}")))?;
    Ok(Study { title, uid, conflicting: folder == "conflict", twice: TWICE.contains(&folder), instances })
}

fn instance(bytes: Cow<'static, [u8]>) -> Result<(Instance, StudyUid), String> {
    let mut meta = MetaParser::new();
    let parsed = meta.push(&bytes).map_err(|error| error.to_string())?;
    let Found { meta, used: data_set, .. } = parsed.ok_or("the file ends within its file meta information")?;
    let mut scanner = Scanner::new(&meta.transfer_syntax, Limits::default());
    scanner.push(&bytes[data_set..]).map_err(|error| error.to_string())?;
    let head = scanner.finish().map_err(|error| error.to_string())?;
    let instance = Instance {
        sop_class: head.sop_class,
        sop_instance: head.sop_instance,
        transfer_syntax: meta.transfer_syntax,
        digest: Digest::of(&bytes[data_set..]),
        bytes,
        data_set,
    };
    Ok((instance, head.study))
}
