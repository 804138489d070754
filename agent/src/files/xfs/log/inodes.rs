//! Inodes in the log: their fixed fields in the byte order of the machine, and their forks.

use super::super::blocks::{SECTOR_BYTES, SECTOR_LENGTH};
use super::super::inode::{FLAG2_BIG_TIME, FLAG2_LARGE_COUNTERS, MAGIC};
use super::Replay;
use super::transactions::{Item, damaged};
use crate::files::Result;
use crate::files::fields::Fields;

const DATA_INSIDE: u32 = 0x2;
const DATA_EXTENTS: u32 = 0x4;
const DATA_ROOT: u32 = 0x8;
const DEVICE: u32 = 0x10;
const ATTRIBUTES_INSIDE: u32 = 0x40;
const ATTRIBUTES_EXTENTS: u32 = 0x80;
const ATTRIBUTES_ROOT: u32 = 0x100;
/// The blocks of the extent tree come from another inode.
const NEW_OWNER: u32 = 0x200 | 0x400;
const DATA: u32 = DATA_INSIDE | DATA_EXTENTS | DATA_ROOT;
const ATTRIBUTES: u32 = ATTRIBUTES_INSIDE | ATTRIBUTES_EXTENTS | ATTRIBUTES_ROOT;

/// Fixed fields that are in the log of version 4, and of version 5.
const CORE_BYTES: usize = 96;
const LONG_CORE_BYTES: usize = 176;
const FLAG2_METADATA: u64 = 0x20;
const FLUSHES_AT: usize = 30;
const MAX_FLUSHES: u16 = u16::MAX;
/// A chunk of 64 inodes is not larger.
const MAX_MADE_BYTES: u64 = 64 * 2048;

/// The description of an inode.
struct Description {
    fields: u32,
    number: u64,
    device: u32,
    first: u64,
    sectors: u32,
    offset: u32,
}

impl Description {
    /// 32-bit kernels left the padding out.
    fn parse(item: &Item) -> Result<Self> {
        let bytes = item.description();
        let f = Fields::new(bytes, "logged inode");
        let at = match bytes.len() {
            56 => 16,
            52 => 12,
            _ => return Err(damaged("an inode with an unknown description")),
        };
        Ok(Self {
            fields: f.le32(4)?,
            number: f.le64(at)?,
            device: f.le32(at + 8)?,
            first: f.le64(at + 24)?,
            sectors: f.le32(at + 32)?,
            offset: f.le32(at + 36)?,
        })
    }
}

impl Replay<'_, '_> {
    /// Puts a logged inode into its block, unless the disk has it newer or the block is given up later.
    pub(super) fn inode(&mut self, item: &Item, lsn: u64) -> Result<()> {
        let description = Description::parse(item)?;
        if self.given_up.contains(description.first, description.sectors) {
            return Ok(());
        }
        if description.fields & NEW_OWNER != 0 {
            self.volume.pending.add_new_owner(description.number);
        }
        let start = description.first.checked_mul(u64::from(SECTOR_BYTES));
        let start = start.and_then(|start| start.checked_add(u64::from(description.offset)));
        let start = start.ok_or_else(|| damaged("an inode outside the disk"))?;
        let inode_bytes = u64::from(self.volume.superblock.inode_bytes);
        if !start.is_multiple_of(inode_bytes) || self.volume.superblock.inode_at(start) != description.number {
            return Err(damaged("an inode in another one's place"));
        }
        let mut raw = vec![0; self.volume.superblock.inode_bytes as usize];
        self.volume.blocks.read_bytes(start, &mut raw)?;
        if !raw.starts_with(&MAGIC) {
            // The kernel would give up here; the other files are none the worse.
            self.volume.pending.hide(description.number, "was changed by the log where no inode is");
            return Ok(());
        }
        let logged = item.regions.get(1).ok_or_else(|| damaged("an inode without its fields"))?;
        if self.is_newer(&raw, logged, lsn)? {
            return Ok(());
        }
        let core = to_disk(logged, &raw, self.volume.superblock.is_v5)?;
        raw[..core.len()].copy_from_slice(&core);
        self.forks(&mut raw, item, &description)?;
        self.store(start, &raw)
    }

    /// Version 5 has sequence numbers in inodes, version 4 counts how often one was written.
    fn is_newer(&self, raw: &[u8], logged: &[u8], lsn: u64) -> Result<bool> {
        let f = Fields::new(raw, "inode");
        if self.volume.superblock.is_v5 {
            let newest = f.be64(112)?;
            return Ok(newest != u64::MAX && newest > lsn);
        }
        let (on_disk, in_log) = (f.be16(FLUSHES_AT)?, Fields::new(logged, "logged inode").le16(FLUSHES_AT)?);
        let wrapped = on_disk == MAX_FLUSHES && in_log < MAX_FLUSHES >> 1;
        Ok(in_log < on_disk && !wrapped)
    }

    fn forks(&self, raw: &mut [u8], item: &Item, description: &Description) -> Result<()> {
        let core_bytes = self.volume.superblock.inode_core_bytes();
        let area = &mut raw[core_bytes..];
        if description.fields & DEVICE != 0 {
            area[..4].copy_from_slice(&description.device.to_be_bytes());
        }
        let mut regions = item.regions.iter().skip(2);
        let split = usize::from(item.regions[1][82]) * 8;
        if split >= area.len() {
            return Err(damaged("an inode with its attributes outside of it"));
        }
        let (data, attributes) = area.split_at_mut(if split == 0 { area.len() } else { split });
        let is_v5 = self.volume.superblock.is_v5;
        if let (1.., Some(region)) = (description.fields & DATA, regions.clone().next()) {
            regions.next();
            fork(data, region, description.fields & DATA == DATA_ROOT, is_v5)?;
        }
        if let (1.., Some(region)) = (description.fields & ATTRIBUTES, regions.next()) {
            fork(attributes, region, description.fields & ATTRIBUTES == ATTRIBUTES_ROOT, is_v5)?;
        }
        Ok(())
    }

    /// New inodes are made where there were none, without anything of theirs in the log.
    pub(super) fn inodes_made(&mut self, item: &Item) -> Result<()> {
        let f = Fields::new(item.description(), "logged new inodes");
        let (ag, in_ag, count) = (f.be32(4)?, f.be32(8)?, f.be32(12)?);
        let (inode_bytes, blocks, generation) = (f.be32(16)?, f.be32(20)?, f.be32(24)?);
        let superblock = &self.volume.superblock;
        let block_bytes = u64::from(superblock.block_bytes);
        let length = u64::from(blocks) * block_bytes;
        let is_possible = inode_bytes == superblock.inode_bytes
            && u64::from(count) * u64::from(inode_bytes) == length
            && (1..=MAX_MADE_BYTES.max(block_bytes)).contains(&length)
            && in_ag < superblock.ag_blocks;
        if !is_possible {
            return Err(damaged("impossible new inodes"));
        }
        let first = u64::from(ag) * u64::from(superblock.ag_blocks) + u64::from(in_ag);
        let start = first.checked_mul(block_bytes).filter(|start| start.checked_add(length).is_some());
        let start = start.ok_or_else(|| damaged("new inodes outside the disk"))?;
        let cluster_blocks = superblock.cluster_blocks;
        let cluster_sectors = u64::from(cluster_blocks) * block_bytes / u64::from(SECTOR_BYTES);
        for cluster in 0..u64::from(blocks.div_ceil(cluster_blocks)) {
            let first = start / u64::from(SECTOR_BYTES) + cluster * cluster_sectors;
            // A cluster is at most 64 KiB.
            if self.given_up.contains(first, u32::try_from(cluster_sectors).unwrap_or(0)) {
                return Ok(());
            }
        }
        for at in (start..start + length).step_by(inode_bytes as usize) {
            let raw = self.new_inode(at, generation);
            self.store(at, &raw)?;
        }
        Ok(())
    }

    fn new_inode(&self, at: u64, generation: u32) -> Vec<u8> {
        let superblock = &self.volume.superblock;
        let mut raw = vec![0; superblock.inode_bytes as usize];
        raw[..2].copy_from_slice(&MAGIC);
        raw[4] = if superblock.is_v5 { 3 } else { 2 };
        raw[92..96].copy_from_slice(&generation.to_be_bytes());
        raw[96..100].fill(0xFF);
        if superblock.is_v5 {
            raw[152..160].copy_from_slice(&superblock.inode_at(at).to_be_bytes());
            raw[160..176].copy_from_slice(&superblock.metadata_uuid);
        }
        raw
    }

    /// Replaces an inode in its sectors, of which it may fill a half.
    fn store(&mut self, start: u64, raw: &[u8]) -> Result<()> {
        let unit = u64::from(SECTOR_BYTES);
        let within = crate::lengths::in_memory(start % unit);
        let mut sectors = vec![0; (within + raw.len()).next_multiple_of(SECTOR_LENGTH)];
        self.volume.blocks.read_bytes(start - start % unit, &mut sectors)?;
        sectors[within..within + raw.len()].copy_from_slice(raw);
        for (sector, bytes) in (start / unit..).zip(sectors.chunks(SECTOR_LENGTH)) {
            self.volume.blocks.replay(sector, bytes)?;
        }
        Ok(())
    }
}

/// The fixed fields as they are on the disk. What the log does not know is taken over from `raw`.
fn to_disk(logged: &[u8], raw: &[u8], is_v5: bool) -> Result<Vec<u8>> {
    /// Place and width of the numbers that are just turned around.
    const NUMBERS: [(usize, usize); 14] = [
        (0, 2),
        (2, 2),
        (8, 4),
        (12, 4),
        (16, 4),
        (20, 2),
        (22, 2),
        (56, 8),
        (64, 8),
        (72, 4),
        (84, 4),
        (88, 2),
        (90, 2),
        (92, 4),
    ];
    const LONG_NUMBERS: [(usize, usize); 4] = [(104, 8), (120, 8), (128, 4), (152, 8)];
    let f = Fields::new(logged, "logged inode");
    let length = if is_v5 { LONG_CORE_BYTES } else { CORE_BYTES };
    let version = f.byte(4)?;
    if logged.len() < length || f.le16(0)? != u16::from_be_bytes(MAGIC) || (version == 3) != is_v5 {
        return Err(damaged("an inode with impossible fields"));
    }
    let flags2 = if is_v5 { f.le64(120)? } else { 0 };
    let mut core = raw[..length].to_vec();
    let mut turn = |at: usize, width: usize| {
        core[at..at + width].copy_from_slice(&logged[at..at + width]);
        core[at..at + width].reverse();
    };
    NUMBERS.into_iter().for_each(|(at, width)| turn(at, width));
    let times: &[usize] = if is_v5 { &[32, 40, 48, 144] } else { &[32, 40, 48] };
    for at in times {
        if flags2 & FLAG2_BIG_TIME != 0 {
            turn(*at, 8);
        } else {
            turn(*at, 4);
            turn(*at + 4, 4);
        }
    }
    // Link counts of version 1, or what kind of metadata this is.
    if version == 1 || flags2 & FLAG2_METADATA != 0 {
        turn(6, 2);
    }
    turn(76, 4);
    turn(80, 2);
    if is_v5 {
        LONG_NUMBERS.into_iter().for_each(|(at, width)| turn(at, width));
        turn(24, 8);
        core[132..144].fill(0);
        core[160..176].copy_from_slice(&logged[160..176]);
        if flags2 & FLAG2_LARGE_COUNTERS == 0 {
            core[24..32].fill(0);
        }
    } else {
        // The count of flushes starts again, so that later changes in the log are not taken for older ones.
        core[24..32].fill(0);
    }
    for at in [4, 5, 82, 83] {
        core[at] = logged[at];
    }
    Ok(core)
}

/// Puts a fork into its area. The root of a tree has another form in memory than in the inode.
fn fork(area: &mut [u8], logged: &[u8], is_root: bool, is_v5: bool) -> Result<()> {
    let too_long = || damaged("an inode with more than fits into it");
    if !is_root {
        area.get_mut(..logged.len()).ok_or_else(too_long)?.copy_from_slice(logged);
        return Ok(());
    }
    let header_bytes = if is_v5 { 72 } else { 24 };
    let f = Fields::new(logged, "logged root of an extent tree");
    let count = usize::from(f.be16(6)?);
    let most_logged = logged.len().saturating_sub(header_bytes) / 16;
    let most = area.len().saturating_sub(4) / 16;
    if count > most_logged || count > most {
        return Err(too_long());
    }
    area[..4].copy_from_slice(f.slice(4, 4)?);
    let (keys, blocks) = (4, 4 + most * 8);
    area[keys..keys + count * 8].copy_from_slice(f.slice(header_bytes, count * 8)?);
    area[blocks..blocks + count * 8].copy_from_slice(f.slice(header_bytes + most_logged * 8, count * 8)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::fork;

    #[test]
    fn the_root_of_a_tree_is_packed_for_the_inode() {
        // Level 1 with two entries of the three there is room for.
        let mut logged = vec![0; 24];
        logged[4..8].copy_from_slice(&[0, 1, 0, 2]);
        for word in [10_u64, 20, 0, 111, 222, 0] {
            logged.extend_from_slice(&word.to_be_bytes());
        }
        let mut area = vec![0xEE; 4 + 4 * 16 + 4];
        fork(&mut area, &logged, true, false).unwrap();
        let word = |at: usize| u64::from_be_bytes(area[at..at + 8].try_into().unwrap());
        assert_eq!(area[..4], [0, 1, 0, 2]);
        assert_eq!([word(4), word(12), word(4 + 32), word(12 + 32)], [10, 20, 111, 222]);
        assert!(fork(&mut [0; 20], &logged, true, false).is_err());
        assert!(fork(&mut area, &[0; 100], false, false).is_err());
    }
}
