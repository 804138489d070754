//! Run lists: which clusters of the volume hold which clusters of an attribute.
//!
//! Each run is a byte with two lengths, the number of clusters, and the distance from the run before, both of as few
//! bytes as they need. A run without a distance is a hole.

use crate::files::{FilesError, Result};

/// Memory for one open file stays below about 100 MiB.
const MAX_RUNS: usize = 4 << 20;

/// Clusters that follow each other in the attribute and on the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// First cluster in the attribute.
    pub(super) first: u64,
    /// Their number, not zero.
    pub(super) clusters: u64,
    /// First cluster on the volume.
    pub(super) place: u64,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.first + self.clusters
    }
}

/// All runs of an attribute in ascending order; what lies between is holes.
#[derive(Debug, Default)]
pub(super) struct RunList {
    runs: Vec<Run>,
    end: u64,
}

impl RunList {
    /// The first cluster that no run list speaks of.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The runs that reach into `[from, to)`, whole.
    pub(super) fn within(&self, from: u64, to: u64) -> impl Iterator<Item = &Run> {
        let first = self.runs.partition_point(|run| run.end() <= from);
        self.runs[first..].iter().take_while(move |run| run.first < to)
    }

    /// Continues with the encoded `pairs` of the next part of the attribute, which must end before cluster `end` of
    /// it; `volume_clusters` bounds the places.
    pub(super) fn append(&mut self, pairs: &[u8], end: u64, volume_clusters: u64) -> Result<()> {
        let mut pairs = Pairs { rest: pairs, place: 0 };
        while let Some((clusters, place)) = pairs.next()? {
            let next_end = self.end.checked_add(clusters).filter(|next_end| *next_end <= end);
            let next_end = next_end.ok_or_else(|| damaged("is longer than its attribute"))?;
            if let Some(place) = place {
                if place.checked_add(clusters).is_none_or(|place_end| place_end > volume_clusters) {
                    return Err(damaged("leads outside the volume"));
                }
                self.push(Run { first: self.end, clusters, place })?;
            }
            self.end = next_end;
        }
        if self.end == end { Ok(()) } else { Err(damaged("is shorter than its attribute")) }
    }

    fn push(&mut self, next: Run) -> Result<()> {
        if let Some(last) = self.runs.last_mut()
            && last.end() == next.first
            && last.place + last.clusters == next.place
        {
            last.clusters += next.clusters;
            return Ok(());
        }
        if self.runs.len() >= MAX_RUNS {
            return Err(FilesError::Limit { what: "number of extents of a file", limit: MAX_RUNS as u64 });
        }
        self.runs.push(next);
        Ok(())
    }
}

struct Pairs<'a> {
    rest: &'a [u8],
    place: i64,
}

impl Pairs<'_> {
    /// Length and place of the next run; nothing at the end of the list.
    fn next(&mut self) -> Result<Option<(u64, Option<u64>)>> {
        let (head, rest) = self.rest.split_first().ok_or_else(|| damaged("has no end"))?;
        if *head == 0 {
            return Ok(None);
        }
        let (length_bytes, distance_bytes) = (usize::from(head & 0xF), usize::from(head >> 4));
        if length_bytes == 0 || length_bytes > 8 || distance_bytes > 8 || length_bytes + distance_bytes > rest.len() {
            return Err(damaged("has a run of impossible form"));
        }
        let (length, rest) = rest.split_at(length_bytes);
        let (distance, rest) = rest.split_at(distance_bytes);
        self.rest = rest;
        let clusters = u64::try_from(signed(length)).ok().filter(|clusters| *clusters > 0);
        let clusters = clusters.ok_or_else(|| damaged("has a run without clusters"))?;
        if distance.is_empty() {
            return Ok(Some((clusters, None)));
        }
        let place = self.place.checked_add(signed(distance)).filter(|place| *place >= 0);
        self.place = place.ok_or_else(|| damaged("leads outside the volume"))?;
        Ok(Some((clusters, Some(self.place.unsigned_abs()))))
    }
}

/// A little-endian two's complement number of one to eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xFF } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

fn damaged(how: &str) -> FilesError {
    FilesError::corrupt(format!("a run list {how}"))
}

#[cfg(test)]
mod tests {
    use super::{Run, RunList};

    fn decode(pairs: &[u8], end: u64) -> Result<Vec<Run>, String> {
        let mut list = RunList::default();
        list.append(pairs, end, 0x1_0000).map(|()| list.runs).map_err(|error| error.to_string())
    }

    #[test]
    fn runs_holes_and_backward_distances_are_decoded() {
        let runs = decode(&[0x21, 4, 0x00, 0x10, 0x01, 6, 0x11, 2, 0xF0, 0], 12).unwrap();
        let expected =
            [Run { first: 0, clusters: 4, place: 0x1000 }, Run { first: 10, clusters: 2, place: 0xFF0 }].to_vec();
        assert_eq!(runs, expected);
    }

    #[test]
    fn neighbours_are_merged_and_parts_continue_each_other() {
        let mut list = RunList::default();
        list.append(&[0x11, 4, 8, 0x11, 2, 4, 0], 6, 100).unwrap();
        list.append(&[0x11, 2, 14, 0], 8, 100).unwrap();
        assert_eq!(list.runs, [Run { first: 0, clusters: 8, place: 8 }]);
        assert_eq!(list.end(), 8);
        assert_eq!(list.within(8, 9).count(), 0);
        assert_eq!(list.within(7, 8).count(), 1);
    }

    #[test]
    fn impossible_run_lists_are_refused() {
        let odd: [(&[u8], u64, &str); 11] = [
            (&[], 0, "has no end"),
            (&[0x11, 4, 8], 4, "has no end"),
            (&[0x10, 8, 0], 1, "impossible form"),
            (&[0x91, 1, 8, 0], 1, "impossible form"),
            (&[0x19, 1, 8, 0], 1, "impossible form"),
            (&[0x11, 0, 8, 0], 1, "without clusters"),
            (&[0x11, 0x80, 8, 0], 1, "without clusters"),
            (&[0x11, 1, 0xFF, 0], 1, "outside the volume"),
            (&[0x31, 1, 0, 0, 1, 0], 1, "outside the volume"),
            (&[0x11, 2, 8, 0], 1, "longer"),
            (&[0x11, 2, 8, 0], 3, "shorter"),
        ];
        for (pairs, end, why) in odd {
            let error = decode(pairs, end).unwrap_err();
            assert!(error.contains(why), "{pairs:x?}: {error}");
        }
        let endless = [0x08, 255, 255, 255, 255, 255, 255, 255, 127, 0x08, 255, 255, 255, 255, 255, 255, 255, 127, 0];
        decode(&endless, u64::MAX - 5).unwrap_err();
    }
}
