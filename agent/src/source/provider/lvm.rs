//! The provider of LVM: logical volumes in use, held still by LVM's own snapshots.
//!
//! A thin volume's snapshot knows what changed: the one of the last committed point is kept as the base ([`held`]), inactive and
//! unmapped, and `thin_delta` compares the two ([`thin_delta`]). Any other volume gets a classic snapshot, which is removed at the
//! end, and is read whole. LVM takes snapshots one volume at a time, so several volumes are of several instants, and the point says so.
//!
//! A base can only name too much: what it shares with the new snapshot is the same block of the pool, whoever wrote meanwhile.

mod held;
mod report;
#[cfg(test)]
mod tests;
mod thin_delta;
mod tools;

pub use tools::{HostTools, Tools};

use super::{Changes, NamedSource, Obstacle, Promise, Provider, ProviderKind, Snapshot, SnapshotError};
use crate::output;
use crate::read_at::ReadAt;
use crate::source::sys::SysRoot;
use crate::source::{Location, Source};
use anyhow::{Context, Result};
use held::{Held, Way, has_base};
use repo_format::manifest::{Consistency, TrackerPlace};
use report::{Volume, Volumes};
use std::path::Path;
use std::sync::Arc;

/// From here on a pool is not burdened with a base that stays.
pub const DEFAULT_POOL_LIMIT_PERCENT: u64 = 85;
/// From here on not even a snapshot for the time of reading is dared: a pool that is full stops every volume in it.
const POOL_DANGER_PERCENT: u64 = 95;
/// A classic snapshot gets a tenth of its volume, at least this, if the group has it.
const CLASSIC_LEAST_BYTES: u64 = 64 << 20;
const CLASSIC_SHARE: u64 = 10;
/// Volumes of which a classic snapshot can be taken.
const CLASSIC_SEGMENTS: [&str; 4] = ["linear", "striped", "mirror", "cache"];
/// The manifest's generation of a thin volume begins like this, so that no other provider takes it for its own.
const GENERATION: &str = "lvm-thin:";

/// Snapshots by LVM.
pub struct LvmProvider {
    /// How LVM is reached.
    pub tools: Arc<dyn Tools>,
    /// Whose bases they are: [`consumer`].
    pub consumer: String,
    /// From which fill of a pool on no base is kept.
    pub pool_limit_percent: u64,
}

/// A short name for one series of points in one repository; each keeps bases of its own.
pub fn consumer(repository: &str, point_name: &str) -> String {
    let hash = blake3::hash(format!("{repository}\n{point_name}").as_bytes());
    hash.to_hex()[..8].to_owned()
}

impl Provider for LvmProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Lvm
    }

    fn promise(&self, disks: &[NamedSource]) -> Result<Result<Promise, Obstacle>> {
        // Asked of the kernel first: most disks are no volumes, and LVM need not look at all of its own to say so.
        if let Some((_, source)) = disks.iter().find(|(_, source)| !is_volume(&SysRoot::host(), source)) {
            return Ok(Err(no_volume(source)));
        }
        if !self.tools.has("lvm") {
            let why = "LVM is not installed".to_owned();
            return Ok(Err(Obstacle { why, next: "install lvm2 if the disk is a logical volume".into() }));
        }
        let volumes = Volumes::ask(&*self.tools)?;
        let mut lists_changes = self.tools.has("thin_delta");
        for (_, source) in disks {
            match volume_of(&volumes, source).and_then(|volume| way(&volumes, volume)) {
                Ok(way) => lists_changes &= way == Way::Thin,
                Err(obstacle) => return Ok(Err(obstacle)),
            }
        }
        let one_instant = disks.len() == 1;
        Ok(Ok(Promise { consistency: Consistency::CrashConsistent, one_instant, lists_changes }))
    }

    fn follows(&self, disks: &[NamedSource]) -> bool {
        let sys = SysRoot::host();
        if !self.tools.has("lvm") || !disks.iter().any(|(_, source)| is_volume(&sys, source)) {
            return false;
        }
        // A base is worth asking for; that LVM does not answer is told by `promise`.
        Volumes::ask(&*self.tools).is_ok_and(|volumes| {
            let volume = |source| volume_of(&volumes, source).ok();
            disks
                .iter()
                .filter_map(|(_, source)| volume(source))
                .any(|volume| has_base(&volumes, volume, &self.consumer))
        })
    }

    fn take(&self, mut disks: Vec<NamedSource>, promise: Promise) -> Result<Box<dyn Snapshot>> {
        let volumes = Volumes::ask(&*self.tools)?;
        let mut held = Held::new(Arc::clone(&self.tools), self.consumer.clone(), self.pool_limit_percent);
        for (_, source) in &mut disks {
            let found = volume_of(&volumes, source).and_then(|volume| Ok((volume, way(&volumes, volume)?)));
            let (volume, way) = found.map_err(|obstacle| SnapshotError { what: obstacle.why, next: obstacle.next })?;
            let image = held.take(&volumes, volume, way)?;
            read_from(source, &image)?;
        }
        Ok(Box::new(LvmSnapshot { disks, held, promise }))
    }
}

/// Lets a volume be read from its snapshot.
fn read_from(source: &mut Source, image: &Path) -> Result<()> {
    let size_bytes = source.size_bytes();
    source.read_from(image).with_context(|| format!("opening the snapshot {}", image.display()))?;
    if source.size_bytes() != size_bytes {
        return Err(SnapshotError {
            what: format!(
                "{} changed its size while the snapshot was taken; nothing was read",
                source.path().display()
            ),
            next: "start the backup again".into(),
        }
        .into());
    }
    Ok(())
}

fn volume_of<'v>(volumes: &'v Volumes, source: &Source) -> Result<&'v Volume, Obstacle> {
    let found = match source.location() {
        Location::Device(number) => volumes.of_device(*number),
        Location::File { .. } => None,
    };
    found.ok_or_else(|| no_volume(source))
}

fn is_volume(sys: &SysRoot, source: &Source) -> bool {
    match source.location() {
        Location::Device(number) => sys.attribute(*number, "dm/uuid").is_some_and(|uuid| uuid.starts_with("LVM-")),
        Location::File { .. } => false,
    }
}

fn no_volume(source: &Source) -> Obstacle {
    Obstacle {
        why: format!("{} is no logical volume of LVM", source.path().display()),
        next: "name the volumes themselves, such as /dev/vg0/root".into(),
    }
}

/// How a snapshot of the volume is taken, or why none can be.
fn way(volumes: &Volumes, volume: &Volume) -> Result<Way, Obstacle> {
    let name = volume.full_name();
    if volume.is_thin() {
        let pool = volumes.pool_of(volume);
        return match pool.and_then(|pool| Some((pool, pool.fill_percent()?))) {
            Some((pool, percent)) if percent >= POOL_DANGER_PERCENT => Err(Obstacle {
                why: format!(
                    "the thin pool {} is {percent} % full, and one that is full stops all its volumes",
                    pool.full_name()
                ),
                next: format!("extend it (lvextend {}), or free space in its volumes (fstrim)", pool.full_name()),
            }),
            Some(_) => Ok(Way::Thin),
            None => Err(Obstacle {
                why: format!("LVM does not say how full the pool of {name} is"),
                next: "look at `lvs -a`; the pool must be active".into(),
            }),
        };
    }
    let is_classic = CLASSIC_SEGMENTS.contains(&volume.segtype.as_str()) || volume.segtype.starts_with("raid");
    if !is_classic || !volume.origin.is_empty() {
        return Err(Obstacle {
            why: format!("{name} is of the kind {:?}, of which LVM takes no snapshots here", volume.segtype),
            next: "unmount it, and it is read as it is".into(),
        });
    }
    let wanted = volume.size_bytes().map(|bytes| (bytes / CLASSIC_SHARE).max(CLASSIC_LEAST_BYTES));
    match (wanted, volume.group_free_bytes()) {
        (Some(wanted), Some(free)) if free >= CLASSIC_LEAST_BYTES => Ok(Way::Classic { size_bytes: wanted.min(free) }),
        (_, free) => Err(Obstacle {
            why: format!(
                "the volume group {} has {} free, and a snapshot of {name} needs {} at least",
                volume.vg_name,
                output::bytes(free.unwrap_or(0)),
                output::bytes(CLASSIC_LEAST_BYTES)
            ),
            next: format!("extend the group (vgextend {})", volume.vg_name),
        }),
    }
}

/// Volumes held still by snapshots that are open.
struct LvmSnapshot {
    // INVARIANT: dropped before `held`, so that no snapshot is open when it is removed.
    disks: Vec<NamedSource>,
    held: Held,
    promise: Promise,
}

impl Snapshot for LvmSnapshot {
    fn disks(&self) -> &[NamedSource] {
        &self.disks
    }

    fn promise(&self) -> Promise {
        self.promise
    }

    fn describe(&self) -> Option<String> {
        Some(self.held.describe())
    }

    fn place(&self, disk: usize) -> Option<TrackerPlace> {
        self.held.place(disk)
    }

    fn changed_since(&self, disk: usize, place: &TrackerPlace) -> Changes {
        self.held.changed_since(disk, place).unwrap_or_else(|error| Changes::Unknown(format!("{error:#}")))
    }

    fn check(&self) -> Result<Consistency> {
        self.held.check()?;
        Ok(self.promise.consistency)
    }

    fn committed(&mut self) -> Result<()> {
        self.held.committed();
        Ok(())
    }

    fn distrust(&mut self, disk: usize) {
        self.held.distrust(disk);
    }

    fn release(self: Box<Self>) -> Result<()> {
        let Self { disks, held, .. } = *self;
        drop(disks);
        held.release()
    }
}
