//! The hot inner parts, one at a time, so that `benches/counts` can count their instructions: `inner [PART TIMES]`.
//!
//! Without arguments it lists the parts: name, unit, units of one run, runs to be counted, input. A process makes the input of
//! its part and runs it so often. What a process that runs it twice as often takes more is the part's own, without start and input.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod data_sets;
mod inputs;
mod ledger;
mod queries;
mod upper_layer;
mod web;

/// What is run again and again; it holds its input.
type Run = Box<dyn FnMut()>;

/// A part to be counted.
struct Part {
    name: &'static str,
    /// What its instructions are divided by.
    unit: &'static str,
    /// How many of these one run works off.
    units: usize,
    /// How many runs are counted.
    times: usize,
    input: &'static str,
    make: fn() -> Run,
}

fn main() {
    let told: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut parts =
        [upper_layer::PARTS, data_sets::PARTS, ledger::PARTS, web::PARTS, queries::PARTS].into_iter().flatten();
    match &told[..] {
        [] => parts.for_each(|Part { name, unit, units, times, input, .. }| {
            println!("{name}\t{unit}\t{units}\t{times}\t{input}");
        }),
        [name, times] => {
            let part = parts.find(|part| part.name == name).unwrap_or_else(|| panic!("there is no part {name}"));
            let mut run = (part.make)();
            (0..times.parse::<usize>().unwrap()).for_each(|_| run());
        }
        _ => panic!("usage: inner [PART TIMES]"),
    }
}
