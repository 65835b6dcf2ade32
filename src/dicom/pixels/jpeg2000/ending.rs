//! Where a JPEG 2000 codestream ends: some leave out the marker that the library insists on, or leave a length to it.

use super::demand::Walk;
use std::borrow::Cow;

/// End of codestream (ITU-T T.800 section A.4.4).
const END: [u8; 2] = [0xFF, 0xD9];
/// Where a tile-part's length stands, counted from its first byte (section A.4.2).
const LENGTH_AT: usize = 6;

/// The codestream with the length of its last tile-part, which may be 0 for "up to the end" (section A.4.2), and with the marker of the end,
/// where only that is missing. Any other is as it was.
pub(super) fn ended(codestream: &[u8]) -> Cow<'_, [u8]> {
    mended(codestream).map_or(Cow::Borrowed(codestream), Cow::Owned)
}

fn mended(codestream: &[u8]) -> Option<Vec<u8>> {
    let mut at = first_part(codestream)?;
    loop {
        let length = codestream.get(at + LENGTH_AT..at + LENGTH_AT + 4)?;
        let length = length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
        if length == 0 {
            return with_length(codestream, at);
        }
        at = at.checked_add(length)?;
        let rest = codestream.get(at..)?;
        if !rest.starts_with(&[0xFF, 0x90]) {
            // Zeros are padding.
            let missing = rest.iter().all(|byte| *byte == 0);
            return missing.then(|| [&codestream[..at], &END].concat());
        }
    }
}

/// Where the first tile-part begins.
fn first_part(codestream: &[u8]) -> Option<usize> {
    let mut walk = Walk { codestream, at: 2 };
    loop {
        match walk.marker()? {
            0x90 => return Some(walk.at),
            0x30..=0x3F => walk.at += 2,
            _ => drop(walk.segment().ok()?),
        }
    }
}

/// The same whose last tile-part, which begins at `at`, says how long it is.
fn with_length(codestream: &[u8], at: usize) -> Option<Vec<u8>> {
    let padding = codestream.iter().rev().take_while(|byte| **byte == 0).count();
    let unpadded = &codestream[..codestream.len() - padding];
    let end = unpadded.strip_suffix(&END).unwrap_or(codestream).len();
    let length = u32::try_from(end.checked_sub(at)?).ok()?;
    let mut whole = [&codestream[..end], &END].concat();
    whole.get_mut(at + LENGTH_AT..at + LENGTH_AT + 4)?.copy_from_slice(&length.to_be_bytes());
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A codestream with tile-parts of these bytes of data, each with its length or 0; and what follows them.
    fn codestream(parts: &[(&[u8], bool)], rest: &[u8]) -> Vec<u8> {
        let mut out = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 4, 0xFF, 0x90, 0xFF, 0x52, 0, 3, 9];
        for (data, length) in parts {
            let all = if *length { 14 + data.len() as u32 } else { 0 };
            out.extend([0xFF, 0x90, 0, 10, 0, 0]);
            out.extend(all.to_be_bytes());
            out.extend([0, 1, 0xFF, 0x93]);
            out.extend_from_slice(data);
        }
        out.extend_from_slice(rest);
        out
    }

    /// Only the end is mended: padding and whole codestreams stay, and what is cut short or is something else is left to the decoder.
    #[test]
    fn a_codestream_gets_the_end_that_it_lacks() {
        let (one, two): (&[u8], &[u8]) = (&[1, 0, 2], &[3, 0]);
        let whole = codestream(&[(one, true), (two, true)], &END);
        let same = [
            whole.clone(),
            [&whole[..], &[0]].concat(),
            codestream(&[(one, true), (two, true)], &[7]),
            whole[..whole.len() - 3].to_vec(),
            whole[..20].to_vec(),
            vec![0xFF, 0x4F],
            Vec::new(),
        ];
        for bytes in same {
            assert!(matches!(ended(&bytes), Cow::Borrowed(kept) if kept == bytes), "{bytes:?}");
        }
        for rest in [&[][..], &[0], &[0, 0, 0]] {
            assert_eq!(*ended(&codestream(&[(one, true), (two, true)], rest)), whole, "{rest:?}");
        }
        for rest in [&END[..], &[0xFF, 0xD9, 0], &[0xFF, 0xD9, 0, 0]] {
            assert_eq!(*ended(&codestream(&[(one, true), (two, false)], rest)), whole, "{rest:?}");
        }
        // What may be data is.
        assert_eq!(*ended(&codestream(&[(one, true), (two, false)], &[])), whole);
    }
}
