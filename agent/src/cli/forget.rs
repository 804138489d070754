//! `icecore forget`: points disappear from lists at once; prune frees their space after the undo time.

use super::console::table;
use super::context::Context;
use super::failure::{Code, Failure};
use super::list::{self, Entry};
use super::point::{self, PointName};
use agent::output;
use jiff::tz::TimeZone;
use repo_format::forget::{UNDO_TIME, forget, tombstones};
use repo_format::manifest::{Manifest, PointKey, StoredManifest};
use repo_format::repository::Repository;
use repo_format::retention::{DatedPoint, Decision, Policy, Rules, Within, decide};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Options of `forget`.
#[derive(clap::Args)]
pub struct Args {
    /// The points to forget; or none, and rules for what to keep
    #[arg(value_name = "POINT", required_unless_present = "rules", conflicts_with = "rules")]
    points: Vec<PointName>,
    /// Why, for people who look at `list --forgotten`
    #[arg(long, value_name = "TEXT", requires = "points")]
    reason: Option<String>,
    /// Show what would be forgotten and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    keep: Keep,
    /// Apply the rules to points of this name only [default: to each name by itself]
    #[arg(long, value_name = "NAME", requires = "rules")]
    name: Vec<String>,
}

#[derive(clap::Args)]
#[group(id = "rules", multiple = true)]
struct Keep {
    /// Keep the newest N points
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_last: Option<u32>,
    /// Keep the last point of each of N hours that have one
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_hourly: Option<u32>,
    /// … of N days
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_daily: Option<u32>,
    /// … of N weeks
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_weekly: Option<u32>,
    /// … of N months
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_monthly: Option<u32>,
    /// … of N quarters
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_quarterly: Option<u32>,
    /// … of N years
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_yearly: Option<u32>,
    /// Keep all points younger than this, such as 36h, 14d, 6m or 1y6m
    #[arg(long, value_name = "TIME", help_heading = "Rules")]
    keep_within: Option<Within>,
}

impl Keep {
    fn policy(&self) -> Policy {
        let count = |option: Option<u32>| option.unwrap_or(0);
        Policy::Keep(Rules {
            last: count(self.keep_last),
            hourly: count(self.keep_hourly),
            daily: count(self.keep_daily),
            weekly: count(self.keep_weekly),
            monthly: count(self.keep_monthly),
            quarterly: count(self.keep_quarterly),
            yearly: count(self.keep_yearly),
            within: self.keep_within,
            minimum: 0,
        })
    }
}

/// Forgets.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let forgotten = match args.points.is_empty() {
        false => chosen(args, &repo, context)?,
        true => by_rules(args, &repo, context)?,
    };
    if !args.dry_run && forgotten > 0 {
        let until = output::time(context.now() + UNDO_TIME);
        context
            .console
            .note(&format!("Until {until} `icecore undo` takes it back; `icecore prune` frees the space after that."));
    }
    Ok(())
}

fn chosen(args: &Args, repo: &Repository, context: &Context) -> anyhow::Result<usize> {
    // All are found before one is forgotten: a typing error changes nothing.
    let mut points = args.points.iter().map(|name| point::find(repo, name)).collect::<anyhow::Result<Vec<_>>>()?;
    points.sort_unstable();
    points.dedup();
    let reason = args.reason.as_deref().unwrap_or("forgotten by hand");
    if args.dry_run {
        repo.keys().master_for("forgetting a recovery point")?;
    } else {
        for at in &points {
            forget(repo, at, reason, context.now(), UNDO_TIME)?;
        }
    }
    let value = |at: &PointKey| json!({ "id": at.manifest, "sequence": at.sequence, "forgotten": !args.dry_run, "reason": reason });
    let values: Vec<Value> = points.iter().map(value).collect();
    context.console.result(&values, |_| {
        let ids: Vec<String> = points.iter().map(point::short).collect();
        format!("{} ({}).", sentence(args.dry_run, points.len()), ids.join(", "))
    })?;
    Ok(points.len())
}

fn sentence(dry_run: bool, points: usize) -> String {
    let verb = if dry_run { "Would forget" } else { "Forgot" };
    let noun = if points == 1 { "recovery point" } else { "recovery points" };
    format!("{verb} {points} {noun}")
}

/// Points of one name, in the order of the list.
type Points = Vec<(StoredManifest, Box<Manifest>)>;

fn by_rules(args: &Args, repo: &Repository, context: &Context) -> anyhow::Result<usize> {
    repo.keys().master_for("forgetting recovery points")?;
    let mut names: BTreeMap<String, Points> = BTreeMap::new();
    for entry in list::entries(repo, &tombstones(repo)?)? {
        match entry {
            // Rules go by the time of receipt, which is not proved.
            Entry::Open(stored, _) if !stored.is_verified => {
                context.console.warn(&format!("{} stays: it cannot be verified", point::short(&stored.at)));
            }
            Entry::Open(stored, manifest) => {
                names.entry(manifest.name.clone()).or_default().push((stored, manifest));
            }
            Entry::Damaged(at, error) => context.console.warn(&format!("{} stays: {error}", point::short(&at))),
            Entry::Sealed(_) => {}
        }
    }
    if let Some(unknown) = args.name.iter().find(|name| !names.contains_key(*name)) {
        return Err(Failure::new(Code::NotFound, format!("there is no recovery point of the name {unknown:?}"))
            .next("`icecore list` shows the recovery points")
            .into());
    }
    names.retain(|name, _| args.name.is_empty() || args.name.contains(name));
    let (now, zone, policy) = (context.now(), TimeZone::system(), args.keep.policy());
    // Every decision stands before the first point is forgotten.
    let mut decided: Vec<(&str, PointKey, Decision)> = Vec::new();
    for (name, points) in &names {
        let dated: Vec<DatedPoint> = points.iter().map(|(stored, _)| dated(stored)).collect();
        for decision in decide(&policy, &dated, now, &zone)? {
            let at =
                points.iter().find(|(stored, _)| stored.at.manifest == decision.manifest).map(|(stored, _)| stored.at);
            decided.extend(at.map(|at| (name.as_str(), at, decision)));
        }
    }
    let gone: Vec<&(&str, PointKey, Decision)> = decided.iter().filter(|(_, _, decision)| !decision.keep).collect();
    if !args.dry_run {
        for (_, at, decision) in &gone {
            forget(repo, at, &format!("rules: {}", decision.reasons.join(", ")), now, UNDO_TIME)?;
        }
    }
    let values: Vec<Value> = decided.iter().map(|entry| decision_json(entry, args.dry_run)).collect();
    context.console.result(&values, |_| {
        let rows = decided.iter().map(decision_row).collect();
        let table = table(&["ID", "NAME", ">SEQ", "RECEIVED", "", "REASONS"], rows);
        format!("{table}\n{}.", sentence(args.dry_run, gone.len()))
    })?;
    Ok(gone.len())
}

fn dated(stored: &StoredManifest) -> DatedPoint {
    DatedPoint { manifest: stored.at.manifest, sequence: stored.at.sequence, received_at: stored.receipt.received_at }
}

fn decision_json((name, at, decision): &(&str, PointKey, Decision), dry_run: bool) -> Value {
    json!({
        "id": at.manifest, "name": name, "sequence": at.sequence, "received_at": decision.received_at,
        "keep": decision.keep, "reasons": decision.reasons, "forgotten": !decision.keep && !dry_run,
    })
}

fn decision_row((name, at, decision): &(&str, PointKey, Decision)) -> Vec<String> {
    vec![
        point::short(at),
        output::name(name),
        at.sequence.to_string(),
        output::time(decision.received_at),
        if decision.keep { "keep".into() } else { "forget".into() },
        decision.reasons.join(", "),
    ]
}
