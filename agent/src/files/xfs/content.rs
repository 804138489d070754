//! The bytes of a regular file: mapped blocks and holes.

use super::Volume;
use super::inode::Inode;
use super::mapping::{self, Mapping, Which};
use super::superblock::unsupported;
use crate::files::{DataExtent, FileContent, FilesError, Result};
use crate::lengths::in_memory;

/// Content of one inode, opened.
pub(super) struct Content<'v, 'a> {
    volume: &'v Volume<'a>,
    size_bytes: u64,
    mappings: Vec<Mapping>,
}

impl<'v, 'a> Content<'v, 'a> {
    pub(super) fn open(volume: &'v Volume<'a>, inode: &Inode) -> Result<Self> {
        if inode.is_realtime() {
            return Err(unsupported(format!("the realtime device for inode {}", inode.number)));
        }
        let mappings = mapping::of_fork(volume, inode, Which::Data)?;
        Ok(Self { volume, size_bytes: inode.size_bytes, mappings })
    }
}

/// Fills `buf` from a byte of a fork; what is not mapped reads as zeros. Nothing reaches beyond 2^63 bytes.
pub(super) fn read_mapped(volume: &Volume<'_>, mappings: &[Mapping], buf: &mut [u8], offset_bytes: u64) -> Result<()> {
    let block_bytes = u64::from(volume.blocks.block_bytes());
    let end_bytes = offset_bytes + buf.len() as u64;
    buf.fill(0);
    // Compared in blocks: the last mapping of a hostile file may end beyond 2^64 bytes.
    let first = mappings.partition_point(|m| m.logical_end() <= offset_bytes / block_bytes);
    for mapping in &mappings[first..] {
        if mapping.logical >= end_bytes.div_ceil(block_bytes) {
            break;
        }
        let start = mapping.logical * block_bytes;
        let from = start.max(offset_bytes);
        let to = mapping.logical_end().saturating_mul(block_bytes).min(end_bytes);
        let piece = &mut buf[in_memory(from - offset_bytes)..in_memory(to - offset_bytes)];
        volume.blocks.read(mapping.physical, from - start, piece)?;
    }
    Ok(())
}

impl FileContent for Content<'_, '_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_> {
        let block_bytes = u64::from(self.volume.blocks.block_bytes());
        let size = self.size_bytes;
        let ends = move |m: &Mapping| {
            (m.logical.saturating_mul(block_bytes), m.logical_end().saturating_mul(block_bytes).min(size))
        };
        let extents = self.mappings.iter().map(ends).filter(|(start, end)| start < end);
        Box::new(extents.map(|(start, end)| DataExtent { offset_bytes: start, length_bytes: end - start }))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.size_bytes);
        if end.is_none() {
            return Err(FilesError::corrupt("a read beyond the end of a file was asked for"));
        }
        read_mapped(self.volume, &self.mappings, buf, offset_bytes)
    }
}
