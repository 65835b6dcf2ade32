//! Specific Character Set (0008,0005): how text values become Unicode (PS3.3 section C.12.1.1.2, PS3.5 section 6.1).

/// A declared character set, ready to decode values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charset {
    /// The defined terms as declared, in order; empty means the default repertoire.
    pub terms: Vec<Box<str>>,
}

impl Charset {
    /// Decodes one value's bytes; what cannot be decoded becomes U+FFFD, never an error.
    pub fn decode(&self, bytes: &[u8]) -> String {
        bytes.iter().map(|&b| char::from(b)).collect()
    }
}
