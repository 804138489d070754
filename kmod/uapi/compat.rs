// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
//! Other spellings of the interface: 32-bit programs, and headers older than the numbers of [`super`].
//!
//! A 32-bit x86 program aligns `u64` to four bytes, so some structures are shorter there and two ioctl numbers differ.
//! The older headers used numbers 140–142 and gave the difference storage as a file descriptor; they are spoken only
//! when the module is loaded with `abi=1`, because two of their numbers mean something else today.

use super::{CONTROL_TYPE, FILTER_NAME_BYTES, FILTER_TYPE, FilterCtl, FilterName, Sectors, Uuid, encoding};

/// [`super::FilterAttach`] of a 32-bit program.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default)]
pub struct FilterAttach32 {
    /// Name of the filter, ended by a zero.
    pub name: [u8; FILTER_NAME_BYTES],
    /// User address of the filter's own options.
    pub opt: u64,
    /// Bytes at `opt`.
    pub optlen: u32,
}

/// [`super::CbtInfo`] of a 32-bit program: the same with a shorter tail.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default)]
pub struct CbtInfo32 {
    /// Size of the device in bytes.
    pub capacity_bytes: u64,
    /// Bytes of a tracking block.
    pub block_size: u32,
    /// Number of tracking blocks.
    pub block_count: u32,
    /// Generation of the map.
    pub generation: Uuid,
    /// Number of the interval that the last TAKE ended.
    pub changes_number: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// [`super::CbtDirty`] of a 32-bit program.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default)]
pub struct CbtDirty32 {
    /// Number of ranges.
    pub count: u32,
    /// User address of `count` times [`Sectors`].
    pub ranges: u64,
}

/// [`super::SnapshotCollect`] of a 32-bit program.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotCollect32 {
    /// In: ids that fit. Out: snapshots that there are.
    pub count: u32,
    /// User address of an array of [`Uuid`], or 0.
    pub ids: u64,
}

/// Argument of `SNAPSHOT_CREATE` with `abi=1`; the number is the same as today's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotCreateByFd {
    /// The difference storage grows no further than this.
    pub limit_sectors: u64,
    /// Open file or block device.
    pub fd: u32,
    /// Out: the new snapshot.
    pub id: Uuid,
    /// Zero.
    pub reserved: u32,
}

/// `BLKFILTER_ATTACH` of a 32-bit program.
pub const BLKFILTER_ATTACH_32: u32 = encoding::read_write::<FilterAttach32>(FILTER_TYPE, 142);
/// `SNAPSHOT_COLLECT` of a 32-bit program.
pub const SNAPSHOT_COLLECT_32: u32 = encoding::read::<SnapshotCollect32>(CONTROL_TYPE, 4);

/// `BLKFILTER_ATTACH` with `abi=1`.
pub const OLD_BLKFILTER_ATTACH: u32 = encoding::read_write::<FilterName>(FILTER_TYPE, 140);
/// `BLKFILTER_DETACH` with `abi=1`.
pub const OLD_BLKFILTER_DETACH: u32 = encoding::read_write::<FilterName>(FILTER_TYPE, 141);
/// `BLKFILTER_CTL` with `abi=1`: the number of today's ATTACH.
pub const OLD_BLKFILTER_CTL: u32 = encoding::read_write::<FilterCtl>(FILTER_TYPE, 142);

const _: () = {
    use core::mem::{offset_of, size_of};

    assert!(size_of::<FilterAttach32>() == 44 && offset_of!(FilterAttach32, optlen) == 40);
    assert!(size_of::<CbtInfo32>() == 36 && offset_of!(CbtInfo32, changes_number) == 32);
    assert!(size_of::<CbtDirty32>() == 12 && offset_of!(CbtDirty32, ranges) == 4);
    assert!(size_of::<SnapshotCollect32>() == 12 && offset_of!(SnapshotCollect32, ids) == 4);
    assert!(size_of::<SnapshotCreateByFd>() == 32 && offset_of!(SnapshotCreateByFd, id) == 12);
    // The ranges themselves are the same for everybody.
    assert!(size_of::<Sectors>() == 16);
    assert!(OLD_BLKFILTER_CTL == super::BLKFILTER_ATTACH);
};

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
const _: () = {
    assert!(BLKFILTER_ATTACH_32 == 0xc02c_128e && SNAPSHOT_COLLECT_32 == 0x800c_5604);
    assert!(OLD_BLKFILTER_ATTACH == 0xc020_128c && OLD_BLKFILTER_DETACH == 0xc020_128d);
};
