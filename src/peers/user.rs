//! A user identity that we assert to a node when we call it (PS3.7 section D.3.3.7; DIM-019).

use std::fmt;

/// Who we say that we are. `Debug` shows no passcode.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The passcode that goes with it; it travels over TLS only.
    pub passcode: Option<String>,
    /// The node must confirm it: one that passes it over in silence has not authenticated anybody, and is not spoken to.
    pub confirmed: bool,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = if self.passcode.is_some() { " with a passcode" } else { "" };
        write!(f, "User({}{with}, confirmed: {})", self.name, self.confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passcode_is_not_printed() {
        let user = User { name: "gateway".into(), passcode: Some("hunter2".into()), confirmed: true };
        assert_eq!(format!("{user:?}"), "User(gateway with a passcode, confirmed: true)");
    }
}
