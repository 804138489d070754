//! Who has to wait for whom: a caller with slow memory and a TAKE that waits hold nobody else up.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kmod_logic::uapi::FILTER_NAME;

use crate::block_device::BlockDevice;
use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::dm::Mapped;
use crate::filter::Tracked;
use crate::parameter::Parameter;
use crate::registry::Scenario;
use crate::snapshot::{self, AMPLE_SECTORS, SMALL_SECTORS, Snapshot};
use crate::{ioctl, pace, tool};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "patience/slow_memory",
        "a command whose memory cannot be reached holds up neither other commands nor image writes nor DETACH of others",
        slow_memory,
    )
    .with_module()
    .within_s(180),
    Scenario::new(
        "patience/take_waits",
        "while a TAKE waits, other snapshots and trackers answer",
        take_waits,
    )
    .with_module()
    .within_s(180),
];

/// What is asked must be answered in this time; far more than it takes, far less than for ever.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A mapped device that holds everything that is submitted to it until it is resumed.
struct Suspended {
    name: &'static str,
    resumed: bool,
}

impl Suspended {
    fn new(name: &'static str) -> Result<Self> {
        tool::run("dmsetup", &["suspend", "--noflush", "--nolockfs", name])?;
        Ok(Self { name, resumed: false })
    }

    fn resume(mut self) -> Result<()> {
        self.resumed = true;
        tool::run("dmsetup", &["resume", "--noudevsync", self.name]).map(drop)
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        if !self.resumed {
            let _ = tool::run("dmsetup", &["resume", "--noudevsync", self.name]);
        }
    }
}

/// Runs `work` in a thread of its own and waits for it no longer than [`AT_ONCE`].
fn at_once(what: &str, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    result
        .recv_timeout(AT_ONCE * pace::patience())
        .map_err(|_| anyhow!("{what} waits"))?
        .with_context(|| what.to_owned())
}

fn mapped(name: &str, disk: Disk) -> Result<Mapped> {
    let path = disk.node()?;
    Mapped::linear(name, &path, BlockDevice::open(&path)?.size_bytes()? / 512)
}

fn slow_memory() -> Result<()> {
    let tracked = Tracked::attach(&Disk::First.node()?)?;
    let other = Tracked::attach(&Disk::Scsi.node()?)?;
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let image = tracked.image()?;
    let memory = mapped("memory", Disk::Second)?;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(memory.node()?)?;
    let device = tracked.device().try_clone()?;
    let suspended = Suspended::new("memory")?;
    let caller = std::thread::spawn(move || ioctl::read_map_into_file(&device, FILTER_NAME, 4096, &file));
    nix::poll::poll(&mut [], 500_u16)?;
    ensure!(!caller.is_finished(), "the caller's memory is not slow");
    let device = tracked.device().try_clone()?;
    let others = at_once("CBTINFO of the same disk", move || Ok(ioctl::info(&device, FILTER_NAME).map(drop)?))
        .and_then(|()| {
            at_once("a write to the image", move || {
                Ok(DirectFile::open(&image)?.write(&AlignedBuffer::new(4096), 1 << 20)?)
            })
        })
        .and_then(|()| at_once("DETACH of another disk", move || other.detach()));
    let waits_still = !caller.is_finished();
    suspended.resume()?;
    caller.join().map_err(|_| anyhow!("the caller panicked"))?.context("CBTMAP into slow memory")?;
    others?;
    ensure!(waits_still, "the caller's memory was not slow long enough");
    snapshot.destroy()?;
    memory.remove()?;
    tracked.detach()
}

fn take_waits() -> Result<()> {
    let slow = mapped("slow", Disk::Second)?;
    let (first, second) = (Tracked::attach(&Disk::First.node()?)?, Tracked::attach(&slow.node()?)?);
    let taken = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&first])?;
    let patience = Parameter::set("take_timeout_ms", 60_000)?;
    let suspended = Suspended::new("slow")?;
    let node = slow.node()?;
    let writer =
        std::thread::spawn(move || -> Result<()> { Ok(DirectFile::open(&node)?.write(&AlignedBuffer::new(4096), 0)?) });
    while second.statistics()?.writes == 0 {
        nix::poll::poll(&mut [], 20_u8)?;
    }
    let waiting = Snapshot::create(Path::new("/tmp"), SMALL_SECTORS)?;
    second.add_to(waiting.id())?;
    let (id, is_over) = (waiting.id(), AtomicBool::new(false));
    let asked = std::thread::scope(|scope| -> Result<()> {
        let take = scope.spawn(|| {
            let result = waiting.take();
            is_over.store(true, Ordering::SeqCst);
            result
        });
        nix::poll::poll(&mut [], 500_u16)?;
        let (of_first, of_second) = (first.device().try_clone()?, second.device().try_clone()?);
        let asked = at_once("asking", move || {
            let control = snapshot::control()?;
            ensure!(ioctl::count_snapshots(&control)? == 2, "COLLECT finds other snapshots");
            ioctl::statistics(&control, id).context("STATISTICS of the one that is being taken")?;
            for device in [&of_first, &of_second] {
                ioctl::info(device, FILTER_NAME).context("CBTINFO")?;
                ioctl::snapshot_info(device, FILTER_NAME).context("SNAPSHOTINFO")?;
                ioctl::read_map(device, FILTER_NAME, 0, 64).context("CBTMAP")?;
            }
            Ok(())
        });
        let was_waiting = !is_over.load(Ordering::SeqCst);
        suspended.resume()?;
        take.join().map_err(|_| anyhow!("TAKE panicked"))?.context("TAKE")?;
        ensure!(was_waiting, "TAKE did not wait");
        asked
    });
    writer.join().map_err(|_| anyhow!("the writer panicked"))??;
    asked?;
    patience.restore()?;
    waiting.destroy()?;
    taken.destroy()?;
    first.detach()?;
    second.detach()?;
    slow.remove()
}
