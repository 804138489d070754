//! POSIX ACLs: from the form on disk, a relic of IRIX, to the form of the `system.posix_acl_*` attributes.

use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const XATTR_VERSION: u32 = 2;
const TAG_USER: u32 = 2;
const TAG_GROUP: u32 = 8;
/// The id of entries that name nobody.
const NO_ID: u32 = u32::MAX;
const ENTRY_BYTES: usize = 12;

/// Converts one ACL: a count, and entries of tag, id and permissions.
pub(super) fn to_xattr(disk: &[u8]) -> Result<Vec<u8>> {
    let f = Fields::new(disk, "access control list");
    let count = f.be32(0)? as usize;
    if count.checked_mul(ENTRY_BYTES).and_then(|bytes| bytes.checked_add(4)).is_none_or(|bytes| bytes > disk.len()) {
        return Err(FilesError::corrupt("an access control list is cut short"));
    }
    let mut xattr = XATTR_VERSION.to_le_bytes().to_vec();
    for at in (4..4 + count * ENTRY_BYTES).step_by(ENTRY_BYTES) {
        let tag = f.be32(at)?;
        let short = u16::try_from(tag).map_err(|_| FilesError::corrupt("an access control list has an unknown tag"))?;
        let id = if matches!(tag, TAG_USER | TAG_GROUP) { f.be32(at + 4)? } else { NO_ID };
        xattr.extend_from_slice(&short.to_le_bytes());
        xattr.extend_from_slice(&f.be16(at + 8)?.to_le_bytes());
        xattr.extend_from_slice(&id.to_le_bytes());
    }
    Ok(xattr)
}

#[cfg(test)]
mod tests {
    use super::to_xattr;

    #[test]
    fn named_users_keep_their_id_and_others_get_none() {
        let disk = [
            0, 0, 0, 2, // two entries
            0, 0, 0, 1, 0, 0, 0, 9, 0, 6, 0, 0, // the owner
            0, 0, 0, 2, 0, 0, 3, 0xE8, 0, 4, 0, 0, // user 1000
        ];
        let expected = [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xE8, 3, 0, 0];
        assert_eq!(to_xattr(&disk).unwrap(), expected);
    }

    #[test]
    fn a_list_that_is_cut_short_or_has_odd_tags_is_refused() {
        assert!(to_xattr(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 0, 6, 0]).is_err());
        assert!(to_xattr(&[0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 9, 0, 6, 0, 0]).is_err());
        assert!(to_xattr(&[255, 255, 255, 255]).is_err());
        assert!(to_xattr(&[]).is_err());
    }
}
