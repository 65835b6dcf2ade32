//! Palettes in segments: values one by one, straight lines, and segments used again (PS3.3 section C.7.9.2).

/// Segments that are looked at in one palette; one of 65,536 entries has no use for more.
const MOST_SEGMENTS: usize = 65_536;

/// The first so many entries of a palette, from segments whose words have 8 or 16 bits; `None` if they say something else.
pub(super) fn expanded(data: &[u8], bits: u16, count: usize) -> Option<Vec<u16>> {
    let mut segments = Segments { bytes: data, wide: bits > 8, count, left: MOST_SEGMENTS, entries: Vec::new() };
    let mut at = 0;
    while segments.entries.len() < count {
        at = segments.segment(at, true)?;
    }
    segments.entries.truncate(count);
    Some(segments.entries)
}

struct Segments<'a> {
    bytes: &'a [u8],
    /// Words of 16 bits.
    wide: bool,
    /// Entries that are wanted.
    count: usize,
    /// Segments that may still be looked at.
    left: usize,
    entries: Vec<u16>,
}

impl Segments<'_> {
    /// Expands the segment at a byte; gives the byte after it.
    fn segment(&mut self, mut at: usize, may_repeat: bool) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let code = self.word(&mut at)?;
        let length = usize::from(self.word(&mut at)?);
        match code {
            0 => {
                for _ in 0..length {
                    let value = self.word(&mut at)?;
                    self.put(value);
                }
            }
            1 => {
                let (from, to) = (f64::from(*self.entries.last()?), self.word(&mut at)?);
                let step = (f64::from(to) - from) / length as f64;
                (1..=length).for_each(|n| self.put((from + step * n as f64).round_ties_even() as u16));
            }
            2 if may_repeat => {
                let offset = self.bytes.get(at..)?.first_chunk::<4>()?;
                let mut from = usize::try_from(u32::from_le_bytes(*offset)).ok()?;
                at += 4;
                for _ in 0..length {
                    from = self.segment(from, false)?;
                }
            }
            _ => return None,
        }
        Some(at)
    }

    fn word(&self, at: &mut usize) -> Option<u16> {
        let rest = self.bytes.get(*at..)?;
        let value = match self.wide {
            true => u16::from_le_bytes(*rest.first_chunk()?),
            false => u16::from(*rest.first()?),
        };
        *at += if self.wide { 2 } else { 1 };
        Some(value)
    }

    fn put(&mut self, value: u16) {
        if self.entries.len() < self.count {
            self.entries.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[u16]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn segments_are_expanded_as_the_standard_says() {
        type Row<'a> = (&'a [u16], usize, Option<&'a [u16]>);
        let wide: [Row<'_>; 8] = [
            (&[0, 3, 7, 8, 9], 3, Some(&[7, 8, 9])),
            (&[0, 1, 10, 1, 4, 50], 5, Some(&[10, 20, 30, 40, 50])),
            (&[0, 1, 50, 1, 4, 10], 5, Some(&[50, 40, 30, 20, 10])),
            // The line again, from where the entries have come to.
            (&[0, 1, 0, 1, 2, 8, 2, 1, 6, 0], 5, Some(&[0, 4, 8, 8, 8])),
            (&[0, 2, 5, 6, 2, 1, 0, 0, 2, 1, 0, 0], 6, Some(&[5, 6, 5, 6, 5, 6])),
            (&[1, 4, 50], 4, None),
            (&[0, 1, 5, 2, 1, 6, 0], 4, None),
            (&[0, 9, 1], 9, None),
        ];
        for (data, count, want) in wide {
            assert_eq!(expanded(&words(data), 16, count).as_deref(), want, "{data:?}");
        }
        assert_eq!(expanded(&[0, 1, 5, 2, 2, 0, 0, 0, 0, 0, 1, 7], 8, 2), None, "a segment of another place");
        assert_eq!(expanded(&[0, 1, 5, 1, 2, 9, 2, 1, 0, 0, 0, 0], 8, 4), Some(vec![5, 7, 9, 5]));
        assert_eq!(expanded(&words(&[2, 65_535, 8, 0, 0, 0]).repeat(9_000), 16, 65_536), None, "no end of nothing");
    }
}
