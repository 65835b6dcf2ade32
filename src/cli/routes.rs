//! `weybridge routes explain`: which routes an instance would take, and why the others not.

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::config::Config;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::head::Head;
use crate::dicom::part10::{Found, MetaParser};
use crate::dicom::scanner::{Limits, Scanner};
use crate::peers::Origin;
use crate::router;
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Say for a DICOM file which routes would choose which destinations, and why
    Explain {
        /// The DICOM file
        file: PathBuf,
        /// The AE title of the node that would send it [default: the first of the configuration that may store]
        #[arg(long, value_name = "AE", conflicts_with = "peer")]
        node: Option<String>,
        /// The peer that would send it
        #[arg(long)]
        peer: Option<String>,
        /// The AE title that the node would call
        #[arg(long, value_name = "AE")]
        called: Option<String>,
        /// One JSON object a route
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(place: &ConfigPlace, verb: Verb) -> Ended {
    let Verb::Explain { file, node, peer, called, json } = verb;
    let config = client::load(place)?;
    let head = head_of(&file)?;
    let (origin, remark) = sender(&config, node, peer)?;
    let called = match called {
        Some(text) => Some(title(&text)?),
        None => Some(config.dicom.ae_title.clone()),
    };
    if let Some(remark) = remark.filter(|_| !json) {
        render::line(remark)?;
    }
    for explained in router::explain(&config.routes, &head, &origin, called.as_ref()) {
        let to: Vec<String> = explained.to.iter().map(ToString::to_string).collect();
        if json {
            let value = json!({"route": explained.route, "matches": explained.matched, "to": to, "why": explained.why,
                "sender": origin.name()});
            render::json(&value)?;
        } else {
            let verdict = if explained.matched { "matches" } else { "does not match" };
            let to = if to.is_empty() { String::new() } else { format!(" (to {})", to.join(", ")) };
            render::line(format!("{}: {verdict}: {}{to}", explained.route, explained.why))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn title(text: &str) -> Result<AeTitle, Failure> {
    AeTitle::parse(text).map_err(|error| Failure::usage(format!("{text}: {error}")))
}

/// Who would send it, with what a person should know of that: it is known, it was not named, or it may not store.
fn sender(config: &Config, node: Option<String>, peer: Option<String>) -> Result<(Origin, Option<String>), Failure> {
    if let Some(name) = peer {
        let found = client::peer(config, &name)?;
        let remark = (!found.may.store).then(|| format!("peer {name} may not store: what it sends is refused"));
        return Ok((Origin::Peer(name), remark));
    }
    let (found, taken) = match node {
        Some(name) => (client::node(config, &name)?, String::new()),
        None => {
            let may_store = config.nodes.iter().find(|node| node.may.store);
            let found = may_store.or(config.nodes.first());
            let found = found.ok_or_else(|| Failure::usage("say who would send it: --node AE or --peer NAME"))?;
            (found, format!("as if node {} sent it; --node names another", found.ae_title))
        }
    };
    let remark = match found.may.store {
        true => taken,
        false => format!("node {} may not store: what it sends is refused", found.ae_title),
    };
    Ok((Origin::Node(found.ae_title.clone()), Some(remark).filter(|remark| !remark.is_empty())))
}

fn head_of(file: &Path) -> Result<Head, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", file.display()));
    let mut source = File::open(file).map_err(|error| wrong(&error))?;
    let mut meta = MetaParser::new();
    let mut scanner: Option<Scanner> = None;
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let read = source.read(&mut buffer).map_err(|error| wrong(&error))?;
        if read == 0 {
            break;
        }
        match &mut scanner {
            Some(scanner) => scanner.push(&buffer[..read]).map_err(|error| wrong(&error))?,
            None => {
                if let Some(Found { meta, early, used }) = meta.push(&buffer[..read]).map_err(|error| wrong(&error))? {
                    let mut started = Scanner::new(&meta.transfer_syntax, Limits::default());
                    started.push(&early).map_err(|error| wrong(&error))?;
                    started.push(&buffer[used..read]).map_err(|error| wrong(&error))?;
                    scanner = Some(started);
                }
            }
        }
    }
    let scanner = scanner.ok_or_else(|| wrong(&"not a DICOM file"))?;
    scanner.finish().map_err(|error| wrong(&error))
}
