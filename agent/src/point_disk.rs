//! A disk of a recovery point, readable at any offset: what mounts, exports and file restores work on.

use crate::extents::Extent;
use crate::read_at::ReadAt;
use repo_format::manifest::{Disk, Manifest};
use repo_format::pack::EntryDecoder;
use repo_format::reader::{Reader, Wanted};
use repo_format::tree::{Tree, TreeWalk};
use repo_format::{Error, Result};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Chunks that are kept.
const CACHE_BYTES: usize = 64 << 20;
/// At least this much is fetched at once: neighbours are usually wanted next.
const READ_AHEAD_BYTES: u64 = 1 << 20;

/// One disk of a point. Every chunk is checked against its id.
pub struct PointDisk<'r> {
    reader: &'r Reader<'r>,
    disk: Disk,
    chunk_bytes: u32,
    tree: Tree,
    /// Chunks that the cache keeps.
    most_cached: usize,
    cache: Mutex<Cache>,
}

/// Plaintext of a chunk; `None` is a hole.
type Content = Option<Arc<[u8]>>;

#[derive(Default)]
struct Cache {
    chunks: HashMap<u64, (Content, u64)>,
    clock: u64,
}

impl<'r> PointDisk<'r> {
    /// The disk of this name, or the point's only one.
    pub fn new(reader: &'r Reader<'r>, manifest: &Manifest, disk: Option<&str>) -> Result<Self> {
        let disk = manifest.disk(disk)?.clone();
        let tree = disk.tree(manifest.chunk_bytes);
        let chunk_bytes = manifest.chunk_bytes;
        let most_cached = CACHE_BYTES / chunk_bytes as usize;
        Ok(Self { reader, disk, chunk_bytes, tree, most_cached, cache: Mutex::default() })
    }

    /// As the manifest describes it.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What is not a hole, in whole chunks and ascending order; found while iterating.
    pub fn data_extents(&self) -> impl Iterator<Item = Result<Extent>> + '_ {
        let chunk = u64::from(self.chunk_bytes);
        let mut walk = TreeWalk::new(self.tree, self.reader, 0..self.tree.chunks).peekable();
        std::iter::from_fn(move || {
            let (first, _) = match walk.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let mut end = first + 1;
            while walk.next_if(|next| next.as_ref().is_ok_and(|(position, _)| *position == end)).is_some() {
                end += 1;
            }
            Extent::from_bounds(first * chunk, (end * chunk).min(self.disk.size_bytes)).map(Ok)
        })
    }

    /// What the cache knows of a position; `None` when it is not there, which says nothing about the disk.
    fn cached(&self, position: u64) -> Option<Content> {
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.clock += 1;
        let clock = cache.clock;
        let (chunk, used) = cache.chunks.get_mut(&position)?;
        *used = clock;
        Some(chunk.clone())
    }

    /// Reads a span of positions into the cache and returns the first. The caller must not look for it in the cache: other threads may
    /// have displaced it already.
    fn fetch(&self, positions: Range<u64>) -> Result<Content> {
        let wanted = TreeWalk::new(self.tree, self.reader, positions.clone())
            .map(|entry| {
                let (position, chunk) = entry?;
                let length = self.disk.chunk_length(self.chunk_bytes, position);
                Ok(Wanted { position, chunk, length })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut found: HashMap<u64, Arc<[u8]>> = HashMap::new();
        let (mut decoder, mut buffer) = (EntryDecoder::new()?, Vec::new());
        for run in self.reader.plan(&wanted)? {
            self.reader.read_run(&run, (&mut decoder, &mut buffer), &mut |want, plain| {
                found.insert(want.position, plain.into());
                Ok::<(), Error>(())
            })?;
        }
        // Only what the tree has no chunk for is a hole.
        if let Some(lost) = wanted.iter().find(|want| !found.contains_key(&want.position)) {
            return Err(Error::Missing { key: format!("chunk {}", lost.chunk) });
        }
        let first = found.get(&positions.start).cloned();
        let mut cache = self.cache.lock().expect("no panic while held");
        for position in positions {
            cache.clock += 1;
            let clock = cache.clock;
            cache.chunks.insert(position, (found.remove(&position), clock));
        }
        cache.shrink(self.most_cached);
        Ok(first)
    }

    fn chunk(&self, position: u64) -> Result<Content> {
        if let Some(chunk) = self.cached(position) {
            return Ok(chunk);
        }
        let ahead = (READ_AHEAD_BYTES / u64::from(self.chunk_bytes)).max(1);
        self.fetch(position..(position + ahead).min(self.tree.chunks))
    }
}

impl Cache {
    /// Drops the oldest half when there are more than `most`.
    fn shrink(&mut self, most: usize) {
        if self.chunks.len() <= most {
            return;
        }
        let mut ages: Vec<u64> = self.chunks.values().map(|(_, used)| *used).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        self.chunks.retain(|_, (_, used)| *used > median);
    }
}

impl ReadAt for PointDisk<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64).filter(|end| *end <= self.disk.size_bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let chunk_bytes = u64::from(self.chunk_bytes);
        let mut at = offset_bytes;
        while at < end {
            let position = at / chunk_bytes;
            let start = position * chunk_bytes;
            let stop = (start + chunk_bytes).min(end);
            let into = offset_in(at - offset_bytes)..offset_in(stop - offset_bytes);
            match self.chunk(position).map_err(io::Error::other)? {
                Some(chunk) => buf[into].copy_from_slice(&chunk[offset_in(at - start)..offset_in(stop - start)]),
                None => buf[into].fill(0),
            }
            at = stop;
        }
        Ok(())
    }
}

fn offset_in(bytes: u64) -> usize {
    usize::try_from(bytes).expect("inside a buffer or a chunk")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::tests::{Bench, CHUNK, CHUNKS};

    /// A thread of a mount fetched a chunk and stood still for a moment; the other threads filled the cache and displaced it. What was
    /// not in the cache was taken for a hole: the file that was copied out held zeroes, and no error said so. A cache that keeps nothing
    /// is the same moment, every time.
    #[test]
    fn what_the_cache_has_displaced_is_not_a_hole() {
        let bench = Bench::with_disks(1);
        let manifest = bench.manifest(&bench.backup());
        let reader = Reader::new(&bench.repo, &bench.index);
        let mut disk = PointDisk::new(&reader, &manifest, None).unwrap();
        disk.most_cached = 0;
        for chunk in [0, 1, 77, CHUNKS - 1] {
            let mut bytes = [0; 9];
            disk.read_exact_at(&mut bytes, chunk * CHUNK).unwrap();
            assert_eq!((&bytes[..8], bytes[8]), (chunk.to_le_bytes().as_slice(), 0), "chunk {chunk}");
            let mut version = [0];
            disk.read_exact_at(&mut version, chunk * CHUNK + 9).unwrap();
            assert_eq!(version, [1], "chunk {chunk}");
        }
    }
}
