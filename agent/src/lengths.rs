//! Lengths on a disk are `u64`, lengths in memory `usize`: the one place where the first become the second.

/// A length that was checked to be small. Saturates on machines whose memory is smaller, where using it then fails.
pub(crate) fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
