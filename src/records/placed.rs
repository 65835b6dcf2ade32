//! Imaging orders as other systems placed them, and what they say of patients' numbers: for the cross-reference and for whoever fetches priors.

use super::sqlite::placed as rows;
use super::sqlite::rows::micros;
use super::sqlite::{cross_reference, merges};
use super::{Learned, Records, RecordsError};
use crate::dicom::cross_reference::{LocalId, Said};
use crate::dicom::uid::StudyUid;
use std::time::SystemTime;
use tokio::sync::watch;

/// Orders, statements and merges that one commit takes, each.
const MOST: usize = 1000;

/// An order as it was last told. `Debug` is not derived: it names a patient.
#[derive(Clone, PartialEq, Eq)]
pub struct PlacedOrder {
    /// Its number in these records; a change of the order gives it a new, higher one. Not looked at when it is taken.
    pub row: i64,
    /// Who told it: `hl7 RIS`, `worklist ris`. Not looked at when it is taken.
    pub source: String,
    /// The number of who placed it, with its namespace where that was said: `1001^WARD`.
    pub placer: String,
    /// The number of who fills it, likewise; its source knows it by the placer's number, else by this.
    pub filler: String,
    /// Accession Number; empty if it was not said.
    pub accession: String,
    /// The Study Instance UID that it will have, if that was said.
    pub study: Option<StudyUid>,
    /// What was last done: `NW` new, `XO` changed, `CA` cancelled, and so on (HL7 table 0119).
    pub control: String,
    /// The patient, by a local number of a known issuer, else by an NHS number, whose issuer then is `NHS`.
    pub patient: LocalId,
    /// The patient's birth date as YYYYMMDD; empty if it was not said.
    pub birth_date: String,
    /// Modality, several joined by backslashes; empty if it was not said.
    pub modality: String,
    /// The code of the procedure; empty if it was not said.
    pub procedure: String,
    /// What the procedure is called; empty if it was not said.
    pub description: String,
    /// When it is to be done, as it was written: YYYYMMDD, hours and minutes perhaps; empty if it was not said.
    pub scheduled: String,
    /// When it was last told. Not looked at when it is taken.
    pub at: SystemTime,
}

impl PlacedOrder {
    /// Whether it was cancelled or discontinued.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.control.as_str(), "CA" | "OC" | "DC" | "OD" | "CR" | "DR")
    }
}

/// What one message said, or one answer of a worklist.
#[derive(Clone, Default)]
pub struct ToldMessage {
    /// Who told it: `hl7 RIS`.
    pub source: String,
    /// By what its sender knows it; empty if by nothing, and then it is never taken for one that came before.
    pub control: String,
    /// A digest of its bytes.
    pub digest: String,
    /// Orders.
    pub orders: Vec<PlacedOrder>,
    /// Which local number is which NHS number.
    pub statements: Vec<(LocalId, Said)>,
    /// Which former local number belongs to the patient of which one that stays.
    pub merges: Vec<(LocalId, LocalId)>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was kept; so many of its orders are new or changed.
    New(usize),
    /// The same message came before; nothing was changed.
    Again,
}

impl Records {
    /// Takes what one message said in one commit; it is durable when this returns. The ledger tells how many statements and merges were
    /// new, and of whom they came.
    pub async fn take_message(&self, told: ToldMessage, now: SystemTime) -> Result<Heard, RecordsError> {
        if [told.orders.len(), told.statements.len(), told.merges.len()].into_iter().any(|count| count > MOST) {
            return Err(RecordsError::Refused(format!("at most {MOST} orders, statements and merges at once")));
        }
        let at = micros(now);
        let taken = self
            .commit(move |tx| {
                let ToldMessage { source, control, digest, orders, statements, merges: merged } = &told;
                if !control.is_empty() && !rows::hear(tx, source, control, digest)? {
                    return Ok(Heard::Again);
                }
                let mut learned = Learned::default();
                for (id, said) in statements {
                    cross_reference::learn(tx, id, said, source, at, &mut learned)?;
                }
                super::cross_reference::enter(tx, source, None, learned, now)?;
                let mut new = 0;
                for (former, stays) in merged {
                    new += merges::keep(tx, former, stays, source, at)?;
                }
                super::cross_reference::enter_merges(tx, source, new, now)?;
                let mut changed = 0;
                for order in orders {
                    changed += usize::from(rows::keep(tx, order, source, at)?);
                }
                Ok(Heard::New(changed))
            })
            .await?;
        if matches!(taken, Heard::New(orders) if orders > 0) {
            self.inner.orders.send_modify(|count| *count += 1);
        }
        Ok(taken)
    }

    /// Orders after a row, in the order in which they were last told; 500 at most, empty when there are no more.
    pub async fn orders(&self, after: i64) -> Result<Vec<PlacedOrder>, RecordsError> {
        self.inner.readers.ask(move |conn| rows::after(conn, after)).await
    }

    /// The orders that are to be done from one day to another, YYYYMMDD both, after a row; 500 at most, empty when there are no more.
    pub async fn orders_for(&self, days: [String; 2], after: i64) -> Result<Vec<PlacedOrder>, RecordsError> {
        self.inner.readers.ask(move |conn| rows::for_days(conn, &days, after)).await
    }

    /// A counter that goes up whenever orders came or were changed. Subscribe before looking.
    pub fn orders_changed(&self) -> watch::Receiver<u64> {
        self.inner.orders.subscribe()
    }
}
