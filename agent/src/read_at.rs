//! Random access to the bytes of a disk, whatever holds them: a device, an image file, a recovery point.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;

/// A disk of fixed size that can be read at any offset from any thread.
pub trait ReadAt: Send + Sync {
    /// Size of the disk in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buf` from `offset_bytes`. Reading past the end is `UnexpectedEof`; a failed call leaves `buf` undefined.
    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()>;
}

/// A window of another disk, such as one partition of it. The disk is borrowed or shared.
pub struct Slice<D> {
    disk: D,
    offset_bytes: u64,
    length_bytes: u64,
}

impl<D: Deref<Target: ReadAt>> Slice<D> {
    /// The window `[offset, offset + length)`; `InvalidInput` when it does not lie inside `disk`.
    pub fn new(disk: D, offset_bytes: u64, length_bytes: u64) -> io::Result<Self> {
        match offset_bytes.checked_add(length_bytes) {
            Some(end) if end <= disk.size_bytes() => Ok(Self { disk, offset_bytes, length_bytes }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the window lies outside the disk")),
        }
    }
}

impl<D: Deref<Target: ReadAt> + Send + Sync> ReadAt for Slice<D> {
    fn size_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        match offset_bytes.checked_add(buf.len() as u64) {
            Some(end) if end <= self.length_bytes => self.disk.read_exact_at(buf, self.offset_bytes + offset_bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Bytes in memory as a disk.
impl ReadAt for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let start = usize::try_from(offset_bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A file or block device with the size it had when it was opened.
pub struct FileDisk {
    file: File,
    size_bytes: u64,
}

impl FileDisk {
    /// Wraps an open file; the size is found by seeking, which also works on block devices.
    pub fn new(mut file: File) -> io::Result<Self> {
        let size_bytes = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Self { file, size_bytes })
    }
}

impl ReadAt for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buf, offset_bytes)
    }
}
