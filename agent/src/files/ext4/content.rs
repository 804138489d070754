//! The bytes of a file, directory or long link: mapped blocks, holes, or data inside the inode.

use super::Volume;
use super::inode::{BLOCK_AREA_BYTES, Inode};
use super::mapping::{self, Mapping};
use super::xattr;
use crate::files::{DataExtent, FileContent, FilesError, Result};
use crate::lengths::in_memory;

/// Content of one inode, opened.
pub(super) struct Content<'v, 'a> {
    volume: &'v Volume<'a>,
    size_bytes: u64,
    place: Place,
}

enum Place {
    Blocks(Vec<Mapping>),
    Inline(Vec<u8>),
}

impl<'v, 'a> Content<'v, 'a> {
    pub(super) fn open(volume: &'v Volume<'a>, inode: &Inode) -> Result<Self> {
        inode.refuse_encrypted()?;
        let place = if inode.has_inline_data() {
            Place::Inline(inline(inode)?)
        } else {
            Place::Blocks(mapping::of_inode(volume, inode)?)
        };
        Ok(Self { volume, size_bytes: inode.size_bytes, place })
    }

    /// All of the content; only for what has a small limit, such as link targets.
    pub(super) fn read_all(&self, limit_bytes: u64, what: &'static str) -> Result<Vec<u8>> {
        if self.size_bytes > limit_bytes {
            return Err(FilesError::Limit { what, limit: limit_bytes });
        }
        let mut bytes = vec![0; in_memory(self.size_bytes)];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn read_blocks(&self, mappings: &[Mapping], buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let block_bytes = u64::from(self.volume.blocks.block_bytes());
        let end_bytes = offset_bytes + buf.len() as u64;
        buf.fill(0);
        let first = mappings.partition_point(|m| m.logical_end() * block_bytes <= offset_bytes);
        for mapping in &mappings[first..] {
            let start = u64::from(mapping.logical) * block_bytes;
            if start >= end_bytes {
                break;
            }
            let from = start.max(offset_bytes);
            let to = (mapping.logical_end() * block_bytes).min(end_bytes);
            let piece = &mut buf[in_memory(from - offset_bytes)..in_memory(to - offset_bytes)];
            self.volume.blocks.read(mapping.physical, from - start, piece)?;
        }
        Ok(())
    }
}

impl FileContent for Content<'_, '_> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_> {
        let block_bytes = u64::from(self.volume.blocks.block_bytes());
        let size = self.size_bytes;
        match &self.place {
            Place::Inline(_) => Box::new(
                Some(DataExtent { offset_bytes: 0, length_bytes: size }).into_iter().filter(|e| e.length_bytes > 0),
            ),
            Place::Blocks(mappings) => Box::new(
                mappings
                    .iter()
                    .map(move |m| (u64::from(m.logical) * block_bytes, (m.logical_end() * block_bytes).min(size)))
                    .filter(|(start, end)| start < end)
                    .map(|(start, end)| DataExtent { offset_bytes: start, length_bytes: end - start }),
            ),
        }
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.size_bytes);
        if end.is_none() {
            return Err(FilesError::corrupt("a read beyond the end of a file was asked for"));
        }
        match &self.place {
            Place::Blocks(mappings) => self.read_blocks(mappings, buf, offset_bytes),
            Place::Inline(data) => {
                let start = in_memory(offset_bytes);
                buf.copy_from_slice(&data[start..start + buf.len()]);
                Ok(())
            }
        }
    }
}

/// Inline content, exactly as long as the file.
fn inline(inode: &Inode) -> Result<Vec<u8>> {
    let mut data = inode.block_area.to_vec();
    data.extend(xattr::inline_data(inode)?.unwrap_or_default());
    if inode.size_bytes > data.len() as u64 {
        return Err(FilesError::corrupt(format!("inode {} has less inline data than its size", inode.number)));
    }
    data.truncate(in_memory(inode.size_bytes));
    Ok(data)
}

/// The two areas of an inline directory: in the block area after the parent's number, and in the attribute.
pub(super) fn inline_directory(inode: &Inode) -> Result<[Vec<u8>; 2]> {
    let first = inode.block_area[4..BLOCK_AREA_BYTES].to_vec();
    Ok([first, xattr::inline_data(inode)?.unwrap_or_default()])
}
