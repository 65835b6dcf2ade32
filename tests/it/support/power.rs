//! A disk whose power can be cut: ext4 on a loop device, shut down without flushing its log.

use super::process::finish;
use super::python;
use super::tools::tool;
use super::wait::seconds;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct LoopDisk {
    image: PathBuf,
    pub mount: PathBuf,
}

impl LoopDisk {
    /// Makes a disk of `megabytes` below `folder` and mounts it; needs root.
    pub fn new(folder: &Path, megabytes: u64) -> Self {
        let (image, mount) = (folder.join("disk.img"), folder.join("disk"));
        std::fs::create_dir_all(&mount).unwrap();
        std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        // No blocks for root alone: what is free is free for the gateway, too, however the tests run.
        let options = ["-q", "-F", "-m", "0"].map(std::ffi::OsStr::new);
        command("mkfs.ext4", &[&options[..], &[image.as_os_str()]].concat());
        let disk = Self { image, mount };
        disk.attach();
        disk
    }

    fn attach(&self) {
        command("mount", &["-o".as_ref(), "loop".as_ref(), self.image.as_os_str(), self.mount.as_os_str()]);
    }

    /// Everything that was not synced is gone from this moment on; all further calls on the disk fail.
    ///
    /// Who writes must stand still meanwhile ([`super::process::Process::freeze`]). Linux tells a sync that is under way at that very
    /// moment that it succeeded although its blocks are lost: tests/power_cut_lie.py shows it without any program of ours.
    pub fn cut(&self) {
        python::run("power_cut", [&self.mount], seconds(20)).ok("cutting the power");
    }

    /// The power is back: the disk as a journal replay leaves it.
    pub fn restore(&self) {
        command("umount", &[self.mount.as_os_str()]);
        self.attach();
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new(tool("umount")).arg("--lazy").arg(&self.mount).status();
    }
}

fn command(name: &str, arguments: &[&std::ffi::OsStr]) {
    let done = finish(Command::new(tool(name)).args(arguments), seconds(60));
    assert_eq!(
        done.code,
        Some(0),
        "{name} failed: {}\nthe power-cut tests mount a loop device and so need root and /dev/loop-control",
        done.stderr
    );
}
