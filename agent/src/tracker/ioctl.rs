//! The calls themselves: the agent's only unsafe code.
//!
//! Each function is one ioctl with the structure that belongs to its number. A structure that points to a buffer is made here
//! from a slice, so that address and length cannot disagree.

use super::uapi::extension::{
    CTL_CHANGED, CTL_INTERVALS, ChangedQuery, Extent, Features, IntervalQuery, SNAPSHOT_CREATE_WITH, SNAPSHOT_DEVICES,
    SNAPSHOT_FEATURES, SNAPSHOT_STATISTICS, SnapshotCreateWith, SnapshotDevice, SnapshotDevices, SnapshotStatistics,
};
use super::uapi::{
    self, CTL_CBTDIRTY, CTL_CBTMAP, CbtDirty, CbtMap, FILTER_NAME, FilterAttach, FilterCtl, FilterName, Sectors,
    SnapshotCollect, SnapshotCreate, SnapshotEvent, Uuid, Version,
};
use nix::errno::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;

/// One ioctl.
///
/// # Safety
///
/// `T` is the structure that belongs to `number`, and every address in it is 0 or that of memory of this process that stays
/// valid during the call, for as many bytes as the structure says, writable where the call writes.
unsafe fn call<T>(file: &File, number: u32, argument: &mut T) -> Result<(), Errno> {
    let pointer: *mut T = argument;
    // SAFETY: `file` is open, `pointer` is valid for a `T`; the rest is the caller's promise.
    let result = unsafe { nix::libc::ioctl(file.as_raw_fd(), number as nix::libc::Ioctl, pointer) };
    Errno::result(result).map(drop)
}

/// One command to the filter of a device. Returns the bytes that the module used or filled of `argument`.
///
/// # Safety
///
/// As for [`call`], with `T` belonging to `command`.
unsafe fn command<T>(device: &File, command: u32, argument: &mut T) -> Result<usize, Errno> {
    let optlen = u32::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)?;
    let pointer: *mut T = argument;
    let mut ctl = FilterCtl { name: FILTER_NAME, command, optlen, opt: address(pointer) };
    // SAFETY: `opt` and `optlen` are those of `argument`; what `argument` points to is the caller's promise.
    unsafe { call(device, uapi::BLKFILTER_CTL, &mut ctl) }?;
    Ok(ctl.optlen as usize)
}

fn address<T: ?Sized>(pointer: *mut T) -> u64 {
    pointer.cast::<u8>().expose_provenance() as u64
}

fn length<T>(slice: &[T]) -> Result<u32, Errno> {
    u32::try_from(slice.len()).map_err(|_| Errno::EINVAL)
}

pub(super) fn attach(device: &File) -> Result<(), Errno> {
    let mut argument = FilterAttach { name: FILTER_NAME, ..FilterAttach::default() };
    // SAFETY: ATTACH takes a `FilterAttach`; its only address is 0.
    unsafe { call(device, uapi::BLKFILTER_ATTACH, &mut argument) }
}

pub(super) fn detach(device: &File) -> Result<(), Errno> {
    let mut argument = FilterName { name: FILTER_NAME };
    // SAFETY: DETACH takes a `FilterName`, which holds no address.
    unsafe { call(device, uapi::BLKFILTER_DETACH, &mut argument) }
}

/// What a command can fill that only holds numbers: any bytes are a value, and there is no address in it.
pub(super) trait Plain: Default {
    /// The command that fills it.
    const COMMAND: u32;
}

impl Plain for uapi::CbtInfo {
    const COMMAND: u32 = uapi::CTL_CBTINFO;
}
impl Plain for uapi::SnapshotInfo {
    const COMMAND: u32 = uapi::CTL_SNAPSHOTINFO;
}
impl Plain for uapi::extension::TrackerInfo {
    const COMMAND: u32 = uapi::extension::CTL_TRACKER_INFO;
}
impl Plain for uapi::extension::TrackerStatistics {
    const COMMAND: u32 = uapi::extension::CTL_STATISTICS;
}

/// Asks a filter for a structure. What an older module does not fill stays zero.
pub(super) fn get<T: Plain>(device: &File) -> Result<T, Errno> {
    let mut answer = T::default();
    // SAFETY: `T` belongs to `T::COMMAND` and holds no address (`Plain`).
    unsafe { command(device, T::COMMAND, &mut answer) }?;
    Ok(answer)
}

pub(super) fn cbt_map(device: &File, offset: u32, bytes: &mut [u8]) -> Result<(), Errno> {
    let mut argument = CbtMap { offset, length: length(bytes)?, buffer: address(bytes.as_mut_ptr()) };
    // SAFETY: CBTMAP takes a `CbtMap` and fills up to `length` bytes at `buffer`, which are those of `bytes`.
    unsafe { command(device, CTL_CBTMAP, &mut argument) }.map(drop)
}

pub(super) fn mark_dirty(device: &File, ranges: &[Sectors]) -> Result<(), Errno> {
    let count = length(ranges)?;
    let mut argument = CbtDirty { count, ranges: address(ranges.as_ptr().cast_mut()), ..CbtDirty::default() };
    // SAFETY: CBTDIRTY takes a `CbtDirty` and only reads `count` ranges there.
    unsafe { command(device, CTL_CBTDIRTY, &mut argument) }.map(drop)
}

pub(super) fn interval(device: &File, first: u64) -> Result<Uuid, Errno> {
    let mut id = [Uuid::default()];
    let mut argument = IntervalQuery { first, ids: address(id.as_mut_ptr()), capacity: 1, filled: 0 };
    // SAFETY: INTERVALS takes an `IntervalQuery` and fills up to `capacity` ids, of which there is room for one.
    unsafe { command(device, CTL_INTERVALS, &mut argument) }?;
    Ok(id[0])
}

pub(super) fn changed(device: &File, mut query: ChangedQuery, extents: &mut [Extent]) -> Result<ChangedQuery, Errno> {
    query.capacity = length(extents)?;
    query.extents = address(extents.as_mut_ptr());
    // SAFETY: CHANGED takes a `ChangedQuery` and fills up to `capacity` extents, which are those of `extents`.
    unsafe { command(device, CTL_CHANGED, &mut query) }?;
    query.extents = 0;
    Ok(query)
}

pub(super) fn snapshot_add(device: &File, snapshot: Uuid) -> Result<(), Errno> {
    let mut argument = snapshot;
    // SAFETY: SNAPSHOTADD takes a `Uuid`, which holds no address.
    unsafe { command(device, uapi::CTL_SNAPSHOTADD, &mut argument) }.map(drop)
}

pub(super) fn version(control: &File) -> Result<Version, Errno> {
    let mut answer = Version::default();
    // SAFETY: VERSION fills a `Version`.
    unsafe { call(control, uapi::SNAPSHOT_VERSION, &mut answer) }?;
    Ok(answer)
}

pub(super) fn features(control: &File) -> Result<Features, Errno> {
    let mut answer = Features::default();
    // SAFETY: FEATURES fills a `Features`.
    unsafe { call(control, SNAPSHOT_FEATURES, &mut answer) }?;
    Ok(answer)
}

pub(super) fn create(control: &File, limit_sectors: u64, path: &CStr) -> Result<Uuid, Errno> {
    let path = address(path.as_ptr().cast_mut());
    let mut argument = SnapshotCreate { limit_sectors, path, ..SnapshotCreate::default() };
    // SAFETY: CREATE takes a `SnapshotCreate`; it reads `path` up to the zero that a `CStr` has.
    unsafe { call(control, uapi::SNAPSHOT_CREATE, &mut argument) }?;
    Ok(argument.id)
}

pub(super) fn create_with(control: &File, limit_sectors: u64, path: &CStr, flags: u64) -> Result<Uuid, Errno> {
    let path = address(path.as_ptr().cast_mut());
    let mut argument = SnapshotCreateWith { limit_sectors, path, flags, id: Uuid::default() };
    // SAFETY: CREATE_WITH takes a `SnapshotCreateWith`; it reads `path` up to the zero that a `CStr` has.
    unsafe { call(control, SNAPSHOT_CREATE_WITH, &mut argument) }?;
    Ok(argument.id)
}

pub(super) fn destroy(control: &File, mut snapshot: Uuid) -> Result<(), Errno> {
    // SAFETY: DESTROY takes a `Uuid`.
    unsafe { call(control, uapi::SNAPSHOT_DESTROY, &mut snapshot) }
}

pub(super) fn take(control: &File, mut snapshot: Uuid) -> Result<(), Errno> {
    // SAFETY: TAKE takes a `Uuid`.
    unsafe { call(control, uapi::SNAPSHOT_TAKE, &mut snapshot) }
}

/// How many snapshots there are; the first of them are in `ids`.
pub(super) fn collect(control: &File, ids: &mut [Uuid]) -> Result<u32, Errno> {
    let place = if ids.is_empty() { 0 } else { address(ids.as_mut_ptr()) };
    let mut argument = SnapshotCollect { count: length(ids)?, reserved: 0, ids: place };
    // SAFETY: COLLECT takes a `SnapshotCollect` and fills up to `count` ids, which are those of `ids`, or none at 0.
    unsafe { call(control, uapi::SNAPSHOT_COLLECT, &mut argument) }?;
    Ok(argument.count)
}

pub(super) fn wait_event(control: &File, event: &mut SnapshotEvent) -> Result<(), Errno> {
    // SAFETY: WAIT_EVENT takes and fills a `SnapshotEvent`.
    unsafe { call(control, uapi::SNAPSHOT_WAIT_EVENT, event) }
}

pub(super) fn snapshot_statistics(control: &File, snapshot: Uuid) -> Result<SnapshotStatistics, Errno> {
    let mut argument = SnapshotStatistics { id: snapshot, ..SnapshotStatistics::default() };
    // SAFETY: STATISTICS takes and fills a `SnapshotStatistics`.
    unsafe { call(control, SNAPSHOT_STATISTICS, &mut argument) }?;
    Ok(argument)
}

/// How many devices the snapshot has; the first of them are in `devices`.
pub(super) fn snapshot_devices(control: &File, snapshot: Uuid, devices: &mut [SnapshotDevice]) -> Result<u32, Errno> {
    let place = if devices.is_empty() { 0 } else { address(devices.as_mut_ptr()) };
    let mut argument = SnapshotDevices { id: snapshot, devices: place, capacity: length(devices)?, count: 0 };
    // SAFETY: DEVICES takes a `SnapshotDevices` and fills up to `capacity` devices, which are those of `devices`.
    unsafe { call(control, SNAPSHOT_DEVICES, &mut argument) }?;
    Ok(argument.count)
}
