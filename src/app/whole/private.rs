//! Nothing of the patient stands in the ledger, in the name of a file, or in a line of the log (INV-22).

use super::beside::{Beside, here};
use super::contents::PATIENT;
use crate::records::Records;
use std::cell::RefCell;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};
use tracing::Level;
use tracing::dispatcher::{self, DefaultGuard, Dispatch};

/// Lines that were looked at, of all stories.
static LINES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What this thread has written that names the patient.
    static HEARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Two, of which one is used: with a single one, a line that another thread comes to first would never be heard of.
static LOGS: LazyLock<[Dispatch; 2]> = LazyLock::new(|| [log(), log()]);

/// The log as `run` writes it.
fn log() -> Dispatch {
    let lines = tracing_subscriber::fmt().with_max_level(Level::INFO).with_ansi(false);
    Dispatch::new(lines.with_writer(|| Lines).finish())
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.fetch_add(1, Ordering::Relaxed);
        if names_the_patient(line) {
            HEARD.with_borrow_mut(|heard| heard.push(String::from_utf8_lossy(line).into_owned()));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn names_the_patient(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    PATIENT.into_iter().any(|word| text.contains(word))
}

/// From now on what this thread writes into the log is looked at, until this is dropped.
pub(super) fn listen() -> DefaultGuard {
    drop(HEARD.take());
    dispatcher::set_default(&LOGS[0])
}

/// The lines that named the patient since then.
pub(super) fn heard() -> Vec<String> {
    HEARD.take().into_iter().map(|line| format!("the log names the patient: {line}")).collect()
}

/// How many lines were looked at so far.
pub(super) fn lines() -> usize {
    LINES.load(Ordering::Relaxed)
}

/// Neither an entry nor a file of the store names the patient.
pub(super) fn check(beside: &mut Beside, records: &Records, dir: &Path, what: &str) {
    let mut after = 0;
    loop {
        let page = here(records.ledger_page(after)).unwrap();
        let Some(last) = page.last() else { break };
        after = last.position;
        for line in page.iter().filter(|line| names_the_patient(&line.bytes)) {
            beside.wrong.push(format!("{what}: entry {}, {}, names the patient", line.position, line.kind));
        }
    }
    for file in fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name();
        if names_the_patient(name.as_encoded_bytes()) {
            beside.wrong.push(format!("{what}: the file {} names the patient", name.display()));
        }
    }
}

/// INV-22: a line that told too much would not be missed.
#[test]
fn a_line_that_names_the_patient_is_heard() {
    let listening = listen();
    tracing::info!(patient = PATIENT[0], "so many instances arrived");
    tracing::info!("an instance arrived");
    tracing::warn!("the number is {}", PATIENT[1]);
    drop(listening);
    let heard = heard();
    assert!(heard.len() == 2 && heard[0].contains(PATIENT[0]) && heard[1].contains(PATIENT[1]), "{heard:?}");
}
