//! Swap on a tracked disk, and under a snapshot: the kernel writes it while it looks for memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow, ensure};

use crate::anonymous::{Anonymous, PAGE_BYTES};
use crate::direct::DirectFile;
use crate::disk::Disk;
use crate::filter::Tracked;
use crate::pace::Deadline;
use crate::registry::Scenario;
use crate::snapshot::{AMPLE_SECTORS, SMALL_SECTORS, Snapshot};
use crate::swap::Swap;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("swap/tracked", "what is swapped out is in the map", tracked).with_module(),
    Scenario::new("swap/under_snapshot", "swapping goes on under a snapshot, whose image stays as it was", || {
        under_snapshot()
    })
    .with_module()
    .within_s(120),
    Scenario::new(
        "swap/no_memory_left",
        "snapshots work, and nothing stands still, when memory is won by swapping only",
        || pressure(3),
    )
    .with_module()
    .only_soak()
    .within_s(600),
    Scenario::new("swap/no_memory_left_long", "the same with thirty snapshots", || pressure(30))
        .with_module()
        .only_soak()
        .within_s(1800),
];

/// Pages that are moved out: 48 MiB.
const PAGES: usize = 48 << 8;
/// The part of the disk that is looked at; swap fills a disk from its beginning.
const LOOKED_AT_BYTES: u64 = 96 << 20;
const BLOCK_BYTES: usize = 65536;

/// A digest of each tracking block.
fn blocks(device: &Path) -> Result<Vec<u64>> {
    const STEP_BYTES: usize = 1 << 20;
    let file = DirectFile::open_to_read(device)?;
    let mut found = Vec::new();
    for step in 0..LOOKED_AT_BYTES / (1 << 20) {
        let bytes = file.read_new(step << 20, STEP_BYTES)?;
        found.extend(bytes.bytes().chunks_exact(BLOCK_BYTES).map(digest));
    }
    Ok(found)
}

/// FNV-1a over words; tells blocks apart that were not made to collide.
fn digest(block: &[u8]) -> u64 {
    block.chunks_exact(8).fold(0xCBF2_9CE4_8422_2325, |digest, word| {
        let word = word.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        (digest ^ word).wrapping_mul(0x0100_0000_01B3)
    })
}

fn tracked() -> Result<()> {
    let node = Disk::Second.node()?;
    let swap = Swap::on(&node)?;
    let tracked = Tracked::attach(&node)?;
    let before = blocks(&node)?;
    let memory = Anonymous::filled(PAGES, 3)?;
    memory.page_out()?;
    let used_kib = swap.used_kib()?;
    ensure!(used_kib >= 32 << 10, "only {used_kib} KiB were swapped out");
    let snapshot = Snapshot::take_of(Path::new("/tmp"), AMPLE_SECTORS, &[&tracked])?;
    let (after, map) = (blocks(&tracked.image()?)?, tracked.map()?);
    let changed = (0..before.len()).filter(|block| before[*block] != after[*block]);
    let missing: Vec<usize> = changed.clone().filter(|block| map[*block] == 0).collect();
    ensure!(changed.count() >= 512, "32 MiB were swapped out, and the image shows less");
    ensure!(missing.is_empty(), "blocks {missing:?} were swapped to and are not in the map");
    snapshot.destroy()?;
    memory.ensure_intact()?;
    swap.off()?;
    tracked.detach()
}

fn under_snapshot() -> Result<()> {
    let node = Disk::Second.node()?;
    let swap = Swap::on(&node)?;
    let tracked = Tracked::attach(&node)?;
    // So that there is something on the disk that must be preserved.
    let first = Anonymous::filled(PAGES, 4)?;
    first.page_out()?;
    first.ensure_intact()?;
    drop(first);
    let snapshot = Snapshot::take_of(&Disk::Store.node()?, 1 << 22, &[&tracked])?;
    let before = blocks(&tracked.image()?)?;
    let second = Anonymous::filled(PAGES, 5)?;
    for _ in 0..2 {
        second.page_out()?;
        ensure!(swap.used_kib()? >= 32 << 10, "only {} KiB were swapped out", swap.used_kib()?);
        second.ensure_intact()?;
    }
    ensure!(tracked.statistics()?.preserved_bytes > 0, "nothing had to be preserved");
    ensure!(blocks(&tracked.image()?)? == before, "the image changes while the disk is swapped to");
    snapshot.destroy()?;
    swap.off()?;
    tracked.detach()
}

fn available_pages() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:")).context("no MemAvailable")?;
    let kib: usize = line.split_whitespace().nth(1).context("MemAvailable without a number")?.parse()?;
    Ok(kib * 1024 / PAGE_BYTES)
}

/// Takes most of the memory away without touching it; given back when dropped.
struct Reserved;

impl Reserved {
    const POOL: &str = "/proc/sys/vm/nr_hugepages";

    /// Leaves some 384 MiB.
    fn most() -> Result<Self> {
        let spare = available_pages()?.saturating_sub(384 << 8);
        std::fs::write(Self::POOL, (spare / 512).to_string()).context("the kernel has no huge pages")?;
        Ok(Self)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::POOL, "0");
    }
}

/// Uses more memory than there is, while the disk that takes the rest is in snapshots.
fn pressure(rounds: u32) -> Result<()> {
    let node = Disk::Second.node()?;
    let swap = Swap::on(&node)?;
    let tracked = Tracked::attach(&node)?;
    let reserved = Reserved::most()?;
    let (stop, passes) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let user = scope.spawn(|| use_too_much(&stop, &passes));
        let taken = wait_for_pass(&passes, &|| user.is_finished()).and_then(|()| snapshots(&tracked, rounds));
        stop.store(true, Ordering::Relaxed);
        user.join().map_err(|_| anyhow!("who needs the memory panicked"))??;
        taken
    })?;
    println!("{} passes over the memory, {} KiB still in swap", passes.load(Ordering::Relaxed), swap.used_kib()?);
    drop(reserved);
    swap.off()?;
    Snapshot::take_of(Path::new("/tmp"), SMALL_SECTORS, &[&tracked]).context("the next one")?.destroy()?;
    tracked.detach()
}

/// Reads and writes over and over what does not fit.
fn use_too_much(stop: &AtomicBool, passes: &AtomicU32) -> Result<()> {
    let mut memory = Anonymous::filled(available_pages()? + (160 << 8), 6)?;
    while !stop.load(Ordering::Relaxed) {
        memory.ensure_intact()?;
        memory.refill(u64::from(7 + passes.fetch_add(1, Ordering::Relaxed)));
    }
    memory.ensure_intact()
}

fn wait_for_pass(passes: &AtomicU32, over: &dyn Fn() -> bool) -> Result<()> {
    while passes.load(Ordering::Relaxed) == 0 && !over() {
        nix::poll::poll(&mut [], 20_u8)?;
    }
    Ok(())
}

/// Writes under a snapshot that tell that memory was won by swapping.
const SWAPPED_OUT: u64 = 16;

/// However busy the host is: who needs the memory goes on as long as it takes.
fn wait_for_writes(tracked: &Tracked, wanted: u64) -> Result<()> {
    let deadline = Deadline::after_s(120);
    while tracked.statistics()?.writes < wanted {
        deadline.ensure("nothing is swapped out under the snapshot")?;
        nix::poll::poll(&mut [], 20_u8)?;
    }
    Ok(())
}

fn snapshots(tracked: &Tracked, rounds: u32) -> Result<()> {
    (0..rounds).try_for_each(|_| {
        let snapshot = Snapshot::take_of(&Disk::Store.node()?, 1 << 22, &[tracked]).context("without memory")?;
        let (before, writes) = (blocks(&tracked.image()?)?, tracked.statistics()?.writes);
        wait_for_writes(tracked, writes + SWAPPED_OUT)?;
        ensure!(blocks(&tracked.image()?)? == before, "the image changes while the disk is swapped to");
        snapshot.destroy()
    })
}
