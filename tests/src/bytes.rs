//! Compares and copies large sparse files; the truth that changed-extents lists are made from.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

const WINDOW_BYTES: u64 = 1 << 20;

/// A range of bytes on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset_bytes: u64,
    /// Number of bytes.
    pub length_bytes: u64,
}

/// The extents that differ between two files of the same size, in units of `granule_bytes` (at most 1 MiB, a power of two).
pub fn changed_extents(before: &Path, after: &Path, granule_bytes: u64) -> Result<Vec<Extent>> {
    ensure!(
        granule_bytes.is_power_of_two() && granule_bytes <= WINDOW_BYTES,
        "the granule is a power of two up to 1 MiB"
    );
    let (before, after) = (open(before)?, open(after)?);
    let size_bytes = before.metadata()?.len();
    ensure!(size_bytes == after.metadata()?.len(), "the two images differ in size");
    let mut extents: Vec<Extent> = Vec::new();
    // Where both files have a hole they are equal; so only data of either file is read.
    let mut position = 0;
    while let Some(start) = next_data_of_either(&before, &after, position)? {
        let start = start / granule_bytes * granule_bytes;
        let length = WINDOW_BYTES.min(size_bytes - start);
        compare_window(
            &before,
            &after,
            Extent { offset_bytes: start, length_bytes: length },
            granule_bytes,
            &mut extents,
        )?;
        position = start + length;
    }
    Ok(extents)
}

/// Writes the extents as `icecore backup --changed-extents` reads them: one `offset length` a line, in bytes.
pub fn write_extents(path: &Path, extents: &[Extent]) -> Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for extent in extents {
        writeln!(file, "{} {}", extent.offset_bytes, extent.length_bytes)?;
    }
    file.flush().with_context(|| format!("cannot write {}", path.display()))
}

/// Whether two files have the same size and bytes.
pub fn same_bytes(left: &Path, right: &Path) -> Result<bool> {
    Ok(open(left)?.metadata()?.len() == open(right)?.metadata()?.len()
        && changed_extents(left, right, 4096)?.is_empty())
}

/// Fails with the first place where two files differ.
pub fn assert_same_bytes(left: &Path, right: &Path) -> Result<()> {
    if let Some(first) = changed_extents(left, right, 512)?.first() {
        bail!("{} and {} differ from byte {} on", left.display(), right.display(), first.offset_bytes);
    }
    Ok(())
}

/// Copies the data of `source` to `offset_bytes` in `target` and leaves its holes out; the target must be zero there.
pub fn copy_sparse(source: &File, target: &File, offset_bytes: u64) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(WINDOW_BYTES)?];
    let size_bytes = source.metadata()?.len();
    let mut position = 0;
    while let Some(start) = next_data(source, position)? {
        let length = WINDOW_BYTES.min(size_bytes - start);
        let window = &mut buffer[..usize::try_from(length)?];
        source.read_exact_at(window, start)?;
        if window.iter().any(|byte| *byte != 0) {
            target.write_all_at(window, offset_bytes + start)?;
        }
        position = start + length;
    }
    Ok(())
}

/// Copies a whole image without its holes; an existing file is replaced.
pub fn copy_image(source: &Path, target: &Path) -> Result<()> {
    let source = open(source)?;
    let file = File::create(target).with_context(|| format!("cannot create {}", target.display()))?;
    file.set_len(source.metadata()?.len())?;
    copy_sparse(&source, &file, 0)
}

/// Bytes that may still be written below `directory`.
pub fn free_bytes(directory: &Path) -> Result<u64> {
    let facts = nix::sys::statvfs::statvfs(directory)
        .with_context(|| format!("cannot ask for the space in {}", directory.display()))?;
    Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
}

fn compare_window(before: &File, after: &File, window: Extent, granule: u64, extents: &mut Vec<Extent>) -> Result<()> {
    let length = usize::try_from(window.length_bytes)?;
    let (mut left, mut right) = (vec![0; length], vec![0; length]);
    before.read_exact_at(&mut left, window.offset_bytes)?;
    after.read_exact_at(&mut right, window.offset_bytes)?;
    if left == right {
        return Ok(());
    }
    let step = usize::try_from(granule)?;
    for (index, (old, new)) in (0..).zip(left.chunks(step).zip(right.chunks(step))) {
        if old != new {
            let found = Extent { offset_bytes: window.offset_bytes + index * granule, length_bytes: new.len() as u64 };
            push_merged(extents, found);
        }
    }
    Ok(())
}

fn push_merged(extents: &mut Vec<Extent>, found: Extent) {
    match extents.last_mut() {
        Some(last) if last.offset_bytes + last.length_bytes == found.offset_bytes => {
            last.length_bytes += found.length_bytes
        }
        _ => extents.push(found),
    }
}

fn next_data_of_either(left: &File, right: &File, position: u64) -> Result<Option<u64>> {
    let (left, right) = (next_data(left, position)?, next_data(right, position)?);
    Ok(left.into_iter().chain(right).min())
}

/// The first byte at or after `position` that is not in a hole; `None` when only a hole follows.
pub fn next_data(file: &File, position: u64) -> Result<Option<u64>> {
    match lseek(file, i64::try_from(position)?, Whence::SeekData) {
        Ok(found) => Ok(Some(u64::try_from(found)?)),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error).context("cannot look for data in a sparse file"),
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}
