//! The guest itself: what every other scenario takes for granted, and that the host notices trouble.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::{Disk, MemoryDisks};
use crate::dm::Mapped;
use crate::mount::Mount;
use crate::oracle::{self, Picture, Taken};
use crate::stamp::{self, SECTOR_BYTES, Stamp};
use crate::storm::{Area, Force, Storm};
use crate::{kernel_module, tool};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("harness/disks", "every disk of the machine is there with its sector size", disks),
    Scenario::new("harness/stack", "the kernel knows the file systems and block drivers in use", stack),
    Scenario::new("harness/stamps", "stamped sectors come back from every disk as written", stamps),
    Scenario::new("harness/oracle", "a quiet disk is the instant that the writers' journals say", oracle),
    Scenario::new("harness/known_good", "the oracle accepts device-mapper's own snapshots under writes", known_good)
        .within_s(120),
    Scenario::new("harness/dm_delay", "a delaying device delays", dm_delay),
    Scenario::new("harness/memory_disks", "64 disks in memory come and go", memory_disks),
    Scenario::new("harness/file_systems", "ext4, xfs and btrfs can be made, mounted and checked", file_systems),
    Scenario::new("harness/lvm", "a logical volume can be made", lvm),
    Scenario::new("harness/md", "a mirror can be made", md),
    Scenario::new("harness/warning", "a kernel warning fails the boot", warning).in_own_boot().ends_with_warning(),
    Scenario::new("harness/panic", "a kernel panic fails the boot", panic).in_own_boot().ends_with_panic(),
    Scenario::new("harness/hang", "a scenario that hangs is ended", hang)
        .in_own_boot()
        .within_s(3)
        .ends_with_time_limit(),
];

use crate::registry::Scenario;

fn disks() -> Result<()> {
    for disk in Disk::ALL {
        let device = BlockDevice::open(&disk.node()?)?;
        let sector_bytes = if disk == Disk::FourKib { 4096 } else { 512 };
        ensure!(device.sector_bytes()? == sector_bytes, "{disk:?} has sectors of {} bytes", device.sector_bytes()?);
        ensure!(device.size_bytes()? >= 512 << 20, "{disk:?} has only {} bytes", device.size_bytes()?);
    }
    Ok(())
}

fn stack() -> Result<()> {
    let known = std::fs::read_to_string("/proc/filesystems")?;
    for kind in ["ext4", "xfs", "btrfs", "tmpfs"] {
        ensure!(known.lines().any(|line| line.split_whitespace().last() == Some(kind)), "the kernel has no {kind}");
    }
    let targets = tool::run("dmsetup", &["targets"])?;
    for target in ["linear", "error", "delay", "flakey", "snapshot"] {
        ensure!(targets.lines().any(|line| line.starts_with(target)), "there is no device-mapper target {target}");
    }
    ensure!(Path::new("/proc/mdstat").exists(), "the kernel has no md");
    Ok(())
}

fn stamps() -> Result<()> {
    let mut buffer = AlignedBuffer::new(64 * SECTOR_BYTES);
    for disk in Disk::ALL {
        let file = DirectFile::open(&disk.node()?)?;
        let (first_sector, made_ns) = (2048, stamp::now_ns()?);
        for (number, sector) in (first_sector..).zip(buffer.bytes_mut().chunks_exact_mut(SECTOR_BYTES)) {
            Stamp { writer: 1, sequence: 1, sector: number, made_ns }.encode(sector);
        }
        file.write(&buffer, first_sector * 512)?;
        let read = file.read_new(first_sector * 512, buffer.bytes().len())?;
        for (number, sector) in (first_sector..).zip(read.bytes().chunks_exact(SECTOR_BYTES)) {
            let stamp = Stamp::decode(sector, number)?.with_context(|| format!("{disk:?} lost sector {number}"))?;
            ensure!(stamp.made_ns == made_ns, "{disk:?} returned an older sector {number}");
        }
    }
    Ok(())
}

fn oracle() -> Result<()> {
    let path = Disk::First.node()?;
    let area = Area::of_disk(0, &path, 2048, 1 << 15);
    area.fill()?;
    oracle::ensure_baseline(&Picture::of(&path, &area)?)?;
    let storm = Storm::start(std::slice::from_ref(&area), Force::default(), 1)?;
    storm.wait_for(30)?;
    let journals = storm.stop()?;
    let taken = Taken::around(|| Ok(()))?;
    let picture = Picture::of(&path, &area)?;
    oracle::ensure_instant(std::slice::from_ref(&picture), &journals, taken)?;
    // And a disk that lost a write is not.
    let last = journals[0].writes.last().context("nothing was written")?;
    let older = crate::storm::stamped(1, 1, 0, last.first_sector, 1)?;
    DirectFile::open(&path)?.write(&older, last.first_sector * 512)?;
    let picture = Picture::of(&path, &area)?;
    let verdict = oracle::ensure_instant(std::slice::from_ref(&picture), &journals, taken);
    ensure!(verdict.is_err(), "a lost write is not found");
    Ok(())
}

/// What the kernel's own copy-on-write shows of a storm must satisfy the oracle, or the oracle is wrong.
fn known_good() -> Result<()> {
    let disk = Disk::First.node()?;
    let sectors = BlockDevice::open(&disk)?.size_bytes()? / 512;
    let below = Mapped::linear("below", &disk, sectors)?;
    let top = Mapped::linear("top", &below.node()?, sectors)?;
    let area = Area::of_disk(0, &top.node()?, 2048, 1 << 15);
    area.fill()?;
    let storm = Storm::start(std::slice::from_ref(&area), Force::default(), 2)?;
    storm.wait_for(20)?;
    let mut image = None;
    let taken = Taken::around(|| {
        tool::run("dmsetup", &["suspend", "top"])?;
        let (below, store) = (below.node()?, Disk::Store.node()?);
        tool::run(
            "dmsetup",
            &["reload", "top", "--table", &format!("0 {sectors} snapshot-origin {}", below.display())],
        )?;
        let table = format!("0 {sectors} snapshot {} {} N 8", below.display(), store.display());
        image = Some(Mapped::new("image", &table)?);
        tool::run("dmsetup", &["resume", "--noudevsync", "top"]).map(drop)
    })?;
    let image = image.context("there is no image")?;
    storm.wait_for(20)?;
    let picture = Picture::of(&image.node()?, &area)?;
    storm.wait_for(20)?;
    picture.ensure_same(&Picture::of(&image.node()?, &area)?)?;
    let journals = storm.stop()?;
    oracle::ensure_instant(std::slice::from_ref(&picture), &journals, taken)?;
    image.remove()?;
    top.remove()?;
    below.remove()
}

fn dm_delay() -> Result<()> {
    let node = Disk::First.node()?;
    let sectors = BlockDevice::open(&node)?.size_bytes()? / 512;
    let delayed = Mapped::delayed("slow", &node, sectors, 0, 300)?;
    let file = DirectFile::open(&delayed.node()?)?;
    let started = Instant::now();
    file.write(&AlignedBuffer::new(4096), 0)?;
    ensure!(started.elapsed().as_millis() >= 300, "a write took only {:?}", started.elapsed());
    drop(file);
    delayed.remove()
}

fn memory_disks() -> Result<()> {
    let disks = MemoryDisks::new(64, 8, "")?;
    for number in 0..64 {
        let device = BlockDevice::open(&disks.node(number)?)?;
        ensure!(device.size_bytes()? == 8 << 20, "disk {number} has {} bytes", device.size_bytes()?);
    }
    drop(disks);
    ensure!(!kernel_module::is_loaded("null_blk"), "null_blk stays loaded");
    Ok(())
}

fn file_systems() -> Result<()> {
    let node = Disk::First.node()?;
    let path = node.to_str().context("node names are ASCII")?;
    let makers: [(&str, &[&str], &[&str]); 3] = [
        ("ext4", &["mkfs.ext4", "-q", "-F"], &["e2fsck", "-f", "-n"]),
        ("xfs", &["mkfs.xfs", "-q", "-f"], &["xfs_repair", "-n"]),
        ("btrfs", &["mkfs.btrfs", "-q", "-f"], &[]),
    ];
    for (kind, make, check) in makers {
        let with_path = |words: &[&str]| -> Vec<String> {
            words[1..].iter().chain([&path]).map(|word| (*word).to_owned()).collect()
        };
        let run =
            |words: &[&str]| tool::run(words[0], &with_path(words).iter().map(String::as_str).collect::<Vec<_>>());
        run(make)?;
        let mount = Mount::new(&node, "fs", kind, "")?;
        std::fs::write(mount.root().join("file"), vec![7; 1 << 20])?;
        mount.unmount()?;
        if !check.is_empty() {
            run(check)?;
        }
    }
    Ok(())
}

fn lvm() -> Result<()> {
    let node = Disk::First.node()?;
    let path = node.to_str().context("node names are ASCII")?;
    tool::run("lvm", &["pvcreate", "-ff", "-y", path])?;
    tool::run("lvm", &["vgcreate", "group", path])?;
    tool::run("lvm", &["lvcreate", "-y", "-Zn", "-Wn", "-L", "64M", "-n", "volume", "group"])?;
    let size = BlockDevice::open(Path::new("/dev/mapper/group-volume"))?.size_bytes()?;
    tool::run("lvm", &["vgchange", "-an", "group"])?;
    tool::run("lvm", &["vgremove", "-ff", "-y", "group"])?;
    tool::run("lvm", &["pvremove", "-ff", "-y", path])?;
    ensure!(size == 64 << 20, "the volume has {size} bytes");
    Ok(())
}

fn md() -> Result<()> {
    let disks = MemoryDisks::new(2, 32, "")?;
    let (first, second) = (disks.node(0)?, disks.node(1)?);
    let members = [first.to_str().unwrap_or_default(), second.to_str().unwrap_or_default()];
    let create = ["--create", "/dev/md0", "--run", "--assume-clean", "--metadata=1.2", "--level=1", "--raid-devices=2"];
    tool::run("mdadm", &[&create[..], &members].concat())?;
    let size = BlockDevice::open(Path::new("/dev/md0"))?.size_bytes()?;
    tool::run("mdadm", &["--stop", "/dev/md0"])?;
    ensure!(size > 16 << 20, "the mirror has {size} bytes");
    Ok(())
}

fn warning() -> Result<()> {
    std::fs::write("/dev/kmsg", "<4>WARNING: CPU: 0 PID: 1 at tests/guest: a warning that the host must see\n")?;
    Ok(())
}

fn panic() -> Result<()> {
    std::fs::write("/proc/sysrq-trigger", "c")?;
    anyhow::bail!("the kernel survived")
}

fn hang() -> Result<()> {
    loop {
        std::thread::park();
    }
}
