//! Writes by io_uring, which first tries everything without waiting.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::{Disk, MemoryDisks};
use crate::filter::Tracked;
use crate::oracle::{self, Picture};
use crate::registry::Scenario;
use crate::ring::{Manner, RingFile};
use crate::snapshot::{AMPLE_SECTORS, SMALL_SECTORS, Snapshot};
use crate::storm::Area;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("ring/ordinary", "writes by io_uring succeed, are in the map and preserved", || {
        writes(&Disk::First.node()?, Manner::Ordinary)
    })
    .with_module(),
    Scenario::new(
        "ring/without_waiting",
        "so are those that must not wait, or they say that they would have to",
        || writes(&Disk::First.node()?, Manner::WithoutWaiting),
    )
    .with_module(),
    Scenario::new("ring/polled", "so are those whose end the program polls for", polled).with_module(),
];

/// Distance of the writes. Neighbours share a tracking block and, in pairs, what is preserved together.
const STEP_BYTES: u64 = 20480;
const WRITES: u64 = 400;
const AREA_SECTORS: u64 = STEP_BYTES * WRITES / 512;

fn polled() -> Result<()> {
    let disks = MemoryDisks::new(1, 64, "poll_queues=1")?;
    writes(&disks.node(0)?, Manner::Polled)?;
    drop(disks);
    Ok(())
}

fn writes(path: &Path, manner: Manner) -> Result<()> {
    let tracked = Tracked::attach(path)?;
    let area = Area::of_disk(0, path, 0, AREA_SECTORS);
    area.fill()?;
    Snapshot::take_of(Path::new("/tmp"), SMALL_SECTORS, &[&tracked])?.destroy()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let offsets: Vec<u64> = (0..WRITES).map(|number| number * STEP_BYTES).collect();
    let mut buffer = AlignedBuffer::new(4096);
    let mut file = RingFile::open(path, manner)?;
    // The second time everything is preserved, and nobody has to wait.
    for fill in [1, 2] {
        buffer.bytes_mut().fill(fill);
        let results = file.write_at_all(&buffer, &offsets)?;
        let refused: Vec<u64> = failed(&results, &offsets, manner)?;
        println!("{} of {WRITES} writes would have had to wait", refused.len());
        ensure!(fill == 1 || refused.is_empty(), "writes to preserved places fail: {refused:?}");
        if !refused.is_empty() {
            let again = RingFile::open(path, Manner::Ordinary)?.write_at_all(&buffer, &refused)?;
            ensure!(again.iter().all(Option::is_none), "a write that may wait fails: {again:?}");
        }
    }
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?).context("the image")?;
    let disk = DirectFile::open(path)?;
    for offset in &offsets {
        ensure!(disk.read_new(*offset, 4096)?.bytes() == buffer.bytes(), "the write at {offset} is lost");
    }
    snapshot.destroy()?;
    drop((disk, file));
    Snapshot::take_of(Path::new("/tmp"), SMALL_SECTORS, &[&tracked])?.destroy()?;
    let map = tracked.map()?;
    for block in offsets.iter().flat_map(|offset| [offset / 65536, (offset + 4095) / 65536]) {
        ensure!(map[usize::try_from(block)?] == 3, "block {block} was written in interval 3, the map says otherwise");
    }
    tracked.detach()
}

/// Where writes failed, which only those may that must not wait, and only for that.
fn failed(results: &[Option<nix::Error>], offsets: &[u64], manner: Manner) -> Result<Vec<u64>> {
    let mut places = Vec::new();
    for (errno, offset) in results.iter().zip(offsets).filter_map(|(result, offset)| Some(((*result)?, offset))) {
        let may = manner == Manner::WithoutWaiting && errno == nix::Error::EAGAIN;
        ensure!(may, "the write at {offset} fails with {errno}");
        places.push(*offset);
    }
    Ok(places)
}
