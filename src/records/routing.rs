//! The routes in force, and the questions of the second decision, when something is about to be sent (INV-15).

use super::sqlite::routing;
use super::{InstanceId, Records, RecordsError, Routable};
use crate::peers::Destination;
use std::time::SystemTime;

impl Records {
    /// Puts the routes of this name in force, which is entered in the ledger if they are others than before. From then on what
    /// others chose is not recorded ([`super::Kept::Rerouted`]), and what was owed earlier is leased with
    /// [`super::Leased::before_routes`].
    pub async fn routes_in_force(&self, version: &str, now: SystemTime) -> Result<(), RecordsError> {
        let version = version.to_owned();
        self.commit(move |tx| routing::put_in_force(tx, &version, now)).await
    }

    /// Why an instance was held there for a person who has released it since, as [`super::Leased::released`] says of one transfer; nothing of
    /// what was held again or cancelled (IDY-044).
    pub async fn released_to(&self, instance: InstanceId, to: &Destination) -> Result<Vec<String>, RecordsError> {
        let to = to.clone();
        self.inner.readers.ask(move |conn| routing::released_to(conn, instance, &to)).await
    }

    /// What routes decide by about these instances, in their order; those that are not known are left out.
    pub async fn routable(&self, instances: Vec<InstanceId>) -> Result<Vec<Routable>, RecordsError> {
        self.inner.readers.ask(move |conn| routing::routable(conn, &instances)).await
    }
}
