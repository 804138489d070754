// SPDX-License-Identifier: GPL-2.0
//! The room of a difference storage: who gets which sectors, when it grows, when to say that it is nearly full.
//!
//! Pure decisions. The file or device, the growing itself and the lock around this belong to the caller.

/// The room of one difference storage, in sectors from its beginning. Access is exclusive (one lock a storage).
///
/// INVARIANT: `used <= capacity`; `capacity <= limit`.
#[derive(Clone, Debug)]
pub struct Space {
    capacity: u64,
    used: u64,
    limit: u64,
    growing: bool,
    told: bool,
}

/// The storage is larger than its limit already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AboveLimit;

/// There is no room for an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// And there will be none: the snapshot ends, its host does not.
    Full,
    /// Growing makes room: do what is said, and try again when the growth has ended.
    Growing(Next),
}

/// What is to be done after an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Make the storage this large, then call [`Space::grown`] or [`Space::growth_failed`].
    Grow {
        /// The new capacity.
        to_sectors: u64,
    },
    /// Send the event: the threshold is crossed and the limit reached. Comes once.
    NoSpace {
        /// By how much the storage would have grown.
        requested_sectors: u64,
    },
}

impl Space {
    /// A storage of `capacity` sectors that may grow up to `limit`.
    pub fn growing(capacity: u64, limit: u64) -> Result<Self, AboveLimit> {
        if capacity > limit {
            return Err(AboveLimit);
        }
        Ok(Self { capacity, used: 0, limit, growing: false, told: false })
    }

    /// A storage that cannot grow: a block device. Only `limit` sectors of a larger one are used.
    pub fn fixed(capacity: u64, limit: u64) -> Self {
        let capacity = capacity.min(limit);
        Self { capacity, used: 0, limit: capacity, growing: false, told: false }
    }

    /// What there is.
    pub fn capacity_sectors(&self) -> u64 {
        self.capacity
    }

    /// What of it is in use.
    pub fn used_sectors(&self) -> u64 {
        self.used
    }

    /// It grows no further than this.
    pub fn limit_sectors(&self) -> u64 {
        self.limit
    }

    /// Whether the event was sent.
    pub fn said_no_space(&self) -> bool {
        self.told
    }

    /// Gives `sectors` away and returns the first of them. `minimum` is the parameter `diff_storage_minimum` now.
    pub fn allocate(&mut self, sectors: u64, minimum: u64) -> Result<(u64, Next), NoRoom> {
        let end = self.used.checked_add(sectors).filter(|end| *end <= self.limit).ok_or(NoRoom::Full)?;
        if end > self.capacity {
            // The limit leaves room, so it may grow.
            return Err(NoRoom::Growing(self.grow(minimum.max(end - self.capacity))));
        }
        let first = core::mem::replace(&mut self.used, end);
        Ok((first, self.next(minimum)))
    }

    /// Whether growth was asked for and has not ended.
    pub fn is_growing(&self) -> bool {
        self.growing
    }

    fn next(&mut self, minimum: u64) -> Next {
        if self.capacity - self.used > minimum / 2 {
            return Next::Nothing;
        }
        if self.capacity < self.limit {
            return self.grow(minimum);
        }
        match core::mem::replace(&mut self.told, true) {
            true => Next::Nothing,
            false => Next::NoSpace { requested_sectors: minimum },
        }
    }

    /// By `step`, or what is left to the limit.
    fn grow(&mut self, step: u64) -> Next {
        if core::mem::replace(&mut self.growing, true) {
            return Next::Nothing;
        }
        Next::Grow { to_sectors: self.capacity.saturating_add(step.max(1)).min(self.limit) }
    }

    /// The storage has this capacity now; what it is above the limit does not count, and it never shrinks.
    pub fn grown(&mut self, capacity: u64) {
        self.growing = false;
        self.capacity = self.capacity.max(capacity.min(self.limit));
    }

    /// Growing failed. The next allocation asks for it again.
    pub fn growth_failed(&mut self) {
        self.growing = false;
    }
}
