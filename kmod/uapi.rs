// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
//! The binary interface between user space and the module: ioctl numbers, structures, constants.
//!
//! It needs only `core` and compiles into the kernel module and, unchanged, into the agent. This file is the interface
//! of the blksnap patch series, byte for byte; our own additions are in [`extension`], spellings of 32-bit programs and
//! of older headers in [`compat`], module parameters in [`parameter`]. What the calls do is not decided here, see
//! `docs/kernel/`. Every structure has a fixed size (asserted below) and no hidden padding, so that copying one out can
//! leak nothing. Integers are in the processor's byte order, pointers of user space are `u64`.

#[path = "uapi/compat.rs"]
pub mod compat;
#[path = "uapi/extension.rs"]
pub mod extension;
#[path = "uapi/parameter.rs"]
pub mod parameter;

/// How an ioctl number says its direction and size; a few processors have their own way.
mod encoding {
    /// (bits of the size, user space reads, user space writes).
    #[cfg(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64"
    ))]
    const OF_THIS_PROCESSOR: (u32, u32, u32) = (13, 2, 4);
    /// (bits of the size, user space reads, user space writes).
    #[cfg(not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64"
    )))]
    const OF_THIS_PROCESSOR: (u32, u32, u32) = (14, 2, 1);

    const fn number(direction: u32, kind: u8, number: u8, size_bytes: usize) -> u32 {
        assert!(size_bytes < 1 << OF_THIS_PROCESSOR.0);
        let low = size_bytes.to_le_bytes();
        let size = u32::from_le_bytes([low[0], low[1], 0, 0]);
        (direction << (16 + OF_THIS_PROCESSOR.0)) | (size << 16) | ((kind as u32) << 8) | number as u32
    }

    /// `_IOR`: the kernel fills the structure.
    pub const fn read<T>(kind: u8, call: u8) -> u32 {
        number(OF_THIS_PROCESSOR.1, kind, call, core::mem::size_of::<T>())
    }

    /// `_IOW`: the kernel reads the structure.
    pub const fn write<T>(kind: u8, call: u8) -> u32 {
        number(OF_THIS_PROCESSOR.2, kind, call, core::mem::size_of::<T>())
    }

    /// `_IOWR`: both.
    pub const fn read_write<T>(kind: u8, call: u8) -> u32 {
        number(OF_THIS_PROCESSOR.1 | OF_THIS_PROCESSOR.2, kind, call, core::mem::size_of::<T>())
    }
}

/// A sector of this interface is always 512 bytes, whatever the disk's are.
pub const SECTOR_BYTES: u64 = 512;
/// Room for a filter's name, the terminating zero included.
pub const FILTER_NAME_BYTES: usize = 32;
/// Room for the name of an image disk, the terminating zero included.
pub const IMAGE_NAME_BYTES: usize = 32;
/// The name under which the tracker registers as a filter.
pub const FILTER_NAME: [u8; FILTER_NAME_BYTES] = padded(b"blksnap");
/// The control device.
pub const CONTROL_PATH: &str = "/dev/blksnap-control";
/// Version that `VERSION` answers: major, minor, revision, build.
pub const VERSION: Version = Version { major: 2, minor: 0, revision: 0, build: 0 };

/// Type byte of the calls on a block device.
pub const FILTER_TYPE: u8 = 0x12;
/// Type byte of the calls on the control device.
pub const CONTROL_TYPE: u8 = b'V';

/// Attach a filter to a block device.
pub const BLKFILTER_ATTACH: u32 = encoding::read_write::<FilterAttach>(FILTER_TYPE, 142);
/// Detach the filter from a block device.
pub const BLKFILTER_DETACH: u32 = encoding::read_write::<FilterName>(FILTER_TYPE, 143);
/// Send a command to the filter of a block device.
pub const BLKFILTER_CTL: u32 = encoding::read_write::<FilterCtl>(FILTER_TYPE, 144);

/// Read the module's version.
pub const SNAPSHOT_VERSION: u32 = encoding::read::<Version>(CONTROL_TYPE, 0);
/// Create an empty snapshot with its difference storage.
pub const SNAPSHOT_CREATE: u32 = encoding::read_write::<SnapshotCreate>(CONTROL_TYPE, 1);
/// Destroy a snapshot.
pub const SNAPSHOT_DESTROY: u32 = encoding::write::<Uuid>(CONTROL_TYPE, 2);
/// Take the snapshot: one instant for all its devices.
pub const SNAPSHOT_TAKE: u32 = encoding::write::<Uuid>(CONTROL_TYPE, 3);
/// List the ids of all snapshots.
pub const SNAPSHOT_COLLECT: u32 = encoding::read::<SnapshotCollect>(CONTROL_TYPE, 4);
/// Wait for an event of a snapshot.
pub const SNAPSHOT_WAIT_EVENT: u32 = encoding::read::<SnapshotEvent>(CONTROL_TYPE, 5);

/// `FilterCtl::command`: facts about the tracker, out [`CbtInfo`].
pub const CTL_CBTINFO: u32 = 0;
/// `FilterCtl::command`: bytes of the map, in [`CbtMap`].
pub const CTL_CBTMAP: u32 = 1;
/// `FilterCtl::command`: mark ranges as changed, in [`CbtDirty`].
pub const CTL_CBTDIRTY: u32 = 2;
/// `FilterCtl::command`: add the device to a snapshot, in [`Uuid`].
pub const CTL_SNAPSHOTADD: u32 = 3;
/// `FilterCtl::command`: the device's part of its snapshot, out [`SnapshotInfo`].
pub const CTL_SNAPSHOTINFO: u32 = 4;

/// `SnapshotEvent::code`: the snapshot's image is no longer true, [`EventCorrupted`].
pub const EVENT_CORRUPTED: u32 = 0;
/// `SnapshotEvent::code`: the difference storage is nearly full and at its limit, [`EventNoSpace`].
pub const EVENT_NO_SPACE: u32 = 1;

/// A random id: of a generation, an interval or a snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uuid {
    /// Its bytes in the order in which they are written.
    pub bytes: [u8; 16],
}

/// Argument of [`BLKFILTER_ATTACH`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FilterAttach {
    /// Name of the filter, ended by a zero.
    pub name: [u8; FILTER_NAME_BYTES],
    /// User address of the filter's own options; `blksnap` has none.
    pub opt: u64,
    /// Bytes at `opt`.
    pub optlen: u32,
    /// Zero.
    pub reserved: u32,
}

/// Argument of [`BLKFILTER_DETACH`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FilterName {
    /// Name of the filter, ended by a zero.
    pub name: [u8; FILTER_NAME_BYTES],
}

/// Argument of [`BLKFILTER_CTL`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FilterCtl {
    /// Name of the filter, ended by a zero.
    pub name: [u8; FILTER_NAME_BYTES],
    /// One of `CTL_…`.
    pub command: u32,
    /// In: bytes at `opt`. Out: bytes of it that the command used or filled.
    pub optlen: u32,
    /// User address of the command's structure.
    pub opt: u64,
}

/// What [`CTL_CBTINFO`] fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CbtInfo {
    /// Size of the device in bytes, as tracked.
    pub capacity_bytes: u64,
    /// Bytes of a tracking block.
    pub block_size: u32,
    /// Number of tracking blocks = bytes of the map.
    pub block_count: u32,
    /// Changes whenever the map cannot be compared with older ones.
    pub generation: Uuid,
    /// Number of the interval that the last TAKE ended; 0 before the first.
    pub changes_number: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Argument of [`CTL_CBTMAP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CbtMap {
    /// First byte of the map, that is: first tracking block.
    pub offset: u32,
    /// How many bytes.
    pub length: u32,
    /// User address where they go.
    pub buffer: u64,
}

/// A range on a device in sectors.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sectors {
    /// First sector.
    pub offset_sectors: u64,
    /// How many.
    pub count_sectors: u64,
}

/// Argument of [`CTL_CBTDIRTY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CbtDirty {
    /// Number of ranges.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
    /// User address of `count` times [`Sectors`].
    pub ranges: u64,
}

/// What [`CTL_SNAPSHOTINFO`] fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotInfo {
    /// 0, or the negative errno that spoiled the snapshot.
    pub error_code: i32,
    /// Name of the image disk without `/dev/`, ended by a zero; empty before TAKE.
    pub image: [u8; IMAGE_NAME_BYTES],
}

/// What [`SNAPSHOT_VERSION`] fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Changes with the interface.
    pub major: u16,
    /// Changes with additions.
    pub minor: u16,
    /// Changes with corrections.
    pub revision: u16,
    /// Build number.
    pub build: u16,
}

/// Argument of [`SNAPSHOT_CREATE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotCreate {
    /// The difference storage grows no further than this.
    pub limit_sectors: u64,
    /// User address of the path of a directory, regular file or block device, ended by a zero.
    pub path: u64,
    /// Out: the new snapshot.
    pub id: Uuid,
}

/// Argument of [`SNAPSHOT_COLLECT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotCollect {
    /// In: ids that fit at `ids`. Out: snapshots that there are.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
    /// User address of an array of [`Uuid`], or 0 to ask only for the count.
    pub ids: u64,
}

/// Bytes of an event's own data.
pub const EVENT_DATA_BYTES: usize = 4096 - 32;

/// Argument of [`SNAPSHOT_WAIT_EVENT`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SnapshotEvent {
    /// In: the snapshot.
    pub id: Uuid,
    /// In: how long to wait, in milliseconds.
    pub timeout_ms: u32,
    /// Out: one of `EVENT_…`.
    pub code: u32,
    /// Out: when it happened, nanoseconds since 1970.
    pub time_ns: i64,
    /// Out: [`EventCorrupted`] or [`EventNoSpace`], then zeroes.
    pub data: [u8; EVENT_DATA_BYTES],
}

/// Data of [`EVENT_CORRUPTED`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCorrupted {
    /// Major number of the original device.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Why, as a positive errno.
    pub errno: i32,
}

/// Data of [`EVENT_NO_SPACE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventNoSpace {
    /// How much more the difference storage would need.
    pub requested_sectors: u64,
}

/// A name padded with zeroes to the length of the interface.
const fn padded(name: &[u8]) -> [u8; FILTER_NAME_BYTES] {
    assert!(name.len() < FILTER_NAME_BYTES);
    let mut bytes = [0; FILTER_NAME_BYTES];
    let mut at = 0;
    while at < name.len() {
        bytes[at] = name[at];
        at += 1;
    }
    bytes
}

/// Sizes, offsets and numbers as the C headers have them.
const _: () = {
    use core::mem::{offset_of, size_of};

    assert!(size_of::<FilterAttach>() == 48 && offset_of!(FilterAttach, opt) == 32);
    assert!(offset_of!(FilterAttach, optlen) == 40);
    assert!(size_of::<FilterName>() == 32);
    assert!(size_of::<FilterCtl>() == 48 && offset_of!(FilterCtl, command) == 32);
    assert!(offset_of!(FilterCtl, optlen) == 36 && offset_of!(FilterCtl, opt) == 40);
    assert!(size_of::<CbtInfo>() == 40 && offset_of!(CbtInfo, block_size) == 8);
    assert!(offset_of!(CbtInfo, block_count) == 12 && offset_of!(CbtInfo, generation) == 16);
    assert!(offset_of!(CbtInfo, changes_number) == 32);
    assert!(size_of::<CbtMap>() == 16 && offset_of!(CbtMap, length) == 4 && offset_of!(CbtMap, buffer) == 8);
    assert!(size_of::<Sectors>() == 16 && offset_of!(Sectors, count_sectors) == 8);
    assert!(size_of::<CbtDirty>() == 16 && offset_of!(CbtDirty, ranges) == 8);
    assert!(size_of::<Uuid>() == 16);
    assert!(size_of::<SnapshotInfo>() == 36 && offset_of!(SnapshotInfo, image) == 4);
    assert!(size_of::<Version>() == 8);
    assert!(size_of::<SnapshotCreate>() == 32 && offset_of!(SnapshotCreate, path) == 8);
    assert!(offset_of!(SnapshotCreate, id) == 16);
    assert!(size_of::<SnapshotCollect>() == 16 && offset_of!(SnapshotCollect, ids) == 8);
    assert!(size_of::<SnapshotEvent>() == 4096 && offset_of!(SnapshotEvent, timeout_ms) == 16);
    assert!(offset_of!(SnapshotEvent, code) == 20 && offset_of!(SnapshotEvent, time_ns) == 24);
    assert!(offset_of!(SnapshotEvent, data) == 32);
    assert!(size_of::<EventCorrupted>() == 12 && size_of::<EventNoSpace>() == 8);
};

/// The numbers on the processors that encode them the usual way.
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "riscv64"))]
const _: () = {
    assert!(BLKFILTER_ATTACH == 0xc030_128e && BLKFILTER_DETACH == 0xc020_128f && BLKFILTER_CTL == 0xc030_1290);
    assert!(SNAPSHOT_VERSION == 0x8008_5600 && SNAPSHOT_CREATE == 0xc020_5601 && SNAPSHOT_DESTROY == 0x4010_5602);
    assert!(SNAPSHOT_TAKE == 0x4010_5603 && SNAPSHOT_COLLECT == 0x8010_5604 && SNAPSHOT_WAIT_EVENT == 0x9000_5605);
};
