//! Writes a cpio archive in the format that the kernel unpacks at boot (`newc`, Documentation/driver-api/early-userspace).

use std::collections::BTreeSet;

use anyhow::{Context, Result};

const DIRECTORY: u32 = 0o040_755;
const SYMLINK: u32 = 0o120_777;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// An archive under construction. Missing parent directories are added by themselves.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Archive {
    /// Adds a directory; one that is there stays.
    pub fn directory(&mut self, name: &str) -> Result<()> {
        if name.is_empty() || self.names.contains(name) {
            return Ok(());
        }
        self.entry(name, DIRECTORY, &[])
    }

    /// Adds a file that cannot be executed.
    pub fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, FILE, content)
    }

    /// Adds a file that can be executed.
    pub fn program(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.entry(name, PROGRAM, content)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(name, SYMLINK, target.as_bytes())
    }

    /// Whether something of this name is in it.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The finished archive. Several of them, one after the other, are one file system.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.record("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.directory(parent)?;
        }
        if self.names.insert(name.to_owned()) {
            self.record(name, mode, content)?;
        }
        Ok(())
    }

    fn record(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let inode = u32::try_from(self.names.len())?;
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large for an initramfs"))?;
        let name_size = u32::try_from(name.len() + 1)?;
        // inode, mode, uid, gid, links, time, size, device ×2, special device ×2, name's size, checksum (unused)
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn parents_come_before_what_is_in_them() -> anyhow::Result<()> {
        let mut archive = Archive::default();
        archive.program("usr/bin/tool", b"x")?;
        let text = String::from_utf8_lossy(&archive.finish()?).into_owned();
        let place = |name: &str| text.find(&format!("{name}\0"));
        assert!(place("usr") < place("usr/bin") && place("usr/bin") < place("usr/bin/tool"), "{text:?}");
        Ok(())
    }

    #[test]
    fn every_record_begins_at_a_multiple_of_four() -> anyhow::Result<()> {
        let mut archive = Archive::default();
        archive.file("a", b"12345")?;
        archive.symlink("bcd", "a")?;
        let bytes = archive.finish()?;
        let starts: Vec<usize> =
            bytes.windows(6).enumerate().filter(|(_, w)| w == b"070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 3);
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        Ok(())
    }
}
