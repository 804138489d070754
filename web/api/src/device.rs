//! Disks of a machine, with what lies on them, as its agent sees them.

use crate::unit::{ByteCount, Time};
use serde::{Deserialize, Serialize};

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A whole disk.
    Disk,
    /// A partition of one.
    Partition,
    /// A device that is made of others: LVM, dm-crypt, md.
    Mapped,
    /// A file that is shown as a disk.
    Loop,
    /// Anything else, also what only a newer agent knows.
    #[serde(other)]
    Other,
}

/// A disk, a partition, or a device that lies on some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// Its path, such as `/dev/sda1`.
    pub path: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Paths of what it is a part of or lies on.
    pub on: Vec<String>,
    /// Its size.
    pub size_bytes: ByteCount,
    /// What the hardware or the volume manager calls it.
    pub label: Option<String>,
    /// Serial number or other lasting name.
    pub serial: Option<String>,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Whether it can be taken out.
    pub removable: bool,
    /// The file system that is mounted from it.
    pub file_system: Option<String>,
    /// Where it is mounted.
    pub mounts: Vec<String>,
    /// Whether a plan for all disks includes it.
    pub in_all_disks: bool,
}

/// The devices of an agent's machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceList {
    /// When they were reported; missing when they never were.
    pub reported_at: Option<Time>,
    /// The machine's own name.
    pub host: Option<String>,
    /// Version of the agent.
    pub version: Option<String>,
    /// When the agent was last heard of, whatever it said.
    pub heard_at: Option<Time>,
    /// The devices, each after what it lies on.
    pub devices: Vec<Device>,
}
