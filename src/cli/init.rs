//! `weybridge init`: a commented configuration to start from, with certificates to try it out if asked.

use super::{ConfigPlace, Ended, Failure, render};
use crate::certs::{DevAuthority, Validity};
use crate::config;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How long certificates of `--dev-certs` are good.
const DEV_DAYS: u32 = 365;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Also make a small certificate authority and this site's keys below tls/, to try things out with; not for patients' data
    #[arg(long)]
    dev_certs: bool,
    /// With --dev-certs: keys from the same authority for a neighbour too, as tls/NAME.crt and tls/NAME.key
    #[arg(long, value_name = "NAME", requires = "dev_certs")]
    also: Vec<String>,
    /// Where to write [default: weybridge.toml here, or the file that --config names]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(place: &ConfigPlace, options: &Options) -> Ended {
    let file = match (&options.file, &place.0) {
        (Some(file), _) | (None, Some(file)) => file.clone(),
        (None, None) => PathBuf::from("weybridge.toml"),
    };
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Failure::some(format!("cannot make {}: {error}", folder.display())))?;
    write_new(&file, config::init_template(options.dev_certs).as_bytes(), 0o640)?;
    render::line(format!("wrote {}", file.display()))?;
    if options.dev_certs {
        dev_certs(&folder.join("tls"), &options.also)?;
        render::line(format!("wrote keys and certificates below {}", folder.join("tls").display()))?;
        render::line("these keys are for trying things out; get real ones before patients' data travels")?;
    } else {
        render::line(
            "next: put certificate, key and trust where [tls] says, or run again with --dev-certs to try it out",
        )?;
    }
    render::line("then: weybridge check && weybridge serve")?;
    Ok(ExitCode::SUCCESS)
}

/// One authority, and a key and certificate for this site and each neighbour, which name it and this machine.
fn dev_certs(folder: &Path, also: &[String]) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::some(format!("cannot make {}: {error}", folder.display())))?;
    let authority = DevAuthority::create().map_err(Failure::some)?;
    write_new(&folder.join("trust.pem"), authority.trust().as_bytes(), 0o644)?;
    for site in std::iter::once("site").chain(also.iter().map(String::as_str)) {
        if !site.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) || site.starts_with('.') {
            return Err(Failure::usage(format!("{site}: use letters, digits, dots and hyphens")));
        }
        let made =
            authority.site(site, &[site, "localhost", "127.0.0.1"], Validity::days(DEV_DAYS)).map_err(Failure::some)?;
        write_new(&folder.join(format!("{site}.crt")), made.certificate.as_bytes(), 0o644)?;
        write_new(&folder.join(format!("{site}.key")), made.key.as_bytes(), 0o600)?;
    }
    Ok(())
}

/// Writes a file that does not exist yet; nothing that exists is ever overwritten.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| Failure::usage(format!("cannot write {}: {error}; nothing was overwritten", path.display())))
}
