//! HL7 version 2 as far as an imaging gateway hears it: framing, segments, orders, patients, acknowledgements. Pure, and nothing of ours.
//!
//! Of a message only numbers, codes and dates are read; names are passed over. `Debug` prints nothing of a patient.

pub mod acknowledgement;
pub mod framing;
pub mod message;
pub mod order;
pub mod patient;

#[cfg(test)]
mod tests;
