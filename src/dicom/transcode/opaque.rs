//! Fragments of another element than Pixel Data, against PS3.5 section A.4: their bytes pass.

use super::{Limits, Tag, TranscodeError, Vr};
use crate::dicom::walk::{Syntax, Walker};

/// The fragments of one element.
#[derive(Debug)]
pub(super) struct Opaque {
    tag: Tag,
    vr: Vr,
    /// The bytes of one word that are to be turned round; 1 for none.
    word: usize,
    /// Where no representation is written, every reader takes fragments for items: so they must be those of an implicit sequence.
    items: bool,
    /// The walk through the one in hand.
    walker: Option<Walker>,
}

impl Opaque {
    /// Those of an element that is written with this representation.
    pub(super) fn new(tag: Tag, vr: Vr, word: usize, items: bool) -> Self {
        Self { tag, vr, word, items, walker: None }
    }

    /// A fragment of `length` bytes begins; gives how its bytes are written.
    pub(super) fn begin(&mut self, length: u32) -> Result<(usize, Vr), TranscodeError> {
        if self.items {
            if length % 2 == 1 {
                return Err(self.error());
            }
            let limits = Limits::default();
            self.walker = Some(Walker::new(Syntax::IMPLICIT_LITTLE, limits.depth, limits.elements));
        }
        Ok((self.word, self.vr))
    }

    /// Bytes of it.
    pub(super) fn value(&mut self, mut bytes: &[u8]) -> Result<(), TranscodeError> {
        let error = self.error();
        let Some(walker) = &mut self.walker else { return Ok(()) };
        while walker.next(&mut bytes).map_err(|_| error)?.is_some() {}
        Ok(())
    }

    /// It is complete.
    pub(super) fn end(&mut self) -> Result<(), TranscodeError> {
        match self.walker.take() {
            Some(walker) => walker.finish().map_err(|_| self.error()),
            None => Ok(()),
        }
    }

    fn error(&self) -> TranscodeError {
        TranscodeError::Encapsulated { tag: self.tag }
    }
}
