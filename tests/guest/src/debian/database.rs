//! Databases in a whole Debian, where they were installed as everywhere. What they are asked is in [`crate::database`].

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::LoopDevice;
use crate::database::{Cluster, Ledger, Machine, Restored, System, every_point_is_whole};
use crate::registry::Scenario;
use crate::tool;
use crate::vm::setup::{self, LIVE, REPOSITORY};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "debian/databases",
        "SQLite and PostgreSQL at work are whole in an incremental point of both",
        || {
            let (mut ledger, mut cluster) = (ledger()?, cluster()?);
            every_point_is_whole(&Live("debian/databases"), &mut [&mut ledger, &mut cluster], 2, Restored::Last)
        },
    )
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(900),
    Scenario::new("debian/sqlite", "a SQLite database in WAL mode is whole in every recovery point", || {
        every_point_is_whole(&Live("debian/sqlite"), &mut [&mut ledger()?], 3, Restored::All)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(900),
    Scenario::new("debian/postgresql", "PostgreSQL under pgbench starts from every point, nothing amiss", || {
        every_point_is_whole(&Live("debian/postgresql"), &mut [&mut cluster()?], 2, Restored::All)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(1500),
    Scenario::new("debian/postgresql_long", "the same over twelve points", || {
        every_point_is_whole(&Live("debian/postgresql_long"), &mut [&mut cluster()?], 12, Restored::All)
    })
    .with_module()
    .in_debian()
    .only_soak()
    .within_s(5400),
];

fn ledger() -> Result<Ledger> {
    Ledger::start(&System::own(), Path::new(LIVE))
}

fn cluster() -> Result<Cluster> {
    Cluster::start(&System::own(), Path::new(LIVE))
}

/// The live disk of this machine; points have this name.
struct Live(&'static str);

impl Machine for Live {
    fn back_up(&self) -> Result<Value> {
        let live = crate::disk::node_of("live")?;
        setup::icecore(&["backup", &live.to_string_lossy(), "--name", self.0, "--used-blocks-only"])
    }

    fn look_into(&self, point: &Value, look: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        let id = point["id"].as_str().context("a backup without an id")?;
        let target = Path::new(REPOSITORY).join("restored.img");
        setup::icecore(&["restore", id, "--to", &target.to_string_lossy()])?;
        let device = LoopDevice::of(&target)?;
        let partition = format!("{}p1", device.0);
        tool::run("mount", &[&partition, "/mnt"])?;
        let seen = look(Path::new("/mnt"));
        let unmounted = tool::run("umount", &["/mnt"]);
        // What was seen says more than a mount that is still in use because of it.
        seen?;
        unmounted?;
        tool::run("e2fsck", &["-f", "-n", &partition]).context("the restored file system is not clean")?;
        drop(device);
        Ok(std::fs::remove_file(&target)?)
    }
}
