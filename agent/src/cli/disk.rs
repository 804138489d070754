//! Disks and partitions of a recovery point as verbs that look into them need them.

use super::console::Console;
use super::failure::{Code, Failure};
use agent::facts::Partition;
use agent::files::{self, FileSystem, FilesError};
use agent::output;
use agent::point_disk::PointDisk;
use agent::read_at::{ReadAt, Slice};
use std::sync::Arc;

pub use agent::volumes::{facts, partitions, recorded_facts};

/// Opens the file system of a partition; without a number, the only one there is. What of it is stale or damaged is said.
pub fn file_system<'d>(
    disk: &'d PointDisk<'_>,
    number: Option<u32>,
    console: Console,
) -> anyhow::Result<Box<dyn FileSystem + 'd>> {
    let fs = find_file_system(disk, number)?;
    for note in fs.notes() {
        console.warn(&format!("the {} file system: {note}", fs.name()));
    }
    Ok(fs)
}

/// The same, and what of it is stale or damaged is the caller's to say.
pub fn find_file_system<'d>(disk: &'d PointDisk<'_>, number: Option<u32>) -> anyhow::Result<Box<dyn FileSystem + 'd>> {
    let facts = facts(disk)?;
    let known: Vec<&Partition> = partitions(&facts, disk.disk()).collect();
    if let Some(number) = number {
        let Some(partition) = known.iter().find(|partition| partition.number == number) else {
            let what = format!("disk {} has no partition {number}", output::name(&disk.disk().name));
            return Err(Failure::new(Code::NotFound, what).next(listed(&known)).into());
        };
        return Ok(files::open(slice(disk, partition)?)?);
    }
    if known.is_empty() {
        return Ok(files::open(Arc::new(Slice::new(disk, 0, disk.size_bytes())?))?);
    }
    let mut readable = Vec::new();
    for partition in &known {
        match files::open(slice(disk, partition)?) {
            Err(FilesError::NotRecognised) => {}
            other => readable.push(other),
        }
    }
    match (readable.len(), readable.pop()) {
        (1, Some(only)) => Ok(only?),
        (0, _) => Err(FilesError::NotRecognised.into()),
        _ => Err(Failure::new(Code::Usage, "the disk has several partitions with files").next(listed(&known)).into()),
    }
}

fn slice<'d>(disk: &'d PointDisk<'_>, partition: &Partition) -> anyhow::Result<Arc<Slice<'d>>> {
    Ok(Arc::new(Slice::new(disk, partition.offset_bytes, partition.length_bytes)?))
}

fn listed(partitions: &[&Partition]) -> String {
    let numbers: Vec<String> = partitions.iter().map(|partition| partition.number.to_string()).collect();
    match numbers.is_empty() {
        true => "the disk has no partitions; leave the number out".into(),
        false => format!("choose one with --partition: {}", numbers.join(", ")),
    }
}
