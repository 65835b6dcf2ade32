//! The configuration that `weybridge init` writes: short, and working as it stands.

/// Marks the lines of the starter that need keys.
const NEEDS_KEYS: &str = "#~ ";

/// The starter configuration. With `keys` the parts that need `tls/site.crt`, `tls/site.key` and `tls/trust.pem` beside the
/// file are in force; without, they are comments.
pub fn init_template(keys: bool) -> String {
    let starter = include_str!("starter.toml");
    starter.replace(NEEDS_KEYS, if keys { "" } else { "#" })
}
