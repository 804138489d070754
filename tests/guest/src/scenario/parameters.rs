//! Module parameters: what they change, and that senseless values are cut to their range.

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::Uuid;
use nix::errno::Errno;
use std::path::Path;

use crate::disk::Disk;
use crate::filter::{self, Tracked};
use crate::ioctl;
use crate::kernel_module;
use crate::parameter::Parameter;
use crate::registry::Scenario;
use crate::scenario::abi::expect;
use crate::snapshot::{self, AMPLE_SECTORS, Snapshot};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("parameters/tracking_block", "the size of tracking blocks follows its parameters", tracking_block)
        .with_module(),
    Scenario::new("parameters/chunk", "so does the size of chunks", chunk).with_module(),
    Scenario::new("parameters/old_numbers", "with abi=1 the numbers of older headers are spoken", old_numbers)
        .with_module()
        .within_s(120),
];

fn block_bytes() -> Result<u32> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let size = tracked.info()?.block_size;
    tracked.detach()?;
    Ok(size)
}

fn tracking_block() -> Result<()> {
    let minimum = Parameter::set("tracking_block_minimum_shift", 20)?;
    ensure!(block_bytes()? == 1 << 20, "a minimum of 2^20 gives blocks of {}", block_bytes()?);
    minimum.restore()?;
    let minimum = Parameter::set("tracking_block_minimum_shift", 40)?;
    ensure!(block_bytes()? == 1 << 26, "a minimum of 2^40 gives blocks of {}", block_bytes()?);
    minimum.restore()?;
    let count = Parameter::set("tracking_block_maximum_count", 1024)?;
    ensure!(block_bytes()? == 1 << 20, "1024 blocks for 1 GiB have {} bytes", block_bytes()?);
    let maximum = Parameter::set("tracking_block_maximum_shift", 18)?;
    ensure!(block_bytes()? == 1 << 18, "a maximum of 2^18 gives blocks of {}", block_bytes()?);
    maximum.restore()?;
    count.restore()?;
    ensure!(block_bytes()? == 1 << 16, "without parameters blocks have {} bytes", block_bytes()?);
    Ok(())
}

fn chunk_bytes() -> Result<u64> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let devices = ioctl::devices(snapshot.control(), snapshot.id(), 4)?;
    snapshot.destroy()?;
    tracked.detach()?;
    let [device] = devices.as_slice() else { anyhow::bail!("the snapshot has {} devices", devices.len()) };
    Ok(device.chunk_bytes)
}

fn chunk() -> Result<()> {
    ensure!(chunk_bytes()? == 1 << 18, "without parameters chunks have {} bytes", chunk_bytes()?);
    let minimum = Parameter::set("chunk_minimum_shift", 20)?;
    ensure!(chunk_bytes()? == 1 << 20, "a minimum of 2^20 gives chunks of {}", chunk_bytes()?);
    minimum.restore()
}

/// Loads the module anew as it was when dropped.
struct OldNumbers;

impl OldNumbers {
    fn speak() -> Result<Self> {
        kernel_module::remove("blksnap").context("cannot unload")?;
        kernel_module::load("blksnap", "abi=1")?;
        Ok(Self)
    }
}

impl Drop for OldNumbers {
    fn drop(&mut self) {
        let _ = kernel_module::remove("blksnap");
        let _ = kernel_module::load("blksnap", "");
    }
}

fn old_numbers() -> Result<()> {
    let old = OldNumbers::speak()?;
    let device = filter::open(&Disk::First.node()?)?;
    let name = kmod_logic::uapi::FILTER_NAME;
    ensure!(ioctl::detach(&device, name) == Err(Errno::ENOTTY), "today's DETACH is spoken with abi=1");
    ioctl::old::attach(&device, name).context("ATTACH")?;
    let info = ioctl::old::info(&device, name).context("CBTINFO");
    ioctl::old::detach(&device, name).context("DETACH")?;
    ensure!(info?.block_count == 1 << 14, "CBTINFO is wrong");
    let store =
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open("/tmp/old-store")?;
    store.set_len(16 << 20)?;
    let control = snapshot::control()?;
    let id = ioctl::old::create(&control, &store, 1 << 16).context("CREATE")?;
    ensure!(id != Uuid::default(), "the id is zero");
    ioctl::destroy(&control, id).context("DESTROY")?;
    expect("DESTROY again", ioctl::destroy(&control, id), Errno::ENODEV)?;
    drop((control, device, store));
    std::fs::remove_file("/tmp/old-store")?;
    drop(old);
    Tracked::attach(&Disk::First.node()?).context("after loading it as it was")?.detach()
}
