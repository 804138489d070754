//! Files, mounts and exports of real disk images, compared with what the kernel and qemu-img say of them.
//!
//! Needs root, loop devices, /dev/fuse and the Debian packages e2fsprogs, xfsprogs, btrfs-progs, dosfstools, ntfs-3g, wimtools, lvm2,
//! thin-provisioning-tools, acl, attr and qemu-utils; each test says so when something is missing.

#![expect(clippy::cast_possible_truncation, reason = "tests run on 64-bit machines with small numbers")]

mod btrfs_hostile;
mod btrfs_image;
mod btrfs_journal;
mod btrfs_truth;
mod export;
mod facts;
mod hostile;
mod images;
mod journal;
mod lvm_groups;
mod lvm_hostile;
mod lvm_made;
mod lvm_mirrors;
mod lvm_thin;
mod lvm_truth;
mod mount;
mod ntfs_edited;
mod ntfs_hostile;
mod ntfs_image;
mod ntfs_trees;
mod ntfs_truth;
mod ntfs_wof;
mod population;
mod readable;
mod restore;
mod truth;
mod xfs_hostile;
mod xfs_journal;
mod xfs_log;
mod xfs_made_log;
mod xfs_old;
mod xfs_truth;
