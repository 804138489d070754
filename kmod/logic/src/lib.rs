// SPDX-License-Identifier: GPL-2.0
//! The pure logic of the kernel module, for tests on the host. The module compiles the same files.
//!
//! Nothing is written here: each module is a file of `kmod/`. They need `core` only.

#![no_std]

#[path = "../../uapi.rs"]
pub mod uapi;
