//! The bytes of a file or symbolic link, put together from its extents. Nothing of a file is kept but its inode.

use super::Volume;
use super::compression::Source;
use super::extents::{Extent, Extents, Place};
use super::inode::Inode;
use crate::files::{DataExtent, FileContent, FilesError, Result};
use crate::lengths::in_memory;

/// Content of one inode, opened.
pub(super) struct Content<'v> {
    volume: &'v Volume<'v>,
    inode: Inode,
}

impl<'v> Content<'v> {
    pub(super) fn new(volume: &'v Volume<'v>, inode: Inode) -> Self {
        Self { volume, inode }
    }

    /// All of what has to be data from its first byte to its last, such as a link target.
    pub(super) fn read_link(&self, limit_bytes: u64) -> Result<Vec<u8>> {
        let size_bytes = self.size_bytes();
        if size_bytes > limit_bytes {
            return Err(FilesError::Limit { what: "target of a symbolic link", limit: limit_bytes });
        }
        let whole = DataExtent { offset_bytes: 0, length_bytes: size_bytes };
        if !self.data_extents().eq([whole]) {
            return Err(self.inode.corrupt("is a symbolic link without a whole target"));
        }
        let mut target = vec![0; in_memory(size_bytes)];
        self.read_exact_at(&mut target, 0)?;
        Ok(target)
    }

    fn read(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end_bytes = offset_bytes + buf.len() as u64;
        buf.fill(0);
        let mut extents = Extents::from(self.volume, &self.inode, offset_bytes)?;
        while let Some(extent) = extents.next()? {
            if extent.start >= end_bytes {
                break;
            }
            let (from, to) = (extent.start.max(offset_bytes), extent.end().min(end_bytes));
            if from < to {
                let piece = &mut buf[in_memory(from - offset_bytes)..in_memory(to - offset_bytes)];
                self.read_extent(&extent, from - extent.start, piece)?;
            }
            if extent.end() >= end_bytes {
                break;
            }
        }
        Ok(())
    }

    /// Fills `piece` from `within` bytes after the start of an extent, which reaches as far.
    fn read_extent(&self, extent: &Extent, within: u64, piece: &mut [u8]) -> Result<()> {
        let is_checked = self.inode.has_checksums;
        match &extent.place {
            Place::Hole => {}
            Place::Inline { stored, method: None } => copy(stored, within, piece)?,
            Place::Inline { stored, method: Some(method) } => {
                let sector_bytes = self.volume.superblock.sector_bytes as usize;
                copy(&method.decompress(stored, in_memory(extent.length_bytes), sector_bytes)?, within, piece)?;
            }
            Place::Plain { logical } => self.volume.read_data(logical + within, piece, is_checked)?,
            Place::Compressed { logical, stored_bytes, decompressed_bytes, skipped_bytes, method } => {
                let source = Source {
                    logical: *logical,
                    stored_bytes: *stored_bytes,
                    length_bytes: *decompressed_bytes,
                    method: *method,
                    is_checked,
                };
                copy(&self.volume.decompressed(source)?, skipped_bytes + within, piece)?;
            }
        }
        Ok(())
    }

    /// The data of an extent inside the file.
    fn data_of(&self, extent: &Extent) -> Option<DataExtent> {
        let end = extent.end().min(self.size_bytes());
        let is_data = !matches!(extent.place, Place::Hole) && extent.start < end;
        is_data.then(|| DataExtent { offset_bytes: extent.start, length_bytes: end - extent.start })
    }
}

/// Fills `piece` from `start` of what an extent holds.
fn copy(bytes: &[u8], start: u64, piece: &mut [u8]) -> Result<()> {
    let start = in_memory(start);
    let wanted = start.checked_add(piece.len()).and_then(|end| bytes.get(start..end));
    piece.copy_from_slice(wanted.ok_or_else(|| FilesError::corrupt("an extent is shorter than it says"))?);
    Ok(())
}

impl FileContent for Content<'_> {
    fn size_bytes(&self) -> u64 {
        self.inode.metadata.size_bytes
    }

    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_> {
        Box::new(DataExtents { content: self, extents: Extents::from(self.volume, &self.inode, 0), at: 0 })
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.size_bytes());
        if end.is_none() {
            return Err(FilesError::corrupt("a read beyond the end of a file was asked for"));
        }
        self.read(buf, offset_bytes).map_err(|error| match error {
            FilesError::Corrupt { what } => self.inode.corrupt(&format!("cannot be read there: {what}")),
            other => other,
        })
    }
}

/// Walks the tree as it is asked. Damage makes the rest of the file data, so that who reads it meets the damage.
struct DataExtents<'c> {
    content: &'c Content<'c>,
    extents: Result<Extents<'c>>,
    /// Everything before this is known.
    at: u64,
}

impl Iterator for DataExtents<'_> {
    type Item = DataExtent;

    fn next(&mut self) -> Option<DataExtent> {
        let size_bytes = self.content.size_bytes();
        while self.at < size_bytes {
            let next = match &mut self.extents {
                Ok(extents) => extents.next(),
                Err(_) => Err(FilesError::corrupt("the extents cannot be read")),
            };
            match next {
                Ok(Some(extent)) => {
                    self.at = extent.end();
                    if let Some(data) = self.content.data_of(&extent) {
                        return Some(data);
                    }
                }
                Ok(None) => self.at = size_bytes,
                Err(_) => {
                    let rest = DataExtent { offset_bytes: self.at, length_bytes: size_bytes - self.at };
                    self.at = size_bytes;
                    return Some(rest);
                }
            }
        }
        None
    }
}
