//! Options of `backup` about snapshots: who takes them, and where overwritten data waits.

use super::super::size;
use agent::source::image_rules;
use agent::source::provider::ProviderKind;
use agent::source::provider::lvm::{self, HostTools, LvmProvider};
use agent::source::provider::module::ModuleProvider;
use agent::source::provider::module::storage::{Storage, Wanted};
use agent::tracker::host::HostModule;
use std::path::PathBuf;
use std::sync::Arc;

/// The options.
#[derive(clap::Args)]
pub struct Options {
    /// Who holds the disks still: `module` (the kernel module; disks in use), `lvm` (LVM's snapshots; logical volumes in use), `direct` (nobody; unmounted disks, images), or `auto`
    #[arg(long, value_name = "PROVIDER", default_value = "auto", value_parser = provider)]
    provider: Provider,
    /// Where data waits that is overwritten during the backup: a directory, file or device on no disk of the backup, `ram`, `ram:BYTES`, or `auto`
    #[arg(long, value_name = "PLACE", default_value = "auto", value_parser = storage)]
    snapshot_storage: Storage,
    /// It grows no further than this [default: half of the free room]
    #[arg(long, value_name = "BYTES", value_parser = size::parse_rate)]
    snapshot_limit: Option<u64>,
    /// From this fill of a thin pool on, in percent, no snapshot stays for the next list of changes
    #[arg(long, value_name = "PERCENT", default_value_t = lvm::DEFAULT_POOL_LIMIT_PERCENT, value_parser = clap::value_parser!(u64).range(1..=100))]
    lvm_pool_limit: u64,
    /// Directory in which snapshots of this machine are recorded
    #[arg(
        long,
        value_name = "DIR",
        env = "ICECORE_STATE_DIR",
        hide_env_values = true,
        default_value = "/var/lib/icecore"
    )]
    state_dir: PathBuf,
}

/// A provider, or whichever fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Provider(Option<ProviderKind>);

fn provider(text: &str) -> Result<Provider, String> {
    if text == "auto" {
        return Ok(Provider(None));
    }
    let known = ProviderKind::ALL.into_iter().find(|kind| kind.name() == text);
    known.map(|kind| Provider(Some(kind))).ok_or_else(|| "it is auto, module, lvm or direct".into())
}

fn storage(text: &str) -> Result<Storage, String> {
    Ok(match text {
        "" => return Err("it is a path, ram, ram:BYTES or auto".into()),
        "auto" => Storage::default(),
        "ram" => Storage { place: Wanted::Ram, limit_bytes: None },
        other => match other.strip_prefix("ram:") {
            Some(bytes) => Storage { place: Wanted::Ram, limit_bytes: Some(size::parse_rate(bytes)?) },
            None => Storage { place: Wanted::At(other.into()), limit_bytes: None },
        },
    })
}

impl Options {
    /// The provider that must be used.
    pub fn provider(&self) -> Option<ProviderKind> {
        self.provider.0
    }

    /// LVM for a series of points in a repository.
    pub fn lvm(&self, repository: &str, point_name: &str) -> LvmProvider {
        LvmProvider {
            tools: Arc::new(HostTools),
            consumer: lvm::consumer(repository, point_name),
            pool_limit_percent: self.lvm_pool_limit,
        }
    }

    /// The kernel module as these options want it.
    pub fn module(&self) -> ModuleProvider {
        let mut storage = self.snapshot_storage.clone();
        storage.limit_bytes = self.snapshot_limit.or(storage.limit_bytes);
        ModuleProvider {
            open: Box::new(|| Ok(Arc::new(HostModule::open()?))),
            state_dir: self.state_dir.clone(),
            storage,
            images_protected: || image_rules::require(&image_rules::Machine::host()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_providers_are_told_apart() {
        assert_eq!(provider("auto"), Ok(Provider(None)));
        assert_eq!(provider("module"), Ok(Provider(Some(ProviderKind::Module))));
        assert!(provider("other").is_err());
        assert_eq!(storage("auto"), Ok(Storage::default()));
        assert_eq!(storage("ram:1G").unwrap(), Storage { place: Wanted::Ram, limit_bytes: Some(1 << 30) });
        assert_eq!(storage("./ram").unwrap().place, Wanted::At("./ram".into()));
        assert!(storage("ram:lots").is_err() && storage("").is_err());
    }
}
