//! A set of places in packs, one bit for each entry: what a walk over all trees can afford to remember.

use crate::index::{PackNumber, Place};
use std::collections::HashMap;

/// The set.
#[derive(Default)]
pub struct PlaceSet(HashMap<PackNumber, Vec<u64>>);

impl PlaceSet {
    /// Adds a place. False when it was there.
    pub fn insert(&mut self, place: Place) -> bool {
        let (word, bit) = bit(place.entry);
        let bits = self.0.entry(place.pack).or_default();
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        let new = bits[word] & bit == 0;
        bits[word] |= bit;
        new
    }

    /// Whether a place was added.
    pub fn contains(&self, place: Place) -> bool {
        let (word, bit) = bit(place.entry);
        self.0.get(&place.pack).and_then(|bits| bits.get(word)).is_some_and(|bits| bits & bit != 0)
    }

    /// How many places of a pack were added.
    pub fn count_in(&self, pack: PackNumber) -> u32 {
        self.0.get(&pack).map_or(0, |bits| bits.iter().map(|word| word.count_ones()).sum())
    }
}

fn bit(entry: u32) -> (usize, u64) {
    ((entry / 64) as usize, 1 << (entry % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_once_each() {
        let mut set = PlaceSet::default();
        let at = |pack, entry| Place { pack, entry };
        for entry in [0, 63, 64, 70_000] {
            assert!(set.insert(at(1, entry)) && !set.insert(at(1, entry)) && set.contains(at(1, entry)));
        }
        assert!(!set.contains(at(2, 0)) && !set.contains(at(1, 1)) && !set.contains(at(1, u32::MAX)));
        assert_eq!((set.count_in(1), set.count_in(2)), (4, 0));
    }
}
