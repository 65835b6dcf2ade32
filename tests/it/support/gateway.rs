//! One real gateway process in a folder of its own: started, asked, stopped, killed, started again.

use super::config::SiteConfig;
use super::private::told_of;
use super::process::{Finished, Process, finish};
use super::wait::{seconds, until};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub struct Gateway {
    pub config: SiteConfig,
    folder: PathBuf,
    binary: PathBuf,
    process: Option<Process>,
    /// What it printed, from its first start on; kept open, for the folder may go before it.
    printed: Option<File>,
}

impl Gateway {
    /// Writes the configuration into `folder` and starts the gateway that cargo built.
    pub fn start(folder: &Path, config: SiteConfig) -> Self {
        let mut gateway = Self::prepare(folder, config);
        gateway.up();
        gateway
    }

    /// The same with nothing started yet.
    pub fn prepare(folder: &Path, config: SiteConfig) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let gateway = Self {
            config,
            folder: folder.to_owned(),
            binary: PathBuf::from(env!("CARGO_BIN_EXE_weybridge")),
            process: None,
            printed: None,
        };
        gateway.write_config();
        gateway
    }

    /// The same by another build of the gateway.
    pub fn with_binary(mut self, binary: &Path) -> Self {
        self.binary = binary.to_owned();
        self
    }

    pub fn write_config(&self) {
        std::fs::write(self.config_file(), self.config.toml()).unwrap();
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.join("weybridge.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.join(&self.config.data_dir)
    }

    /// Starts the gateway and waits until both its faces and its command line answer.
    pub fn up(&mut self) {
        self.launch();
        self.ready();
    }

    /// The same through another program.
    pub fn up_through(&mut self, wrapper: Command) {
        self.launch_through(wrapper);
        self.ready();
    }

    fn ready(&mut self) {
        let ports = [self.config.dicom_port, self.config.web_port];
        until(seconds(30), "the gateway is ready", || {
            let process = self.process.as_mut().unwrap();
            if let Some(status) = process.ended() {
                panic!("the gateway ended while starting ({status})\n{}", process.log());
            }
            ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()).then_some(())
        });
        until(seconds(10), "status answers", || (self.cli(&["status", "--json"]).code == Some(0)).then_some(()));
    }

    /// Starts the gateway and waits for nothing.
    pub fn launch(&mut self) {
        let command = self.command(&["serve"]);
        self.launch_as(command);
    }

    /// The same by another program, which is given the gateway's command line and becomes it.
    pub fn launch_through(&mut self, wrapper: Command) {
        let command = through(wrapper, &self.command(&["serve"]));
        self.launch_as(command);
    }

    fn launch_as(&mut self, mut command: Command) {
        assert!(self.process.is_none(), "the gateway runs already");
        let log = self.folder.join("weybridge.log");
        self.process = Some(Process::spawn(&format!("site {}", self.config.name), &mut command, &log));
        self.printed.get_or_insert_with(|| File::open(log).unwrap());
    }

    /// How it ended, if it has; another one may be started then.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let ended = self.process().ended()?;
        self.process = None;
        Some(ended)
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway runs")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// SIGTERM and a clean end.
    pub fn stop(&mut self) {
        let status = self.process().terminate(seconds(40));
        assert!(status.success(), "the gateway drains and ends with 0, not {status}");
        self.process = None;
    }

    /// SIGHUP, and the configuration as it stands now is in force.
    pub fn reload(&mut self) {
        const TAKEN: &str = "the configuration was read again and is in force";
        let before = self.log().matches(TAKEN).count();
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.process().id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        until(seconds(20), TAKEN, || (self.log().matches(TAKEN).count() > before).then_some(()));
    }

    /// The kernel's word for the bytes that it has read, from files above all.
    pub fn bytes_read(&mut self) -> u64 {
        self.process().bytes_read()
    }

    /// The kernel's word for the most memory it held.
    pub fn peak_memory(&mut self) -> u64 {
        self.process().peak_memory()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("weybridge.log")).unwrap_or_default()
    }

    /// One command line call on this site.
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        // To read hundreds of thousands of blobs takes as long as the disk does.
        let limit = if arguments.contains(&"--blobs") { 900 } else { 120 };
        finish(&mut self.command(arguments), seconds(limit))
    }

    /// A command line call by another program, which is given the command line and becomes it.
    pub fn cli_through(&self, wrapper: Command, arguments: &[&str]) -> Finished {
        finish(&mut through(wrapper, &self.command(arguments)), seconds(120))
    }

    /// A command that must succeed, its answer read as one JSON value a line.
    pub fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let answer = self.cli(arguments).ok(&format!("weybridge {}", arguments.join(" ")));
        let lines = answer.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"))).collect()
    }

    /// `transfers list --json`, added up over all studies: (instances, of which in `field`).
    pub fn transfers(&self, destination: &str, field: &str) -> (u64, u64) {
        let lines = self.ask(&["transfers", "list", "--json"]);
        let mine = lines.iter().filter(|line| line["destination"] == destination);
        mine.fold((0, 0), |sum, line| (sum.0 + count(line, "instances"), sum.1 + count(line, field)))
    }

    /// Waits until `expected` instances are owed to a destination and all of them are in the state of `field`.
    pub fn all_become(&self, destination: &str, field: &str, expected: u64, limit: Duration) {
        let what = format!("{expected} instances are {field} at {destination}");
        let mut last = (0, 0);
        let end = std::time::Instant::now() + limit;
        while last != (expected, expected) {
            last = self.transfers(destination, field);
            assert!(
                last == (expected, expected) || std::time::Instant::now() < end,
                "waited {} s in vain: {what}; of {} owed, {} are\n{}",
                limit.as_secs(),
                last.0,
                last.1,
                self.cli(&["transfers", "list"]).stdout
            );
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    /// `study UID --json`: one value an instance.
    pub fn study(&self, study: &str) -> Vec<Value> {
        self.ask(&["study", study, "--json"])
    }

    /// How many instances of a study it holds, none included.
    pub fn holds(&self, study: &str) -> usize {
        let answer = self.cli(&["study", study, "--json"]);
        if answer.code == Some(0) { answer.stdout.lines().count() } else { 0 }
    }

    /// Chain, tree, heads and states agree; with `blobs`, every blob is read as well.
    pub fn verify_ledger(&self, blobs: bool) {
        let arguments: &[&str] = if blobs { &["ledger", "verify", "--blobs"] } else { &["ledger", "verify"] };
        self.cli(arguments).ok(&format!("ledger verify at {}", self.config.name));
    }

    /// A command line call, not yet made.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.config_file()).args(arguments).current_dir(&self.folder);
        command.env("RUST_BACKTRACE", "1");
        command
    }
}

/// Every story ends with a look at all that its gateways printed: they tell of no patient (INV-22, SEC-010).
impl Drop for Gateway {
    fn drop(&mut self) {
        self.process = None;
        let Some(printed) = self.printed.as_mut().filter(|_| !std::thread::panicking()) else { return };
        let mut text = Vec::new();
        printed.read_to_end(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.is_empty(), "a gateway prints something");
        let told = told_of(&text);
        assert!(told.is_empty(), "site {} tells of a patient in its log:\n{}", self.config.name, told.join("\n"));
    }
}

/// `wrapper` with another command behind its own arguments, in that one's folder and environment.
fn through(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    wrapper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        wrapper.current_dir(folder);
    }
    wrapper
}

fn count(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("`{field}` is missing in {line}"))
}
