// SPDX-License-Identifier: GPL-2.0
//! `/dev/blksnap-control`: snapshots are created, taken, watched and destroyed here.

use core::mem::{offset_of, size_of};

use kernel::{
    bindings,
    fs::File,
    miscdevice::{MiscDevice, MiscDeviceOptions, MiscDeviceRegistration},
    new_mutex,
    prelude::*,
    sync::Mutex,
};

use crate::uapi::compat::{SNAPSHOT_COLLECT_32, SnapshotCollect32, SnapshotCreateByFd};
use crate::uapi::extension::{self, SnapshotCreateWith, SnapshotDevice, SnapshotDevices, SnapshotStatistics};
use crate::uapi::{self, SnapshotCollect, SnapshotCreate, SnapshotEvent, Uuid};
use crate::{parameters, snapshot, take, user};

/// An open file of the control device.
#[pin_data(PinnedDrop)]
pub struct Control {
    /// Snapshots that end with it.
    #[pin]
    tied: Mutex<KVec<Uuid>>,
}

/// Registers the control device.
pub fn register() -> impl PinInit<MiscDeviceRegistration<Control>, Error> {
    MiscDeviceRegistration::register(MiscDeviceOptions { name: c"blksnap-control" })
}

#[vtable]
impl MiscDevice for Control {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _device: &MiscDeviceRegistration<Self>) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(pin_init!(Self { tied <- new_mutex!(KVec::new()) }), GFP_KERNEL)
    }

    fn ioctl(me: Pin<&Self>, _file: &File, number: u32, argument: usize) -> Result<isize> {
        me.get_ref().handle(number, argument as u64).map(|()| 0)
    }

    fn compat_ioctl(me: Pin<&Self>, _file: &File, number: u32, argument: usize) -> Result<isize> {
        me.get_ref().handle(number, argument as u64 & 0xffff_ffff).map(|()| 0)
    }
}

#[pinned_drop]
impl PinnedDrop for Control {
    fn drop(self: Pin<&mut Self>) {
        for id in core::mem::replace(&mut *self.tied.lock(), KVec::new()) {
            // Perhaps it was destroyed by hand.
            let _ = snapshot::destroy(id);
        }
    }
}

impl Control {
    fn handle(&self, number: u32, argument: u64) -> Result {
        // SAFETY: no preconditions.
        if !unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) } {
            return Err(EPERM);
        }
        match number {
            uapi::SNAPSHOT_VERSION => user::write(argument, &uapi::VERSION),
            uapi::SNAPSHOT_CREATE if parameters::speaks_old_interface() => create_by_fd(argument),
            uapi::SNAPSHOT_CREATE => create(argument),
            uapi::SNAPSHOT_DESTROY => snapshot::destroy(user::read(argument)?),
            uapi::SNAPSHOT_TAKE => take::take(user::read(argument)?),
            uapi::SNAPSHOT_COLLECT => {
                let mut query: SnapshotCollect = user::read(argument)?;
                let result = collect(&mut query.count, query.ids);
                user::write(argument, &query)?;
                result
            }
            SNAPSHOT_COLLECT_32 => {
                let mut query: SnapshotCollect32 = user::read(argument)?;
                let mut count = query.count;
                let result = collect(&mut count, query.ids);
                query.count = count;
                user::write(argument, &query)?;
                result
            }
            uapi::SNAPSHOT_WAIT_EVENT => wait_event(argument),
            extension::SNAPSHOT_FEATURES => user::write(argument, &FEATURES),
            extension::SNAPSHOT_CREATE_WITH => self.create_with(argument),
            extension::SNAPSHOT_STATISTICS => {
                let query: SnapshotStatistics = user::read(argument)?;
                user::write(argument, &snapshot::by_id(query.id)?.statistics())
            }
            extension::SNAPSHOT_DEVICES => devices(argument),
            _ => Err(ENOTTY),
        }
    }

    fn create_with(&self, argument: u64) -> Result {
        let mut query: SnapshotCreateWith = user::read(argument)?;
        if query.flags & !extension::CREATE_TIED_TO_FD != 0 {
            return Err(EINVAL);
        }
        let is_tied = query.flags & extension::CREATE_TIED_TO_FD != 0;
        query.id = snapshot::create(&path(query.path)?, query.limit_sectors, is_tied)?;
        let mut result = Ok(());
        if is_tied {
            result = self.tied.lock().push(query.id, GFP_KERNEL).map_err(Error::from);
        }
        // One that is destroyed here stays in the list; its end finds nothing then.
        result.and_then(|()| user::write(argument, &query)).inspect_err(|_| {
            let _ = snapshot::destroy(query.id);
        })
    }
}

const FEATURES: extension::Features = extension::Features {
    version: extension::EXTENSION_VERSION,
    reserved: 0,
    bits: extension::FEATURE_FINE_MAP
        | extension::FEATURE_INTERVAL_IDS
        | extension::FEATURE_STATISTICS
        | extension::FEATURE_TIED_SNAPSHOTS
        | extension::FEATURE_SNAPSHOT_DEVICES,
};

/// A path in user memory: `EFAULT` when it cannot be read, `EINVAL` when it is empty or too long.
fn path(address: u64) -> Result<kernel::str::CString> {
    let address = usize::try_from(address).map_err(|_| EFAULT)?;
    let mut buffer = KVec::from_elem(0_u8, bindings::PATH_MAX as usize, GFP_KERNEL)?;
    let slice = kernel::uaccess::UserSlice::new(UserPtr::from_addr(address), buffer.len());
    let path = slice.reader().strcpy_into_buf(&mut buffer)?;
    if path.is_empty() {
        return Err(EINVAL);
    }
    Ok(kernel::str::CString::try_from(path)?)
}

fn create(argument: u64) -> Result {
    let mut query: SnapshotCreate = user::read(argument)?;
    query.id = snapshot::create(&path(query.path)?, query.limit_sectors, false)?;
    user::write(argument, &query).inspect_err(|_| {
        let _ = snapshot::destroy(query.id);
    })
}

/// Older headers gave a descriptor; what it is open on is opened again by its path.
fn create_by_fd(argument: u64) -> Result {
    let mut query: SnapshotCreateByFd = user::read(argument)?;
    let path = kernel::str::CString::try_from_fmt(fmt!("/proc/self/fd/{}", query.fd))?;
    query.id = snapshot::create(&path, query.limit_sectors, false)?;
    user::write(argument, &query).inspect_err(|_| {
        let _ = snapshot::destroy(query.id);
    })
}

fn collect(count: &mut u32, ids: u64) -> Result {
    let room = if ids == 0 { 0 } else { *count as usize };
    let all = snapshot::collect(|at, id| {
        if at < room {
            user::write(ids.wrapping_add(at as u64 * size_of::<Uuid>() as u64), &id)?;
        }
        Ok(())
    })?;
    *count = all as u32;
    if ids != 0 && room < all {
        return Err(ENODATA);
    }
    Ok(())
}

fn wait_event(argument: u64) -> Result {
    let id: Uuid = user::read(argument)?;
    let timeout: u64 = user::read(argument.wrapping_add(offset_of!(SnapshotEvent, timeout_ms) as u64))?;
    let timeout_ms = if cfg!(target_endian = "little") { timeout as u32 } else { (timeout >> 32) as u32 };
    let events = snapshot::by_id(id)?.events.clone();
    let stamped = events.wait(timeout_ms)?;
    let mut head = [0_u8; 4096 - 20];
    head[..4].copy_from_slice(&stamped.event.code().to_ne_bytes());
    head[4..12].copy_from_slice(&stamped.time_ns.to_ne_bytes());
    head[12..24].copy_from_slice(&stamped.event.data());
    user::write_bytes(argument.wrapping_add(offset_of!(SnapshotEvent, code) as u64), &head)
}

fn devices(argument: u64) -> Result {
    let mut query: SnapshotDevices = user::read(argument)?;
    let devices = snapshot::by_id(query.id)?.devices()?;
    if query.devices != 0 {
        for (at, device) in devices.iter().enumerate().take(query.capacity as usize) {
            user::write(query.devices.wrapping_add(at as u64 * size_of::<SnapshotDevice>() as u64), device)?;
        }
    }
    query.count = devices.len() as u32;
    user::write(argument, &query)
}
