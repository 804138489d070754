//! Data of files as it lies on the device: every sector is compared with its checksum, and a second copy is tried when
//! one is damaged. Bytes that fail are never given out.

use std::sync::Arc;

use super::Volume;
use super::compression::Source;
use super::node::Key;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;

/// Object and type of the items with checksums; their offset is the logical address.
const CHECKSUM_OBJECT: u64 = 0_u64.wrapping_sub(10);
const CHECKSUM_ITEM: u8 = 128;
/// So much is read and verified at a time; a multiple of every sector size.
const MAX_PIECE_BYTES: usize = 256 << 10;

impl Volume<'_> {
    pub(super) fn read_device(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.disk.read_exact_at(buf, offset_bytes).map_err(|source| FilesError::Read {
            offset_bytes,
            length_bytes: buf.len() as u64,
            source,
        })
    }

    /// Fills `buf` with data from the logical address; without `is_checked` there are no checksums to compare with.
    pub(super) fn read_data(&self, logical: u64, buf: &mut [u8], is_checked: bool) -> Result<()> {
        let sector_bytes = self.superblock.sector_bytes as usize;
        let mut scratch = Vec::new();
        let (mut at, mut rest) = (logical, buf);
        while !rest.is_empty() {
            let within = in_memory(at % sector_bytes as u64);
            let whole = rest.len().min(MAX_PIECE_BYTES) / sector_bytes * sector_bytes;
            let length = if within == 0 && whole > 0 { whole } else { rest.len().min(sector_bytes - within) };
            let (piece, tail) = rest.split_at_mut(length);
            if within == 0 && whole > 0 {
                self.read_sectors(at, piece, is_checked)?;
            } else {
                scratch.resize(sector_bytes, 0);
                self.read_sectors(at - within as u64, &mut scratch, is_checked)?;
                piece.copy_from_slice(&scratch[within..within + length]);
            }
            at += length as u64;
            rest = tail;
        }
        Ok(())
    }

    /// The bytes of a compressed extent, decompressed.
    pub(super) fn decompressed(&self, source: Source) -> Result<Arc<[u8]>> {
        if let Some(found) = self.extents.get(&source) {
            return Ok(found);
        }
        let mut stored = vec![0; in_memory(source.stored_bytes)];
        self.read_data(source.logical, &mut stored, source.is_checked)?;
        let length_bytes = in_memory(source.length_bytes);
        let bytes = source.method.decompress(&stored, length_bytes, self.superblock.sector_bytes as usize)?;
        let bytes: Arc<[u8]> = bytes.into();
        self.extents.insert(source, &bytes);
        Ok(bytes)
    }

    /// Whole sectors, at most a piece of them.
    fn read_sectors(&self, logical: u64, buf: &mut [u8], is_checked: bool) -> Result<()> {
        let sector_bytes = self.superblock.sector_bytes as usize;
        let copies = self.chunks.locate(logical, buf.len() as u64)?;
        let checksums = if is_checked { Some(self.checksums(logical, buf.len() as u64)?) } else { None };
        let length = self.superblock.algorithm.length_bytes();
        let is_read = copies.first().is_some_and(|first| self.read_device(*first, buf).is_ok());
        for (index, sector) in buf.chunks_mut(sector_bytes).enumerate() {
            let checksum = checksums.as_ref().map(|all| &all[index * length..(index + 1) * length]);
            if !is_read || !self.is_right(sector, checksum) {
                self.reread_sector(logical, (index * sector_bytes) as u64, &copies, sector, checksum)?;
            }
        }
        Ok(())
    }

    fn is_right(&self, sector: &[u8], checksum: Option<&[u8]>) -> bool {
        checksum.is_none_or(|checksum| self.superblock.algorithm.matches(sector, checksum))
    }

    /// One sector from whichever copy is right.
    fn reread_sector(
        &self,
        logical: u64,
        within: u64,
        copies: &[u64],
        sector: &mut [u8],
        checksum: Option<&[u8]>,
    ) -> Result<()> {
        let mut failure = FilesError::corrupt(format!("the data at {} does not match its checksum", logical + within));
        for copy in copies {
            match self.read_device(copy + within, sector) {
                Ok(()) if self.is_right(sector, checksum) => return Ok(()),
                Ok(()) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The checksums of all sectors of a stretch. One that is missing is an error: only files without the flag come here.
    fn checksums(&self, logical: u64, length_bytes: u64) -> Result<Vec<u8>> {
        let sector_bytes = u64::from(self.superblock.sector_bytes);
        let checksum_bytes = self.superblock.algorithm.length_bytes();
        let mut found = Vec::with_capacity(in_memory(length_bytes / sector_bytes) * checksum_bytes);
        let (mut next, end) = (logical, logical + length_bytes);
        let mut cursor = self.floor(&self.checksum_tree()?, Key::new(CHECKSUM_OBJECT, CHECKSUM_ITEM, logical))?;
        while next < end {
            let missing = || FilesError::corrupt(format!("the data at {next} has no checksum"));
            let key = cursor.key().ok_or_else(missing)?;
            let is_before = key.object == CHECKSUM_OBJECT && key.kind == CHECKSUM_ITEM && key.offset <= next;
            if !is_before || !(next - key.offset).is_multiple_of(sector_bytes) {
                return Err(missing());
            }
            let covered = cursor.item().chunks_exact(checksum_bytes);
            let skipped = in_memory((next - key.offset) / sector_bytes);
            let wanted = in_memory((end - next) / sector_bytes);
            for checksum in covered.skip(skipped).take(wanted) {
                found.extend_from_slice(checksum);
                next += sector_bytes;
            }
            cursor.advance()?;
        }
        Ok(found)
    }
}
