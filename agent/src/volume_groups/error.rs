//! Why a volume group or a logical volume cannot be read, in words for the person who wants its files.

use std::io;
use std::sync::Arc;

/// Failure of reading a volume group or one of its logical volumes. Cheap to clone: volumes share the reasons of what they stand on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// A disk could not be read.
    #[error("cannot read {what}: {source}")]
    Read {
        /// What was wanted.
        what: String,
        /// The disk's error.
        source: Arc<io::Error>,
    },
    /// A disk of the group is not there.
    #[error("{what} is not in this recovery point")]
    Missing {
        /// Which physical volume, by its UUID.
        what: String,
    },
    /// Something that is not read here, by name.
    #[error("{what}; mount the recovery point to use the kernel's device mapper")]
    Unsupported {
        /// A sentence about what it is.
        what: String,
    },
    /// On-disk structures contradict each other.
    #[error("the volume group is damaged: {what}")]
    Corrupt {
        /// Which structure, and how it is wrong.
        what: String,
    },
    /// A limit that keeps memory bounded was reached.
    #[error("{what} exceeds this reader's limit of {limit}; mount the recovery point instead")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl VolumeError {
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }

    pub(super) fn read(what: impl Into<String>, source: io::Error) -> Self {
        Self::Read { what: what.into(), source: Arc::new(source) }
    }

    /// For readers above, who know disks and their errors only.
    pub(super) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Read { source, .. } => source.kind(),
            Self::Unsupported { .. } => io::ErrorKind::Unsupported,
            Self::Missing { .. } | Self::Corrupt { .. } | Self::Limit { .. } => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }
}

/// Result of everything under `volume_groups`.
pub type Result<T> = std::result::Result<T, VolumeError>;
