//! Steady load on a site: associations that store made-up instances and write down what was acknowledged.

use super::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, digest, names};
use super::pacs::{Association, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The study and instance UID of something a sender was told is stored.
pub type Acknowledged = (String, String);

/// What was acknowledged, each with the SHA-256 of what was sent.
pub type Sent = BTreeMap<Acknowledged, String>;

/// What the senders are to send.
#[derive(Clone, Copy)]
pub struct Work {
    /// Keeps the UIDs of different stories apart.
    pub story: u64,
    pub senders: u64,
    pub pixel_bytes: u32,
    /// A sender starts a new study after so many instances.
    pub per_study: u64,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Sent>>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the senders against a port; each goes on, connecting again when it must, until [`Load::stop`].
    pub fn start(work: Work, port: u16, called: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(Sent::new()));
        let senders = (0..work.senders)
            .map(|sender| {
                let (stop, acknowledged, called) = (Arc::clone(&stop), Arc::clone(&acknowledged), called.to_owned());
                std::thread::spawn(move || send(work, sender, port, &called, &stop, &acknowledged))
            })
            .collect();
        Self { stop, acknowledged, senders }
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// What was acknowledged so far.
    pub fn so_far(&self) -> Sent {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Ends the load and hands over what was acknowledged.
    pub fn stop(self) -> Sent {
        self.stop.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.join().unwrap();
        }
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

fn send(work: Work, sender: u64, port: u16, called: &str, stop: &AtomicBool, done: &Mutex<Sent>) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut association) = Association::open(port, "SENDER", called, SECONDARY_CAPTURE, EXPLICIT_LE) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !stop.load(Ordering::SeqCst) {
            let names = names(work.story, sender * 1_000_000 + number / work.per_study, number);
            let bytes = data_set(&names, work.pixel_bytes, work.story << 40 | sender << 32 | number);
            match association.store(SECONDARY_CAPTURE, &names.instance, &bytes) {
                Ok(Status::SUCCESS) => {
                    done.lock().unwrap().insert((names.study, names.instance), digest(&bytes));
                    number += 1;
                }
                // Not acknowledged, or not known to be: sent again, as a real sender does.
                Ok(_) => std::thread::sleep(Duration::from_millis(20)),
                Err(_) => break,
            }
        }
    }
}

/// Sends small instances of these numbers, a hundred a study, on one association; all must be acknowledged.
pub fn send_all(story: u64, numbers: Range<u64>, port: u16, called: &str) -> BTreeSet<Acknowledged> {
    let mut association = Association::open(port, "SENDER", called, SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let mut done = BTreeSet::new();
    for number in numbers {
        let names = names(story, number / 100, number);
        let bytes = data_set(&names, 4096, story << 40 | number);
        let status = association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap();
        assert_eq!(status, Status::SUCCESS, "instance {number}");
        done.insert((names.study, names.instance));
    }
    association.release();
    done
}

/// Sends one instance of so many bytes of pixels, in a study of its own; it must be acknowledged.
pub fn send_one(story: u64, number: u64, pixel_bytes: u32, port: u16, called: &str) {
    let mut association = Association::open(port, "SENDER", called, SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    let names = names(story, number, number);
    let bytes = data_set(&names, pixel_bytes, story << 40 | number);
    assert_eq!(association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap(), Status::SUCCESS);
    association.release();
}
