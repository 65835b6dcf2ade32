//! A condition on an attribute, as routes and other rules of a site write it in `when`. Pure.

use super::attributes::Indexed;
use super::head::Attributes;
use super::pattern::Pattern;

/// A condition on one attribute: one of its values matches one of the patterns.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The attribute.
    pub attribute: &'static Indexed,
    /// The patterns, of which one must match.
    pub any_of: Vec<Pattern>,
}

impl Condition {
    /// Tells whether one of the attribute's values matches one of the patterns. An attribute that is absent or empty is
    /// matched by the empty pattern only.
    pub fn holds(&self, attributes: &Attributes) -> bool {
        self.holds_for(&attributes.text(self.attribute.tag).unwrap_or_default())
    }

    /// The same for the text of the attribute, empty if it is absent.
    pub fn holds_for(&self, text: &str) -> bool {
        // PS3.5 section 6.4: values are separated by a backslash; padding around each means nothing here.
        let mut values = text.split('\\').map(|value| value.trim_matches([' ', '\0']));
        values.any(|value| self.any_of.iter().any(|pattern| pattern.matches(value, self.attribute.vr)))
    }
}
