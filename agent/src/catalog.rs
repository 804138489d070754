//! Catalogs of recovery points: made by walking through their file systems ([`make`]), searched by name ([`search`]).
//!
//! What a catalog is and where it lies is `repo_format::catalog`. The names in it come from untrusted file systems; the process that reads
//! those is [`crate::files::confined`].

pub mod make;
pub mod missing;
pub mod pattern;
pub mod search;
pub mod shelf;

use repo_format::catalog::leaf::Kind;

/// What a file is, by the name that listings and the API have for it; none where it is damaged.
pub fn kind_name(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Damaged => return None,
        Kind::Regular => "regular",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::CharDevice => "char_device",
        Kind::BlockDevice => "block_device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    })
}
