//! What shows that an image file was written to.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Length and times of change of a regular file, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    size_bytes: u64,
    modified_at: (i64, i64),
    changed_at: (i64, i64),
}

impl Stamp {
    /// Devices have none.
    pub(super) fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            size_bytes: metadata.len(),
            modified_at: (metadata.mtime(), metadata.mtime_nsec()),
            changed_at: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
