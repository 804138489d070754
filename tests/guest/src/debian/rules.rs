//! Images carry the ids of their originals; nothing on the machine may take one for the other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::ensure_same;
use crate::registry::Scenario;
use crate::vm::setup;
use crate::{disk, tool};

/// The only scenario that begins without the rules.
pub const NAME: &str = "debian/rules";

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    NAME,
    "with the rules in place udev, LVM and btrfs leave images alone; without them no image is taken",
    rules,
)
.with_module()
.in_debian()
.only_soak()
.within_s(300)];

/// Links by which people and programs find disks.
const LINKS: [&str; 4] = ["by-uuid", "by-label", "by-partuuid", "by-id"];

fn rules() -> Result<()> {
    let spare = disk::node_of("spare")?;
    let second = disk::node_of("second")?;
    let (spare, second) = (spare.to_string_lossy().into_owned(), second.to_string_lossy().into_owned());
    tool::run("vgcreate", &["-y", "vg0", &spare])?;
    tool::run("lvcreate", &["-y", "-L", "64M", "-n", "data", "vg0"])?;
    tool::run("mkfs.ext4", &["-q", "-L", "icelv", "/dev/vg0/data"])?;
    tool::run("mkfs.btrfs", &["-q", "-f", "-L", "icebtrfs", &second])?;
    look_again()?;

    let refused = setup::icecore(&["backup", &spare, &second, "--name", "rules", "--provider", "module"]);
    let words = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(words.contains("install-rules"), "without the rules it should say how to get them: {words}");
    setup::protect_images()?;

    // As on a machine that runs: btrfs in use. The kernel then takes no other device for one of its own, whoever asks for a scan.
    tool::run("mount", &["LABEL=icebtrfs", "/mnt"])?;
    let before = Seen::now()?;
    let listed = held(&[&spare, &second], || {
        tool::run("udevadm", &["settle"])?;
        // What a machine does from time to time, and at the next disk that is plugged in.
        tool::run("pvscan", &["--cache", "-aay"])?;
        tool::run("vgchange", &["-ay"])?;
        tool::run("btrfs", &["device", "scan"])?;
        look_again()?;
        Seen::now()
    })?;
    tool::run("umount", &["/mnt"])?;
    ensure_same("links in /dev/disk", &listed.links, &before.links)?;
    ensure_same("physical volumes", &listed.volumes, &before.volumes)?;
    ensure_same("btrfs file systems", &listed.btrfs, &before.btrfs)?;
    let mounted = tool::run("blkid", &["-L", "icelv"])?;
    ensure!(mounted.trim().ends_with("vg0-data"), "the volume is found as {mounted}");

    let found = held(&[&spare, &second], || {
        look_again()?;
        tool::run("mount", &["LABEL=icebtrfs", "/mnt"])?;
        let found = tool::run("findmnt", &["-n", "-o", "SOURCE", "/mnt"]);
        tool::run("umount", &["/mnt"])?;
        found
    })?;
    ensure_same("the btrfs that is found by its label", &found.trim(), &second.as_str())?;

    setup::icecore(&["backup", &spare, &second, "--name", "rules", "--provider", "module"])?;
    ensure_same("links after a backup", &links()?, &before.links)?;
    tool::run("vgremove", &["-y", "--force", "vg0"])?;
    tool::run("wipefs", &["--all", "--quiet", &spare, &second]).map(drop)
}

/// Lets udev look at every block device, as at the next disk that is plugged in, and waits for it.
fn look_again() -> Result<()> {
    tool::run("udevadm", &["trigger", "--settle", "--subsystem-match=block"]).map(drop)
}

/// Runs `look` while images of the devices are there.
fn held<T>(devices: &[&str], look: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut args = vec!["tracker", "snapshot", "create", "--storage", "/tmp", "--limit", "64M", "--take"];
    for device in devices {
        args.extend(["--device", device]);
    }
    for device in devices {
        // Tracked already when a backup was tried before.
        let _ = setup::icecore(&["tracker", "attach", device]);
    }
    let snapshot = setup::icecore(&args)?;
    let id = snapshot["id"].as_str().context("a snapshot without an id")?;
    let seen = look();
    setup::icecore(&["tracker", "snapshot", "destroy", id])?;
    seen
}

/// What the machine believes about its disks while a btrfs is mounted.
struct Seen {
    links: BTreeMap<PathBuf, PathBuf>,
    volumes: String,
    btrfs: String,
}

impl Seen {
    fn now() -> Result<Self> {
        let volumes = tool::run("pvs", &["--noheadings", "-o", "pv_name,pv_uuid,vg_name"])?;
        let btrfs = tool::run("btrfs", &["filesystem", "show", "--mounted"])?;
        Ok(Self { links: links()?, volumes, btrfs })
    }
}

/// Where the links lead.
fn links() -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut links = BTreeMap::new();
    for directory in LINKS {
        let Ok(entries) = std::fs::read_dir(format!("/dev/disk/{directory}")) else { continue };
        for entry in entries {
            let path = entry?.path();
            links.insert(path.clone(), std::fs::read_link(&path)?);
        }
    }
    Ok(links)
}
