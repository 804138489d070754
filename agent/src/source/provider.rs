//! Snapshot providers: who holds disks still while they are read, and who knows what changed since the last time.
//!
//! Owns the trait, what a provider promises, and the choice of one. A provider is a file below; it knows nothing of repositories
//! or manifests, only of disks. Reading order of a backup: [`choose`] → [`Provider::take`] → the disks are read →
//! [`Snapshot::check`] → the point is committed → [`Snapshot::committed`] → [`Snapshot::release`].

pub mod direct;
pub mod lvm;
pub mod module;

use super::Source;
use crate::extents::ExtentList;
use anyhow::Result;
use repo_format::manifest::{Consistency, TrackerPlace};
use std::fmt;

/// A disk of a job with its name in the recovery point.
pub type NamedSource = (String, Source);

/// The providers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// The kernel module `blksnap`: any block device in use.
    Module,
    /// LVM's own snapshots: logical volumes in use.
    Lvm,
    /// Reads the disks as they are: unmounted devices, image files.
    Direct,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Module, Self::Lvm, Self::Direct];

    /// As manifests, the command line and its output say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Lvm => "lvm",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a provider guarantees for certain disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// What the point may say of its disks, if nothing goes wrong.
    pub consistency: Consistency,
    /// All disks are of the same instant.
    pub one_instant: bool,
    /// It can list what changed since an earlier snapshot; without that everything is read.
    pub lists_changes: bool,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.consistency {
            Consistency::Offline => "nothing writes to the disks",
            Consistency::CrashConsistent | Consistency::ApplicationConsistent if self.one_instant => {
                "a snapshot of one instant"
            }
            Consistency::CrashConsistent | Consistency::ApplicationConsistent => {
                "snapshots, each disk of another instant"
            }
            Consistency::NotConsistent => "the disks are in use and read as they are: NOT consistent",
        })?;
        f.write_str(if self.lists_changes { ", knows what changed" } else { ", everything is read" })
    }
}

/// Why a provider cannot serve certain disks. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The reason, as a clause: `/dev/sda is in use: …`.
    pub why: String,
    /// What lifts it, as a clause: `load it: modprobe blksnap`.
    pub next: String,
}

/// What a snapshot says about the time since an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Everything that may have changed. Naming too much is allowed, too little never.
    List(ExtentList),
    /// Nobody knows, and why; everything must be read.
    Unknown(String),
}

/// A way to hold disks still.
pub trait Provider: Sync {
    /// Which one it is.
    fn kind(&self) -> ProviderKind;

    /// What it would promise for these disks, or why it cannot serve them. Changes nothing.
    fn promise(&self, disks: &[NamedSource]) -> Result<Result<Promise, Obstacle>>;

    /// Whether it follows the changes of one of these disks already, so that leaving it out would cost a list.
    fn follows(&self, _disks: &[NamedSource]) -> bool {
        false
    }

    /// Takes a snapshot of all disks, as just promised. On failure everything is undone.
    fn take(&self, disks: Vec<NamedSource>, promise: Promise) -> Result<Box<dyn Snapshot>>;
}

/// Disks held still. Dropping it releases what it holds as well as it can; [`Snapshot::release`] also says whether that worked.
///
/// Disks are numbered as they were given to [`Provider::take`].
pub trait Snapshot: Send + Sync {
    /// To be read instead of the originals. Path, location and identity are the originals'; only the bytes are the snapshot's.
    fn disks(&self) -> &[NamedSource];

    /// What was promised when it was taken.
    fn promise(&self) -> Promise;

    /// Where its storage lies and what else a person may want to know; for the output, nothing more.
    fn describe(&self) -> Option<String> {
        None
    }

    /// Where change tracking of a disk stood at the snapshot; goes into the manifest for [`Snapshot::changed_since`] of a later one.
    fn place(&self, _disk: usize) -> Option<TrackerPlace> {
        None
    }

    /// What changed between an earlier snapshot's place and this snapshot. Identity and size of the disk are compared by the caller.
    fn changed_since(&self, disk: usize, place: &TrackerPlace) -> Changes;

    /// What went wrong so far, as far as it is known without asking anybody: called for every few megabytes.
    fn alarm(&self) -> Option<String> {
        None
    }

    /// Was everything that was read so far true? Asked when all is read and before the commit, and to explain a failed read. Returns
    /// what the point may say of its disks; an error fails the backup.
    fn check(&self) -> Result<Consistency>;

    /// Bytes that had to be copied away because somebody overwrote them meanwhile; `None` when nobody counts.
    fn preserved_bytes(&self) -> Option<u64> {
        None
    }

    /// The point that was made of it is committed.
    fn committed(&mut self) -> Result<()> {
        Ok(())
    }

    /// A disk changed where the list did not say so: its tracking begins anew when the snapshot is released.
    fn distrust(&mut self, _disk: usize) {}

    /// Ends it.
    fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What spoiled a snapshot, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SnapshotError {
    /// What happened, and what it means.
    pub what: String,
    /// What to do next.
    pub next: String,
}

/// Why no provider was chosen. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// None can, and the disks are in use.
    #[error(
        "{why}. What is read from it would be of many different moments. {others}Stop what writes to it (unmount it, or mount it read-only), or add --allow-live; the recovery point is then marked \"not consistent\""
    )]
    Live {
        /// What uses which disk.
        why: String,
        /// What keeps the other providers from it, as sentences, each with a blank behind it.
        others: String,
    },
    /// The one that was asked for cannot.
    #[error("--provider {kind} cannot be used: {why}. Next: {next}")]
    Provider {
        /// Which.
        kind: ProviderKind,
        /// Why.
        why: String,
        /// What lifts it.
        next: String,
    },
}

/// The provider of a job.
pub struct Choice<'p> {
    /// It.
    pub provider: &'p dyn Provider,
    /// What it promises.
    pub promise: Promise,
    /// Why better ones were passed over, in words; empty when it was asked for or is the best.
    pub passed_over: Vec<String>,
}

/// Takes the wanted provider, or the first that can serve these disks; `providers` stand in the order of preference.
///
/// Disks that nobody uses are read as they are, unless their changes are followed already: to begin following, say, the passing
/// snapshot of a volume would leave a tracker on it that somebody has to take away before the volume can go.
pub fn choose<'p>(
    providers: &[&'p dyn Provider],
    wanted: Option<ProviderKind>,
    disks: &[NamedSource],
) -> Result<Choice<'p>> {
    let mut obstacles: Vec<(ProviderKind, Obstacle)> = Vec::new();
    if wanted.is_none()
        && let Some(provider) = providers.iter().find(|provider| provider.kind() == ProviderKind::Direct)
        && let Ok(promise) = provider.promise(disks)?
        && promise.consistency == Consistency::Offline
        && !providers.iter().any(|provider| provider.follows(disks))
    {
        return Ok(Choice { provider: *provider, promise, passed_over: Vec::new() });
    }
    for provider in providers.iter().filter(|provider| wanted.is_none_or(|kind| provider.kind() == kind)) {
        match provider.promise(disks)? {
            Ok(promise) => {
                let passed_over = obstacles.iter().map(|(kind, obstacle)| passed_over(*kind, obstacle)).collect();
                return Ok(Choice { provider: *provider, promise, passed_over });
            }
            Err(obstacle) => obstacles.push((provider.kind(), obstacle)),
        }
    }
    let Some((kind, last)) = obstacles.pop() else {
        anyhow::bail!("there is no provider that could read these disks");
    };
    if kind == ProviderKind::Direct {
        let others = obstacles.iter().map(|(kind, obstacle)| instead(*kind, obstacle)).collect();
        return Err(Refusal::Live { why: last.why, others }.into());
    }
    Err(Refusal::Provider { kind, why: last.why, next: last.next }.into())
}

fn passed_over(kind: ProviderKind, obstacle: &Obstacle) -> String {
    format!("provider {kind} is not used: {}", obstacle.why)
}

fn instead(kind: ProviderKind, obstacle: &Obstacle) -> String {
    format!("A snapshot by the provider \"{kind}\" would hold it still, but {}: {}. ", obstacle.why, obstacle.next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its kind, what hinders it, what it promises, whether it follows the disks.
    struct Pretender(ProviderKind, Option<Obstacle>, Consistency, bool);

    fn module(obstacle: Option<Obstacle>, follows: bool) -> Pretender {
        Pretender(ProviderKind::Module, obstacle, Consistency::CrashConsistent, follows)
    }

    fn direct(obstacle: Option<Obstacle>, consistency: Consistency) -> Pretender {
        Pretender(ProviderKind::Direct, obstacle, consistency, false)
    }

    const PROMISE: Promise =
        Promise { consistency: Consistency::CrashConsistent, one_instant: true, lists_changes: true };

    impl Provider for Pretender {
        fn kind(&self) -> ProviderKind {
            self.0
        }
        fn promise(&self, _: &[NamedSource]) -> Result<Result<Promise, Obstacle>> {
            Ok(self.1.clone().map_or(Ok(Promise { consistency: self.2, ..PROMISE }), Err))
        }
        fn follows(&self, _: &[NamedSource]) -> bool {
            self.3
        }
        fn take(&self, _: Vec<NamedSource>, _: Promise) -> Result<Box<dyn Snapshot>> {
            anyhow::bail!("nothing is taken here")
        }
    }

    fn obstacle(why: &str, next: &str) -> Option<Obstacle> {
        Some(Obstacle { why: why.into(), next: next.into() })
    }

    fn chosen(providers: &[&dyn Provider], wanted: Option<ProviderKind>) -> ProviderKind {
        choose(providers, wanted, &[]).unwrap().provider.kind()
    }

    #[test]
    fn the_first_that_can_is_chosen_and_the_others_are_named() {
        let absent = module(obstacle("it is not loaded", "load it"), false);
        let live = direct(None, Consistency::NotConsistent);
        let choice = choose(&[&absent, &live], None, &[]).unwrap();
        assert_eq!((choice.provider.kind(), choice.promise.consistency), (ProviderKind::Direct, live.2));
        assert_eq!(choice.passed_over, ["provider module is not used: it is not loaded"]);
        let present = module(None, false);
        assert_eq!(chosen(&[&present, &live], None), ProviderKind::Module);
        assert_eq!(chosen(&[&present, &live], Some(ProviderKind::Direct)), ProviderKind::Direct);
        let busy = direct(obstacle("/dev/x is mounted", "unmount it"), Consistency::Offline);
        assert_eq!(chosen(&[&present, &busy], None), ProviderKind::Module);
    }

    #[test]
    fn a_quiet_disk_is_read_as_it_is_unless_its_changes_are_followed_already() {
        let quiet = direct(None, Consistency::Offline);
        assert_eq!(chosen(&[&module(None, false), &quiet], None), ProviderKind::Direct);
        assert_eq!(chosen(&[&module(None, true), &quiet], None), ProviderKind::Module);
        assert_eq!(chosen(&[&module(None, false), &quiet], Some(ProviderKind::Module)), ProviderKind::Module);
    }

    #[test]
    fn a_refusal_names_every_way_out() {
        let module = module(obstacle("it is not loaded", "load it: `modprobe blksnap`"), false);
        let direct = direct(obstacle("/dev/x is mounted", "unmount it"), Consistency::Offline);
        let providers: [&dyn Provider; 2] = [&module, &direct];
        let error = choose(&providers, None, &[]).err().unwrap().to_string();
        for words in ["/dev/x is mounted", "modprobe blksnap", "--allow-live", "unmount"] {
            assert!(error.contains(words), "{words}: {error}");
        }
        let error = choose(&providers, Some(ProviderKind::Module), &[]).err().unwrap();
        assert!(error.to_string().contains("--provider module cannot be used: it is not loaded. Next: load it"));
        assert!(error.downcast_ref::<Refusal>().is_some(), "the command line knows its exit code");
    }
}
