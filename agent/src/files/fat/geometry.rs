//! The boot sector: where table, root directory and clusters lie. Believed only where everything fits on the disk.

use super::read;
use crate::files::{FilesError, Result};
use crate::read_at::ReadAt;

const BOOT_BYTES: usize = 512;
/// Fewer clusters than this make 12 bits an entry, fewer than the other 16.
const CLUSTERS_OF_16: u64 = 4085;
/// The first two entries of the table are no clusters.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// Bits of an entry of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Width {
    Bits12,
    Bits16,
    Bits32,
}

/// Where the root directory lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// In a place of its own.
    Region { offset_bytes: u64, length_bytes: u64 },
    /// In a chain of clusters like every other directory.
    Cluster(u32),
}

pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) cluster_bytes: u64,
    /// So many clusters there are, numbered from [`FIRST_CLUSTER`].
    pub(super) clusters: u32,
    pub(super) table_offset_bytes: u64,
    pub(super) table_bytes: u64,
    pub(super) root: Root,
    pub(super) is_dirty: bool,
    data_offset_bytes: u64,
}

/// Whether the first sector is that of a FAT file system.
pub(super) fn is_fat(disk: &dyn ReadAt) -> Result<bool> {
    if disk.size_bytes() < BOOT_BYTES as u64 {
        return Ok(false);
    }
    let mut boot = [0; BOOT_BYTES];
    read(disk, &mut boot, 0)?;
    let jumps = matches!(boot[0], 0xeb | 0xe9) && boot[510..] == [0x55, 0xaa];
    let is_another = [&b"NTFS    "[..], b"EXFAT   "].contains(&&boot[3..11]);
    Ok(jumps && !is_another && Geometry::of(&boot, disk.size_bytes()).is_ok())
}

impl Geometry {
    pub(super) fn read(disk: &dyn ReadAt) -> Result<Self> {
        let mut boot = [0; BOOT_BYTES];
        read(disk, &mut boot, 0)?;
        Self::of(&boot, disk.size_bytes())
    }

    fn of(boot: &[u8; BOOT_BYTES], disk_bytes: u64) -> Result<Self> {
        let bad = |what: &str| FilesError::corrupt(format!("the boot sector has {what}"));
        let le16 = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let le32 = |at: usize| u64::from(u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]));
        let either = |short: u64, long: u64| if short == 0 { long } else { short };
        let (sector_bytes, cluster_sectors) = (le16(11), u64::from(boot[13]));
        if !(512..=4096).contains(&sector_bytes) || !sector_bytes.is_power_of_two() {
            return Err(bad("an impossible size of sectors"));
        }
        if !cluster_sectors.is_power_of_two() {
            return Err(bad("an impossible size of clusters"));
        }
        let (reserved, tables, root_entries) = (le16(14), u64::from(boot[16]), le16(17));
        let sectors = either(le16(19), le32(32));
        let is_wide = le16(22) == 0;
        let table_sectors = either(le16(22), le32(36));
        if reserved == 0 || !(1..=4).contains(&tables) || table_sectors == 0 {
            return Err(bad("no table"));
        }
        let root_sectors = (root_entries * 32).div_ceil(sector_bytes);
        let before_root = reserved + tables * table_sectors;
        let before_data = before_root + root_sectors;
        if sectors.checked_mul(sector_bytes).is_none_or(|bytes| bytes > disk_bytes) {
            return Err(bad("more sectors than the disk"));
        }
        let counted =
            sectors.checked_sub(before_data).ok_or_else(|| bad("a table that is too long"))? / cluster_sectors;
        let width = match is_wide {
            true => Width::Bits32,
            false if counted < CLUSTERS_OF_16 => Width::Bits12,
            false => Width::Bits16,
        };
        let table_bytes = table_sectors * sector_bytes;
        let entries = match width {
            Width::Bits12 => table_bytes * 2 / 3,
            Width::Bits16 => table_bytes / 2,
            Width::Bits32 => table_bytes / 4,
        };
        let clusters = counted.min(entries.saturating_sub(FIRST_CLUSTER.into()));
        let clusters = u32::try_from(clusters).ok().filter(|clusters| (1..0x0fff_fff0).contains(clusters));
        let clusters = clusters.ok_or_else(|| bad("an impossible number of clusters"))?;
        let root = match is_wide {
            true => Root::Cluster(u32::try_from(le32(44)).unwrap_or(0) & 0x0fff_ffff),
            false => Root::Region { offset_bytes: before_root * sector_bytes, length_bytes: root_entries * 32 },
        };
        // With the highest bit only one of the tables is kept up to date, and the lowest bits say which.
        let flags = if is_wide { le16(40) } else { 0 };
        let active = if flags & 0x80 == 0 { 0 } else { (flags & 0xf).min(tables - 1) };
        Ok(Self {
            width,
            cluster_bytes: cluster_sectors * sector_bytes,
            clusters,
            table_offset_bytes: (reserved + active * table_sectors) * sector_bytes,
            table_bytes,
            root,
            is_dirty: boot[if is_wide { 65 } else { 37 }] & 1 != 0,
            data_offset_bytes: before_data * sector_bytes,
        })
    }

    pub(super) fn is_wide(&self) -> bool {
        self.width == Width::Bits32
    }

    pub(super) fn has(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..FIRST_CLUSTER + self.clusters).contains(&cluster)
    }

    /// Where a cluster that [`has`](Self::has) knows begins.
    pub(super) fn offset_of(&self, cluster: u32) -> u64 {
        self.data_offset_bytes + u64::from(cluster - FIRST_CLUSTER) * self.cluster_bytes
    }
}
