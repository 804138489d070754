//! The provider of the kernel module: disks in use, all of one instant, with a list of what changed.
//!
//! A disk is attached when it is first met and stays attached, so that the next backup has its list. The snapshot lives as long as
//! the backup: it is tied to this process where the module can do that, and recorded on disk ([`record`]) before it is taken.
//! Where overwritten data waits is decided in [`storage`]; what happens to it meanwhile is heard by [`watch`].

mod held;
pub mod outlook;
pub mod record;
pub mod storage;
mod watch;

use super::{Changes, NamedSource, Obstacle, Promise, Provider, ProviderKind, Snapshot, SnapshotError};
use crate::extents::{Extent, ExtentList};
use crate::read_at::ReadAt;
use crate::source::image_rules::Unprotected;
use crate::source::sys::SysRoot;
use crate::source::{Location, Source};
use crate::tracker::attached::is_attached;
use crate::tracker::changed::{self, Since};
use crate::tracker::uapi::extension::{FEATURE_FINE_MAP, FEATURE_INTERVAL_IDS, TRACKER_INVALID, TrackerInfo};
use crate::tracker::{Id, Module, TrackerError};
use anyhow::{Context, Result};
use held::Held;
use nix::errno::Errno;
use record::Records;
use repo_format::manifest::{Consistency, TrackerPlace};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::Storage;

/// How long the node of an image may take to appear, or to be let go by those who look at every new disk.
const NODE_PATIENCE: Duration = Duration::from_secs(10);
/// Names of image disks begin like this.
const IMAGE_PREFIX: &str = "blksnap-";

/// How the module is reached; a test puts its own in place.
pub type OpenModule = Box<dyn Fn() -> Result<Arc<dyn Module>, TrackerError> + Send + Sync>;

/// Snapshots by the kernel module.
pub struct ModuleProvider {
    /// Opens the control device.
    pub open: OpenModule,
    /// Where snapshots of this machine are recorded.
    pub state_dir: PathBuf,
    /// Where overwritten data is to wait.
    pub storage: Storage,
    /// Whether programs that look at every new disk leave images alone; [`Unprotected`] says why they would not.
    pub images_protected: fn() -> Result<()>,
}

impl Provider for ModuleProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Module
    }

    fn promise(&self, disks: &[NamedSource]) -> Result<Result<Promise, Obstacle>> {
        let sys = SysRoot::host();
        if let Some(obstacle) = disks.iter().find_map(|(_, source)| unfit(&sys, source)) {
            return Ok(Err(obstacle));
        }
        let features = match (self.open)().and_then(|module| module.features()) {
            Ok(features) => features,
            Err(error) => return Ok(Err(as_obstacle(&error))),
        };
        if let Err(error) = (self.images_protected)() {
            return error.downcast::<Unprotected>().map(|exposed| Err(as_exposed(&exposed)));
        }
        let needed = FEATURE_FINE_MAP | FEATURE_INTERVAL_IDS;
        let lists_changes = features.bits & needed == needed;
        Ok(Ok(Promise { consistency: Consistency::CrashConsistent, one_instant: true, lists_changes }))
    }

    fn follows(&self, disks: &[NamedSource]) -> bool {
        let sys = SysRoot::host();
        disks.iter().any(|(_, source)| match source.location() {
            Location::Device(number) => is_attached(&sys, *number),
            Location::File { .. } => false,
        })
    }

    fn take(&self, mut disks: Vec<NamedSource>, promise: Promise) -> Result<Box<dyn Snapshot>> {
        let module = (self.open)()?;
        let records = Records::open(&self.state_dir)?;
        storage::clean_up(&self.state_dir);
        for id in records.clean_up(&*module)? {
            tracing::warn!(snapshot = %id, "released a snapshot that an earlier run left behind");
        }
        let devices: Vec<PathBuf> = disks.iter().map(|(_, source)| source.path().to_owned()).collect();
        for device in &devices {
            attach(&*module, device)?;
        }
        let place = self.storage.place(&SysRoot::host(), &disks, &self.state_dir)?;
        let described = place.describe();
        let held = Held::take(module, place, &records, devices)?;
        let trackers = held.devices().iter().map(|device| held.module().tracker_info(device));
        let trackers = trackers.collect::<Result<Vec<_>, _>>()?;
        for ((_, source), (device, tracker)) in disks.iter_mut().zip(held.devices().iter().zip(&trackers)) {
            let opened = open_image(held.module(), device, source, tracker.as_ref());
            // A busy disk can fill a small storage before its image is open.
            let opened = opened.map_err(|error| held.check().err().unwrap_or(error));
            opened.with_context(|| format!("opening the snapshot image of {}", device.display()))?;
        }
        let preserved_before = preserved(&held);
        Ok(Box::new(ModuleSnapshot {
            disks,
            held,
            promise,
            trackers,
            described,
            preserved_before,
            distrusted: Vec::new(),
        }))
    }
}

/// What keeps a disk from being in any snapshot of the module.
fn unfit(sys: &SysRoot, source: &Source) -> Option<Obstacle> {
    let path = source.path().display();
    match source.location() {
        Location::File { .. } => Some(Obstacle {
            why: format!("{path} is an image file, and the kernel module takes snapshots of block devices"),
            next: "stop the machine that uses it, or back it up from inside that machine".into(),
        }),
        Location::Device(number) => sys.name(*number).starts_with(IMAGE_PREFIX).then(|| Obstacle {
            why: format!("{path} is itself the image of a snapshot"),
            next: "use --provider direct, or name the original disk".into(),
        }),
    }
}

fn as_obstacle(error: &TrackerError) -> Obstacle {
    let why = std::error::Error::source(error).map(|why| format!(": {why}")).unwrap_or_default();
    Obstacle { why: format!("{error}{why}"), next: error.next().unwrap_or_else(|| "see dmesg".into()) }
}

fn as_exposed(exposed: &Unprotected) -> Obstacle {
    Obstacle { why: exposed.to_string(), next: "`icecore tracker install-rules` puts them in place".into() }
}

/// Begins tracking, unless it is tracked already.
fn attach(module: &dyn Module, device: &Path) -> Result<(), TrackerError> {
    match module.attach(device) {
        Err(error) if error.errno() == Some(Errno::EALREADY) => Ok(()),
        other => other,
    }
}

/// Lets the disk be read from its image, once the image's node is there and nobody else looks at it.
fn open_image(module: &dyn Module, device: &Path, source: &mut Source, tracker: Option<&TrackerInfo>) -> Result<()> {
    let image = image_of(module, device)?;
    let size_bytes = source.size_bytes();
    let deadline = Instant::now() + NODE_PATIENCE;
    while let Err(error) = source.read_from(&image) {
        if Instant::now() >= deadline {
            return Err(error).with_context(|| format!("opening {}", image.display()));
        }
        // The node comes with the disk where /dev is the kernel's own; elsewhere somebody makes it in a moment.
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let sizes = [source.size_bytes(), tracker.map_or(size_bytes, |tracker| tracker.capacity_bytes)];
    if sizes.iter().any(|size| *size != size_bytes) {
        return Err(SnapshotError {
            what: format!("{} changed its size while the snapshot was taken; nothing was read", device.display()),
            next: "start the backup again".into(),
        }
        .into());
    }
    Ok(())
}

fn image_of(module: &dyn Module, device: &Path) -> Result<PathBuf> {
    let info = module.snapshot_info(device)?;
    if let Some(why) = crate::tracker::snapshots::errno_text(info.error_code) {
        anyhow::bail!("the snapshot of {} was spoiled just after it was taken: {why}", device.display());
    }
    let name = crate::tracker::snapshots::image_path(&info.image);
    Ok(name.with_context(|| format!("the module names no image of {}", device.display()))?.into())
}

/// What the module counted as preserved, of all devices together.
fn preserved(held: &Held) -> Option<u64> {
    let counted = held.devices().iter().map(|device| held.module().tracker_statistics(device).ok().flatten());
    counted.map(|statistics| statistics.map(|statistics| statistics.preserved_bytes)).sum()
}

/// A snapshot of the module with its images open.
struct ModuleSnapshot {
    // INVARIANT: dropped before `held`, so that no image is open when the snapshot is destroyed.
    disks: Vec<NamedSource>,
    held: Held,
    promise: Promise,
    /// As they were just after TAKE; none with the C module.
    trackers: Vec<Option<TrackerInfo>>,
    described: String,
    preserved_before: Option<u64>,
    distrusted: Vec<usize>,
}

impl Snapshot for ModuleSnapshot {
    fn disks(&self) -> &[NamedSource] {
        &self.disks
    }

    fn promise(&self) -> Promise {
        self.promise
    }

    fn describe(&self) -> Option<String> {
        Some(self.described.clone())
    }

    fn place(&self, disk: usize) -> Option<TrackerPlace> {
        self.trackers.get(disk)?.as_ref().and_then(place_of)
    }

    fn changed_since(&self, disk: usize, place: &TrackerPlace) -> Changes {
        let (Some(device), Some(now)) = (self.held.devices().get(disk), self.trackers.get(disk)) else {
            return Changes::Unknown("the disk is not in the snapshot".into());
        };
        changes(self.held.module(), device, now.as_ref(), place)
    }

    fn alarm(&self) -> Option<String> {
        self.held.alarm()
    }

    fn check(&self) -> Result<Consistency> {
        self.held.check()?;
        for (device, before) in self.held.devices().iter().zip(&self.trackers) {
            let Some(before) = before else { continue };
            let now = self.held.module().tracker_info(device)?.context("the module forgot its tracker")?;
            let same = (now.generation, now.number) == (before.generation, before.number);
            if !same || now.flags & TRACKER_INVALID != 0 {
                return Err(SnapshotError {
                    what: format!(
                        "writes to {} may have passed the kernel module unseen while it was read, so the snapshot is not trusted; nothing was committed",
                        device.display()
                    ),
                    next: "`dmesg` says what happened to the kernel's tracing; start the backup again, after a restart of the machine if that repeats".into(),
                }
                .into());
            }
        }
        Ok(self.promise.consistency)
    }

    fn preserved_bytes(&self) -> Option<u64> {
        preserved(&self.held)?.checked_sub(self.preserved_before?)
    }

    fn distrust(&mut self, disk: usize) {
        self.distrusted.push(disk);
    }

    fn release(self: Box<Self>) -> Result<()> {
        let Self { disks, held, distrusted, .. } = *self;
        drop(disks);
        let again: Vec<PathBuf> = distrusted.iter().filter_map(|disk| held.devices().get(*disk).cloned()).collect();
        let module = held.release()?;
        for device in again {
            module.detach(&device).with_context(|| format!("resetting the tracking of {}", device.display()))?;
            attach(&*module, &device)?;
        }
        Ok(())
    }
}

/// What a manifest notes of a tracker; nothing of one that is in doubt.
fn place_of(tracker: &TrackerInfo) -> Option<TrackerPlace> {
    (tracker.flags & TRACKER_INVALID == 0).then(|| TrackerPlace {
        generation: Id::from(tracker.generation).to_string(),
        number: tracker.number,
        interval: Id::from(tracker.interval).to_string(),
    })
}

/// What changed on a device since `place`, if its tracker surely continues from there. `now` is the tracker as it was after TAKE.
pub fn changes(module: &dyn Module, device: &Path, now: Option<&TrackerInfo>, place: &TrackerPlace) -> Changes {
    let unknown = |why: String| Changes::Unknown(why);
    let Some(now) = now else {
        return unknown("the loaded module has no ids of intervals, so a reverted machine could not be told".into());
    };
    if now.flags & TRACKER_INVALID != 0 {
        return unknown("writes may have passed the kernel module unseen".into());
    }
    let (Ok(generation), Ok(interval)) = (place.generation.parse::<Id>(), place.interval.parse::<Id>()) else {
        return unknown("what the point before notes of the tracking cannot be read".into());
    };
    if generation != Id::from(now.generation) {
        let why = "tracking began anew since the point before (a restart, a reloaded module, a new size, or a reset)";
        return unknown(why.into());
    }
    let since = Since { number: place.number, generation: Some(generation), interval: Some(interval) };
    let found = match changed::changes(module, device, since) {
        Ok(found) => found,
        Err(error) => {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            return unknown(why);
        }
    };
    if (found.number, found.capacity_bytes) != (now.number, now.capacity_bytes) {
        return unknown("the tracker changed while its list was read".into());
    }
    let extents = found.extents.iter().map(|extent| Extent::new(extent.offset, extent.length));
    match extents.collect::<Option<ExtentList>>() {
        Some(list) => Changes::List(list),
        None => unknown("the module gave a list that makes no sense".into()),
    }
}

/// What spoiled a snapshot whose difference storage is described as `storage`.
fn spoiled(why: Errno, device: &str, storage: &str) -> SnapshotError {
    if why == Errno::ENOSPC {
        return SnapshotError {
            what: format!(
                "the snapshot's difference storage ({storage}) is full: more was overwritten during the backup than it can keep. Nothing was committed; the disks are not affected"
            ),
            next: "give it another place or more room (--snapshot-storage, --snapshot-limit), or back up when less is written".into(),
        };
    }
    SnapshotError {
        what: format!(
            "the snapshot of {device} is no longer true: {} ({why:?}). Nothing was committed; the disks are not affected",
            why.desc()
        ),
        next: "`dmesg` says more; if the difference storage failed, choose another place with --snapshot-storage"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::fake::{BLOCK, Fake};

    const DEVICE: &str = "/dev/fake";

    fn noted(fake: &Fake) -> TrackerPlace {
        place_of(&fake.tracker_info(DEVICE.as_ref()).unwrap().unwrap()).unwrap()
    }

    fn asked(fake: &Fake, place: &TrackerPlace) -> Changes {
        changes(fake, DEVICE.as_ref(), fake.tracker_info(DEVICE.as_ref()).unwrap().as_ref(), place)
    }

    #[test]
    fn a_list_continues_the_place_that_was_noted() {
        let fake = Fake::new(100 * BLOCK, false);
        fake.change(1, 0..3);
        let place = noted(&fake);
        assert_eq!(asked(&fake, &place), Changes::List(ExtentList::new()));
        fake.change(2, 10..12);
        let Changes::List(list) = asked(&fake, &place) else { panic!("no list") };
        assert_eq!(list.iter().collect::<Vec<_>>(), [Extent::new(10 * BLOCK, 2 * BLOCK).unwrap()]);
    }

    #[test]
    fn whatever_is_doubtful_gives_no_list_but_a_reason() {
        let fake = Fake::new(100 * BLOCK, false);
        fake.change(1, 0..3);
        fake.change(3, 3..4);
        let good = noted(&fake);
        let other = "aa986b45-bf07-46f7-a52d-8d7829221f24".to_owned();
        for (place, words) in [
            (TrackerPlace { generation: other.clone(), ..good.clone() }, "began anew"),
            (TrackerPlace { interval: other, ..good.clone() }, "reverted or cloned"),
            (TrackerPlace { number: 9, ..good.clone() }, "number 9"),
            (TrackerPlace { interval: "x".into(), ..good.clone() }, "cannot be read"),
            (TrackerPlace { number: 1, ..good.clone() }, "has the id"),
        ] {
            let Changes::Unknown(why) = asked(&fake, &place) else { panic!("{place:?} gives a list") };
            assert!(why.contains(words), "{why}");
        }
        assert!(matches!(changes(&fake, DEVICE.as_ref(), None, &good), Changes::Unknown(_)), "the C module");
        let mut invalid = fake.tracker_info(DEVICE.as_ref()).unwrap().unwrap();
        invalid.flags |= TRACKER_INVALID;
        assert!(matches!(changes(&fake, DEVICE.as_ref(), Some(&invalid), &good), Changes::Unknown(_)));
        assert_eq!(place_of(&invalid), None, "a doubtful place is not noted");
    }
}
