//! Where file systems lie on a disk of a recovery point: its partitions, as the point recorded them or as its bytes tell.

use crate::facts::{DiskFacts, Partition};
use crate::point_disk::PointDisk;
use crate::source::SourceFacts;
use repo_format::manifest::Disk;
use std::io;

/// Sector size where a point does not say.
const SECTOR_BYTES: u32 = 512;

/// Facts as the point recorded them; `None` when a program wrote them that this one does not understand.
pub fn recorded_facts(disk: &Disk) -> Option<DiskFacts> {
    serde_json::from_value::<SourceFacts>(disk.facts.clone()).ok().map(|facts| facts.disk)
}

/// Facts as recorded, else as the disk's bytes tell them.
pub fn facts(disk: &PointDisk<'_>) -> io::Result<DiskFacts> {
    match recorded_facts(disk.disk()) {
        Some(facts) => Ok(facts),
        None => DiskFacts::read(disk, SECTOR_BYTES),
    }
}

/// The partitions that have bytes of their own and lie on the disk.
pub fn partitions<'f>(facts: &'f DiskFacts, disk: &Disk) -> impl Iterator<Item = &'f Partition> + use<'f> {
    let size_bytes = disk.size_bytes;
    let inside = move |partition: &&Partition| {
        let end = partition.offset_bytes.checked_add(partition.length_bytes);
        !partition.extended && end.is_some_and(|end| end <= size_bytes)
    };
    facts.partitions.iter().filter(inside)
}
