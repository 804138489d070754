//! A regular file opened for reading.

use super::stream::{Place, Stream};
use super::volume::Clusters;
use crate::files::{DataExtent, FileContent, Result};

/// The unnamed stream of a file.
pub(super) struct Content<'v, 'a> {
    clusters: &'v Clusters<'a>,
    stream: Stream,
}

impl<'v, 'a> Content<'v, 'a> {
    pub(super) fn new(clusters: &'v Clusters<'a>, stream: Stream) -> Self {
        Self { clusters, stream }
    }
}

impl FileContent for Content<'_, '_> {
    fn size_bytes(&self) -> u64 {
        self.stream.size_bytes
    }

    fn data_extents(&self) -> Box<dyn Iterator<Item = DataExtent> + '_> {
        let cluster_bytes = self.clusters.geometry.cluster_bytes;
        // Space behind what was ever written is a hole.
        let (runs, unit_bytes, end) = match &self.stream.place {
            Place::Here(value) => {
                let whole = DataExtent { offset_bytes: 0, length_bytes: value.len() as u64 };
                return Box::new(Some(whole).into_iter().filter(|extent| extent.length_bytes > 0));
            }
            Place::Plain { runs, initialized_bytes } => (runs, cluster_bytes, *initialized_bytes),
            Place::Packed { compressed, initialized_bytes } => {
                (&compressed.runs, compressed.unit_clusters() * cluster_bytes, *initialized_bytes)
            }
        };
        // Rounded to units, runs that lie in one unit touch or overlap: each begins where the one before ended.
        let mut end_before = 0;
        let extents = runs.within(0, u64::MAX).filter_map(move |run| {
            let from = (run.first.saturating_mul(cluster_bytes) / unit_bytes * unit_bytes).max(end_before);
            let to = run.end().saturating_mul(cluster_bytes).div_ceil(unit_bytes).saturating_mul(unit_bytes).min(end);
            if from >= to {
                return None;
            }
            end_before = to;
            Some(DataExtent { offset_bytes: from, length_bytes: to - from })
        });
        Box::new(extents)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.stream.read(self.clusters, buf, offset_bytes)
    }
}
