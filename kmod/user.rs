// SPDX-License-Identifier: GPL-2.0
//! Structures of the interface on their way from and to user space.

use core::mem::{MaybeUninit, size_of};

use kernel::{prelude::*, uaccess::UserSlice};

use crate::uapi::{self, compat, extension};

/// A structure that user space may fill with any bytes and that has no padding.
///
/// # Safety
///
/// Every bit pattern is a value, and no byte is padding.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($structure:ty),* $(,)?) => {
        // SAFETY: `repr(C)` of integers and arrays of them; uapi.rs asserts sizes that leave no room for padding.
        $( unsafe impl Plain for $structure {} )*
    };
}
plain!(
    u8,
    u64,
    uapi::Uuid,
    uapi::FilterAttach,
    uapi::FilterName,
    uapi::FilterCtl,
    uapi::CbtInfo,
    uapi::CbtMap,
    uapi::CbtDirty,
    uapi::Sectors,
    uapi::SnapshotInfo,
    uapi::Version,
    uapi::SnapshotCreate,
    uapi::SnapshotCollect,
    uapi::EventCorrupted,
    uapi::EventNoSpace,
    compat::FilterAttach32,
    compat::CbtInfo32,
    compat::CbtDirty32,
    compat::SnapshotCollect32,
    compat::SnapshotCreateByFd,
    extension::Features,
    extension::TrackerInfo,
    extension::IntervalQuery,
    extension::ChangedQuery,
    extension::Extent,
    extension::TrackerStatistics,
    extension::SnapshotCreateWith,
    extension::SnapshotStatistics,
    extension::SnapshotDevices,
    extension::SnapshotDevice,
);

/// The bytes of a structure.
pub fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` has no padding, so all its bytes are initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Reads a structure from a user address; `EFAULT` when it is not readable.
pub fn read<T: Plain>(address: u64) -> Result<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the memory belongs to `value`, and writing uninitialised bytes as `MaybeUninit<u8>` is always allowed.
    let raw = unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<MaybeUninit<u8>>(), size_of::<T>()) };
    UserSlice::new(pointer(address)?, size_of::<T>()).reader().read_raw(raw)?;
    // SAFETY: all bytes were written, and every bit pattern is a value.
    Ok(unsafe { value.assume_init() })
}

/// Reads structures that lie one behind the other; returns how many could be read, from the first one on.
pub fn read_some<T: Plain>(address: u64, values: &mut [T]) -> usize {
    for (at, value) in values.iter_mut().enumerate() {
        match read(address.wrapping_add((at * size_of::<T>()) as u64)) {
            Ok(got) => *value = got,
            Err(_) => return at,
        }
    }
    values.len()
}

/// Writes structures one behind the other.
pub fn write_all<T: Plain>(address: u64, values: &[T]) -> Result {
    // SAFETY: `Plain` has no padding, so all bytes are initialised.
    let bytes = unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), core::mem::size_of_val(values)) };
    write_bytes(address, bytes)
}

/// Writes bytes to a user address; `EFAULT` when it is not writable.
pub fn write_bytes(address: u64, data: &[u8]) -> Result {
    UserSlice::new(pointer(address)?, data.len()).writer().write_slice(data)
}

/// Writes a structure to a user address.
pub fn write<T: Plain>(address: u64, value: &T) -> Result {
    write_bytes(address, bytes(value))
}

fn pointer(address: u64) -> Result<UserPtr> {
    Ok(UserPtr::from_addr(usize::try_from(address).map_err(|_| EFAULT)?))
}
