//! The one place that makes the module's system calls. Everything that points somewhere is checked here by its type.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;

use kmod_logic::uapi::extension::{
    CTL_CHANGED, CTL_INTERVALS, ChangedQuery, Extent, Features, IntervalQuery, SNAPSHOT_CREATE_WITH, SNAPSHOT_DEVICES,
    SNAPSHOT_FEATURES, SNAPSHOT_STATISTICS, SnapshotCreateWith, SnapshotDevice, SnapshotDevices, SnapshotStatistics,
    TrackerInfo, TrackerStatistics,
};
use kmod_logic::uapi::{
    BLKFILTER_ATTACH, BLKFILTER_CTL, BLKFILTER_DETACH, CTL_CBTDIRTY, CTL_CBTINFO, CTL_CBTMAP, CTL_SNAPSHOTINFO,
    CbtDirty, CbtInfo, CbtMap, FILTER_NAME, FilterAttach, FilterCtl, FilterName, SNAPSHOT_COLLECT, SNAPSHOT_CREATE,
    SNAPSHOT_DESTROY, SNAPSHOT_TAKE, SNAPSHOT_VERSION, SNAPSHOT_WAIT_EVENT, Sectors, SnapshotCollect, SnapshotCreate,
    SnapshotEvent, SnapshotInfo, Uuid, Version,
};

/// A structure of the interface: plain integers and arrays, for which every bit pattern is a value.
///
/// # Safety
/// The type is `repr(C)`, has no padding and holds no references.
pub unsafe trait Plain: Sized {}

macro_rules! plain {
    ($($kind:ty),* $(,)?) => {
        $(
            // SAFETY: `uapi.rs` asserts the size of each at compile time and promises that there is no padding.
            unsafe impl Plain for $kind {}
        )*
    };
}

plain!(CbtInfo, SnapshotInfo, Uuid, TrackerInfo, TrackerStatistics);

/// Any call whose argument is a structure of exactly the size that the number encodes.
fn call<T>(file: &File, request: u32, argument: &mut T) -> nix::Result<()> {
    assert_eq!((request >> 16) & 0x3fff, u32::try_from(size_of::<T>()).unwrap_or(0), "the wrong structure");
    // SAFETY: the kernel reads and writes at most the bytes that the number encodes, which are those of `argument`;
    // addresses inside of it point to memory that the callers below own for the length of the call.
    let result = unsafe { nix::libc::ioctl(file.as_raw_fd(), request.into(), std::ptr::from_mut(argument)) };
    nix::Error::result(result).map(drop)
}

/// A call whose argument is an address that nobody may read or write.
pub fn call_with_bad_address(file: &File, request: u32) -> nix::Result<()> {
    // SAFETY: the first page is never mapped, so the kernel can only answer EFAULT or refuse before it looks.
    let result = unsafe { nix::libc::ioctl(file.as_raw_fd(), request.into(), 8) };
    nix::Error::result(result).map(drop)
}

/// ATTACH of the filter of this name.
pub fn attach(device: &File, name: [u8; 32]) -> nix::Result<()> {
    call(device, BLKFILTER_ATTACH, &mut FilterAttach { name, ..FilterAttach::default() })
}

/// DETACH of the filter of this name.
pub fn detach(device: &File, name: [u8; 32]) -> nix::Result<()> {
    call(device, BLKFILTER_DETACH, &mut FilterName { name })
}

/// CTL with a structure in and out; `length` bytes of it are announced. Returns the length that the kernel states.
pub fn control_filter<T: Plain>(
    device: &File,
    name: [u8; 32],
    command: u32,
    argument: &mut T,
    length: usize,
) -> nix::Result<u32> {
    assert!(length <= size_of::<T>(), "the kernel may write as much as is announced");
    let optlen = u32::try_from(length).map_err(|_| nix::Error::EINVAL)?;
    let mut request = FilterCtl { name, command, optlen, opt: std::ptr::from_mut(argument) as u64 };
    call(device, BLKFILTER_CTL, &mut request)?;
    Ok(request.optlen)
}

/// CTL whose structure lies at an address that nobody may read or write.
pub fn control_filter_with_bad_address(device: &File, name: [u8; 32], command: u32, optlen: u32) -> nix::Result<()> {
    call(device, BLKFILTER_CTL, &mut FilterCtl { name, command, optlen, opt: 8 })
}

/// CBTMAP into a buffer of `length` bytes.
pub fn read_map(device: &File, name: [u8; 32], offset: u32, length: u32) -> nix::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(length).map_err(|_| nix::Error::EINVAL)?];
    let mut query = CbtMap { offset, length, buffer: buffer.as_mut_ptr() as u64 };
    let optlen = u32::try_from(size_of::<CbtMap>()).map_err(|_| nix::Error::EINVAL)?;
    let opt = std::ptr::from_mut(&mut query) as u64;
    call(device, BLKFILTER_CTL, &mut FilterCtl { name, command: CTL_CBTMAP, optlen, opt })?;
    Ok(buffer)
}

/// CBTMAP that announces `length` bytes at an address that nobody may write.
pub fn read_map_to_bad_address(device: &File, name: [u8; 32], length: u32) -> nix::Result<()> {
    let mut query = CbtMap { offset: 0, length, buffer: 8 };
    let optlen = u32::try_from(size_of::<CbtMap>()).map_err(|_| nix::Error::EINVAL)?;
    let opt = std::ptr::from_mut(&mut query) as u64;
    call(device, BLKFILTER_CTL, &mut FilterCtl { name, command: CTL_CBTMAP, optlen, opt })
}

/// CBTMAP into the beginning of a file that is mapped into memory.
pub fn read_map_into_file(device: &File, name: [u8; 32], length: u32, file: &File) -> nix::Result<()> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

    let bytes = NonZeroUsize::try_from(usize::try_from(length).map_err(|_| nix::Error::EINVAL)?);
    let bytes = bytes.map_err(|_| nix::Error::EINVAL)?;
    // SAFETY: a new mapping at a place that the kernel chooses; nothing refers to it but the call below.
    let memory = unsafe { mmap(None, bytes, ProtFlags::all(), MapFlags::MAP_SHARED, file, 0)? };
    let mut query = CbtMap { offset: 0, length, buffer: memory.as_ptr() as u64 };
    let optlen = u32::try_from(size_of::<CbtMap>()).map_err(|_| nix::Error::EINVAL)?;
    let opt = std::ptr::from_mut(&mut query) as u64;
    let result = call(device, BLKFILTER_CTL, &mut FilterCtl { name, command: CTL_CBTMAP, optlen, opt });
    // SAFETY: mapped above with this length, and not used any more.
    unsafe { munmap(memory, bytes.get())? };
    result
}

/// CBTINFO.
pub fn info(device: &File, name: [u8; 32]) -> nix::Result<CbtInfo> {
    let mut info = CbtInfo::default();
    control_filter(device, name, CTL_CBTINFO, &mut info, size_of::<CbtInfo>())?;
    Ok(info)
}

/// SNAPSHOTINFO.
pub fn snapshot_info(device: &File, name: [u8; 32]) -> nix::Result<SnapshotInfo> {
    let mut info = SnapshotInfo::default();
    control_filter(device, name, CTL_SNAPSHOTINFO, &mut info, size_of::<SnapshotInfo>())?;
    Ok(info)
}

/// CBTDIRTY.
pub fn mark_dirty(device: &File, name: [u8; 32], ranges: &[Sectors]) -> nix::Result<()> {
    let count = u32::try_from(ranges.len()).map_err(|_| nix::Error::EINVAL)?;
    let mut query = CbtDirty { count, reserved: 0, ranges: ranges.as_ptr() as u64 };
    let optlen = u32::try_from(size_of::<CbtDirty>()).map_err(|_| nix::Error::EINVAL)?;
    let opt = std::ptr::from_mut(&mut query) as u64;
    call(device, BLKFILTER_CTL, &mut FilterCtl { name, command: CTL_CBTDIRTY, optlen, opt })
}

/// The counters of the example filter: bios seen, writes held back.
pub fn example_counts(device: &File, name: [u8; 32]) -> nix::Result<[u64; 2]> {
    let mut counts = [0_u64; 2];
    let optlen = u32::try_from(size_of_val(&counts)).map_err(|_| nix::Error::EINVAL)?;
    let opt = counts.as_mut_ptr() as u64;
    call(device, BLKFILTER_CTL, &mut FilterCtl { name, command: 0, optlen, opt })?;
    Ok(counts)
}

/// VERSION.
pub fn version(control: &File) -> nix::Result<Version> {
    let mut version = Version::default();
    call(control, SNAPSHOT_VERSION, &mut version)?;
    Ok(version)
}

/// CREATE.
pub fn create(control: &File, path: &std::ffi::CStr, limit_sectors: u64) -> nix::Result<Uuid> {
    let mut request = SnapshotCreate { limit_sectors, path: path.as_ptr() as u64, id: Uuid::default() };
    call(control, SNAPSHOT_CREATE, &mut request)?;
    Ok(request.id)
}

/// CREATE with a path that lies at an address that nobody may read.
pub fn create_at_bad_address(control: &File) -> nix::Result<()> {
    call(control, SNAPSHOT_CREATE, &mut SnapshotCreate { limit_sectors: 1 << 20, path: 8, id: Uuid::default() })
}

/// CREATE with flags, an addition of ours.
pub fn create_with(control: &File, path: &std::ffi::CStr, limit_sectors: u64, flags: u64) -> nix::Result<Uuid> {
    let mut request = SnapshotCreateWith { limit_sectors, path: path.as_ptr() as u64, flags, id: Uuid::default() };
    call(control, SNAPSHOT_CREATE_WITH, &mut request)?;
    Ok(request.id)
}

/// State and counters of a snapshot, an addition of ours.
pub fn statistics(control: &File, id: Uuid) -> nix::Result<SnapshotStatistics> {
    let mut answer = SnapshotStatistics { id, ..SnapshotStatistics::default() };
    call(control, SNAPSHOT_STATISTICS, &mut answer)?;
    Ok(answer)
}

/// Which additions there are.
pub fn features(control: &File) -> nix::Result<Features> {
    let mut features = Features::default();
    call(control, SNAPSHOT_FEATURES, &mut features)?;
    Ok(features)
}

/// Ids of up to `room` intervals from `first` on.
pub fn intervals(device: &File, first: u64, room: u32) -> nix::Result<Vec<Uuid>> {
    let mut ids = vec![Uuid::default(); usize::try_from(room).map_err(|_| nix::Error::EINVAL)?];
    let mut query = IntervalQuery { first, ids: ids.as_mut_ptr() as u64, capacity: room, filled: 0 };
    filter_query(device, CTL_INTERVALS, &mut query)?;
    ids.truncate(usize::try_from(query.filled).map_err(|_| nix::Error::EINVAL)?);
    Ok(ids)
}

/// Up to `room` extents, and from where to ask again.
pub fn changed(device: &File, query: ChangedQuery, room: usize) -> nix::Result<(Vec<Extent>, u64)> {
    let mut extents = vec![Extent::default(); room];
    let capacity = u32::try_from(room).map_err(|_| nix::Error::EINVAL)?;
    let mut query = ChangedQuery { extents: extents.as_mut_ptr() as u64, capacity, ..query };
    filter_query(device, CTL_CHANGED, &mut query)?;
    extents.truncate(usize::try_from(query.filled).map_err(|_| nix::Error::EINVAL)?);
    Ok((extents, query.next_offset_bytes))
}

/// Up to `room` devices of a snapshot.
pub fn devices(control: &File, id: Uuid, room: u32) -> nix::Result<Vec<SnapshotDevice>> {
    let mut devices = vec![SnapshotDevice::default(); usize::try_from(room).map_err(|_| nix::Error::EINVAL)?];
    let mut query = SnapshotDevices { id, devices: devices.as_mut_ptr() as u64, capacity: room, count: 0 };
    call(control, SNAPSHOT_DEVICES, &mut query)?;
    devices.truncate(usize::try_from(query.count).map_err(|_| nix::Error::EINVAL)?);
    Ok(devices)
}

/// The calls of older headers, which a module loaded with `abi=1` speaks.
pub mod old {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use kmod_logic::uapi::compat::{OLD_BLKFILTER_ATTACH, OLD_BLKFILTER_CTL, OLD_BLKFILTER_DETACH, SnapshotCreateByFd};
    use kmod_logic::uapi::{CTL_CBTINFO, CbtInfo, FilterCtl, FilterName, SNAPSHOT_CREATE, Uuid};

    use super::call;

    /// ATTACH.
    pub fn attach(device: &File, name: [u8; 32]) -> nix::Result<()> {
        call(device, OLD_BLKFILTER_ATTACH, &mut FilterName { name })
    }

    /// DETACH.
    pub fn detach(device: &File, name: [u8; 32]) -> nix::Result<()> {
        call(device, OLD_BLKFILTER_DETACH, &mut FilterName { name })
    }

    /// CBTINFO.
    pub fn info(device: &File, name: [u8; 32]) -> nix::Result<CbtInfo> {
        let mut info = CbtInfo::default();
        let optlen = u32::try_from(size_of::<CbtInfo>()).map_err(|_| nix::Error::EINVAL)?;
        let opt = std::ptr::from_mut(&mut info) as u64;
        call(device, OLD_BLKFILTER_CTL, &mut FilterCtl { name, command: CTL_CBTINFO, optlen, opt })?;
        Ok(info)
    }

    /// CREATE.
    pub fn create(control: &File, store: &File, limit_sectors: u64) -> nix::Result<Uuid> {
        let fd = u32::try_from(store.as_raw_fd()).map_err(|_| nix::Error::EBADF)?;
        let mut request = SnapshotCreateByFd { limit_sectors, fd, ..SnapshotCreateByFd::default() };
        call(control, SNAPSHOT_CREATE, &mut request)?;
        Ok(request.id)
    }
}

/// A command whose structure points to memory that the caller owns for the length of the call.
fn filter_query<T>(device: &File, command: u32, query: &mut T) -> nix::Result<()> {
    let optlen = u32::try_from(size_of::<T>()).map_err(|_| nix::Error::EINVAL)?;
    let opt = std::ptr::from_mut(query) as u64;
    call(device, BLKFILTER_CTL, &mut FilterCtl { name: FILTER_NAME, command, optlen, opt })
}

/// DESTROY.
pub fn destroy(control: &File, mut id: Uuid) -> nix::Result<()> {
    call(control, SNAPSHOT_DESTROY, &mut id)
}

/// TAKE.
pub fn take(control: &File, mut id: Uuid) -> nix::Result<()> {
    call(control, SNAPSHOT_TAKE, &mut id)
}

/// COLLECT of the count only.
pub fn count_snapshots(control: &File) -> nix::Result<u32> {
    let mut request = SnapshotCollect::default();
    call(control, SNAPSHOT_COLLECT, &mut request)?;
    Ok(request.count)
}

/// COLLECT with room for `room` ids: the result, the count that the kernel states, and the ids.
pub fn collect(control: &File, room: usize) -> (nix::Result<()>, u32, Vec<Uuid>) {
    let mut ids = vec![Uuid::default(); room];
    let count = u32::try_from(room).unwrap_or(u32::MAX);
    let mut request = SnapshotCollect { count, reserved: 0, ids: ids.as_mut_ptr() as u64 };
    let result = call(control, SNAPSHOT_COLLECT, &mut request);
    (result, request.count, ids)
}

/// WAIT_EVENT.
pub fn wait_event(control: &File, id: Uuid, timeout_ms: u32) -> nix::Result<SnapshotEvent> {
    let mut event = SnapshotEvent { id, timeout_ms, code: 0, time_ns: 0, data: [0; 4096 - 32] };
    call(control, SNAPSHOT_WAIT_EVENT, &mut event)?;
    Ok(event)
}
