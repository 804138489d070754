// SPDX-License-Identifier: GPL-2.0
//! The pure logic of the kernel module, for tests on the host. The module compiles the same files.
//!
//! Nothing is written here: each module is a file of `kmod/`. They need `core` only. Tests are in `tests/`.

#![no_std]

#[path = "../../chunk.rs"]
pub mod chunk;
#[path = "../../event_queue.rs"]
pub mod event_queue;
#[path = "../../intervals.rs"]
pub mod intervals;
#[path = "../../map.rs"]
pub mod map;
#[path = "../../memory.rs"]
pub mod memory;
#[path = "../../request.rs"]
pub mod request;
#[path = "../../sizes.rs"]
pub mod sizes;
#[path = "../../space.rs"]
pub mod space;
#[path = "../../uapi.rs"]
pub mod uapi;
