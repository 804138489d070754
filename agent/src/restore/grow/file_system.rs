//! Growing a file system by its own tools, on a loop device over exactly its bytes: the same for image files and disks, and without
//! waiting for the kernel to see new partitions.

use crate::facts::Growth;
use crate::programs;
use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};

/// e2fsck found something and put it right.
const E2FSCK_CORRECTED: i32 = 1;

/// A way to grow a file system; its tools are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grower {
    /// ext2, ext3, ext4: e2fsck replays the journal, resize2fs grows.
    Ext,
    /// xfs: mounting replays the log, xfs_growfs grows what is mounted.
    Xfs,
}

impl Grower {
    /// For ext2, ext3 and ext4.
    pub fn ext() -> Result<Self> {
        demand(&[("losetup", "util-linux"), ("e2fsck", "e2fsprogs"), ("resize2fs", "e2fsprogs")])?;
        Ok(Self::Ext)
    }

    /// For xfs.
    pub fn xfs() -> Result<Self> {
        demand(&[
            ("losetup", "util-linux"),
            ("mount", "util-linux"),
            ("umount", "util-linux"),
            ("xfs_growfs", "xfsprogs"),
        ])?;
        Ok(Self::Xfs)
    }

    /// Grows the file system to fill the grown partition.
    pub fn grow(self, target: &Path, growth: Growth) -> Result<()> {
        let device = Loop::attach(target, growth)?;
        match self {
            Self::Ext => grow_ext(&device.path)?,
            Self::Xfs => grow_xfs(&device.path)?,
        }
        device.detach()
    }
}

fn demand(tools: &[(&str, &str)]) -> Result<()> {
    for (tool, package) in tools {
        if !programs::is_installed(tool) {
            bail!(
                "growing this file system needs the program `{tool}` (package {package}), which is not installed. Install it, or restore without --grow and grow it later"
            );
        }
    }
    if !geteuid().is_root() {
        bail!("growing a file system needs root. Run it as root, or restore without --grow and grow it later");
    }
    Ok(())
}

fn grow_ext(device: &str) -> Result<()> {
    let check = programs::output("e2fsck", &["-f", "-p", device])?;
    if check.status.code().is_none_or(|code| code & !E2FSCK_CORRECTED != 0) {
        bail!(
            "e2fsck found what it does not mend by itself ({}); run `e2fsck -f` on the partition, then `resize2fs`",
            programs::complaint(&check)
        );
    }
    programs::run("resize2fs", &[device]).map(drop)
}

fn grow_xfs(device: &str) -> Result<()> {
    let mounted = Mounted::new(device)?;
    programs::run("xfs_growfs", &["-d", mounted.text()?])?;
    mounted.unmount()
}

/// A loop device over a window of the target; detached when dropped.
struct Loop {
    path: String,
    is_detached: bool,
}

impl Loop {
    fn attach(target: &Path, window: Growth) -> Result<Self> {
        let target = target.to_str().context("the target's path is not UTF-8, which losetup needs")?;
        let (offset, length) = (window.offset_bytes.to_string(), window.to_bytes.to_string());
        let args = ["--find", "--show", "--offset", &offset, "--sizelimit", &length, target];
        Ok(Self { path: programs::run("losetup", &args)?.trim().to_owned(), is_detached: false })
    }

    fn detach(mut self) -> Result<()> {
        self.is_detached = true;
        programs::run("losetup", &["--detach", &self.path]).map(drop)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if !self.is_detached && programs::run("losetup", &["--detach", &self.path]).is_err() {
            tracing::warn!(device = self.path, "a loop device was left behind");
        }
    }
}

/// A mount in a directory of its own that only we may enter; ends when dropped.
struct Mounted {
    directory: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    fn new(device: &str) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("icecore-grow-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let mut mounted = Self { directory, is_mounted: false };
        // The original with the same UUID may be mounted.
        programs::run("mount", &["-t", "xfs", "-o", "nouuid,nosuid,nodev,noexec", device, mounted.text()?])?;
        mounted.is_mounted = true;
        Ok(mounted)
    }

    fn text(&self) -> Result<&str> {
        self.directory.to_str().context("the temporary directory's path is not UTF-8")
    }

    fn unmount(mut self) -> Result<()> {
        self.is_mounted = false;
        programs::run("umount", &[self.text()?]).map(drop)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted && self.text().and_then(|text| programs::run("umount", &[text])).is_err() {
            tracing::warn!(directory = %self.directory.display(), "a mount was left behind");
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Lets the kernel see the partitions of a disk as they are now. A kernel that will not is no failure: the next boot sees them.
pub fn reread_partitions(target: &Path) {
    let is_device = fs::metadata(target).is_ok_and(|meta| meta.file_type().is_block_device());
    let Some(target) = target.to_str().filter(|_| is_device) else { return };
    if let Err(error) = programs::run("blockdev", &["--rereadpt", target]) {
        tracing::warn!("the kernel did not read the new partition table ({error:#}); it does at the next boot");
    }
}
