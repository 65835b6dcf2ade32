//! Deflated data sets: inflating in small steps, with a limit on what comes out (PS3.5 section A.5).

use super::walk::PADDING;
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Bytes inflated at a time.
const STEP: usize = 32 * 1024;

/// Bytes of the trailer of gzip.
const TRAILER: usize = 8;

/// Why a deflated data set cannot be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InflateError {
    /// The bytes are not a deflate stream, or something follows it.
    Corrupt,
    /// More comes out than the limit.
    TooLarge,
    /// The stream has no end.
    Truncated,
}

/// Inflates a stream that comes in pieces. It holds the 32 KiB window of RFC 1951 and one step of output.
pub(super) struct Inflater {
    /// Chosen by the first two bytes: raw deflate as the standard says, or wrapped in zlib as some writers have it.
    engine: Option<Decompress>,
    start: Vec<u8>,
    step: Vec<u8>,
    left: u64,
    ended: bool,
    /// Of what came out.
    checksum: Crc,
    /// The first bytes after the stream, at most those of a trailer.
    trailer: Vec<u8>,
    padding: u64,
}

impl Inflater {
    /// An inflater that gives at most `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            engine: None,
            start: Vec::new(),
            step: Vec::new(),
            left: limit,
            ended: false,
            checksum: Crc::new(),
            trailer: Vec::new(),
            padding: 0,
        }
    }

    /// Takes `input` and hands what comes out to `sink`, in steps.
    pub(super) fn push<E: From<InflateError>>(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.engine.is_some() {
            return self.run(input, &mut sink);
        }
        let take = input.len().min(2 - self.start.len());
        let (head, rest) = input.split_at(take);
        self.start.extend_from_slice(head);
        if let [cmf, flg] = self.start[..] {
            // RFC 1950: method 8, a window of 32 KiB, and a multiple of 31. As raw deflate 0x78 would be a stored block
            // with rubbish in its padding bits.
            let zlib = cmf == 0x78 && u16::from_be_bytes([cmf, flg]).is_multiple_of(31);
            self.engine = Some(Decompress::new(zlib));
            self.step = vec![0; STEP];
            self.run(&[cmf, flg], &mut sink)?;
            self.run(rest, &mut sink)?;
        }
        Ok(())
    }

    fn run<E: From<InflateError>>(
        &mut self,
        mut input: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        while !self.ended {
            let (taken_before, given_before) = (engine.total_in(), engine.total_out());
            let status =
                engine.decompress(input, &mut self.step, FlushDecompress::None).map_err(|_| InflateError::Corrupt)?;
            let taken = usize::try_from(engine.total_in() - taken_before).unwrap_or(input.len());
            let given = usize::try_from(engine.total_out() - given_before).unwrap_or(STEP);
            input = &input[taken..];
            self.left = self.left.checked_sub(given as u64).ok_or(InflateError::TooLarge)?;
            self.checksum.update(&self.step[..given]);
            sink(&self.step[..given])?;
            self.ended = status == Status::StreamEnd;
            if taken == 0 && given == 0 && !self.ended {
                return if input.is_empty() { Ok(()) } else { Err(InflateError::Corrupt.into()) };
            }
        }
        self.after(input).map_err(E::from)
    }

    /// What follows the stream. PS3.5 section A.5 allows one zero byte to make the length even; the field has more, and
    /// it has the trailer of gzip (RFC 1952 section 2.3.1), which must then be right.
    fn after(&mut self, input: &[u8]) -> Result<(), InflateError> {
        let (head, rest) = input.split_at(input.len().min(TRAILER - self.trailer.len()));
        self.trailer.extend_from_slice(head);
        self.padding += rest.len() as u64;
        if self.padding > PADDING || rest.iter().any(|&b| b != 0) {
            return Err(InflateError::Corrupt);
        }
        Ok(())
    }

    /// Says whether the stream was whole.
    pub(super) fn finish(&self) -> Result<(), InflateError> {
        if !self.ended {
            return Err(InflateError::Truncated);
        }
        let gzip = [self.checksum.sum().to_le_bytes(), self.checksum.amount().to_le_bytes()].concat();
        let fine = self.trailer.iter().all(|&b| b == 0) || self.trailer == gzip;
        if fine { Ok(()) } else { Err(InflateError::Corrupt) }
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inflater({} bytes left)", self.left)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    /// Deflates, raw or wrapped in zlib.
    pub(in crate::dicom) fn deflate(bytes: &[u8], zlib: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 1024);
        Compress::new(Compression::default(), zlib).compress_vec(bytes, &mut out, FlushCompress::Finish).unwrap();
        out
    }

    fn inflate(bytes: &[u8], piece: usize, limit: u64) -> Result<Vec<u8>, InflateError> {
        let mut inflater = Inflater::new(limit);
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            inflater.push(piece, |bytes| {
                out.extend_from_slice(bytes);
                Ok::<_, InflateError>(())
            })?;
        }
        inflater.finish()?;
        Ok(out)
    }

    #[test]
    fn streams_inflate_in_pieces_of_any_size() {
        let plain: Vec<u8> = (0..100_000u32).flat_map(|n| (n % 977).to_le_bytes()).collect();
        for zlib in [false, true] {
            let mut deflated = deflate(&plain, zlib);
            for padding in 0..3 {
                for piece in [1, 2, 3, 1000, usize::MAX] {
                    assert_eq!(inflate(&deflated, piece, 400_000).as_ref(), Ok(&plain), "{zlib} {padding} {piece}");
                }
                deflated.push(0);
            }
        }
    }

    #[test]
    fn the_trailer_of_gzip_may_follow_if_it_is_right() {
        let deflated = deflate(b"123456789", false);
        let right = [&deflated[..], &0xCBF4_3926_u32.to_le_bytes(), &[9, 0, 0, 0]].concat();
        for piece in [1, 7, 100] {
            assert_eq!(inflate(&right, piece, 10), Ok(b"123456789".to_vec()));
            assert_eq!(inflate(&[&right[..], &[0]].concat(), piece, 10), Ok(b"123456789".to_vec()));
            assert_eq!(inflate(&right[..right.len() - 5], piece, 10), Err(InflateError::Corrupt));
            let mut wrong = right.clone();
            wrong[deflated.len()] ^= 1;
            assert_eq!(inflate(&wrong, piece, 10), Err(InflateError::Corrupt));
        }
    }

    #[test]
    fn what_is_cut_wrong_or_too_large_is_refused() {
        let deflated = deflate(&[7; 10_000], false);
        assert_eq!(inflate(&deflated, 5, 9_999), Err(InflateError::TooLarge));
        for cut in 0..deflated.len() {
            assert_eq!(inflate(&deflated[..cut], 5, 10_000), Err(InflateError::Truncated), "{cut}");
        }
        assert_eq!(inflate(&[deflated.clone(), vec![0, 1]].concat(), 5, 10_000), Err(InflateError::Corrupt));
        assert_eq!(inflate(&[deflated, vec![0; (1 << 20) + 9]].concat(), 5, 10_000), Err(InflateError::Corrupt));
        assert_eq!(inflate(&[0xFF; 100], 5, 10_000), Err(InflateError::Corrupt));
    }
}
