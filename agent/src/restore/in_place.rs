//! Where files of a recovery point were: in the file system of the same id, wherever that is mounted on this machine now.
//!
//! A place that the point named could be anything by now. The id of a file system is in it, so what is found is the one that was backed up.

use crate::facts::content::{self, Content};
use crate::read_at::FileDisk;
use crate::source::sys::{DeviceNumber, Mount, SysRoot};
use anyhow::{Context as _, Result};
use repo_format::Error;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The directory at which the file system of a volume is mounted as a whole, for writing.
pub fn mounted_at(sys: &SysRoot, volume: Option<&Content>) -> Result<PathBuf> {
    let refused = |what: String| anyhow::Error::from(Error::Refused(what));
    let wanted = volume.filter(|content| content.uuid.is_some()).ok_or_else(|| {
        refused("the recovery point does not say which file system its files were in; name a directory instead".into())
    })?;
    let uuid = wanted.uuid.as_deref().unwrap_or_default();
    let mounts = sys.mounts().context("looking at what is mounted on this machine")?;
    let mut found: BTreeMap<String, &Mount> = BTreeMap::new();
    let mut is_seen_in_part = false;
    for mount in mounts.iter().filter(|mount| sys.devices_of(mount).iter().any(|device| holds(sys, *device, wanted))) {
        match mount.is_whole() && is_on_top(mount) {
            true => drop(found.entry(mount.device.to_string()).or_insert(mount)),
            false => is_seen_in_part = true,
        }
    }
    let mut found = found.into_values();
    match (found.next(), found.next()) {
        (Some(mount), None) if mount.is_read_only() => Err(refused(format!(
            "the file system {uuid} is mounted at {} for reading only",
            mount.mountpoint.display()
        ))),
        (Some(mount), None) => Ok(mount.mountpoint.clone()),
        (Some(one), Some(other)) => Err(refused(format!(
            "two file systems with the id {uuid} are mounted here, at {} and {}; name a directory instead",
            one.mountpoint.display(),
            other.mountpoint.display()
        ))),
        (None, _) if is_seen_in_part => Err(refused(format!(
            "of the file system {uuid} only a part is mounted on this machine, such as a subvolume; name a directory instead"
        ))),
        (None, _) => Err(refused(format!(
            "the file system {uuid}, which the files were in, is not mounted on this machine now; mount it, or name a directory instead"
        ))),
    }
}

/// Whether this is what a path that leads there arrives at: another mount may lie over it.
fn is_on_top(mount: &Mount) -> bool {
    let there = mount.mountpoint.symlink_metadata();
    there.is_ok_and(|there| mount.device.is_anonymous() || DeviceNumber::from_raw(there.dev()) == mount.device)
}

fn holds(sys: &SysRoot, device: DeviceNumber, wanted: &Content) -> bool {
    let path = sys.join(Path::new("/dev/block")).join(device.to_string());
    let path = if path.exists() { path } else { sys.join(Path::new("/dev")).join(sys.name(device)) };
    let disk = File::open(path).and_then(FileDisk::new);
    let held = disk.and_then(|disk| content::probe(&disk)).ok().flatten();
    held.is_some_and(|held| held.kind == wanted.kind && held.uuid == wanted.uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::content::ContentKind;
    use std::fs;

    fn content(uuid: Option<&str>) -> Content {
        let uuid = uuid.map(|uuid| serde_json::json!({ "kind": ContentKind::Ext4, "uuid": uuid }));
        serde_json::from_value(uuid.unwrap_or_else(|| serde_json::json!({ "kind": ContentKind::Ext4 }))).unwrap()
    }

    #[test]
    fn what_is_not_mounted_or_has_no_id_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        fs::write(dir.path().join("proc/self/mountinfo"), "36 35 8:1 / /srv rw - ext4 /dev/sda1 rw\n").unwrap();
        let sys = SysRoot::at(dir.path());
        for (volume, words) in [
            (None, "does not say"),
            (Some(content(None)), "does not say"),
            (Some(content(Some("0f1c"))), "not mounted on this machine"),
        ] {
            let error = mounted_at(&sys, volume.as_ref()).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("name a directory"), "{error}");
        }
    }
}
