//! `icecore diff`: which bytes of which disks differ between two recovery points, found in their trees alone.

use super::console::table;
use super::context::Context;
use super::point::{self, PointName};
use agent::extents::{Extent, ExtentList};
use agent::output;
use repo_format::manifest::{Disk, Manifest, StoredManifest};
use repo_format::reader::Reader;
use repo_format::tree::{Tree, diff};
use serde::Serialize;

/// Options of `diff`.
#[derive(clap::Args)]
pub struct Args {
    /// The earlier point
    #[arg(value_name = "POINT")]
    from: PointName,
    /// The later point
    #[arg(value_name = "POINT")]
    to: PointName,
    /// Only this disk
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,
    /// Print every extent as `OFFSET LENGTH` in bytes, the form that `backup --changed-extents` reads; of one disk
    #[arg(long)]
    extents: bool,
}

#[derive(Serialize)]
struct DiskDifference {
    disk: String,
    /// Null where the disk is only in the other point.
    from_bytes: Option<u64>,
    to_bytes: Option<u64>,
    bytes_differing: u64,
    extents: Vec<ExtentJson>,
}

#[derive(Serialize)]
struct ExtentJson {
    offset_bytes: u64,
    length_bytes: u64,
}

/// Compares.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let repo = context.open()?;
    let index = context.index(&repo)?;
    let open = |name| point::open(&repo, name, context.console);
    let (from, to) = (open(&args.from)?, open(&args.to)?);
    let mut names: Vec<&str> = from.1.disks.iter().chain(&to.1.disks).map(|disk| disk.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if let Some(name) = &args.disk {
        // The error that lists the disks there are.
        to.1.disk(Some(name)).or_else(|error| from.1.disk(Some(name)).map_err(|_| error))?;
        names.retain(|known| known == name);
    } else if args.extents && names.len() > 1 {
        to.1.disk(None)?;
    }
    let points = [(&from.0, &from.1), (&to.0, &to.1)];
    let differences = context.reading(&repo, &points, || {
        let reader = Reader::new(&repo, &index);
        let of = |name: &&str| difference(&reader, name, (&from.1, &to.1));
        Ok(names.iter().map(of).collect::<repo_format::Result<Vec<_>>>()?)
    })?;
    context.console.result(&differences, |differences| text(differences, args.extents, (&from, &to)))
}

fn difference(
    reader: &Reader<'_>,
    name: &str,
    (from, to): (&Manifest, &Manifest),
) -> repo_format::Result<DiskDifference> {
    let find = |manifest: &Manifest| manifest.disks.iter().find(|disk| disk.name == name).cloned();
    let (from_disk, to_disk) = (find(from), find(to));
    let chunk_bytes = from.chunk_bytes;
    let tree = |disk: &Option<Disk>| disk.as_ref().map_or(Tree::empty(0), |disk| disk.tree(chunk_bytes));
    let size = |disk: &Option<Disk>| disk.as_ref().map(|disk| disk.size_bytes);
    let limit = size(&from_disk).max(size(&to_disk)).unwrap_or(0);
    let mut extents = ExtentList::new();
    diff((tree(&from_disk), tree(&to_disk)), (reader, reader), &mut |position, _, _| {
        let start = position.saturating_mul(chunk_bytes.into());
        let end = start.saturating_add(chunk_bytes.into()).min(limit);
        if let Some(extent) = Extent::from_bounds(start, end) {
            extents.push(extent);
        }
        Ok(())
    })?;
    Ok(DiskDifference {
        disk: name.to_owned(),
        from_bytes: size(&from_disk),
        to_bytes: size(&to_disk),
        bytes_differing: extents.total_bytes(),
        extents: extents
            .iter()
            .map(|extent| ExtentJson { offset_bytes: extent.offset_bytes(), length_bytes: extent.length_bytes() })
            .collect(),
    })
}

type Point = (StoredManifest, Manifest);

fn text(differences: &[DiskDifference], extents: bool, (from, to): (&Point, &Point)) -> String {
    if extents {
        let lines = differences.iter().flat_map(|disk| &disk.extents);
        return lines.map(|extent| format!("{} {}\n", extent.offset_bytes, extent.length_bytes)).collect();
    }
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".into(), output::bytes);
    let rows = differences.iter().map(|disk| {
        vec![
            output::name(&disk.disk),
            size(disk.from_bytes),
            size(disk.to_bytes),
            output::bytes(disk.bytes_differing),
            disk.extents.len().to_string(),
        ]
    });
    let table = table(&["DISK", ">SIZE BEFORE", ">SIZE AFTER", ">DIFFERS", ">EXTENTS"], rows.collect());
    format!("From {} to {}, in whole chunks:\n{table}", point::title(&from.0, &from.1), point::title(&to.0, &to.1))
}
