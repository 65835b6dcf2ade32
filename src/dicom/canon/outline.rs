//! Elements as a person sees them: where they stand, and the beginning of their values.

use super::Hash;
use crate::dicom::tag::Tag;
use crate::dicom::vr::Vr;

/// The longest text of a value that is shown, in characters.
const LONGEST: usize = 200;

/// The elements of a data set, in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// As many as are noted.
    pub lines: Vec<Line>,
    /// There are more.
    pub cut: bool,
}

/// One element with a value, of the data set or inside its sequences. `Debug` prints no value (SEC-010).
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Its tag, and before it the sequences and the numbers of the items that it stands in.
    pub path: String,
    /// Its tag.
    pub tag: Tag,
    /// Whether it stands inside a sequence.
    pub inside: bool,
    /// The beginning of its value, decoded.
    pub value: String,
    /// The digest of the whole value.
    pub digest: Hash,
}

impl Line {
    /// The value for one line of a terminal: at most 200 characters, without control characters.
    pub fn shown(&self) -> String {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let mut text: String = self.value.chars().take(LONGEST).map(plain).collect();
        if self.value.chars().nth(LONGEST).is_some() {
            text.push('…');
        }
        text
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({})", self.path)
    }
}

/// Numbers as numbers, anything else as bytes; `head` is the beginning of a value of `length` bytes.
pub(super) fn preview(vr: Vr, head: &[u8], length: u64) -> String {
    let numbers: Option<Vec<String>> = match vr {
        Vr::US => Some(words(head, |w| u16::from_le_bytes(w).to_string())),
        Vr::SS => Some(words(head, |w| i16::from_le_bytes(w).to_string())),
        Vr::UL => Some(words(head, |w| u32::from_le_bytes(w).to_string())),
        Vr::SL => Some(words(head, |w| i32::from_le_bytes(w).to_string())),
        Vr::FL => Some(words(head, |w| f32::from_le_bytes(w).to_string())),
        Vr::FD => Some(words(head, |w| f64::from_le_bytes(w).to_string())),
        Vr::AT => Some(words(head, |[a, b, c, d]| format!("({b:02X}{a:02X},{d:02X}{c:02X})"))),
        _ => None,
    };
    let more = if length > head.len() as u64 { "…" } else { "" };
    match numbers {
        Some(numbers) => format!("{}{more}", numbers.join("\\")),
        None => {
            let hex: Vec<String> = head.iter().take(16).map(|b| format!("{b:02X}")).collect();
            format!("{} ({length} bytes)", hex.join(" "))
        }
    }
}

fn words<const N: usize>(head: &[u8], show: impl Fn([u8; N]) -> String) -> Vec<String> {
    head.as_chunks::<N>().0.iter().map(|word| show(*word)).collect()
}
