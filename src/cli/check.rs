//! `weybridge check`: every mistake in the configuration at once, with line and caret.

use super::{ConfigPlace, Ended, Failure, render};
use crate::config::Config;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Warnings (a certificate that expires soon, say) make the check fail too
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(place: &ConfigPlace, options: &Options) -> Ended {
    let path = place.path();
    let config = Config::load(&path).map_err(Failure::usage)?;
    for warning in &config.warnings {
        render::line(&warning.rendered)?;
    }
    if options.strict && !config.warnings.is_empty() {
        let count = config.warnings.len();
        return Err(Failure::usage(format!(
            "{count} warnings in {}; it can be used, but --strict lets none pass",
            path.display()
        )));
    }
    render::line(format!(
        "{} is valid: site {}, {} nodes, {} peers, {} routes",
        path.display(),
        config.site.name,
        config.nodes.len(),
        config.peers.len(),
        config.routes.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}
