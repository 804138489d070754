//! POSIX ACLs: from ext4's short form on disk to the form of the `system.posix_acl_*` attributes.

use crate::files::fields::Fields;
use crate::files::{FilesError, Result};

const DISK_VERSION: u32 = 1;
const XATTR_VERSION: u32 = 2;
const TAG_USER: u16 = 2;
const TAG_GROUP: u16 = 8;
/// The id of entries that name nobody.
const NO_ID: u32 = u32::MAX;

/// Converts one ACL; on disk only the entries of named users and groups have an id.
pub(super) fn to_xattr(disk: &[u8]) -> Result<Vec<u8>> {
    let f = Fields::new(disk, "access control list");
    if f.le32(0)? != DISK_VERSION {
        return Err(FilesError::corrupt("an access control list has an unknown version"));
    }
    let mut xattr = XATTR_VERSION.to_le_bytes().to_vec();
    let mut at = 4;
    while at < disk.len() {
        let tag = f.le16(at)?;
        xattr.extend_from_slice(f.slice(at, 4)?);
        at += 4;
        let id = if matches!(tag, TAG_USER | TAG_GROUP) {
            at += 4;
            f.le32(at - 4)?
        } else {
            NO_ID
        };
        xattr.extend_from_slice(&id.to_le_bytes());
    }
    Ok(xattr)
}

#[cfg(test)]
mod tests {
    use super::to_xattr;

    #[test]
    fn named_users_keep_their_id_and_others_get_none() {
        let disk = [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xE8, 3, 0, 0, 0x20, 0, 4, 0];
        let expected =
            [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xE8, 3, 0, 0, 0x20, 0, 4, 0, 255, 255, 255, 255];
        assert_eq!(to_xattr(&disk).unwrap(), expected);
    }

    #[test]
    fn a_list_that_ends_inside_an_entry_is_refused() {
        assert!(to_xattr(&[1, 0, 0, 0, 2, 0, 4, 0]).is_err());
        assert!(to_xattr(&[2, 0, 0, 0]).is_err());
    }
}
