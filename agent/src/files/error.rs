//! What can go wrong while files are read out of a disk or put back into a directory.

use std::io;
use std::path::PathBuf;

/// Failure of reading a file system or of restoring from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The disk itself could not be read.
    #[error("cannot read {length_bytes} bytes at offset {offset_bytes} of the disk: {source}")]
    Read {
        /// Where the read started.
        offset_bytes: u64,
        /// How much was wanted.
        length_bytes: u64,
        /// The disk's error.
        source: io::Error,
    },
    /// No file system that this program reads.
    #[error("no known file system here; mount the recovery point to use the kernel's drivers")]
    NotRecognised,
    /// A file system with a feature this reader does not know.
    #[error(
        "the {file_system} file system uses {feature}, which this reader does not know; mount the recovery point to use the kernel's driver"
    )]
    Unsupported {
        /// Which file system.
        file_system: &'static str,
        /// The feature, by name or number.
        feature: String,
    },
    /// On-disk structures contradict each other.
    #[error("the file system is damaged: {what}; run its checker on a mounted copy of the recovery point")]
    Corrupt {
        /// Which structure, and how it is wrong.
        what: String,
    },
    /// The file is encrypted on the disk and its key is not in the backup.
    #[error("inode {inode} is encrypted by the file system; mount the recovery point and unlock it with its key")]
    Encrypted {
        /// The encrypted inode.
        inode: u64,
    },
    /// A limit that keeps memory bounded was reached.
    #[error("{what} exceeds this reader's limit of {limit}; mount the recovery point instead")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The path does not exist.
    #[error("{path}: no such file or directory in the recovery point")]
    NotFound {
        /// The escaped path.
        path: String,
    },
    /// A component of the path is not a directory.
    #[error("{path}: not a directory{hint}")]
    NotADirectory {
        /// The escaped path.
        path: String,
        /// More to say, such as where a symbolic link leads; empty or starting with a space.
        hint: String,
    },
    /// Another kind of file was needed.
    #[error("inode {inode} is not a {wanted}")]
    WrongKind {
        /// The inode.
        inode: u64,
        /// The kind that was needed.
        wanted: &'static str,
    },
    /// The target of a restore could not be written.
    #[error("cannot {action} {path}: {source}")]
    Target {
        /// What was attempted.
        action: &'static str,
        /// The path in the target.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Who passes the files says why something of them cannot be had.
    #[error("{what}")]
    Told {
        /// In its words.
        what: String,
    },
    /// Who passes the files cannot be asked any more.
    #[error("the files are not passed any more: {what}")]
    Passage {
        /// Why.
        what: String,
    },
    /// The progress callback asked to stop.
    #[error("the restore was cancelled; what was restored so far stays in the target")]
    Cancelled,
}

impl FilesError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

/// Result of everything under `files`.
pub type Result<T> = std::result::Result<T, FilesError>;
