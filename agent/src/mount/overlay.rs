//! Writes to a mounted disk: kept in an unlinked temporary file for as long as the mount lasts.
//!
//! The disk is divided into units of 64 KiB; a unit that is written to gets the next slot of the file and a mask of
//! its 4 KiB blocks that were written. Memory grows with the units, up to [`MAX_UNITS`]; then writes fail as on a
//! full disk.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::MountError;
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

const BLOCK_BYTES: u64 = 4096;
const UNIT_BYTES: u64 = 16 * BLOCK_BYTES;
/// About 128 MiB of memory and 256 GiB of written disk.
const MAX_UNITS: usize = 4 << 20;

/// What was written to one disk. The lock is held for whole reads and writes, so that they are atomic to each other.
pub(super) struct Overlay {
    file: File,
    units: RwLock<HashMap<u64, Unit>>,
}

#[derive(Clone, Copy)]
struct Unit {
    slot: u32,
    /// Bit n: block n of the unit is in the file.
    written: u16,
}

impl Overlay {
    pub(super) fn new(dir: Option<&Path>) -> Result<Self, MountError> {
        let default = std::env::temp_dir();
        let dir = dir.unwrap_or(&default);
        let failed = |source| MountError::Overlay { dir: dir.to_owned(), source };
        Ok(Self { file: unlinked_file(dir).map_err(failed)?, units: RwLock::default() })
    }

    pub(super) fn read(&self, disk: &dyn ReadAt, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let units = self.units.read().unwrap_or_else(PoisonError::into_inner);
        // One read of the disk, then what is newer over it: most of a disk is never written.
        let end = offset_bytes + buf.len() as u64;
        disk.read_exact_at(buf, offset_bytes)?;
        for block in offset_bytes / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let Some(place) = place(&units, block) else { continue };
            let from = (block * BLOCK_BYTES).max(offset_bytes);
            let to = ((block + 1) * BLOCK_BYTES).min(end);
            let piece = &mut buf[in_memory(from - offset_bytes)..in_memory(to - offset_bytes)];
            self.file.read_exact_at(piece, place + (from - block * BLOCK_BYTES))?;
        }
        Ok(())
    }

    pub(super) fn write(&self, disk: &dyn ReadAt, data: &[u8], offset_bytes: u64) -> io::Result<()> {
        let mut units = self.units.write().unwrap_or_else(PoisonError::into_inner);
        let end = offset_bytes + data.len() as u64;
        for block in offset_bytes / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let start = block * BLOCK_BYTES;
            let from = start.max(offset_bytes);
            let to = (start + BLOCK_BYTES).min(end);
            let piece = &data[in_memory(from - offset_bytes)..in_memory(to - offset_bytes)];
            self.write_block(&mut units, disk, block, in_memory(from - start), piece)?;
        }
        Ok(())
    }

    fn write_block(
        &self,
        units: &mut HashMap<u64, Unit>,
        disk: &dyn ReadAt,
        block: u64,
        within: usize,
        piece: &[u8],
    ) -> io::Result<()> {
        let place_before = place(units, block);
        let place = match place_before {
            Some(place) => place,
            None => allocate(units, block)?,
        };
        if place_before.is_some() || piece.len() as u64 == BLOCK_BYTES {
            self.file.write_all_at(piece, place + within as u64)?;
        } else {
            // The first write to a block that does not cover it: the rest comes from the disk, which may end in it.
            let start = block * BLOCK_BYTES;
            let mut whole = vec![0; in_memory(BLOCK_BYTES.min(disk.size_bytes() - start))];
            disk.read_exact_at(&mut whole, start)?;
            whole[within..within + piece.len()].copy_from_slice(piece);
            self.file.write_all_at(&whole, place)?;
        }
        // Only now may reads take the block from here: a failed write leaves the disk's own.
        if let Some(unit) = units.get_mut(&(block / BLOCKS_PER_UNIT)) {
            unit.written |= 1 << (block % BLOCKS_PER_UNIT);
        }
        Ok(())
    }
}

const BLOCKS_PER_UNIT: u64 = UNIT_BYTES / BLOCK_BYTES;

/// Where in the file a block is, if it was written.
fn place(units: &HashMap<u64, Unit>, block: u64) -> Option<u64> {
    let unit = units.get(&(block / BLOCKS_PER_UNIT))?;
    let index = block % BLOCKS_PER_UNIT;
    (unit.written >> index & 1 == 1).then(|| u64::from(unit.slot) * UNIT_BYTES + index * BLOCK_BYTES)
}

fn allocate(units: &mut HashMap<u64, Unit>, block: u64) -> io::Result<u64> {
    let count = units.len();
    let key = block / BLOCKS_PER_UNIT;
    if count >= MAX_UNITS && !units.contains_key(&key) {
        return Err(io::Error::new(io::ErrorKind::StorageFull, "too much was written to the overlay"));
    }
    let slot = u32::try_from(count).map_err(|_| io::ErrorKind::StorageFull)?;
    let unit = units.entry(key).or_insert(Unit { slot, written: 0 });
    Ok(u64::from(unit.slot) * UNIT_BYTES + block % BLOCKS_PER_UNIT * BLOCK_BYTES)
}

/// A file without a name: its space is freed when the process ends, however it ends.
fn unlinked_file(dir: &Path) -> io::Result<File> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut last_error = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..100 {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".icecore-overlay-{}-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return fs::remove_file(&path).map(|()| file),
            Err(error) => last_error = error,
        }
        if last_error.kind() != io::ErrorKind::AlreadyExists {
            break;
        }
    }
    Err(last_error)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Overlay;
    use crate::read_at::ReadAt;

    struct Ones(u64);

    impl ReadAt for Ones {
        fn size_bytes(&self) -> u64 {
            self.0
        }

        fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
            if offset_bytes + buf.len() as u64 > self.0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf.fill(1);
            Ok(())
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 64, ..Default::default() })]

        #[test]
        fn it_behaves_like_memory(writes in proptest::collection::vec((0..200_000_u64, 1..20_000_usize, 2..255_u8), 1..20)) {
            let size = 200_001_usize;
            let disk = Ones(size as u64);
            let overlay = Overlay::new(None).unwrap();
            let mut memory = vec![1; size];
            for (at, length, value) in writes {
                let at_index = super::in_memory(at);
                let length = length.min(size - at_index);
                memory[at_index..at_index + length].fill(value);
                overlay.write(&disk, &vec![value; length], at).unwrap();
                let mut read = vec![0; size - at_index];
                overlay.read(&disk, &mut read, at).unwrap();
                assert_eq!(&read, &memory[at_index..]);
            }
        }
    }
}
