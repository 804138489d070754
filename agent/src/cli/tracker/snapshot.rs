//! `icecore tracker snapshot`.

use super::super::console::{fields, table};
use super::super::context::Context;
use super::super::failure::{Code, Failure};
use super::super::size;
use super::watch;
use agent::output;
use agent::source::sys::SysRoot;
use agent::tracker::host::HostModule;
use agent::tracker::snapshots::{Facts, Snapshot, describe, describe_all};
use agent::tracker::{Id, Module};
use serde_json::json;
use std::path::PathBuf;

/// Sectors of the interface.
const SECTOR_BYTES: u64 = 512;

/// Verbs of `tracker snapshot`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Create a snapshot with its difference storage; with --take, take it at once
    Create(CreateArgs),
    /// Add tracked devices to a snapshot that was not taken yet
    Add {
        /// The snapshot
        #[arg(value_name = "ID", value_parser = super::parse_id)]
        id: Id,
        #[command(flatten)]
        devices: super::Devices,
    },
    /// Take a snapshot: one instant for all its devices
    Take(OneArgs),
    /// End a snapshot; its images go
    Destroy(OneArgs),
    /// List the snapshots
    List,
    /// Show a snapshot: state, storage, devices and their images
    Info(OneArgs),
    /// Print the events of a snapshot as they come
    Watch(watch::Args),
}

#[derive(clap::Args)]
struct CreateArgs {
    /// Where overwritten data waits: a directory, a regular file or an unused block device
    #[arg(long, value_name = "PATH")]
    storage: PathBuf,
    /// The storage grows no further than this (such as 20G)
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    limit: u64,
    /// Add this tracked device; may be given several times
    #[arg(long = "device", value_name = "DEVICE")]
    devices: Vec<PathBuf>,
    /// Take the snapshot
    #[arg(long, requires = "devices")]
    take: bool,
    /// Stay here until SIGINT, and let the snapshot end with this process, however it ends
    #[arg(long)]
    hold: bool,
}

#[derive(clap::Args)]
struct OneArgs {
    /// The snapshot
    #[arg(value_name = "ID", value_parser = super::parse_id)]
    id: Id,
}

/// Runs the verb.
pub fn run(args: &Args, module: HostModule, context: &Context) -> anyhow::Result<()> {
    let sys = SysRoot::host();
    match &args.verb {
        Verb::Create(args) => create(args, &module, &sys, context),
        Verb::Add { id, devices } => super::each(devices, "added", context, |device| Ok(module.add(*id, device)?)),
        Verb::Take(args) => {
            module.take(args.id)?;
            show(&describe(&module, &sys, args.id)?, context)
        }
        Verb::Destroy(args) => {
            module.destroy(args.id)?;
            context.console.result(&json!({ "destroyed": args.id }), |_| format!("destroyed {}", args.id))
        }
        Verb::List => {
            let all = describe_all(&module, &sys)?;
            context.console.result(&all, |all| list(all))
        }
        Verb::Info(args) => show(&describe(&module, &sys, args.id)?, context),
        Verb::Watch(args) => watch::run(args, &module, &sys, context),
    }
}

fn create(args: &CreateArgs, module: &dyn Module, sys: &SysRoot, context: &Context) -> anyhow::Result<()> {
    let limit_sectors = args.limit / SECTOR_BYTES;
    if limit_sectors == 0 {
        let next = "give at least some GiB, such as --limit 20G";
        return Err(Failure::new(Code::Usage, "a storage that may not grow holds nothing").next(next).into());
    }
    // Before there is anything to undo.
    let stop = context.cancel()?;
    let id = module.create(&args.storage, limit_sectors, args.hold)?;
    if let Err(error) = fill(args, module, id) {
        // What failed first is what the user has to know.
        let _ = module.destroy(id);
        return Err(error);
    }
    show(&describe(module, sys, id)?, context)?;
    if args.hold {
        context.console.note("The snapshot ends with this process.");
        watch::hold(module, sys, id, &stop, context)?;
    }
    Ok(())
}

fn fill(args: &CreateArgs, module: &dyn Module, id: Id) -> anyhow::Result<()> {
    for device in &args.devices {
        module.add(id, device)?;
    }
    if args.take {
        module.take(id)?;
    }
    Ok(())
}

fn show(snapshot: &Snapshot, context: &Context) -> anyhow::Result<()> {
    context.console.result(snapshot, text)
}

fn list(all: &[Snapshot]) -> String {
    if all.is_empty() {
        return "There is no snapshot.".into();
    }
    let row = |snapshot: &Snapshot| {
        let known = snapshot.facts.as_ref();
        let devices = known.map(|facts| facts.devices.iter().map(|device| device.device.clone()).collect::<Vec<_>>());
        vec![
            snapshot.id.to_string(),
            known.map(state).unwrap_or_default(),
            known.map(used).unwrap_or_default(),
            devices.unwrap_or_default().join(" "),
        ]
    };
    table(&["ID", "STATE", ">STORAGE", "DEVICES"], all.iter().map(row).collect())
}

fn state(facts: &Facts) -> String {
    let mut words = vec![facts.state.clone()];
    words.extend(facts.no_space.then(|| "no space".to_owned()));
    words.extend(facts.tied.then(|| "tied".to_owned()));
    words.join(", ")
}

fn used(facts: &Facts) -> String {
    let [used, capacity, limit] =
        [facts.storage_used_bytes, facts.storage_capacity_bytes, facts.storage_limit_bytes].map(output::bytes);
    format!("{used} of {capacity} (limit {limit})")
}

fn text(snapshot: &Snapshot) -> String {
    let mut pairs = vec![("Snapshot", snapshot.id.to_string())];
    let Some(facts) = &snapshot.facts else { return fields(&pairs) };
    pairs.push(("State", state(facts)));
    pairs.extend(facts.error.clone().map(|error| ("Error", error)));
    pairs.extend(facts.taken_at.map(|at| ("Taken", output::time(at))));
    pairs.push(("Storage", used(facts)));
    pairs.push(("Chunks", format!("{} preserved", facts.preserved_chunks)));
    pairs.push(("Events", format!("{} waiting, {} dropped", facts.pending_events, facts.dropped_events)));
    let row = |device: &agent::tracker::snapshots::Device| {
        let image = device.image.clone().unwrap_or_default();
        vec![
            device.device.clone(),
            output::name(&image),
            output::bytes(device.chunk_bytes),
            device.error.clone().unwrap_or_default(),
        ]
    };
    if facts.devices.is_empty() {
        return fields(&pairs);
    }
    let rows = facts.devices.iter().map(row).collect();
    format!("{}\n{}", fields(&pairs), table(&["DEVICE", "IMAGE", ">CHUNK", "ERROR"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::tracker::snapshots::Device;

    fn snapshot() -> Snapshot {
        let device = |device: &str, image: Option<&str>| Device {
            device: device.into(),
            image: image.map(str::to_owned),
            error: None,
            chunk_bytes: 1 << 18,
        };
        let facts = Facts {
            state: "taken".into(),
            error: None,
            tied: true,
            taken_at: None,
            storage_limit_bytes: 1 << 30,
            storage_capacity_bytes: 1 << 20,
            storage_used_bytes: 1 << 18,
            no_space: false,
            preserved_chunks: 1,
            pending_events: 0,
            dropped_events: 0,
            devices: vec![device("/dev/sda", Some("/dev/blksnap-8-0")), device("/dev/sdb", None)],
        };
        Snapshot { id: Id([1; 16]), facts: Some(facts) }
    }

    #[test]
    fn a_snapshot_is_shown_with_its_storage_and_images() {
        let text = text(&snapshot());
        for part in ["taken, tied", "256.0 KiB of 1.0 MiB (limit 1.0 GiB)", "/dev/sda", "/dev/blksnap-8-0", "/dev/sdb"]
        {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        let line = list(&[snapshot()]);
        assert!(line.contains("01010101-0101-") && line.contains("/dev/sda /dev/sdb"), "{line}");
        assert_eq!(list(&[]), "There is no snapshot.");
    }

    #[test]
    fn a_snapshot_of_the_c_module_is_shown_by_its_id() {
        assert_eq!(super::text(&Snapshot { id: Id([1; 16]), facts: None }).lines().count(), 1);
    }
}
