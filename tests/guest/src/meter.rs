//! Counts what operations cost: instructions of the machine and bytes of its disks. Not what the operations are.
//!
//! The machine of `cargo xtask bench --kernel` has one processor and runs with `-icount shift=0`: its time stamp counter then
//! rises by one with each instruction, whoever executes it (program, kernel, interrupts, kernel threads). So the
//! difference of two readings around many operations is all that they cost, and nearly the same in every run.
//!
//! While the processor is idle the counter jumps to the next timer. Disks in memory give no reason for that; a run in
//! which it happened is refused.
//!
//! Two things are subtracted, for every case alike: what the loop itself costs, measured with an operation that does
//! nothing, and the share of timer interrupts and whatever else comes by itself, measured with the same loop for a long time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::random::Random;
use crate::report::Report;

/// Runs of each case; the host takes the median.
pub const RUNS: u64 = 5;
/// Operations of a run.
pub const OPERATIONS: usize = 2000;
/// Bytes of an operation.
pub const OPERATION_BYTES: u64 = 4096;
/// Operations of a run lie in different pieces of this size: the smallest chunk of a snapshot.
const PIECE_BYTES: u64 = 256 << 10;
/// Pieces of the disk that is measured.
const PIECES: u64 = 2048;
/// Capacity of the disk that is measured.
pub const DISK_MIB: u64 = (PIECES * PIECE_BYTES) >> 20;

/// How often the empty loop runs to see what it costs undisturbed, and what disturbs it.
const EMPTY_RUNS: u64 = 5000;
/// How long it may take until the machine is at rest.
const CALMING_S: u32 = 30;
/// Hundredths of a second that the processor may have been idle in a run: the beginning and the end of one such.
const IDLE_LIMIT: u64 = 1;

/// Counts and tells the host.
pub struct Meter {
    report: Report,
    /// Disks whose traffic is counted: role and `stat` in sysfs.
    disks: Vec<(&'static str, PathBuf)>,
    loop_instructions: f64,
    /// Part of all instructions that no operation causes.
    disturbance: f64,
}

impl Meter {
    /// Measures what is to be subtracted, and tells the host.
    pub fn new(disks: &[(&'static str, &Path)]) -> Result<Self> {
        let statistics = |(role, node): &(&'static str, &Path)| {
            let name = node.file_name().context("a disk without a name")?;
            Ok((*role, Path::new("/sys/block").join(name).join("stat")))
        };
        let disks = disks.iter().map(statistics).collect::<Result<_>>()?;
        let report = Report::open()?;
        let (loop_instructions, disturbance) = empty_loop()?;
        let mut meter = Self { report, disks, loop_instructions, disturbance };
        meter.say("subtracted", "loop_instructions", loop_instructions)?;
        meter.say("subtracted", "disturbance_percent", 100.0 * disturbance)?;
        Ok(meter)
    }

    /// Measures one run of a case: `operation` at each of the offsets.
    pub fn run(&mut self, case: &str, offsets: &[u64], operation: impl FnMut(u64) -> Result<()>) -> Result<()> {
        let (before, idle) = (self.traffic()?, idle()?);
        let counted = count(offsets, operation).with_context(|| format!("while measuring {case}"))?;
        let (after, idle) = (self.traffic()?, crate::meter::idle()? - idle);
        ensure!(idle <= IDLE_LIMIT, "while measuring {case} the processor was idle for {idle} hundredths of a second");
        let cost = counted as f64 * (1.0 - self.disturbance) / offsets.len() as f64 - self.loop_instructions;
        self.say(case, "instructions", cost)?;
        for (role, (before, after)) in self.roles().into_iter().zip(before.into_iter().zip(after)) {
            let each = |kind: usize| (after[kind] - before[kind]) as f64 / offsets.len() as f64;
            self.say(case, &format!("{role}_read_bytes"), each(0))?;
            self.say(case, &format!("{role}_written_bytes"), each(1))?;
        }
        Ok(())
    }

    /// Tells the host a value.
    pub fn say(&mut self, case: &str, quantity: &str, value: f64) -> Result<()> {
        self.report.say(&format!("measured {case} {quantity} {value:.3}"))
    }

    fn roles(&self) -> Vec<&'static str> {
        self.disks.iter().map(|(role, _)| *role).collect()
    }

    /// For each disk the bytes read and the bytes written so far.
    pub fn traffic(&self) -> Result<Vec<[u64; 2]>> {
        self.disks.iter().map(|(_, path)| traffic_in(&std::fs::read_to_string(path)?)).collect()
    }
}

/// Third and seventh number of a disk's `stat`: sectors of 512 bytes (Documentation/block/stat.rst).
fn traffic_in(stat: &str) -> Result<[u64; 2]> {
    let numbers: Vec<u64> = stat.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let bytes = |at: usize| numbers.get(at).map(|sectors| sectors * 512).context("a disk's statistics are too short");
    Ok([bytes(2)?, bytes(6)?])
}

/// Where the operations of a run take place: in random order, each in a piece of its own, at a random place in it. That
/// place is the same for the n-th operation of every run, so that difference storage whose pieces are given out in order is
/// used again at the same places.
pub fn offsets(run: u64) -> Vec<u64> {
    let mut random = Random::new(run.wrapping_mul(7919).wrapping_add(17));
    let mut pieces: Vec<(u64, u64)> = (0..PIECES).map(|piece| (random.next(), piece)).collect();
    pieces.sort_unstable();
    pieces.truncate(OPERATIONS);
    let mut random = Random::new(17);
    let mut within = || random.below(PIECE_BYTES / OPERATION_BYTES) * OPERATION_BYTES;
    pieces.iter().map(|(_, piece)| piece * PIECE_BYTES + within()).collect()
}

/// The other halves of the 8 KiB in which the operations lie.
pub fn neighbours(offsets: &[u64]) -> Vec<u64> {
    offsets.iter().map(|offset| offset ^ OPERATION_BYTES).collect()
}

/// What the loop costs for an operation, and the part of all instructions that nobody asked for. After booting the kernel
/// is busy with itself for a while; that is waited for.
fn empty_loop() -> Result<(f64, f64)> {
    let offsets = offsets(0);
    let mut seen = String::new();
    for _ in 0..CALMING_S {
        let empty = (0..EMPTY_RUNS).map(|_| count(&offsets, |_| Ok(()))).collect::<Result<Vec<_>>>()?;
        let all: u64 = empty.iter().sum();
        let undisturbed = empty.iter().copied().min().context("the empty loop did not run")?;
        let loop_instructions = undisturbed as f64 / offsets.len() as f64;
        let disturbance = 1.0 - (undisturbed * EMPTY_RUNS) as f64 / all as f64;
        if (1.0..100.0).contains(&loop_instructions) && (0.0..0.01).contains(&disturbance) {
            return Ok((loop_instructions, disturbance));
        }
        seen = format!("{EMPTY_RUNS} empty loops took {all} steps of the counter, the shortest of them {undisturbed}");
        nix::poll::poll(&mut [], 1000_u16)?;
    }
    bail!("{seen}; so it does not count instructions, or the machine does not come to rest")
}

/// What one round of operations makes the counter rise by.
fn count(offsets: &[u64], mut operation: impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let before = counter();
    for offset in offsets {
        operation(std::hint::black_box(*offset))?;
    }
    Ok(counter() - before)
}

/// Instructions so far, and what the processor was idle for.
pub fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the time stamp counter, and the kernel lets programs read it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Hundredths of a second for which the processor was idle so far: the fourth number of /proc/stat.
fn idle() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    text.split_whitespace().nth(4).context("/proc/stat is too short")?.parse().context("/proc/stat")
}
