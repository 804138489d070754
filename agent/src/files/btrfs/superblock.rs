//! The superblock: where it and its copies lie, which of them counts, and which file systems this reader refuses.

use super::NAME;
use super::checksum::{self, Algorithm};
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};
use crate::read_at::ReadAt;

/// The first copy; without its magic number nothing is recognised, so that what is left of an overwritten file system
/// is not taken for the one that is there now.
pub(super) const OFFSET_BYTES: u64 = 64 << 10;
const COPY_OFFSETS_BYTES: [u64; 3] = [OFFSET_BYTES, 64 << 20, 256 << 30];
pub(super) const LENGTH_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"_BHRfS_M";
const MAGIC_AT: usize = 0x40;
const SYSTEM_CHUNKS_AT: usize = 0x32B;
const MAX_SYSTEM_CHUNKS_BYTES: u32 = 2048;
const MAX_BLOCK_BYTES: u32 = 64 << 10;
const MIN_BLOCK_BYTES: u32 = 4096;

/// Bits of the incompatible features that this reader understands or does not need to.
mod incompat {
    pub(super) const METADATA_UUID: u64 = 1 << 10;
    /// Everything up to `RAID1C34` but the two bits below; the profiles of the chunks are looked at one by one.
    pub(super) const KNOWN: u64 = 0xFFF | SIMPLE_QUOTA;
    const SIMPLE_QUOTA: u64 = 1 << 16;
    pub(super) const REFUSED: [(u64, &str); 3] =
        [(1 << 12, "zones"), (1 << 13, "the extent tree v2"), (1 << 14, "the RAID stripe tree")];
}

/// Flags of the superblock's state.
mod flags {
    pub(super) const WRITTEN: u64 = 1;
    pub(super) const RELOC: u64 = 2;
    pub(super) const ERROR: u64 = 4;
    pub(super) const REFUSED: [(u64, &str); 7] = [
        (1 << 32, "the role of a seed device"),
        (1 << 33, "a dump of metadata without data"),
        (1 << 34, "a dump of metadata without data"),
        (1 << 35, "an unfinished change of its UUID"),
        (1 << 36, "an unfinished change of its UUID"),
        (1 << 38, "an unfinished conversion of its block groups"),
        (3 << 39, "an unfinished change of its checksums"),
    ];
}

/// Position and state of one tree's root block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RootBlock {
    pub(super) logical: u64,
    pub(super) generation: u64,
    pub(super) level: u8,
}

/// What the rest of the reader needs to know.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    /// Which of the copies this is.
    copy: usize,
    fsid: [u8; 16],
    /// The UUID that metadata blocks carry.
    pub(super) metadata_uuid: [u8; 16],
    pub(super) generation: u64,
    pub(super) algorithm: Algorithm,
    pub(super) sector_bytes: u32,
    pub(super) node_bytes: u32,
    pub(super) root_tree: RootBlock,
    pub(super) chunk_tree: RootBlock,
    /// The directory of the root tree, which names the default subvolume.
    pub(super) root_directory: u64,
    pub(super) has_log: bool,
    pub(super) has_errors: bool,
    pub(super) device: u64,
    pub(super) device_uuid: [u8; 16],
    pub(super) device_bytes: u64,
    /// Chunks needed to read the chunk tree.
    pub(super) system_chunks: Vec<u8>,
}

/// Whether the first copy has the magic number.
pub(super) fn probe(disk: &dyn ReadAt) -> Result<bool> {
    if disk.size_bytes() < OFFSET_BYTES + LENGTH_BYTES as u64 {
        return Ok(false);
    }
    let mut magic = [0; MAGIC.len()];
    let offset_bytes = OFFSET_BYTES + MAGIC_AT as u64;
    disk.read_exact_at(&mut magic, offset_bytes).map_err(|source| FilesError::Read {
        offset_bytes,
        length_bytes: magic.len() as u64,
        source,
    })?;
    Ok(magic == MAGIC)
}

/// The newest copy that is whole, with what to tell about the choice.
///
/// The first copy wins a tie: only it is written when the log tree changes.
pub(super) fn choose(disk: &dyn ReadAt) -> Result<(Superblock, Vec<String>)> {
    let mut notes = Vec::new();
    let bytes = read_bytes(disk, 0)?;
    let fsid: [u8; 16] = Fields::new(&bytes, "superblock").array(0x20)?;
    let first = parse(&bytes, 0);
    if let Err(error @ FilesError::Unsupported { .. }) = first {
        return Err(error);
    }
    let mut chosen = first.as_ref().ok().cloned();
    for copy in 1..COPY_OFFSETS_BYTES.len() {
        let Ok(other) = read_bytes(disk, copy).and_then(|bytes| parse(&bytes, copy)) else { continue };
        let is_newer = chosen.as_ref().is_none_or(|best| best.generation < other.generation);
        // A copy with another UUID is left from an earlier file system.
        if is_newer && other.fsid == fsid {
            chosen = Some(other);
        }
    }
    let Some(superblock) = chosen else { return Err(first.err().unwrap_or(FilesError::NotRecognised)) };
    match (&first, superblock.copy) {
        (_, 0) => {}
        (Ok(_), copy) => notes.push(format!("copy {copy} of the superblock is newer than the first one and was used")),
        (Err(error), copy) => notes.push(format!("copy {copy} of the superblock was used: {error}")),
    }
    Ok((superblock, notes))
}

fn read_bytes(disk: &dyn ReadAt, copy: usize) -> Result<Vec<u8>> {
    let offset_bytes = COPY_OFFSETS_BYTES[copy];
    let mut bytes = vec![0; LENGTH_BYTES];
    disk.read_exact_at(&mut bytes, offset_bytes).map_err(|source| FilesError::Read {
        offset_bytes,
        length_bytes: LENGTH_BYTES as u64,
        source,
    })?;
    Ok(bytes)
}

fn parse(bytes: &[u8], copy: usize) -> Result<Superblock> {
    let f = Fields::new(bytes, "superblock");
    if f.slice(MAGIC_AT, MAGIC.len())? != MAGIC {
        return Err(FilesError::corrupt("a copy of the superblock has no magic number"));
    }
    let algorithm = Algorithm::of_number(f.le16(0xC4)?)?;
    let (stored, summed) = bytes.split_at(checksum::FIELD_BYTES);
    if !algorithm.matches(summed, stored) {
        return Err(FilesError::corrupt("the superblock does not match its checksum"));
    }
    if f.le64(0x30)? != COPY_OFFSETS_BYTES[copy] {
        return Err(FilesError::corrupt("the superblock was written for another place"));
    }
    let (incompat, state) = (f.le64(0xBC)?, f.le64(0x38)?);
    refuse(incompat, state, f.le64(0x88)?)?;
    let fsid = f.array(0x20)?;
    let generation = f.le64(0x48)?;
    let system_chunks_bytes = f.le32(0xA0)?;
    if system_chunks_bytes > MAX_SYSTEM_CHUNKS_BYTES {
        return Err(FilesError::corrupt("the superblock has more system chunks than it has room for"));
    }
    let superblock = Superblock {
        copy,
        fsid,
        metadata_uuid: if incompat & incompat::METADATA_UUID != 0 { f.array(0x23B)? } else { fsid },
        generation,
        algorithm,
        sector_bytes: f.le32(0x90)?,
        node_bytes: f.le32(0x94)?,
        root_tree: RootBlock { logical: f.le64(0x50)?, generation, level: f.byte(0xC6)? },
        chunk_tree: RootBlock { logical: f.le64(0x58)?, generation: f.le64(0xA4)?, level: f.byte(0xC7)? },
        root_directory: f.le64(0x80)?,
        has_log: f.le64(0x60)? != 0,
        has_errors: state & flags::ERROR != 0,
        device: f.le64(0xC9)?,
        device_uuid: f.array(0xC9 + 66)?,
        device_bytes: f.le64(0xC9 + 8)?,
        system_chunks: f.slice(SYSTEM_CHUNKS_AT, system_chunks_bytes as usize)?.to_vec(),
    };
    check_sizes(&superblock)?;
    Ok(superblock)
}

fn check_sizes(superblock: &Superblock) -> Result<()> {
    let is_usual = |bytes: u32| bytes.is_power_of_two() && (MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&bytes);
    let (sector, node) = (superblock.sector_bytes, superblock.node_bytes);
    if !is_usual(sector) || !is_usual(node) || node < sector {
        return Err(FilesError::corrupt(format!("sectors of {sector} bytes and nodes of {node} bytes are impossible")));
    }
    Ok(())
}

fn refuse(incompat: u64, state: u64, devices: u64) -> Result<()> {
    let unsupported = |feature: String| Err(FilesError::Unsupported { file_system: NAME, feature });
    if let Some((_, name)) = flags::REFUSED.iter().find(|(bit, _)| state & bit != 0) {
        return unsupported((*name).to_owned());
    }
    if state & !(flags::WRITTEN | flags::RELOC | flags::ERROR) != 0 {
        return unsupported(format!("the unknown state flags {state:#x}"));
    }
    if let Some((_, name)) = incompat::REFUSED.iter().find(|(bit, _)| incompat & bit != 0) {
        return unsupported((*name).to_owned());
    }
    if incompat & !incompat::KNOWN != 0 {
        return unsupported(format!("the unknown feature bits {:#x}", incompat & !incompat::KNOWN));
    }
    if devices != 1 {
        return unsupported(format!("{devices} devices"));
    }
    Ok(())
}
