//! A GPT as it has to stand on a larger disk: the backup at the new end, the first copy pointing to it, one partition grown if wanted.
//!
//! Pure: reads the old table, returns the bytes to write and in which order, and touches nothing. Ids, names, attributes and the boot
//! code in the first sector stay as they are.

use super::super::checksum::crc32;
use super::super::fields::{Fields, read_bytes};
use super::super::mbr;
use super::{Layout, SIGNATURE};
use crate::extents::{Extent, ExtentList};
use crate::facts::Growth;
use crate::read_at::ReadAt;
use anyhow::{Context, Result, bail};

/// Partitions end on this where they can, as partitioning programs make them.
const ALIGNMENT_BYTES: u64 = 1 << 20;
const TYPE_BYTES: usize = 16;
const FIRST_AT: usize = 32;
const LAST_AT: usize = 40;

/// What a table becomes.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// Offsets and bytes of the backup; to be durable before the first copy is touched.
    pub backup: Vec<(u64, Vec<u8>)>,
    /// Offsets and bytes of the first copy and the protective MBR.
    pub first_copy: Vec<(u64, Vec<u8>)>,
    /// What is left of the old backup; zeroed last, lest somebody finds a table there.
    pub stale: ExtentList,
    /// The partition that grows.
    pub grown: Option<Growth>,
}

/// The first copy of a table, checked.
struct Table {
    sector_bytes: u64,
    header: Vec<u8>,
    header_bytes: usize,
    layout: Layout,
    entries: Vec<u8>,
}

/// Works out the table of a disk of `target_bytes`, with this partition grown as far as it can.
pub fn to_larger(disk: &dyn ReadAt, sector_bytes: u32, target_bytes: u64, grow: Option<u32>) -> Result<Moved> {
    let mut table = Table::read(disk, sector_bytes)?;
    let unit = table.sector_bytes;
    let last = (target_bytes / unit).saturating_sub(1);
    let table_sectors = (table.entries.len() as u64).div_ceil(unit);
    let old_last = Fields(&table.header).le64(32);
    let last_usable = last.checked_sub(table_sectors + 1).context("the target is too small for a partition table")?;
    if last < disk.size_bytes() / unit {
        bail!("the target has no room behind the disk's old end, so there is nothing to grow into");
    }
    let reach = table.used().map(|(_, _, end)| end).max().unwrap_or(0);
    if reach.max(table.layout.entries_sector.saturating_add(table_sectors)) > last_usable {
        bail!("a partition, or the table itself, reaches beyond the target's usable sectors");
    }
    let grown = grow.map(|number| table.grow(number, last_usable)).transpose()?;
    let crc = crc32(&table.entries);
    let first_header = table.header_for(1, last, table.layout.entries_sector, last_usable, crc);
    let backup_header = table.header_for(last, 1, last - table_sectors, last_usable, crc);
    let mut entries = table.entries.clone();
    entries.resize(usize::try_from(table_sectors * unit)?, 0);
    let backup = vec![((last - table_sectors) * unit, entries), (last * unit, backup_header)];
    let mut first_copy = vec![(table.layout.entries_sector * unit, table.entries.clone()), (unit, first_header)];
    if let Some(sector) = mbr::protective_for(disk, sector_bytes, target_bytes)? {
        first_copy.push((0, sector));
    }
    let stale = table.stale(disk, old_last, table_sectors)?;
    let new: ExtentList =
        backup.iter().filter_map(|(offset, bytes)| Extent::new(*offset, bytes.len() as u64)).collect();
    Ok(Moved { stale: stale.subtract(&new), backup, first_copy, grown })
}

impl Table {
    fn read(disk: &dyn ReadAt, sector_bytes: u32) -> Result<Self> {
        let unit = u64::from(sector_bytes);
        let damaged =
            "the first copy of the partition table is damaged; mend it with `gdisk` after a restore without --grow";
        let header = read_bytes(disk, unit, usize::try_from(sector_bytes)?)?.context(damaged)?;
        let layout = Layout::from_header(&header, 1).context(damaged)?;
        let offset = layout.entries_sector.checked_mul(unit).context(damaged)?;
        let entries = read_bytes(disk, offset, layout.count * layout.entry_bytes)?.context(damaged)?;
        if crc32(&entries) != layout.entries_crc {
            bail!(damaged);
        }
        let header_bytes = usize::try_from(Fields(&header).le32(12))?;
        Ok(Self { sector_bytes: unit, header, header_bytes, layout, entries })
    }

    /// Number, first and last sector of the entries that are partitions.
    fn used(&self) -> impl Iterator<Item = (u32, u64, u64)> {
        (1..).zip(self.entries.chunks_exact(self.layout.entry_bytes)).filter_map(|(number, entry)| {
            let is_used = entry[..TYPE_BYTES].iter().any(|byte| *byte != 0);
            is_used.then(|| (number, Fields(entry).le64(FIRST_AT), Fields(entry).le64(LAST_AT)))
        })
    }

    fn grow(&mut self, number: u32, last_usable: u64) -> Result<Growth> {
        let found = self.used().find(|(other, ..)| *other == number);
        let (_, first, last) = found.with_context(|| format!("the partition table has no partition {number}"))?;
        if first > last {
            bail!("partition {number} ends before it begins");
        }
        let others = || self.used().filter(|(other, ..)| *other != number);
        let next = others().filter(|(_, other_first, other_last)| *other_first > first || *other_last > last);
        let next = next.min_by_key(|(_, other_first, _)| *other_first);
        let limit = next.map_or(last_usable, |(_, other_first, _)| other_first.saturating_sub(1).min(last_usable));
        let step = ALIGNMENT_BYTES / self.sector_bytes;
        let down = ((limit + 1) - (limit + 1) % step).saturating_sub(1);
        if down <= last {
            match next {
                Some((other, ..)) => bail!(
                    "partition {number} cannot grow: partition {other} follows it. Name a partition with free space behind it, or move {other} first"
                ),
                None => bail!("partition {number} cannot grow: it ends where the target does"),
            }
        }
        let at = usize::try_from(number - 1)? * self.layout.entry_bytes + LAST_AT;
        self.entries[at..at + 8].copy_from_slice(&down.to_le_bytes());
        let bytes = |sectors: u64| sectors.checked_mul(self.sector_bytes).context("a partition beyond all sizes");
        Ok(Growth {
            number: Some(number),
            offset_bytes: bytes(first)?,
            from_bytes: bytes(last - first + 1)?,
            to_bytes: bytes(down - first + 1)?,
        })
    }

    fn header_for(&self, own: u64, other: u64, entries: u64, last_usable: u64, entries_crc: u32) -> Vec<u8> {
        let mut header = self.header.clone();
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &[0; 4]);
        put(24, &own.to_le_bytes());
        put(32, &other.to_le_bytes());
        put(48, &last_usable.to_le_bytes());
        put(72, &entries.to_le_bytes());
        put(88, &entries_crc.to_le_bytes());
        let crc = crc32(&header[..self.header_bytes]);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// The old backup, where there is one and no partition lies.
    fn stale(&self, disk: &dyn ReadAt, old_last: u64, table_sectors: u64) -> Result<ExtentList> {
        let unit = self.sector_bytes;
        let header = old_last.checked_mul(unit).map(|offset| read_bytes(disk, offset, SIGNATURE.len())).transpose()?;
        if header.flatten().is_none_or(|bytes| bytes != SIGNATURE) {
            return Ok(ExtentList::new());
        }
        let start = old_last.saturating_sub(table_sectors);
        let reach = self.used().map(|(_, _, last)| last.saturating_add(1)).max().unwrap_or(0);
        let start = start.max(reach).max(self.layout.entries_sector + table_sectors);
        Ok(Extent::from_bounds(start * unit, (old_last + 1) * unit).into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
