//! Whether a list of changes can be trusted: chunks that it does not name are read too, and compared with the parent's tree.
//!
//! An incremental backup reads a small random sample of them, a full read all. What differs is stored as it was read, so the new
//! point is true in any case; it is the points before it that may lack changes.

use crate::extents::{Extent, ExtentList};
use repo_format::entropy::{Entropy, random};
use serde::Serialize;
use std::collections::BTreeSet;

/// One unchanged chunk in so many is read again.
const SAMPLE_ONE_IN: u64 = 1000;
/// At least so many chunks of each disk.
const SAMPLE_LEAST: u64 = 16;
/// And no more than so many: 16 MiB with chunks of 64 KiB.
const SAMPLE_MOST: u64 = 256;

/// What was read besides the changes, and what of it differed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Bytes of the chunks that were read although the list did not name them.
    pub bytes_checked: u64,
    /// Bytes of those that differ from the point before.
    pub bytes_differing: u64,
    /// The first of them: disk, offset, length in bytes.
    pub extents: Vec<(String, u64, u64)>,
}

impl Audit {
    /// Differences that are listed one by one; the rest is only counted.
    pub const MAX_LISTED: usize = 1000;

    /// Enters a differing chunk; neighbours become one extent.
    pub fn add(&mut self, disk: &str, offset_bytes: u64, length_bytes: u64) {
        self.bytes_differing += length_bytes;
        if let Some((last, offset, length)) = self.extents.last_mut()
            && last == disk
            && *offset + *length == offset_bytes
        {
            *length += length_bytes;
        } else if self.extents.len() < Self::MAX_LISTED {
            self.extents.push((disk.into(), offset_bytes, length_bytes));
        }
    }
}

impl std::iter::Sum for Audit {
    fn sum<I: Iterator<Item = Self>>(audits: I) -> Self {
        audits.fold(Self::default(), |mut sum, audit| {
            sum.bytes_checked += audit.bytes_checked;
            sum.bytes_differing += audit.bytes_differing;
            let room = Self::MAX_LISTED.saturating_sub(sum.extents.len());
            sum.extents.extend(audit.extents.into_iter().take(room));
            sum
        })
    }
}

/// Positions of a random sample of the chunks in `unchanged`, whose extents are whole chunks (the disk's last one may be short).
pub fn sample(unchanged: &ExtentList, chunk_bytes: u64, entropy: &dyn Entropy) -> BTreeSet<u64> {
    let chunks_of = |extent: Extent| extent.length_bytes().div_ceil(chunk_bytes);
    let all: u64 = unchanged.iter().map(chunks_of).sum();
    let wanted = (all / SAMPLE_ONE_IN).clamp(SAMPLE_LEAST, SAMPLE_MOST).min(all);
    let mut ranks = BTreeSet::new();
    while (ranks.len() as u64) < wanted {
        ranks.insert(u64::from_le_bytes(random(entropy)) % all);
    }
    let mut extents = unchanged.iter();
    let (mut passed, mut current) = (0, extents.next());
    let mut positions = BTreeSet::new();
    for rank in ranks {
        while let Some(extent) = current.filter(|extent| rank >= passed + chunks_of(*extent)) {
            passed += chunks_of(extent);
            current = extents.next();
        }
        positions.extend(current.map(|extent| extent.offset_bytes() / chunk_bytes + (rank - passed)));
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::entropy::SystemEntropy;

    const CHUNK: u64 = 65_536;

    fn chunks(ranges: &[(u64, u64)]) -> ExtentList {
        ranges.iter().filter_map(|(first, count)| Extent::new(first * CHUNK, count * CHUNK)).collect()
    }

    #[test]
    fn a_sample_holds_one_in_a_thousand_within_its_bounds_and_only_what_is_unchanged() {
        for (ranges, wanted) in [
            (vec![], 0),
            (vec![(5, 3), (20, 4)], 7),
            (vec![(0, 10), (100, 500)], 16),
            (vec![(7, 100_000)], 100),
            (vec![(0, 1 << 24)], 256),
        ] {
            let unchanged = chunks(&ranges);
            let sample = sample(&unchanged, CHUNK, &SystemEntropy);
            assert_eq!(sample.len(), wanted, "{ranges:?}");
            let inside =
                |position: &u64| ranges.iter().any(|(first, count)| (*first..first + count).contains(position));
            assert!(sample.iter().all(inside), "{sample:?}");
        }
    }

    #[test]
    fn every_unchanged_chunk_is_in_some_sample() {
        let unchanged = chunks(&[(0, 1), (3, 29), (90, 1)]);
        let mut seen = BTreeSet::new();
        // Half of 31 chunks each time: to miss one for ever is as likely as 200 tosses without heads.
        for _ in 0..200 {
            seen.extend(sample(&unchanged, CHUNK, &SystemEntropy));
        }
        assert_eq!(seen.len(), 31);
    }

    #[test]
    fn a_short_last_chunk_can_be_in_the_sample() {
        let unchanged: ExtentList = Extent::new(4 * CHUNK, CHUNK + 512).into_iter().collect();
        assert_eq!(sample(&unchanged, CHUNK, &SystemEntropy), BTreeSet::from([4, 5]));
    }
}
