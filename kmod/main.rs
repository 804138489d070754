// SPDX-License-Identifier: GPL-2.0
//! Changed-block tracking and copy-on-write snapshots for block devices of a stock kernel.
//!
//! ```text
//!                 user space
//!      ioctl on a disk │        │ /dev/blksnap-control, image disks
//!   ┌──────────────────▼──┐  ┌──▼───────────────────────────────┐
//!   │ filter, filter_call │  │ control                          │
//!   └──────────┬──────────┘  └──┬───────────────────────────────┘
//!       attach │ bios           │ create, take, destroy
//!   ┌──────────▼──────────┐  ┌──▼───────┐   ┌───────┐   ┌───────┐
//!   │ tracker             ◀──┤ snapshot ├───▶ cow   ├───▶ store │
//!   └─────────────────────┘  └──────────┘   │ image │   └───────┘
//!                                           └───────┘
//! ```
//!
//! The module has two halves: `filter*`, `hook.c` let a filter see the bios of a block device and know nothing of
//! snapshots; everything else is one such filter. Files that need only `core` are the pure logic, which the host tests
//! (`kmod/logic`). kmod/README.md has the states and the lock order.
#![allow(missing_docs, reason = "most items are for one other file, whose head explains them")]
#![allow(unreachable_pub, reason = "the pure files are also a library")]

mod batch;
mod bio;
mod chunk_table;
mod control;
mod cow;
mod events;
mod ffi;
mod filter;
mod filter_call;
mod filter_submit;
mod filter_watch;
mod image;
mod image_read;
mod in_flight;
mod kernel_memory;
mod lists;
mod pages;
mod parameters;
mod passes;
mod snapshot;
mod stack;
mod statistics;
mod store;
mod take;
mod tracker;
mod tracker_call;
mod tracker_write;
mod user;
mod work;

// The pure logic. The library has more users than the module.
#[expect(dead_code, reason = "the host tests use more of it")]
mod chunk;
#[expect(dead_code, reason = "the host tests use more of it")]
mod event_queue;
#[expect(dead_code, reason = "the host tests use more of it")]
mod intervals;
#[expect(dead_code, reason = "the host tests use more of it")]
mod map;
mod memory;
mod request;
#[expect(dead_code, reason = "the host tests use more of it")]
mod sizes;
#[expect(dead_code, reason = "the host tests use more of it")]
mod space;
#[expect(dead_code, reason = "the host tests use more of it")]
mod uapi;

use kernel::{
    miscdevice::MiscDeviceRegistration,
    prelude::*,
    time::{Delta, delay::fsleep},
};

module! {
    type: Module,
    name: "blksnap",
    authors: ["Icecore"],
    description: "Changed-block tracking and copy-on-write snapshots",
    license: "GPL",
}

/// Everything that exists while the module is loaded. Dropped from the top: first what calls, then what is called.
#[pin_data]
pub struct Module {
    #[pin]
    control: MiscDeviceRegistration<control::Control>,
    registered: Registered,
    hooks: filter::Hooks,
    last_writes: LastWrites,
    clones: image::CloneMemory,
    queues: work::Queues,
    snapshots: snapshot::List,
}

impl kernel::InPlaceModule for Module {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        in_flight::prepare();
        try_pin_init!(Self {
            snapshots: snapshot::List::new(),
            queues: work::Queues::new()?,
            clones: image::CloneMemory::new()?,
            last_writes: LastWrites,
            hooks: filter::Hooks::install()?,
            registered: Registered::new()?,
            control <- control::register(),
        })
    }
}

/// The tracker as a type of filter.
static TRACKER: filter::Ops = filter::Ops {
    owner: ffi::this_module(),
    name: uapi::FILTER_NAME,
    reads: false,
    attach: tracker_write::attach,
    detach: tracker_write::detach,
    may_detach: Some(tracker_write::may_detach),
    gone: Some(tracker_write::gone),
    ctl: Some(tracker_write::ctl),
    submit_bio: tracker_write::submit_bio,
    handle_bio: Some(tracker_write::handle_bio),
    submit_throttled: Some(tracker_write::submit_throttled),
    missed: Some(tracker_write::missed),
};

struct Registered;

impl Registered {
    fn new() -> Result<Self> {
        filter::register(&TRACKER)?;
        Ok(Self)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        filter::unregister(&TRACKER);
    }
}

/// Nothing may go while a write that was counted is not over: its end runs our code.
struct LastWrites;

impl Drop for LastWrites {
    fn drop(&mut self) {
        while !in_flight::sweep() {
            fsleep(Delta::from_millis(10));
        }
        // The last one's function may not have returned yet, in a task or in an interrupt.
        // SAFETY: no preconditions.
        unsafe { kernel::bindings::synchronize_rcu_tasks() };
        kernel::sync::rcu::synchronize_rcu();
    }
}
