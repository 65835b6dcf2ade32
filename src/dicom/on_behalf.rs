//! For whom one site asks another (SEC-022, SEC-023).

/// For whom a request is made. Not a patient's data: it may be kept in the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct OnBehalf {
    /// The name of the site that asks; empty if it was not said.
    pub site: String,
    /// The node or the person there: `node CT1`, `user jo`; empty if it was not said.
    pub caller: String,
    /// The purpose, for example `direct-care`; empty if it was not said.
    pub purpose: String,
}
