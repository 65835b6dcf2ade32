//! Turning the words of a value round, from big to little endian, in pieces of any size (PS3.5 section 7.3), and padding it.

/// A value in passing: its word size, and the bytes of a word that is not whole yet.
#[derive(Debug)]
pub(super) struct Words {
    size: usize,
    held: Vec<u8>,
    /// What follows a value of odd length; none if it stays so.
    padding: Option<u8>,
    odd: bool,
}

impl Words {
    /// Words of `size` bytes: 2, 4 or 8; 1 leaves everything as it is.
    pub(super) fn of(size: usize) -> Self {
        Self { size, held: Vec::new(), padding: None, odd: false }
    }

    /// The same; a value of odd length is padded with this (PS3.5 section 7.1.1).
    pub(super) fn padded(self, padding: u8) -> Self {
        Self { padding: Some(padding), ..self }
    }

    /// Appends the words that `piece` completes, turned round.
    pub(super) fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        self.odd ^= piece.len() % 2 == 1;
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
        match self.size {
            2 => turn::<2>(&mut out[start..]),
            4 => turn::<4>(&mut out[start..]),
            _ => turn::<8>(&mut out[start..]),
        }
    }

    /// Ends the value. A last word that is not whole is no number; its bytes stay as they are.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        out.extend(self.padding.filter(|_| self.odd));
    }
}

/// Turns every word of `N` bytes round; the size is constant so that the loop becomes a few vector instructions.
fn turn<const N: usize>(bytes: &mut [u8]) {
    bytes.as_chunks_mut::<N>().0.iter_mut().for_each(|word| word.reverse());
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
