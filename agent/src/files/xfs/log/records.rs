//! Records of the log: a header, and data whose sectors begin with a cycle number in place of their first four bytes.
//!
//! The log is a ring of sectors. Each time around is a cycle; a sector tells by its cycle whether it was written before
//! or after its neighbours.

use std::sync::Arc;

use super::super::Volume;
use super::super::blocks::{SECTOR_BYTES, SECTOR_LENGTH, read_disk};
use super::super::superblock::unsupported;
use crate::facts::checksum::crc32c_continue as crc32c;
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

/// First bytes of each header; a cycle number never has this value.
pub(super) const MAGIC: u32 = 0xFEED_BABE;
/// Each header sector names the first bytes of so much data.
const DATA_PER_HEADER_BYTES: u32 = 32 << 10;
const NAMES_PER_HEADER: usize = 64;
/// The kernel's limit for a record with its headers.
const MAX_RECORD_BYTES: u32 = 256 << 10;
/// What the checksum covers of a header where it was made; the kernel for 32-bit x86 left the padding out.
const CHECKED_BYTES: [usize; 2] = [328, 324];
const CHECKSUM_AT: usize = 32;
const CHECKED_CONTINUATION_BYTES: usize = 260;
const FORMAT_LITTLE_ENDIAN: u32 = 1;

/// The ring; positions are sectors from its start.
pub(super) struct Ring<'a> {
    disk: Arc<dyn ReadAt + 'a>,
    start_bytes: u64,
    pub(super) sectors: u32,
    pub(super) has_log_v2: bool,
    uuid: [u8; 16],
}

/// What a header says.
#[derive(Debug, Clone)]
pub(super) struct Header {
    bytes: Vec<u8>,
    version: u32,
    pub(super) length_bytes: u32,
    pub(super) lsn: u64,
    /// Sector of the oldest record that is still needed.
    pub(super) tail: u32,
    pub(super) operations: u32,
    size_bytes: u32,
}

/// A record with its data as it was before it was put into sectors.
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) data: Vec<u8>,
}

impl<'a> Ring<'a> {
    pub(super) fn new(volume: &Volume<'a>) -> Result<Self> {
        let superblock = &volume.superblock;
        let first = superblock.linear_block(superblock.log_start, u64::from(superblock.log_blocks));
        let block_bytes = u64::from(superblock.block_bytes);
        let sectors = u64::from(superblock.log_blocks) * block_bytes / u64::from(SECTOR_BYTES);
        match (first, u32::try_from(sectors)) {
            (Some(first), Ok(sectors)) if sectors > 0 => Ok(Self {
                disk: volume.blocks.disk(),
                start_bytes: first * block_bytes,
                sectors,
                has_log_v2: superblock.has_log_v2,
                uuid: superblock.uuid,
            }),
            _ => Err(FilesError::corrupt("the log lies outside the file system")),
        }
    }

    /// A ring that fills its disk.
    #[cfg(test)]
    pub(super) fn of_disk(disk: Arc<dyn ReadAt + 'a>, sectors: u32) -> Self {
        Self { disk, start_bytes: 0, sectors, has_log_v2: true, uuid: [0; 16] }
    }

    /// The position `count` sectors after `at`.
    pub(super) fn after(&self, at: u32, count: u32) -> u32 {
        let count = count % self.sectors;
        let to_end = self.sectors - at;
        if count < to_end { at + count } else { count - to_end }
    }

    /// How many sectors it is from one position forward to another.
    pub(super) fn distance(&self, from: u32, to: u32) -> u32 {
        if to >= from { to - from } else { self.sectors - from + to }
    }

    /// `count` sectors from `at` on, around the end of the ring if need be.
    pub(super) fn read(&self, at: u32, count: u32) -> Result<Vec<u8>> {
        if at >= self.sectors || count > self.sectors {
            return Err(FilesError::corrupt("the log refers to something outside of it"));
        }
        let before_end = count.min(self.sectors - at);
        let mut bytes = vec![0; count as usize * SECTOR_LENGTH];
        let (first, second) = bytes.split_at_mut(before_end as usize * SECTOR_LENGTH);
        self.read_raw(at, first)?;
        self.read_raw(0, second)?;
        Ok(bytes)
    }

    fn read_raw(&self, at: u32, buf: &mut [u8]) -> Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        read_disk(&*self.disk, self.start_bytes + u64::from(at) * u64::from(SECTOR_BYTES), buf)
    }

    pub(super) fn cycle(&self, at: u32) -> Result<u32> {
        cycle_of(&self.read(at, 1)?)
    }

    /// The header at a position; `None` when there is none that could be one.
    pub(super) fn header(&self, at: u32) -> Result<Option<Header>> {
        Header::parse(self.read(at, 1)?, self.has_log_v2)
    }

    /// The record at a position; `None` when it is no record or its checksum is wrong.
    pub(super) fn record(&self, at: u32) -> Result<Option<Record>> {
        let Some(header) = self.header(at)? else { return Ok(None) };
        let (headers, sectors) = (header.sectors(), header.sectors() + header.data_sectors());
        if header.length_bytes == 0 || sectors > self.sectors {
            return Ok(None);
        }
        let mut bytes = self.read(at, sectors)?;
        let data = bytes.split_off(headers as usize * SECTOR_LENGTH);
        if !header.checksum_holds(&bytes, &data)? {
            return Ok(None);
        }
        header.check_origin(&self.uuid)?;
        let data = header.unpack(&bytes, data)?;
        Ok(Some(Record { header, data }))
    }
}

/// The cycle in which a sector was written: its first number, or the second in a header.
pub(super) fn cycle_of(sector: &[u8]) -> Result<u32> {
    let f = Fields::new(sector, "sector of the log");
    match f.be32(0)? {
        MAGIC => f.be32(4),
        cycle => Ok(cycle),
    }
}

impl Header {
    fn parse(bytes: Vec<u8>, has_log_v2: bool) -> Result<Option<Self>> {
        let f = Fields::new(&bytes, "log record");
        let (version, length_bytes) = (f.be32(8)?, f.be32(12)?);
        if f.be32(0)? != MAGIC || !(1..=3).contains(&version) {
            return Ok(None);
        }
        let size_bytes = if has_log_v2 && version & 2 != 0 { f.be32(320)? } else { 0 };
        // A record of mkfs.xfs may be longer than the size it names.
        if length_bytes > MAX_RECORD_BYTES || size_bytes > MAX_RECORD_BYTES {
            return Ok(None);
        }
        // The lower half of a log sequence number is the sector.
        let (lsn, tail, operations) = (f.be64(16)?, f.be32(28)?, f.be32(40)?);
        Ok(Some(Self { version, length_bytes, lsn, tail, operations, size_bytes, bytes }))
    }

    /// Number of sectors with headers.
    pub(super) fn sectors(&self) -> u32 {
        self.size_bytes.div_ceil(DATA_PER_HEADER_BYTES).max(1)
    }

    pub(super) fn data_sectors(&self) -> u32 {
        self.length_bytes.div_ceil(SECTOR_BYTES)
    }

    /// The most that records as this one's writer makes them can take.
    pub(super) fn most_sectors(&self) -> u32 {
        self.size_bytes.max(DATA_PER_HEADER_BYTES) / SECTOR_BYTES
    }

    /// A record without a checksum is from an old kernel or from mkfs.xfs.
    fn checksum_holds(&self, headers: &[u8], data: &[u8]) -> Result<bool> {
        let f = Fields::new(&self.bytes, "log record");
        let stored = f.le32(CHECKSUM_AT)?;
        if stored == 0 {
            return Ok(true);
        }
        // Only as many continuations count as the data needs.
        let continuations = in_memory(u64::from(self.length_bytes.div_ceil(DATA_PER_HEADER_BYTES)));
        for checked_bytes in CHECKED_BYTES {
            let mut crc = crc32c(!0, f.slice(0, CHECKSUM_AT)?);
            crc = crc32c(crc, &[0; 4]);
            crc = crc32c(crc, f.slice(CHECKSUM_AT + 4, checked_bytes - CHECKSUM_AT - 4)?);
            if self.version & 2 != 0 {
                for header in headers.chunks(SECTOR_LENGTH).take(continuations).skip(1) {
                    crc = crc32c(crc, &header[..CHECKED_CONTINUATION_BYTES]);
                }
            }
            crc = crc32c(crc, &data[..in_memory(u64::from(self.length_bytes))]);
            if !crc == stored {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check_origin(&self, uuid: &[u8; 16]) -> Result<()> {
        let f = Fields::new(&self.bytes, "log record");
        if f.be32(300)? != FORMAT_LITTLE_ENDIAN {
            let feature = "a log that a big-endian machine or IRIX wrote".to_owned();
            return Err(unsupported(feature));
        }
        if f.slice(304, 16)? != uuid {
            return Err(FilesError::corrupt("its log belongs to another file system"));
        }
        Ok(())
    }

    /// Puts the first bytes of each sector back, which the headers keep.
    fn unpack(&self, headers: &[u8], mut data: Vec<u8>) -> Result<Vec<u8>> {
        let f = Fields::new(headers, "log record");
        for (index, sector) in data.chunks_mut(SECTOR_LENGTH).enumerate() {
            let (header, name) = (index / NAMES_PER_HEADER, index % NAMES_PER_HEADER);
            let names_at = if header == 0 { 44 } else { header * SECTOR_LENGTH + 4 };
            if header >= headers.len() / SECTOR_LENGTH {
                // mkfs.xfs pads its only record to the stripe of the disk; nothing is in the padding.
                match self.operations {
                    0 | 1 => break,
                    _ => return Err(FilesError::corrupt("a log record is longer than its headers allow")),
                }
            }
            sector[..4].copy_from_slice(f.slice(names_at + name * 4, 4)?);
        }
        data.truncate(in_memory(u64::from(self.length_bytes)));
        Ok(data)
    }
}
