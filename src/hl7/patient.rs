//! Whose message it is: the numbers of a patient, and those that were merged into them. Names are not read.

use super::message::{Message, Segment};

/// A number of a patient (CX): the number, who issued it, and of what type it is. `Debug` is not derived: it names one.
#[derive(Clone, PartialEq, Eq)]
pub struct PatientNumber {
    /// The number.
    pub id: String,
    /// The assigning authority's name; empty if it has none.
    pub authority: String,
    /// The assigning authority's universal identifier; empty if it has none.
    pub universal: String,
    /// `MR`, `NH`, `PI` and so on.
    pub kind: String,
}

/// A patient of a message. `Debug` is not derived: it names one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// All numbers of PID-3; one more than [`MOST_NUMBERS`] where there are more than that.
    pub numbers: Vec<PatientNumber>,
    /// The numbers that were these before (MRG-1); only of a merge or a change of numbers.
    pub merged: Vec<PatientNumber>,
    /// PID-7, its first eight characters.
    pub birth_date: String,
}

/// Numbers of one patient that are read.
pub const MOST_NUMBERS: usize = 64;

fn numbers(segment: &Segment<'_>, at: usize) -> Vec<PatientNumber> {
    let number = |text: &str| PatientNumber {
        id: segment.component(text, 1, 1),
        authority: segment.component(text, 4, 1),
        universal: segment.component(text, 4, 2),
        kind: segment.component(text, 5, 1),
    };
    segment.repetitions(at).map(number).filter(|number| !number.id.is_empty()).take(MOST_NUMBERS + 1).collect()
}

/// The patients of a message: each PID with the MRG that follows it. One without a number stays, so that it is not passed over.
pub fn people(message: &Message) -> Vec<Person> {
    let mut people: Vec<Person> = Vec::new();
    for segment in message.segments() {
        match (segment.name(), people.last_mut()) {
            ("PID", _) => people.push(Person {
                numbers: numbers(&segment, 3),
                merged: Vec::new(),
                birth_date: segment.part(7, 1).chars().take(8).collect(),
            }),
            ("MRG", Some(person)) => person.merged.extend(numbers(&segment, 1)),
            _ => {}
        }
    }
    people
}
