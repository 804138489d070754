//! The root file system of the virtual machine: Debian 13 with systemd, made once and never changed; each machine writes to a layer of its own.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::kmod::archive;
use crate::{interrupt, workspace};

/// What the machine can do: live disks of every kind, and databases to be backed up.
const PACKAGES: [&str; 19] = [
    "bash-completion",
    "btrfs-progs",
    "dbus",
    "dosfstools",
    "e2fsprogs",
    "fdisk",
    "gdisk",
    "grub-pc-bin",
    "kmod",
    "less",
    "lvm2",
    "mdadm",
    "postgresql",
    "procps",
    "sqlite3",
    "systemd-sysv",
    "thin-provisioning-tools",
    "udev",
    "xfsprogs",
];

/// Files that nobody reads in a machine that lives for an hour.
const LEFT_OUT: [&str; 4] = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"];

/// What makes it a machine; runs with the tree as its first argument.
const CUSTOMISE: &str = include_str!("customise.sh");

/// Largest size of the root disk; what is not used takes no space.
const SIZE: &str = "4G";

/// The image, made if it is not in the cache.
pub fn image() -> Result<PathBuf> {
    let cache = workspace::cache_dir()?.join("vm");
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = std::fs::File::create(cache.join("lock"))?;
    lock.lock().context("cannot lock the cache of virtual machines")?;
    let image = cache.join(format!("debian-13-{:016x}.img", recipe()));
    if !image.exists() {
        ensure!(e2e::is_root(), "the machine's root file system is made with chroot; run this command as root");
        eprintln!("Making the root file system of the virtual machine (once; some minutes)");
        make(&cache, &image)?;
        forget_others(&cache, &image)?;
    }
    Ok(image)
}

/// Changes when anything does that the image is made from, but for the packages' versions.
fn recipe() -> u64 {
    let mut hasher = DefaultHasher::new();
    (PACKAGES, LEFT_OUT, CUSTOMISE, SIZE).hash(&mut hasher);
    hasher.finish()
}

fn make(cache: &Path, image: &Path) -> Result<()> {
    let work = tempfile::TempDir::with_prefix_in("root-", cache).context("cannot write in the cache")?;
    let (tree, script) = (work.path().join("tree"), work.path().join("customise.sh"));
    std::fs::write(&script, CUSTOMISE)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    interrupt::check()?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--mode=root", "--variant=minbase", "--quiet"]);
    bootstrap.arg(format!("--include={}", PACKAGES.join(",")));
    bootstrap.args(["--aptopt=APT::Sandbox::User \"root\"", "--aptopt=Acquire::Languages \"none\""]);
    bootstrap.args(LEFT_OUT.map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    bootstrap.arg(format!("--customize-hook={} \"$1\"", script.display()));
    bootstrap.arg(archive::SUITE).arg(&tree).arg(archive::source(archive::SUITE));
    // What the caller's shell says of languages does not exist in there.
    bootstrap.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
    e2e::capture(&mut bootstrap).context("the root file system cannot be made")?;
    interrupt::check()?;
    let part = work.path().join("image");
    let mut format = Command::new("mkfs.ext4");
    format.args(["-q", "-L", "icecore-root", "-d"]).arg(&tree).arg(&part).arg(SIZE);
    e2e::capture(&mut format)?;
    std::fs::rename(part, image)?;
    Ok(())
}

/// Deletes the images of other recipes.
fn forget_others(cache: &Path, image: &Path) -> Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let path = entry?.path();
        if path != image && path.extension().is_some_and(|extension| extension == "img") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
