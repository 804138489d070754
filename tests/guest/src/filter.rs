//! A block device with the tracker attached.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::extension::{CTL_STATISTICS, CTL_TRACKER_INFO, TrackerInfo, TrackerStatistics};
use kmod_logic::uapi::{
    CTL_CBTINFO, CTL_SNAPSHOTADD, CTL_SNAPSHOTINFO, CbtInfo, FILTER_NAME, Sectors, SnapshotInfo, Uuid,
};

use crate::ioctl;

/// A tracked device; the tracker is detached when it is dropped.
pub struct Tracked {
    device: File,
    path: PathBuf,
    attached: bool,
}

impl Tracked {
    /// Attaches the tracker.
    pub fn attach(path: &Path) -> Result<Self> {
        let device = open(path)?;
        ioctl::attach(&device, FILTER_NAME).with_context(|| format!("cannot attach to {}", path.display()))?;
        Ok(Self { device, path: path.to_owned(), attached: true })
    }

    /// The open device, for calls that must fail.
    pub fn device(&self) -> &File {
        &self.device
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Detaches and says whether that worked.
    pub fn detach(mut self) -> Result<()> {
        self.attached = false;
        ioctl::detach(&self.device, FILTER_NAME).with_context(|| format!("cannot detach from {}", self.path.display()))
    }

    /// CBTINFO.
    pub fn info(&self) -> Result<CbtInfo> {
        self.query(CTL_CBTINFO).context("CBTINFO")
    }

    /// The facts in full width.
    pub fn tracker_info(&self) -> Result<TrackerInfo> {
        self.query(CTL_TRACKER_INFO).context("TRACKER_INFO")
    }

    /// Counters.
    pub fn statistics(&self) -> Result<TrackerStatistics> {
        self.query(CTL_STATISTICS).context("STATISTICS")
    }

    /// The whole map.
    pub fn map(&self) -> Result<Vec<u8>> {
        ioctl::read_map(&self.device, FILTER_NAME, 0, self.info()?.block_count).context("CBTMAP")
    }

    /// Marks sectors as changed.
    pub fn mark(&self, ranges: &[Sectors]) -> nix::Result<()> {
        ioctl::mark_dirty(&self.device, FILTER_NAME, ranges)
    }

    /// Adds it to a snapshot.
    pub fn add_to(&self, id: Uuid) -> nix::Result<()> {
        add(&self.device, id)
    }

    /// Its part of the snapshot.
    pub fn snapshot_info(&self) -> nix::Result<SnapshotInfo> {
        self.query(CTL_SNAPSHOTINFO)
    }

    /// The image's node.
    pub fn image(&self) -> Result<PathBuf> {
        let info = self.snapshot_info().context("SNAPSHOTINFO")?;
        ensure!(info.error_code == 0, "the snapshot is spoiled by errno {}", info.error_code);
        let name = image_name(&info)?;
        ensure!(!name.is_empty(), "there is no image of {}", self.path.display());
        Ok(Path::new("/dev").join(name))
    }

    fn query<T: ioctl::Plain + Default>(&self, command: u32) -> nix::Result<T> {
        let mut answer = T::default();
        ioctl::control_filter(&self.device, FILTER_NAME, command, &mut answer, size_of::<T>())?;
        Ok(answer)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.attached {
            // A scenario that failed; process 1 reports a filter that stays.
            let _ = ioctl::detach(&self.device, FILTER_NAME);
        }
    }
}

/// SNAPSHOTADD of an open device.
pub fn add(device: &File, mut id: Uuid) -> nix::Result<()> {
    ioctl::control_filter(device, FILTER_NAME, CTL_SNAPSHOTADD, &mut id, size_of::<Uuid>()).map(drop)
}

/// The image's name; empty before TAKE.
pub fn image_name(info: &SnapshotInfo) -> Result<String> {
    let end = info.image.iter().position(|byte| *byte == 0).context("the image's name has no end")?;
    Ok(String::from_utf8(info.image[..end].to_vec())?)
}

/// A name of a filter as the interface wants it.
pub fn filter_name(name: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// Opens a block device for calls to its filter.
pub fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}
