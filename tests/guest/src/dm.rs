//! Device-mapper devices by `dmsetup`; gone when dropped.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::tool;

/// A mapped device.
pub struct Mapped {
    name: String,
    removed: bool,
}

impl Mapped {
    /// Creates it with a table of one or more lines.
    pub fn new(name: &str, table: &str) -> Result<Self> {
        tool::run("dmsetup", &["create", "--noudevsync", name, "--table", table])?;
        Ok(Self { name: name.to_owned(), removed: false })
    }

    /// All of `device`, unchanged.
    pub fn linear(name: &str, device: &Path, sectors: u64) -> Result<Self> {
        Self::new(name, &linear_table(device, sectors))
    }

    /// All of `device`; reads take `read_ms`, writes `write_ms` longer.
    pub fn delayed(name: &str, device: &Path, sectors: u64, read_ms: u64, write_ms: u64) -> Result<Self> {
        Self::new(name, &delay_table(device, sectors, read_ms, write_ms))
    }

    /// Its node, the one that the kernel made.
    pub fn node(&self) -> Result<PathBuf> {
        let target = std::fs::canonicalize(Path::new("/dev/mapper").join(&self.name))?;
        Ok(target)
    }

    /// Replaces its table while it is in use.
    pub fn reload(&self, table: &str) -> Result<()> {
        self.reload_with(table, &[])
    }

    /// The same without a freeze of the file system on it and without waiting for I/O that a broken table would hold.
    pub fn reload_at_once(&self, table: &str) -> Result<()> {
        self.reload_with(table, &["--nolockfs", "--noflush"])
    }

    fn reload_with(&self, table: &str, options: &[&str]) -> Result<()> {
        tool::run("dmsetup", &["reload", &self.name, "--table", table])?;
        let suspend: Vec<&str> = ["suspend"].iter().chain(options).copied().chain([self.name.as_str()]).collect();
        tool::run("dmsetup", &suspend)?;
        tool::run("dmsetup", &["resume", "--noudevsync", &self.name])?;
        Ok(())
    }

    /// Removes it and says whether that worked.
    pub fn remove(mut self) -> Result<()> {
        self.removed = true;
        tool::run("dmsetup", &["remove", "--noudevsync", "--retry", &self.name]).map(drop)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if !self.removed {
            let _ = tool::run("dmsetup", &["remove", "--noudevsync", "--force", "--retry", &self.name]);
        }
    }
}

/// A table that passes everything on.
pub fn linear_table(device: &Path, sectors: u64) -> String {
    format!("0 {sectors} linear {} 0", device.display())
}

/// A table that delays.
pub fn delay_table(device: &Path, sectors: u64, read_ms: u64, write_ms: u64) -> String {
    let device = device.display();
    format!("0 {sectors} delay {device} 0 {read_ms} {device} 0 {write_ms}")
}

/// A table that fails everything.
pub fn error_table(sectors: u64) -> String {
    format!("0 {sectors} error")
}

/// A table that fails reads and passes writes on.
pub fn failing_reads_table(device: &Path, sectors: u64) -> String {
    format!("0 {sectors} flakey {} 0 0 3600 1 error_reads", device.display())
}
