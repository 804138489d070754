// SPDX-License-Identifier: GPL-2.0
//! Events that wait to be fetched: a few, in order, in a fixed place. Waiters and the lock are the caller's.

use crate::uapi::{EVENT_CORRUPTED, EVENT_NO_SPACE};

/// How many events wait at most.
pub const EVENTS: usize = 32;

/// Something that happened to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An image is no longer true.
    Corrupted {
        /// Major number of the original device.
        major: u32,
        /// Its minor number.
        minor: u32,
        /// Why, positive.
        errno: i32,
    },
    /// The difference storage is nearly full and at its limit.
    NoSpace {
        /// What it would have asked for.
        requested_sectors: u64,
    },
}

impl Event {
    /// Its code in the interface.
    pub fn code(self) -> u32 {
        match self {
            Self::Corrupted { .. } => EVENT_CORRUPTED,
            Self::NoSpace { .. } => EVENT_NO_SPACE,
        }
    }

    /// The first bytes of its data in the interface; zeroes follow.
    pub fn data(self) -> [u8; 12] {
        let mut data = [0; 12];
        match self {
            Self::Corrupted { major, minor, errno } => {
                data[..4].copy_from_slice(&major.to_ne_bytes());
                data[4..8].copy_from_slice(&minor.to_ne_bytes());
                data[8..].copy_from_slice(&errno.to_ne_bytes());
            }
            Self::NoSpace { requested_sectors } => data[..8].copy_from_slice(&requested_sectors.to_ne_bytes()),
        }
        data
    }
}

/// An event and when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// What.
    pub event: Event,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
}

/// The events of one snapshot that nobody fetched yet. Access is exclusive.
///
/// When it is full, a new event is dropped and counted: the first ones say what went wrong first.
#[derive(Debug)]
pub struct EventQueue {
    waiting: [Option<Stamped>; EVENTS],
    first: usize,
    count: usize,
    dropped: u32,
}

impl EventQueue {
    /// Nothing happened yet.
    pub const fn new() -> Self {
        Self { waiting: [None; EVENTS], first: 0, count: 0, dropped: 0 }
    }

    /// Adds an event; `false` when it was dropped.
    pub fn push(&mut self, event: Event, time_ns: i64) -> bool {
        if self.count == EVENTS {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        self.waiting[(self.first + self.count) % EVENTS] = Some(Stamped { event, time_ns });
        self.count += 1;
        true
    }

    /// Fetches the oldest event.
    pub fn pop(&mut self) -> Option<Stamped> {
        let stamped = self.waiting[self.first].take()?;
        self.first = (self.first + 1) % EVENTS;
        self.count -= 1;
        Some(stamped)
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Events that were dropped.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

impl Default for EventQueue {
    fn default() -> Self {
        Self::new()
    }
}
