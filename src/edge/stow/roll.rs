//! The instances of a request until they are named in the answer: each in some 40 bytes, so that a request costs what its limit says.
//!
//! UIDs are digits and dots, two of which go into a byte; what is as in the line before, as study, series and class mostly are, is not
//! written again. Lines lie one behind another in chunks, and are read in the order in which they were written.

/// Bytes of a chunk, which are asked for at once.
const CHUNK: usize = 4 << 10;
/// UIDs of a line.
const UIDS: usize = 4;
/// Most bytes of a line: what it has, its mark, and four UIDs of 64 characters with their lengths.
const LONGEST: usize = 1 + 2 + UIDS * (1 + 32);

/// One instance: a number that its writer gives a meaning to, and UIDs, of which any may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) mark: u16,
    pub(super) uids: [Option<Box<str>>; UIDS],
}

/// Lines, in order.
#[derive(Debug, Default)]
pub(super) struct Roll {
    chunks: Vec<Vec<u8>>,
    /// The last that was written in each place.
    last: [Option<Box<str>>; UIDS],
    count: usize,
}

/// How a UID stands in a line.
const ABSENT: u8 = 0;
const AS_BEFORE: u8 = 1;
const WRITTEN: u8 = 2;

impl Roll {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a line. UIDs have 64 characters at most.
    pub(super) fn push(&mut self, mark: u16, uids: [Option<&str>; UIDS]) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() + LONGEST > CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        let head = chunk.len();
        chunk.push(0);
        chunk.extend_from_slice(&mark.to_le_bytes());
        for (at, uid) in uids.into_iter().enumerate() {
            let Some(uid) = uid else { continue };
            let how = if self.last[at].as_deref() == Some(uid) { AS_BEFORE } else { WRITTEN };
            chunk[head] |= how << (2 * at);
            if how == WRITTEN {
                pack(uid, chunk);
                self.last[at] = Some(uid.into());
            }
        }
        self.count += 1;
    }

    /// Bytes of memory that it holds beside itself.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Vec::capacity).sum();
        chunks
            + self.chunks.capacity() * size_of::<Vec<u8>>()
            + self.last.iter().flatten().map(|uid| uid.len()).sum::<usize>()
    }
}

/// Writes its length, and two characters in each byte.
fn pack(uid: &str, out: &mut Vec<u8>) {
    let code = |character: &u8| match character {
        b'0'..=b'9' => character - b'0',
        _ => 10,
    };
    out.push(uid.len() as u8);
    out.extend(uid.as_bytes().chunks(2).map(|pair| code(&pair[0]) | pair.get(1).map_or(0, code) << 4));
}

/// Reads what [`pack`] wrote, and how many bytes it took; `None` if there is less.
fn unpack(bytes: &[u8]) -> Option<(Box<str>, usize)> {
    let (length, rest) = bytes.split_first()?;
    let (length, packed) = (usize::from(*length), rest.get(..usize::from(*length).div_ceil(2))?);
    let digits = packed.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(length);
    let text: String = digits.map(|code| if code == 10 { '.' } else { char::from(b'0' + code) }).collect();
    Some((text.into(), 1 + packed.len()))
}

/// The lines of a roll; its chunks are given back as they are read.
pub(super) struct Lines {
    chunks: std::vec::IntoIter<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    last: [Option<Box<str>>; UIDS],
}

impl IntoIterator for Roll {
    type Item = Line;
    type IntoIter = Lines;

    fn into_iter(self) -> Lines {
        Lines { chunks: self.chunks.into_iter(), chunk: Vec::new(), at: 0, last: Default::default() }
    }
}

impl Iterator for Lines {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        if self.at == self.chunk.len() {
            (self.chunk, self.at) = (self.chunks.next()?, 0);
        }
        let [how, low, high] = *self.chunk.get(self.at..)?.first_chunk::<3>()?;
        self.at += 3;
        let mut uids: [Option<Box<str>>; UIDS] = Default::default();
        for (place, uid) in uids.iter_mut().enumerate() {
            match how >> (2 * place) & 3 {
                ABSENT => continue,
                AS_BEFORE => {}
                _ => {
                    let (text, taken) = unpack(self.chunk.get(self.at..)?)?;
                    self.at += taken;
                    self.last[place] = Some(text);
                }
            }
            uid.clone_from(&self.last[place]);
        }
        Some(Line { mark: u16::from_le_bytes([low, high]), uids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WEB-026: every line is read as it was written, whatever stands before it.
    #[test]
    fn lines_are_read_as_they_were_written() {
        let long = "1.".to_owned() + &"9".repeat(62);
        let uids: [&[Option<&str>; UIDS]; 5] = [
            &[Some("1.2.840.10008.5.1.4.1.1.7"), Some("1.2"), Some("1.2.3"), Some("1.2.3.4")],
            &[Some("1.2.840.10008.5.1.4.1.1.7"), Some("1.2"), Some("1.2.3"), Some("1.2.3.45")],
            &[None, None, None, Some("0")],
            &[None, None, None, None],
            &[Some(&long), Some(&long), Some(&long), Some(&long)],
        ];
        let mut roll = Roll::default();
        let mut written = Vec::new();
        for n in 0..5000u16 {
            let line = uids[usize::from(n) * 7 % 5];
            roll.push(n, *line);
            written.push(Line { mark: n, uids: line.map(|uid| uid.map(Box::from)) });
        }
        assert_eq!((roll.len(), roll.is_empty(), Roll::default().is_empty()), (5000, false, true));
        assert_eq!(roll.into_iter().collect::<Vec<_>>(), written);
    }

    /// SEC-021: what a request costs is known: 10,000 instances of one series cost 400 KB, and 1.4 MB where no two have anything in common.
    #[test]
    fn a_line_costs_what_is_said() {
        let uid = |n: usize| format!("1.2.840.113619.2.55.3.{:0>42}", n);
        let (mut usual, mut worst) = (Roll::default(), Roll::default());
        for n in 0..10_000 {
            let own = uid(n);
            assert_eq!(own.len(), 64);
            usual.push(1, [Some("1.2.840.10008.5.1.4.1.1.2"), Some(&uid(0)), Some(&uid(0)), Some(&own)]);
            worst.push(1, [Some(&own), Some(&own), Some(&own), Some(&own)]);
        }
        let each = |roll: &Roll| roll.bytes() / roll.len();
        assert!(each(&usual) <= 40, "{}", each(&usual));
        assert!(each(&worst) <= 145, "{}", each(&worst));
    }
}
