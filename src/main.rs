//! Parses the arguments, runs the command, and turns its end into an exit code.

use clap::Parser;
use std::process::ExitCode;
use weybridge::cli::{self, Arguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::start_tracing(&arguments);
    match cli::run(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
