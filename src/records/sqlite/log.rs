//! The log that a killed gateway leaves beside the records: whether SQLite will drop commits of it that were synced (FLT-025).
//!
//! SQLite believes a log up to the first frame whose check fails, and drops all behind it. A power cut leaves such frames only in the
//! last commit, the one whose sync did not return: nothing of it was acknowledged. Whatever else fails its check was changed on the
//! disk. The layout is that of "WAL File Format" in the documentation of SQLite's file format.

use std::io::{self, Read};

mod kept;

pub(in crate::records) use kept::{heeded, is_damaged_at_rest, keep_if_damaged};

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
/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

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

    /// How one changed byte would explain that it does not follow here. `begins` is where it stands in the log.
    fn one_byte_off(&self, before: Check, salts: [u8; 8], order: Order, begins: u64) -> Explained {
        let found = sum(order, before, &self.checked);
        let (elsewhere, in_first) = if self.salts != salts {
            (found == self.check && differing(&self.salts, &salts) == 1, false)
        } else if differing(&bytes_of(found), &bytes_of(self.check)) == 1 {
            (true, false)
        } else {
            one_byte_explains(self.checked.len() / 8, found, self.check)
        };
        // If a sector ends behind the first pair, a power cut may have left that pair alone as it was before.
        if in_first && (begins + CHECKED as u64).is_multiple_of(SECTOR) {
            return Explained::No;
        }
        match (in_first || elsewhere && self.commits(), elsewhere) {
            (true, _) => Explained::InACommit,
            (false, true) => Explained::IfCommitted([self.check, found]),
            (false, false) => Explained::No,
        }
    }
}

/// Whether one changed byte explains that a frame does not follow.
enum Explained {
    /// And this frame ends its commit, or it cannot be known any more whether it does.
    InACommit,
    /// If it was committed: what is written to the log before a commit may be written again there, and its checks are put right by the
    /// commit. The next frame follows one of these.
    IfCommitted([Check; 2]),
    /// No.
    No,
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
        // SQLite drops the whole log. Its head was synced before anything was written behind it.
        return Ok(Log::Damaged { frame: 0 });
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
    let begins = HEAD as u64 + number * (FRAME_HEAD + page) as u64;
    let damaged = match frame.one_byte_off(before, salts, order, begins) {
        Explained::InACommit => true,
        Explained::IfCommitted(either) => was_synced(frame, &either, log, (page, salts, order))?,
        Explained::No => was_synced(frame, &[], log, (page, salts, order))?,
    };
    Ok(if damaged { Log::Damaged { frame: number } } else { Log::Whole })
}

/// Whether what stands behind a bad frame shows that it was synced: a commit, there or behind it, that another frame of the same log
/// follows, since that one was begun after the commit was synced. Or, if one of `either` is what the next one follows, frames without
/// a gap up to the end of a commit.
fn was_synced(
    mut last: Frame,
    either: &[Check],
    log: &mut impl Read,
    (page, salts, order): (usize, [u8; 8], Order),
) -> io::Result<bool> {
    let mut goes_on = either.to_vec();
    while let Some(next) = Frame::read(log, page)? {
        let follows = |before: Check| next.salts == salts && next.follows(before, order);
        if last.commits() && last.salts == salts && follows(last.check) {
            return Ok(true);
        }
        let runs_on = goes_on.iter().any(|before| follows(*before));
        if runs_on && next.commits() {
            return Ok(true);
        }
        goes_on = if runs_on { vec![next.check] } else { Vec::new() };
        last = next;
    }
    Ok(false)
}

fn bytes_of((first, second): Check) -> [u8; 8] {
    (u64::from(first) << 32 | u64::from(second)).to_be_bytes()
}

/// In how many bytes these differ.
fn differing(a: &[u8; 8], b: &[u8; 8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
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

/// Whether another value of one byte, in so many pairs of words, makes the check `found` the one that is wanted: of any pair but the
/// first, and of the first. What is added to a word goes into the sums a known number of times, so that each word is tried with each
/// difference of each of its bytes.
fn one_byte_explains(pairs: usize, found: Check, wanted: Check) -> (bool, bool) {
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
    let mut pair = || {
        let hit = explains(times.0) || explains(times.1);
        times = (next(times.0), next(times.1));
        hit
    };
    let elsewhere = (1..pairs).fold(false, |hit, _| pair() || hit);
    (elsewhere, pair())
}
