//! Writes by io_uring, many at once.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use io_uring::{IoUring, opcode, types};

use crate::direct::AlignedBuffer;

/// How many are under way at once.
const DEPTH: u32 = 32;

/// How writes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The kernel tries each without waiting first, and by a thread of its own when that cannot be.
    Ordinary,
    /// Each fails rather than wait.
    WithoutWaiting,
    /// The program asks the disk whether they are done; no interrupt says so.
    Polled,
}

/// A device that is written by io_uring, past the cache.
pub struct RingFile {
    ring: IoUring,
    file: File,
    manner: Manner,
}

impl RingFile {
    /// Opens it.
    pub fn open(path: &Path, manner: Manner) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_DIRECT).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let mut builder = IoUring::builder();
        if manner == Manner::Polled {
            builder.setup_iopoll();
        }
        let ring = builder.build(DEPTH).context("the kernel has no io_uring")?;
        Ok(Self { ring, file, manner })
    }

    /// Writes `buffer` at each offset. Returns what became of each write: the errno of those that failed.
    pub fn write_at_all(&mut self, buffer: &AlignedBuffer, offsets: &[u64]) -> Result<Vec<Option<nix::Error>>> {
        let mut results = vec![None; offsets.len()];
        let numbered: Vec<(u64, u64)> = (0..).zip(offsets.iter().copied()).collect();
        for some in numbered.chunks(usize::try_from(DEPTH)?) {
            for (number, offset) in some {
                self.push(buffer, *offset, *number)?;
            }
            self.ring.submit_and_wait(some.len()).context("io_uring_enter")?;
            let mut done = 0;
            while done < some.len() {
                let completed: Vec<(u64, i32)> =
                    self.ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
                done += completed.len();
                for (number, result) in completed {
                    results[usize::try_from(number)?] = outcome(result, buffer.bytes().len())?;
                }
                if done < some.len() {
                    self.ring.submit_and_wait(some.len() - done).context("io_uring_enter")?;
                }
            }
        }
        Ok(results)
    }

    fn push(&mut self, buffer: &AlignedBuffer, offset: u64, number: u64) -> Result<()> {
        let flags = if self.manner == Manner::WithoutWaiting { nix::libc::RWF_NOWAIT } else { 0 };
        let length = u32::try_from(buffer.bytes().len())?;
        let write = opcode::Write::new(types::Fd(self.file.as_raw_fd()), buffer.bytes().as_ptr(), length)
            .offset(offset)
            .rw_flags(flags)
            .build()
            .user_data(number);
        // SAFETY: the file and the buffer outlive the write: `write_at_all` borrows both and returns only after every
        // write has completed, or with an error that ends the scenario's process.
        unsafe { self.ring.submission().push(&write) }.context("the ring is full")
    }
}

fn outcome(result: i32, length: usize) -> Result<Option<nix::Error>> {
    if result < 0 {
        return Ok(Some(nix::Error::from_raw(-result)));
    }
    ensure!(usize::try_from(result)? == length, "{result} of {length} bytes were written");
    Ok(None)
}
