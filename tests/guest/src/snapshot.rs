//! Snapshots of tracked devices.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use kmod_logic::uapi::extension::SnapshotStatistics;
use kmod_logic::uapi::{CONTROL_PATH, SnapshotEvent, Uuid};

use crate::filter::Tracked;
use crate::ioctl;

/// Sectors of a limit (128 MiB) that no scenario reaches by accident, and that a store in memory may have at once.
pub const AMPLE_SECTORS: u64 = 1 << 18;

/// Sectors for a snapshot that is destroyed at once; to reserve more takes the emulated machine long.
pub const SMALL_SECTORS: u64 = 1 << 14;

/// Opens the control device.
pub fn control() -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(CONTROL_PATH);
    file.with_context(|| format!("cannot open {CONTROL_PATH}"))
}

/// CREATE, with the errno as it is.
pub fn create_raw(control: &File, store: &Path, limit_sectors: u64) -> nix::Result<Uuid> {
    let path = CString::new(store.as_os_str().as_bytes()).map_err(|_| nix::Error::EINVAL)?;
    ioctl::create(control, &path, limit_sectors)
}

/// A snapshot; destroyed when dropped.
pub struct Snapshot {
    control: File,
    id: Uuid,
    destroyed: bool,
}

impl Snapshot {
    /// Creates an empty one.
    pub fn create(store: &Path, limit_sectors: u64) -> Result<Self> {
        let control = control()?;
        let id = create_raw(&control, store, limit_sectors)
            .with_context(|| format!("cannot create a snapshot with its store in {}", store.display()))?;
        Ok(Self { control, id, destroyed: false })
    }

    /// Creates one of these devices and takes it.
    pub fn take_of(store: &Path, limit_sectors: u64, devices: &[&Tracked]) -> Result<Self> {
        let snapshot = Self::create(store, limit_sectors)?;
        for device in devices {
            device.add_to(snapshot.id).with_context(|| format!("cannot add {}", device.path().display()))?;
        }
        snapshot.take().context("TAKE")?;
        Ok(snapshot)
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The control device.
    pub fn control(&self) -> &File {
        &self.control
    }

    /// TAKE.
    pub fn take(&self) -> nix::Result<()> {
        ioctl::take(&self.control, self.id)
    }

    /// Waits for an event.
    pub fn wait_event(&self, timeout_ms: u32) -> nix::Result<SnapshotEvent> {
        ioctl::wait_event(&self.control, self.id, timeout_ms)
    }

    /// State and counters.
    pub fn statistics(&self) -> Result<SnapshotStatistics> {
        ioctl::statistics(&self.control, self.id).context("STATISTICS of the snapshot")
    }

    /// DESTROY, and says whether that worked.
    pub fn destroy(mut self) -> Result<()> {
        self.destroyed = true;
        ioctl::destroy(&self.control, self.id).context("DESTROY")
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.destroyed {
            // A scenario that failed; process 1 reports an image that stays.
            let _ = ioctl::destroy(&self.control, self.id);
        }
    }
}
