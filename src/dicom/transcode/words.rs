//! Turning the words of a value round, from big to little endian, in pieces of any size (PS3.5 section 7.3).

/// A value in passing: its word size, and the bytes of a word that is not whole yet.
#[derive(Debug)]
pub(super) struct Words {
    size: usize,
    held: Vec<u8>,
}

impl Words {
    /// Words of `size` bytes; 1 leaves everything as it is.
    pub(super) fn of(size: usize) -> Self {
        Self { size, held: Vec::new() }
    }

    /// Appends the words that `piece` completes, turned round.
    pub(super) fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        if self.size <= 1 {
            out.extend_from_slice(piece);
            return;
        }
        if !self.held.is_empty() {
            let take = piece.len().min(self.size - self.held.len());
            self.held.extend_from_slice(&piece[..take]);
            piece = &piece[take..];
            if self.held.len() < self.size {
                return;
            }
            out.extend(self.held.drain(..).rev());
        }
        let words = piece.chunks_exact(self.size);
        self.held.extend_from_slice(words.remainder());
        let start = out.len();
        out.extend_from_slice(&piece[..piece.len() - self.held.len()]);
        out[start..].chunks_exact_mut(self.size).for_each(<[u8]>::reverse);
    }

    /// Ends the value. A last word that is not whole is no number; its bytes stay as they are.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_turned_round_wherever_they_are_cut() {
        let rows: &[(usize, &[u8], &[u8])] = &[
            (1, &[1, 2, 3], &[1, 2, 3]),
            (2, &[1, 2, 3, 4], &[2, 1, 4, 3]),
            (2, &[1, 2, 3], &[2, 1, 3]),
            (4, &[1, 2, 3, 4, 5, 6, 7, 8], &[4, 3, 2, 1, 8, 7, 6, 5]),
            (8, &[1, 2, 3, 4, 5, 6, 7, 8, 9], &[8, 7, 6, 5, 4, 3, 2, 1, 9]),
            (8, &[], &[]),
        ];
        for &(size, value, want) in rows {
            for piece in 1..=9 {
                let (mut words, mut out) = (Words::of(size), Vec::new());
                value.chunks(piece).for_each(|piece| words.push(piece, &mut out));
                words.end(&mut out);
                assert_eq!(out, want, "{size} {piece}");
            }
        }
    }
}
