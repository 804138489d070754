//! The machine's disks as the kernel shows them, for the server's pages and for plans that mean all of them.

use crate::source::sys::{DeviceNumber, Mount, SysRoot};
use std::path::PathBuf;
use web_api::agent_work::MAX_DEVICES;
use web_api::device::{Device, DeviceKind};
use web_api::unit::ByteCount;

/// Bytes of a sector, in which the kernel counts sizes.
const SECTOR_BYTES: u64 = 512;
/// Names of devices that lie in memory, or of drives that are empty most of the time.
const NOT_FOR_BACKUP: [&str; 6] = ["ram", "zram", "sr", "fd", "nbd", "mtdblock"];

/// All block devices with a size: whole disks in the order of their names, each followed by its partitions. At most [`MAX_DEVICES`].
pub fn list(sys: &SysRoot) -> Vec<Device> {
    // Without mounts the disks are still there.
    let mounts = sys.mounts().unwrap_or_default();
    let look = Look { sys, mounts: &mounts };
    let mut found = Vec::new();
    for disk in sys.disks() {
        found.extend(look.device(disk, None));
        found.extend(sys.partitions(disk).into_iter().filter_map(|partition| look.device(partition, Some(disk))));
    }
    found.truncate(MAX_DEVICES);
    found
}

/// The disks that a plan for all disks means.
pub fn all_disks(sys: &SysRoot) -> Vec<PathBuf> {
    list(sys).into_iter().filter(|device| device.in_all_disks).map(|device| device.path.into()).collect()
}

struct Look<'l> {
    sys: &'l SysRoot,
    mounts: &'l [Mount],
}

impl Look<'_> {
    /// One device; nothing for those without a size or a medium, and for what lies in memory.
    fn device(&self, number: DeviceNumber, disk: Option<DeviceNumber>) -> Option<Device> {
        let name = self.sys.name(number);
        if disk.is_none() && NOT_FOR_BACKUP.iter().any(|prefix| is_numbered(&name, prefix)) {
            return None;
        }
        let attribute = |name: &str| self.sys.attribute(number, name).filter(|value| !value.is_empty());
        let is_set = |number, name: &str| self.sys.attribute(number, name).as_deref() == Some("1");
        let size_bytes = attribute("size")?.parse::<u64>().ok()?.checked_mul(SECTOR_BYTES)?;
        if size_bytes == 0 {
            return None;
        }
        let kind = self.kind(number, disk, &name);
        let on = disk.map_or_else(|| self.sys.slaves(number), |disk| vec![disk]);
        let mounts: Vec<&Mount> =
            self.mounts.iter().filter(|mount| self.sys.devices_of(mount).contains(&number)).collect();
        let removable = is_set(disk.unwrap_or(number), "removable");
        Some(Device {
            path: format!("/dev/{name}"),
            kind,
            on: on.into_iter().map(|under| format!("/dev/{}", self.sys.name(under))).collect(),
            size_bytes: ByteCount(size_bytes),
            label: attribute("dm/name").or_else(|| attribute("device/model")),
            serial: attribute("serial").or_else(|| attribute("device/serial")).or_else(|| attribute("wwid")),
            read_only: is_set(number, "ro"),
            removable,
            file_system: mounts.first().map(|mount| mount.fs_type.clone()),
            mounts: mounts.iter().map(|mount| mount.mountpoint.to_string_lossy().into_owned()).collect(),
            in_all_disks: kind == DeviceKind::Disk && !removable,
        })
    }

    fn kind(&self, number: DeviceNumber, disk: Option<DeviceNumber>, name: &str) -> DeviceKind {
        match disk {
            Some(_) => DeviceKind::Partition,
            None if is_numbered(name, "loop") => DeviceKind::Loop,
            None if is_numbered(name, "dm-") || is_numbered(name, "md") || !self.sys.slaves(number).is_empty() => {
                DeviceKind::Mapped
            }
            None => DeviceKind::Disk,
        }
    }
}

/// `sr0` and the like, and not `srv`.
fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A machine's /sys in a directory.
    struct Picture {
        dir: tempfile::TempDir,
    }

    impl Picture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for path in ["sys/block", "sys/dev/block", "proc/self", "dev"] {
                fs::create_dir_all(dir.path().join(path)).unwrap();
            }
            fs::write(dir.path().join("proc/self/mountinfo"), "36 35 8:1 / /srv rw - ext4 /dev/sda1 rw\n").unwrap();
            Self { dir }
        }

        fn device(&self, place: &str, number: &str, attributes: &[(&str, &str)]) {
            let dir = self.dir.path().join("sys/devices").join(place);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("dev"), number).unwrap();
            for (name, value) in attributes {
                fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
                fs::write(dir.join(name), value).unwrap();
            }
            symlink(&dir, self.dir.path().join("sys/dev/block").join(number)).unwrap();
            if !place.contains('/') {
                symlink(&dir, self.dir.path().join("sys/block").join(place)).unwrap();
            }
        }

        fn sys(&self) -> SysRoot {
            SysRoot::at(Path::new(self.dir.path()))
        }
    }

    #[test]
    fn disks_come_with_partitions_and_mounts_and_only_lasting_ones_are_all_disks() {
        let picture = Picture::new();
        picture.device("sda", "8:0", &[("size", "2048"), ("removable", "0"), ("device/model", "Disk 9\n")]);
        picture.device("sda/sda1", "8:1", &[("size", "1024"), ("partition", "1")]);
        picture.device("sdb", "8:16", &[("size", "2048"), ("removable", "1")]);
        picture.device("sr0", "11:0", &[("size", "2048")]);
        picture.device("loop0", "7:0", &[("size", "2048")]);
        picture.device("loop1", "7:1", &[("size", "0")]);
        picture.device("dm-0", "253:0", &[("size", "512"), ("dm/name", "root")]);
        let found = list(&picture.sys());
        let paths: Vec<_> = found.iter().map(|device| (device.path.as_str(), device.kind)).collect();
        assert_eq!(
            paths,
            [
                ("/dev/dm-0", DeviceKind::Mapped),
                ("/dev/loop0", DeviceKind::Loop),
                ("/dev/sda", DeviceKind::Disk),
                ("/dev/sda1", DeviceKind::Partition),
                ("/dev/sdb", DeviceKind::Disk),
            ]
        );
        let partition = &found[3];
        assert_eq!((partition.mounts[0].as_str(), partition.on[0].as_str()), ("/srv", "/dev/sda"));
        assert_eq!((found[2].label.as_deref(), found[2].size_bytes), (Some("Disk 9"), ByteCount(1 << 20)));
        assert_eq!(all_disks(&picture.sys()), [PathBuf::from("/dev/sda")]);
    }
}
