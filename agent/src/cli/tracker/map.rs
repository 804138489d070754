//! `icecore tracker map` and `dirty`: reading and writing the changed-block map.

use super::super::context::Context;
use super::super::failure::{Code, Failure};
use super::super::size;
use agent::extents::changed_list::{ListedDisk, parse_changed_list, quote_name};
use agent::output;
use agent::tracker::changed::{Changes, Since, changes, sectors};
use agent::tracker::uapi::Sectors;
use agent::tracker::{Id, Module};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Ranges given to the kernel with one call.
const RANGES_A_CALL: usize = 4096;

/// Options of `tracker map`.
#[derive(clap::Args)]
pub struct Args {
    /// A tracked block device
    #[arg(value_name = "DEVICE")]
    device: PathBuf,
    /// Only what changed after the snapshot with this number [default: 0, all since tracking began]
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    since: u64,
    /// Refuse if the tracker's generation is another one: its list would be useless
    #[arg(long, value_name = "ID", value_parser = super::parse_id)]
    generation: Option<Id>,
    /// Refuse if the interval that `--since` names has another id: the machine was reverted or cloned
    #[arg(long, value_name = "ID", value_parser = super::parse_id, requires = "since")]
    interval: Option<Id>,
    /// Put this name in front of each line, as a list for several disks needs it
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,
}

/// Options of `tracker dirty`.
#[derive(clap::Args)]
pub struct DirtyArgs {
    /// A tracked block device
    #[arg(value_name = "DEVICE")]
    device: PathBuf,
    /// First byte
    #[arg(value_name = "OFFSET", value_parser = size::parse, requires = "length", required_unless_present = "extents")]
    offset: Option<u64>,
    /// How many bytes
    #[arg(value_name = "LENGTH", value_parser = size::parse)]
    length: Option<u64>,
    /// A file of `OFFSET LENGTH` lines in bytes, as `tracker map` prints it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["offset", "length"])]
    extents: Option<PathBuf>,
}

/// Prints what changed.
pub fn run(args: &Args, module: &dyn Module, context: &Context) -> anyhow::Result<()> {
    let since = Since { number: args.since, generation: args.generation, interval: args.interval };
    let changes = changes(module, &args.device, since)?;
    let result = Listed { device: &args.device, changed_bytes: changes.bytes(), changes: &changes };
    context.console.result(&result, |_| list(args, &changes))
}

/// The list as JSON. (Not by way of a `Value`, which would take many times the memory of a long list.)
#[derive(Serialize)]
struct Listed<'c> {
    device: &'c Path,
    changed_bytes: u64,
    #[serde(flatten)]
    changes: &'c Changes,
}

/// The list as `--changed-extents` reads it; what a person wants to know is in comments.
fn list(args: &Args, changes: &Changes) -> String {
    let name = output::name(&args.device.to_string_lossy());
    let coarse = if changes.coarse { ", more than that may be listed" } else { "" };
    let interval = changes.interval.map(|id| format!(", interval {id}")).unwrap_or_default();
    let mut text = format!(
        "# {name}: {} changed since snapshot {}, up to snapshot {}{coarse}\n# generation {}{interval}\n",
        output::bytes(changes.bytes()),
        changes.since,
        changes.number,
        changes.generation,
    );
    let disk = args.disk.as_deref().map(|disk| quote_name(disk) + " ").unwrap_or_default();
    for extent in &changes.extents {
        text += &format!("{disk}{} {}\n", extent.offset, extent.length);
    }
    text
}

/// Marks ranges as changed.
pub fn dirty(args: &DirtyArgs, module: &dyn Module, context: &Context) -> anyhow::Result<()> {
    let capacity_bytes = module.cbt_info(&args.device)?.capacity_bytes;
    let ranges = match (&args.extents, args.offset, args.length) {
        (Some(file), ..) => from_file(file, &args.device.to_string_lossy(), capacity_bytes)?,
        (None, Some(offset), Some(length)) => vec![range(offset, length, capacity_bytes)?],
        // clap lets nothing else through.
        _ => {
            return Err(Failure::new(Code::Usage, "no range was given").next("give OFFSET LENGTH or --extents").into());
        }
    };
    for ranges in ranges.chunks(RANGES_A_CALL) {
        module.mark_dirty(&args.device, ranges)?;
    }
    let sectors: u64 = ranges.iter().map(|range| range.count_sectors).sum();
    let result = json!({ "device": args.device, "ranges": ranges.len(), "bytes": sectors * 512 });
    context.console.result(&result, |_| {
        let name = output::name(&args.device.to_string_lossy());
        format!("marked {} in {} ranges of {name} as changed", output::bytes(sectors * 512), ranges.len())
    })
}

fn from_file(file: &PathBuf, disk: &str, size_bytes: u64) -> anyhow::Result<Vec<Sectors>> {
    let shown = file.display();
    let text = BufReader::new(File::open(file).with_context(|| format!("cannot open {shown}"))?);
    let disks = [ListedDisk { name: disk, size_bytes }];
    let lists = parse_changed_list(text, &disks, 512).with_context(|| format!("reading {shown}"))?;
    lists.iter().flat_map(|list| list.iter()).map(|e| range(e.offset_bytes(), e.length_bytes(), size_bytes)).collect()
}

fn range(offset: u64, length: u64, capacity_bytes: u64) -> anyhow::Result<Sectors> {
    let inside = offset.checked_add(length).is_some_and(|end| end <= capacity_bytes) && length > 0;
    sectors(offset, length).filter(|_| inside).ok_or_else(|| {
        let what = format!("{offset} {length} is not a range of the device, which has {capacity_bytes} bytes");
        Failure::new(Code::Usage, what).next("give a range that is not empty and ends on the device").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::tracker::changed::ChangedExtent;

    fn changes() -> Changes {
        Changes {
            generation: Id([1; 16]),
            number: 5,
            interval: Some(Id([2; 16])),
            since: 3,
            capacity_bytes: 1 << 20,
            block_bytes: 65_536,
            coarse: false,
            extents: vec![ChangedExtent { offset: 0, length: 65_536 }, ChangedExtent { offset: 131_072, length: 512 }],
        }
    }

    fn args(disk: Option<&str>) -> Args {
        Args { device: "/dev/sda".into(), since: 3, generation: None, interval: None, disk: disk.map(str::to_owned) }
    }

    #[test]
    fn the_list_is_one_that_a_backup_reads() {
        for disk in [None, Some("sda"), Some("odd \"name\""), Some("# x")] {
            let text = list(&args(disk), &changes());
            let disks = [ListedDisk { name: disk.unwrap_or("whatever"), size_bytes: 1 << 20 }];
            let lists = parse_changed_list(text.as_bytes(), &disks, 512).unwrap();
            let read: Vec<_> = lists[0].iter().map(|extent| (extent.offset_bytes(), extent.length_bytes())).collect();
            assert_eq!(read, [(0, 65_536), (131_072, 512)], "{text}");
        }
    }

    #[test]
    fn the_list_says_what_to_note_for_the_next_time() {
        let text = list(&args(None), &changes());
        assert!(
            text.starts_with("# /dev/sda: 64.5 KiB changed since snapshot 3, up to snapshot 5\n# generation 01010101-")
        );
        assert!(text.contains(", interval 02020202-"));
    }

    #[test]
    fn ranges_off_the_device_are_refused() {
        assert!(range(0, 1024, 1024).is_ok());
        for (offset, length) in [(0, 0), (0, 1025), (1024, 1), (u64::MAX, 2)] {
            assert!(range(offset, length, 1024).is_err(), "{offset} {length}");
        }
    }
}
