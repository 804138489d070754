//! Volume groups made by LVM's own tools, without a device mapper: `lvs` is the judge of where each volume lies.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use agent::read_at::ReadAt;
use agent::volume_groups::VolumeGroups;

use crate::images::{Workshop, disk, require_root};
use crate::lvm_made::whole;
use crate::population::pattern;

const MEBIBYTE: u64 = 1 << 20;
const DISK_BYTES: u64 = 24 * MEBIBYTE;
const EXTENT_BYTES: u64 = 1 << 20;

/// Loop devices that end with the test, and LVM's tools which see nothing else.
struct Lvm {
    workshop: Workshop,
    images: Vec<PathBuf>,
    devices: Vec<String>,
}

impl Lvm {
    fn new(count: usize) -> Self {
        require_root();
        let workshop = Workshop::new();
        let mut lvm = Self { images: Vec::new(), devices: Vec::new(), workshop };
        for number in 0..count {
            let image = lvm.workshop.path(&format!("disk{number}.img"));
            File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
            let device = output(Command::new("losetup").args(["--find", "--show"]).arg(&image));
            lvm.devices.push(device.trim().to_owned());
            lvm.images.push(image);
        }
        lvm
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(arguments[0]);
        command.env("LVM_SYSTEM_DIR", self.workshop.path("")).env("LVM_SUPPRESS_FD_WARNINGS", "1").env("LC_ALL", "C");
        command.args(["--driverloaded", "n", "--devices", &self.devices.join(",")]).args(&arguments[1..]);
        output(&mut command)
    }

    fn create(&self, arguments: &str) {
        let fixed = ["lvcreate", "-y", "-an", "-Zn", "-Wn"];
        self.run(&fixed.into_iter().chain(arguments.split(' ')).collect::<Vec<_>>());
    }

    fn device(&self, number: usize) -> &str {
        &self.devices[number]
    }

    /// Writes a pattern where the group's extents are, then reads through files: what the tools wrote has to be there.
    fn filled(&self) -> Vec<Arc<dyn ReadAt>> {
        for (image, seed) in self.images.iter().zip(1..) {
            let bytes = pattern((DISK_BYTES - EXTENT_BYTES) as usize, seed);
            File::options().write(true).open(image).unwrap().write_all_at(&bytes, EXTENT_BYTES).unwrap();
        }
        self.images.iter().map(|image| disk(image)).collect()
    }

    /// The content of a volume by what `lvs` says of its segments.
    fn expected(&self, name: &str) -> Vec<u8> {
        let columns = "segtype,stripes,stripe_size,seg_size_pe,devices";
        let report = self.run(&[
            "lvs",
            "--noheadings",
            "--nosuffix",
            "--units",
            "b",
            "--segments",
            "-o",
            columns,
            &format!("vg/{name}"),
        ]);
        let mut bytes = Vec::new();
        for line in report.lines().filter(|line| !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (stripes, extents): (u64, u64) = (fields[1].parse().unwrap(), fields[3].parse().unwrap());
            let each = extents / stripes * EXTENT_BYTES;
            let parts: Vec<Vec<u8>> = fields[4].split(',').map(|area| self.area(area, each)).collect();
            let stripe_bytes = if stripes == 1 { each } else { fields[2].parse().unwrap() };
            for row in 0..(each / stripe_bytes) as usize {
                let row = row * stripe_bytes as usize;
                parts.iter().for_each(|part| bytes.extend(&part[row..][..stripe_bytes as usize]));
            }
        }
        bytes
    }

    /// `/dev/loop3(17)`: from this extent on.
    fn area(&self, area: &str, length: u64) -> Vec<u8> {
        let (device, extent) = area.trim_end_matches(')').split_once('(').unwrap();
        let image = &self.images[self.devices.iter().position(|d| d == device).unwrap()];
        let start = self.run(&["pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pe_start", device]);
        let offset = start.trim().parse::<u64>().unwrap() + extent.parse::<u64>().unwrap() * EXTENT_BYTES;
        let mut bytes = vec![0; length as usize];
        File::open(image).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }
}

impl Drop for Lvm {
    fn drop(&mut self) {
        for device in &self.devices {
            let detached = Command::new("losetup").args(["--detach", device]).status().is_ok_and(|s| s.success());
            assert!(detached || std::thread::panicking(), "losetup --detach {device}");
        }
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; install lvm2"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn volumes_lie_where_the_tools_say() {
    let lvm = Lvm::new(3);
    let [a, b, c] = [0, 1, 2].map(|number| lvm.device(number));
    lvm.run(&["pvcreate", "--labelsector", "3", a]);
    lvm.run(&["pvcreate", "--pvmetadatacopies", "2", b]);
    lvm.run(&["vgcreate", "-s", "1m", "vg", a, b, c]);
    lvm.create(&format!("-n lin -l 5 vg {a}"));
    lvm.create("-n str -i 3 -I 64k -l 12 vg");
    lvm.run(&["lvextend", "-l", "+4", "vg/lin", c]);
    lvm.create(&format!("-n two -i 2 -I 4k -l 6 vg {c} {a}"));
    lvm.run(&["lvextend", "-i", "2", "-I", "16k", "-l", "+4", "vg/two", b, c]);
    lvm.run(&["lvextend", "-l", "+3", "vg/lin", a]);
    lvm.create("-n gone -l 2 vg");
    lvm.run(&["lvremove", "-y", "vg/gone"]);
    let disks = lvm.filled();
    let found = VolumeGroups::read(&disks).unwrap();
    assert_eq!((found.groups.len(), found.notes.as_slice()), (1, &[][..]));
    let group = &found.groups[0];
    let names: Vec<_> = group.volumes.iter().map(|v| (v.name.as_str(), v.kind.as_str())).collect();
    assert_eq!(names, [("lin", "linear"), ("str", "striped"), ("two", "striped")]);
    for volume in &group.volumes {
        assert!(whole(&*volume.open().unwrap()).unwrap() == lvm.expected(&volume.name), "{}", volume.name);
        let uuid = lvm.run(&["lvs", "--noheadings", "-o", "lv_uuid", &format!("vg/{}", volume.name)]);
        assert_eq!(volume.uuid, uuid.trim());
    }
    assert_eq!(group.uuid, lvm.run(&["vgs", "--noheadings", "-o", "vg_uuid", "vg"]).trim());
}

#[test]
fn a_disk_without_metadata_and_one_that_left_the_group_are_known() {
    let lvm = Lvm::new(3);
    let [a, b, c] = [0, 1, 2].map(|number| lvm.device(number));
    lvm.run(&["pvcreate", "--pvmetadatacopies", "0", a]);
    lvm.run(&["vgcreate", "-s", "1m", "vg", a, b, c]);
    lvm.create(&format!("-n v -l 5 vg {a}"));
    lvm.run(&["vgreduce", "vg", c]);
    lvm.run(&["vgcreate", "-s", "1m", "other", c]);
    let disks = lvm.filled();
    let found = VolumeGroups::read(&disks).unwrap();
    let groups: Vec<_> = found.groups.iter().map(|g| (g.name.as_str(), g.disks.as_slice())).collect();
    assert_eq!(groups, [("vg", &[0, 1][..]), ("other", &[2][..])]);
    assert!(whole(&*found.groups[0].volumes[0].open().unwrap()).unwrap() == lvm.expected("v"));
    let alone = VolumeGroups::read(&disks[..1]).unwrap();
    assert!(alone.groups.is_empty() && alone.notes[0].contains("no group"), "{:?}", alone.notes);
    let without = VolumeGroups::read(&disks[1..]).unwrap();
    let uuid = lvm.run(&["pvs", "--noheadings", "-o", "pv_uuid", a]);
    assert_eq!(without.groups[0].missing, [uuid.trim()]);
    assert!(without.groups[0].volumes[0].refusal().unwrap().to_string().contains(uuid.trim()));
}

#[test]
fn a_file_system_in_a_volume_is_read() {
    let lvm = Lvm::new(2);
    let [a, b] = [0, 1].map(|number| lvm.device(number));
    lvm.run(&["vgcreate", "-s", "1m", "vg", a, b]);
    lvm.create("-n files -i 2 -I 8k -l 30 vg");
    // The file system is made in a file of its own, whose bytes are put where the volume lies.
    let image = lvm.workshop.format("fs.img", 30, &["mkfs.ext4", "-q", "-F"]);
    let bytes = std::fs::read(&image).unwrap();
    let (first, second) = (Path::new(&lvm.images[0]), Path::new(&lvm.images[1]));
    for (number, stripe) in bytes.chunks(8192).enumerate() {
        let file = File::options().write(true).open([first, second][number % 2]).unwrap();
        file.write_all_at(stripe, EXTENT_BYTES + (number / 2 * 8192) as u64).unwrap();
    }
    let disks: Vec<_> = lvm.images.iter().map(|image| disk(image)).collect();
    let found = VolumeGroups::read(&disks).unwrap();
    let volume = found.groups[0].volumes[0].open().unwrap();
    assert!(whole(&*volume).unwrap() == bytes);
    let content = agent::facts::DiskFacts::read(&*volume, 512).unwrap().content.unwrap();
    assert_eq!(content.kind, agent::facts::content::ContentKind::Ext4);
    let fs = agent::files::open(volume).unwrap();
    assert!(agent::files::list(&*fs, b"/").unwrap().iter().any(|entry| entry.name == "lost+found"));
}
