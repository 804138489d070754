//! Slows writes to a disk by the block controller of control groups.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::block_device::BlockDevice;

const ROOT: &str = "/sys/fs/cgroup";

/// This process and the threads that it starts write no faster than this; lifted when dropped.
pub struct Throttle {
    group: PathBuf,
}

impl Throttle {
    /// Limits writes to `path`.
    pub fn writes(path: &Path, bytes_per_s: u64) -> Result<Self> {
        let root = Path::new(ROOT);
        std::fs::write(root.join("cgroup.subtree_control"), "+io").context("the kernel cannot throttle")?;
        let throttle = Self { group: root.join("slow") };
        std::fs::create_dir_all(&throttle.group)?;
        let (major, minor) = BlockDevice::open(path)?.number()?;
        std::fs::write(throttle.group.join("io.max"), format!("{major}:{minor} wbps={bytes_per_s}"))?;
        std::fs::write(throttle.group.join("cgroup.procs"), std::process::id().to_string())?;
        Ok(throttle)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = std::fs::write(Path::new(ROOT).join("cgroup.procs"), std::process::id().to_string());
        let _ = std::fs::remove_dir(&self.group);
    }
}
