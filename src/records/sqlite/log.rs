//! The log that a killed gateway leaves beside the records: whether SQLite will drop commits of it that were synced (FLT-025).
//!
//! SQLite believes a log up to the first frame whose check fails, and drops all behind it. A power cut leaves such frames only in the
//! last commit, the one whose sync did not return: nothing of it was acknowledged. Whatever else fails its check was changed on the
//! disk. The layout is that of "WAL File Format" in the documentation of SQLite's file format.

use super::schema::{FILE, sync_directory};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// A log begins with so many bytes of its own.
const HEAD: usize = 32;
/// Each frame begins with so many; of these the first eight are checked together with the page.
const FRAME_HEAD: usize = 24;
const CHECKED: usize = 8;
/// The first word of a log whose checks add words of little endian; one more if of big endian.
const MAGIC: u32 = 0x377f_0682;
/// The bytes of a page of the records, if the log does not say it any more.
const PAGE: usize = 4096;
/// The largest page that SQLite knows.
const LARGEST_PAGE: usize = 65_536;

/// What follows the name of the records in that of their log, of a copy of it that the start has still to heed, and of one it has heeded.
const LOG: &str = "-wal";
const DOUBTED: &str = "-wal.doubted";
const DAMAGED: &str = "-wal.damaged";

/// Looks at the log before SQLite does. If it is damaged, a copy is durable when this returns: SQLite drops what cannot be read, and a
/// start that crashes behind that would see nothing amiss. Whether there is a copy that no start has heeded.
pub(in crate::records) fn keep_if_damaged(dir: &Path) -> io::Result<bool> {
    let named = |rest: &str| dir.join(format!("{FILE}{rest}"));
    let found = match File::open(named(LOG)) {
        Ok(log) => judge(&mut BufReader::with_capacity(1 << 16, log))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Log::Whole,
        Err(error) => return Err(error),
    };
    if let Log::Damaged { frame } = found {
        tracing::error!(
            frame,
            "the log of the last run has changed on the disk: what stands behind this frame is lost"
        );
        let copy = named("-wal.copy");
        fs::copy(named(LOG), &copy)?;
        File::open(&copy)?.sync_all()?;
        fs::rename(&copy, named(DOUBTED))?;
        sync_directory(dir)?;
    }
    named(DOUBTED).try_exists()
}

/// The blobs have noted that these records are in doubt: the copy stays, and puts no later start in doubt.
pub(in crate::records) fn heeded(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join(format!("{FILE}{DOUBTED}")), dir.join(format!("{FILE}{DAMAGED}")))
}

/// What a log holds, as far as its checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::records) enum Log {
    /// All that was synced can be read; what lies behind it, if anything, is an unfinished commit or older.
    Whole,
    /// What was synced has changed: SQLite would drop the frame of this number, counted from 0, and all behind it.
    Damaged {
        /// The frame.
        frame: u64,
    },
}

/// Two sums that follow one another through the log.
type Check = (u32, u32);

/// How the words are read that are summed up.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

struct Frame {
    salts: [u8; 8],
    check: Check,
    /// The number of the page, the size of the file after a commit, and the page.
    checked: Vec<u8>,
}

impl Frame {
    /// The next one; `None` at the end, also if the last is cut off.
    fn read(log: &mut impl Read, page: usize) -> io::Result<Option<Self>> {
        let Some(head) = read_or_end(log, FRAME_HEAD)? else { return Ok(None) };
        let Some(page) = read_or_end(log, page)? else { return Ok(None) };
        let mut salts = [0; 8];
        salts.copy_from_slice(&head[CHECKED..16]);
        let mut checked = head[..CHECKED].to_vec();
        checked.extend(page);
        Ok(Some(Self { salts, check: (word(&head, 16), word(&head, 20)), checked }))
    }

    fn follows(&self, before: Check, order: Order) -> bool {
        sum(order, before, &self.checked) == self.check
    }

    /// Whether it ends a commit.
    fn commits(&self) -> bool {
        word(&self.checked, 4) != 0
    }

    /// Whether it differs in one byte from the one that followed here: no torn write looks like that.
    fn is_one_byte_off(&self, before: Check, salts: [u8; 8], order: Order) -> bool {
        let found = sum(order, before, &self.checked);
        if self.salts != salts {
            return found == self.check;
        }
        let differing = |a: u32, b: u32| a.to_be_bytes().iter().zip(b.to_be_bytes()).filter(|(a, b)| **a != *b).count();
        differing(found.0, self.check.0) + differing(found.1, self.check.1) == 1
            || one_byte_explains(self.checked.len() / 8, found, self.check)
    }
}

/// Reads a whole log.
pub(in crate::records) fn judge(log: &mut impl Read) -> io::Result<Log> {
    let Some(head) = read_or_end(log, HEAD)? else { return Ok(Log::Whole) };
    let order = if word(&head, 0) == MAGIC + 1 { Order::Big } else { Order::Little };
    let stored = (word(&head, 24), word(&head, 28));
    let sound = word(&head, 0) & !1 == MAGIC && sum(order, (0, 0), &head[..24]) == stored;
    let said = usize::try_from(word(&head, 8)).ok().filter(|said| sound && *said <= LARGEST_PAGE);
    let page = said.unwrap_or(PAGE);
    let Some(mut frame) = Frame::read(log, page)? else { return Ok(Log::Whole) };
    if !sound {
        // SQLite drops the whole log. If a frame follows the head that was, that head was synced before.
        let orders = [Order::Little, Order::Big];
        let was = orders.iter().any(|o| [stored, sum(*o, (0, 0), &head[..24])].iter().any(|c| frame.follows(*c, *o)));
        return Ok(if was { Log::Damaged { frame: 0 } } else { Log::Whole });
    }
    let mut salts = [0; 8];
    salts.copy_from_slice(&head[16..24]);
    let (mut number, mut before) = (0, stored);
    while frame.salts == salts && frame.follows(before, order) {
        before = frame.check;
        number += 1;
        frame = match Frame::read(log, page)? {
            Some(next) => next,
            None => return Ok(Log::Whole),
        };
    }
    let damaged = frame.is_one_byte_off(before, salts, order) || goes_on(frame, log, (page, salts, order))?;
    Ok(if damaged { Log::Damaged { frame: number } } else { Log::Whole })
}

/// Whether a commit behind the bad frame, or in it, is followed by a frame of the same log: that one was begun after the commit was synced.
fn goes_on(mut last: Frame, log: &mut impl Read, (page, salts, order): (usize, [u8; 8], Order)) -> io::Result<bool> {
    while let Some(next) = Frame::read(log, page)? {
        if last.commits() && last.salts == salts && next.salts == salts && next.follows(last.check, order) {
            return Ok(true);
        }
        last = next;
    }
    Ok(false)
}

/// So many bytes; `None` if there are fewer.
fn read_or_end(log: &mut impl Read, bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut read = Vec::with_capacity(bytes.min(1 << 16));
    log.take(bytes as u64).read_to_end(&mut read)?;
    Ok((read.len() == bytes).then_some(read))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The check after some more bytes, of which there are a multiple of eight.
fn sum(order: Order, before: Check, bytes: &[u8]) -> Check {
    let word = |four: [u8; 4]| match order {
        Order::Little => u32::from_le_bytes(four),
        Order::Big => u32::from_be_bytes(four),
    };
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(before, |(first, second), &[a, b, c, d, e, f, g, h]| {
        let first = first.wrapping_add(word([a, b, c, d])).wrapping_add(second);
        (first, second.wrapping_add(word([e, f, g, h])).wrapping_add(first))
    })
}

/// Whether another value of one byte, anywhere in so many pairs of words, makes the check `found` the one that is wanted. What is
/// added to a word goes into the sums a known number of times, so that each word is tried with each difference of each of its bytes.
fn one_byte_explains(pairs: usize, found: Check, wanted: Check) -> bool {
    let off = (wanted.0.wrapping_sub(found.0), wanted.1.wrapping_sub(found.1));
    let explains = |(first, second): Check| {
        let mut steps = [0, 8, 16, 24].into_iter().flat_map(|shift| (1..=255u32).map(move |by| by << shift));
        steps.any(|by| {
            let up = (by.wrapping_mul(first), by.wrapping_mul(second));
            up == off || (up.0.wrapping_neg(), up.1.wrapping_neg()) == off
        })
    };
    let next = |(first, second): Check| {
        let first = first.wrapping_add(second);
        (first, second.wrapping_add(first))
    };
    // How often the first and the second word of the last pair go in, then of the one before it.
    let mut times = ((1, 1), (0, 1));
    (0..pairs).any(|_| {
        let hit = explains(times.0) || explains(times.1);
        times = (next(times.0), next(times.1));
        hit
    })
}
