//! Which ext2, ext3 and ext4 this reader understands, and what their features mean for it. The geometry is
//! [`crate::facts::ext4_superblock`]'s.

pub(super) use crate::facts::ext4_superblock::{LENGTH_BYTES, OFFSET_BYTES, Superblock, has_magic};

use crate::facts::ext4_superblock::{compat, incompat, incompat_of, ro_compat};
use crate::files::{FilesError, Result};

const INCOMPAT_KNOWN: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::WIDE
    | incompat::MMP
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;
const INCOMPAT_NAMES: [(u32, &str); 3] =
    [(0x1, "compression"), (0x8, "an external journal device"), (incompat::DIRDATA, "dirdata")];

/// Takes over the bytes at [`OFFSET_BYTES`] when this reader knows what they say.
pub(super) fn parse(bytes: &[u8]) -> Result<Superblock> {
    if !has_magic(bytes) {
        return Err(FilesError::NotRecognised);
    }
    refuse_unknown(incompat_of(bytes))?;
    Superblock::parse(bytes).map_err(|what| FilesError::corrupt(format!("superblock {what}")))
}

fn refuse_unknown(incompat: u32) -> Result<()> {
    let unknown = incompat & !INCOMPAT_KNOWN;
    if unknown == 0 {
        return Ok(());
    }
    let named = INCOMPAT_NAMES.iter().find(|(bit, _)| unknown & bit != 0).map(|(_, name)| (*name).to_owned());
    let feature = named.unwrap_or_else(|| format!("the unknown feature bits {unknown:#x}"));
    Err(FilesError::Unsupported { file_system: "ext4", feature })
}

impl Superblock {
    pub(super) fn has_file_types(&self) -> bool {
        self.incompat & incompat::FILETYPE != 0
    }

    pub(super) fn needs_recovery(&self) -> bool {
        self.incompat & incompat::RECOVER != 0
    }

    pub(super) fn has_huge_files(&self) -> bool {
        self.ro_compat & ro_compat::HUGE_FILE != 0
    }

    pub(super) fn has_large_directories(&self) -> bool {
        self.incompat & incompat::LARGEDIR != 0
    }

    /// ext2 has no journal, ext3 no extents or other newer features.
    pub(super) fn family(&self) -> &'static str {
        const NEWER: u32 = !(incompat::FILETYPE | incompat::RECOVER | incompat::META_BG);
        // sparse_super, large_file and btree_dir are all that ext2 and ext3 know.
        if self.incompat & NEWER != 0 || self.ro_compat & !0x7 != 0 {
            "ext4"
        } else if self.compat & compat::HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }
}
