//! The file operations a directory store is made of, one by one, so that a test can cut the power between any two.

use crate::aligned::{ALIGNMENT_BYTES, AlignedBuffer};
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An entry of a directory.
pub struct DirEntry {
    /// Its name; names that are not UTF-8 are never ours and are left out.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length of a file.
    pub size_bytes: u64,
}

/// A file that was just written, still open where the file system has open files: an error in writing it back later is told
/// to the descriptor that wrote. One opened afterwards may never hear of it.
#[derive(Default)]
pub struct Written(Option<File>);

/// A file system. What a write or a rename did is durable only after the sync that names it.
pub trait Fs: Send + Sync {
    /// Creates a file that must not exist, with this content.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<Written>;
    /// Makes durable what was just written to `path`.
    fn sync_written(&self, path: &Path, written: Written) -> io::Result<()> {
        written.0.map_or_else(|| self.sync_file(path), |file| file.sync_data())
    }
    /// Adds to the end of a file. Only for what is received piece by piece; how such a file becomes an object is what is cut in tests.
    fn append(&self, _path: &Path, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes a file's content durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Moves a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory; no error when it exists.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Fills `buf` from an offset.
    fn read_at(&self, path: &Path, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Length of a file; `None` when there is none.
    fn size(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Entries of a directory; empty when there is none.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
}

/// Files of at least this length are written past the page cache: a pack is rarely read again soon, and the copy into the cache
/// stands high in a profile of a full backup.
const DIRECT_FROM_BYTES: usize = 1 << 20;
/// Bytes of one direct read or write, and so of the buffer for it.
const DIRECT_BYTES: usize = 4 << 20;

/// Fills a new file through O_DIRECT. `InvalidInput` or `Unsupported` when the file system does not offer that; nothing is lost then.
fn write_directly(file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let length = i64::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // One allocation instead of one a write.
    fallocate(file, FallocateFlags::empty(), 0, length)?;
    let direct = OpenOptions::new().write(true).custom_flags(OFlag::O_DIRECT.bits()).open(path)?;
    let mut buffer = AlignedBuffer::new(DIRECT_BYTES.min(bytes.len().next_multiple_of(ALIGNMENT_BYTES)));
    let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % ALIGNMENT_BYTES);
    for (number, piece) in (0_u64..).zip(whole.chunks(DIRECT_BYTES)) {
        buffer[..piece.len()].copy_from_slice(piece);
        direct.write_all_at(&buffer[..piece.len()], number * DIRECT_BYTES as u64)?;
    }
    // What is left of the last sector goes through the cache; the sync that follows covers both.
    file.write_all_at(rest, whole.len() as u64)
}

/// Reads of at least this length go past the page cache: a cold disk gives several times more that way, and packs are rarely read twice.
const DIRECT_READ_FROM_BYTES: usize = 256 << 10;

thread_local! {
    static READ_BUFFER: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::new(0));
}

/// Fills `buf` through O_DIRECT. False when the file system does not offer that, or the file ends too early: an ordinary read says why.
fn read_directly(path: &Path, offset_bytes: u64, buf: &mut [u8]) -> io::Result<bool> {
    let direct = match OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECT.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(false),
        other => other?,
    };
    let mut at = offset_bytes;
    for piece in buf.chunks_mut(DIRECT_BYTES) {
        if !read_piece_directly(&direct, at, piece)? {
            return Ok(false);
        }
        at += piece.len() as u64;
    }
    Ok(true)
}

/// Fills at most [`DIRECT_BYTES`]: however long a read is, a thread keeps no more memory than that for it.
fn read_piece_directly(direct: &File, offset_bytes: u64, piece: &mut [u8]) -> io::Result<bool> {
    let skip = usize::try_from(offset_bytes % ALIGNMENT_BYTES as u64).expect("below the alignment");
    let wanted = skip + piece.len();
    READ_BUFFER.with_borrow_mut(|aligned| {
        if aligned.len() < wanted.next_multiple_of(ALIGNMENT_BYTES) {
            *aligned = AlignedBuffer::new(DIRECT_BYTES + ALIGNMENT_BYTES);
        }
        let length = wanted.next_multiple_of(ALIGNMENT_BYTES);
        let mut done = 0;
        // A short read that is no multiple of the alignment is the end of the file.
        while done < wanted && done.is_multiple_of(ALIGNMENT_BYTES) {
            match direct.read_at(&mut aligned[done..length], offset_bytes - skip as u64 + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if done < wanted {
            return Ok(false);
        }
        piece.copy_from_slice(&aligned[skip..wanted]);
        Ok(true)
    })
}

/// The real file system.
#[derive(Default)]
pub struct OsFs;

fn absent_is<T>(result: io::Result<T>, absent: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(absent),
        other => other,
    }
}

impl Fs for OsFs {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<Written> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        if bytes.len() < DIRECT_FROM_BYTES {
            file.write_all(bytes)?;
            return Ok(Written(Some(file)));
        }
        match write_directly(&file, path, bytes) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput || error.kind() == io::ErrorKind::Unsupported => {
                file.write_all_at(bytes, 0)?;
            }
            other => other?,
        }
        Ok(Written(Some(file)))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(path)?.write_all(bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // Data and length are what count; a later rename makes the name durable.
        File::open(path)?.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn read_at(&self, path: &Path, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        if buf.len() >= DIRECT_READ_FROM_BYTES && read_directly(path, offset_bytes, buf)? {
            return Ok(());
        }
        File::open(path)?.read_exact_at(buf, offset_bytes)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        absent_is(fs::metadata(path).map(|m| Some(m.len())), None)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let Some(entries) = absent_is(fs::read_dir(path).map(Some), None)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A file may vanish between the listing and the look at it: another process deleted it.
            let Some(meta) = absent_is(entry.metadata().map(Some), None)? else { continue };
            if let Ok(name) = entry.file_name().into_string() {
                found.push(DirEntry { name, is_dir: meta.is_dir(), size_bytes: meta.len() });
            }
        }
        Ok(found)
    }
}

/// Directory that holds `path`.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Fs, OsFs};

    #[test]
    fn long_reads_at_any_place_give_the_same_bytes_as_the_file_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pack");
        let bytes: Vec<u8> = (0..11_000_001_u32).map(|i| u8::try_from(i / 7 % 251).unwrap()).collect();
        OsFs.write_new(&path, &bytes).unwrap();
        for (offset, length) in [
            (0, 11_000_001),
            (1, 11_000_000),
            (4096, 300_000),
            (4097, 300_001),
            (10_500_000, 500_001),
            (7, 262_144),
            (4095, 8 << 20),
        ] {
            let mut read = vec![0; length];
            OsFs.read_at(&path, offset as u64, &mut read).unwrap();
            assert!(read == bytes[offset..offset + length], "{offset} {length}");
        }
        for (offset, length) in [(0, 11_000_002), (10_999_999, 300_000), (12_000_000, 300_000)] {
            let error = OsFs.read_at(&path, offset, &mut vec![0; length]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{offset} {length}");
        }
    }
}
