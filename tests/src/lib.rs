//! The harness of the end-to-end tests: the real `icecore` and `icecore-server` programs, real disk images, real mounts.
//!
//! A test takes an [`Icecore`] (a private repository and the program that works on it), makes a [`DiskImage`], changes it
//! through a [`Mount`] where it may, and compares bytes. Everything here cleans up after itself when it is dropped; nothing
//! here knows what a correct backup looks like, that is the tests' business.
//!
//! ```no_run
//! use e2e::{DiskImage, FileSystem, Icecore, PartitionPlan, MIB};
//!
//! # fn main() -> anyhow::Result<()> {
//! let icecore = Icecore::with_repository()?;
//! let image = icecore.dir().join("disk.img");
//! DiskImage::create(&image, 64 * MIB, &[PartitionPlan::rest(FileSystem::Ext4)])?;
//! icecore.json(["backup".as_ref(), image.as_os_str(), "--name".as_ref(), "web".as_ref()])?;
//! assert_eq!(icecore.json(["list"])?[0]["kind"], "full");
//! # Ok(())
//! # }
//! ```

pub mod appliance;
mod bytes;
mod command;
mod disk;
pub mod http;
mod icecore;
mod loop_device;
mod program;
mod server;
pub mod targets;

pub use bytes::{
    Extent, assert_same_bytes, changed_extents, copy_image, copy_sparse, free_bytes, next_data, same_bytes,
    write_extents,
};
pub use command::{capture, is_root, run_quietly, tool_exists};
pub use disk::{DiskImage, FileSystem, Partition, PartitionPlan};
pub use icecore::{Failure, Icecore};
pub use loop_device::{LoopDevice, Mount, loop_devices_usable};
pub use program::{icecore_program, server_program};
pub use server::Server;

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;
/// Bytes in a gibibyte.
pub const GIB: u64 = 1 << 30;
