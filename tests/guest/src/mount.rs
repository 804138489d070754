//! A mounted file system that is unmounted when dropped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags};

/// A mount below `/mnt`.
pub struct Mount {
    place: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts `device` on `/mnt/NAME`.
    pub fn new(device: &Path, name: &str, kind: &str, options: &str) -> Result<Self> {
        Self::with_flags(device, name, kind, options, MsFlags::empty())
    }

    /// The same, never to be written.
    pub fn read_only(device: &Path, name: &str, kind: &str, options: &str) -> Result<Self> {
        Self::with_flags(device, name, kind, options, MsFlags::MS_RDONLY)
    }

    fn with_flags(device: &Path, name: &str, kind: &str, options: &str, flags: MsFlags) -> Result<Self> {
        let place = Path::new("/mnt").join(name);
        std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        nix::mount::mount(Some(device), &place, Some(kind), flags, Some(options))
            .with_context(|| format!("cannot mount {} as {kind} ({options})", device.display()))?;
        Ok(Self { place, mounted: true })
    }

    /// The root of the mounted file system.
    pub fn root(&self) -> &Path {
        &self.place
    }

    /// Unmounts and says whether that worked.
    pub fn unmount(mut self) -> Result<()> {
        self.mounted = false;
        nix::mount::umount2(&self.place, MntFlags::empty())
            .with_context(|| format!("cannot unmount {}", self.place.display()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A scenario that failed; process 1 reports what could not be undone.
        if self.mounted {
            let _ = nix::mount::umount2(&self.place, MntFlags::MNT_DETACH);
        }
    }
}
