//! File identities: inode numbers repeat between subvolumes, so an identity holds the subvolume too.
//!
//! From the top: 24 bits subvolume (0 for the top level, whose files keep their plain inode numbers), one bit that
//! marks a placeholder, 39 bits inode number. A placeholder is the empty directory that stands for a subvolume which a
//! snapshot does not include; its lower bits are that subvolume's number. Nothing has to be remembered to go back.

use super::trees::TOP_LEVEL;
use crate::files::{FileId, FilesError, Result};

const INODE_BITS: u32 = 39;
const PLACEHOLDER: u64 = 1 << INODE_BITS;
const SUBVOLUME_SHIFT: u32 = INODE_BITS + 1;
const MAX_SUBVOLUME: u64 = u64::MAX >> SUBVOLUME_SHIFT;
const MAX_INODE: u64 = PLACEHOLDER - 1;

/// A file in a subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) subvolume: u64,
    pub(super) object: Object,
}

/// What an identity means inside its subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// An inode.
    Inode(u64),
    /// The empty directory in place of this subvolume.
    Placeholder(u64),
}

impl Identity {
    pub(super) fn of_inode(subvolume: u64, inode: u64) -> Self {
        Self { subvolume, object: Object::Inode(inode) }
    }

    /// Refuses numbers that do not fit: they are never reached by counting up.
    pub(super) fn pack(self) -> Result<FileId> {
        let (flag, number, limit) = match self.object {
            Object::Inode(inode) => (0, inode, MAX_INODE),
            Object::Placeholder(subvolume) => (PLACEHOLDER, subvolume, MAX_SUBVOLUME),
        };
        if number > limit {
            return Err(FilesError::Limit { what: "an inode or subvolume number", limit });
        }
        let subvolume = if self.subvolume == TOP_LEVEL { 0 } else { self.subvolume };
        if subvolume > MAX_SUBVOLUME {
            return Err(FilesError::Limit { what: "a subvolume number", limit: MAX_SUBVOLUME });
        }
        Ok(FileId(subvolume << SUBVOLUME_SHIFT | flag | number))
    }

    pub(super) fn unpack(id: FileId) -> Self {
        let subvolume = id.0 >> SUBVOLUME_SHIFT;
        let number = id.0 & MAX_INODE;
        let object = if id.0 & PLACEHOLDER == 0 { Object::Inode(number) } else { Object::Placeholder(number) };
        Self { subvolume: if subvolume == 0 { TOP_LEVEL } else { subvolume }, object }
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, MAX_INODE, MAX_SUBVOLUME, Object};
    use crate::files::FileId;

    #[test]
    fn identities_lead_back_to_subvolume_and_number() {
        for subvolume in [5, 256, 70_000, MAX_SUBVOLUME] {
            for object in [Object::Inode(256), Object::Inode(MAX_INODE), Object::Placeholder(257)] {
                let identity = Identity { subvolume, object };
                assert_eq!(Identity::unpack(identity.pack().unwrap()), identity);
            }
        }
    }

    #[test]
    fn files_of_the_top_level_keep_their_inode_numbers() {
        assert_eq!(Identity::of_inode(5, 300).pack().unwrap(), FileId(300));
        assert_ne!(Identity::of_inode(256, 300).pack().unwrap(), FileId(300));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert!(Identity::of_inode(5, MAX_INODE + 1).pack().is_err());
        assert!(Identity::of_inode(MAX_SUBVOLUME + 1, 256).pack().is_err());
        assert!(Identity { subvolume: 5, object: Object::Placeholder(MAX_SUBVOLUME + 1) }.pack().is_err());
    }
}
