//! The kernel module as the agent sees it: changed-block tracking and snapshots of block devices.
//!
//! [`Module`] is what the module can do, one method a call; [`host::HostModule`] does it with ioctls. What the agent makes of
//! the answers ([`changed`], [`snapshots`]) knows only the trait, so tests put a fake in its place. The binary interface
//! itself is [`uapi`], the very file that the module is compiled from.

pub mod attached;
pub mod changed;
pub mod error;
#[cfg(test)]
pub(crate) mod fake;
pub mod host;
pub mod id;
mod ioctl;
pub mod snapshots;
#[path = "../../../kmod/uapi.rs"]
pub mod uapi;

pub use error::TrackerError;
pub use id::Id;

use std::path::Path;
use uapi::extension::{
    ChangedQuery, Extent, Features, SnapshotDevice, SnapshotStatistics, TrackerInfo, TrackerStatistics,
};
use uapi::{CbtInfo, Sectors, SnapshotEvent, SnapshotInfo, Version};

/// What the loaded module can do. Every method is one or two calls of the kernel; devices are named by their path.
///
/// Methods that need an addition to the interface say so: with a module that lacks it they return `None`.
pub trait Module: Send + Sync {
    /// Version of the interface.
    fn version(&self) -> Result<Version, TrackerError>;
    /// Which additions to the interface there are; none with the C module.
    fn features(&self) -> Result<Features, TrackerError>;

    /// Begins tracking a device.
    fn attach(&self, device: &Path) -> Result<(), TrackerError>;
    /// Ends tracking a device; its map is lost.
    fn detach(&self, device: &Path) -> Result<(), TrackerError>;
    /// Facts about a tracker as the old interface shows them.
    fn cbt_info(&self, device: &Path) -> Result<CbtInfo, TrackerError>;
    /// Bytes of the map from block `first` on; returns how many were filled.
    fn cbt_map(&self, device: &Path, first: u32, bytes: &mut [u8]) -> Result<(), TrackerError>;
    /// Marks ranges as changed, in the past and now.
    fn mark_dirty(&self, device: &Path, ranges: &[Sectors]) -> Result<(), TrackerError>;
    /// Facts about a tracker in full width; an addition.
    fn tracker_info(&self, device: &Path) -> Result<Option<TrackerInfo>, TrackerError>;
    /// The id of an interval; an addition. Inside, `None` when it is no longer kept or was not taken yet.
    fn interval(&self, device: &Path, number: u64) -> Result<Option<Option<Id>>, TrackerError>;
    /// Extents that changed, as many as fit; the query comes back filled. An addition, see [`Self::tracker_info`].
    fn changed(&self, device: &Path, query: ChangedQuery, extents: &mut [Extent])
    -> Result<ChangedQuery, TrackerError>;
    /// Counters of a tracker; an addition.
    fn tracker_statistics(&self, device: &Path) -> Result<Option<TrackerStatistics>, TrackerError>;

    /// Makes an empty snapshot whose difference storage is at `storage`. `tied`: it goes when this `Module` is dropped, however
    /// the process ends; an addition, an error without it.
    fn create(&self, storage: &Path, limit_sectors: u64, tied: bool) -> Result<Id, TrackerError>;
    /// Adds a tracked device to a snapshot that was not taken yet.
    fn add(&self, snapshot: Id, device: &Path) -> Result<(), TrackerError>;
    /// Takes a snapshot: one instant for all its devices.
    fn take(&self, snapshot: Id) -> Result<(), TrackerError>;
    /// Ends a snapshot; its images go.
    fn destroy(&self, snapshot: Id) -> Result<(), TrackerError>;
    /// All snapshots.
    fn list(&self) -> Result<Vec<Id>, TrackerError>;
    /// A device's part of the snapshot that it is in.
    fn snapshot_info(&self, device: &Path) -> Result<SnapshotInfo, TrackerError>;
    /// State and counters of a snapshot; an addition.
    fn snapshot_statistics(&self, snapshot: Id) -> Result<Option<SnapshotStatistics>, TrackerError>;
    /// The devices of a snapshot; an addition.
    fn snapshot_devices(&self, snapshot: Id) -> Result<Option<Vec<SnapshotDevice>>, TrackerError>;
    /// Waits for the next event of a snapshot; `None` when none came in time.
    fn wait_event(&self, snapshot: Id, timeout_ms: u32) -> Result<Option<Box<SnapshotEvent>>, TrackerError>;
}
