//! The user-space tools of the guest: the host's own and `icecore`, with the shared libraries that they load.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::cpio::Archive;
use crate::workspace;

/// Programs that scenarios call.
const PROGRAMS: [&str; 24] = [
    "mkfs.ext4",
    "e2fsck",
    "debugfs",
    "tune2fs",
    "resize2fs",
    "mkfs.xfs",
    "xfs_repair",
    "xfs_growfs",
    "mkfs.btrfs",
    "btrfs",
    "dmsetup",
    "lvm",
    "mdadm",
    "losetup",
    "mount",
    "umount",
    "fsfreeze",
    "sfdisk",
    "modprobe",
    "mkswap",
    "swapon",
    "swapoff",
    "thin_delta",
    "udevadm",
];

/// Rules of udev that a disk meets on a usual machine. The daemon runs only where a scenario starts it.
const UDEV_RULES: [&str; 12] = [
    "50-udev-default.rules",
    "55-dm.rules",
    "56-lvm.rules",
    "60-block.rules",
    "60-persistent-storage.rules",
    "60-persistent-storage-dm.rules",
    "63-md-raid-arrays.rules",
    "64-btrfs.rules",
    "64-btrfs-dm.rules",
    "64-md-raid-assembly.rules",
    "69-lvm.rules",
    "99-systemd.rules",
];
const UDEV_RULES_FROM: [&str; 2] = ["/usr/lib/udev/rules.d", "/lib/udev/rules.d"];

/// Names under which `lvm` is called, too.
const LVM_NAMES: [&str; 2] = ["lvcreate", "lvremove"];

/// There is no udev in the guest that could be waited for, and nothing to remember between boots.
const LVM_CONFIGURATION: &str = "\
devices { use_devicesfile = 0 obtain_device_list_from_udev = 0 external_device_info_source = \"none\" }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
backup { backup = 0 archive = 0 }
global { use_lvmpolld = 0 locking_dir = \"/run/lvm\" }
";

/// Puts programs, libraries and settings into the archive.
pub fn add(archive: &mut Archive) -> Result<()> {
    for program in PROGRAMS {
        add_program(archive, program, &find(program)?)?;
    }
    LVM_NAMES.iter().try_for_each(|name| archive.symlink(&format!("usr/sbin/{name}"), "lvm"))?;
    add_program(archive, "icecore", &icecore()?)?;
    archive.file("etc/lvm/lvm.conf", LVM_CONFIGURATION.as_bytes())?;
    add_udev_rules(archive)?;
    archive.symlink("etc/mtab", "/proc/mounts")
}

/// The host's own; what a distribution names otherwise is left out.
fn add_udev_rules(archive: &mut Archive) -> Result<()> {
    for name in UDEV_RULES {
        let found = UDEV_RULES_FROM.iter().map(|from| Path::new(from).join(name)).find(|path| path.is_file());
        if let Some(path) = found {
            archive.file(&format!("usr/lib/udev/rules.d/{name}"), &read(&path)?)?;
        }
    }
    // Where those rules look for programs.
    archive.symlink("sbin", "usr/sbin")
}

fn add_program(archive: &mut Archive, name: &str, path: &Path) -> Result<()> {
    for library in libraries(path)? {
        let name = library.to_str().context("a library's path is not UTF-8")?.trim_start_matches('/').to_owned();
        if !archive.contains(&name) {
            archive.program(&name, &read(&library)?)?;
        }
    }
    archive.program(&format!("usr/sbin/{name}"), &read(path)?)
}

/// The program of this workspace, or the one that `ICECORE_BIN` names as for all tests from outside, without its debugging
/// information: every boot unpacks it.
pub fn icecore() -> Result<PathBuf> {
    let built = match std::env::var_os("ICECORE_BIN") {
        Some(path) => PathBuf::from(path),
        None => workspace::build("icecore", false)?,
    };
    let stripped = workspace::root().join("target/guest/icecore");
    let mut strip = Command::new("strip");
    strip.arg("-o").args([&stripped, &built]);
    ensure!(strip.status().context("cannot start strip (of binutils)")?.success(), "strip failed");
    Ok(stripped)
}

/// A program of the host.
pub fn find(program: &str) -> Result<PathBuf> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search_path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("{program} is not installed; run `cargo xtask setup`"))
}

/// The dynamic linker and every library, as `ldd` resolves them; none for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).stdin(Stdio::null()).output().context("cannot start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.contains("not found"), "{} misses a library:\n{text}", program.display());
    Ok(paths_in(&text))
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn paths_in(listing: &str) -> Vec<PathBuf> {
    let words = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listing.lines().filter_map(words).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::paths_in;

    #[test]
    fn libraries_and_the_linker_are_found_and_the_virtual_one_is_not() {
        let listing =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(paths_in(listing), ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert!(paths_in("\tstatically linked\n").is_empty());
    }
}
