//! A swap area on a block device; switched off when dropped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::direct::{AlignedBuffer, DirectFile};
use crate::tool;

/// A swap area in use.
pub struct Swap {
    node: PathBuf,
    on: bool,
}

impl Swap {
    /// Makes it and switches it on.
    pub fn on(node: &Path) -> Result<Self> {
        let shown = node.to_string_lossy();
        tool::run("mkswap", &["--force", &shown])?;
        tool::run("swapon", &[&shown])?;
        Ok(Self { node: node.to_owned(), on: true })
    }

    /// How much of it is in use.
    pub fn used_kib(&self) -> Result<u64> {
        let table = std::fs::read_to_string("/proc/swaps")?;
        let node = self.node.to_string_lossy();
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(&node));
        let used =
            line.and_then(|line| line.split_whitespace().nth(3)).context("the swap area is not in /proc/swaps")?;
        used.parse().context("/proc/swaps")
    }

    /// Switches it off, which reads back what is in it.
    pub fn off(mut self) -> Result<()> {
        self.on = false;
        tool::run("swapoff", &[&self.node.to_string_lossy()])?;
        self.forget()
    }

    /// The next scenario's disk does not look like swap space, whose content no backup keeps.
    fn forget(&self) -> Result<()> {
        const HEADER_BYTES: usize = 4096;
        DirectFile::open(&self.node)?
            .write(&AlignedBuffer::new(HEADER_BYTES), 0)
            .context("wiping the swap area's header")
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        if self.on {
            let _ = tool::run("swapoff", &[&self.node.to_string_lossy()]).and_then(|_| self.forget());
        }
    }
}
