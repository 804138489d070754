//! Images under write storms: one instant for all devices, for every kind of store, and nothing newer ever after.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::{Disk, MemoryDisks};
use crate::filter::Tracked;
use crate::oracle::{self, Picture};
use crate::partition::Partitions;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::store::StoreDirectory;
use crate::storm::{Area, Force, Storm};
use crate::trial::{AREA_SECTORS, Trial};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("snapshot/one_disk", "the image of a disk under writes is one instant", || one(Disk::First))
        .with_module()
        .within_s(180),
    Scenario::new("snapshot/one_disk_4k", "the same with blocks of 4096 bytes", || one(Disk::FourKib))
        .with_module()
        .within_s(180),
    Scenario::new("snapshot/two_disks", "two disks of one snapshot show the same instant", two_disks)
        .with_module()
        .within_s(240),
    Scenario::new("snapshot/sixty_four", "so do 64", sixty_four).with_module().within_s(300),
    Scenario::new("snapshot/partitions", "writes to partitions and to the whole disk are both preserved", partitions)
        .with_module()
        .within_s(180),
    Scenario::new("snapshot/store_directory", "the store can be an unnamed file on ext4", store_directory)
        .with_module()
        .within_s(180),
    Scenario::new("snapshot/store_file", "the store can be a regular file", store_file).with_module().within_s(180),
    Scenario::new("snapshot/store_disk", "the store can be a block device", store_disk).with_module().within_s(180),
    Scenario::new("snapshot/two_at_once", "two snapshots at once do not touch each other", two_at_once)
        .with_module()
        .within_s(240),
    Scenario::new("snapshot/image_facts", "the image has the size and sectors of its disk", image_facts).with_module(),
    Scenario::new("snapshot/image_writes", "what is written to the image stays in the image", image_writes)
        .with_module(),
    Scenario::new("snapshot/discard", "the image keeps what the disk discards and zeroes", discard).with_module(),
    Scenario::new("snapshot/nowait", "writes that must not wait neither fail for ever nor spoil the image", nowait)
        .with_module(),
    Scenario::new("snapshot/storm_long", "thirty snapshots under writes", storm_long)
        .with_module()
        .only_soak()
        .within_s(1800),
];

fn granule_of(path: &Path) -> Result<u64> {
    Ok(BlockDevice::open(path)?.sector_bytes()? / 512)
}

fn one(disk: Disk) -> Result<()> {
    let path = disk.node()?;
    let tracked = Tracked::attach(&path)?;
    let area = Area::of_disk(0, &path, 4096, AREA_SECTORS).in_granules_of(granule_of(&path)?);
    Trial::new(vec![&tracked], vec![area]).run()?;
    tracked.detach()
}

fn two_disks() -> Result<()> {
    let (first, second) = (Tracked::attach(&Disk::First.node()?)?, Tracked::attach(&Disk::Scsi.node()?)?);
    let areas = vec![
        Area::of_disk(0, first.path(), 0, AREA_SECTORS / 2),
        Area::of_disk(1, second.path(), 1 << 20, AREA_SECTORS / 2),
    ];
    Trial { rounds: 3, ..Trial::new(vec![&first, &second], areas) }.run()?;
    first.detach()?;
    second.detach()
}

fn sixty_four() -> Result<()> {
    let disks = MemoryDisks::new(64, 16, "")?;
    let tracked = (0..64).map(|number| Tracked::attach(&disks.node(number)?)).collect::<Result<Vec<_>>>()?;
    let areas = tracked.iter().enumerate().map(|(number, tracked)| Area::of_disk(number, tracked.path(), 0, 2048));
    let trial = Trial { writes_between: 60, rounds: 1, ..Trial::new(tracked.iter().collect(), areas.collect()) };
    trial.run()?;
    drop(trial);
    tracked.into_iter().try_for_each(Tracked::detach)
}

fn partitions() -> Result<()> {
    let path = Disk::Second.node()?;
    let partitions = Partitions::make(&path, &[(2048, 1 << 16), (1 << 17, 1 << 16)])?;
    let tracked = Tracked::attach(&path)?;
    let on_partition = |number: usize, start: u64| Area {
        path: partitions.node(number),
        disk: 0,
        first_sector: start + 1024,
        first_sector_on_path: 1024,
        sectors: AREA_SECTORS / 4,
        granule_sectors: 1,
    };
    let whole = Area::of_disk(0, &path, 1 << 18, AREA_SECTORS / 4);
    let areas = vec![on_partition(1, 2048), on_partition(2, 1 << 17), whole];
    Trial::new(vec![&tracked], areas).run()?;
    tracked.detach()?;
    partitions.remove()
}

fn with_store(store: &Path) -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 4096, AREA_SECTORS);
    Trial::new(vec![&tracked], vec![area]).with_store(store).run()?;
    tracked.detach()
}

fn store_directory() -> Result<()> {
    let store = StoreDirectory::new()?;
    with_store(store.path())?;
    ensure!(std::fs::read_dir(store.path())?.count() <= 1, "the store leaves a file behind");
    store.close()
}

fn store_file() -> Result<()> {
    let store = StoreDirectory::new()?;
    with_store(&store.file(64 << 20)?)?;
    store.close()
}

/// The limit is greater than the disk: it can never be reached, which is no error.
fn store_disk() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 4096, AREA_SECTORS);
    let trial = Trial::new(vec![&tracked], vec![area]).with_store(&Disk::Store.node()?);
    Trial { limit_sectors: 1 << 22, ..trial }.run()?;
    tracked.detach()
}

fn two_at_once() -> Result<()> {
    let (first, second) = (Tracked::attach(&Disk::First.node()?)?, Tracked::attach(&Disk::Second.node()?)?);
    let trial = |tracked: &Tracked, sectors| -> Result<()> {
        Trial::new(vec![tracked], vec![Area::of_disk(0, tracked.path(), 0, sectors)]).run().map(drop)
    };
    std::thread::scope(|scope| -> Result<()> {
        let other = scope.spawn(|| trial(&second, AREA_SECTORS / 4));
        trial(&first, AREA_SECTORS / 2).context("the first one")?;
        other.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?.context("the second one")
    })?;
    first.detach()?;
    second.detach()
}

fn image_facts() -> Result<()> {
    for disk in [Disk::First, Disk::FourKib] {
        let tracked = Tracked::attach(&disk.node()?)?;
        let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
        let (original, image) = (BlockDevice::open(tracked.path())?, BlockDevice::open(&tracked.image()?)?);
        ensure!(
            image.size_bytes()? == original.size_bytes()?,
            "the image of {disk:?} has {} bytes",
            image.size_bytes()?
        );
        ensure!(image.sector_bytes()? == original.sector_bytes()?, "its sectors have {} bytes", image.sector_bytes()?);
        drop(image);
        snapshot.destroy()?;
        tracked.detach()?;
    }
    Ok(())
}

fn image_writes() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 8192);
    area.fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let image = DirectFile::open(&tracked.image()?)?;
    let mut mine = AlignedBuffer::new(4096);
    mine.bytes_mut().fill(0x5A);
    // In the middle of a chunk nobody touched, and then of one that the disk overwrites.
    for offset in [1 << 20, 2 << 20] {
        image.write(&mine, offset)?;
        DirectFile::open(tracked.path())?.write(&AlignedBuffer::new(16384), offset - 8192)?;
        ensure!(image.read_new(offset, 4096)?.bytes() == mine.bytes(), "the image forgets what was written to it");
        ensure!(image.read_new(offset - 4096, 4096)?.bytes() != mine.bytes(), "the write spread");
        let disk = DirectFile::open(tracked.path())?.read_new(offset, 4096)?;
        ensure!(disk.bytes().iter().all(|byte| *byte == 0), "a write to the image came to the disk");
    }
    drop(image);
    let untouched = Area::of_disk(0, tracked.path(), 0, 1024);
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &untouched)?)?;
    snapshot.destroy()?;
    tracked.detach()
}

fn discard() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, AREA_SECTORS);
    area.fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let device = BlockDevice::open(tracked.path())?;
    device.discard(0, AREA_SECTORS * 512 / 2)?;
    device.zero(AREA_SECTORS * 512 / 2, AREA_SECTORS * 512 / 2)?;
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    tracked.detach()
}

fn nowait() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 0, 4096);
    area.fill()?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let file = DirectFile::open(tracked.path())?;
    let (mut deferred, buffer) = (0, AlignedBuffer::new(4096));
    let mut passed_second_time = 0;
    for block in 0..64 {
        let first = file.write_without_waiting(&buffer, block * 4096)?;
        if !first {
            deferred += 1;
            file.write(&buffer, block * 4096)?;
        }
        passed_second_time += u32::from(file.write_without_waiting(&buffer, block * 4096)?);
    }
    println!("{deferred} of 64 first writes had to be repeated, {passed_second_time} second ones passed");
    ensure!(
        passed_second_time == 64,
        "only {passed_second_time} of 64 writes to preserved places pass without waiting"
    );
    oracle::ensure_baseline(&Picture::of(&tracked.image()?, &area)?)?;
    snapshot.destroy()?;
    tracked.detach()
}

fn storm_long() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let area = Area::of_disk(0, tracked.path(), 4096, AREA_SECTORS * 4);
    let force = Force { writers: 6, largest: 512, pause_us: 0 };
    let trial = Trial::new(vec![&tracked], vec![area]).with_store(&Disk::Store.node()?);
    Trial { rounds: 30, force, writes_between: 30, limit_sectors: 1 << 22, ..trial }.run()?;
    tracked.detach()?;
    // The disk itself holds what the writers say, too.
    let area = Area::of_disk(0, &Disk::First.node()?, 4096, AREA_SECTORS);
    let storm = Storm::start(std::slice::from_ref(&area), Force::default(), 3)?;
    storm.wait_for(50)?;
    storm.stop().map(drop)
}
