//! The provider that holds nothing: it reads disks and image files that nobody writes to, and says so when somebody does.
//!
//! Who uses a disk is asked before and after reading. Writers that came and went are told by the length and times of an image file, and by
//! the kernel's count of what was written to a device. The device is not opened exclusively for that: whoever has a right to use it, such
//! as another backup or a volume group that is activated, would be refused, and the count tells what matters.

use super::{Changes, NamedSource, Obstacle, Promise, Provider, ProviderKind, Snapshot};
use crate::source::in_use::in_use;
use crate::source::sys::SysRoot;
use crate::source::{Source, Written};
use anyhow::{Context, Result, bail};
use repo_format::manifest::{Consistency, TrackerPlace};

/// Reads disks as they are.
pub struct Direct {
    /// Also those that are in use; the point is then marked.
    pub allow_live: bool,
}

impl Provider for Direct {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Direct
    }

    fn promise(&self, disks: &[NamedSource]) -> Result<Result<Promise, Obstacle>> {
        let mut consistency = Consistency::Offline;
        for (_, source) in disks {
            let Some(uses) = disturbing_uses(source)? else { continue };
            if !self.allow_live {
                let why = format!("{} is in use: {uses}", source.path().display());
                return Ok(Err(Obstacle { why, next: "unmount it, or add --allow-live".into() }));
            }
            consistency = Consistency::NotConsistent;
        }
        Ok(Ok(promise(consistency)))
    }

    fn take(&self, disks: Vec<NamedSource>, promise: Promise) -> Result<Box<dyn Snapshot>> {
        // Of disks in use nothing is promised that could be broken.
        let is_quiet = promise.consistency == Consistency::Offline;
        let written = disks.iter().map(|(_, source)| is_quiet.then(|| Written::so_far(source)).flatten()).collect();
        Ok(Box::new(Undisturbed { disks, written, promise, allow_live: self.allow_live }))
    }
}

fn promise(consistency: Consistency) -> Promise {
    Promise { consistency, one_instant: consistency == Consistency::Offline, lists_changes: false }
}

/// Disks that are believed not to change.
struct Undisturbed {
    disks: Vec<NamedSource>,
    /// What had been written to each before it was read.
    written: Vec<Option<Written>>,
    promise: Promise,
    allow_live: bool,
}

impl Undisturbed {
    /// A disk that somebody wrote to since it was taken.
    fn written_to(&self) -> Option<&Source> {
        let disks = self.disks.iter().zip(&self.written);
        let mut changed = disks.filter(|((_, source), before)| {
            source.was_touched() || (before.is_some() && Written::so_far(source) != **before)
        });
        changed.next().map(|((_, source), _)| source)
    }
}

impl Snapshot for Undisturbed {
    fn disks(&self) -> &[NamedSource] {
        &self.disks
    }

    fn promise(&self) -> Promise {
        self.promise
    }

    fn changed_since(&self, _: usize, _: &TrackerPlace) -> Changes {
        Changes::Unknown("nothing told which blocks changed".into())
    }

    fn check(&self) -> Result<Consistency> {
        if self.promise.consistency == Consistency::NotConsistent {
            return Ok(Consistency::NotConsistent);
        }
        if let Some(source) = self.written_to() {
            if !self.allow_live {
                bail!(
                    "{} changed while it was read (something wrote to it, or it shrank), so what was read is of many different moments; nothing was committed. Stop what uses it and start again, or add --allow-live; the recovery point is then marked \"not consistent\"",
                    source.path().display()
                );
            }
            return Ok(Consistency::NotConsistent);
        }
        // Who opened a disk for writing meanwhile may write at any moment, or has written where the kernel does not count.
        for (_, source) in &self.disks {
            let Some(uses) = disturbing_uses(source)? else { continue };
            if !self.allow_live {
                bail!(
                    "{uses}, and was not when the backup began, so what was read may be of many different moments; nothing was committed. Stop what uses it and start again, or add --allow-live; the recovery point is then marked \"not consistent\""
                );
            }
            return Ok(Consistency::NotConsistent);
        }
        Ok(self.promise.consistency)
    }
}

/// What may change a source while it is read, in words.
fn disturbing_uses(source: &Source) -> Result<Option<String>> {
    let context = || format!("looking whether {} is in use", source.path().display());
    let uses = in_use(&SysRoot::host(), source.location()).with_context(context)?;
    let disturbing: Vec<String> = uses.iter().filter(|u| u.disturbs_reading()).map(ToString::to_string).collect();
    Ok((!disturbing.is_empty()).then(|| disturbing.join("; ")))
}
