//! `[viewer]`: the face towards viewers on this machine.

use super::mistakes::suggest;
use super::parties::NodeEntry;
use super::raw::{At, Table};
use super::site::{self, Listener};
use super::values::{ae_title, boolean, listen, number, path};
use crate::dicom::ae_title::AeTitle;
use crate::edge::http::Token;
use crate::peers::Foreign;
use std::net::SocketAddr;
use std::path::Path;
use toml::de::DeValue;

/// The largest token file, and the shortest and longest token in it.
const LARGEST_FILE: u64 = 4096;
const SHORTEST: usize = 32;
const LONGEST: usize = 512;

/// `[viewer]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// Where DICOMweb in plain HTTP is served: a loopback address.
    pub listen: SocketAddr,
    /// What a viewer must show.
    pub token: Token,
    /// The node by whose rights and rules it is shown what is held.
    pub node: AeTitle,
    /// Origins whose pages may read answers.
    pub origins: Vec<String>,
    /// Most connections open at once; a further one waits.
    pub max_connections: usize,
    /// Metadata of which a part cannot be had come with 200, and the same Warnings.
    pub partial_metadata_as_ok: bool,
}

pub(super) fn viewer(mut table: Table<'_>, base: &Path, nodes: &mut [NodeEntry]) -> Option<(Viewer, Listener)> {
    if !table.present() {
        // Asked for all the same, so that the keys are known.
        for key in ["listen", "token_file", "node", "allow_origin", "max_connections", "partial_metadata_as_ok"] {
            let _ = table.optional(key, |_| Ok(()));
        }
        table.finish();
        return None;
    }
    let address = table.required("listen", "\"127.0.0.1:8042\"", listen);
    let file = table.required("token_file", "\"viewer.token\"", path);
    let title = table.required("node", "\"WORKSTATION1\"", ae_title);
    let origins = table.list("allow_origin", origin).map(|list| list.values()).unwrap_or_default();
    let max_connections = table.or("max_connections", 64, number(1..=10_000));
    let partial_metadata_as_ok = table.or("partial_metadata_as_ok", false, boolean);
    let wrong = |span, message: String, hint: &str| table.mistakes().wrong(Some(span), message, hint);
    if let Some(At { value, span }) = address.as_ref().filter(|at| !at.value.ip().is_loopback()) {
        let hint = "write 127.0.0.1 or [::1]; other machines are served by [web]";
        wrong(span.clone(), format!("viewers are served in plain HTTP, so not on {}", value.ip()), hint);
    }
    let token = file.and_then(|At { value, span }| {
        let file = base.join(value);
        site::warn_if_exposed(&table, &file, &span);
        let hint = "make one: openssl rand -hex 32 > viewer.token";
        token(&file).map_err(|why| wrong(span, format!("the token cannot be used: {why}"), hint)).ok()
    });
    if let Some(At { value, span }) = &title {
        match nodes.iter_mut().find(|entry| entry.node.ae_title == *value) {
            None => {
                let known: Vec<&str> = nodes.iter().map(|entry| entry.node.ae_title.as_str()).collect();
                wrong(
                    span.clone(),
                    format!("no [[node]] has the AE title `{value}`"),
                    &suggest(value.as_str(), &known),
                );
            }
            // What a viewer is shown is not changed: other sites' patients come under their own numbers (IDY-040).
            Some(entry) if entry.node.foreign != Foreign::AsIs => {
                let message = format!("viewers are shown everything as it came, and node {value} is not");
                wrong(span.clone(), message, "give them a node of their own, with foreign = \"as_is\"");
            }
            // Viewers come by the token; unless the file says so, nobody calls under their title.
            Some(entry) => {
                entry.uncalled &= entry.node.may.store || entry.node.may.commit || entry.node.archive.is_some()
            }
        }
    }
    table.finish();
    let address = address?;
    let (listen, token, node) = (address.value, token?, title?.value);
    let viewer = Viewer { listen, token, node, origins, max_connections, partial_metadata_as_ok };
    Some((viewer, Listener { key: "`listen` in [viewer]", address, tls: false }))
}

/// The one line of a file.
fn token(file: &Path) -> Result<Token, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > LARGEST_FILE {
        return Err("the file is too large".into());
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    match (SHORTEST..=LONGEST).contains(&text.len()) && plain {
        true => Ok(Token::new(text)),
        false => Err(format!("it must be one line of {SHORTEST} to {LONGEST} printable characters")),
    }
}

/// An origin as browsers write it.
fn origin(value: &DeValue<'_>) -> Result<String, String> {
    const HINT: &str = "write scheme, host and port, such as \"http://127.0.0.1:3000\"";
    let text = value.as_str().ok_or(HINT)?;
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or(HINT)?;
    let plain = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    if plain { Ok(text.to_owned()) } else { Err(HINT.into()) }
}
