//! `[priors]`: how other sites are asked for what they hold of a patient.

use super::raw::Table;
use super::values::duration;
use crate::priors::prefetch::Retry;
use crate::priors::silence::Memory;
use std::time::Duration;

/// `[priors]` (UIX-12, DIM-070).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priors {
    /// How long a query waits for the other sites; who has not answered by then is shown as not answering.
    pub deadline: Duration,
    /// Copies of what another site keeps stay so long after they were last asked for.
    pub keep: Duration,
    /// How long a pull goes on without an instance that comes, or 64 KiB of one.
    pub patience: Duration,
    /// How the silence of a site is remembered.
    pub memory: Memory,
    /// How often what is pulled ahead is tried again.
    pub prefetch: Retry,
}

impl Default for Priors {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            deadline: seconds(5),
            keep: seconds(86_400),
            patience: seconds(120),
            memory: Memory::default(),
            prefetch: Retry::default(),
        }
    }
}

pub(super) fn priors(mut table: Table<'_>) -> Priors {
    let d = Priors::default();
    let priors = Priors {
        deadline: table.or("deadline", d.deadline, duration),
        keep: table.or("keep", d.keep, duration),
        patience: table.or("patience", d.patience, duration),
        memory: Memory {
            grace: table.or("silence_grace", d.memory.grace, duration),
            first: table.or("silence", d.memory.first, duration),
            longest: table.or("silence_longest", d.memory.longest, duration),
        },
        prefetch: Retry {
            first: table.or("prefetch_retry", d.prefetch.first, duration),
            give_up: table.or("prefetch_give_up", d.prefetch.give_up, duration),
        },
    };
    table.finish();
    priors
}
