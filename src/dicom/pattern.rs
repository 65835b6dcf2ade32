//! Patterns with wildcards, as routes write them.

use std::fmt;

/// A pattern in which `*` stands for any run of characters, also none, and `?` for exactly one; everything else stands for
/// itself. The empty pattern matches the empty value only, and nothing else does but that: `*` wants a value.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern; every text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether a value matches. Case matters, except for person names (VR PN), of which the whole value or one of its
    /// component groups may match, and where carets at the end mean nothing (PS3.5 section 6.2).
    pub fn matches(&self, value: &str, vr: &str) -> bool {
        if value.is_empty() || self.0.is_empty() {
            return value.is_empty() && self.0.is_empty();
        }
        if vr != "PN" {
            return wildcard(&chars(&self.0), &chars(value));
        }
        let fold = |text: &str| chars(&text.trim_end_matches('^').to_lowercase());
        let pattern = fold(&self.0);
        wildcard(&pattern, &fold(value)) || value.split('=').any(|group| wildcard(&pattern, &fold(group)))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Matches without recursion: at a mismatch the last `*` takes one character more. At worst the product of both lengths.
fn wildcard(pattern: &[char], value: &[char]) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, v));
                p += 1;
            }
            Some(c) if *c == '?' || *c == value[v] => {
                p += 1;
                v += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                v = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_documented() {
        let rows = [
            ("CT", "CT", "CS", true),
            ("CT", "ct", "CS", false),
            ("CT", "CT2", "CS", false),
            ("C?", "CT", "CS", true),
            ("C?", "C", "CS", false),
            ("*", "CT", "CS", true),
            ("*", "", "CS", false),
            ("", "", "CS", true),
            ("", "CT", "CS", false),
            ("*CHEST*", "XR CHEST PA", "LO", true),
            ("*CHEST*", "CHEST", "LO", true),
            ("*CHEST", "CHEST PA", "LO", false),
            ("a*b*c", "a1b2b3c", "LO", true),
            ("a*b*c", "a1b2b3", "LO", false),
            ("**a", "a", "LO", true),
            ("?", "ü", "LO", true),
            ("[C]T", "CT", "LO", false),
            ("smith^j*", "SMITH^JOHN^^^", "PN", true),
            ("SMITH^JOHN^^", "Smith^John", "PN", true),
            ("YAMADA*", "Yamada^Tarou=山田^太郎=やまだ^たろう", "PN", true),
            ("山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", "PN", true),
            ("SMITH", "SMITH^JOHN", "PN", false),
        ];
        for (pattern, value, vr, want) in rows {
            assert_eq!(Pattern::new(pattern).matches(value, vr), want, "{pattern:?} on {value:?}");
        }
    }

    #[test]
    fn the_worst_pattern_ends() {
        let value = "a".repeat(16 * 1024);
        assert!(!Pattern::new(format!("{}b", "*a".repeat(120))).matches(&value, "LO"));
    }
}
