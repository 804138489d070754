//! Facts and simple requests of a block device: size, sector size, discard.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

mod requests {
    //! Numbers of `linux/fs.h`.
    nix::ioctl_read_bad!(blksszget, nix::request_code_none!(0x12, 104), nix::libc::c_int);
    nix::ioctl_read!(blkgetsize64, 0x12, 114, usize);
    nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(0x12, 119), [u64; 2]);
    nix::ioctl_write_ptr_bad!(blkzeroout, nix::request_code_none!(0x12, 127), [u64; 2]);
}

/// An open block device.
pub struct BlockDevice {
    file: File,
}

impl BlockDevice {
    /// Opens it for reading and writing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        ensure!(file.metadata()?.file_type().is_block_device(), "{} is no block device", path.display());
        Ok(Self { file })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Capacity.
    pub fn size_bytes(&self) -> Result<u64> {
        let mut size = 0_usize;
        // SAFETY: BLKGETSIZE64 writes one u64 through the pointer, and `size` is 64 bits wide here.
        unsafe { requests::blkgetsize64(self.file.as_raw_fd(), &raw mut size) }?;
        Ok(u64::try_from(size)?)
    }

    /// Logical sector size.
    pub fn sector_bytes(&self) -> Result<u64> {
        let mut size = 0;
        // SAFETY: BLKSSZGET writes one int through the pointer.
        unsafe { requests::blksszget(self.file.as_raw_fd(), &raw mut size) }?;
        Ok(u64::try_from(size)?)
    }

    /// Discards a range of bytes.
    pub fn discard(&self, offset: u64, length: u64) -> Result<()> {
        // SAFETY: BLKDISCARD reads two u64 through the pointer.
        unsafe { requests::blkdiscard(self.file.as_raw_fd(), &[offset, length]) }?;
        Ok(())
    }

    /// Makes a range of bytes zero, by the device's own command where it has one.
    pub fn zero(&self, offset: u64, length: u64) -> Result<()> {
        // SAFETY: BLKZEROOUT reads two u64 through the pointer.
        unsafe { requests::blkzeroout(self.file.as_raw_fd(), &[offset, length]) }?;
        Ok(())
    }

    /// Major and minor number.
    pub fn number(&self) -> Result<(u64, u64)> {
        let device = self.file.metadata()?.rdev();
        Ok((nix::sys::stat::major(device), nix::sys::stat::minor(device)))
    }
}
