//! The command line: one subcommand, one file.

mod backup;
mod check;
mod client;
mod demo;
mod exceptions;
mod init;
mod ledger;
mod nodes;
mod part;
mod patients;
mod peers;
mod priors;
mod reconcile;
mod rejections;
mod render;
mod routes;
mod send;
mod serve;
mod status;
mod store;
mod study;
mod transfers;
mod why;

use clap::{CommandFactory, Parser, Subcommand};
use rustix::fs::Mode;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Weybridge, a DICOM imaging exchange gateway.
#[derive(Debug, Parser)]
#[command(name = "weybridge", version, max_term_width = 120, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The configuration file [default: weybridge.toml here, then /etc/weybridge/weybridge.toml]
    #[arg(long, value_name = "FILE", env = "WEYBRIDGE_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// More on standard error: once for progress, twice for detail. `RUST_LOG` overrides it.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all done; 1 some failed, or what was asked for is not there; 2 wrong usage or configuration, or a \
name that is not configured; 3 gateway or destination not reachable; 4 not allowed; 5 the ledger or a blob is not intact.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until it is told to stop
    Serve,
    /// Show the whole thing on this machine: two sites, a node, real transfers, and the ledger's proof
    Demo(demo::Options),
    /// Write a commented configuration to start from
    Init(init::Options),
    /// Validate the configuration and say every mistake at once
    Check(check::Options),
    /// Destinations, queues, disk and certificates on one screen
    Status(status::Options),
    /// Hand DICOM files to the gateway for one destination
    Send(send::Options),
    /// List transfers and decide about them
    #[command(subcommand)]
    Transfers(transfers::Verb),
    /// Every instance of a study, and where each of its transfers stands
    Study(study::Options),
    /// The whole story of a study or an instance, in order
    Why(why::Options),
    /// What waits for a person
    #[command(subcommand)]
    Exceptions(exceptions::Verb),
    /// What rejection notes hide, and undoing one
    #[command(subcommand)]
    Rejections(rejections::Verb),
    /// Other sites: who they are, and whether they can be reached
    #[command(subcommand)]
    Peers(peers::Verb),
    /// Local DICOM nodes: who they are, and whether they answer
    #[command(subcommand)]
    Nodes(nodes::Verb),
    /// Whose number is whose, and who was given what of one patient
    #[command(subcommand)]
    Patients(patients::Verb),
    /// Studies of other sites: pull them, see what was pulled, drop the copies
    #[command(subcommand)]
    Priors(priors::Verb),
    /// Explain what the routes do
    #[command(subcommand)]
    Routes(routes::Verb),
    /// Prove and export the ledger
    #[command(subcommand)]
    Ledger(ledger::Verb),
    /// Look after the stored bytes
    #[command(subcommand)]
    Store(store::Verb),
    /// Copy records and blobs of one moment to a folder, while the gateway runs
    Backup(backup::Backup),
    /// Fill an empty data directory from a backup
    Restore(backup::Restore),
    /// Ask a peer for everything that it was sent, and say what it does not show
    Reconcile(reconcile::Options),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands to a folder
    Man {
        /// The folder, such as /usr/local/share/man/man1
        dir: Option<PathBuf>,
    },
}

/// Why a command ended badly: what to tell the person, and the exit code (UIX-04).
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Some of what was asked for failed: exit code 1.
    pub(crate) fn some(message: impl fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// What was asked for is not there: exit code 1. A name that the configuration does not have is wrong usage.
    pub(crate) fn absent(message: impl fmt::Display) -> Self {
        Self::some(message)
    }

    /// Wrong usage or configuration, and names that the configuration does not have: exit code 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// The gateway or a destination cannot be reached: exit code 3.
    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self { code: 3, message: message.to_string() }
    }

    /// Not allowed: exit code 4.
    pub(crate) fn forbidden(message: impl fmt::Display) -> Self {
        Self { code: 4, message: message.to_string() }
    }

    /// The ledger or a blob is not intact: exit code 5.
    pub(crate) fn integrity(message: impl fmt::Display) -> Self {
        Self { code: 5, message: message.to_string() }
    }

    /// What is told.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints the message on standard error and gives the exit code.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            let lines: Vec<String> = self.message.split('\n').map(render::plain).collect();
            let _ = writeln!(anstream::stderr(), "weybridge: {}", lines.join("\n"));
        }
        ExitCode::from(self.code)
    }
}

/// What every command comes to.
pub(crate) type Ended = Result<ExitCode, Failure>;

/// Sends log lines to standard error; their level comes from `-v` or `RUST_LOG`.
pub fn start_tracing(arguments: &Arguments) {
    let serving = matches!(arguments.command, Command::Serve);
    let level = match (arguments.verbose, serving) {
        (0, true) => "info",
        (0, false) => "error",
        (1, _) => "weybridge=debug,info",
        _ => "weybridge=trace,debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    to_stderr.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
}

/// Runs the command of the arguments to its end.
pub fn run(arguments: Arguments) -> Ended {
    // What a command writes holds patients or keys: it is its user's alone, whatever it was started with (SEC-020). `init` says by
    // itself who may read each of its files, and manual pages are for everybody.
    if !matches!(arguments.command, Command::Init(_) | Command::Man { .. }) {
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .map_err(|error| Failure::some(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(dispatch(arguments));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended
}

async fn dispatch(arguments: Arguments) -> Ended {
    let place = ConfigPlace(arguments.config);
    match arguments.command {
        Command::Serve => serve::run(&place).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Init(options) => init::run(&place, &options),
        Command::Check(options) => check::run(&place, &options),
        Command::Status(options) => status::run(&place, &options).await,
        Command::Send(options) => send::run(&place, options).await,
        Command::Transfers(verb) => transfers::run(&place, verb).await,
        Command::Study(options) => study::run(&place, &options).await,
        Command::Why(options) => why::run(&place, &options).await,
        Command::Exceptions(verb) => exceptions::run(&place, verb).await,
        Command::Rejections(verb) => rejections::run(&place, verb).await,
        Command::Peers(verb) => peers::run(&place, verb).await,
        Command::Nodes(verb) => nodes::run(&place, verb).await,
        Command::Patients(verb) => patients::run(&place, verb).await,
        Command::Priors(verb) => priors::run(&place, verb).await,
        Command::Routes(verb) => routes::run(&place, verb),
        Command::Ledger(verb) => ledger::run(&place, verb).await,
        Command::Store(verb) => store::run(&place, verb).await,
        Command::Backup(options) => backup::backup(&place, options).await,
        Command::Restore(options) => backup::restore(&place, options).await,
        Command::Reconcile(options) => reconcile::run(&place, options).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "weybridge", &mut script);
            render::as_it_is(String::from_utf8_lossy(&script).trim_end()).map(|()| ExitCode::SUCCESS)
        }
        Command::Man { dir } => manual(dir.as_deref()),
    }
}

fn manual(dir: Option<&Path>) -> Ended {
    if let Some(dir) = dir {
        let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Arguments::command(), dir));
        return written
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| Failure::some(format!("{}: {error}", dir.display())));
    }
    let mut page = Vec::new();
    let command = Arguments::command().disable_help_subcommand(true);
    clap_mangen::Man::new(command).render(&mut page).map_err(Failure::some)?;
    render::as_it_is(String::from_utf8_lossy(&page).trim_end()).map(|()| ExitCode::SUCCESS)
}

/// The person who decides, as the system knows them.
pub(crate) fn who() -> String {
    let told = |name: &str| std::env::var(name).ok();
    named(&told).unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()))
}

/// Who called `sudo` or `doas`, else the user of the session: the first that is a name.
fn named(told: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let names = ["SUDO_USER", "DOAS_USER", "USER", "LOGNAME"].into_iter().filter_map(told);
    let mut names = names.map(|name| name.trim().to_owned());
    names.find(|name| !name.is_empty() && !name.contains(char::is_control))
}

/// Where the configuration is said to be.
pub(crate) struct ConfigPlace(Option<PathBuf>);

impl ConfigPlace {
    /// The file: as given, else `weybridge.toml` here, else the system's.
    pub(crate) fn path(&self) -> PathBuf {
        let here = PathBuf::from("weybridge.toml");
        match &self.0 {
            Some(path) => path.clone(),
            None if here.exists() => here,
            None => PathBuf::from("/etc/weybridge/weybridge.toml"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    /// UIX-10: where one of several is needed, all of them are named; two that exclude each other are refused.
    #[test]
    fn what_is_needed_is_told_with_every_way_to_say_it() {
        let rows: [(&str, &[&str]); 7] = [
            ("send --to b", &["PATH", "--study", "--accession", "--patient"]),
            ("transfers retry", &["ID", "--study", "--to"]),
            ("transfers hold --state dead --reason x", &["ID", "--study", "--to"]),
            ("priors find", &["--patient", "--nhs", "--study"]),
            ("priors find --nhs 1 --study 1.2", &["cannot be used with"]),
            ("priors prefetch", &["--patient", "--nhs"]),
            ("priors prefetch --nhs 1 --patient 2", &["cannot be used with"]),
        ];
        let parsed = |line: &str| Arguments::try_parse_from(std::iter::once("weybridge").chain(line.split(' ')));
        for (line, ways) in rows {
            let told = parsed(line).unwrap_err().to_string();
            assert!(ways.iter().all(|way| told.contains(*way)), "{line}: {told}");
        }
        for line in
            ["send --to b x", "send --to b --study 1.2", "transfers retry 1 2", "transfers retry --study 1.2 --to b"]
        {
            assert!(parsed(line).is_ok(), "{line}");
        }
    }

    /// Commands with their options.
    type Named = BTreeMap<String, BTreeSet<String>>;

    /// Every command that has no further ones below it.
    fn leaves(command: &clap::Command, above: &str, found: &mut Named) {
        for below in command.get_subcommands() {
            let path = format!("{above} {}", below.get_name()).trim_start().to_owned();
            if below.has_subcommands() {
                leaves(below, &path, found);
                continue;
            }
            let options = below.get_arguments().filter_map(clap::Arg::get_long).map(|long| format!("--{long}"));
            found.insert(path, options.collect());
        }
    }

    /// UIX-10: who looks after a gateway finds every command with all its options in docs/operations.md, and no other.
    #[test]
    fn operations_names_every_command_and_option() {
        let text = std::fs::read_to_string("docs/operations.md").unwrap();
        let (_, section) = text.split_once("\n## Commands\n").unwrap();
        let section = section.split("\n## ").next().unwrap_or_default();
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let mut told = Named::new();
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').collect();
            let option = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
            let options: BTreeSet<String> = quoted(cells[2]).into_iter().map(option).collect();
            told.extend(quoted(cells[1]).into_iter().map(|command| (command, options.clone())));
        }
        let mut built = Named::new();
        leaves(&Arguments::command(), "", &mut built);
        assert_eq!(told, built);
    }

    /// UIX-09: who decided is the person, not the user whom `sudo` made of them.
    #[test]
    fn who_acted_is_who_called_sudo() {
        type Row = (&'static [(&'static str, &'static str)], Option<&'static str>);
        let rows: [Row; 7] = [
            (&[("USER", "root"), ("SUDO_USER", "jo"), ("LOGNAME", "root")], Some("jo")),
            (&[("USER", "weybridge"), ("DOAS_USER", "jo")], Some("jo")),
            (&[("USER", "jo")], Some("jo")),
            (&[("USER", ""), ("LOGNAME", "jo")], Some("jo")),
            (&[("SUDO_USER", "  "), ("USER", "jo\n")], Some("jo")),
            (&[("USER", "a\u{1b}[2J")], None),
            (&[], None),
        ];
        for (set, want) in rows {
            let told = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(named(&told).as_deref(), want, "{set:?}");
        }
        assert!(!who().is_empty());
    }
}
