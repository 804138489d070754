//! Which bytes of a partition its file system uses, so that a backup may leave out the rest.
//!
//! The rule: never leave out a byte that might be in use. Every answer other than a fully checked, cleanly unmounted
//! file system is "everything", with the reason. Bytes outside the file system (behind its end) count as used.

mod ext4;
mod ext4_layout;
#[cfg(test)]
mod tests;
mod xfs;
mod xfs_log;

use super::content::{self, ContentKind};
use crate::extents::{Extent, ExtentList};
use crate::read_at::ReadAt;
use std::io;

/// The used bytes of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsedBytes {
    /// Only these hold anything; offsets are relative to the partition.
    Only(ExtentList),
    /// Nothing may be left out.
    Everything {
        /// For the person who asked for used blocks only.
        reason: String,
    },
}

impl UsedBytes {
    /// As extents of a partition of this size.
    pub fn into_extents(self, size_bytes: u64) -> ExtentList {
        match self {
            UsedBytes::Only(extents) => extents,
            UsedBytes::Everything { .. } => ExtentList::whole(size_bytes),
        }
    }
}

/// Why a file system's own account of its space is not believed, or could not be read.
enum Distrust {
    Reason(String),
    Read(io::Error),
}

impl From<io::Error> for Distrust {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<&str> for Distrust {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.to_owned())
    }
}

impl From<String> for Distrust {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

/// Finds the used bytes of `partition` (a window of the disk). Reads the allocation metadata only; the work is
/// proportional to the partition's size at about 1/32768. An error means that reading failed.
pub fn used_bytes(partition: &dyn ReadAt) -> io::Result<UsedBytes> {
    let kind = content::probe(partition)?.map(|content| content.kind);
    let found = match kind {
        Some(ContentKind::Ext2 | ContentKind::Ext3 | ContentKind::Ext4) => ext4::used(partition),
        Some(ContentKind::Xfs) => xfs::used(partition),
        Some(other) => Err(Distrust::Reason(format!("used blocks are only known for ext2/3/4 and XFS, not {other:?}"))),
        None => Err(Distrust::from("no known file system")),
    };
    match found {
        Ok(extents) => Ok(UsedBytes::Only(extents)),
        Err(Distrust::Reason(reason)) => Ok(UsedBytes::Everything { reason }),
        Err(Distrust::Read(error)) => Err(error),
    }
}

/// The header of a swap partition: all that has to be kept of it, the rest may read as zero.
///
/// `None` when this is no swap space, or one that holds a hibernated system (its signature differs on purpose).
pub fn swap_header_extent(partition: &dyn ReadAt) -> io::Result<Option<Extent>> {
    let content = content::probe(partition)?.filter(|content| content.kind == ContentKind::Swap);
    Ok(content.and_then(|swap| Extent::new(0, u64::from(swap.block_bytes?))))
}

/// Everything on a partition of `size_bytes` except `free`.
fn all_but(size_bytes: u64, free: &ExtentList) -> ExtentList {
    ExtentList::whole(size_bytes).subtract(free)
}

/// Bytes of `count` units from unit `first`, checked; wrong numbers are distrust, never a smaller answer.
fn extent_of(first: u64, count: u64, unit_bytes: u64) -> Result<Extent, Distrust> {
    let bounds = first.checked_mul(unit_bytes).zip(count.checked_mul(unit_bytes));
    bounds.and_then(|(offset, length)| Extent::new(offset, length)).ok_or_else(|| "an extent is out of range".into())
}
