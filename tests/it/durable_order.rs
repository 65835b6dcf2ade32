//! The order in which an arrival is made durable and answered, by strace: bytes and name, then the records, each synced, then the answer.

use crate::support::files::{EXPLICIT_LE, SECONDARY_CAPTURE, data_set, names, part10};
use crate::support::gateway::Gateway;
use crate::support::multipart::{body, content_type};
use crate::support::pacs::{Association, Status};
use crate::support::strace::{Call, Strace, read};
use crate::support::two_sites::Stage;
use crate::support::wire::Wire;

const WRITE: &str = "write,writev,pwrite64,pwritev,pwritev2";
const SIZE: &str = "ftruncate,fallocate";
const SYNC: &str = "fsync,fdatasync";
const SAY: &str = "write,writev,sendto,sendmsg";

/// What is seen of one arrival.
struct Arrival {
    /// The port of the gateway that it came to, at which nobody else calls.
    port: u16,
    /// At least so many bytes are written.
    bytes: u64,
    /// How the name of the file ends in which they are.
    file: &'static str,
    /// That file is made for it.
    new: bool,
}

impl Arrival {
    /// Whether the calls since its caller was last answered came in the order that is promised; else, what did not. An arrival commits
    /// once; what is committed from the first step of its blob to its answer is taken for that.
    fn is_in_order(&self, calls: &[Call]) -> Result<(), String> {
        let at = format!("TCP:[127.0.0.1:{}->", self.port);
        let answer = calls.iter().find(|call| call.is_of(SAY) && call.path.starts_with(&at)).ok_or("no answer")?;
        let blob: Vec<&Call> = calls.iter().filter(|call| self.changes_a_blob(call)).collect();
        let first = blob.first().ok_or("no blob is written")?;
        let (path, dir) = (first.path.as_str(), first.path.rsplit_once('/').unwrap_or_default().0);
        let written: i64 = blob.iter().filter(|call| call.is_of(WRITE)).filter_map(|call| call.result).sum();
        if blob.iter().any(|call| call.path != path || call.result.is_none_or(|result| result < 0)) {
            return Err(format!("not one blob, or a call on it that failed: {blob:?}"));
        }
        if written.unsigned_abs() < self.bytes || (first.name == "openat") != self.new {
            return Err(format!("{written} bytes are written, after {}", first.name));
        }
        let mut kept = synced(calls, path, last(&blob))?;
        if self.new {
            kept = kept.max(synced(calls, dir, last(&blob[..1]))?);
        }
        let between = first.entered..answer.entered;
        let log = calls.iter().filter(|call| call.is_of(WRITE) && call.path.ends_with("/records.db-wal"));
        let commit: Vec<&Call> = log.filter(|call| between.contains(&call.entered)).collect();
        let begun = commit.first().ok_or("nothing is committed before the answer")?.entered;
        if begun < kept {
            return Err(format!("the commit begins in line {begun}, the blob is kept in {kept}"));
        }
        let committed = synced(calls, &commit[0].path, last(&commit))?;
        let told = format!("the answer begins in line {}, the commit is kept in {committed}", answer.entered);
        if committed < answer.entered { Ok(()) } else { Err(told) }
    }

    fn changes_a_blob(&self, call: &Call) -> bool {
        let changes = call.is_of(WRITE) || call.is_of(SIZE) || call.name == "openat" && call.given.contains("O_CREAT");
        changes && call.path.contains("/blobs/") && call.path.ends_with(self.file)
    }
}

/// Where the last of some calls returned; one that did not comes after everything.
fn last(calls: &[&Call]) -> usize {
    calls.iter().map(|call| call.returned.unwrap_or(usize::MAX)).max().unwrap_or(usize::MAX)
}

/// Where the first successful sync of a file returned that was entered after a line.
fn synced(calls: &[Call], path: &str, after: usize) -> Result<usize, String> {
    let of_it = calls.iter().filter(|call| call.is_of(SYNC) && call.path == path && call.entered > after);
    let done = of_it.filter(|call| call.result == Some(0)).find_map(|call| call.returned);
    done.ok_or_else(|| format!("{path} is not synced after line {after}"))
}

/// A site that a node and a peer store at, and that owes nothing to anybody: nothing is committed but what arrives.
fn site() -> (Stage, Gateway) {
    let stage = Stage::new();
    let config = stage.site_b().node("SENDER", None);
    let gateway = Gateway::start(&stage.path().join("site"), config);
    (stage, gateway)
}

/// The calls of the gateway while something is done that it answers once. The connection stands before: what its beginning has to say,
/// an acceptance or a TLS session ticket, was said. So the first that the gateway says on it is the answer.
fn traced(stage: &Stage, gateway: &mut Gateway, act: impl FnOnce()) -> Vec<Call> {
    let strace = Strace::attach(gateway.process().id(), stage.path());
    act();
    strace.finish()
}

#[test]
fn a_c_store_is_answered_when_bytes_name_and_records_are_synced() {
    let (stage, mut gateway) = site();
    // The first small one makes the segment, in which the second goes; the third is above the store's buffers.
    let rows = [(5_000, ".seg", true), (525_000, ".seg", false), (2 << 20, ".obj", true)];
    for (number, (pixels, file, new)) in (1..).zip(rows) {
        let names = names(640, 1, number);
        let bytes = data_set(&names, pixels, number);
        let port = gateway.config.dicom_port;
        let mut association = Association::open(port, "SENDER", "WB_B", SECONDARY_CAPTURE, EXPLICIT_LE).unwrap();
        let calls = traced(&stage, &mut gateway, || {
            let status = association.store(SECONDARY_CAPTURE, &names.instance, &bytes).unwrap();
            assert_eq!(status, Status::SUCCESS);
        });
        association.release();
        let arrival = Arrival { port, bytes: bytes.len() as u64, file, new };
        let seen = arrival.is_in_order(&calls);
        assert_eq!(seen, Ok(()), "{pixels} bytes of pixels:\n{calls:#?}");
    }
    gateway.stop();
}

#[test]
fn a_stow_answer_is_begun_when_bytes_name_and_records_are_synced() {
    let (stage, mut gateway) = site();
    let names = names(641, 1, 1);
    let bytes = data_set(&names, 525_000, 1);
    let part = part10(SECONDARY_CAPTURE, &names.instance, EXPLICIT_LE, &bytes);
    let port = gateway.config.web_port;
    let mut wire = Wire::open(&stage.identity_of_a(), port);
    wire.request("OPTIONS /dicom-web", &[], b"").unwrap();
    assert_eq!(wire.answer().map(|reply| reply.status), Some(200));
    let calls = traced(&stage, &mut gateway, || {
        let kind = format!("Content-Type: {}", content_type());
        wire.request("POST /dicom-web/studies", &[&kind], &body(&[part], true)).unwrap();
        assert_eq!(wire.answer().map(|reply| reply.status), Some(200));
    });
    let arrival = Arrival { port, bytes: bytes.len() as u64, file: ".seg", new: true };
    assert_eq!(arrival.is_in_order(&calls), Ok(()), "{calls:#?}");
    gateway.stop();
}

/// One arrival as it must be. Lines 1 and 2 are one call, within which another thread does something.
const RIGHT: [&str; 9] = [
    "7 openat(AT_FDCWD</>, \"/d/blobs/1.obj\", O_WRONLY|O_CREAT|O_EXCL, 0666) = 9</d/blobs/1.obj>",
    "7 pwritev(9</d/blobs/1.obj>, [{iov_base=\"\"..., iov_len=8192}], 1, 0 <unfinished ...>",
    "7 <... pwritev resumed>) = 8192",
    "7 fdatasync(9</d/blobs/1.obj>) = 0",
    "7 fsync(4</d/blobs>) = 0",
    "8 pwrite64(5</d/records.db-wal>, \"\"..., 4096, 32) = 4096",
    "8 pwrite64(5</d/records.db-wal>, \"\"..., 4096, 4128) = 4096",
    "8 fdatasync(5</d/records.db-wal>) = 0",
    "9 sendto(6<TCP:[127.0.0.1:104->127.0.0.1:4242]>, \"\"..., 78, MSG_NOSIGNAL, NULL, 0) = 78",
];

#[test]
fn each_other_order_is_seen() {
    let arrival = Arrival { port: 104, bytes: 8000, file: ".obj", new: true };
    let seen = |lines: &[&str]| arrival.is_in_order(&read(&lines.join("\n")));
    assert_eq!(seen(&RIGHT), Ok(()));
    for at in [0, 1, 2, 3, 4, 7, 8] {
        let mut lines = RIGHT.to_vec();
        let line = lines.remove(at);
        assert!(seen(&lines).is_err(), "without {line}");
    }
    // The file may be synced after its directory; of all others each waits for the one before.
    for (from, to) in [(3, 1), (3, 2), (3, 5), (3, 6), (4, 5), (5, 3), (7, 5), (7, 6), (8, 0), (8, 4), (8, 5), (8, 7)] {
        let mut lines = RIGHT.to_vec();
        let line = lines.remove(from);
        lines.insert(to, line);
        assert!(seen(&lines).is_err(), "line {from} in place of {to}");
    }
    for at in [3, 4, 7] {
        let failed = RIGHT[at].replace("= 0", "= -1 EIO (Input/output error)");
        let mut lines = RIGHT.to_vec();
        lines[at] = &failed;
        assert!(seen(&lines).is_err(), "{failed}");
    }
    assert!(Arrival { bytes: 9000, ..arrival }.is_in_order(&read(&RIGHT.join("\n"))).is_err(), "not all bytes");
}
