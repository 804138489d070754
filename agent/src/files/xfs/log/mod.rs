//! The log of a file system that was not unmounted: its committed transactions are replayed in memory, as the kernel
//! would replay them on the disk.
//!
//! `ends` finds what has to be replayed, `records` and `transactions` take it apart, `buffers` and `inodes` change
//! blocks by it, `intents` knows what was begun and not finished. There are two passes, because a block that was freed
//! must not be overwritten by what it held before: the first counts the blocks that were given up.

mod buffers;
mod ends;
mod inodes;
mod intents;
mod records;
mod transactions;

use self::buffers::GivenUp;
use self::ends::Range;
use self::intents::Intents;
use self::records::{Record, Ring};
use self::transactions::{Gatherer, Item, Transaction, damaged};
use super::Volume;
use super::superblock::unsupported;
use crate::files::Result;

/// Kinds of items.
mod kind {
    pub(super) const INODE: u16 = 0x123B;
    pub(super) const BUFFER: u16 = 0x123C;
    pub(super) const QUOTA: u16 = 0x123D;
    pub(super) const QUOTA_OFF: u16 = 0x123E;
    pub(super) const INODES_MADE: u16 = 0x123F;
}

/// What is being changed by the replay.
struct Replay<'v, 'a> {
    volume: &'v mut Volume<'a>,
    given_up: GivenUp,
    intents: Intents,
    transactions: u64,
}

/// Replays the log into the blocks of `volume`; returns what a person should know.
pub(super) fn replay(volume: &mut Volume<'_>) -> Result<Vec<String>> {
    if volume.superblock.log_start == 0 {
        // Only the log itself tells whether it was emptied.
        return Err(unsupported("a log on another device".to_owned()));
    }
    let ring = Ring::new(volume)?;
    let Some(mut range) = ends::find(&ring)? else { return Ok(Vec::new()) };
    volume.superblock.refuse_log_features()?;
    let given_up = first_pass(&ring, &mut range)?;
    let mut replay = Replay { volume, given_up, intents: Intents::default(), transactions: 0 };
    replay.second_pass(&ring, range)?;
    let Replay { intents, transactions, .. } = replay;
    intents.leave(volume)?;
    Ok(notes(volume, range, transactions))
}

fn notes(volume: &Volume<'_>, range: Range, transactions: u64) -> Vec<String> {
    let sectors = volume.blocks.replayed().count();
    tracing::info!(transactions, sectors, "the log was replayed in memory");
    let mut notes = Vec::new();
    // Freezing leaves a log that changes nothing but the superblock.
    if volume.blocks.replayed().any(|sector| sector > 0) {
        notes.push(format!("it was not unmounted; its log was replayed in memory ({transactions} transactions)"));
    }
    if range.is_torn {
        notes.push("the last writes to its log were torn and are left out, as the kernel would do".to_owned());
    }
    notes.extend(volume.pending.notes());
    notes
}

/// Reads all records, checks them, and counts the blocks that were given up. May find that the tail was overwritten.
fn first_pass(ring: &Ring<'_>, range: &mut Range) -> Result<GivenUp> {
    // Each turn moves the tail by a record.
    for _ in 0..=range.overwritten_sectors {
        let mut given_up = GivenUp::default();
        let mut gatherer = Gatherer::default();
        let bad =
            pass(ring, *range, &mut |record| gatherer.take(&record, &mut |transaction| given_up.count(&transaction)))?;
        match bad {
            None => return Ok(given_up),
            Some(bad) if ring.distance(range.head, bad) <= range.overwritten_sectors => {
                range.tail = ends::next_record(ring, bad, range.head)?;
                if range.tail == range.head {
                    break;
                }
            }
            Some(_) => break,
        }
    }
    Err(damaged("a damaged record in its middle, so that later changes cannot be told"))
}

/// Hands over each record from tail to head; returns where one is damaged.
fn pass(ring: &Ring<'_>, range: Range, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<Option<u32>> {
    let mut at = range.tail;
    let mut left = ring.distance(range.tail, range.head);
    while left > 0 {
        let Some(record) = ring.record(at)? else { return Ok(Some(at)) };
        let length = record.header.sectors() + record.header.data_sectors();
        if length > left {
            return Ok(Some(at));
        }
        each(record)?;
        at = ring.after(at, length);
        left -= length;
    }
    Ok(None)
}

impl Replay<'_, '_> {
    fn second_pass(&mut self, ring: &Ring<'_>, range: Range) -> Result<()> {
        let mut gatherer = Gatherer::default();
        let bad =
            pass(ring, range, &mut |record| gatherer.take(&record, &mut |transaction| self.transaction(&transaction)))?;
        match bad {
            None => Ok(()),
            Some(_) => Err(damaged("a record that changed while it was read")),
        }
    }

    /// Blocks first, because inodes are changed in them; blocks that are given up last.
    fn transaction(&mut self, transaction: &Transaction) -> Result<()> {
        transaction.check_whole()?;
        self.transactions += 1;
        for item in &transaction.items {
            match item.kind()? {
                kind::BUFFER => self.buffer(item, transaction.lsn)?,
                kind::INODES_MADE => self.inodes_made(item)?,
                _ => {}
            }
        }
        for item in &transaction.items {
            self.other(item, transaction.lsn)?;
        }
        self.given_up.release(transaction)
    }

    fn other(&mut self, item: &Item, lsn: u64) -> Result<()> {
        match item.kind()? {
            kind::INODE => self.inode(item, lsn),
            kind::BUFFER | kind::INODES_MADE | kind::QUOTA | kind::QUOTA_OFF => Ok(()),
            kind => self.intents.take(kind, item),
        }
    }
}
