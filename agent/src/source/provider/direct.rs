//! The provider that holds nothing: it reads disks and image files that nobody writes to, and says so when somebody does.
//!
//! Who uses a disk is asked before and after reading; of image files also length and times, which tell of writers that came and went.

use super::{Changes, NamedSource, Obstacle, Promise, Provider, ProviderKind, Snapshot};
use crate::source::Source;
use crate::source::in_use::in_use;
use crate::source::sys::SysRoot;
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
        Ok(Box::new(Undisturbed { disks, promise, allow_live: self.allow_live }))
    }
}

fn promise(consistency: Consistency) -> Promise {
    Promise { consistency, one_instant: consistency == Consistency::Offline, lists_changes: false }
}

/// Disks that are believed not to change.
struct Undisturbed {
    disks: Vec<NamedSource>,
    promise: Promise,
    allow_live: bool,
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
        if let Some((_, source)) = self.disks.iter().find(|(_, source)| source.was_touched()) {
            if !self.allow_live {
                bail!(
                    "{} changed while it was read (something has it open for writing, or it shrank), so what was read is of many different moments; nothing was committed. Stop what uses it and start again, or add --allow-live; the recovery point is then marked \"not consistent\"",
                    source.path().display()
                );
            }
            return Ok(Consistency::NotConsistent);
        }
        // Who opened a disk for writing meanwhile may have written to it; of a device nothing else would tell.
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
