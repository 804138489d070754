//! Loop devices and mounts that end when they are dropped. Both need root.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{capture, is_root, tool_exists};

/// Whether loop devices can be used here; tests that need them say so and pass where they cannot (not root, no loop driver).
pub fn loop_devices_usable() -> bool {
    is_root() && Path::new("/dev/loop-control").exists() && tool_exists("losetup")
}

/// An image, or a window of it, as a block device.
pub struct LoopDevice {
    device: PathBuf,
}

impl LoopDevice {
    /// Attaches the whole image, with device nodes for its partitions.
    pub fn attach(image: &Path, read_only: bool) -> Result<Self> {
        Self::attach_with(image, read_only, &["--partscan"])
    }

    /// Attaches only the bytes `[offset, offset + length)`, such as one partition.
    pub fn attach_window(image: &Path, offset_bytes: u64, length_bytes: u64, read_only: bool) -> Result<Self> {
        let offset = offset_bytes.to_string();
        let length = length_bytes.to_string();
        Self::attach_with(image, read_only, &["--offset", &offset, "--sizelimit", &length])
    }

    fn attach_with(image: &Path, read_only: bool, options: &[&str]) -> Result<Self> {
        let mut command = Command::new("losetup");
        command.args(["--find", "--show"]).args(options);
        if read_only {
            command.arg("--read-only");
        }
        let output = capture(command.arg(image)).context("cannot attach a loop device")?;
        Ok(Self { device: PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()) })
    }

    /// The device node, such as `/dev/loop3`.
    pub fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = capture(Command::new("losetup").arg("--detach").arg(&self.device)) {
            eprintln!("left behind: {}: {error:#}", self.device.display());
        }
    }
}

/// A mounted file system.
pub struct Mount {
    directory: PathBuf,
    // Dropped after the unmount in `drop`, because fields are dropped after their owner.
    _device: Option<LoopDevice>,
}

impl Mount {
    /// Mounts `device` on the existing directory `directory`; `options` as for `mount -o`, may be empty.
    pub fn device(device: &Path, directory: &Path, options: &str) -> Result<Self> {
        let mut command = Command::new("mount");
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        capture(command.arg(device).arg(directory)).context("cannot mount")?;
        Ok(Self { directory: directory.to_owned(), _device: None })
    }

    /// Mounts what lies at `[offset, offset + length)` of an image; the loop device goes with the mount.
    pub fn window(image: &Path, offset_bytes: u64, length_bytes: u64, directory: &Path, options: &str) -> Result<Self> {
        let read_only = options.split(',').any(|option| option == "ro");
        let device = LoopDevice::attach_window(image, offset_bytes, length_bytes, read_only)?;
        let mut mount = Self::device(device.path(), directory, options)?;
        mount._device = Some(device);
        Ok(mount)
    }

    /// Where it is mounted.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if capture(Command::new("umount").arg(&self.directory)).is_ok() {
            return;
        }
        // Something still holds a file open; detaching lets the rest of the cleaning go on.
        if let Err(error) = capture(Command::new("umount").arg("--lazy").arg(&self.directory)) {
            eprintln!("left behind: {}: {error:#}", self.directory.display());
        }
    }
}
