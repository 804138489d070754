//! Disk images for tests, made by the tools that people use, and guards that undo mounts and loop devices.

use crate::read_at::FileDisk;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Mounts and loop devices need root; tests that use them have a twin on plain files for everybody else.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a tool and returns what it printed; panics with its complaint when it fails.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    run_with_input(program, args, "")
}

/// The same with text on its standard input.
pub(crate) fn run_with_input(program: &str, args: &[&str], input: &str) -> String {
    let mut child = command(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{complaint}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The administrator's tools are not in everybody's path; the output must not depend on the language.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command
}

/// A sparse image file in a directory of its own, removed at the end.
pub(crate) struct Image {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Image {
    pub(crate) fn sparse(size_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        File::create(&path).unwrap().set_len(size_bytes).unwrap();
        Self { dir, path }
    }

    pub(crate) fn str(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn disk(&self) -> FileDisk {
        FileDisk::new(File::open(&self.path).unwrap()).unwrap()
    }

    pub(crate) fn write(&self, bytes: &[u8], offset_bytes: u64) {
        OpenOptions::new().write(true).open(&self.path).unwrap().write_all_at(bytes, offset_bytes).unwrap();
    }

    /// An empty directory next to the image.
    pub(crate) fn subdir(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Mounts the image (root only); unmounted when the guard goes.
    pub(crate) fn mount(&self, options: &str) -> Mounted {
        let at = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        run("mount", &["-o", &format!("loop,{options}"), self.str(), at.to_str().unwrap()]);
        Mounted { at }
    }
}

/// A mount that ends with the guard.
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = command("umount").arg(&self.at).status();
        assert!(status.is_ok_and(|s| s.success()) || std::thread::panicking(), "umount {}", self.at.display());
    }
}

/// A loop device that is detached with the guard.
pub(crate) struct LoopDevice {
    pub(crate) path: String,
}

impl LoopDevice {
    pub(crate) fn new(image: &Path) -> Self {
        let path = run("losetup", &["--find", "--show", "--partscan", image.to_str().unwrap()]).trim().to_owned();
        Self { path }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let status = command("losetup").args(["--detach", &self.path]).status();
        assert!(status.is_ok_and(|s| s.success()) || std::thread::panicking(), "losetup --detach {}", self.path);
    }
}
