//! Devices on which a snapshot or a tracker would be wrong are refused with an errno that says so.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kmod_logic::uapi::FILTER_NAME;
use nix::errno::Errno;

use crate::disk::{Disk, MemoryDisks};
use crate::filter::{self, Tracked};
use crate::kernel_module::Unloaded;
use crate::pace::Deadline;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, Snapshot};
use crate::{ioctl, kernel_module};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("refuse/integrity", "a disk with integrity data gives EPERM", integrity).with_module().in_own_boot(),
    Scenario::new("refuse/zoned", "ATTACH refuses a zoned disk", zoned).with_module(),
    Scenario::new("refuse/dax", "ATTACH refuses a disk that can be written past the block layer", dax)
        .with_module()
        .in_own_boot(),
    Scenario::new(
        "refuse/another_owner",
        "ATTACH refuses while another module has the hook, and says so",
        another_owner,
    )
    .with_module(),
];

/// Attaches and adds; the first refusal counts.
fn refusal(path: &Path) -> Result<Option<Errno>> {
    let tracked = match Tracked::attach(path) {
        Ok(tracked) => tracked,
        Err(error) => return Ok(Some(error.downcast::<Errno>().context("ATTACH fails without an errno")?)),
    };
    let snapshot = Snapshot::create(Path::new("/tmp"), AMPLE_SECTORS)?;
    let refused = tracked.add_to(snapshot.id()).err();
    snapshot.destroy()?;
    tracked.detach()?;
    Ok(refused)
}

/// The disk whose directory in `/sys/block` satisfies `is_wanted`.
fn find(is_wanted: impl Fn(&Path, &str) -> bool) -> Result<PathBuf> {
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_wanted(&entry.path(), &name) {
            return Ok(Path::new("/dev").join(name));
        }
    }
    anyhow::bail!("there is no such disk")
}

/// The same for a disk that appears a moment after its driver.
fn wait_for(is_wanted: impl Fn(&Path, &str) -> bool + Copy) -> Result<PathBuf> {
    let deadline = Deadline::after_s(20);
    loop {
        match find(is_wanted) {
            Err(_) if !deadline.is_over() => nix::poll::poll(&mut [], 50_u8)?,
            found => return found,
        };
    }
}

fn integrity() -> Result<()> {
    kernel_module::load("scsi_debug", "dev_size_mb=64 dif=1 dix=1 sector_size=512")?;
    let model = |directory: &Path, _: &str| {
        std::fs::read_to_string(directory.join("device/model")).is_ok_and(|model| model.contains("scsi_debug"))
    };
    let path = wait_for(model)?;
    ensure!(refusal(&path)? == Some(Errno::EPERM), "the errno is {:?}", refusal(&path)?);
    Ok(())
}

/// A tracker would miss changes there, so it is not even attached.
fn ensure_not_attached(path: &Path) -> Result<()> {
    let attached = ioctl::attach(&filter::open(path)?, FILTER_NAME);
    ensure!(attached == Err(Errno::EOPNOTSUPP), "ATTACH gives {attached:?}");
    Ok(())
}

fn zoned() -> Result<()> {
    let disks = MemoryDisks::new(1, 64, "zoned=1 zone_size=16")?;
    ensure_not_attached(&disks.node(0)?)
}

fn dax() -> Result<()> {
    kernel_module::load("nd_pmem", "")?;
    kernel_module::load("nd_e820", "")?;
    ensure_not_attached(&wait_for(|_, name| name.starts_with("pmem"))?)
}

/// What the kernel logs from now on.
struct KernelLog(std::fs::File);

impl KernelLog {
    fn from_now() -> Result<Self> {
        let mut options = std::fs::OpenOptions::new();
        let mut log = options.read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg")?;
        log.seek(SeekFrom::End(0))?;
        Ok(Self(log))
    }

    /// Fails unless a line contains `words`.
    fn ensure_says(mut self, words: &str) -> Result<()> {
        let mut seen = String::new();
        let mut record = [0; 8192];
        // Each read gives one record, and EAGAIN behind the last one.
        while let Ok(length) = self.0.read(&mut record) {
            seen += &String::from_utf8_lossy(&record[..length]);
        }
        ensure!(seen.contains(words), "the kernel's log does not say \"{words}\", but: {seen}");
        Ok(())
    }
}

fn another_owner() -> Result<()> {
    const TAKE_HOOK: &str = "blksnap_take_hook";
    let node = Disk::First.node()?;
    // It keeps the hook for some seconds behind the last DETACH; loaded anew, it has none.
    drop(Unloaded::new()?);
    kernel_module::load(TAKE_HOOK, "")?;
    let log = KernelLog::from_now()?;
    let attached = ioctl::attach(&filter::open(&node)?, FILTER_NAME);
    kernel_module::remove(TAKE_HOOK)?;
    ensure!(attached == Err(Errno::EBUSY), "ATTACH gives {attached:?}");
    log.ensure_says("submit_bio_noacct cannot be hooked: unload the other module")?;
    Tracked::attach(&node).context("when the other module is gone")?.detach()
}
