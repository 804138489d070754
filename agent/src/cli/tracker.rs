//! `icecore tracker`: the kernel module by hand. Tracking of devices, their changed-block maps, snapshots.
//!
//! Needs no repository. What the verbs find out is the library's (`agent::tracker`); here are options and output.

mod info;
mod map;
mod rules;
mod snapshot;
mod watch;

use super::context::Context;
use agent::tracker::host::HostModule;
use agent::tracker::{Id, Module as _};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Verbs of `tracker`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Begin tracking the changes of block devices
    Attach(Devices),
    /// End tracking; the maps of the devices are lost
    Detach(Devices),
    /// Show tracked devices: generation, number, map, counters
    Info(info::Args),
    /// Print the extents that changed, as `icecore backup --changed-extents` reads them
    Map(map::Args),
    /// Mark ranges of a device as changed
    Dirty(map::DirtyArgs),
    /// Take and manage snapshots
    Snapshot(snapshot::Args),
    /// Keep udev and LVM from taking the images of snapshots for the disks themselves
    InstallRules(rules::Args),
}

/// Some block devices.
#[derive(clap::Args)]
pub struct Devices {
    /// Block devices such as /dev/sda
    #[arg(value_name = "DEVICE", required = true)]
    devices: Vec<PathBuf>,
}

/// Runs the verb.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if let Verb::InstallRules(args) = &args.verb {
        return rules::run(args, context);
    }
    // Before anything else: without the module no verb can do anything, and that is said first.
    let module = HostModule::open()?;
    match &args.verb {
        Verb::Attach(devices) => each(devices, "attached", context, |device| Ok(module.attach(device)?)),
        Verb::Detach(devices) => each(devices, "detached", context, |device| Ok(module.detach(device)?)),
        Verb::Info(args) => info::run(args, &module, context),
        Verb::Map(args) => map::run(args, &module, context),
        Verb::Dirty(args) => map::dirty(args, &module, context),
        Verb::Snapshot(args) => snapshot::run(args, module, context),
        Verb::InstallRules(args) => rules::run(args, context),
    }
}

/// Does something to each device and stops at the first that fails; what was done before is told all the same.
fn each(
    devices: &Devices,
    what: &str,
    context: &Context,
    mut run: impl FnMut(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut done: Vec<&Path> = Vec::new();
    let failed = devices.devices.iter().find_map(|device| match run(device) {
        Ok(()) => {
            done.push(device);
            None
        }
        Err(error) => Some(error),
    });
    let lines = || done.iter().map(|device| format!("{what} {}\n", agent::output::name(&device.to_string_lossy())));
    match failed {
        None => context.console.result(&json!({ what: done }), |_| lines().collect()),
        Some(error) => {
            lines().for_each(|line| context.console.note(line.trim_end()));
            Err(error)
        }
    }
}

/// An id on the command line.
fn parse_id(text: &str) -> Result<Id, String> {
    text.parse().map_err(|error: agent::tracker::id::NotAnId| error.to_string())
}
