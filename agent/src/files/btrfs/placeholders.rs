//! Empty directories in place of subvolumes that a snapshot does not include, as the kernel shows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Volume;
use super::identity::{Identity, Object};
use super::inode::Inode;
use crate::files::{FilesError, Metadata, Result};

/// More than any machine has; bounds the memory.
const MAX_REMEMBERED: usize = 1 << 18;

/// In which directory each placeholder was seen: its owner is that of the directory. One lock around one map.
#[derive(Default)]
pub(super) struct Placeholders {
    directories: Mutex<BTreeMap<(u64, u64), Seen>>,
}

/// Why a placeholder stands where it was seen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    /// The subvolume is elsewhere or gone; this is the inode of the directory.
    In(u64),
    /// Whether it belongs there could not be read, so that nothing can be said of it.
    Damaged,
}

impl Placeholders {
    /// The placeholder for `subvolume` was seen in a directory of the subvolume `parent`.
    pub(super) fn remember(&self, parent: u64, subvolume: u64, seen: Seen) -> Result<()> {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if directories.len() >= MAX_REMEMBERED && !directories.contains_key(&(parent, subvolume)) {
            return Err(FilesError::Limit { what: "number of missing subvolumes", limit: MAX_REMEMBERED as u64 });
        }
        directories.insert((parent, subvolume), seen);
        Ok(())
    }

    /// The inode of the directory it is in.
    pub(super) fn directory(&self, parent: u64, subvolume: u64) -> Result<u64> {
        let directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        match directories.get(&(parent, subvolume)) {
            Some(Seen::In(directory)) => Ok(*directory),
            Some(Seen::Damaged) => {
                Err(FilesError::corrupt(format!("the reference to subvolume {subvolume} cannot be read")))
            }
            None => Err(FilesError::corrupt(format!("no directory with a place for subvolume {subvolume} was read"))),
        }
    }
}

/// Facts of a placeholder: nothing is stored for it, so owner and times are those of the directory it is in.
pub(super) fn metadata(volume: &Volume<'_>, parent: u64, subvolume: u64) -> Result<Metadata> {
    let directory = volume.placeholders.directory(parent, subvolume)?;
    let around = Inode::read(volume, parent, directory)?.metadata;
    Ok(Metadata {
        id: Identity { subvolume: parent, object: Object::Placeholder(subvolume) }.pack()?,
        permissions: 0o755,
        links: 1,
        size_bytes: 0,
        allocated_bytes: 0,
        ..around
    })
}
