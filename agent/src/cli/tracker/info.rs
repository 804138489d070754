//! `icecore tracker info`.

use super::super::console::{fields, table};
use super::super::context::Context;
use agent::output;
use agent::source::sys::SysRoot;
use agent::tracker::attached::attached;
use agent::tracker::snapshots::{errno_text, image_path};
use agent::tracker::uapi::extension::{
    TRACKER_COARSE, TRACKER_IN_SNAPSHOT, TRACKER_INVALID, TrackerInfo, TrackerStatistics,
};
use agent::tracker::{Id, Module, TrackerError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Options of `tracker info`.
#[derive(clap::Args)]
pub struct Args {
    /// Block devices [default: all that are tracked]
    #[arg(value_name = "DEVICE")]
    devices: Vec<PathBuf>,
}

/// What is known about a tracked device.
struct Tracked {
    device: PathBuf,
    capacity_bytes: u64,
    block_bytes: u64,
    block_count: u64,
    generation: Id,
    number: u64,
    image: Option<String>,
    error: Option<String>,
    fine: Option<TrackerInfo>,
    statistics: Option<TrackerStatistics>,
}

/// Runs the verb.
pub fn run(args: &Args, module: &dyn Module, context: &Context) -> anyhow::Result<()> {
    let devices = if args.devices.is_empty() { attached(&SysRoot::host()) } else { args.devices.clone() };
    let found = devices.iter().map(|device| Tracked::ask(module, device)).collect::<Result<Vec<_>, _>>()?;
    let (version, features) = (module.version()?, module.features()?);
    let version = format!("{}.{}.{}.{}", version.major, version.minor, version.revision, version.build);
    let result = json!({
        "module": { "version": version, "extension_version": features.version, "features": features.bits },
        "devices": found.iter().map(Tracked::json).collect::<Vec<_>>(),
    });
    context.console.result(&result, |_| match found.as_slice() {
        [] => "No device is tracked; `icecore tracker attach DEVICE` begins.".into(),
        [only] if !args.devices.is_empty() => only.text(),
        many => rows(many),
    })
}

impl Tracked {
    fn ask(module: &dyn Module, device: &Path) -> Result<Self, TrackerError> {
        let old = module.cbt_info(device)?;
        let fine = module.tracker_info(device)?;
        let image = module.snapshot_info(device)?;
        Ok(Self {
            device: device.to_path_buf(),
            capacity_bytes: old.capacity_bytes,
            block_bytes: old.block_size.into(),
            block_count: old.block_count.into(),
            generation: fine.map_or(old.generation, |fine| fine.generation).into(),
            number: fine.map_or(old.changes_number.into(), |fine| fine.number),
            image: image_path(&image.image),
            error: errno_text(image.error_code),
            fine,
            statistics: module.tracker_statistics(device)?,
        })
    }

    fn name(&self) -> String {
        output::name(&self.device.to_string_lossy())
    }

    fn state(&self) -> String {
        let flags = self.fine.map_or(0, |fine| fine.flags);
        let mut words = Vec::new();
        if flags & TRACKER_INVALID != 0 {
            words.push("writes may have been missed");
        }
        if flags & TRACKER_COARSE != 0 {
            words.push("coarse");
        }
        if flags & TRACKER_IN_SNAPSHOT != 0 || self.image.is_some() {
            words.push("in a snapshot");
        }
        if words.is_empty() { "tracked".into() } else { words.join(", ") }
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "device": self.device, "capacity_bytes": self.capacity_bytes, "block_bytes": self.block_bytes,
            "block_count": self.block_count, "generation": self.generation, "number": self.number,
            "image": self.image, "error": self.error,
        });
        if let Some(fine) = &self.fine {
            value["oldest"] = fine.oldest.into();
            value["interval"] = json!(Id::from(fine.interval));
            value["oldest_interval"] = fine.oldest_interval.into();
            value["window_generation"] = json!(Id::from(fine.window_generation));
            value["window_base"] = fine.window_base.into();
            value["map_bytes"] = fine.map_bytes.into();
            value["coarse"] = (fine.flags & TRACKER_COARSE != 0).into();
            value["invalid"] = (fine.flags & TRACKER_INVALID != 0).into();
            value["in_snapshot"] = (fine.flags & TRACKER_IN_SNAPSHOT != 0).into();
        }
        if let Some(statistics) = &self.statistics {
            value["statistics"] = statistics_json(statistics);
        }
        value
    }

    fn text(&self) -> String {
        let mut pairs = vec![
            ("Device", self.name()),
            ("State", self.state()),
            ("Size", output::bytes(self.capacity_bytes)),
            ("Blocks", format!("{} of {}", self.block_count, output::bytes(self.block_bytes))),
            ("Generation", self.generation.to_string()),
            ("Number", self.number.to_string()),
        ];
        if let Some(fine) = &self.fine {
            pairs.push(("Interval", Id::from(fine.interval).to_string()));
            pairs.push(("Exact since", fine.oldest.to_string()));
            pairs.push(("Map", output::bytes(fine.map_bytes)));
        }
        pairs.extend(self.image.clone().map(|image| ("Image", image)));
        pairs.extend(self.error.clone().map(|error| ("Image error", error)));
        if let Some(statistics) = &self.statistics {
            let writes = format!("{} ({})", statistics.writes, output::bytes(statistics.write_bytes));
            pairs.push(("Writes", writes));
            let mean_ns = statistics.delayed_ns.checked_div(statistics.delayed_writes).unwrap_or(0);
            let delayed = format!("{} ({} µs on average)", statistics.delayed_writes, mean_ns / 1000);
            pairs.push(("Delayed", delayed));
            let read = output::bytes(statistics.read_for_preservation_bytes);
            pairs.push(("Preserved", format!("{read} read, {} stored", output::bytes(statistics.preserved_bytes))));
        }
        fields(&pairs)
    }
}

fn rows(found: &[Tracked]) -> String {
    let row = |tracked: &Tracked| {
        let (size, block) = (output::bytes(tracked.capacity_bytes), output::bytes(tracked.block_bytes));
        let image = tracked.image.clone().unwrap_or_default();
        let (generation, number) = (tracked.generation.to_string(), tracked.number.to_string());
        vec![tracked.name(), size, block, number, generation, tracked.state(), image]
    };
    let columns = ["DEVICE", ">SIZE", ">BLOCK", ">NUMBER", "GENERATION", "STATE", "IMAGE"];
    table(&columns, found.iter().map(row).collect())
}

fn statistics_json(statistics: &TrackerStatistics) -> Value {
    json!({
        "writes": statistics.writes, "write_bytes": statistics.write_bytes,
        "marked_blocks": statistics.marked_blocks, "delayed_writes": statistics.delayed_writes,
        "delayed_ns": statistics.delayed_ns,
        "read_for_preservation_bytes": statistics.read_for_preservation_bytes,
        "preserved_bytes": statistics.preserved_bytes, "image_read_bytes": statistics.image_read_bytes,
        "image_write_bytes": statistics.image_write_bytes, "map_bytes": statistics.map_bytes,
        "chunk_map_bytes": statistics.chunk_map_bytes, "coarse_regions": statistics.coarse_regions,
        "delay_histogram": statistics.delay_histogram,
    })
}
