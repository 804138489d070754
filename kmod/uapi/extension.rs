// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note
//! Our additions to the interface. Their numbers begin at 64; the C module answers them with `ENOTTY`.
//!
//! Ask [`SNAPSHOT_FEATURES`] first and use what its bits name. How structures grow: a structure that the kernel fills
//! is cut to the caller's `optlen`, and the bytes filled are returned there; one that the kernel reads must have at
//! least the length of the first version, and bytes that the module does not know must be zero (else `E2BIG`).
//! Structures are the same for 32-bit programs: every `u64` lies at a multiple of eight.

use super::{CONTROL_TYPE, IMAGE_NAME_BYTES, Uuid, encoding};

/// `Features::version` of this file.
pub const EXTENSION_VERSION: u32 = 1;

/// `Features::bits`: [`CTL_TRACKER_INFO`] and [`CTL_CHANGED`].
pub const FEATURE_FINE_MAP: u64 = 1 << 0;
/// `Features::bits`: [`CTL_INTERVALS`].
pub const FEATURE_INTERVAL_IDS: u64 = 1 << 1;
/// `Features::bits`: [`CTL_STATISTICS`] and [`SNAPSHOT_STATISTICS`].
pub const FEATURE_STATISTICS: u64 = 1 << 2;
/// `Features::bits`: [`SNAPSHOT_CREATE_WITH`] and its [`CREATE_TIED_TO_FD`].
pub const FEATURE_TIED_SNAPSHOTS: u64 = 1 << 3;
/// `Features::bits`: [`SNAPSHOT_DEVICES`].
pub const FEATURE_SNAPSHOT_DEVICES: u64 = 1 << 4;

/// `FilterCtl::command`: facts about the tracker in full width, out [`TrackerInfo`].
pub const CTL_TRACKER_INFO: u32 = 64;
/// `FilterCtl::command`: ids of intervals, in and out [`IntervalQuery`].
pub const CTL_INTERVALS: u32 = 65;
/// `FilterCtl::command`: extents changed since a number, in and out [`ChangedQuery`].
pub const CTL_CHANGED: u32 = 66;
/// `FilterCtl::command`: counters of the device, out [`TrackerStatistics`].
pub const CTL_STATISTICS: u32 = 67;

/// Which additions there are.
pub const SNAPSHOT_FEATURES: u32 = encoding::read::<Features>(CONTROL_TYPE, 64);
/// Create a snapshot with flags.
pub const SNAPSHOT_CREATE_WITH: u32 = encoding::read_write::<SnapshotCreateWith>(CONTROL_TYPE, 65);
/// State and counters of a snapshot.
pub const SNAPSHOT_STATISTICS: u32 = encoding::read_write::<SnapshotStatistics>(CONTROL_TYPE, 66);
/// The devices of a snapshot.
pub const SNAPSHOT_DEVICES: u32 = encoding::read_write::<SnapshotDevices>(CONTROL_TYPE, 67);

/// `SnapshotCreateWith::flags`: closing the last descriptor of the control file that created it destroys the snapshot.
pub const CREATE_TIED_TO_FD: u64 = 1 << 0;

/// `TrackerInfo::flags`: memory was short, some regions are tracked as a whole. Too much is reported, never too little.
pub const TRACKER_COARSE: u32 = 1 << 0;
/// `TrackerInfo::flags`: writes may have been missed; the next TAKE begins a new generation.
pub const TRACKER_INVALID: u32 = 1 << 1;
/// `TrackerInfo::flags`: a snapshot holds the device.
pub const TRACKER_IN_SNAPSHOT: u32 = 1 << 2;

/// `SnapshotStatistics::state`: devices may be added.
pub const STATE_CREATED: u32 = 0;
/// `SnapshotStatistics::state`: images are there.
pub const STATE_TAKEN: u32 = 1;
/// `SnapshotStatistics::state`: an image is no longer true, see `error_code`.
pub const STATE_CORRUPTED: u32 = 2;

/// `SnapshotStatistics::flags`: made with [`CREATE_TIED_TO_FD`].
pub const SNAPSHOT_TIED: u32 = 1 << 0;
/// `SnapshotStatistics::flags`: the difference storage reached its limit and said so.
pub const SNAPSHOT_NO_SPACE: u32 = 1 << 1;

/// What [`SNAPSHOT_FEATURES`] fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// [`EXTENSION_VERSION`] of the module.
    pub version: u32,
    /// Zero.
    pub reserved: u32,
    /// `FEATURE_…`.
    pub bits: u64,
}

/// What [`CTL_TRACKER_INFO`] fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerInfo {
    /// Size of the device as tracked.
    pub capacity_bytes: u64,
    /// Bytes of a tracking block.
    pub block_bytes: u64,
    /// Tracking blocks of the device.
    pub block_count: u64,
    /// Unbroken tracking. Unlike `CbtInfo::generation` it survives the wrap of the one-byte numbers.
    pub generation: Uuid,
    /// The interval that the last TAKE ended; 0 before the first. A change after that TAKE has a greater number.
    pub number: u64,
    /// Changes since `oldest` or a later number are told apart exactly; for earlier ones more may be reported.
    pub oldest: u64,
    /// The generation that `CbtInfo` shows.
    pub window_generation: Uuid,
    /// A byte of `CbtMap` is the block's number minus this; 0 for blocks whose number is not above it.
    pub window_base: u64,
    /// Id of interval `number`.
    pub interval: Uuid,
    /// The oldest interval whose id is still kept.
    pub oldest_interval: u64,
    /// Memory that the maps use now.
    pub map_bytes: u64,
    /// `TRACKER_…`.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// Argument of [`CTL_INTERVALS`].
///
/// `ENOENT` when `first` is older than what is kept or was not taken yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct IntervalQuery {
    /// The first interval asked for.
    pub first: u64,
    /// User address of an array of [`Uuid`].
    pub ids: u64,
    /// Ids that fit there.
    pub capacity: u32,
    /// Out: ids written, of `first`, `first + 1` …
    pub filled: u32,
}

/// Argument of [`CTL_CHANGED`]. Ask again from `next_offset_bytes` until it is the end of the range.
///
/// `ESTALE` when generation or number are no longer the tracker's: a TAKE came between.
/// `EINVAL` when `since` is above `number`, the offset is beyond the end or the sum overflows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangedQuery {
    /// `TrackerInfo::generation` that the caller works with.
    pub generation: Uuid,
    /// `TrackerInfo::number` that the caller works with.
    pub number: u64,
    /// Blocks changed after the TAKE that ended interval `since`; 0 for all since tracking began.
    pub since: u64,
    /// Where to begin.
    pub offset_bytes: u64,
    /// How far to look; is cut at the end of the device.
    pub length_bytes: u64,
    /// User address of an array of [`Extent`].
    pub extents: u64,
    /// Extents that fit there; 0 is `EINVAL`.
    pub capacity: u32,
    /// Out: extents written, ascending, not touching each other, whole tracking blocks cut to the range.
    pub filled: u32,
    /// Out: up to here the answer is complete.
    pub next_offset_bytes: u64,
}

/// A range on a device in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset_bytes: u64,
    /// How many.
    pub length_bytes: u64,
}

/// Buckets of [`TrackerStatistics::delay_histogram`].
pub const DELAY_BUCKETS: usize = 32;

/// What [`CTL_STATISTICS`] fills: counted since the filter was attached. Counters are read one by one, not as one instant.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerStatistics {
    /// Requests that change data and were seen.
    pub writes: u64,
    /// Bytes that they cover.
    pub write_bytes: u64,
    /// Tracking blocks that they marked for the first time in their interval.
    pub marked_blocks: u64,
    /// Writes that waited for preservation or for a TAKE.
    pub delayed_writes: u64,
    /// How long they waited, together.
    pub delayed_ns: u64,
    /// Read from the device to be preserved.
    pub read_for_preservation_bytes: u64,
    /// Written to the difference storage for this device.
    pub preserved_bytes: u64,
    /// Read from the device's image.
    pub image_read_bytes: u64,
    /// Written to the device's image.
    pub image_write_bytes: u64,
    /// Memory of the changed-block maps now.
    pub map_bytes: u64,
    /// Memory of the chunk states now.
    pub chunk_map_bytes: u64,
    /// Regions tracked as a whole for lack of memory.
    pub coarse_regions: u64,
    /// Delays: bucket 0 counts those below 1 µs, bucket i those below 2^i µs, the last one all longer ones.
    pub delay_histogram: [u64; DELAY_BUCKETS],
}

/// Argument of [`SNAPSHOT_CREATE_WITH`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotCreateWith {
    /// The difference storage grows no further than this.
    pub limit_sectors: u64,
    /// User address of the path of a directory, regular file or block device, ended by a zero.
    pub path: u64,
    /// `CREATE_…`; unknown bits are `EINVAL`.
    pub flags: u64,
    /// Out: the new snapshot.
    pub id: Uuid,
}

/// Argument of [`SNAPSHOT_STATISTICS`]; `ESRCH` when there is no such snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotStatistics {
    /// In: the snapshot.
    pub id: Uuid,
    /// `STATE_…`.
    pub state: u32,
    /// 0, or the negative errno that spoiled it.
    pub error_code: i32,
    /// Devices in it.
    pub devices: u32,
    /// `SNAPSHOT_…` flags.
    pub flags: u32,
    /// When it was taken, nanoseconds since 1970; 0 before.
    pub taken_ns: i64,
    /// Limit of the difference storage.
    pub limit_sectors: u64,
    /// What the difference storage has now.
    pub capacity_sectors: u64,
    /// What of it is in use.
    pub used_sectors: u64,
    /// Chunks of which something is preserved.
    pub preserved_chunks: u64,
    /// Events that nobody fetched yet.
    pub pending_events: u32,
    /// Events dropped because nobody fetched them.
    pub dropped_events: u32,
}

/// Argument of [`SNAPSHOT_DEVICES`]; `ESRCH` when there is no such snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotDevices {
    /// In: the snapshot.
    pub id: Uuid,
    /// User address of an array of [`SnapshotDevice`], or 0 to ask only for the count.
    pub devices: u64,
    /// Devices that fit there.
    pub capacity: u32,
    /// Out: devices that the snapshot has; only `capacity` of them are written.
    pub count: u32,
}

/// A device of a snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotDevice {
    /// Major number of the original device.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// 0, or the negative errno that spoiled its image.
    pub error_code: i32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of a chunk, the unit in which overwritten data is kept.
    pub chunk_bytes: u64,
    /// Name of the image disk without `/dev/`, ended by a zero; empty before TAKE.
    pub image: [u8; IMAGE_NAME_BYTES],
}

const _: () = {
    use core::mem::{offset_of, size_of};

    assert!(size_of::<Features>() == 16 && offset_of!(Features, bits) == 8);
    assert!(size_of::<TrackerInfo>() == 120 && offset_of!(TrackerInfo, generation) == 24);
    assert!(offset_of!(TrackerInfo, number) == 40 && offset_of!(TrackerInfo, oldest) == 48);
    assert!(offset_of!(TrackerInfo, window_generation) == 56 && offset_of!(TrackerInfo, window_base) == 72);
    assert!(offset_of!(TrackerInfo, interval) == 80 && offset_of!(TrackerInfo, oldest_interval) == 96);
    assert!(offset_of!(TrackerInfo, map_bytes) == 104 && offset_of!(TrackerInfo, flags) == 112);
    assert!(size_of::<IntervalQuery>() == 24 && offset_of!(IntervalQuery, capacity) == 16);
    assert!(size_of::<ChangedQuery>() == 72 && offset_of!(ChangedQuery, since) == 24);
    assert!(offset_of!(ChangedQuery, extents) == 48 && offset_of!(ChangedQuery, next_offset_bytes) == 64);
    assert!(size_of::<Extent>() == 16);
    assert!(size_of::<TrackerStatistics>() == 96 + 8 * DELAY_BUCKETS);
    assert!(size_of::<SnapshotCreateWith>() == 40 && offset_of!(SnapshotCreateWith, id) == 24);
    assert!(size_of::<SnapshotStatistics>() == 80 && offset_of!(SnapshotStatistics, taken_ns) == 32);
    assert!(offset_of!(SnapshotStatistics, pending_events) == 72);
    assert!(size_of::<SnapshotDevices>() == 32 && offset_of!(SnapshotDevices, capacity) == 24);
    assert!(size_of::<SnapshotDevice>() == 56 && offset_of!(SnapshotDevice, image) == 24);
};

#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64", target_arch = "riscv64"))]
const _: () = {
    assert!(SNAPSHOT_FEATURES == 0x8010_5640 && SNAPSHOT_CREATE_WITH == 0xc028_5641);
    assert!(SNAPSHOT_STATISTICS == 0xc050_5642 && SNAPSHOT_DEVICES == 0xc020_5643);
};
