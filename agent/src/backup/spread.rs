//! Where on a disk its changes lie: the disk in equal parts, as a person looks at it.

use crate::extents::Extent;

/// Parts of a disk, whatever its size.
pub const PARTS: u64 = 128;

/// Bytes that changed in each part of one disk.
#[derive(Clone, Debug)]
pub struct Spread {
    size_bytes: u64,
    changed: Vec<u64>,
}

impl Spread {
    /// Of a disk of this size, without changes.
    pub fn new(size_bytes: u64) -> Self {
        Self { size_bytes, changed: vec![0; usize::try_from(PARTS).expect("128 fits")] }
    }

    /// Adds what changed; no byte twice. What lies behind the end of the disk counts for nothing.
    pub fn add(&mut self, extent: Extent) {
        let end = extent.end_bytes().min(self.size_bytes);
        let mut at = extent.offset_bytes();
        while at < end {
            let part = self.part_of(at);
            let part_end = self.begin_of(part + 1).min(end);
            if let Some(changed) = usize::try_from(part).ok().and_then(|part| self.changed.get_mut(part)) {
                *changed += part_end - at;
            }
            at = part_end;
        }
    }

    /// Of each part how many percent changed: 0 only where nothing did, 100 only where everything did.
    pub fn percent(&self) -> Vec<u8> {
        (0..PARTS)
            .zip(&self.changed)
            .map(|(part, changed)| {
                let whole = self.begin_of(part + 1) - self.begin_of(part);
                match *changed {
                    0 => 0,
                    changed if changed >= whole => 100,
                    changed => u8::try_from(u128::from(changed) * 100 / u128::from(whole))
                        .map_or(99, |share| share.clamp(1, 99)),
                }
            })
            .collect()
    }

    fn begin_of(&self, part: u64) -> u64 {
        u64::try_from(u128::from(self.size_bytes) * u128::from(part) / u128::from(PARTS)).unwrap_or(self.size_bytes)
    }

    /// The last part that begins at or before this byte.
    fn part_of(&self, byte: u64) -> u64 {
        let near = u64::try_from(u128::from(byte) * u128::from(PARTS) / u128::from(self.size_bytes.max(1)));
        let mut part = near.unwrap_or(PARTS - 1).min(PARTS - 1);
        // Rounded down, the next one may begin at the same byte; on a tiny disk several do, and all but the last are empty.
        while part + 1 < PARTS && self.begin_of(part + 1) <= byte {
            part += 1;
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_shows_where_it_lies_and_nowhere_else() {
        let mut spread = Spread::new(128 << 20);
        spread.add(Extent::new(5 << 20, 1).unwrap());
        spread.add(Extent::new((9 << 20) + (1 << 19), 1 << 20).unwrap());
        spread.add(Extent::new(100 << 20, 28 << 20).unwrap());
        let percent = spread.percent();
        let expected = |part: usize| match part {
            5 => 1,
            9 | 10 => 50,
            100.. => 100,
            _ => 0,
        };
        assert_eq!(percent, (0..128).map(expected).collect::<Vec<u8>>());
    }

    proptest! {
        /// Against a count of single bytes.
        #[test]
        fn no_byte_is_lost_or_counted_in_another_part(size in 1_u64..2000, changes in prop::collection::btree_set(0_u64..2100, 0..300)) {
            let mut spread = Spread::new(size);
            let mut changed_bytes = 0;
            for byte in &changes {
                spread.add(Extent::new(*byte, 1).unwrap());
                changed_bytes += u64::from(*byte < size);
            }
            prop_assert_eq!(spread.changed.iter().sum::<u64>(), changed_bytes);
            for part in 0..PARTS {
                let (begin, end) = (spread.begin_of(part), spread.begin_of(part + 1));
                let inside = changes.iter().filter(|byte| (begin..end).contains(byte)).count() as u64;
                prop_assert_eq!(spread.changed[usize::try_from(part).unwrap()], inside);
            }
        }
    }
}
