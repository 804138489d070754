//! The master boot record and the chain of logical partitions behind its extended partition.
//!
//! A file system's boot sector carries the same signature, so the four entries must also make sense before this is
//! called a table. The chain is followed at most [`MAX_LOGICAL`] links, so a cycle ends.

use super::fields::{Fields, read_bytes};
use super::{Growth, Partition, PartitionTable, TableFound, TableKind, partition_bytes};
use crate::read_at::ReadAt;
use anyhow::{Context, Result, bail};
use std::io;

/// The kernel stops at 256 partitions in all.
const MAX_LOGICAL: u32 = 256;
const FIRST_LOGICAL: u32 = 5;
const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
const PROTECTIVE: u8 = 0xEE;

#[derive(Clone, Copy)]
struct Entry {
    status: u8,
    kind: u8,
    first_sector: u32,
    sectors: u32,
}

impl Entry {
    fn all(sector: &[u8]) -> [Entry; 4] {
        [0, 1, 2, 3].map(|i| {
            let at = ENTRIES_AT + i * ENTRY_BYTES;
            let fields = Fields(sector);
            Entry {
                status: fields.u8(at),
                kind: fields.u8(at + 4),
                first_sector: fields.le32(at + 8),
                sectors: fields.le32(at + 12),
            }
        })
    }

    fn is_used(self) -> bool {
        self.kind != 0 && self.sectors != 0
    }

    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0F | 0x85)
    }

    fn to_partition(self, number: u32, base_sector: u64, sector_bytes: u32, disk_bytes: u64) -> Option<Partition> {
        let first = base_sector + u64::from(self.first_sector);
        let (offset_bytes, length_bytes) =
            partition_bytes(first, u64::from(self.sectors), u64::from(sector_bytes), disk_bytes)?;
        Some(Partition {
            number,
            offset_bytes,
            length_bytes,
            type_id: format!("0x{:02x}", self.kind),
            guid: None,
            name: None,
            bootable: self.status & 0x80 != 0,
            extended: self.is_extended(),
            content: None,
        })
    }
}

fn has_signature(sector: &[u8]) -> bool {
    Fields(sector).has(510, &[0x55, 0xAA])
}

/// Does this first sector say that a GPT follows?
pub(super) fn is_protective(sector: &[u8]) -> bool {
    has_signature(sector) && Entry::all(sector).iter().any(|e| e.kind == PROTECTIVE)
}

/// The table with its logical partitions; `None` when the first sector is something else.
pub(super) fn read(disk: &dyn ReadAt, sector_bytes: u32) -> io::Result<Option<TableFound>> {
    let Some(sector) = read_bytes(disk, 0, 512)? else { return Ok(None) };
    let entries = Entry::all(&sector);
    if !has_signature(&sector) || !is_plausible(&entries) {
        return Ok(None);
    }
    let signature = Fields(&sector).le32(440);
    let mut found = TableFound {
        table: PartitionTable { kind: TableKind::Mbr, id: (signature != 0).then(|| format!("{signature:08x}")) },
        partitions: Vec::new(),
        sector_bytes,
        notes: Vec::new(),
    };
    if is_protective(&sector) {
        found.notes.push("the MBR announces a GPT, but neither copy of it is valid".to_owned());
    }
    for (number, entry) in (1..).zip(entries).filter(|(_, entry)| entry.is_used()) {
        match entry.to_partition(number, 0, sector_bytes, disk.size_bytes()) {
            Some(partition) => found.partitions.push(partition),
            None => found.notes.push(format!("partition {number} does not lie on the disk")),
        }
    }
    if let Some(extended) = entries.iter().find(|e| e.is_used() && e.is_extended()) {
        add_logical(disk, &mut found, extended.first_sector)?;
    }
    Ok(Some(found))
}

/// Boot code ends in anything; a table has status bytes of 0x00 or 0x80 and at least one partition behind the first sector.
fn is_plausible(entries: &[Entry; 4]) -> bool {
    let used = || entries.iter().filter(|e| e.is_used());
    entries.iter().all(|e| e.status & 0x7F == 0) && used().next().is_some() && used().all(|e| e.first_sector > 0)
}

/// Cylinder, head and sector beyond what those can say: the sector numbers count.
const CHS_BEYOND: [u8; 3] = [0xFE, 0xFF, 0xFF];
const PROTECTIVE_CHS_BEYOND: [u8; 3] = [0xFF; 3];
const ALIGNMENT_BYTES: u64 = 1 << 20;

/// The first sector with its protective entry as long as a larger disk; none when a person made more of it (a hybrid MBR).
pub(super) fn protective_for(disk: &dyn ReadAt, sector_bytes: u32, target_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(mut sector) = read_bytes(disk, 0, sector_bytes as usize)? else { return Ok(None) };
    let entries = Entry::all(&sector);
    let used: Vec<_> = (0..4).filter(|index| entries[*index].kind != 0).collect();
    let &[index] = used.as_slice() else { return Ok(None) };
    if entries[index].kind != PROTECTIVE {
        return Ok(None);
    }
    let sectors = (target_bytes / u64::from(sector_bytes)).saturating_sub(entries[index].first_sector.into());
    set_length(&mut sector, index, u32::try_from(sectors).unwrap_or(u32::MAX), PROTECTIVE_CHS_BEYOND);
    Ok(Some(sector))
}

fn set_length(sector: &mut [u8], index: usize, sectors: u32, chs: [u8; 3]) {
    let at = ENTRIES_AT + index * ENTRY_BYTES;
    sector[at + 5..at + 8].copy_from_slice(&chs);
    sector[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
}

/// The first sector with one primary partition grown as far as it can, and what became of the partition. Pure, like
/// [`super::gpt::moved`].
pub fn grown(disk: &dyn ReadAt, sector_bytes: u32, target_bytes: u64, number: u32) -> Result<(Vec<u8>, Growth)> {
    let unit = u64::from(sector_bytes);
    let mut sector = read_bytes(disk, 0, 512)?.context("the disk has no first sector")?;
    if number >= FIRST_LOGICAL {
        bail!(
            "partition {number} is a logical partition; growing it means growing what contains it, which is not done here. Restore without --grow, then use `parted`"
        );
    }
    let entries = Entry::all(&sector);
    let index = number
        .checked_sub(1)
        .and_then(|index| usize::try_from(index).ok())
        .context("partitions are numbered from 1")?;
    let entry = entries[index];
    if !entry.is_used() {
        bail!("the partition table has no partition {number}");
    }
    if entry.is_extended() {
        bail!("partition {number} only contains others; restore without --grow, then use `parted`");
    }
    let (first, end) = (u64::from(entry.first_sector), u64::from(entry.first_sector) + u64::from(entry.sectors));
    let others = (1u32..).zip(entries).filter(|(other, entry)| *other != number && entry.is_used());
    let others = others.map(|(other, entry)| {
        (other, u64::from(entry.first_sector), u64::from(entry.first_sector) + u64::from(entry.sectors))
    });
    let next = others
        .filter(|(_, other_first, other_end)| *other_first > first || *other_end > end)
        .min_by_key(|(_, other_first, _)| *other_first);
    // Sector numbers have 32 bits: with sectors of 512 bytes nothing beyond 2 TiB can be said.
    let reach = (target_bytes / unit).min(u64::from(u32::MAX) + 1);
    let limit = next.map_or(reach, |(_, other_first, _)| other_first.min(reach));
    let to = limit - limit % (ALIGNMENT_BYTES / unit);
    let Some(sectors) = to.checked_sub(first).filter(|_| to > end).and_then(|sectors| u32::try_from(sectors).ok())
    else {
        match next {
            Some((other, ..)) => bail!(
                "partition {number} cannot grow: partition {other} follows it. Name a partition with free space behind it, or move {other} first"
            ),
            None => bail!("partition {number} cannot grow: it ends where the target, or what an MBR can say, does"),
        }
    };
    set_length(&mut sector, index, sectors, CHS_BEYOND);
    let growth = Growth {
        number: Some(number),
        offset_bytes: first * unit,
        from_bytes: u64::from(entry.sectors) * unit,
        to_bytes: u64::from(sectors) * unit,
    };
    Ok((sector, growth))
}

/// Each link describes one logical partition, relative to itself, and the next link, relative to the extended partition.
fn add_logical(disk: &dyn ReadAt, found: &mut TableFound, extended_sector: u32) -> io::Result<()> {
    let base = u64::from(extended_sector);
    let mut link = base;
    for number in FIRST_LOGICAL..FIRST_LOGICAL + MAX_LOGICAL {
        let Some(sector) = read_bytes(disk, link * u64::from(found.sector_bytes), 512)? else {
            found.notes.push("the chain of logical partitions leaves the disk".to_owned());
            return Ok(());
        };
        let [entry, next, ..] = Entry::all(&sector);
        if !has_signature(&sector) {
            found.notes.push("the chain of logical partitions is broken".to_owned());
            return Ok(());
        }
        if entry.is_used() && !entry.is_extended() {
            match entry.to_partition(number, link, found.sector_bytes, disk.size_bytes()) {
                Some(partition) => found.partitions.push(partition),
                None => found.notes.push(format!("partition {number} does not lie on the disk")),
            }
        }
        if !next.is_used() || !next.is_extended() {
            return Ok(());
        }
        link = base + u64::from(next.first_sector);
    }
    found.notes.push(format!("only the first {MAX_LOGICAL} logical partitions are described"));
    Ok(())
}
