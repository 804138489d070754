//! `icecore show`: everything the repository knows about one recovery point.

use super::console::{fields, table};
use super::context::Context;
use super::disk;
use super::list::{Entry, entry_json, kind_text};
use super::point::{self, PointName};
use agent::facts::DiskFacts;
use agent::output;
use repo_format::manifest::{Consistency, Disk, Manifest, StoredManifest};
use repo_format::suspects;
use std::time::Duration;

/// Options of `show`.
#[derive(clap::Args)]
pub struct Args {
    /// The point
    #[arg(value_name = "POINT")]
    point: PointName,
}

/// Shows.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let (stored, manifest) = point::open(&repo, &args.point, context.console)?;
    let suspect = suspects::all(&repo)?.contains(&stored.at.manifest);
    let mut text = summary(&stored, &manifest);
    if suspect {
        text += "SUSPECT   it may lack changes: a later backup found that the list of changes was not complete\n";
    }
    for disk in &manifest.disks {
        text += "\n";
        text += &disk_text(disk);
    }
    let facts: Vec<serde_json::Value> = manifest.disks.iter().map(|disk| disk.facts.clone()).collect();
    let mut value = entry_json(&Entry::Open(stored, Box::new(manifest)));
    value["suspect"] = suspect.into();
    for (disk, facts) in value["disks"].as_array_mut().into_iter().flatten().zip(facts) {
        disk["facts"] = facts;
    }
    context.console.result(&value, |_| text)
}

/// What a point says of its disks.
pub fn consistency_text(consistency: Consistency, one_instant: bool) -> &'static str {
    match (consistency, one_instant) {
        (Consistency::Offline, _) => "offline: nothing wrote to the disks",
        (Consistency::CrashConsistent, true) => "crash-consistent: one instant of all disks, as after a power cut",
        (Consistency::CrashConsistent, false) => {
            "crash-consistent, NOT one instant: each disk as after a power cut of its own"
        }
        (Consistency::ApplicationConsistent, true) => "application-consistent: file systems frozen, applications told",
        (Consistency::ApplicationConsistent, false) => {
            "application-consistent: applications told, each disk of an instant of its own meanwhile"
        }
        (Consistency::NotConsistent, _) => "NOT consistent: the disks were written to while they were read",
    }
}

fn summary(stored: &StoredManifest, manifest: &Manifest) -> String {
    let stats = &manifest.stats;
    let kind = match &manifest.full_read_reason {
        Some(reason) => format!("{} ({})", kind_text(manifest.kind), output::name(reason)),
        None => kind_text(manifest.kind).to_owned(),
    };
    let exact = |bytes: u64| format!("{} ({bytes} bytes)", output::bytes(bytes));
    fields(&[
        ("Point", stored.at.manifest.to_string()),
        ("Name", format!("{}@{}", output::name(&manifest.name), stored.at.sequence)),
        ("Host", output::name(&manifest.host)),
        ("Created", manifest.created_at.to_string()),
        ("Received", stored.receipt.received_at.to_string()),
        ("Kind", kind),
        ("Consistency", consistency_text(manifest.consistency, manifest.one_instant).to_owned()),
        ("Parent", manifest.parent.map_or_else(|| "none".into(), |id| id.to_string())),
        ("Writer", stored.writer.to_string()),
        ("Program", format!("{}, provider {}", output::name(&manifest.program), output::name(&manifest.provider))),
        ("Source", exact(stats.bytes_source)),
        ("Changed", exact(stats.bytes_changed)),
        ("Read", exact(stats.bytes_read)),
        ("Preserved", stats.bytes_preserved.map_or_else(|| "-".into(), exact)),
        ("New", exact(stats.bytes_new)),
        ("Stored", exact(stats.bytes_stored + stored.object_bytes)),
        ("Duration", output::duration(Duration::from_millis(stats.duration_ms))),
    ])
}

fn disk_text(disk: &Disk) -> String {
    let excluded: Vec<String> = disk.excluded_partitions.iter().map(ToString::to_string).collect();
    let mut pairs = vec![
        ("Disk", output::name(&disk.name)),
        ("Path", output::name(&disk.path)),
        ("Size", format!("{} ({} bytes)", output::bytes(disk.size_bytes), disk.size_bytes)),
        ("Identity", format!("{} {}", output::name(&disk.identity.kind), output::name(&disk.identity.value))),
    ];
    if disk.used_blocks_only {
        pairs.push(("Content", "only what file systems use; the rest reads as zero".into()));
    }
    if !excluded.is_empty() {
        pairs.push(("Left out", format!("partitions {} (read as zero)", excluded.join(", "))));
    }
    if let Some(tracker) = &disk.tracker {
        pairs.push(("Tracker", format!("{} number {}", output::name(&tracker.generation), tracker.number)));
    }
    // Facts of a newer program that this one cannot read are left out; JSON has them.
    let facts = disk::recorded_facts(disk).unwrap_or_default();
    let mut text = fields(&pairs);
    if let Some(content) = &facts.content {
        text += &format!("Holds     {}\n", content_text(content));
    }
    if !facts.partitions.is_empty() {
        text += &table(&["PARTITION", ">OFFSET", ">SIZE", "HOLDS", "NAME"], partition_rows(&facts));
    }
    text
}

fn partition_rows(facts: &DiskFacts) -> Vec<Vec<String>> {
    let rows = facts.partitions.iter().map(|partition| {
        vec![
            partition.number.to_string(),
            output::bytes(partition.offset_bytes),
            output::bytes(partition.length_bytes),
            partition.content.as_ref().map(content_text).unwrap_or_default(),
            partition.name.as_deref().map(output::name).unwrap_or_default(),
        ]
    });
    rows.collect()
}

/// What a disk or partition holds, in a word and its label.
pub fn content_text(content: &agent::facts::content::Content) -> String {
    let kind = serde_json::to_value(content.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("unknown").to_owned();
    match &content.label {
        Some(label) if !label.is_empty() => format!("{kind} {:?}", output::name(label)),
        _ => kind,
    }
}
