//! What a disk or partition holds, told from its superblock, and the few facts that are simple to read there.
//!
//! One probe a format, tried in the order of [`PROBES`]: containers first, because a mirror's member or an encrypted
//! volume may show the file system inside as well.

use super::fields::{Fields, read_bytes};
use super::lvm::{self, LvmPhysicalVolume};
use crate::read_at::ReadAt;
use serde::{Deserialize, Serialize};
use std::io;

/// Formats that are recognised. The names are stored in manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the formats")]
pub enum ContentKind {
    Ext2,
    Ext3,
    Ext4,
    Xfs,
    Btrfs,
    Fat,
    Exfat,
    Ntfs,
    Iso9660,
    Swap,
    Lvm2,
    Luks1,
    Luks2,
    MdRaid,
    /// Written by a newer program.
    #[serde(other)]
    Unknown,
}

/// A recognised file system or volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Content {
    /// Its format.
    pub kind: ContentKind,
    /// In the form that `blkid` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The label a person gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Size according to the superblock; may be less than the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Allocation unit of the file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_bytes: Option<u32>,
    /// The volumes of an LVM physical volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lvm: Option<LvmPhysicalVolume>,
}

impl Content {
    fn new(kind: ContentKind) -> Self {
        Self { kind, uuid: None, label: None, size_bytes: None, block_bytes: None, lvm: None }
    }

    fn uuid(self, uuid: Option<String>) -> Self {
        Self { uuid, ..self }
    }

    fn label(self, label: Option<String>) -> Self {
        Self { label, ..self }
    }

    fn size_in(self, count: u64, unit_bytes: u32) -> Self {
        let size_bytes = count.checked_mul(u64::from(unit_bytes)).filter(|size| *size > 0);
        Self { size_bytes, ..self }
    }

    fn blocks(self, count: u64, block_bytes: u32) -> Self {
        Self { block_bytes: Some(block_bytes).filter(|size| *size > 0), ..self.size_in(count, block_bytes) }
    }
}

/// Where a probe's bytes begin.
enum At {
    Start(u64),
    /// Where the md formats 0.90 and 1.0 put their superblock near the end.
    Md090,
    Md10,
}

struct Probe {
    at: At,
    length: usize,
    read: fn(Fields<'_>) -> Option<Content>,
}

const fn probe_at(offset_bytes: u64, length: usize, read: fn(Fields<'_>) -> Option<Content>) -> Probe {
    Probe { at: At::Start(offset_bytes), length, read }
}

const PROBES: &[Probe] = &[
    probe_at(0, 512, luks),
    probe_at(4096, 256, md_v1),
    probe_at(0, 256, md_v1),
    Probe { at: At::Md10, length: 256, read: md_v1 },
    Probe { at: At::Md090, length: 4096, read: md_v090 },
    probe_at(0, 4096, swap_4k),
    probe_at(0, 8192, swap_8k),
    probe_at(0, 16 << 10, swap_16k),
    probe_at(0, 64 << 10, swap_64k),
    probe_at(0, 512, xfs),
    probe_at(1024, 1024, ext),
    probe_at(64 << 10, 4096, btrfs),
    probe_at(0, 512, ntfs),
    probe_at(0, 512, exfat),
    probe_at(0, 512, fat),
    probe_at(32 << 10, 2048, iso9660),
];

/// Whether it is a member of an md array whose superblock lies at its end, so that what the array holds begins where the member does.
pub fn is_raid_member(disk: &dyn ReadAt) -> io::Result<bool> {
    for probe in PROBES.iter().filter(|probe| matches!(probe.at, At::Md10 | At::Md090)) {
        let Some(offset_bytes) = probe.at.offset_bytes(disk.size_bytes()) else { continue };
        let Some(bytes) = read_bytes(disk, offset_bytes, probe.length)? else { continue };
        if (probe.read)(Fields(&bytes)).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first format that matches, or `None`. Only reading can fail, never what was read.
pub fn probe(disk: &dyn ReadAt) -> io::Result<Option<Content>> {
    if let Some(volume) = lvm::read(disk)? {
        let content = Content::new(ContentKind::Lvm2).uuid(volume.uuid.clone()).size_in(volume.device_bytes, 1);
        return Ok(Some(Content { lvm: Some(volume), ..content }));
    }
    for probe in PROBES {
        let Some(offset_bytes) = probe.at.offset_bytes(disk.size_bytes()) else { continue };
        let Some(bytes) = read_bytes(disk, offset_bytes, probe.length)? else { continue };
        if let Some(content) = (probe.read)(Fields(&bytes)) {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// Whether something else than swap space may be on a device with the signature of one.
///
/// Some formats leave the first pages as they find them, and with them the signature of what was there before. Swapped-out memory
/// can look like one of them too: whoever asks then keeps more than is needed, and nothing is lost.
pub fn may_be_more_than_swap(disk: &dyn ReadAt) -> io::Result<bool> {
    for (offset_bytes, signature) in BEHIND_SWAP {
        let found = read_bytes(disk, *offset_bytes, signature.len())?;
        if found.is_some_and(|found| found == *signature) {
            return Ok(true);
        }
    }
    let btrfs = read_bytes(disk, 64 << 10, 4096)?.and_then(|bytes| btrfs(Fields(&bytes)));
    // A label of ZFS: 128 KiB of uberblocks of 1 KiB or more, each with this number in front in the order of its host's bytes.
    let uberblocks = read_bytes(disk, 128 << 10, 128 << 10)?.unwrap_or_default();
    let has_zfs = uberblocks.chunks(1024).any(|block| {
        let front = Fields(block);
        front.le32(0) == ZFS_UBERBLOCK || front.be32(4) == ZFS_UBERBLOCK
    });
    Ok(btrfs.is_some() || has_zfs)
}

const ZFS_UBERBLOCK: u32 = 0x00BA_B10C;

/// Signatures that can lie behind or within the header of an old swap space.
const BEHIND_SWAP: &[(u64, &[u8])] = &[
    // bcache and bcachefs
    (4096 + 24, &[0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65, 0xF5, 0x7F, 0x48, 0xBA, 0x6D, 0x81]),
    (4096 + 24, &[0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9, 0xD9, 0x6A, 0x60, 0xCF, 0x80, 0x3D, 0xF7, 0xEF]),
    // ASM, in both forms
    (32, b"ORCLDISK"),
    (32, b"ORCLCLRD"),
];

impl At {
    fn offset_bytes(&self, size_bytes: u64) -> Option<u64> {
        match self {
            At::Start(offset) => Some(*offset),
            At::Md090 => (size_bytes & !0xFFFF).checked_sub(64 << 10),
            At::Md10 => (size_bytes / 512).checked_sub(16).map(|sector| (sector & !7) * 512),
        }
    }
}

fn luks(header: Fields<'_>) -> Option<Content> {
    let kind = match header.be16(6) {
        _ if !header.has(0, b"LUKS\xBA\xBE") => return None,
        1 => ContentKind::Luks1,
        2 => ContentKind::Luks2,
        _ => return None,
    };
    let label = if kind == ContentKind::Luks2 { header.text(24, 48) } else { None };
    Some(Content::new(kind).uuid(header.text(168, 40)).label(label))
}

fn md_v1(sb: Fields<'_>) -> Option<Content> {
    let is_md = sb.le32(0) == 0xA92B_4EFC && sb.le32(4) == 1;
    is_md.then(|| Content::new(ContentKind::MdRaid).uuid(sb.uuid(16)).label(sb.text(32, 32)).size_in(sb.le64(80), 512))
}

fn md_v090(sb: Fields<'_>) -> Option<Content> {
    let is_md = sb.le32(0) == 0xA92B_4EFC && sb.le32(4) == 0;
    is_md.then(|| Content::new(ContentKind::MdRaid))
}

fn swap(header: Fields<'_>, page_bytes: u32) -> Option<Content> {
    let page = usize::try_from(page_bytes).ok()?;
    let is_swap = header.has(page - 10, b"SWAPSPACE2") && header.le32(1024) == 1;
    let pages = u64::from(header.le32(1028)) + 1;
    is_swap.then(|| {
        Content::new(ContentKind::Swap).uuid(header.uuid(1036)).label(header.text(1052, 16)).blocks(pages, page_bytes)
    })
}

fn swap_4k(header: Fields<'_>) -> Option<Content> {
    swap(header, 4 << 10)
}

fn swap_8k(header: Fields<'_>) -> Option<Content> {
    swap(header, 8 << 10)
}

fn swap_16k(header: Fields<'_>) -> Option<Content> {
    swap(header, 16 << 10)
}

fn swap_64k(header: Fields<'_>) -> Option<Content> {
    swap(header, 64 << 10)
}

fn xfs(sb: Fields<'_>) -> Option<Content> {
    sb.has(0, b"XFSB").then(|| {
        Content::new(ContentKind::Xfs).uuid(sb.uuid(32)).label(sb.text(108, 12)).blocks(sb.be64(8), sb.be32(4))
    })
}

fn ext(sb: Fields<'_>) -> Option<Content> {
    let (compat, incompat, ro_compat) = (sb.le32(0x5C), sb.le32(0x60), sb.le32(0x64));
    // External journals share the magic but hold no files.
    if sb.le16(0x38) != 0xEF53 || sb.le32(0x18) > 6 || incompat & 0x8 != 0 {
        return None;
    }
    // As blkid tells them apart: ext3 has a journal, ext4 anything that ext3 does not know.
    let kind = match () {
        () if incompat & !0x16 != 0 || ro_compat & !0x7 != 0 => ContentKind::Ext4,
        () if compat & 0x4 != 0 => ContentKind::Ext3,
        () => ContentKind::Ext2,
    };
    let high = if incompat & 0x80 != 0 { sb.le32(0x150) } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(sb.le32(4));
    Some(Content::new(kind).uuid(sb.uuid(0x68)).label(sb.text(0x78, 16)).blocks(blocks, 1024 << sb.le32(0x18)))
}

fn btrfs(sb: Fields<'_>) -> Option<Content> {
    sb.has(64, b"_BHRfS_M").then(|| {
        let content = Content::new(ContentKind::Btrfs).uuid(sb.uuid(32)).label(sb.text(299, 256));
        Content { block_bytes: Some(sb.le32(144)), ..content.size_in(sb.le64(112), 1) }
    })
}

fn ntfs(boot: Fields<'_>) -> Option<Content> {
    boot.has(3, b"NTFS    ").then(|| {
        let sector_bytes = u32::from(boot.le16(11));
        // More than 128 sectors a cluster are stored as a negative power of two.
        let cluster = match boot.u8(13) {
            count @ ..=128 => sector_bytes.checked_mul(u32::from(count)),
            power => 1_u32.checked_shl(u32::from(power.wrapping_neg())),
        };
        let content = Content::new(ContentKind::Ntfs).uuid(Some(format!("{:016X}", boot.le64(72))));
        Content { block_bytes: cluster, ..content.size_in(boot.le64(40), sector_bytes) }
    })
}

fn exfat(boot: Fields<'_>) -> Option<Content> {
    let sector_shift = u32::from(boot.u8(108));
    let is_exfat = boot.has(3, b"EXFAT   ") && (9..=12).contains(&sector_shift);
    is_exfat.then(|| {
        Content::new(ContentKind::Exfat)
            .uuid(Some(dos_serial(boot.le32(100))))
            .size_in(boot.le64(72), 1 << sector_shift)
    })
}

fn fat(boot: Fields<'_>) -> Option<Content> {
    let (sector_bytes, cluster_sectors) = (boot.le16(11), boot.u8(13));
    let is_fat32 = boot.has(82, b"FAT32   ");
    let is_fat = is_fat32 || boot.has(54, b"FAT12   ") || boot.has(54, b"FAT16   ");
    let is_plausible = sector_bytes.is_power_of_two() && sector_bytes >= 512 && cluster_sectors.is_power_of_two();
    if !(is_fat && is_plausible && boot.has(510, &[0x55, 0xAA])) {
        return None;
    }
    let extension = if is_fat32 { 67 } else { 39 };
    let sectors = match boot.le16(19) {
        0 => u64::from(boot.le32(32)),
        few => u64::from(few),
    };
    let label = boot.text(extension + 4, 11).filter(|label| label != "NO NAME");
    let content = Content::new(ContentKind::Fat).uuid(Some(dos_serial(boot.le32(extension)))).label(label);
    let block_bytes = u32::from(sector_bytes) * u32::from(cluster_sectors);
    Some(Content { block_bytes: Some(block_bytes), ..content.size_in(sectors, u32::from(sector_bytes)) })
}

fn dos_serial(serial: u32) -> String {
    format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF)
}

fn iso9660(descriptor: Fields<'_>) -> Option<Content> {
    descriptor.has(0, b"\x01CD001").then(|| {
        let block_bytes = u32::from(descriptor.le16(128));
        Content::new(ContentKind::Iso9660)
            .label(descriptor.text(40, 32))
            .blocks(u64::from(descriptor.le32(80)), block_bytes)
    })
}
