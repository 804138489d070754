//! Blocks in the log: pieces of 128 bytes that changed, and blocks that were given up.

use std::collections::HashMap;

use super::super::blocks::{SECTOR_BYTES, SECTOR_LENGTH};
use super::super::superblock::{Superblock, has_magic};
use super::transactions::{Item, Transaction, damaged};
use super::{Replay, kind};
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const FLAG_INODES: u16 = 0x1;
const FLAG_GIVEN_UP: u16 = 0x2;
const FLAGS_QUOTA: u16 = 0x4 | 0x8 | 0x10;
/// The five upper bits of the flags say what the block holds.
const CONTENT_SHIFT: u32 = 11;
/// Headers of allocation groups and bitmaps of the realtime device, which lie in places of their own.
const CONTENT_UNUSED: [u16; 5] = [5, 6, 7, 19, 20];
const PIECE_BYTES: usize = 128;
/// The largest block.
const MAX_SECTORS: u16 = 128;
/// Memory for what was given up stays below 64 MiB.
const MAX_GIVEN_UP: usize = 1 << 20;

/// Sector and number of sectors of a block.
type Place = (u64, u32);

/// How often each block is given up in what is still to be replayed. While that is not zero, it is not replayed.
#[derive(Default)]
pub(super) struct GivenUp {
    times: HashMap<Place, u32>,
}

/// The description of a block.
struct Description {
    flags: u16,
    sectors: u16,
    first: u64,
    /// One bit for each piece that is in the log.
    map: Vec<u32>,
}

impl GivenUp {
    /// First pass.
    pub(super) fn count(&mut self, transaction: &Transaction) -> Result<()> {
        for description in descriptions(transaction) {
            *self.times.entry(description?.place()).or_default() += 1;
            if self.times.len() > MAX_GIVEN_UP {
                let limit = MAX_GIVEN_UP as u64;
                return Err(FilesError::Limit { what: "number of blocks that the log gives up", limit });
            }
        }
        Ok(())
    }

    /// Second pass, after everything else of the transaction.
    pub(super) fn release(&mut self, transaction: &Transaction) -> Result<()> {
        for description in descriptions(transaction) {
            let place = description?.place();
            if let Some(times) = self.times.get_mut(&place) {
                *times -= 1;
                if *times == 0 {
                    self.times.remove(&place);
                }
            }
        }
        Ok(())
    }

    pub(super) fn contains(&self, first: u64, sectors: u32) -> bool {
        self.times.contains_key(&(first, sectors))
    }
}

/// The blocks that a transaction gives up.
fn descriptions(transaction: &Transaction) -> impl Iterator<Item = Result<Description>> {
    let is_buffer = |item: &&Item| matches!(item.kind(), Ok(kind::BUFFER));
    let parsed = transaction.items.iter().filter(is_buffer).map(Description::parse);
    parsed.filter(|parsed| parsed.as_ref().map_or(true, |d| d.flags & FLAG_GIVEN_UP != 0))
}

impl Description {
    fn parse(item: &Item) -> Result<Self> {
        let f = Fields::new(item.description(), "logged block");
        let words = f.le32(16)? as usize;
        if words > usize::from(MAX_SECTORS) * SECTOR_LENGTH / PIECE_BYTES / 32 + 1 {
            return Err(damaged("a block that is too large"));
        }
        let map = (0..words).map(|word| f.le32(20 + word * 4)).collect::<Result<Vec<u32>>>()?;
        Ok(Self { flags: f.le16(4)?, sectors: f.le16(6)?, first: f.le64(8)?, map })
    }

    fn place(&self) -> Place {
        (self.first, u32::from(self.sectors))
    }

    /// Runs of logged pieces: the first one and how many.
    fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for piece in (0..self.map.len() * 32).filter(|piece| self.map[piece / 32] & 1 << (piece % 32) != 0) {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == piece => *count += 1,
                _ => runs.push((piece, 1)),
            }
        }
        runs
    }
}

impl Replay<'_, '_> {
    /// Puts the logged pieces of a block into it, unless the disk has it newer or it is given up later.
    pub(super) fn buffer(&mut self, item: &Item, lsn: u64) -> Result<()> {
        let description = Description::parse(item)?;
        let content = description.flags >> CONTENT_SHIFT;
        // Of blocks with inodes only the list of unlinked ones is in the log like this; quotas are not shown.
        let unused = FLAG_GIVEN_UP | FLAG_INODES | FLAGS_QUOTA;
        if description.flags & unused != 0 || CONTENT_UNUSED.contains(&content) {
            return Ok(());
        }
        let (first, sectors) = description.place();
        if self.given_up.contains(first, sectors) {
            return Ok(());
        }
        if description.sectors == 0 || description.sectors > MAX_SECTORS {
            return Err(damaged("a block of an impossible length"));
        }
        let first_byte =
            first.checked_mul(u64::from(SECTOR_BYTES)).ok_or_else(|| damaged("a block outside the disk"))?;
        let mut block = vec![0; usize::from(description.sectors) * SECTOR_LENGTH];
        self.volume.blocks.read_bytes(first_byte, &mut block)?;
        if block_lsn(&block, &self.volume.superblock)?.is_some_and(|newest| newest >= lsn) {
            return Ok(());
        }
        let touched = merge(&mut block, &description, &item.regions[1..])?;
        for ((sector, bytes), _) in
            (first..).zip(block.chunks(SECTOR_LENGTH)).zip(touched).filter(|(_, touched)| *touched)
        {
            self.volume.blocks.replay(sector, bytes)?;
        }
        Ok(())
    }
}

/// Copies the regions to where the map says; returns which sectors changed. A run may come in several regions.
fn merge(block: &mut [u8], description: &Description, regions: &[Vec<u8>]) -> Result<Vec<bool>> {
    let mut touched = vec![false; block.len() / SECTOR_LENGTH];
    let mut regions = regions.iter();
    for (first, count) in description.runs() {
        let mut piece = first;
        while piece < first + count {
            let region = regions.next().ok_or_else(|| damaged("a block without all of its pieces"))?;
            let pieces = (region.len() / PIECE_BYTES).min(first + count - piece);
            let (from, to) = (piece * PIECE_BYTES, (piece + pieces) * PIECE_BYTES);
            if pieces == 0 || to > block.len() {
                return Err(damaged("a block with an impossible piece"));
            }
            block[from..to].copy_from_slice(&region[..to - from]);
            touched[from / SECTOR_LENGTH..to.div_ceil(SECTOR_LENGTH)].fill(true);
            piece += pieces;
        }
    }
    Ok(touched)
}

/// Up to which change the disk has a block; `None` where that is not known, and then everything is replayed.
fn block_lsn(block: &[u8], superblock: &Superblock) -> Result<Option<u64>> {
    if !superblock.is_v5 {
        return Ok(None);
    }
    let f = Fields::new(block, "block");
    let places = match &f.array::<4>(0)? {
        // Trees inside an allocation group.
        b"ABTB" | b"ABTC" | b"AB3B" | b"AB3C" | b"RMB3" | b"R3FC" | b"IABT" | b"IAB3" | b"FIBT" | b"FIB3" => {
            Some((24, 32))
        }
        // Extent trees.
        b"BMAP" | b"BMA3" => Some((32, 40)),
        b"XSLM" => Some((48, 16)),
        b"XDB3" | b"XDD3" | b"XDF3" => Some((16, 24)),
        magic if has_magic(magic) => Some((240, if superblock.has_metadata_uuid { 248 } else { 32 })),
        _ => None,
    };
    let places = match (places, f.be16(8)?) {
        (Some(places), _) => Some(places),
        // Hashes of directories, nodes, leaves of attributes.
        (None, 0x3DF1 | 0x3DFF | 0x3EBE | 0x3BEE) => Some((24, 32)),
        (None, _) => None,
    };
    let Some((lsn_at, uuid_at)) = places else { return Ok(None) };
    let lsn = f.be64(lsn_at)?;
    // What an older file system left here is no block of this one.
    let is_own = f.array(uuid_at)? == superblock.metadata_uuid;
    Ok((is_own && lsn != 0 && lsn != u64::MAX).then_some(lsn))
}

#[cfg(test)]
mod tests {
    use super::{Description, merge};

    #[test]
    fn runs_of_pieces_may_come_in_several_regions() {
        let description = Description { flags: 0, sectors: 2, first: 0, map: vec![0b1001_0110] };
        assert_eq!(description.runs(), [(1, 2), (4, 1), (7, 1)]);
        let mut block = vec![0; 1024];
        let regions = [vec![1; 128], vec![2; 128], vec![3; 128], vec![4; 128]];
        assert_eq!(merge(&mut block, &description, &regions).unwrap(), [true, true]);
        let firsts: Vec<u8> = block.chunks(128).map(|piece| piece[0]).collect();
        assert_eq!(firsts, [0, 1, 2, 0, 3, 0, 0, 4]);
        let whole = [vec![5; 256], vec![6; 128], vec![7; 128]];
        merge(&mut block, &description, &whole).unwrap();
        assert_eq!(block[128..384], [5; 256]);
        assert!(merge(&mut block, &description, &whole[..2]).is_err());
        assert!(merge(&mut block[..512], &description, &whole).is_err());
    }
}
