//! Mirrors: which half holds the current bytes.
//!
//! Each half has a volume with a superblock of the kernel's (`dm-raid`). A half is read when the newest superblock there is does not
//! call it failed and its own does not say that it was still being filled. Half a mirror alone cannot know whether the other half went on
//! without it: a half that is not here has to be known as failed, or nothing is read.

use super::error::{Result, VolumeError};
use super::stack::Disk;
use crate::facts::fields::Fields;
use crate::read_at::ReadAt;

const MAGIC: &[u8] = b"DmRd";
const SUPERBLOCK_BYTES: usize = 512;
/// The kernel's bit field of failed devices has this many words: one from the beginning and three that came later.
const MAX_HALVES: usize = 4 * 64;
/// The superblock has the fields of version 1.9.0.
const HAS_LATER_FIELDS: u32 = 1;
const RESHAPE_ACTIVE: u32 = 1;
/// An offset that means: all of it.
const COMPLETE: u64 = u64::MAX;

/// One half (or third) of a mirror.
pub(super) struct Half<'a> {
    /// Of the volume with the bytes.
    pub(super) name: String,
    pub(super) metadata: Result<Disk<'a>>,
    pub(super) data: Result<Disk<'a>>,
    pub(super) is_rebuilt: bool,
    pub(super) is_write_mostly: bool,
}

/// What the kernel says of one half.
#[derive(Clone, Debug)]
struct Superblock {
    halves: u32,
    position: u32,
    /// Grows with every change of the superblocks.
    events: u64,
    /// A bit each.
    failed: [u64; 4],
    /// How far the half was filled.
    recovered: u64,
    level: u32,
    /// Moving to another layout, or features that are not known.
    is_strange: bool,
}

impl Superblock {
    /// `None` when there is none: the half was never used.
    fn read(disk: &dyn ReadAt) -> Result<Option<Self>> {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        disk.read_exact_at(&mut bytes, 0).map_err(|e| VolumeError::read("the superblock of a mirror", e))?;
        let fields = Fields(&bytes);
        if !fields.has(0, MAGIC) {
            return Ok(None);
        }
        let later = fields.le32(4) & HAS_LATER_FIELDS != 0;
        let failed = |word: usize| if later { fields.le64(120 + word * 8) } else { 0 };
        let level = fields.le32(48);
        let moves = fields.le32(60) & RESHAPE_ACTIVE != 0 || fields.le32(72) != level || fields.le32(84) != 0;
        let is_moved = fields.le64(96) != 0 || fields.le64(104) != 0;
        Ok(Some(Self {
            halves: fields.le32(8),
            position: fields.le32(12),
            events: fields.le64(16),
            failed: [fields.le64(24), failed(0), failed(1), failed(2)],
            recovered: fields.le64(32),
            level,
            is_strange: later && (moves || is_moved || fields.le32(144) != 0),
        }))
    }

    fn calls_failed(&self, half: usize) -> bool {
        self.failed.get(half / 64).is_some_and(|word| word >> (half % 64) & 1 != 0)
    }
}

/// The half to read, as the kernel would choose it.
pub(super) fn current_half<'a>(halves: &[Half<'a>], length_bytes: u64) -> Result<Disk<'a>> {
    if halves.len() > MAX_HALVES {
        return Err(VolumeError::Limit { what: "the number of halves of a mirror", limit: MAX_HALVES as u64 });
    }
    let mut superblocks = Vec::new();
    for half in halves {
        superblocks.push(match (&half.metadata, &half.data) {
            (Ok(metadata), Ok(_)) => Superblock::read(&**metadata)?,
            (Err(VolumeError::Missing { .. }), _) | (_, Err(VolumeError::Missing { .. })) => None,
            (Err(other), _) | (_, Err(other)) => return Err(other.clone()),
        });
    }
    let newest = superblocks.iter().flatten().max_by_key(|superblock| superblock.events);
    let newest = newest.ok_or_else(|| missing_or(halves, "no half of the mirror carries a superblock"))?.clone();
    if superblocks.iter().flatten().any(|superblock| superblock.is_strange || superblock.level != 1) {
        return Err(VolumeError::unsupported("it is a mirror that is being changed into something else"));
    }
    // Superblocks of the same age were written together; what one of them calls failed is failed.
    let same_age = |superblock: &&Superblock| superblock.events == newest.events;
    let is_failed = |half: usize| superblocks.iter().flatten().filter(same_age).any(|s| s.calls_failed(half));
    for (index, half) in halves.iter().enumerate() {
        if let (Err(reason), _) | (_, Err(reason)) = (&half.metadata, &half.data)
            && !is_failed(index)
        {
            return Err(reason.clone());
        }
    }
    let is_current = |index: usize| {
        let Some(own) = superblocks.get(index).and_then(Option::as_ref) else { return false };
        own.recovered == COMPLETE
            // Superblocks are written one after the other, so a power cut leaves them one step apart.
            && own.events.checked_add(1).is_some_and(|next| next >= newest.events)
            && own.position as usize == index
            && own.halves as usize == halves.len()
            && !halves[index].is_rebuilt
            && !is_failed(index)
    };
    let current: Vec<usize> = (0..halves.len()).filter(|index| is_current(*index)).collect();
    let prompt = current.iter().find(|index| !halves[**index].is_write_mostly);
    // A half that is written to later than others counts only when there are no others.
    let is_alone = (0..halves.len()).all(|index| halves[index].is_write_mostly || is_failed(index));
    let chosen = prompt.or_else(|| current.first().filter(|_| is_alone));
    let chosen = chosen
        .and_then(|index| halves.get(*index))
        .ok_or_else(|| missing_or(halves, "no half of the mirror is known to be current"))?;
    let data = chosen.data.clone()?;
    if data.size_bytes() != length_bytes {
        return Err(VolumeError::corrupt(format!("volume {} is of another size than its mirror", chosen.name)));
    }
    Ok(data)
}

/// A missing disk is the better explanation.
fn missing_or(halves: &[Half<'_>], otherwise: &str) -> VolumeError {
    let missing = halves.iter().find_map(|half| half.metadata.as_ref().err().or(half.data.as_ref().err()));
    missing.cloned().unwrap_or_else(|| VolumeError::unsupported(otherwise))
}
