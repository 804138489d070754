//! Which devices are tracked, as /sys tells.

use crate::source::sys::{DeviceNumber, SysRoot};
use std::fs;
use std::path::{Path, PathBuf};

/// The name that stands in a device's `filter` file.
const NAME: &[u8] = b"blksnap";

/// The tracked devices of this machine as paths in /dev, in the order of their names.
pub fn attached(sys: &SysRoot) -> Vec<PathBuf> {
    let entries = fs::read_dir(sys.join(Path::new("/sys/class/block"))).into_iter().flatten().flatten();
    let tracked = entries.filter(|entry| {
        let name = fs::read(entry.path().join("filter")).unwrap_or_default();
        name.trim_ascii() == NAME
    });
    // The kernel writes / in names as !.
    let path = |name: std::ffi::OsString| Path::new("/dev").join(name.to_string_lossy().replace('!', "/"));
    let mut devices: Vec<PathBuf> = tracked.map(|entry| path(entry.file_name())).collect();
    devices.sort();
    devices
}

/// Whether this device is tracked.
pub fn is_attached(sys: &SysRoot, device: DeviceNumber) -> bool {
    sys.attribute(device, "filter").is_some_and(|name| name.as_bytes() == NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_our_filter_are_found_and_others_are_not() {
        let root = tempfile::tempdir().unwrap();
        for (device, filter) in
            [("sdb", Some("blksnap\n")), ("sda", Some("other\n")), ("sdc", None), ("cciss!c0d0", Some("blksnap"))]
        {
            let dir = root.path().join("sys/class/block").join(device);
            fs::create_dir_all(&dir).unwrap();
            filter.into_iter().for_each(|name| fs::write(dir.join("filter"), name).unwrap());
        }
        assert_eq!(attached(&SysRoot::at(root.path())), [Path::new("/dev/cciss/c0d0"), Path::new("/dev/sdb")]);
        assert!(attached(&SysRoot::at("/nonexistent")).is_empty());
    }
}
