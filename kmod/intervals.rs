// SPDX-License-Identifier: GPL-2.0
//! The random ids of a tracker's intervals: each TAKE names the interval that it ends.
//!
//! A list of changes since interval `k` may be used only if the id of `k` is the one that was noted then: a virtual
//! machine that was reverted or cloned with its memory has the same generation and number, and another history.

use crate::memory::{Array, Memory, OutOfMemory, Wait};
use crate::uapi::Uuid;

/// How many ids are kept.
pub const KEPT: usize = 1024;

/// The ids of the last [`KEPT`] intervals. Changing it needs exclusive access.
///
/// INVARIANT: the id of interval `k`, for `oldest() <= k <= newest`, lies at `k % KEPT`.
pub struct Intervals<M: Memory> {
    ids: Array<Uuid, M>,
    newest: u64,
}

impl<M: Memory> Intervals<M> {
    /// The beginning of tracking: interval 0, before the first TAKE, has an id too. May sleep.
    pub fn new(memory: M, first: Uuid) -> Result<Self, OutOfMemory> {
        let ids = Array::new(memory, Wait::Allowed, KEPT, |at| if at == 0 { first } else { Uuid::default() })?;
        Ok(Self { ids, newest: 0 })
    }

    /// The interval that the last TAKE ended.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The oldest interval whose id is kept.
    pub fn oldest(&self) -> u64 {
        self.newest.saturating_sub(KEPT as u64 - 1)
    }

    /// TAKE ended another interval; returns its number.
    pub fn push(&mut self, id: Uuid) -> u64 {
        self.newest = self.newest.saturating_add(1);
        if let Some(place) = self.ids.get_mut(Self::place(self.newest)) {
            *place = id;
        }
        self.newest
    }

    /// Takes the last [`Self::push`] back, when the TAKE failed later. The id that it drove out stays lost: [`Self::id`]
    /// answers for it no more than if the TAKE had happened.
    pub fn pop(&mut self) {
        self.newest = self.newest.saturating_sub(1);
        if let Some(place) = self.ids.get_mut(Self::place(self.newest.saturating_add(1))) {
            *place = Uuid::default();
        }
    }

    /// The id of an interval; `None` when it was not taken yet or is no longer kept.
    pub fn id(&self, interval: u64) -> Option<Uuid> {
        let kept = (self.oldest()..=self.newest).contains(&interval);
        let id = self.ids.get(Self::place(interval)).copied();
        // A random id is never all zeroes; one that is was lost by `pop`.
        id.filter(|id| kept && *id != Uuid::default())
    }

    fn place(interval: u64) -> usize {
        usize::try_from(interval % KEPT as u64).unwrap_or(0)
    }
}
