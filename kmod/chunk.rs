// SPDX-License-Identifier: GPL-2.0
//! What is preserved of a chunk, and who may do what next. Pure state: no I/O, no waiting, no memory.
//!
//! A chunk's sub-blocks each go through
//!
//! ```text
//!              claim                 finish
//! ORIGINAL ──────────────▶ BUSY ──────────────▶ PRESERVED
//!     ▲                     │
//!     └──────── abort ──────┘
//! ```
//!
//! | state | a write to the device | a read of the image | a write to the image |
//! |---|---|---|---|
//! | ORIGINAL | claims, copies, finishes, then passes | reads the device, then looks again | claims, stores, finishes |
//! | BUSY | waits | reads the device, then looks again | waits |
//! | PRESERVED | passes | reads the difference storage | writes the difference storage |
//!
//! "Looks again": a write to the device passes only when its sub-blocks are PRESERVED, so what was read from the device is
//! old exactly if the sub-block is not PRESERVED after the read completed. Else it is read again, from the storage, where it
//! stays. So reads of the image never hold up writers, and never return newer data, in whatever order requests complete.
//!
//! # Concurrency
//!
//! All transitions are atomic and need no lock. `preserved` only ever gets bits. `finish` sets them *before* it clears
//! `busy`, and `claim` looks at `preserved` *after* it set `busy`; so of two that race for a sub-block one copies it, and a
//! sub-block that may have been overwritten is never copied. Waiting and waking is the caller's: after `finish` and `abort`
//! whoever waited for the chunk tries again.

use core::sync::atomic::{AtomicU64, Ordering};

/// No place in the difference storage yet.
const NOWHERE: u64 = u64::MAX;

/// The state of one chunk; 24 bytes.
#[derive(Debug)]
pub struct Chunk {
    preserved: AtomicU64,
    busy: AtomicU64,
    place: AtomicU64,
}

/// What a claim came to. All three are bitmaps of sub-blocks and together are what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The caller has them now, alone, and ends that with `finish` or `abort`.
    pub mine: u64,
    /// Somebody else has them; wait and try again.
    pub others: u64,
    /// Nothing to do any more.
    pub done: u64,
}

/// Where a read of the image finds its sub-blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// In the difference storage.
    pub storage: u64,
    /// On the device, unless [`Chunk::overtaken`] says otherwise afterwards.
    pub device: u64,
}

impl Chunk {
    /// Nothing is preserved.
    pub fn new() -> Self {
        Self { preserved: AtomicU64::new(0), busy: AtomicU64::new(0), place: AtomicU64::new(NOWHERE) }
    }

    /// May a write that touches these sub-blocks pass? The question of the write path: one load.
    pub fn may_pass(&self, touched: u64) -> bool {
        touched & !self.preserved.load(Ordering::Acquire) == 0
    }

    /// The preserved sub-blocks.
    pub fn preserved(&self) -> u64 {
        self.preserved.load(Ordering::Acquire)
    }

    /// Takes hold of those of these sub-blocks that still have to be preserved.
    pub fn claim(&self, wanted: u64) -> Claim {
        let before = self.busy.fetch_or(wanted, Ordering::SeqCst);
        let got = wanted & !before;
        // Only now: whoever finished a sub-block before we got it has set its bit in `preserved` by now.
        let done = self.preserved.load(Ordering::SeqCst) & wanted;
        let needless = got & done;
        if needless != 0 {
            self.busy.fetch_and(!needless, Ordering::SeqCst);
        }
        Claim { mine: got & !done, others: wanted & before & !done, done }
    }

    /// Claimed sub-blocks are in the difference storage, durably enough to be read back. Waiters try again.
    pub fn finish(&self, mine: u64) {
        self.preserved.fetch_or(mine, Ordering::SeqCst);
        self.busy.fetch_and(!mine, Ordering::SeqCst);
    }

    /// Claimed sub-blocks could not be preserved. Waiters try again.
    pub fn abort(&self, mine: u64) {
        self.busy.fetch_and(!mine, Ordering::SeqCst);
    }

    /// Whether somebody has a claim.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst) != 0
    }

    /// Where a read of the image goes.
    pub fn plan_read(&self, touched: u64) -> ReadPlan {
        let preserved = self.preserved.load(Ordering::SeqCst);
        ReadPlan { storage: touched & preserved, device: touched & !preserved }
    }

    /// After a read from the device completed: the sub-blocks whose data may be newer, to be read from the storage.
    pub fn overtaken(&self, device: u64) -> u64 {
        device & self.preserved.load(Ordering::SeqCst)
    }

    /// The chunk's first sector in the difference storage.
    pub fn place(&self) -> Option<u64> {
        Some(self.place.load(Ordering::Acquire)).filter(|sector| *sector != NOWHERE)
    }

    /// Gives the chunk its place, once. Whoever comes second gets the place that it has, and keeps what it brought.
    pub fn set_place(&self, sector: u64) -> Result<(), u64> {
        match self.place.compare_exchange(NOWHERE, sector, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(place) => Err(place),
        }
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::new()
    }
}
