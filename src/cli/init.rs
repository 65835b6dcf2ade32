//! `weybridge init`: a commented configuration to start from, with certificates to try it out if asked.

use super::{ConfigPlace, Ended, Failure, render};
use crate::certs::DevAuthority;
use crate::config;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Also make a small certificate authority and keys for these sites, to try things out with; not for patients' data.
    /// A file `tls/NAME.crt` and `tls/NAME.key` for each, and `tls/trust.pem` for all
    #[arg(long, value_name = "SITE", num_args = 0.., default_missing_value = "site")]
    dev_certs: Option<Vec<String>>,
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
    write_new(&file, config::init_template().as_bytes(), 0o640)?;
    render::line(format!("wrote {}", file.display()))?;
    if let Some(sites) = &options.dev_certs {
        let sites = if sites.is_empty() { vec!["site".to_owned()] } else { sites.clone() };
        dev_certs(&folder.join("tls"), &sites)?;
        render::line(format!("wrote keys and certificates for {} below {}", sites.join(", "), folder.join("tls").display()))?;
        render::line("these keys are for trying things out; get real ones before patients' data travels")?;
    } else {
        render::line("next: put certificate, key and trust where [tls] says, or run again with --dev-certs to try it out")?;
    }
    render::line("then: weybridge check && weybridge serve")?;
    Ok(ExitCode::SUCCESS)
}

/// One authority, and a key and certificate for each site, which names the site and this machine.
fn dev_certs(folder: &Path, sites: &[String]) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::some(format!("cannot make {}: {error}", folder.display())))?;
    let authority = DevAuthority::create().map_err(Failure::some)?;
    write_new(&folder.join("trust.pem"), authority.certificate_pem().as_bytes(), 0o644)?;
    for site in sites {
        let names = [site.clone(), "localhost".into(), "127.0.0.1".into()];
        let made = authority.site(&names).map_err(Failure::some)?;
        write_new(&folder.join(format!("{site}.crt")), made.certificate_pem.as_bytes(), 0o644)?;
        write_new(&folder.join(format!("{site}.key")), made.key_pem.as_bytes(), 0o600)?;
    }
    Ok(())
}

/// Writes a file that does not exist yet; nothing that exists is ever overwritten.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| Failure::usage(format!("cannot write {}: {error}; nothing was overwritten", path.display())))
}
