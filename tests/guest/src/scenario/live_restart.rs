//! Points in a row of one file system under load, while the machine restarts and the module is loaded anew between them.
//!
//! The machine of these scenarios keeps its disks over a restart and begins the scenario again ([`crate::registry::Scenario::over_restarts`]);
//! how far it has come stands in the first block of a disk that nobody else uses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::reboot::RebootMode;

use crate::direct::{AlignedBuffer, DirectFile};
use crate::disk::Disk;
use crate::dm::Mapped;
use crate::icecore::{Detached, Repository, ensure_nothing_left};
use crate::kernel_module;
use crate::mount::Mount;
use crate::random::Random;
use crate::registry::Scenario;
use crate::scenario::file_system::{self, EXT4, Files, Kind, XFS};
use crate::scenario::live_files::{Look, point};

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "live_restart/few",
        "points before and after a power cut and a reboot are clean and complete",
        || row(&EXT4, 5, 2, 192),
    )
    .with_module()
    .over_restarts()
    .within_s(900),
    Scenario::new("live_restart/ext4_row", "twenty points of a busy ext4, with restarts and reloads at random", || {
        row(&EXT4, 20, 4, 384)
    })
    .with_module()
    .over_restarts()
    .only_soak()
    .within_s(5400),
    Scenario::new("live_restart/xfs_row", "twenty points of a busy xfs, with restarts and reloads at random", || {
        row(&XFS, 20, 4, 384)
    })
    .with_module()
    .over_restarts()
    .only_soak()
    .within_s(5400),
];

/// Files that the writer keeps.
const FILES: u64 = 2500;
/// `icenotes`, in the first eight bytes of the notes.
const MAGIC: u64 = u64::from_le_bytes(*b"icenotes");

/// How far the scenario has come, durable before the machine ends.
struct Notes {
    file: DirectFile,
    /// Restarts so far.
    phase: u64,
    /// Points so far.
    points: u64,
}

impl Notes {
    /// Those of the boot before; fails when that one ended without having noted that it would.
    fn open() -> Result<Self> {
        let file = DirectFile::open(&Disk::FourKib.node()?)?;
        let block = file.read_new(0, 4096)?;
        let word = |at: usize| -> Result<u64> { Ok(u64::from_le_bytes(block.bytes()[at * 8..][..8].try_into()?)) };
        let mut notes = Self { file, phase: 0, points: 0 };
        if word(0)? == MAGIC {
            ensure!(word(3)? == 0, "the machine has restarted by itself");
            (notes.phase, notes.points) = (word(1)?, word(2)?);
        }
        notes.write(true)?;
        Ok(notes)
    }

    fn write(&self, is_running: bool) -> Result<()> {
        let mut block = AlignedBuffer::new(4096);
        for (at, word) in [MAGIC, self.phase, self.points, u64::from(is_running)].into_iter().enumerate() {
            block.bytes_mut()[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        Ok(self.file.write(&block, 0)?)
    }

    /// The next boot goes on with the next phase.
    fn end_phase(&mut self) -> Result<()> {
        self.phase += 1;
        self.write(false)
    }
}

/// One file system for the repository, one to restore to, and the live one.
struct Disks {
    repository: Mount,
    scratch: Mount,
    live: Mount,
    /// The live one is the beginning of a disk: emulation is slow.
    mapped: Mapped,
}

impl Disks {
    fn mount(kind: &Kind, phase: u64, live_mib: u64) -> Result<Self> {
        let (repository, scratch) = (Disk::Store.node()?, Disk::First.node()?);
        let mapped = Mapped::linear("live", &Disk::Second.node()?, live_mib << 11)?;
        let live = mapped.node()?;
        EXT4.make(&scratch)?;
        if phase == 0 {
            EXT4.make(&repository)?;
            kind.make(&live)?;
        }
        Ok(Self {
            // A mount replays what a power cut has left.
            repository: Mount::new(&repository, "repository", "ext4", "")?,
            scratch: Mount::new(&scratch, "scratch", "ext4", "")?,
            live: Mount::new(&live, "live", kind.name, "")?,
            mapped,
        })
    }

    /// Returns what the live file system was on.
    fn unmount(self) -> Result<Mapped> {
        [self.live, self.scratch, self.repository].into_iter().try_for_each(Mount::unmount)?;
        Ok(self.mapped)
    }
}

/// What comes after a phase.
enum Next {
    PowerCut,
    Reboot,
    Nothing,
}

fn row(kind: &Kind, points_wanted: u64, most_in_a_phase: u64, live_mib: u64) -> Result<()> {
    let mut notes = Notes::open()?;
    let disks = Disks::mount(kind, notes.phase, live_mib)?;
    let live = disks.mapped.node()?;
    let repository = match notes.phase {
        0 => Repository::make(disks.repository.root(), "repository")?,
        _ => Repository::existing(disks.repository.root(), "repository"),
    };
    let place_of = |phase: u64| disks.live.root().join(format!("phase-{phase}"));
    if let Some(earlier) = notes.phase.checked_sub(1) {
        std::fs::remove_dir_all(place_of(earlier)).context("what the phase before has written")?;
    }
    std::fs::create_dir(place_of(notes.phase))?;
    let directory = format!("phase-{}", notes.phase);
    let (stop, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut random = Random::new(notes.phase + 91);
    let wanted = (1 + random.below(most_in_a_phase)).min(points_wanted - notes.points);
    let next = std::thread::scope(|scope| -> Result<Next> {
        let writer = scope.spawn(|| {
            let place = disks.live.root().join(&directory);
            file_system::write_files(&place, Files::Newest(FILES), &stop, &durable)
        });
        let made = make_points(kind, (&repository, &disks, &directory), &durable, &mut notes, wanted, &mut random);
        let next = made.map(|()| match (notes.points == points_wanted, notes.phase % 2) {
            (true, _) => Next::Nothing,
            (false, 0) => Next::PowerCut,
            (false, _) => Next::Reboot,
        });
        if let Ok(Next::PowerCut) = next {
            notes.end_phase()?;
            // In the middle of the writer's work.
            std::fs::write("/proc/sysrq-trigger", "b")?;
            wait_for_the_end()?;
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        next
    })?;
    drop(Detached(vec![&live]));
    if matches!(next, Next::Reboot) {
        let _mapped = disks.unmount()?;
        notes.end_phase()?;
        nix::sys::reboot::reboot(RebootMode::RB_AUTOBOOT)?;
        return wait_for_the_end();
    }
    let report = repository.json(&["check"])?;
    ensure!(report["sound"] != false, "the repository is not sound: {report}");
    let mapped = disks.unmount()?;
    kind.check(&live).context("the original")?;
    mapped.remove()
}

/// Makes so many points, restores each and looks at its files; between some of them the module is loaded anew.
fn make_points(
    kind: &Kind,
    (repository, disks, directory): (&Repository, &Disks, &str),
    durable: &AtomicU64,
    notes: &mut Notes,
    wanted: u64,
    random: &mut Random,
) -> Result<()> {
    let live = disks.mapped.node()?;
    let mut is_new = true;
    for _ in 0..wanted {
        file_system::wait_for(durable, durable.load(Ordering::Relaxed) + 10)?;
        let look = Look { scratch: disks.scratch.root(), directory, files: FILES };
        let made = point(repository, kind, &live, durable, look)
            .with_context(|| format!("point {} (phase {})", notes.points + 1, notes.phase))?;
        match (notes.points, is_new) {
            (0, _) => made.ensure_kind("full")?,
            (_, true) => made.ensure_full_read("tracking began anew")?,
            (_, false) => made.ensure_kind("incremental")?,
        }
        println!("point {} of phase {}: {}", notes.points + 1, notes.phase, made.outcome["kind"]);
        notes.points += 1;
        notes.write(true)?;
        is_new = random.below(4) == 0;
        if is_new {
            ensure_nothing_left()?;
            drop(Detached(vec![&live]));
            kernel_module::remove("blksnap").context("the module cannot be unloaded after a backup")?;
            kernel_module::load("blksnap", "")?;
        }
    }
    Ok(())
}

/// The machine goes down under this process.
fn wait_for_the_end() -> Result<()> {
    nix::poll::poll(&mut [], nix::poll::PollTimeout::try_from(60_000_i32)?)?;
    bail!("the machine goes on after its restart")
}
