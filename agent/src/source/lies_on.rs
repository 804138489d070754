//! Would a path, such as the repository, lie on the very disk that is backed up?
//!
//! Looks downwards from the path: its mount, the devices below the file system, and for each of them the whole disk,
//! the devices it is built of, and the file behind a loop device, which lies in a mount again. An image file in the same
//! file system as the path is no answer: only the file itself would be.

use super::Location;
use super::in_use::is_at;
use super::sys::{DeviceNumber, Mount, SysRoot};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// No way down is longer; it would end anyway, because each device and each mount is visited once.
const MAX_DEPTH: usize = 64;

/// The steps from `path` down to the source, in words for an error message; `None` when it does not lie there.
/// `path` need not exist yet.
pub fn is_on(sys: &SysRoot, path: &Path, source: &Location) -> io::Result<Option<Vec<String>>> {
    let absolute = std::path::absolute(path)?;
    let mut descent = Descent { sys, mounts: sys.mounts()?, source, visited: Visited::default(), chain: Vec::new() };
    Ok(descent.path(&absolute)?.then_some(descent.chain))
}

/// What need not be looked below again.
#[derive(Default)]
struct Visited {
    devices: BTreeSet<DeviceNumber>,
    /// By where they are mounted. A container's root may be an overlay whose layers have names outside of it: within,
    /// all of them lead to the overlay again, in as many ways as there are layers, each time.
    mounts: BTreeSet<PathBuf>,
}

struct Descent<'a> {
    sys: &'a SysRoot,
    mounts: Vec<Mount>,
    source: &'a Location,
    visited: Visited,
    /// The way to where we are; complete when the source is found.
    chain: Vec<String>,
}

impl Descent<'_> {
    fn path(&mut self, path: &Path) -> io::Result<bool> {
        if self.chain.len() > MAX_DEPTH {
            return Ok(false);
        }
        let path = self.sys.canonical(path)?;
        let shown = super::printable(path.as_os_str());
        if matches!(self.source, Location::File { .. }) && is_at(self.sys, &path, self.source) {
            self.chain.push(format!("{shown} is the source"));
            return Ok(true);
        }
        if let Some(device) = self.sys.resolve_device(&path) {
            return self.device(device);
        }
        let Some(mount) = self.mount_of(&path).cloned() else { return Ok(false) };
        let (at, fs_type) = (super::printable(mount.mountpoint.as_os_str()), &mount.fs_type);
        self.step(format!("{shown} lies in the {fs_type} file system mounted at {at}"), |descent| {
            descent.below_mount(&path, &mount)
        })
    }

    fn below_mount(&mut self, path: &Path, mount: &Mount) -> io::Result<bool> {
        if self.visited.mounts.insert(mount.mountpoint.clone()) {
            for device in self.sys.devices_of(mount) {
                if self.device(device)? {
                    return Ok(true);
                }
            }
            for layer in overlay_layers(mount) {
                if self.path(&layer)? {
                    return Ok(true);
                }
            }
        }
        // The kernel's word for the path itself: right even where a later mount hides the one found by its name.
        match self.sys.is_host().then(|| fs::metadata(existing(path))) {
            Some(Ok(metadata)) => {
                let device = DeviceNumber::from_raw(metadata.dev());
                if device.is_anonymous() { Ok(false) } else { self.device(device) }
            }
            _ => Ok(false),
        }
    }

    fn device(&mut self, device: DeviceNumber) -> io::Result<bool> {
        if !self.visited.devices.insert(device) {
            return Ok(false);
        }
        let shown = self.sys.describe(device);
        if *self.source == Location::Device(device) {
            self.chain.push(format!("{shown} is the source"));
            return Ok(true);
        }
        if let Some(disk) = self.sys.whole_disk(device)
            && self.step(format!("{shown} is a partition of {}", self.sys.describe(disk)), |d| d.device(disk))?
        {
            return Ok(true);
        }
        for below in self.sys.slaves(device) {
            if self.step(format!("{shown} is built on {}", self.sys.describe(below)), |d| d.device(below))? {
                return Ok(true);
            }
        }
        match self.sys.backing_of(device) {
            Some(backing) => {
                let behind = super::printable(backing.as_os_str());
                self.step(format!("{shown} is a loop device over {behind}"), |d| d.path(&backing))
            }
            None => Ok(false),
        }
    }

    /// Notes a step of the way and takes it back when it leads nowhere.
    fn step(&mut self, words: String, go: impl FnOnce(&mut Self) -> io::Result<bool>) -> io::Result<bool> {
        self.chain.push(words);
        let length = self.chain.len();
        let found = go(self)?;
        if !found {
            self.chain.truncate(length - 1);
        }
        Ok(found)
    }

    /// The mount with the longest matching path; of equal ones the last, which hides the others.
    fn mount_of(&self, path: &Path) -> Option<&Mount> {
        let matching = self.mounts.iter().filter(|mount| path.starts_with(&mount.mountpoint));
        matching.max_by_key(|mount| mount.mountpoint.components().count())
    }
}

/// The directories that an overlay is made of; they may lie on other file systems.
fn overlay_layers(mount: &Mount) -> Vec<PathBuf> {
    if mount.fs_type != "overlay" {
        return Vec::new();
    }
    let options = mount.super_options.as_bytes().split(|b| *b == b',');
    let dirs = options.filter_map(|option| {
        let keys: [&[u8]; 2] = [b"upperdir=", b"lowerdir="];
        keys.iter().find_map(|key| option.strip_prefix(*key))
    });
    let layers = dirs.flat_map(|dirs| dirs.split(|b| *b == b':'));
    let absolute = layers.filter(|layer| layer.starts_with(b"/"));
    absolute.map(|layer| PathBuf::from(OsString::from_vec(layer.to_vec()))).collect()
}

fn existing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new(OsStr::new("/")))
}
