//! What lies on a disk: its partition table and, at the disk itself and in each partition, the file system or volume.
//!
//! Stored as JSON in manifests, so names here are a format: fields may be added (with a default), never renamed.
//! Reading facts never fails because of what the bytes say; only an unreadable disk is an error. Facts describe and
//! never decide alone what may be skipped: that is [`used`], which distrusts everything.

pub mod checksum;
pub mod content;
pub(crate) mod ext4_superblock;
pub(crate) mod fields;
pub mod gpt;
pub mod lvm;
pub mod mbr;
#[cfg(test)]
pub(crate) mod test_images;
#[cfg(test)]
mod tests;
pub mod used;

use crate::read_at::{ReadAt, Slice};
use content::Content;
use serde::{Deserialize, Serialize};
use std::io;

/// Most partitions that are described; what lies beyond is mentioned in the notes and still backed up as bytes.
pub const MAX_PARTITIONS: usize = 1024;

/// Everything known about the layout of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct DiskFacts {
    /// Unit of the partition table's numbers; 512 when there is no table to tell.
    pub sector_bytes: u32,
    /// `None` for a disk without a partition table (empty, or a file system right on it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<PartitionTable>,
    /// What begins at the first byte of the disk: usual without a table, possible with one (hybrid ISO images).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// In the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Partition>,
    /// Oddities a person should know, such as a damaged first copy of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The partition table as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct PartitionTable {
    /// Its format.
    pub kind: TableKind,
    /// GPT: the disk's GUID. MBR: the signature as eight hexadecimal digits. `None` when it is all zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Formats of partition tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// GUID partition table.
    Gpt,
    /// Master boot record with its logical partitions.
    Mbr,
    /// Written by a newer program.
    #[serde(other)]
    Unknown,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Partition {
    /// As the kernel numbers it; logical partitions begin at 5.
    pub number: u32,
    /// From the beginning of the disk.
    pub offset_bytes: u64,
    /// Never zero.
    pub length_bytes: u64,
    /// GPT: the type's GUID. MBR: `0x83` and the like.
    pub type_id: String,
    /// GPT: the partition's own GUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// GPT: the partition's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// MBR: marked active. GPT: the legacy boot attribute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bootable: bool,
    /// MBR: a container of logical partitions, whose bytes belong to them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extended: bool,
    /// What its first bytes say it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// Type of EFI system partitions in a GPT.
const EFI_SYSTEM_GPT: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// The same in an MBR.
const EFI_SYSTEM_MBR: &str = "0xef";

impl Partition {
    /// Whether the table says that the machine's firmware starts from it.
    pub fn is_efi_system(&self) -> bool {
        [EFI_SYSTEM_GPT, EFI_SYSTEM_MBR].contains(&self.type_id.as_str())
    }
}

/// A partition, or a disk without partitions, that becomes larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// Its number; none for a disk without partitions.
    #[serde(rename = "partition")]
    pub number: Option<u32>,
    /// Where it begins.
    pub offset_bytes: u64,
    /// Its length before.
    pub from_bytes: u64,
    /// Its length afterwards.
    pub to_bytes: u64,
}

/// What a table parser found; `partitions` are inside the disk and not empty.
struct TableFound {
    table: PartitionTable,
    partitions: Vec<Partition>,
    sector_bytes: u32,
    notes: Vec<String>,
}

impl DiskFacts {
    /// Reads the facts. `sector_bytes` is the device's logical sector size (512 for an image file); a GPT made with
    /// the other usual size is found too. Reads a few megabytes at most and never more than the table's partitions ask for.
    pub fn read(disk: &dyn ReadAt, sector_bytes: u32) -> io::Result<Self> {
        let found = match gpt::read(disk, sector_bytes)? {
            Some(found) => Some(found),
            None => mbr::read(disk, sector_bytes)?,
        };
        let content = content::probe(disk)?;
        let Some(mut found) = found else {
            return Ok(Self { sector_bytes, content, ..Self::default() });
        };
        for partition in found.partitions.iter_mut().filter(|p| !p.extended) {
            let bytes = Slice::new(disk, partition.offset_bytes, partition.length_bytes)?;
            partition.content = content::probe(&bytes)?;
        }
        Ok(Self {
            sector_bytes: found.sector_bytes,
            table: Some(found.table),
            content,
            partitions: found.partitions,
            notes: found.notes,
        })
    }

    /// The partition of this number.
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.number == number)
    }
}

/// The partition's extent in bytes when it is not empty and lies on the disk.
fn partition_bytes(first_sector: u64, sectors: u64, sector_bytes: u64, disk_bytes: u64) -> Option<(u64, u64)> {
    let offset = first_sector.checked_mul(sector_bytes)?;
    let length = sectors.checked_mul(sector_bytes)?;
    (length > 0 && offset.checked_add(length)? <= disk_bytes).then_some((offset, length))
}
