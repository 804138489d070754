//! The machine's own root disk: backed up while the machine runs from it, restored to another disk, and booted from there.

use anyhow::{Context, Result, ensure};

use super::{Phase, ensure_same};
use crate::registry::Scenario;
use crate::vm::setup;
use crate::{disk, tool};

const NAME: &str = "debian/root_disk";

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    NAME,
    "the running root disk is backed up, restored to another disk, and the machine boots from that",
    root_disk,
)
.with_module()
.in_debian()
.only_soak()
.within_s(1500)];

fn root_disk() -> Result<()> {
    let phase = Phase::of(NAME)?;
    let root = disk::node_of("root")?.to_string_lossy().into_owned();
    let restored = disk::node_of("restored")?.to_string_lossy().into_owned();
    let mounted = tool::run("findmnt", &["-n", "-o", "SOURCE", "/"])?;
    let uuid = tool::run("findmnt", &["-n", "-o", "UUID", "/"])?;
    if phase.number == 0 {
        ensure_same("the root's disk", &mounted.trim(), &root.as_str())?;
        std::fs::write(phase.file("uuid"), &uuid)?;
        std::fs::write(phase.file("failed-units"), failed_units()?)?;
        std::fs::write("/root/written-before-the-backup", "here")?;
        let point = setup::icecore(&["backup", &root, "--name", "root", "--used-blocks-only"])?;
        std::fs::write("/root/written-after-the-backup", "not there")?;
        let id = point["id"].as_str().context("a backup without an id")?;
        setup::icecore(&["restore", id, "--to", &restored])?;
        // The first program of the boot takes the disk `restored` for the root when there is a file system on it.
        return phase.restart();
    }
    ensure_same("the root's disk", &mounted.trim(), &restored.as_str())?;
    ensure_same("its UUID", &uuid, &std::fs::read_to_string(phase.file("uuid"))?)?;
    ensure_same(
        "what was written before",
        &std::fs::read_to_string("/root/written-before-the-backup")?,
        &"here".into(),
    )?;
    ensure!(!std::path::Path::new("/root/written-after-the-backup").exists(), "the disk shows what was written later");
    ensure_same("units that fail", &failed_units()?, &std::fs::read_to_string(phase.file("failed-units"))?)
}

fn failed_units() -> Result<String> {
    tool::run("systemctl", &["--failed", "--no-legend", "--plain"])
}
