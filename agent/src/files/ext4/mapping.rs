//! Which blocks of the disk hold which blocks of a file, whichever of the two ways the inode uses.

use super::Volume;
use super::inode::Inode;
use super::{extents, indirect};
use crate::files::{FilesError, Result};

/// Memory for one open file stays below 128 MiB.
const MAX_EXTENTS: usize = 8 << 20;

/// A run of blocks; what is not mapped is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First block in the file.
    pub(super) logical: u32,
    /// Number of blocks, not zero.
    pub(super) blocks: u32,
    /// First block on the disk.
    pub(super) physical: u64,
}

impl Mapping {
    pub(super) fn logical_end(&self) -> u64 {
        u64::from(self.logical) + u64::from(self.blocks)
    }
}

/// Collects mappings in ascending order, merging neighbours; the checks that hold for both ways are here.
pub(super) struct Collector<'v, 'a> {
    pub(super) volume: &'v Volume<'a>,
    inode: u64,
    mappings: Vec<Mapping>,
}

impl Collector<'_, '_> {
    pub(super) fn push(&mut self, next: Mapping) -> Result<()> {
        if next.blocks == 0 || !self.volume.blocks.contains(next.physical, u64::from(next.blocks)) {
            return Err(self.corrupt("maps blocks outside the file system"));
        }
        if let Some(last) = self.mappings.last_mut() {
            if u64::from(next.logical) < last.logical_end() {
                return Err(self.corrupt("maps a block twice"));
            }
            let adjoins = u64::from(next.logical) == last.logical_end()
                && next.physical == last.physical + u64::from(last.blocks);
            if let (true, Some(blocks)) = (adjoins, last.blocks.checked_add(next.blocks)) {
                last.blocks = blocks;
                return Ok(());
            }
        }
        if self.mappings.len() >= MAX_EXTENTS {
            return Err(FilesError::Limit { what: "number of extents of a file", limit: MAX_EXTENTS as u64 });
        }
        self.mappings.push(next);
        Ok(())
    }

    pub(super) fn corrupt(&self, what: &str) -> FilesError {
        FilesError::corrupt(format!("inode {} {what}", self.inode))
    }
}

/// All mappings of a file that has blocks, in ascending order.
pub(super) fn of_inode(volume: &Volume<'_>, inode: &Inode) -> Result<Vec<Mapping>> {
    let mut collector = Collector { volume, inode: inode.number, mappings: Vec::new() };
    if inode.has_extents() {
        extents::collect(&mut collector, &inode.block_area)?;
    } else {
        indirect::collect(&mut collector, &inode.block_area, inode.size_bytes)?;
    }
    Ok(collector.mappings)
}
