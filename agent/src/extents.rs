//! Sets of byte ranges of one disk: sorted, merged, never overlapping, with the set operations a backup needs.
//!
//! Pure arithmetic. Where extents come from (holes, a changed list, a file system's bitmaps) is known elsewhere; the
//! text form of a changed list is in [`changed_list`].

pub mod changed_list;
#[cfg(test)]
mod tests;

/// How many extents a list may hold; 16 bytes each, so at most 256 MiB.
pub const MAX_EXTENTS: usize = 16 << 20;

/// A non-empty byte range of a disk.
// INVARIANT: length_bytes > 0 and offset_bytes + length_bytes fits in a u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    offset_bytes: u64,
    length_bytes: u64,
}

impl Extent {
    /// `None` for an empty range and for one whose end does not fit in 64 bits.
    pub fn new(offset_bytes: u64, length_bytes: u64) -> Option<Self> {
        offset_bytes.checked_add(length_bytes)?;
        (length_bytes > 0).then_some(Self { offset_bytes, length_bytes })
    }

    /// `[start, end)`; `None` when it is empty.
    pub fn from_bounds(start_bytes: u64, end_bytes: u64) -> Option<Self> {
        Self::new(start_bytes, end_bytes.checked_sub(start_bytes)?)
    }

    /// First byte.
    pub fn offset_bytes(self) -> u64 {
        self.offset_bytes
    }

    /// Never zero.
    pub fn length_bytes(self) -> u64 {
        self.length_bytes
    }

    /// First byte after the extent.
    pub fn end_bytes(self) -> u64 {
        self.offset_bytes + self.length_bytes
    }

    /// The common part with `other`, if any.
    pub fn intersect(self, other: Extent) -> Option<Extent> {
        Self::from_bounds(self.offset_bytes.max(other.offset_bytes), self.end_bytes().min(other.end_bytes()))
    }

    /// Grown to whole granules on both sides, then cut at `limit_bytes` (the disk's size). `None` when it begins there or later.
    pub fn rounded_out(self, granule_bytes: u64, limit_bytes: u64) -> Option<Extent> {
        assert!(granule_bytes > 0, "a granule has at least one byte");
        let start = self.offset_bytes - self.offset_bytes % granule_bytes;
        let end = match self.end_bytes() % granule_bytes {
            0 => self.end_bytes(),
            rest => self.end_bytes().saturating_add(granule_bytes - rest),
        };
        Self::from_bounds(start, end.min(limit_bytes))
    }
}

/// Extents in ascending order; two of them never overlap or touch (touching ones are one extent).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtentList {
    extents: Vec<Extent>,
}

impl ExtentList {
    /// The empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every byte of a disk of this size.
    pub fn whole(size_bytes: u64) -> Self {
        Self { extents: Extent::new(0, size_bytes).into_iter().collect() }
    }

    /// Sorts and merges.
    pub fn from_unsorted(mut extents: Vec<Extent>) -> Self {
        extents.sort_unstable();
        extents.dedup_by(|next, merged| merge_into(merged, *next));
        Self { extents }
    }

    /// Adds an extent. Constant time when it begins at or after the last one (the usual order), linear otherwise.
    pub fn push(&mut self, extent: Extent) {
        match self.extents.last_mut() {
            Some(last) if extent.offset_bytes >= last.offset_bytes => {
                if !merge_into(last, extent) {
                    self.extents.push(extent);
                }
            }
            None => self.extents.push(extent),
            Some(_) => *self = self.union(&Self { extents: vec![extent] }),
        }
    }

    /// Ascending extents.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Extent> + DoubleEndedIterator + Clone + '_ {
        self.extents.iter().copied()
    }

    /// Number of extents, not of bytes.
    pub fn len(&self) -> usize {
        self.extents.len()
    }

    /// No byte at all.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Sum of all lengths.
    pub fn total_bytes(&self) -> u64 {
        // Cannot overflow: the extents are disjoint and all end at or below u64::MAX.
        self.iter().map(Extent::length_bytes).sum()
    }

    /// First byte after the last extent; 0 when empty.
    pub fn end_bytes(&self) -> u64 {
        self.extents.last().map_or(0, |last| last.end_bytes())
    }

    /// Is every byte of `extent` in the list?
    pub fn contains(&self, extent: Extent) -> bool {
        let after = self.extents.partition_point(|e| e.offset_bytes <= extent.offset_bytes);
        after.checked_sub(1).is_some_and(|i| self.extents[i].end_bytes() >= extent.end_bytes())
    }

    /// Is any byte of `extent` in the list?
    pub fn overlaps(&self, extent: Extent) -> bool {
        let from = self.extents.partition_point(|e| e.end_bytes() <= extent.offset_bytes);
        self.extents.get(from).is_some_and(|e| e.offset_bytes < extent.end_bytes())
    }

    /// Bytes in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut merged = Self { extents: Vec::with_capacity(self.len() + other.len()) };
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) if l <= r => left.next(),
                (_, Some(_)) => right.next(),
                (_, None) => left.next(),
            };
            match next {
                Some(extent) => merged.push(extent),
                None => return merged,
            }
        }
    }

    /// Bytes in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut i, mut j) = (0, 0);
        let mut common = Self::new();
        while let (Some(left), Some(right)) = (self.extents.get(i), other.extents.get(j)) {
            if let Some(both) = left.intersect(*right) {
                common.push(both);
            }
            if left.end_bytes() <= right.end_bytes() { i += 1 } else { j += 1 }
        }
        common
    }

    /// Bytes of this list that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut rest = Self::new();
        let mut first_hole = 0;
        for extent in self.iter() {
            let mut start = extent.offset_bytes;
            while other.extents.get(first_hole).is_some_and(|hole| hole.end_bytes() <= start) {
                first_hole += 1;
            }
            for hole in other.extents[first_hole..].iter().take_while(|hole| hole.offset_bytes < extent.end_bytes()) {
                rest.extents.extend(Extent::from_bounds(start, hole.offset_bytes));
                start = hole.end_bytes();
            }
            rest.extents.extend(Extent::from_bounds(start, extent.end_bytes()));
        }
        rest
    }

    /// Every extent grown to whole granules (chunks) and cut at the disk's size.
    #[must_use]
    pub fn rounded_out(&self, granule_bytes: u64, limit_bytes: u64) -> Self {
        let mut rounded = Self::new();
        self.iter().filter_map(|e| e.rounded_out(granule_bytes, limit_bytes)).for_each(|e| rounded.push(e));
        rounded
    }

    /// Every extent moved up by `offset_bytes`, as from a partition to its disk. `None` when an end would not fit in 64 bits.
    pub fn shifted(&self, offset_bytes: u64) -> Option<Self> {
        let moved = |e: Extent| Extent::new(e.offset_bytes.checked_add(offset_bytes)?, e.length_bytes);
        Some(Self { extents: self.iter().map(moved).collect::<Option<_>>()? })
    }

    /// Numbers of the chunks that the extents touch (byte offset / chunk size), ascending, each once.
    pub fn chunk_positions(&self, chunk_bytes: u64) -> impl Iterator<Item = u64> + '_ {
        assert!(chunk_bytes > 0, "a chunk has at least one byte");
        let mut next_free = 0;
        self.iter().flat_map(move |extent| {
            let first = (extent.offset_bytes / chunk_bytes).max(next_free);
            next_free = (extent.end_bytes() - 1) / chunk_bytes + 1;
            first..next_free
        })
    }
}

impl FromIterator<Extent> for ExtentList {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        Self::from_unsorted(extents.into_iter().collect())
    }
}

/// Extends `merged` by `next`, which begins at or after it; `false` when there is a gap between them.
fn merge_into(merged: &mut Extent, next: Extent) -> bool {
    let touches = next.offset_bytes <= merged.end_bytes();
    if touches {
        merged.length_bytes = merged.end_bytes().max(next.end_bytes()) - merged.offset_bytes;
    }
    touches
}
