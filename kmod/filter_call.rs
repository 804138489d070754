// SPDX-License-Identifier: GPL-2.0
//! The three ioctls of block device filters, and their spellings for 32-bit programs and older headers.

use kernel::{bindings, prelude::*};

use crate::uapi::compat::{BLKFILTER_ATTACH_32, FilterAttach32};
use crate::uapi::compat::{OLD_BLKFILTER_ATTACH, OLD_BLKFILTER_CTL, OLD_BLKFILTER_DETACH};
use crate::uapi::{BLKFILTER_ATTACH, BLKFILTER_CTL, BLKFILTER_DETACH, FilterAttach, FilterCtl, FilterName};
use crate::{ffi, filter, parameters, request, user};

/// What is asked for, and how its structure is laid out.
#[derive(Clone, Copy)]
enum Call {
    Attach,
    Attach32,
    AttachByName,
    Detach,
    Ctl,
}

fn call(number: u32, compat: bool) -> Option<Call> {
    if parameters::speaks_old_interface() {
        return match number {
            OLD_BLKFILTER_ATTACH => Some(Call::AttachByName),
            OLD_BLKFILTER_DETACH => Some(Call::Detach),
            OLD_BLKFILTER_CTL => Some(Call::Ctl),
            _ => None,
        };
    }
    match number {
        BLKFILTER_ATTACH => Some(Call::Attach),
        BLKFILTER_DETACH => Some(Call::Detach),
        BLKFILTER_CTL => Some(Call::Ctl),
        BLKFILTER_ATTACH_32 if compat => Some(Call::Attach32),
        _ => None,
    }
}

/// Whether this ioctl of a block device is ours. Never sleeps.
#[no_mangle]
extern "C" fn blkfilter_rust_wants_ioctl(number: c_uint, compat: bool) -> bool {
    // All of ours have this type byte; nearly all others have not.
    (number >> 8) & 0xff == u32::from(crate::uapi::FILTER_TYPE) && call(number, compat).is_some()
}

/// Handles it.
#[no_mangle]
extern "C" fn blkfilter_rust_ioctl(file: *mut bindings::file, number: c_uint, argument: usize, compat: bool) -> c_long {
    match handle(file, number, argument as u64, compat) {
        Ok(()) => 0,
        Err(error) => error.to_errno() as c_long,
    }
}

fn handle(file: *mut bindings::file, number: u32, argument: u64, compat: bool) -> Result {
    // SAFETY: no preconditions.
    if !unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) } {
        return Err(EPERM);
    }
    // A 32-bit program's upper half of the register is not its argument.
    let argument = if compat { argument & 0xffff_ffff } else { argument };
    // SAFETY: the hooked function is only called for open block devices.
    let bdev = unsafe { ffi::blksnap_file_bdev(file) };
    match call(number, compat).ok_or(ENOTTY)? {
        Call::Attach => {
            let attach: FilterAttach = user::read(argument)?;
            filter::attach(bdev, valid(&attach.name)?, attach.opt, attach.optlen)
        }
        Call::Attach32 => {
            let attach: FilterAttach32 = user::read(argument)?;
            let (name, opt, optlen) = (attach.name, attach.opt, attach.optlen);
            filter::attach(bdev, valid(&name)?, opt, optlen)
        }
        Call::AttachByName => {
            let attach: FilterName = user::read(argument)?;
            filter::attach(bdev, valid(&attach.name)?, 0, 0)
        }
        Call::Detach => {
            let detach: FilterName = user::read(argument)?;
            filter::detach(bdev, valid(&detach.name)?)
        }
        Call::Ctl => {
            let mut ctl: FilterCtl = user::read(argument)?;
            ctl.optlen = filter::ctl(bdev, valid(&ctl.name)?, ctl.command, ctl.opt, ctl.optlen)?;
            user::write(argument, &ctl)
        }
    }
}

/// A name that ends.
fn valid(name: &[u8; crate::uapi::FILTER_NAME_BYTES]) -> Result<&[u8; crate::uapi::FILTER_NAME_BYTES]> {
    request::name(name).map_err(|_| EINVAL)?;
    Ok(name)
}
