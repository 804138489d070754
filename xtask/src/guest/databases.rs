//! The disk with the programs of databases: a tree of Debian 13 that scenarios enter, made once. Nothing on it is ever written to.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::kmod::archive::Archive;
use crate::kmod::build_root::{emptied, unpack_system};
use crate::{interrupt, workspace};

/// The databases, and what the scenarios call beside them.
const PACKAGES: [&str; 8] =
    ["base-files", "bash", "coreutils", "dash", "libc-bin", "postgresql", "sqlite3", "util-linux"];
/// No package's scripts run, so nobody else makes the users.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:101::/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\npostgres:x:101:\n";
/// Where scenarios mount something: the disk is read-only.
const PLACES: [&str; 5] = ["dev", "live", "proc", "restored", "tmp"];
/// Largest size; what is not used takes no space.
const SIZE: &str = "2G";

/// The image, made if it is not in the cache.
pub fn image() -> Result<PathBuf> {
    let cache = workspace::cache_dir()?.join("databases");
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = std::fs::File::create(cache.join("lock"))?;
    lock.lock().context("cannot lock the cache of databases")?;
    let image = cache.join(format!("debian-13-{:016x}.img", recipe()));
    if !image.exists() {
        ensure!(e2e::is_root(), "the disk with databases is made with chroot; run this command as root");
        eprintln!("Making the disk with databases (once; a minute)");
        make(&cache, &image)?;
    }
    Ok(image)
}

/// Changes when anything does that the image is made from, but for the packages' versions.
fn recipe() -> u64 {
    let mut hasher = DefaultHasher::new();
    (PACKAGES, USERS, GROUPS, PLACES, SIZE).hash(&mut hasher);
    hasher.finish()
}

fn make(cache: &std::path::Path, image: &std::path::Path) -> Result<()> {
    let work = tempfile::TempDir::with_prefix_in("tree-", cache).context("cannot write in the cache")?;
    let (tree, debs) = (emptied(&work.path().join("tree"))?, emptied(&work.path().join("debs"))?);
    let archive = Archive::open(&work.path().join("apt"))?;
    interrupt::check()?;
    archive.download_with_dependencies(&PACKAGES.map(str::to_owned), &debs)?;
    unpack_system(&debs, &tree).context("the packages of the databases cannot be unpacked")?;
    PLACES.iter().try_for_each(|place| std::fs::create_dir_all(tree.join(place)))?;
    std::fs::write(tree.join("etc/passwd"), USERS)?;
    std::fs::write(tree.join("etc/group"), GROUPS)?;
    interrupt::check()?;
    let part = work.path().join("image");
    let mut format = Command::new("mkfs.ext4");
    format.args(["-q", "-L", "icecore-dbs", "-O", "^has_journal", "-d"]).arg(&tree).arg(&part).arg(SIZE);
    e2e::capture(&mut format)?;
    std::fs::rename(part, image)?;
    Ok(())
}
