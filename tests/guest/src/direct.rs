//! Reading and writing past the page cache: an O_DIRECT file and the aligned buffer that it needs.

use std::fs::{File, OpenOptions};
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// Enough for every sector size there is.
const ALIGNMENT: usize = 4096;

/// Bytes whose address is a multiple of 4096.
pub struct AlignedBuffer {
    /// Over-allocated, so that an aligned part of the wanted length lies inside.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Zeroes.
    pub fn new(length: usize) -> Self {
        let memory = vec![0; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, length }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// The bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// A block device or file opened with O_DIRECT.
pub struct DirectFile {
    file: File,
}

impl DirectFile {
    /// Opens for reading and writing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_DIRECT).open(path);
        Ok(Self { file: file.with_context(|| format!("cannot open {} past the cache", path.display()))? })
    }

    /// Opens for reading.
    pub fn open_to_read(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(path);
        Ok(Self { file: file.with_context(|| format!("cannot open {} past the cache", path.display()))? })
    }

    /// Fills the whole buffer from `offset`.
    pub fn read(&self, buffer: &mut AlignedBuffer, offset: u64) -> std::io::Result<()> {
        self.file.read_exact_at(buffer.bytes_mut(), offset)
    }

    /// Writes the whole buffer at `offset`.
    pub fn write(&self, buffer: &AlignedBuffer, offset: u64) -> std::io::Result<()> {
        self.file.write_all_at(buffer.bytes(), offset)
    }

    /// Writes the whole buffer by one system call and little else.
    pub fn write_once(&self, buffer: &AlignedBuffer, offset: u64) -> std::io::Result<()> {
        whole(self.file.write_at(buffer.bytes(), offset)?, buffer.length)
    }

    /// Fills the whole buffer by one system call and little else.
    pub fn read_once(&self, buffer: &mut AlignedBuffer, offset: u64) -> std::io::Result<()> {
        whole(self.file.read_at(buffer.bytes_mut(), offset)?, buffer.length)
    }

    /// Writes the whole buffer only if that is possible without waiting; `false`: it is not.
    pub fn write_without_waiting(&self, buffer: &AlignedBuffer, offset: u64) -> Result<bool> {
        let slices = [nix::libc::iovec { iov_base: buffer.bytes().as_ptr().cast_mut().cast(), iov_len: buffer.length }];
        let offset = nix::libc::off_t::try_from(offset)?;
        // SAFETY: the kernel only reads the buffer, which outlives the call; there is one slice.
        let written =
            unsafe { nix::libc::pwritev2(self.file.as_raw_fd(), slices.as_ptr(), 1, offset, nix::libc::RWF_NOWAIT) };
        match nix::Error::result(written) {
            Ok(written) => Ok(usize::try_from(written)? == buffer.length),
            Err(nix::Error::EAGAIN) => Ok(false),
            Err(errno) => Err(errno).context("a write that must not wait"),
        }
    }

    /// Reads so many pages by one system call into memory in which no two of them are neighbours, so that the kernel needs
    /// a request for every 256 of them. How many bytes it read.
    pub fn read_scattered(&self, pages: usize, offset: u64) -> Result<usize> {
        let mut buffer = AlignedBuffer::new(2 * pages * ALIGNMENT);
        let every_second = buffer.bytes_mut().chunks_exact_mut(ALIGNMENT).step_by(2);
        let mut slices: Vec<IoSliceMut<'_>> = every_second.map(IoSliceMut::new).collect();
        Ok(nix::sys::uio::preadv(&self.file, &mut slices, nix::libc::off_t::try_from(offset)?)?)
    }

    /// Reads `length` bytes into a new buffer.
    pub fn read_new(&self, offset: u64, length: usize) -> std::io::Result<AlignedBuffer> {
        let mut buffer = AlignedBuffer::new(length);
        self.read(&mut buffer, offset)?;
        Ok(buffer)
    }
}

fn whole(done: usize, wanted: usize) -> std::io::Result<()> {
    if done == wanted { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}
