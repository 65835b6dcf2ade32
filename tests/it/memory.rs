//! Memory does not grow with the size of an instance: 524 MB in and out, once, and four times at once.

use crate::support::dcmtk::StoreScp;
use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, head, names};
use crate::support::fired::note_fired;
use crate::support::pacs::{Association, Status};
use crate::support::two_sites::TwoSites;
use crate::support::wait::{seconds, until};
use std::sync::atomic::{AtomicU64, Ordering};

/// 1,000 frames of 512 x 512 x 16 bit.
const PIXEL_BYTES: u32 = 524_288_000;
const LIMIT: u64 = 100_000_000;

#[test]
fn one_large_instance_passes_in_constant_memory() {
    large_instances_pass(71, 1);
}

#[test]
fn four_large_instances_at_once_pass_in_constant_memory() {
    large_instances_pass(72, 4);
}

fn large_instances_pass(story: u64, count: u64) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut out = StoreScp::start(&folder.path().join("out"), "OUT");
    let mut sites = TwoSites::start(Some(out.port));
    let port = sites.a.config.dicom_port;
    let begun = AtomicU64::new(0);
    // None goes on before all are under way.
    let together = || {
        begun.fetch_add(1, Ordering::SeqCst);
        until(seconds(60), "all are under way", || (begun.load(Ordering::SeqCst) == count).then_some(()));
    };
    std::thread::scope(|scope| {
        for number in 0..count {
            let together = &together;
            scope.spawn(move || send_large(port, story, number, together));
        }
    });
    sites.a.all_become("b", "verified", count, seconds(240));
    sites.b.all_become("OUT", "accepted", count, seconds(240));
    let sizes: Vec<u64> = out.files().iter().map(|file| file.metadata().unwrap().len()).collect();
    assert_eq!(sizes.iter().filter(|size| **size > u64::from(PIXEL_BYTES)).count() as u64, count, "{sizes:?}");
    let (a, b) = (sites.a.peak_memory(), sites.b.peak_memory());
    println!("summary: {count} x 524 MB: peak resident memory {} MB at A and {} MB at B", a / 1_000_000, b / 1_000_000);
    assert!(a <= LIMIT, "A held {a} bytes");
    assert!(b <= LIMIT, "B held {b} bytes");
    out.stop();
    note_fired(sizes.len());
}

/// Sends one instance without ever holding it whole; what is done when its head is sent, `together` says.
fn send_large(port: u16, story: u64, number: u64, together: impl Fn()) {
    let names = names(story, number, 1);
    let mut association = Association::open(port, "SENDER", "WB_A", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
    association.begin(SECONDARY_CAPTURE, &names.instance).unwrap();
    association.data(&head(&names, PIXEL_BYTES), false).unwrap();
    let pattern: Vec<u8> = (0..1 << 20).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    together();
    let mut left = PIXEL_BYTES as usize;
    while left > 0 {
        let size = left.min(pattern.len());
        left -= size;
        association.data(&pattern[..size], left == 0).unwrap();
    }
    assert_eq!(association.answer().unwrap(), Status::SUCCESS);
    association.release();
}
