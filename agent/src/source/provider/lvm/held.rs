//! The snapshots of one backup, from their creation to what becomes of them: removed, or kept as the base of the next.
//!
//! Names tell whose they are: `icecore-CONSUMER-ORIGIN-RANDOM`. One without the tag [`BASE_TAG`] belongs to a backup that runs or
//! died; the next backup of the same consumer removes it, which fails harmlessly while somebody reads it. The old base goes only when the
//! new one has its tag. A base is inactive and skipped by activation, so that no second file system with its UUID shows up at a boot.

use super::report::{Volume, Volumes, mapped_name};
use super::tools::Tools;
use super::{Changes, GENERATION, SnapshotError, thin_delta};
use crate::extents::ExtentList;
use anyhow::{Context, Result};
use repo_format::entropy::{SystemEntropy, random};
use repo_format::manifest::TrackerPlace;
use std::path::PathBuf;
use std::sync::Arc;

/// The snapshot of the last committed point.
pub const BASE_TAG: &str = "icecore-base";

/// How a snapshot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the volume's pool; it can be compared with an older one.
    Thin,
    /// With room of its own for what is overwritten meanwhile.
    Classic {
        /// That room.
        size_bytes: u64,
    },
}

/// A snapshot of one volume.
struct Taken {
    way: Way,
    /// The snapshot.
    volume: Volume,
    /// Names of all that the consumer has of this volume begin like this.
    prefix: String,
    is_distrusted: bool,
}

/// All snapshots of a backup. What was not released is removed when it is dropped.
pub struct Held {
    tools: Arc<dyn Tools>,
    consumer: String,
    pool_limit_percent: u64,
    taken: Vec<Taken>,
    is_committed: bool,
}

impl Held {
    /// Without any yet.
    pub fn new(tools: Arc<dyn Tools>, consumer: String, pool_limit_percent: u64) -> Self {
        Self { tools, consumer, pool_limit_percent, taken: Vec::new(), is_committed: false }
    }

    /// Takes a snapshot of a volume and returns its device.
    pub fn take(&mut self, volumes: &Volumes, origin: &Volume, way: Way) -> Result<PathBuf> {
        let prefix = prefix(&self.consumer, origin);
        let is_tight = self.is_tight(volumes, origin);
        for old in volumes.named(&origin.vg_name, &prefix).filter(|old| is_tight || !old.has_tag(BASE_TAG)) {
            // Somebody may be reading it; then it is theirs to remove.
            if let Err(error) = self.remove(old) {
                tracing::warn!(snapshot = old.full_name(), "an old snapshot stays: {error:#}");
            }
        }
        let tail: [u8; 4] = random(&SystemEntropy);
        let name = format!("{prefix}{:08x}", u32::from_le_bytes(tail));
        self.create(origin, way, &name).with_context(|| format!("taking a snapshot of {}", origin.full_name()))?;
        let volume = Volumes::ask(&*self.tools).ok().and_then(|now| now.by_name(&origin.vg_name, &name).cloned());
        let missing = || format!("the new snapshot {}/{name} is not listed by LVM", origin.vg_name);
        // Entered before anything can fail, so that it is removed then.
        let known = volume.clone().unwrap_or_else(|| Volume::only_named(&origin.vg_name, &name));
        self.taken.push(Taken { way, volume: known, prefix, is_distrusted: false });
        volume.and_then(|volume| volume.device_node()).with_context(missing)
    }

    fn is_tight(&self, volumes: &Volumes, volume: &Volume) -> bool {
        let fill = volumes.pool_of(volume).and_then(Volume::fill_percent);
        fill.is_some_and(|percent| percent >= self.pool_limit_percent)
    }

    fn create(&self, origin: &Volume, way: Way, name: &str) -> Result<()> {
        let (size, full_name) = (format!("{}b", size_of(way)), origin.full_name());
        let mut args = vec!["lvcreate", "--yes", "--snapshot", "--name", name, "--permission", "r"];
        match way {
            Way::Thin => args.extend(["--setactivationskip", "n", "--activate", "y"]),
            Way::Classic { .. } => args.extend(["--size", &size]),
        }
        args.push(&full_name);
        self.tools.run("lvm", &args).map(drop)
    }

    fn remove(&self, volume: &Volume) -> Result<()> {
        self.tools.run("lvm", &["lvremove", "--yes", &volume.full_name()]).map(drop)
    }

    /// Where overwritten data waits, for people.
    pub fn describe(&self) -> String {
        let place = |taken: &Taken| match taken.way {
            Way::Thin => format!("the thin pool {}/{}", taken.volume.vg_name, taken.volume.pool_lv),
            Way::Classic { size_bytes } => format!("{} of {}", crate::output::bytes(size_bytes), taken.volume.vg_name),
        };
        let mut places: Vec<String> = self.taken.iter().map(place).collect();
        places.dedup();
        format!("in {}", places.join(", "))
    }

    /// What the manifest notes of a disk.
    pub fn place(&self, disk: usize) -> Option<TrackerPlace> {
        let taken = self.taken.get(disk).filter(|taken| taken.way == Way::Thin)?;
        Some(TrackerPlace {
            generation: format!("{GENERATION}{}", taken.volume.pool_lv_uuid),
            number: taken.volume.thin_id()?,
            interval: taken.volume.lv_uuid.clone(),
        })
    }

    /// What changed since the snapshot that a point was made of, if that is still there.
    pub fn changed_since(&self, disk: usize, place: &TrackerPlace) -> Result<Changes> {
        let unknown = |why: &str| Ok(Changes::Unknown(why.to_owned()));
        let Some(taken) = self.taken.get(disk).filter(|taken| taken.way == Way::Thin) else {
            return unknown("a classic LVM snapshot does not know what changed");
        };
        if place.generation != format!("{GENERATION}{}", taken.volume.pool_lv_uuid) {
            return unknown("the point before was tracked in another way, or in another thin pool");
        }
        let volumes = Volumes::ask(&*self.tools)?;
        let base = volumes
            .by_uuid(&place.interval)
            .filter(|base| base.thin_id() == Some(place.number) && base.pool_lv_uuid == taken.volume.pool_lv_uuid);
        let (Some(base), Some(new)) = (base, taken.volume.thin_id()) else {
            return unknown("the thin snapshot of the point before is gone");
        };
        if !self.tools.has("thin_delta") {
            return unknown("the program thin_delta (package thin-provisioning-tools) is not installed");
        }
        let size_bytes = taken.volume.size_bytes().context("LVM does not tell the snapshot's size")?;
        let list = self.delta(&taken.volume, (place.number, new), size_bytes);
        let list = list.with_context(|| format!("comparing with {}", base.full_name()))?;
        Ok(Changes::List(list))
    }

    /// Compares two thin devices of a pool, in a copy of the pool's metadata that stays as it is meanwhile.
    fn delta(&self, volume: &Volume, (old, new): (u64, u64), size_bytes: u64) -> Result<ExtentList> {
        let pool = mapped_name(&volume.vg_name, &volume.pool_lv);
        let metadata = format!("/dev/mapper/{pool}_tmeta");
        let _still = MetadataSnapshot::reserve(&*self.tools, format!("{pool}-tpool"))?;
        let (old, new) = (old.to_string(), new.to_string());
        let args = ["--metadata-snap", "--snap1", &old, "--snap2", &new, &metadata];
        let mut list = None;
        self.tools.stream("thin_delta", &args, &mut |output| {
            list = Some(thin_delta::parse(output, size_bytes)?);
            Ok(())
        })?;
        list.context("thin_delta printed nothing")
    }

    /// Were all reads true so far?
    pub fn check(&self) -> Result<()> {
        let volumes = Volumes::ask(&*self.tools)?;
        for taken in &self.taken {
            let name = taken.volume.full_name();
            let lost = |what: String, next: &str| Err(SnapshotError { what, next: next.to_owned() }.into());
            let Some(now) = volumes.by_uuid(&taken.volume.lv_uuid) else {
                return lost(
                    format!("the snapshot {name} was removed while it was read; nothing was committed"),
                    "find out who removes LVM snapshots here, and start the backup again",
                );
            };
            if now.is_invalid() || (taken.way != Way::Thin && now.fill_percent().is_none_or(|percent| percent >= 100)) {
                return lost(
                    format!(
                        "the snapshot {name} overflowed: more was overwritten during the backup than it had room for, so what was read is not trusted; nothing was committed"
                    ),
                    "free space in the volume group (a snapshot gets a tenth of its volume if that is there), or use thin volumes",
                );
            }
        }
        Ok(())
    }

    /// The point is committed: what can serve as a base is kept.
    pub fn committed(&mut self) {
        self.is_committed = true;
    }

    /// The next backup shall not build on this disk's snapshot.
    pub fn distrust(&mut self, disk: usize) {
        if let Some(taken) = self.taken.get_mut(disk) {
            taken.is_distrusted = true;
        }
    }

    /// Keeps the bases and removes the rest. Everything is tried; the first failure is told.
    pub fn release(mut self) -> Result<()> {
        let volumes = Volumes::ask(&*self.tools);
        let mut result = Ok(());
        for taken in std::mem::take(&mut self.taken) {
            let done = match &volumes {
                Ok(volumes) if self.is_committed => self.settle(volumes, &taken),
                _ => self.remove(&taken.volume),
            };
            let context = || format!("ending the LVM snapshot {}", taken.volume.full_name());
            result = result.and(done.with_context(context));
        }
        result
    }

    /// After a commit.
    fn settle(&self, volumes: &Volumes, taken: &Taken) -> Result<()> {
        let is_base = taken.way == Way::Thin && !taken.is_distrusted && !self.is_tight(volumes, &taken.volume);
        let name = taken.volume.full_name();
        if is_base {
            self.tools.run("lvm", &["lvchange", "--activate", "n", &name])?;
            self.tools.run("lvm", &["lvchange", "--setactivationskip", "y", "--addtag", BASE_TAG, &name])?;
        } else {
            self.remove(&taken.volume)?;
        }
        // The old base is of no use to any point after this one.
        let old = volumes.named(&taken.volume.vg_name, &taken.prefix);
        for old in old.filter(|old| old.lv_uuid != taken.volume.lv_uuid && old.has_tag(BASE_TAG)) {
            self.remove(old)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for taken in std::mem::take(&mut self.taken) {
            if let Err(error) = self.remove(&taken.volume) {
                tracing::warn!(
                    snapshot = taken.volume.full_name(),
                    "a snapshot was left behind; the next backup removes it: {error:#}"
                );
            }
        }
    }
}

/// Names of the snapshots that a consumer has of a volume. The volume's id and not its name: names may be long, and change.
pub fn prefix(consumer: &str, origin: &Volume) -> String {
    let hash = blake3::hash(origin.lv_uuid.as_bytes()).to_hex();
    format!("icecore-{consumer}-{}-", &hash[..8])
}

/// Whether the consumer's last committed snapshot of a volume is still there.
pub fn has_base(volumes: &Volumes, origin: &Volume, consumer: &str) -> bool {
    volumes.named(&origin.vg_name, &prefix(consumer, origin)).any(|volume| volume.has_tag(BASE_TAG))
}

fn size_of(way: Way) -> u64 {
    match way {
        Way::Thin => 0,
        Way::Classic { size_bytes } => size_bytes,
    }
}

/// The pool's metadata as it was at a moment; given back when dropped. A pool has one at a time.
struct MetadataSnapshot<'t> {
    tools: &'t dyn Tools,
    pool: String,
}

impl<'t> MetadataSnapshot<'t> {
    fn reserve(tools: &'t dyn Tools, pool: String) -> Result<Self> {
        let reserved = tools.run("dmsetup", &["message", &pool, "0", "reserve_metadata_snap"]);
        reserved.context("holding the pool's metadata still (another program may be doing that just now)")?;
        Ok(Self { tools, pool })
    }
}

impl Drop for MetadataSnapshot<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.tools.run("dmsetup", &["message", &self.pool, "0", "release_metadata_snap"]) {
            let pool = &self.pool;
            tracing::warn!(
                "the pool's metadata snapshot stays; `dmsetup message {pool} 0 release_metadata_snap`: {error:#}"
            );
        }
    }
}
