//! The machine's disks and its repository, made at the first boot and found again at the next.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::disk;
use crate::tool;

/// Where the live file system is.
pub const LIVE: &str = "/live";
/// Where the disk with the repository is mounted.
pub const REPOSITORY: &str = "/repository";
/// What the repository of a machine without secrets is locked with.
pub const PASSPHRASE: &str = "deep ice";

/// The machine, ready.
pub struct Machine {
    /// The disk that is backed up while it is written to.
    pub live: PathBuf,
}

/// Loads the module, mounts the disks, makes the repository.
pub fn prepare() -> Result<Machine> {
    tool::run("modprobe", &["blksnap"])?;
    let live = disk::node_of("live")?;
    let partition = first_partition(&live)?;
    mount(&partition, LIVE)?;
    let repository = disk::node_of("repository")?;
    if !has_file_system(&repository)? {
        make_ext4(&repository, "icecore-repo")?;
    }
    mount(&repository, REPOSITORY)?;
    if !Path::new(&repository_path()).exists() {
        icecore(&["init"])?;
    }
    Ok(Machine { live })
}

/// Keeps udev and LVM off the images of snapshots, without which none is taken.
pub fn protect_images() -> Result<()> {
    icecore(&["tracker", "install-rules"]).map(drop)
}

/// The repository's directory.
pub fn repository_path() -> String {
    format!("{REPOSITORY}/icecore")
}

/// The index lies beside it: on the root disk it would be in the way of a backup of that.
pub fn index_path() -> String {
    format!("{REPOSITORY}/index")
}

/// Runs `icecore` and returns the JSON that it prints.
pub fn icecore(args: &[&str]) -> Result<Value> {
    let repository = repository_path();
    let settings = [
        format!("ICECORE_REPO={repository}"),
        format!("ICECORE_PASSPHRASE={PASSPHRASE}"),
        format!("ICECORE_INDEX_DIR={}", index_path()),
    ];
    let mut words: Vec<&str> = settings.iter().map(String::as_str).collect();
    words.extend(["HOME=/root", "icecore", "--json"]);
    words.extend(args);
    let printed = tool::run("env", &words)?;
    if printed.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&printed).with_context(|| format!("`icecore {}` printed no JSON: {printed}", args.join(" ")))
}

/// The live disk has a partition table with one file system, like the disks of most machines.
fn first_partition(live: &Path) -> Result<PathBuf> {
    let node = PathBuf::from(format!("{}1", live.display()));
    if node.exists() {
        return Ok(node);
    }
    let table = Path::new("/run/live.sfdisk");
    std::fs::write(table, "label: gpt\nstart=1MiB, name=live\n")?;
    tool::run("sh", &["-c", &format!("sfdisk --quiet {} < {}", live.display(), table.display())])?;
    tool::run("udevadm", &["settle"])?;
    ensure!(node.exists(), "{} did not appear", node.display());
    make_ext4(&node, "icecore-live")?;
    Ok(node)
}

fn has_file_system(device: &Path) -> Result<bool> {
    // Without one it prints nothing and ends with 2.
    let printed = tool::run("sh", &["-c", &format!("blkid -p -o value -s TYPE {} || true", device.display())])?;
    Ok(!printed.trim().is_empty())
}

fn make_ext4(device: &Path, label: &str) -> Result<()> {
    let node = device.to_string_lossy();
    tool::run("mkfs.ext4", &["-q", "-F", "-L", label, "-E", "lazy_itable_init=0,lazy_journal_init=0", &node]).map(drop)
}

fn mount(device: &Path, place: &str) -> Result<()> {
    std::fs::create_dir_all(place)?;
    tool::run("mount", &["-o", "noatime", &device.to_string_lossy(), place]).map(drop)
}
