//! The bits of a JPEG-LS scan: after a byte of 0xFF the next has seven (ITU-T T.87 section A.1).

use super::super::DecodeError;

/// Reads bits from the highest down.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    ready: u64,
    count: u32,
    after_ff: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, ready: 0, count: 0, after_ff: false }
    }

    /// Bytes taken; a marker begins at or after it, since none is ever taken.
    pub(super) fn taken(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(byte) = self.data.get(self.at).copied() else { return };
            if self.after_ff {
                // A set bit after 0xFF means a marker.
                if byte & 0x80 != 0 {
                    return;
                }
                self.ready |= u64::from(byte) << (57 - self.count);
                self.count += 7;
            } else {
                // What looks like data may be the first byte of a marker.
                if byte == 0xFF && self.data.get(self.at + 1).is_none_or(|next| next & 0x80 != 0) {
                    return;
                }
                self.ready |= u64::from(byte) << (56 - self.count);
                self.count += 8;
            }
            self.after_ff = byte == 0xFF;
            self.at += 1;
        }
    }

    fn skip(&mut self, bits: u32) -> Result<(), DecodeError> {
        self.count = self.count.checked_sub(bits).ok_or(DecodeError::Truncated)?;
        self.ready = self.ready.checked_shl(bits).unwrap_or(0);
        Ok(())
    }

    /// One bit.
    pub(super) fn bit(&mut self) -> Result<bool, DecodeError> {
        if self.count == 0 {
            self.fill();
        }
        let bit = self.ready >> 63 != 0;
        self.skip(1)?;
        Ok(bit)
    }

    /// A number of at most 32 bits.
    pub(super) fn number(&mut self, length: u32) -> Result<u32, DecodeError> {
        if length == 0 {
            return Ok(0);
        }
        if self.count < length {
            self.fill();
        }
        let number = (self.ready >> (64 - length)) as u32;
        self.skip(length)?;
        Ok(number)
    }

    /// Zeros up to the next one, which is taken too; an error beyond `most`.
    fn zeros(&mut self, most: u32) -> Result<u32, DecodeError> {
        if self.count <= most {
            self.fill();
        }
        let zeros = self.ready.leading_zeros();
        if zeros > most {
            return Err(if zeros >= self.count {
                DecodeError::Truncated
            } else {
                DecodeError::Broken("a code that is too long")
            });
        }
        self.skip(zeros + 1)?;
        Ok(zeros)
    }

    /// A Golomb code of limited length (ITU-T T.87 section A.5.3).
    pub(super) fn golomb(&mut self, k: u32, limit: u32, bits: u32) -> Result<i32, DecodeError> {
        let longest = limit.checked_sub(bits + 1).ok_or(DecodeError::Broken("its limits"))?;
        let high = self.zeros(longest)?;
        let value = if high < longest {
            i64::from(high) << k | i64::from(self.number(k)?)
        } else {
            i64::from(self.number(bits)?) + 1
        };
        i32::try_from(value).map_err(|_| DecodeError::Broken("a number that is too large"))
    }
}
