//! The data sets that arrive: five instances of a made-up patient, each in three variants, whose sizes take each way to the disk.

use crate::dicom::sample::{EXPLICIT, Form, IMPLICIT, encode, value};
use crate::dicom::uid::InstanceUid;
use crate::dicom::vr::Vr;
use crate::records::tests::support as arrivals;
use crate::store::Digest;
use std::sync::LazyLock;

pub(super) const UIDS: u32 = crate::records::tests::model::UIDS;
pub(super) const VARIANTS: u32 = 3;

/// The patient's name and number. Nothing else in a history is called so.
pub(super) const PATIENT: [&str; 2] = ["SECRET^NAME", "secret-id"];

/// Bytes of pixels by variant and instance: within a buffer, across some, and in a file of its own.
const SIZES: [usize; 7] = [500, 3_000, 9_000, 24_000, 30_000, 50_000, 110_000];

struct Content {
    uid: u32,
    bytes: Vec<u8>,
    digest: Digest,
    /// The digest of the same in Implicit VR Little Endian, as our own encoder writes it.
    implicit: Digest,
}

static ALL: LazyLock<Vec<Content>> = LazyLock::new(|| {
    let each = (0..VARIANTS).flat_map(|variant| (1..=UIDS).map(move |uid| (uid, variant)));
    each.map(|(uid, variant)| {
        let bytes = data_set(uid, variant, EXPLICIT);
        let implicit = Digest::of(&data_set(uid, variant, IMPLICIT));
        Content { uid, digest: Digest::of(&bytes), bytes, implicit }
    })
    .collect()
});

/// The number of a content, by which the model knows it.
pub(super) fn number(uid: u32, variant: u32) -> u32 {
    variant * UIDS + uid - 1
}

/// Its bytes.
pub(super) fn bytes(content: u32) -> &'static [u8] {
    &ALL[content as usize].bytes
}

/// Its digest.
pub(super) fn digest(content: u32) -> Digest {
    ALL[content as usize].digest
}

/// The instance and the content of a digest.
pub(super) fn of(digest: &Digest) -> Option<(u32, u32)> {
    let at = ALL.iter().position(|content| content.digest == *digest)?;
    Some((ALL[at].uid, at as u32))
}

/// The digest of the same content in Implicit VR Little Endian.
pub(super) fn implicit(digest: &Digest) -> Option<Digest> {
    ALL.iter().find(|content| content.digest == *digest).map(|content| content.implicit)
}

/// The instance of a UID.
pub(super) fn uid_of(instance: &InstanceUid) -> Option<u32> {
    (1..=UIDS).find(|n| arrivals::uid(*n) == *instance)
}

fn data_set(uid: u32, variant: u32, form: Form) -> Vec<u8> {
    let padded = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let study = crate::records::tests::model::reference::study_of(uid);
    let [name, id] = PATIENT.map(|text| format!("{text} "));
    let size = SIZES[(uid + 2 * variant) as usize % SIZES.len()];
    let pixels: Vec<u8> = (0..size).map(|at| (at as u32 * 7 + uid * 31 + variant) as u8).collect();
    encode(
        &[
            value(0x0008_0016, Vr::UI, &padded("1.2.840.10008.5.1.4.1.1.2")),
            value(0x0008_0018, Vr::UI, &padded(arrivals::uid(uid).as_str())),
            value(0x0008_0060, Vr::CS, b"CT"),
            value(0x0010_0010, Vr::PN, name.as_bytes()),
            value(0x0010_0020, Vr::LO, id.as_bytes()),
            value(0x0020_000D, Vr::UI, &padded(arrivals::study(study).as_str())),
            value(0x0020_000E, Vr::UI, &padded("1.2.1.1")),
            value(0x7FE0_0010, Vr::OW, &pixels),
        ],
        form,
    )
}
