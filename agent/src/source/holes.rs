//! Which parts of an image file hold data: SEEK_DATA and SEEK_HOLE, extent by extent.

use crate::extents::{Extent, ExtentList};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;

/// Data extents of a file in ascending order, found while iterating: memory does not grow with their number.
pub struct DataExtents<'a> {
    file: &'a File,
    size_bytes: u64,
    next_bytes: u64,
}

impl<'a> DataExtents<'a> {
    /// Looks at `[0, size_bytes)` of the file. Moves the file's own offset, so only positioned reads may share it.
    ///
    /// Writes everything back first: some file systems call a hole what was written and has no place on the disk yet.
    pub(super) fn new(file: &'a File, size_bytes: u64) -> io::Result<Self> {
        match file.sync_data() {
            // A file system that cannot be written has nothing to write back.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {}
            other => other?,
        }
        Ok(Self { file, size_bytes, next_bytes: 0 })
    }

    fn seek(&self, from_bytes: u64, whence: Whence) -> Result<u64, Errno> {
        let found = lseek(self.file, i64::try_from(from_bytes).map_err(|_| Errno::EOVERFLOW)?, whence)?;
        u64::try_from(found).map_err(|_| Errno::EOVERFLOW)
    }

    fn find(&mut self) -> Result<Option<Extent>, Errno> {
        if self.next_bytes >= self.size_bytes {
            return Ok(None);
        }
        let start = match self.seek(self.next_bytes, Whence::SeekData) {
            Ok(start) => start.min(self.size_bytes),
            // No data from here on. A file that shrank also ends here: reading what is listed then tells.
            Err(Errno::ENXIO) => return Ok(None),
            // A file system without this call: everything may be data.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => {
                let rest = Extent::from_bounds(self.next_bytes, self.size_bytes);
                self.next_bytes = self.size_bytes;
                return Ok(rest);
            }
            Err(error) => return Err(error),
        };
        let end =
            if start < self.size_bytes { self.seek(start, Whence::SeekHole)?.min(self.size_bytes) } else { start };
        self.next_bytes = end.max(start);
        Ok(Extent::from_bounds(start, end))
    }
}

impl Iterator for DataExtents<'_> {
    type Item = io::Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.find();
        if found.is_err() {
            self.next_bytes = self.size_bytes;
        }
        found.map_err(io::Error::from).transpose()
    }
}

/// Collects extents into a list of at most `max_extents`. When there are more, neighbours are joined across ever larger
/// holes: the holes read as zeros, so that costs time and never correctness.
pub(super) fn collect(
    extents: impl Iterator<Item = io::Result<Extent>>,
    max_extents: usize,
    size_bytes: u64,
) -> io::Result<ExtentList> {
    let mut list = ExtentList::new();
    let mut granule_bytes = 1;
    for extent in extents {
        list.extend_rounded(extent?, granule_bytes, size_bytes);
        while list.len() > max_extents.max(1) {
            granule_bytes = (granule_bytes * 2).max(8192);
            list = list.rounded_out(granule_bytes, size_bytes);
        }
    }
    Ok(list)
}

impl ExtentList {
    fn extend_rounded(&mut self, extent: Extent, granule_bytes: u64, size_bytes: u64) {
        if let Some(rounded) = extent.rounded_out(granule_bytes, size_bytes) {
            self.push(rounded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::collect;
    use crate::extents::Extent;

    #[test]
    fn too_many_pieces_are_joined_and_never_lost() {
        let pieces: Vec<Extent> = (0..1000).filter_map(|i| Extent::new(i * 10_000, 4096)).collect();
        let list = collect(pieces.iter().map(|e| Ok(*e)), 100, 10_000_000).unwrap();
        assert!(list.len() <= 100 && pieces.iter().all(|piece| list.contains(*piece)));
        assert_eq!(collect(pieces.iter().map(|e| Ok(*e)), 1000, 10_000_000).unwrap().len(), 1000);
    }
}
