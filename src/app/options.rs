//! What each part is allowed, by the configuration.

use super::lanes;
use crate::config::Config;
use crate::dicom::{part10, scanner};
use crate::dimse::ScpOptions;
use crate::janitor::JanitorOptions;
use crate::store::StoreOptions;
use std::time::SystemTime;

/// The directory of the blobs in the data directory.
pub(super) const BLOBS: &str = "blobs";

pub(super) fn store_options(config: &Config) -> StoreOptions {
    let settings = &config.store;
    StoreOptions {
        dir: config.site.data_dir.join(BLOBS),
        reserve_bytes: settings.reserve_bytes,
        segment_bytes: settings.segment_bytes,
        small_object_bytes: settings.small_object_bytes,
        object_bytes: config.limits.instance_bytes,
        buffer_budget_bytes: usize::try_from(settings.buffer_bytes).unwrap_or(usize::MAX),
        chunk_bytes: usize::try_from(settings.chunk_bytes).unwrap_or(usize::MAX),
        direct: settings.direct,
    }
}

pub(super) fn janitor_options(config: &Config, last_known: Option<SystemTime>) -> JanitorOptions {
    let retention = &config.retention;
    JanitorOptions {
        purge: retention.purge,
        keep_at_least: retention.keep_at_least,
        keep_at_most: retention.keep_at_most,
        keep_copies: config.priors.keep,
        room_bytes: retention.room_bytes,
        every: retention.every,
        scrub_every: config.store.scrub_every,
        scrub_bytes: config.store.scrub_bytes,
        verify_every: Some(config.store.verify_every),
        last_known,
    }
}

/// What the scanner of heads is allowed, by the configuration.
pub fn scanner_limits(config: &Config) -> scanner::Limits {
    let limits = &config.limits;
    scanner::Limits {
        depth: limits.depth,
        value_bytes: usize::try_from(limits.value_bytes).unwrap_or(usize::MAX),
        elements: limits.elements,
        inflated_bytes: limits.instance_bytes,
    }
}

pub(super) fn scp_options(config: &Config) -> ScpOptions {
    ScpOptions {
        timers: lanes::timers(&config.timers),
        max_pdu_length: config.dicom.max_pdu_length,
        max_associations: config.dicom.max_associations,
        implementation_class: part10::IMPLEMENTATION_CLASS_UID.to_owned(),
        implementation_version: part10::IMPLEMENTATION_VERSION_NAME.to_owned(),
        drain: config.timers.drain,
        ..ScpOptions::default()
    }
}
