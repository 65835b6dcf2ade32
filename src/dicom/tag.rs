//! Attribute tags, and the few that the gateway reads by name.

use std::fmt;

/// A data element tag: group in the high half, element in the low half (PS3.5 section 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u32);

impl Tag {
    /// The tag of a group and an element number.
    pub const fn new(group: u16, element: u16) -> Self {
        Self(((group as u32) << 16) | element as u32)
    }

    /// The group number.
    pub const fn group(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The element number.
    pub const fn element(self) -> u16 {
        self.0 as u16
    }

    /// Tells whether the attribute is private: its group number is odd (PS3.5 section 7.8).
    pub const fn is_private(self) -> bool {
        self.group() & 1 == 1
    }
}

/// Pixel Data, the one element that the standard lets be fragmented (PS3.5 section A.4).
pub const PIXEL_DATA: Tag = Tag::new(0x7FE0, 0x0010);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:04X},{:04X})", self.group(), self.element())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
