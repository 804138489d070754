//! What was begun and not finished: an intent says what is to be done, and a later item that it was done.
//!
//! Intents about free space, reverse maps and counts of sharing change nothing that a reader sees.

use std::collections::HashMap;

use super::super::Volume;
use super::super::mapping::{Mapping, Which};
use super::super::pending::Change;
use super::super::superblock::unsupported;
use super::transactions::{Item, damaged};
use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

/// Free extents, reverse maps and counts of sharing, each begun and done, also of the realtime device.
const ACCOUNTING: [u16; 12] =
    [0x1236, 0x1237, 0x1240, 0x1241, 0x1242, 0x1243, 0x124A, 0x124B, 0x124C, 0x124D, 0x124E, 0x124F];
const MAP: u16 = 0x1244;
const MAP_DONE: u16 = 0x1245;
const ATTRIBUTE: u16 = 0x1246;
const ATTRIBUTE_DONE: u16 = 0x1247;
const EXCHANGE: u16 = 0x1248;
const EXCHANGE_DONE: u16 = 0x1249;
/// Memory for them stays below 128 MiB.
const MAX_INTENTS: usize = 1 << 20;

const MAP_KIND_MASK: u32 = 0xFF;
const MAP_KIND_MAP: u32 = 1;
const MAP_KIND_UNMAP: u32 = 2;
const MAP_ATTRIBUTES: u32 = 1 << 31;
const MAP_UNWRITTEN: u32 = 1 << 30;
const MAP_REALTIME: u32 = 1 << 29;
/// Kinds of changes of attributes up to this one are of those that people see.
const LAST_VISIBLE_ATTRIBUTE_KIND: u32 = 3;
const ATTRIBUTE_KIND_MASK: u32 = 0xFF;
const ATTRIBUTE_FILTER_PARENT: u32 = 0x8;

/// One thing to do.
#[derive(Debug, Clone, Copy)]
enum Intent {
    Map { inode: u64, first: u64, logical: u64, blocks: u32, flags: u32 },
    Attribute { inode: u64 },
    Exchange { inodes: [u64; 2] },
}

/// What is begun and not yet done, in the order it was begun.
#[derive(Default)]
pub(super) struct Intents {
    open: HashMap<(u16, u64), (u64, Intent)>,
    begun: u64,
}

impl Intents {
    /// Takes an item that is neither a block nor an inode.
    pub(super) fn take(&mut self, kind: u16, item: &Item) -> Result<()> {
        let f = Fields::new(item.description(), "log intent");
        match kind {
            MAP => self.begin(kind, f.le64(8)?, map(&f)?),
            EXCHANGE => self.begin(kind, f.le64(8)?, Intent::Exchange { inodes: [f.le64(16)?, f.le64(24)?] }),
            ATTRIBUTE => {
                let is_visible = f.le32(24)? & ATTRIBUTE_KIND_MASK <= LAST_VISIBLE_ATTRIBUTE_KIND
                    && f.le32(36)? & ATTRIBUTE_FILTER_PARENT == 0;
                if is_visible { self.begin(kind, f.le64(8)?, Intent::Attribute { inode: f.le64(16)? }) } else { Ok(()) }
            }
            MAP_DONE | ATTRIBUTE_DONE | EXCHANGE_DONE => {
                self.open.remove(&(kind - 1, f.le64(8)?));
                Ok(())
            }
            kind if ACCOUNTING.contains(&kind) => Ok(()),
            kind => Err(unsupported(format!("a log with items of the unknown kind {kind:#x}"))),
        }
    }

    fn begin(&mut self, kind: u16, id: u64, intent: Intent) -> Result<()> {
        if self.open.len() >= MAX_INTENTS {
            return Err(FilesError::Limit { what: "number of unfinished changes", limit: MAX_INTENTS as u64 });
        }
        self.begun += 1;
        self.open.insert((kind, id), (self.begun, intent));
        Ok(())
    }

    /// Leaves the unfinished ones to those who read the inodes.
    pub(super) fn leave(self, volume: &mut Volume<'_>) -> Result<()> {
        let mut open: Vec<_> = self.open.into_values().collect();
        open.sort_by_key(|(begun, _)| *begun);
        for (_, intent) in open {
            match intent {
                Intent::Map { .. } => leave_map(volume, intent)?,
                Intent::Attribute { inode } => volume.pending.hide_attributes(inode),
                Intent::Exchange { inodes } => {
                    for inode in inodes {
                        volume.pending.hide(inode, "was exchanging its content with another one when the log ended");
                    }
                }
            }
        }
        Ok(())
    }
}

fn map(f: &Fields<'_>) -> Result<Intent> {
    if f.le32(4)? != 1 {
        return Err(damaged("a change of a map with an impossible number of extents"));
    }
    Ok(Intent::Map {
        inode: f.le64(16)?,
        first: f.le64(24)?,
        logical: f.le64(32)?,
        blocks: f.le32(40)?,
        flags: f.le32(44)?,
    })
}

fn leave_map(volume: &mut Volume<'_>, intent: Intent) -> Result<()> {
    let Intent::Map { inode, first, logical, blocks, flags } = intent else { return Ok(()) };
    if flags & MAP_REALTIME != 0 {
        // Its file is not read at all.
        return Ok(());
    }
    let which = if flags & MAP_ATTRIBUTES != 0 { Which::Attributes } else { Which::Data };
    let is_possible = blocks > 0 && logical < 1 << 54;
    let physical = volume.superblock.linear_block(first, u64::from(blocks));
    let change = match (flags & MAP_KIND_MASK, physical) {
        (MAP_KIND_MAP, Some(physical)) if is_possible => {
            Change::Map { mapping: Mapping { logical, physical, blocks }, is_unwritten: flags & MAP_UNWRITTEN != 0 }
        }
        (MAP_KIND_UNMAP, _) if is_possible => Change::Unmap { logical, blocks },
        _ => return Err(damaged("an impossible change of a map")),
    };
    volume.pending.add_change(inode, which, change);
    Ok(())
}
