//! The demo's modality: pushes a study by C-STORE.

use super::super::Failure;
use super::bundle::Study;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::part10;
use crate::dimse::{self, Offer, Source, SourceError, StoreCommand, Target, Timers};
use bytes::Bytes;
use std::net::SocketAddr;

/// Pushes every instance of a study on one association; the number that site A answered with success.
pub(super) async fn study(to: SocketAddr, study: &Study) -> Result<usize, Failure> {
    let title = |text| AeTitle::parse(text).map_err(Failure::some);
    let target = Target {
        address: to.to_string(),
        tls: None,
        calling: title(super::MODALITY)?,
        called: title("TO_B")?,
        timers: Timers::default(),
        max_pdu_length: 131_072,
        implementation_class: part10::IMPLEMENTATION_CLASS_UID.to_owned(),
        implementation_version: part10::IMPLEMENTATION_VERSION_NAME.to_owned(),
        identity: None,
    };
    let mut offers: Vec<Offer> = Vec::new();
    for instance in &study.instances {
        let offer = Offer {
            abstract_syntax: instance.sop_class.to_string(),
            transfer_syntaxes: vec![instance.transfer_syntax.to_string()],
        };
        if !offers.contains(&offer) {
            offers.push(offer);
        }
    }
    let mut association = dimse::connect(&target, &offers).await.map_err(Failure::unreachable)?;
    for instance in &study.instances {
        let class = instance.sop_class.as_str();
        let context_id = association
            .accepted()
            .find(|one| one.abstract_syntax == class && one.transfer_syntax == instance.transfer_syntax.as_str())
            .map(|context| context.id)
            .ok_or_else(|| Failure::some(format!("site A refused the presentation context of {class}")))?;
        let command = StoreCommand {
            context_id,
            sop_class: class.to_owned(),
            sop_instance: instance.sop_instance.to_string(),
            priority: 0,
            move_originator: None,
        };
        let bytes = Bytes::copy_from_slice(instance.data_set());
        let length = bytes.len() as u64;
        let response = association.store(command, Some(length), &mut Once(Some(bytes))).await.map_err(Failure::some)?;
        if response.status != dimse::Status::SUCCESS {
            return Err(Failure::some(format!("site A answered {} to {}", response.status, instance.sop_instance)));
        }
    }
    association.release().await.map_err(Failure::some)?;
    Ok(study.instances.len())
}

/// A source that has one piece.
struct Once(Option<Bytes>);

impl Source for Once {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(self.0.take())
    }
}
