//! The orders of a message.

use super::message::{Message, Segment};

/// The longest list of modalities, in characters; one more that has no room is left out whole.
const LONGEST_LIST: usize = 64;

/// One order, as it was placed, changed or cancelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// ORC-1: `NW`, `XO`, `CA`, `DC`, `SC` and so on; `CA` or `DC` too where ORC-5 says so.
    pub control: String,
    /// ORC-2 or OBR-2, with its namespace.
    pub placer: String,
    /// ORC-3 or OBR-3, with its namespace.
    pub filler: String,
    /// IPC-1, else OBR-18.
    pub accession: String,
    /// Study Instance UID: IPC-3, else ZDS-1.
    pub study: String,
    /// IPC-5 of each procedure step, else OBR-24 of each request; several joined by backslashes.
    pub modality: String,
    /// The code of the procedure, OBR-4.
    pub procedure: String,
    /// What it is called, OBR-4.
    pub description: String,
    /// When it is to be done, as it is written: OBR-36, else TQ1-7, else ORC-7.
    pub scheduled: String,
    /// The modality is that of procedure steps.
    of_steps: bool,
}

/// A number with whoever gave it out, where that is said (data type EI): `1001`, `1001^WARD`, `1001^^1.2.3`. Two systems behind one sender may
/// give out the same number for two orders. Empty where there is none.
fn number(segment: &Segment<'_>, at: usize) -> String {
    let parts = [1, 2, 3].map(|component| segment.part(at, component));
    if parts[0].is_empty() { String::new() } else { parts.join("^").trim_end_matches('^').to_owned() }
}

/// The first of two texts that says something.
fn first(one: &str, other: String) -> String {
    if one.is_empty() { other } else { one.to_owned() }
}

impl Placed {
    fn begun(segment: &Segment<'_>) -> Self {
        let (control, status) = (segment.part(1, 1), segment.part(5, 1));
        let ended = control == "SC" && matches!(status.as_str(), "CA" | "DC");
        Self {
            control: if ended { status } else { control },
            placer: number(segment, 2),
            filler: number(segment, 3),
            scheduled: segment.part(7, 4),
            ..Self::default()
        }
    }

    fn add(&mut self, segment: &Segment<'_>) {
        match segment.name() {
            "OBR" => {
                self.placer = first(&self.placer, number(segment, 2));
                self.filler = first(&self.filler, number(segment, 3));
                (self.procedure, self.description) = (segment.part(4, 1), segment.part(4, 2));
                self.accession = first(&self.accession, segment.part(18, 1));
                if !self.of_steps {
                    self.add_modality(&segment.part(24, 1));
                }
                self.scheduled = first(&segment.part(36, 1), self.scheduled.clone());
            }
            "TQ1" => self.scheduled = first(&self.scheduled, segment.part(7, 1)),
            "IPC" => {
                self.accession = first(&segment.part(1, 1), self.accession.clone());
                self.study = first(&segment.part(3, 1), self.study.clone());
                self.add_step(segment.part(5, 1));
            }
            "ZDS" => self.study = first(&self.study, segment.part(1, 1)),
            _ => {}
        }
    }

    /// One more procedure step: an order of several modalities has an IPC segment for each.
    fn add_step(&mut self, modality: String) {
        if modality.is_empty() {
            return;
        }
        if !self.of_steps {
            (self.modality, self.of_steps) = (modality, true);
        } else {
            self.add_modality(&modality);
        }
    }

    /// One more modality, once, as long as the list has room.
    fn add_modality(&mut self, modality: &str) {
        let has_room = self.modality.chars().count() + 1 + modality.chars().count() <= LONGEST_LIST;
        if self.modality.is_empty() {
            modality.clone_into(&mut self.modality);
        } else if !modality.is_empty() && has_room && self.modality.split('\\').all(|known| known != modality) {
            self.modality = format!("{}\\{modality}", self.modality);
        }
    }
}

/// The orders of a message: each ORC with the segments that follow it. A message has no more of them than segments.
pub fn orders(message: &Message) -> Vec<Placed> {
    let mut all: Vec<Placed> = Vec::new();
    for segment in message.segments() {
        if segment.name() == "ORC" {
            all.push(Placed::begun(&segment));
        }
        if let Some(order) = all.last_mut() {
            order.add(&segment);
        }
    }
    all
}
