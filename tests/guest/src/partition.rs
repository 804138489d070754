//! Partitions that the kernel is told of directly, so that no partition table is needed on the disk.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::block_device::BlockDevice;

/// Calls of `linux/blkpg.h`.
mod requests {
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), super::Request);
}

const ADD: i32 = 1;
const DELETE: i32 = 2;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Request {
    operation: i32,
    flags: i32,
    length: i32,
    data: *const Description,
}

/// `struct blkpg_partition`.
#[repr(C)]
struct Description {
    start_bytes: i64,
    length_bytes: i64,
    number: i32,
    names: [u8; 128],
}

/// Partitions of a disk; gone when dropped.
pub struct Partitions {
    disk: PathBuf,
    count: usize,
}

impl Partitions {
    /// Adds partitions 1, 2, … by first sector and length in sectors.
    pub fn make(disk: &Path, places: &[(i64, i64)]) -> Result<Self> {
        let mut made = Self { disk: disk.to_owned(), count: 0 };
        for (start_sectors, sectors) in places {
            made.count += 1;
            request(disk, ADD, made.count, start_sectors * 512, sectors * 512)?;
        }
        Ok(made)
    }

    /// Its node.
    pub fn node(&self, number: usize) -> PathBuf {
        let disk = self.disk.display();
        // The kernel puts a letter between two numbers.
        let letter = if self.disk.to_string_lossy().ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        PathBuf::from(format!("{disk}{letter}{number}"))
    }

    /// Removes them and says whether that worked.
    pub fn remove(mut self) -> Result<()> {
        while self.count > 0 {
            request(&self.disk, DELETE, self.count, 0, 0)?;
            self.count -= 1;
        }
        Ok(())
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        for number in 1..=self.count {
            let _ = request(&self.disk, DELETE, number, 0, 0);
        }
    }
}

fn request(disk: &Path, operation: i32, number: usize, start_bytes: i64, length_bytes: i64) -> Result<()> {
    let device = BlockDevice::open(disk)?;
    let description = Description { start_bytes, length_bytes, number: i32::try_from(number)?, names: [0; 128] };
    let length = i32::try_from(size_of::<Description>())?;
    let request = Request { operation, flags: 0, length, data: &raw const description };
    // SAFETY: the kernel reads both structures, which live until the call returns, and keeps neither.
    unsafe { requests::blkpg(device.file().as_raw_fd(), &raw const request) }
        .with_context(|| format!("partition {number} of {}", disk.display()))?;
    Ok(())
}
