//! Huffman decoding of entropy-coded data (ITU-T T.81 annexes C and F.2.2).

use super::super::DecodeError;

/// Codes of at most this many bits are found in one step.
const QUICK: u32 = 9;

/// A Huffman table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// By the next [`QUICK`] bits: length of the code and symbol; length 0 for a longer code.
    quick: Vec<(u8, u8)>,
    /// For each length, one more than its largest code, aligned to 16 bits.
    ends: [u32; 17],
    /// For each length, what is added to a code to find its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// From the number of codes of each length, and their symbols in order.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, DecodeError> {
        let mut table =
            Self { quick: vec![(0, 0); 1 << QUICK], ends: [0; 17], offsets: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut at) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = u32::from(counts[length as usize - 1]);
            table.offsets[length as usize] = at as i32 - code as i32;
            if code + count > 1 << length {
                return Err(DecodeError::Broken("a Huffman table with too many codes"));
            }
            for symbol in symbols.iter().skip(at).take(count as usize) {
                if length <= QUICK {
                    let first = (code << (QUICK - length)) as usize;
                    table.quick[first..first + (1 << (QUICK - length))].fill((length as u8, *symbol));
                }
                code += 1;
            }
            at += count as usize;
            table.ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }
}

/// Reads the bits of one scan. Bytes that stuffing put in are left out; at a marker the data end.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    /// The next bits, from the highest down.
    ready: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest, ready: 0, count: 0 }
    }

    /// What follows the bits that were read: it begins at or before the next marker.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let (byte, length) = match self.rest {
                [0xFF, 0x00, ..] => (0xFF, 2),
                [0xFF, ..] | [] => return,
                [byte, ..] => (*byte, 1),
            };
            self.rest = &self.rest[length..];
            self.ready |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn skip(&mut self, bits: u32) -> Result<(), DecodeError> {
        self.count = self.count.checked_sub(bits).ok_or(DecodeError::Truncated)?;
        self.ready <<= bits;
        Ok(())
    }

    /// The next symbol.
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, DecodeError> {
        if self.count < 16 {
            self.fill();
        }
        let (length, symbol) = table.quick[(self.ready >> (64 - QUICK)) as usize];
        if length > 0 {
            self.skip(u32::from(length))?;
            return Ok(symbol);
        }
        let next = (self.ready >> 48) as u32;
        for length in QUICK + 1..=16 {
            if next < table.ends[length as usize] {
                self.skip(length)?;
                let at = (next >> (16 - length)) as i32 + table.offsets[length as usize];
                let symbol = usize::try_from(at).ok().and_then(|at| table.symbols.get(at));
                return symbol.copied().ok_or(DecodeError::Broken("a code that its table does not have"));
            }
        }
        Err(if self.count < 16 {
            DecodeError::Truncated
        } else {
            DecodeError::Broken("a code that its table does not have")
        })
    }

    /// The next `length` bits as a difference or coefficient of that category (ITU-T T.81 section F.2.2.1).
    pub(super) fn value(&mut self, length: u32) -> Result<i32, DecodeError> {
        if length == 0 {
            return Ok(0);
        }
        if length > 16 {
            return Err(DecodeError::Broken("a number of more than 16 bits"));
        }
        if self.count < length {
            self.fill();
        }
        let bits = (self.ready >> (64 - length)) as i32;
        self.skip(length)?;
        Ok(if bits < 1 << (length - 1) { bits - (1 << length) + 1 } else { bits })
    }

    /// Goes past the restart marker that is due.
    pub(super) fn restart(&mut self) -> Result<(), DecodeError> {
        (self.ready, self.count) = (0, 0);
        loop {
            match self.rest {
                [0xFF, 0xD0..=0xD7, after @ ..] => {
                    self.rest = after;
                    return Ok(());
                }
                [0xFF, 0xFF, ..] => self.rest = &self.rest[1..],
                _ => return Err(DecodeError::Broken("no restart marker where one is due")),
            }
        }
    }
}
