//! The GUID partition table (UEFI specification, chapter 5): header and entries, checked, from the first copy or the backup.
//!
//! Our own reader, because the disk is untrusted input here: memory is bounded and nothing can panic. Tables are not made
//! here; a restore writes the bytes back, and for a larger disk [`moved`] works out which of them change.

pub mod moved;

use super::checksum::crc32;
use super::fields::{Fields, read_bytes};
use super::{MAX_PARTITIONS, Partition, PartitionTable, TableFound, TableKind, partition_bytes};
use crate::read_at::ReadAt;
use std::io;

const SIGNATURE: &[u8] = b"EFI PART";
const MIN_HEADER_BYTES: usize = 92;
/// Entries are 128 bytes in practice; the specification allows 128 · 2ⁿ.
const MAX_ENTRY_BYTES: usize = 4096;
/// 128 entries of 128 bytes are 16 KiB; this is a thousand times more.
const MAX_TABLE_BYTES: usize = 16 << 20;
const LEGACY_BOOTABLE: u64 = 1 << 2;

/// The table, looked for with sectors of `sector_bytes` and then of the other usual size.
///
/// Like the kernel, only believes a GPT that a protective MBR announces: without one it is the leftover of a disk that
/// has another layout now.
pub(super) fn read(disk: &dyn ReadAt, sector_bytes: u32) -> io::Result<Option<TableFound>> {
    if !read_bytes(disk, 0, 512)?.is_some_and(|sector| super::mbr::is_protective(&sector)) {
        return Ok(None);
    }
    let sizes = [sector_bytes, if sector_bytes == 4096 { 512 } else { 4096 }];
    for size in sizes {
        if let Some(found) = read_copy(disk, size, 1)? {
            return Ok(Some(found));
        }
    }
    for size in sizes {
        let last = (disk.size_bytes() / u64::from(size).max(1)).saturating_sub(1);
        if let Some(mut found) = read_copy(disk, size, last)? {
            let note = "the first copy of the GPT is damaged; this is its backup at the end of the disk";
            found.notes.push(note.to_owned());
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn read_copy(disk: &dyn ReadAt, sector_bytes: u32, header_sector: u64) -> io::Result<Option<TableFound>> {
    let sector_length = usize::try_from(sector_bytes).unwrap_or(512);
    let header_offset = header_sector.saturating_mul(u64::from(sector_bytes));
    let Some(header) = read_bytes(disk, header_offset, sector_length)? else { return Ok(None) };
    let Some(layout) = Layout::from_header(&header, header_sector) else { return Ok(None) };
    let entries_offset = layout.entries_sector.saturating_mul(u64::from(sector_bytes));
    let Some(entries) = read_bytes(disk, entries_offset, layout.count * layout.entry_bytes)? else { return Ok(None) };
    if crc32(&entries) != layout.entries_crc {
        return Ok(None);
    }
    let mut found = TableFound {
        table: PartitionTable { kind: TableKind::Gpt, id: Fields(&header).guid(56) },
        partitions: Vec::new(),
        sector_bytes,
        notes: Vec::new(),
    };
    for (number, entry) in (1..).zip(entries.chunks_exact(layout.entry_bytes)) {
        add_entry(&mut found, number, Fields(entry), disk.size_bytes());
    }
    Ok(Some(found))
}

/// The fields of a header whose signature and checksum are right.
struct Layout {
    entries_sector: u64,
    count: usize,
    entry_bytes: usize,
    entries_crc: u32,
}

impl Layout {
    fn from_header(sector: &[u8], header_sector: u64) -> Option<Self> {
        let fields = Fields(sector);
        let length = usize::try_from(fields.le32(12)).ok()?;
        if !fields.has(0, SIGNATURE) || length < MIN_HEADER_BYTES || fields.le64(24) != header_sector {
            return None;
        }
        let mut header = sector.get(..length)?.to_vec();
        header[16..20].fill(0);
        let layout = Self {
            entries_sector: fields.le64(72),
            count: usize::try_from(fields.le32(80)).ok()?,
            entry_bytes: usize::try_from(fields.le32(84)).ok()?,
            entries_crc: fields.le32(88),
        };
        let table_bytes = layout.count.checked_mul(layout.entry_bytes)?;
        let plausible = (128..=MAX_ENTRY_BYTES).contains(&layout.entry_bytes) && table_bytes <= MAX_TABLE_BYTES;
        (plausible && crc32(&header) == fields.le32(16)).then_some(layout)
    }
}

fn add_entry(found: &mut TableFound, number: u32, entry: Fields<'_>, disk_bytes: u64) {
    let Some(type_id) = entry.guid(0) else { return };
    if found.partitions.len() == MAX_PARTITIONS {
        let note = format!("only the first {MAX_PARTITIONS} partitions are described");
        if !found.notes.contains(&note) {
            found.notes.push(note);
        }
        return;
    }
    let (first, last) = (entry.le64(32), entry.le64(40));
    let sectors = last.checked_sub(first).and_then(|n| n.checked_add(1)).unwrap_or(0);
    let Some((offset_bytes, length_bytes)) = partition_bytes(first, sectors, u64::from(found.sector_bytes), disk_bytes)
    else {
        found.notes.push(format!("partition {number} does not lie on the disk"));
        return;
    };
    found.partitions.push(Partition {
        number,
        offset_bytes,
        length_bytes,
        type_id,
        guid: entry.guid(16),
        name: entry.utf16(56, 36),
        bootable: entry.le64(48) & LEGACY_BOOTABLE != 0,
        extended: false,
        content: None,
    });
}
