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
    /// With --dev-certs: keys from the same authority for a neighbour too, as tls/NAME.crt and tls/NAME.key; the certificate carries NAME,
    /// which is what `identity` or the host in `url` must say
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
    let tls = folder.join("tls");
    let kept = options.dev_certs && file.exists();
    if options.dev_certs {
        free(&tls, &options.also)?;
    }
    fs::create_dir_all(folder).map_err(|error| Failure::some(format!("cannot make {}: {error}", folder.display())))?;
    if kept {
        render::line(format!("{} is there already and stays as it is", file.display()))?;
    } else {
        write_new(&file, config::init_template(options.dev_certs).as_bytes(), 0o640)?;
        render::line(format!("wrote {}", file.display()))?;
    }
    if options.dev_certs {
        dev_certs(&tls, &options.also)?;
        render::line("these keys are for trying things out; get real ones before patients' data travels")?;
    } else {
        render::line(
            "next: put certificate, key and trust where [tls] says, or run again with --dev-certs to try it out",
        )?;
    }
    if kept {
        render::line(
            "next: name certificate, key and trust in [tls], if they are not; without [web] no other site calls",
        )?;
    }
    render::line("then: weybridge check && weybridge serve")?;
    Ok(ExitCode::SUCCESS)
}

/// The names of this site's files and of its neighbours'.
fn sites(also: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once("site").chain(also.iter().map(String::as_str))
}

/// Whether the keys can be made: each name can stand in a certificate and in a file's name, and nothing of it is there yet.
fn free(folder: &Path, also: &[String]) -> Result<(), Failure> {
    for (at, site) in sites(also).enumerate() {
        let plain = site.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !plain || site.starts_with('.') || site.is_empty() {
            return Err(Failure::usage(format!("{site}: use letters, digits, dots and hyphens; nothing was written")));
        }
        if sites(also).take(at).any(|earlier| earlier == site) {
            return Err(Failure::usage(format!("{site}: this name is taken; nothing was written")));
        }
    }
    let files = sites(also).flat_map(|site| [format!("{site}.crt"), format!("{site}.key")]);
    let mut found = std::iter::once("trust.pem".to_owned()).chain(files).map(|name| folder.join(name));
    match found.find(|path| path.exists()) {
        Some(path) => Err(Failure::usage(format!("{} is there already; nothing was written", path.display()))),
        None => Ok(()),
    }
}

/// One authority, and a key and certificate for this site and each neighbour, which name it and this machine.
fn dev_certs(folder: &Path, also: &[String]) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::some(format!("cannot make {}: {error}", folder.display())))?;
    let authority = DevAuthority::create().map_err(Failure::some)?;
    write_new(&folder.join("trust.pem"), authority.trust().as_bytes(), 0o644)?;
    render::line(format!("wrote {}, the authority that all of them trust", folder.join("trust.pem").display()))?;
    for site in sites(also) {
        let names = [site, "localhost", "127.0.0.1"];
        let made = authority.site(site, &names, Validity::days(DEV_DAYS)).map_err(Failure::some)?;
        let (certificate, key) = (folder.join(format!("{site}.crt")), folder.join(format!("{site}.key")));
        write_new(&certificate, made.certificate.as_bytes(), 0o644)?;
        write_new(&key, made.key.as_bytes(), 0o600)?;
        let (certificate, key) = (certificate.display(), key.display());
        render::line(format!("wrote {certificate} and {key}, which carry the names {}", names.join(", ")))?;
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
