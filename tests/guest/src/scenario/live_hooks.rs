//! Hooks round the snapshot of a live disk: told in time, and the point says what they reached.
//!
//! The guest has no shell, so its own program is the hook: `/init before` notes what it was told, and so on.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::disk::Disk;
use crate::icecore::{Detached, Repository, ensure_nothing_left};
use crate::mount::Mount;
use crate::registry::Scenario;
use crate::store::StoreDirectory;
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    "live_hooks/directory",
    "hooks of the default directory make a live point application-consistent, or end it",
    directory,
)
.with_module()
.within_s(240)];

const HOOKS: &str = "/etc/icecore/hooks.d";
const LOG: &str = "/tmp/hooks.log";

/// What the program does as a hook.
pub fn note(stage: &str) -> ExitCode {
    let images = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let images = images.filter(|entry| entry.file_name().to_string_lossy().starts_with("blksnap-")).count();
    let log = fs::OpenOptions::new().create(true).append(true).open(LOG);
    match log.and_then(|mut log| writeln!(log, "{stage} with {images} images")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What was noted since the last time.
fn told() -> Result<Vec<String>> {
    let noted = fs::read_to_string(LOG).unwrap_or_default();
    fs::write(LOG, "")?;
    Ok(noted.lines().map(str::to_owned).collect())
}

/// The default directory with this hook in it; gone when dropped.
struct Hooks;

impl Hooks {
    fn make() -> Result<Self> {
        fs::create_dir_all(HOOKS)?;
        symlink("/init", Path::new(HOOKS).join("10-application")).context("a hook")?;
        Ok(Self)
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(HOOKS);
        let _ = fs::remove_file(LOG);
    }
}

fn directory() -> Result<()> {
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let node = Disk::First.node()?;
    let tracked = Detached(vec![&node]);
    tool::run("mkfs.ext4", &["-q", "-F", &node.to_string_lossy(), "64M"])?;
    let mount = Mount::new(&node, "live", "ext4", "")?;
    let hooks = Hooks::make()?;
    let first = repository.backup(&[&node], &[])?;
    ensure!(first.outcome["provider"] == "module", "{}", first.outcome);
    ensure!(first.outcome["consistency"] == "application_consistent", "{}", first.outcome);
    ensure!(told()? == ["before with 0 images", "after with 1 images"], "the snapshot did not lie between");

    // A hook that fails ends the backup, and the one before it is told to go on.
    symlink("/usr/sbin/losetup", Path::new(HOOKS).join("20-broken"))?;
    let disk = node.to_string_lossy().into_owned();
    repository.fails(&["backup", "--name", "live", &disk], 1, &["20-broken", "--hook-policy warn"])?;
    ensure!(told()? == ["before with 0 images", "failed with 0 images"], "the end was not told");
    let warned = repository.backup(&[&node], &["--hook-policy", "warn"])?;
    ensure!(warned.outcome["consistency"] == "crash_consistent", "{}", warned.outcome);
    warned.ensure_kind("incremental")?;
    ensure!(told()? == ["before with 0 images", "after with 1 images"], "the end was not told");

    // A snapshot that cannot be taken: there is no such place for what is overwritten.
    fs::remove_file(Path::new(HOOKS).join("20-broken"))?;
    repository.fails(&["backup", "--name", "live", "--snapshot-storage", "/no/such/place", &disk], 5, &[])?;
    ensure!(told()? == ["before with 0 images", "failed with 0 images"], "the end was not told");
    ensure_nothing_left()?;
    drop(hooks);
    mount.unmount()?;
    drop(tracked);
    store.close()
}
