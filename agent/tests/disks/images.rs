//! Disk images with file systems, and mounts that end with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use agent::read_at::{FileDisk, ReadAt};
use tempfile::TempDir;

/// Fails with a clear message where the test cannot run.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts file systems: run it as root");
    assert!(Path::new("/dev/loop-control").exists(), "this test needs loop devices: modprobe loop");
}

/// Runs a program and fails with its messages.
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("cannot run {program}: {error}; install e2fsprogs xfsprogs btrfs-progs dosfstools ntfs-3g wimtools lvm2 thin-provisioning-tools acl attr qemu-utils")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} failed: {errors}");
}

/// A temporary directory for the images of one test.
pub struct Workshop {
    dir: TempDir,
}

impl Workshop {
    pub fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("icecore-disks-").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A sparse image of `mebibytes`, formatted by `mkfs` with its arguments.
    pub fn format(&self, name: &str, mebibytes: u64, mkfs: &[&str]) -> PathBuf {
        let image = self.path(name);
        File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        let mut arguments = mkfs[1..].to_vec();
        arguments.push(image.to_str().unwrap());
        run(mkfs[0], &arguments);
        image
    }

    /// Mounts an image through a loop device.
    pub fn mount(&self, image: &Path, options: &str) -> Mounted {
        let name = format!("mnt-{}", self.dir.path().read_dir().unwrap().count());
        let dir = self.path(&name);
        std::fs::create_dir(&dir).unwrap();
        run("mount", &["-o", &format!("loop,{options}"), image.to_str().unwrap(), dir.to_str().unwrap()]);
        Mounted { dir }
    }

    /// A copy of what has reached the image, as a power cut would leave it.
    pub fn copy(&self, image: &Path, name: &str) -> PathBuf {
        let copy = self.path(name);
        run("cp", &["--sparse=always", image.to_str().unwrap(), copy.to_str().unwrap()]);
        copy
    }
}

/// A mounted image; dropping it unmounts and frees the loop device.
pub struct Mounted {
    pub dir: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.dir).status().is_ok_and(|status| status.success());
        if !unmounted && !std::thread::panicking() {
            panic!("cannot unmount {}", self.dir.display());
        }
    }
}

/// Opens an image for reading.
pub fn disk(image: &Path) -> Arc<dyn ReadAt> {
    Arc::new(FileDisk::new(File::open(image).unwrap()).unwrap())
}
