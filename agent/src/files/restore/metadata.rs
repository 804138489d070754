//! Owner, attributes, mode and times of restored files, in the order in which they do not undo each other.
//!
//! Changing the owner clears set-user-id bits and writing clears capabilities, so the owner comes first; the mode
//! comes after the attributes because it may take away the right to set them; times come last. Each failure becomes a
//! message; nothing here ends a restore.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt;

use crate::files::{FileKind, FileSystem, Metadata, Timestamp, escape_name};

const SET_ID_BITS: u32 = 0o6000;
const ACL_NAMES: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// Removes ACLs that a new file got from the default ACL of the directory it was made in.
pub(super) fn forget_inherited_acls(file: &File) {
    for name in ACL_NAMES {
        // Most often there is none, and some file systems know no ACLs.
        let _ = file.remove_xattr(name);
    }
}

/// Metadata of a file or directory that is open; returns what could not be set.
pub(super) fn apply_to_open(file: &File, fs: &dyn FileSystem, metadata: &Metadata) -> Vec<String> {
    let mut messages = Messages::default();
    let owned = messages
        .try_errno("owner", || fchown(file, Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid))));
    messages.attributes(fs, metadata, |name, value| file.set_xattr(name, value));
    let mode = messages.mode(metadata, owned);
    messages.try_errno("mode", || fchmod(file, mode));
    messages.try_errno("times", || futimens(file, &time(metadata.accessed), &time(metadata.modified)));
    messages.0
}

/// Metadata of a link or special file `name` in `directory`, never of what a link leads to.
pub(super) fn apply_to_name(directory: &OwnedFd, name: &[u8], fs: &dyn FileSystem, metadata: &Metadata) -> Vec<String> {
    let mut messages = Messages::default();
    let owned = messages.try_errno("owner", || {
        let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
        fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
    });
    // There is no setxattrat before Linux 6.13; this path leads through the open directory to the same place.
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(OsStr::from_bytes(name));
    messages.attributes(fs, metadata, |name, value| xattr::set(&path, name, value));
    if metadata.kind != FileKind::Symlink {
        let mode = messages.mode(metadata, owned);
        messages.try_errno("mode", || fchmodat(directory, name, mode, FchmodatFlags::NoFollowSymlink));
    }
    messages.try_errno("times", || {
        let (accessed, modified) = (time(metadata.accessed), time(metadata.modified));
        utimensat(directory, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
    });
    messages.0
}

fn time(time: Timestamp) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanoseconds))
}

#[derive(Default)]
struct Messages(Vec<String>);

impl Messages {
    fn try_errno(&mut self, what: &str, set: impl FnOnce() -> nix::Result<()>) -> bool {
        match set() {
            Ok(()) => true,
            Err(errno) => {
                self.0.push(format!("cannot set its {what}: {}", errno.desc()));
                false
            }
        }
    }

    fn attributes(&mut self, fs: &dyn FileSystem, metadata: &Metadata, set: impl Fn(&OsStr, &[u8]) -> io::Result<()>) {
        let attributes = match fs.extended_attributes(metadata.id) {
            Ok(attributes) => attributes,
            Err(error) => {
                self.0.push(format!("cannot read its extended attributes: {error}"));
                return;
            }
        };
        for attribute in attributes {
            let name = OsStr::from_bytes(&attribute.name);
            if let Err(error) = set(name, &attribute.value) {
                self.0.push(format!("cannot set its attribute {}: {error}", escape_name(&attribute.name)));
            }
        }
        match fs.left_out(metadata.id) {
            Ok(left_out) => self.0.extend(left_out),
            Err(error) => self.0.push(format!("cannot tell whether anything of it was left out: {error}")),
        }
    }

    /// With another owner than before, a set-user-id program would serve the wrong user.
    fn mode(&mut self, metadata: &Metadata, owned: bool) -> Mode {
        let mut bits = metadata.permissions;
        if !owned && bits & SET_ID_BITS != 0 && metadata.kind == FileKind::Regular {
            bits &= !SET_ID_BITS;
            self.0.push("its set-user-id and set-group-id bits were dropped with the owner".to_owned());
        }
        Mode::from_bits_truncate(bits)
    }
}
