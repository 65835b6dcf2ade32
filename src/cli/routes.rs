//! `weybridge routes explain`: which routes an instance would take, and why the others not.

use super::{ConfigPlace, Ended, Failure, client, render};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::head::Head;
use crate::dicom::part10::{Found, MetaParser};
use crate::dicom::scanner::{Limits, Scanner};
use crate::peers::Origin;
use crate::router;
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
        /// The AE title of the node that would send it
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
    let title = |text: String| AeTitle::parse(&text).map_err(|error| Failure::usage(format!("{text}: {error}")));
    let origin = match (node, peer) {
        (_, Some(peer)) => Origin::Peer(peer),
        (Some(node), None) => Origin::Node(title(node)?),
        (None, None) => match config.nodes.first() {
            Some(node) => Origin::Node(node.ae_title.clone()),
            None => return Err(Failure::usage("say who would send it: --node AE or --peer NAME")),
        },
    };
    let called = match called {
        Some(text) => Some(title(text)?),
        None => Some(config.dicom.ae_title.clone()),
    };
    for explained in router::explain(&config.routes, &head, &origin, called.as_ref()) {
        if json {
            let value = serde_json::json!({"route": explained.route, "matches": explained.matched,
                "to": explained.to.iter().map(ToString::to_string).collect::<Vec<_>>(), "why": explained.why});
            render::json(&value)?;
        } else {
            let verdict = if explained.matched { "matches" } else { "does not match" };
            let to: Vec<String> = explained.to.iter().map(ToString::to_string).collect();
            render::line(format!("{}: {verdict}: {} (to {})", explained.route, explained.why, to.join(", ")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
