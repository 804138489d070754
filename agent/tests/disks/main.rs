//! Files, mounts and exports of real disk images, compared with what the kernel and qemu-img say of them.
//!
//! Needs root, loop devices, /dev/fuse and the Debian packages e2fsprogs, xfsprogs, btrfs-progs, dosfstools, acl, attr and qemu-utils; each
//! test says so when something is missing.

#![expect(clippy::cast_possible_truncation, reason = "tests run on 64-bit machines with small numbers")]

mod export;
mod facts;
mod hostile;
mod images;
mod journal;
mod mount;
mod population;
mod readable;
mod restore;
mod truth;
