//! Images of snapshots beside udev and LVM: nobody takes one for its disk where the rules are installed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::disk::Disk;
use crate::filter::Tracked;
use crate::pace::Deadline;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::store::StoreDirectory;
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    "images/udev",
    "no link, no volume group, no array and no btrfs of an image, with udev and LVM at work",
    udev,
)
.with_module()
.with_stock_kernel()
.in_own_boot()
.within_s(240)];

const LABEL: &str = "icecore-test";

/// The daemon of udev; ended when dropped.
struct Udev(Child);

impl Udev {
    fn start() -> Result<Self> {
        fs::create_dir_all("/run/udev/rules.d")?;
        let mut command = Command::new("/usr/sbin/udevadm");
        // The program is the daemon under this name.
        command.arg0("systemd-udevd").env_clear().env("PATH", "/usr/sbin:/sbin").stdin(Stdio::null());
        let udev = Self(command.spawn().context("cannot start udev")?);
        let deadline = Deadline::after_s(60);
        while !Path::new("/run/udev/control").exists() {
            deadline.ensure("udev does not listen")?;
        }
        Ok(udev)
    }

    /// Lets it look at every disk as at a boot, and waits.
    fn look(action: &str) -> Result<()> {
        tool::run("udevadm", &["trigger", &format!("--action={action}"), "--subsystem-match=block"])?;
        tool::run("udevadm", &["settle", "--timeout=120"]).map(drop)
    }
}

impl Drop for Udev {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything that udev may link, on four disks of kinds that it looks into.
struct Disks {
    group: PathBuf,
    labelled: PathBuf,
    btrfs: PathBuf,
    member: PathBuf,
}

impl Disks {
    fn make() -> Result<Self> {
        let disks = Self {
            group: Disk::First.node()?,
            labelled: Disk::Second.node()?,
            btrfs: Disk::FourKib.node()?,
            member: Disk::Scsi.node()?,
        };
        let group = text(&disks.group)?;
        tool::run("lvm", &["pvcreate", "-ff", "-y", group])?;
        tool::run("lvm", &["vgcreate", "group", group])?;
        tool::run("lvm", &["lvcreate", "-y", "-Zn", "-Wn", "-L", "64M", "-n", "volume", "group"])?;
        tool::run("lvm", &["vgchange", "-an", "group"])?;
        tool::run("mkfs.ext4", &["-q", "-F", "-L", LABEL, text(&disks.labelled)?])?;
        tool::run("mkfs.btrfs", &["-q", "-f", text(&disks.btrfs)?])?;
        let create = ["--create", "/dev/md9", "--run", "--level=1", "--force", "--raid-devices=1", "--metadata=1.2"];
        tool::run("mdadm", &[&create[..], &[text(&disks.member)?]].concat())?;
        tool::run("mdadm", &["--stop", "/dev/md9"])?;
        Ok(disks)
    }

    fn all(&self) -> [&Path; 4] {
        [&self.group, &self.labelled, &self.btrfs, &self.member]
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        let _ = tool::run("mdadm", &["--stop", "--scan"]);
        let _ = tool::run("lvm", &["vgchange", "-an", "group"]);
        let _ = tool::run("lvm", &["vgremove", "-ff", "-y", "group"]);
        if let Ok(group) = text(&self.group) {
            let _ = tool::run("lvm", &["pvremove", "-ff", "-y", group]);
        }
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a node's path is not UTF-8")
}

fn udev() -> Result<()> {
    let disks = Disks::make()?;
    let by_label = Path::new("/dev/disk/by-label").join(LABEL);
    let volume = Path::new("/dev/mapper/group-volume");
    let daemon = Udev::start()?;
    Udev::look("add")?;
    ensure!(fs::canonicalize(&by_label)? == disks.labelled, "udev makes no links here, so nothing would be proved");
    ensure!(volume.exists(), "LVM activates nothing here by itself, so nothing would be proved");
    ensure!(arrays()?.contains("md"), "no array is assembled here, so nothing would be proved: {}", arrays()?);
    tool::run("lvm", &["vgchange", "-an", "group"])?;

    rules_hide_a_disk(&disks.labelled, &by_label)?;
    install()?;
    let tracked: Vec<Tracked> = disks.all().iter().map(|disk| Tracked::attach(disk)).collect::<Result<_>>()?;
    let store = StoreDirectory::new()?;
    let snapshot = Snapshot::take_of(store.path(), AMPLE_SECTORS, &tracked.iter().collect::<Vec<_>>())?;
    tool::run("udevadm", &["settle", "--timeout=120"])?;
    for tracked in &tracked {
        let image = tracked.image()?;
        tool::run("udevadm", &["trigger", "--action=change", &format!("--name-match={}", text(&image)?)])?;
        tool::run("udevadm", &["settle", "--timeout=120"])?;
        let known = tool::run("udevadm", &["info", "--query=property", &format!("--name={}", text(&image)?)])?;
        ensure!(known.contains("UDISKS_IGNORE=1") && known.contains("SYSTEMD_READY=0"), "{known}");
        ensure!(!known.contains("ID_FS_UUID") && !known.contains("ID_BTRFS_READY"), "{known}");
    }
    ensure!(fs::canonicalize(&by_label)? == disks.labelled, "the label leads elsewhere");
    let links = links_to_images(Path::new("/dev"))?;
    ensure!(links.is_empty(), "links lead to images: {links:?}");
    ensure!(!volume.exists(), "a volume group was activated because of an image");
    // Of the member itself udev assembles it again whenever somebody lets go of it.
    ensure!(!arrays()?.contains("blksnap"), "an array was assembled of an image: {}", arrays()?);
    let volumes = tool::run("lvm", &["pvs", "--noheadings", "-o", "pv_name"])?;
    ensure!(volumes.trim() == text(&disks.group)?, "LVM sees {volumes}");
    snapshot.destroy()?;
    tracked.into_iter().try_for_each(Tracked::detach)?;
    store.close()?;
    drop(daemon);
    drop(disks);
    Ok(())
}

/// The rules work, not only the names that udev happens to know: under the name of a disk they take its link away.
fn rules_hide_a_disk(disk: &Path, by_label: &Path) -> Result<()> {
    let name = disk.file_name().and_then(|name| name.to_str()).context("the disk has no name")?;
    let rules = Path::new("/run/udev/rules.d/58-icecore-images.rules");
    let shipped = include_str!("../../../../packaging/udev/58-icecore-images.rules");
    fs::write(rules, shipped.replace("blksnap-*", name))?;
    tool::run("udevadm", &["control", "--reload"])?;
    Udev::look("change")?;
    ensure!(!by_label.exists(), "the rules do not hide a disk");
    fs::remove_file(rules)?;
    tool::run("udevadm", &["control", "--reload"])?;
    Udev::look("change")?;
    ensure!(by_label.exists(), "the link does not come back");
    Ok(())
}

/// By the verb; what was missing is in place afterwards.
fn install() -> Result<()> {
    let planned = tool::run("icecore", &["tracker", "install-rules", "--dry-run"])?;
    ensure!(planned.contains("MISSING") && planned.contains("global_filter"), "{planned}");
    let done = tool::run("icecore", &["tracker", "install-rules"])?;
    ensure!(done.contains("in place") && !done.contains("MISSING"), "{done}");
    let again: serde_json::Value =
        serde_json::from_str(&tool::run("icecore", &["--json", "tracker", "install-rules"])?)?;
    ensure!(again["changes"].as_array().is_some_and(Vec::is_empty), "{again}");
    Ok(())
}

fn arrays() -> Result<String> {
    let table = fs::read_to_string("/proc/mdstat")?;
    Ok(table.lines().filter(|line| line.starts_with("md")).collect())
}

/// All symbolic links below a directory that end at an image; only udev's own list of numbers may have them.
fn links_to_images(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() && path != Path::new("/dev/block") {
            found.extend(links_to_images(&path)?);
        } else if meta.is_symlink()
            && fs::canonicalize(&path).is_ok_and(|target| target.to_string_lossy().contains("blksnap-"))
        {
            found.push(path);
        }
    }
    if found.len() > 1000 {
        bail!("/dev is not to be understood");
    }
    Ok(found)
}
