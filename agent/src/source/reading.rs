//! Reading a source past the page cache, so that a backup does not push out what the machine needs.
//!
//! Direct reads first; where the file system refuses them (EINVAL), buffered reads whose pages are dropped afterwards.
//! Both go through descriptors of the same file.

use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use repo_format::aligned::{ALIGNMENT_BYTES, AlignedBuffer, is_aligned};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bounce buffers are made per call and at most this large.
const BOUNCE_BYTES: usize = 1 << 20;
const ALIGNMENT: u64 = ALIGNMENT_BYTES as u64;

/// Why a read of a source failed; inside an `io::Error` of the same kind.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The device or file system reports an error.
    #[error("cannot read {path} at byte {offset_bytes}: {source}")]
    Failed {
        /// Path of the source.
        path: String,
        /// Where.
        offset_bytes: u64,
        /// What the kernel says.
        source: io::Error,
    },
    /// It ended before the size that it had when it was opened.
    #[error(
        "{path} ends at byte {offset_bytes} but had {size_bytes} bytes when it was opened: it shrank while it was read"
    )]
    Shrank {
        /// Path of the source.
        path: String,
        /// Where nothing more came.
        offset_bytes: u64,
        /// Size when it was opened.
        size_bytes: u64,
    },
}

/// The open descriptors of a source.
pub struct Reader {
    buffered: File,
    direct: Option<File>,
    /// Cleared for good by the first EINVAL. Relaxed: a late reader only makes one more refused attempt.
    direct_works: AtomicBool,
    shown: String,
    size_bytes: u64,
}

impl Reader {
    pub fn new(mut file: File, path: &Path, shown: String) -> io::Result<Self> {
        let size_bytes = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        let direct = OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECT.bits()).open(path).ok();
        let direct = direct.filter(|direct| is_same_file(direct, &file));
        let direct_works = AtomicBool::new(direct.is_some());
        Ok(Self { buffered: file, direct, direct_works, shown, size_bytes })
    }

    pub fn file(&self) -> &File {
        &self.buffered
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn direct(&self) -> Option<&File> {
        self.direct.as_ref().filter(|_| self.direct_works.load(Ordering::Relaxed))
    }

    pub fn is_direct(&self) -> bool {
        self.direct().is_some()
    }

    pub fn read_exact_at(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let end = offset_bytes.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let result = match self.direct() {
            Some(file) if is_aligned(buf, offset_bytes) => self.fill_direct(file, buf, offset_bytes),
            Some(file) => self.fill_bounced(file, buf, offset_bytes),
            None => return self.fill_buffered(buf, offset_bytes),
        };
        match result {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                self.direct_works.store(false, Ordering::Relaxed);
                tracing::info!(path = %self.shown, "direct reads are refused, reading through the page cache");
                self.fill_buffered(buf, offset_bytes)
            }
            other => other,
        }
    }

    /// `buf` is aligned, so a short read that ends between sectors can only be the end of the file.
    fn fill_direct(&self, file: &File, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset_bytes + done as u64;
            if !done.is_multiple_of(ALIGNMENT_BYTES) {
                // A device may stop early, at an error or a boundary: go on where alignment no longer matters.
                return self.fill_bounced(file, &mut buf[done..], at);
            }
            match self.read_some(file, &mut buf[done..], at)? {
                0 => return Err(self.shrank(at)),
                count => done += count,
            }
        }
        Ok(())
    }

    /// Reads the aligned surroundings of what is wanted into a buffer of ours and copies.
    fn fill_bounced(&self, file: &File, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let mut bounce =
            AlignedBuffer::new((buf.len().next_multiple_of(ALIGNMENT_BYTES) + ALIGNMENT_BYTES).min(BOUNCE_BYTES));
        let mut done = 0;
        while done < buf.len() {
            let at = offset_bytes + done as u64;
            let aligned_at = at - at % ALIGNMENT;
            let skip = usize::try_from(at - aligned_at).unwrap_or(0);
            let wanted = (buf.len() - done + skip).next_multiple_of(ALIGNMENT_BYTES).min(bounce.len());
            let count = self.read_some(file, &mut bounce[..wanted], aligned_at)?;
            let Some(fresh) = bounce[..count].get(skip..).filter(|fresh| !fresh.is_empty()) else {
                return Err(self.shrank(aligned_at + count as u64));
            };
            let used = fresh.len().min(buf.len() - done);
            buf[done..done + used].copy_from_slice(&fresh[..used]);
            done += used;
        }
        Ok(())
    }

    fn fill_buffered(&self, buf: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset_bytes + done as u64;
            match self.read_some(&self.buffered, &mut buf[done..], at)? {
                0 => return Err(self.shrank(at)),
                count => done += count,
            }
        }
        if let (Ok(offset), Ok(length)) = (i64::try_from(offset_bytes), i64::try_from(buf.len())) {
            // Advice only: where it is not followed, the cache is fuller than we like.
            let _ = posix_fadvise(&self.buffered, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        Ok(())
    }

    /// One system call, repeated when a signal interrupts it. EINVAL is passed on as it is for the fallback.
    fn read_some(&self, file: &File, buf: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        loop {
            match file.read_at(buf, offset_bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if error.raw_os_error() == Some(Errno::EINVAL as i32) && !std::ptr::eq(file, &self.buffered) =>
                {
                    return Err(error);
                }
                Err(source) => {
                    let (kind, path) = (source.kind(), self.shown.clone());
                    return Err(io::Error::new(kind, ReadError::Failed { path, offset_bytes, source }));
                }
                Ok(count) => return Ok(count),
            }
        }
    }

    fn shrank(&self, offset_bytes: u64) -> io::Error {
        let (path, size_bytes) = (self.shown.clone(), self.size_bytes);
        io::Error::new(io::ErrorKind::UnexpectedEof, ReadError::Shrank { path, offset_bytes, size_bytes })
    }
}

fn is_same_file(one: &File, other: &File) -> bool {
    let id = |file: &File| file.metadata().ok().map(|m| (m.dev(), m.ino(), m.rdev()));
    id(one).is_some_and(|one| Some(one) == id(other))
}

#[cfg(test)]
mod tests {
    use super::{AtomicBool, File, Path, Reader};
    use std::os::unix::fs::FileExt;

    fn reader(buffered: File, path: &Path) -> Reader {
        let opened = Reader::new(buffered, path, "the disk".to_owned()).unwrap();
        Reader { direct: None, direct_works: AtomicBool::new(false), ..opened }
    }

    #[test]
    fn a_source_that_refuses_direct_reads_is_read_through_the_cache() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(b"0123456789", 0).unwrap();
        let reader = reader(file.reopen().unwrap(), file.path());
        let mut buf = [0; 4];
        reader.read_exact_at(&mut buf, 3).unwrap();
        assert!(!reader.is_direct() && &buf == b"3456");
    }

    #[test]
    fn a_failing_read_names_the_source_and_the_offset() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10_000).unwrap();
        // Reading a descriptor that is open for writing only fails as a broken disk would: with an error from the kernel.
        let write_only = File::options().write(true).open(file.path()).unwrap();
        let error = reader(write_only, file.path()).read_exact_at(&mut [0; 10], 5000).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the disk at byte 5000: "), "{error}");
    }
}
