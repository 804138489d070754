// SPDX-License-Identifier: GPL-2.0
//! The pure logic of the kernel module, for tests on the host. The module compiles the same files.
//!
//! Nothing is written here: each module is a file of `kmod/`. They need `core` only. Tests are in `tests/`.

#![no_std]

#[path = "../../intervals.rs"]
pub mod intervals;
#[path = "../../map.rs"]
pub mod map;
#[path = "../../memory.rs"]
pub mod memory;
#[path = "../../uapi.rs"]
pub mod uapi;
