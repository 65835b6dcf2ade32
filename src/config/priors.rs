//! `[priors]`: how other sites are asked for what they hold of a patient.

use super::raw::Table;
use super::values::duration;
use std::time::Duration;

/// `[priors]` (UIX-12, DIM-070).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priors {
    /// How long a query waits for the other sites; who has not answered by then is shown as not answering.
    pub deadline: Duration,
    /// Copies of what another site keeps stay so long after they were last asked for.
    pub keep: Duration,
    /// How long a pull goes on without an instance that comes.
    pub patience: Duration,
}

impl Default for Priors {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(5), keep: Duration::from_secs(86_400), patience: Duration::from_secs(120) }
    }
}

pub(super) fn priors(mut table: Table<'_>) -> Priors {
    let d = Priors::default();
    let priors = Priors {
        deadline: table.or("deadline", d.deadline, duration),
        keep: table.or("keep", d.keep, duration),
        patience: table.or("patience", d.patience, duration),
    };
    table.finish();
    priors
}
