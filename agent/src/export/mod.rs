//! Writes a disk as an image file for other programs: raw, qcow2 or vmdk.
//!
//! All three are written here, in one pass over the data and without a temporary copy, so nothing has to be
//! installed. Holes and zeros take no space. The image appears under its name only when it is complete and on disk.

mod qcow2;
mod raw;
mod vmdk;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::extents::Extent;
use crate::lengths::in_memory;
use crate::read_at::ReadAt;

/// Disk and image are read and written in pieces of this size; the cluster of qcow2 and the grain of vmdk.
const CLUSTER_BYTES: u64 = 64 << 10;

/// Kind of image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// The bytes of the disk, sparse.
    Raw,
    /// QEMU, version 3.
    Qcow2,
    /// VMware, monolithic sparse; up to 2 TiB.
    Vmdk,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ExportOutcome {
    /// Size of the disk in the image.
    pub disk_bytes: u64,
    /// Bytes of data in it that are not zero, in whole clusters.
    pub data_bytes: u64,
}

/// Failure of an export; no image is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The target exists.
    #[error("{path} exists; remove it, name another file or pass --overwrite")]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The target is something that cannot be replaced by a file.
    #[error("{path} is not a regular file; to write to a device use `icecore restore`")]
    NotAFile {
        /// The target.
        path: PathBuf,
    },
    /// The format cannot hold the disk.
    #[error("the disk has {disk_bytes} bytes, but {format} holds at most {limit_bytes}; export it as {instead}")]
    TooLarge {
        /// Size of the disk.
        disk_bytes: u64,
        /// Name of the format.
        format: &'static str,
        /// Largest disk.
        limit_bytes: u64,
        /// What to use.
        instead: &'static str,
    },
    /// The extents are not those of this disk.
    #[error("the extents to export are out of order or reach beyond the disk at byte {offset_bytes}")]
    BadExtents {
        /// Start of the first bad one.
        offset_bytes: u64,
    },
    /// The disk.
    #[error("cannot read the disk at byte {offset_bytes}: {source}")]
    Read {
        /// Where.
        offset_bytes: u64,
        /// The disk's error.
        source: io::Error,
    },
    /// The image.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file that is being written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The progress callback asked to stop.
    #[error("the export was cancelled; nothing was left behind")]
    Cancelled,
}

/// Takes whole clusters in ascending order and makes an image of them.
trait ImageWriter {
    /// Adds the cluster that starts at `offset_bytes` of the disk; the last one of a disk may be shorter.
    fn add(&mut self, offset_bytes: u64, cluster: &[u8]) -> io::Result<()>;

    /// Writes what is known only at the end.
    fn finish(&mut self) -> io::Result<()>;
}

/// Writes the image `path` of `disk`, reading only the `data` extents (ascending, not overlapping).
///
/// `progress` is called with the number of bytes of `data` that are done; `Break` cancels. Fsynced on success.
pub fn export(
    disk: &dyn ReadAt,
    data: impl IntoIterator<Item = Extent>,
    format: ExportFormat,
    path: &Path,
    overwrite: bool,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<ExportOutcome, ExportError> {
    refuse_target(path, overwrite)?;
    format.refuse_size(disk.size_bytes())?;
    let partial = Partial::create(path)?;
    let failed = |source| ExportError::Write { path: path.to_owned(), source };
    let mut writer = format.writer(&partial.file, disk.size_bytes()).map_err(failed)?;
    let data_bytes = copy(disk, data, &mut *writer, path, progress)?;
    writer.finish().map_err(failed)?;
    drop(writer);
    partial.publish(path, overwrite)?;
    Ok(ExportOutcome { disk_bytes: disk.size_bytes(), data_bytes })
}

impl ExportFormat {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
        }
    }

    fn refuse_size(self, disk_bytes: u64) -> Result<(), ExportError> {
        let limit_bytes = match self {
            Self::Raw => i64::MAX.cast_unsigned(),
            Self::Qcow2 => qcow2::MAX_DISK_BYTES,
            Self::Vmdk => vmdk::MAX_DISK_BYTES,
        };
        if disk_bytes <= limit_bytes {
            return Ok(());
        }
        let instead = if self == Self::Vmdk { "qcow2" } else { "raw" };
        Err(ExportError::TooLarge { disk_bytes, format: self.name(), limit_bytes, instead })
    }

    fn writer(self, file: &File, disk_bytes: u64) -> io::Result<Box<dyn ImageWriter + '_>> {
        Ok(match self {
            Self::Raw => Box::new(raw::Raw::new(file, disk_bytes)?),
            Self::Qcow2 => Box::new(qcow2::Qcow2::new(file, disk_bytes)),
            Self::Vmdk => Box::new(vmdk::Vmdk::new(file, disk_bytes)),
        })
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Raw, Self::Qcow2, Self::Vmdk]
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| format!("`{text}` is no image format; raw, qcow2 and vmdk are"))
    }
}

/// Hands each cluster that holds anything but zeros to the writer; returns how many bytes that were.
fn copy(
    disk: &dyn ReadAt,
    data: impl IntoIterator<Item = Extent>,
    writer: &mut dyn ImageWriter,
    path: &Path,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<u64, ExportError> {
    let (mut data_end, mut next_cluster, mut done_bytes, mut data_bytes) = (0, 0, 0, 0);
    let mut buf = Vec::new();
    for extent in data {
        let offset_bytes = extent.offset_bytes();
        if offset_bytes < data_end || extent.end_bytes() > disk.size_bytes() {
            return Err(ExportError::BadExtents { offset_bytes });
        }
        data_end = extent.end_bytes();
        // An extent may start in the cluster in which the one before ended; that one was copied whole.
        for index in next_cluster.max(offset_bytes / CLUSTER_BYTES)..data_end.div_ceil(CLUSTER_BYTES) {
            let at = index * CLUSTER_BYTES;
            buf.resize(in_memory(CLUSTER_BYTES.min(disk.size_bytes() - at)), 0);
            disk.read_exact_at(&mut buf, at).map_err(|source| ExportError::Read { offset_bytes: at, source })?;
            if buf.iter().any(|byte| *byte != 0) {
                let failed = |source| ExportError::Write { path: path.to_owned(), source };
                writer.add(at, &buf).map_err(failed)?;
                data_bytes += buf.len() as u64;
            }
            next_cluster = index + 1;
            let done_here = (at + buf.len() as u64).min(data_end).saturating_sub(offset_bytes);
            if progress(done_bytes + done_here).is_break() {
                return Err(ExportError::Cancelled);
            }
        }
        done_bytes += extent.length_bytes();
    }
    Ok(data_bytes)
}

fn refuse_target(path: &Path, overwrite: bool) -> Result<(), ExportError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(ExportError::NotAFile { path: path.to_owned() }),
        Ok(_) if !overwrite => Err(ExportError::Exists { path: path.to_owned() }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ExportError::Write { path: path.to_owned(), source }),
    }
}

/// The image under a temporary name next to the target; removed unless it is published.
struct Partial {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Partial {
    fn create(target: &Path) -> Result<Self, ExportError> {
        let mut name = OsString::from(".");
        name.push(target.file_name().ok_or_else(|| ExportError::NotAFile { path: target.to_owned() })?);
        name.push(format!(".partial-{}", std::process::id()));
        let path = target.with_file_name(name);
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => Ok(Self { file, path, published: false }),
            Err(source) => Err(ExportError::Write { path, source }),
        }
    }

    /// Makes the content durable, then the name.
    fn publish(mut self, target: &Path, overwrite: bool) -> Result<(), ExportError> {
        let failed = |source| ExportError::Write { path: target.to_owned(), source };
        self.file.sync_all().map_err(failed)?;
        self.rename(target, overwrite)?;
        self.published = true;
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    fn rename(&self, target: &Path, overwrite: bool) -> Result<(), ExportError> {
        let flags = if overwrite { RenameFlags::empty() } else { RenameFlags::RENAME_NOREPLACE };
        match renameat2(AT_FDCWD, &self.path, AT_FDCWD, target, flags) {
            Ok(()) => Ok(()),
            Err(nix::errno::Errno::EEXIST) => Err(ExportError::Exists { path: target.to_owned() }),
            // Some file systems cannot refuse to replace; the target was not there when the export began.
            Err(nix::errno::Errno::EINVAL) => {
                refuse_target(target, overwrite)?;
                let failed = |source| ExportError::Write { path: target.to_owned(), source };
                fs::rename(&self.path, target).map_err(failed)
            }
            Err(errno) => Err(ExportError::Write { path: target.to_owned(), source: errno.into() }),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the unfinished image");
        }
    }
}
