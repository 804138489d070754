//! `icecore forget`: points disappear from lists at once; prune frees their space after the undo time.

use super::context::Context;
use super::point::{self, PointName};
use agent::output;
use repo_format::forget::{UNDO_TIME, forget};
use serde_json::{Value, json};

/// Options of `forget`.
#[derive(clap::Args)]
pub struct Args {
    /// The points to forget
    #[arg(value_name = "POINT", required = true)]
    points: Vec<PointName>,
    /// Why, for people who look at `list --forgotten`
    #[arg(long, value_name = "TEXT", default_value = "forgotten by hand")]
    reason: String,
    /// Show what would be forgotten and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Forgets.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    // All are found before one is forgotten: a typing error changes nothing.
    let mut points = args.points.iter().map(|name| point::find(&repo, name)).collect::<anyhow::Result<Vec<_>>>()?;
    points.sort_unstable();
    points.dedup();
    let now = context.now();
    if !args.dry_run {
        for at in &points {
            forget(&repo, at, &args.reason, now, UNDO_TIME)?;
        }
    }
    let values: Vec<Value> = points
        .iter()
        .map(|at| json!({ "id": at.manifest, "sequence": at.sequence, "forgotten": !args.dry_run, "reason": args.reason }))
        .collect();
    context.console.result(&values, |_| {
        let ids: Vec<String> = points.iter().map(point::short).collect();
        let verb = if args.dry_run { "Would forget" } else { "Forgot" };
        format!("{verb} {} ({}).", count(points.len()), ids.join(", "))
    })?;
    if !args.dry_run {
        let until = output::time(now + UNDO_TIME);
        context
            .console
            .note(&format!("Until {until} `icecore undo` takes it back; `icecore prune` frees the space after that."));
    }
    Ok(())
}

fn count(points: usize) -> String {
    if points == 1 { "1 recovery point".into() } else { format!("{points} recovery points") }
}
