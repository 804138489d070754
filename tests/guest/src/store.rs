//! Places for difference storage.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::disk::Disk;
use crate::mount::Mount;
use crate::tool;

/// An ext4 file system on the disk for storage.
pub struct StoreDirectory {
    mount: Mount,
}

impl StoreDirectory {
    /// Makes and mounts it.
    pub fn new() -> Result<Self> {
        let node = Disk::Store.node()?;
        tool::run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", &node.to_string_lossy()])?;
        Ok(Self { mount: Mount::new(&node, "store", "ext4", "")? })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.mount.root()
    }

    /// A regular file in it, with space allocated.
    pub fn file(&self, bytes: u64) -> Result<PathBuf> {
        let path = self.path().join("difference");
        let file = std::fs::File::create(&path)?;
        nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, i64::try_from(bytes)?)?;
        Ok(path)
    }

    /// A file that takes all the room that is left.
    pub fn filler(&self) -> Result<PathBuf> {
        let path = self.path().join("filler");
        let file = std::fs::File::create(&path)?;
        let (mut length, mut step) = (0_i64, 256_i64 << 20);
        while step >= 4096 {
            match nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), length, step) {
                Ok(()) => length += step,
                Err(nix::Error::ENOSPC) => step /= 2,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(path)
    }

    /// Unmounts it and says whether that worked.
    pub fn close(self) -> Result<()> {
        self.mount.unmount()
    }
}
