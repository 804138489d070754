//! `icecore tracker install-rules`: what keeps udev and LVM off the images of snapshots.

use super::super::console::fields;
use super::Context;
use agent::source::image_rules::{self, Machine, State};
use serde_json::json;

/// Options of `tracker install-rules`.
#[derive(clap::Args)]
pub struct Args {
    /// Show what stands and what would be done, change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Installs what is missing.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let machine = Machine::host();
    let changes = image_rules::install(&machine, args.dry_run)?;
    let parts = image_rules::look(&machine)?;
    context.console.result(&json!({ "dry_run": args.dry_run, "changes": changes, "parts": parts }), |_| {
        let state = |state: &State| match state {
            State::InPlace(by) => format!("in place: {by}"),
            State::NotNeeded(why) => format!("not needed: {why}"),
            State::Missing(why) => format!("MISSING: {why}"),
        };
        let pairs: Vec<_> = parts.iter().map(|part| (part.what, state(&part.state))).collect();
        let verb = if args.dry_run { "would " } else { "did: " };
        let changes: String = changes.iter().map(|change| format!("{verb}{change}\n")).collect();
        changes + &fields(&pairs)
    })
}
