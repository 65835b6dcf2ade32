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
    /// It is a further request (OBR) under the ORC of another.
    is_further: bool,
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

    /// By which number it is known: the placer's, else the filler's.
    fn number(&self) -> &str {
        if self.placer.is_empty() { &self.filler } else { &self.placer }
    }

    /// A further request (OBR) under the ORC of `self`, which is as it was before its `first`. One without a number of its own has that of the
    /// first, and is of the same order.
    fn further(&self, first: &Self, request: &Segment<'_>) -> Self {
        let (placer, filler) = (number(request, 2), number(request, 3));
        // By the number of the placer it would be known, so that a filler's makes no other order of it.
        let is_same = placer.is_empty() && (filler.is_empty() || !first.placer.is_empty());
        let (placer, filler) = if is_same { (first.placer.clone(), first.filler.clone()) } else { (placer, filler) };
        Self { placer, filler, is_further: true, ..self.clone() }
    }

    /// Takes in a further request of the same order.
    fn take_in(&mut self, further: Self) {
        self.filler = first(&self.filler, further.filler);
        self.accession = first(&self.accession, further.accession);
        self.study = first(&self.study, further.study);
        self.scheduled = first(&self.scheduled, further.scheduled);
        if self.procedure.is_empty() && self.description.is_empty() {
            (self.procedure, self.description) = (further.procedure, further.description);
        }
        further.modality.split('\\').for_each(|modality| self.add_modality(modality));
    }

    fn add(&mut self, segment: &Segment<'_>) {
        match segment.name() {
            "OBR" => {
                self.placer = first(&self.placer, number(segment, 2));
                self.filler = first(&self.filler, number(segment, 3));
                (self.procedure, self.description) = (segment.part(4, 1), segment.part(4, 2));
                self.accession = first(&self.accession, segment.part(18, 1));
                self.modality = first(&self.modality, segment.part(24, 1));
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

    /// One more modality, once, if there is room.
    fn add_modality(&mut self, modality: &str) {
        if self.modality.is_empty() {
            self.modality = modality.to_owned();
        } else if !modality.is_empty()
            && self.modality.split('\\').all(|known| known != modality)
            && self.modality.chars().count() + 1 + modality.chars().count() <= LONGEST_LIST
        {
            self.modality = format!("{}\\{modality}", self.modality);
        }
    }
}

/// The orders of a message: each ORC with the segments that follow it. Some systems write several requests (OBR) under one ORC, each with
/// the segments that follow it: those with numbers of their own are orders of their own, and the others are one order, with the modalities
/// of all. A message has no more orders than segments.
pub fn orders(message: &Message) -> Vec<Placed> {
    let mut all: Vec<Placed> = Vec::new();
    // The latest ORC, as it was before its first request, and where that stands.
    let mut bare: Option<(Placed, usize)> = None;
    for segment in message.segments() {
        match (segment.name(), &bare) {
            ("ORC", _) => {
                all.push(Placed::begun(&segment));
                bare = None;
            }
            ("OBR", None) => bare = all.last().map(|order| (order.clone(), all.len() - 1)),
            ("OBR", Some((bare, at))) => {
                let further = all.get(*at).map(|first| bare.further(first, &segment));
                all.extend(further);
            }
            _ => {}
        }
        // The study of several requests may stand behind the last: it is of each that has none before.
        let from = match (segment.name(), &bare) {
            ("ZDS", Some((_, first))) => *first,
            _ => all.len().saturating_sub(1),
        };
        all.iter_mut().skip(from).for_each(|order| order.add(&segment));
    }
    together(all)
}

/// Requests under one ORC that have one number are one order.
fn together(all: Vec<Placed>) -> Vec<Placed> {
    let mut orders: Vec<Placed> = Vec::with_capacity(all.len());
    let mut group = 0;
    for one in all {
        if !one.is_further {
            group = orders.len();
        }
        let known = orders.iter_mut().skip(group).find(|order| one.is_further && order.number() == one.number());
        match known {
            Some(order) => order.take_in(one),
            None => orders.push(one),
        }
    }
    orders
}
