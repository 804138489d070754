//! Databases at work on a live disk, in the small guest: their programs are in a tree of Debian on a disk of their own. `debian/…` does the
//! same, and more of it, in a whole Debian.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::database::{Cluster, Ledger, Machine, Restored, System, every_point_is_whole};
use crate::disk::{self, Disk};
use crate::icecore::{Detached, Point, Repository, ensure_nothing_left};
use crate::mount::Mount;
use crate::registry::Scenario;
use crate::scenario::live::TestDisk;
use crate::scenario::stack::Loop;
use crate::store::StoreDirectory;
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[Scenario::new(
    "live_databases/both",
    "SQLite and PostgreSQL at work are whole in an incremental point of both",
    both,
)
.with_databases()
.within_s(600)];

/// Serial number of the disk with the programs; `xtask/src/guest/machine.rs` attaches it.
const DISK: &str = "databases";
/// Sectors of the live disk (256 MiB).
const SECTORS: u64 = 256 << 11;

/// The tree of Debian, with the file systems that programs expect.
struct Tree {
    mount: Mount,
    /// In the order in which they were mounted.
    inner: Vec<Mount>,
}

impl Tree {
    fn mount() -> Result<Self> {
        let mount = Mount::read_only(&disk::node_of(DISK)?, DISK, "ext4", "")?;
        let mut tree = Self { mount, inner: Vec::new() };
        for (kind, place, options) in [
            ("proc", "proc", ""),
            ("devtmpfs", "dev", ""),
            ("tmpfs", "dev/shm", "mode=1777"),
            ("tmpfs", "tmp", "mode=1777"),
        ] {
            tree.inner.push(Mount::new(Path::new(kind), &inside(place), kind, options)?);
        }
        Ok(tree)
    }

    fn unmount(self) -> Result<()> {
        self.inner.into_iter().rev().try_for_each(Mount::unmount)?;
        self.mount.unmount()
    }
}

/// What a place in the tree is to [`Mount`].
fn inside(place: &str) -> String {
    format!("{DISK}/{place}")
}

/// The small guest.
struct Small<'s> {
    repository: &'s Repository,
    disk: &'s Path,
    store: &'s Path,
}

impl Machine for Small<'_> {
    fn back_up(&self) -> Result<Value> {
        Ok(self.repository.backup(&[self.disk], &["--used-blocks-only"])?.outcome)
    }

    fn look_into(&self, point: &Value, look: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        let restored = self.store.join("restored");
        self.repository.restore(&Point { outcome: point.clone() }, None, &restored)?;
        let device = Loop::attach(&restored)?;
        // The mount replays the journal.
        let mounted = Mount::new(device.node(), &inside("restored"), "ext4", "")?;
        look(mounted.root())?;
        mounted.unmount()?;
        tool::run("e2fsck", &["-f", "-n", &device.node().to_string_lossy()])
            .context("the restored file system is not clean")?;
        drop(device);
        Ok(std::fs::remove_file(restored)?)
    }
}

fn both() -> Result<()> {
    let tree = Tree::mount()?;
    let store = StoreDirectory::new()?;
    let repository = Repository::on(&store)?;
    let disk = TestDisk::make("live", Disk::First, 0, SECTORS)?;
    tool::run("mkfs.ext4", &["-q", "-F", &disk.node.to_string_lossy()])?;
    let live = Mount::new(&disk.node, &inside("live"), "ext4", "")?;
    let system = System::in_tree(tree.mount.root());
    let small = Small { repository: &repository, disk: &disk.node, store: store.path() };
    let (mut ledger, mut cluster) = (Ledger::start(&system, live.root())?, Cluster::start(&system, live.root())?);
    every_point_is_whole(&small, &mut [&mut ledger, &mut cluster], 2, Restored::Last)?;
    drop((ledger, cluster));
    ensure_nothing_left()?;
    drop(Detached(vec![&disk.node]));
    live.unmount()?;
    disk.remove()?;
    store.close()?;
    tree.unmount()
}
