//! What is measured: each scenario runs its tools in turn, several rounds, from the same state each time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::image::{Change, Images};
use crate::measure::{self, Cost};
use crate::results::{Measurement, Results};
use crate::tool::{Kind, Tool};
use crate::{limits, peers::Peers};

/// A full backup of the realistic disk into an empty repository.
pub const FULL: &str = "full backup";
/// The same at the level that is compared with restic's size.
pub const FULL_DENSE: &str = "full backup, level 3";
/// The next day, every tool finding the changes itself.
pub const NEXT_DAY: &str = "next day";
/// The next day with a list of what changed.
pub const NEXT_DAY_LIST: &str = "next day, given the list";
/// A backup of a file that holds only the changed blocks, into an empty repository.
pub const ONLY_CHANGED: &str = "only the changed bytes";
/// A backup with an empty list.
pub const NO_CHANGE: &str = "no change, empty list";
/// Scattered blocks changed on the realistic disk, given the list.
pub const BLOCKS: &str = "scattered blocks, server";
/// As many blocks changed on the huge disk, given the list.
pub const BLOCKS_HUGE: &str = "scattered blocks, 16 TiB";
/// A full backup of the huge disk.
pub const FULL_HUGE: &str = "full backup, 16 TiB";
/// Direct reading of the next day's disk, beside the backups that have to read it.
pub const READ: &str = "reading the disk";
/// A restore of the realistic disk to a file, until it is on the disk.
pub const RESTORE: &str = "restore";
/// Check of all data.
pub const CHECK: &str = "check of all data";
/// The index made anew from the packs.
pub const REBUILD: &str = "index rebuild";
/// Start of the program.
pub const START: &str = "start-up (--version)";

/// Label of our tool with default settings.
pub const ICECORE: &str = "icecore";
/// Label of ours at level 3.
pub const ICECORE_DENSE: &str = "icecore level 3";
/// Label of restic.
pub const RESTIC: &str = "restic";
/// Label of rustic.
pub const RUSTIC: &str = "rustic";
/// Label of borg.
pub const BORG: &str = "borg fixed zstd-1";
/// Label of plain direct reading.
pub const DD: &str = "dd, O_DIRECT, 4 MiB";
/// Label of plain zstd.
pub const ZSTD: &str = "zstd -1 -T0";
/// Label of qemu-img.
pub const QEMU_IMG: &str = "qemu-img -c";
/// The default chunk size's alternatives, measured to confirm it.
pub const CHUNK_SIZES: [(&str, u32); 3] = [("icecore 64K", 64), ("icecore 128K", 128), ("icecore 256K", 256)];

const STARTS: usize = 20;

/// Everything that a scenario needs.
pub struct Bench<'a> {
    /// The disks.
    pub images: &'a Images,
    /// The peers' programs.
    pub peers: &'a Peers,
    /// Our program.
    pub icecore: &'a Path,
    /// A directory for repositories and restored disks, on the disk that is measured.
    pub work: &'a Path,
    /// Runs of each.
    pub rounds: usize,
    /// What was found so far.
    pub results: Results,
}

impl<'a> Bench<'a> {
    /// The tool with this label.
    pub fn tool(&self, label: &'static str, kind: Kind) -> Tool<'a> {
        Tool::new(label, kind, self.peers, self.icecore, self.work)
    }

    fn ours(&self) -> Tool<'a> {
        self.tool(ICECORE, Kind::Icecore { chunk_kib: None, level: None })
    }

    fn contenders(&self) -> Vec<Tool<'a>> {
        let mut tools = vec![self.ours(), self.tool(RESTIC, Kind::Restic), self.tool(BORG, Kind::Borg)];
        if self.peers.rustic().is_some() {
            tools.push(self.tool(RUSTIC, Kind::Rustic));
        }
        tools
    }

    /// All scenarios.
    pub fn run_all(&mut self) -> Result<()> {
        let source = self.place(&self.images.day.before)?;
        self.full(&source)?;
        self.full_dense(&source)?;
        self.restore(&source)?;
        self.maintenance()?;
        self.next_day()?;
        self.scattered_blocks()?;
        self.chunk_sizes()?;
        self.start_up()
    }

    /// Puts an image under the path that all backups name as their source, without copying it.
    fn place(&self, image: &Path) -> Result<PathBuf> {
        let source = self.work.join("source.img");
        if source.exists() {
            fs::remove_file(&source)?;
        }
        fs::hard_link(image, &source).context("the work directory must lie on the file system of the images")?;
        Ok(source)
    }

    fn measure(&mut self, scenario: &'static str, tool: &'static str, command: &Command) -> Result<Cost> {
        measure::drop_caches();
        let cost = measure::run(command).with_context(|| format!("{tool} in `{scenario}`"))?;
        self.results.add(Measurement { scenario, tool, cost, stored_bytes: None });
        Ok(cost)
    }

    /// As `measure`, until what was written into `directory` is on the disk: some tools wait for that, others leave it to the kernel.
    fn measure_durable(
        &mut self,
        scenario: &'static str,
        tool: &'static str,
        command: &Command,
        directory: &Path,
    ) -> Result<()> {
        measure::drop_caches();
        let mut cost = measure::run(command).with_context(|| format!("{tool} in `{scenario}`"))?;
        cost.seconds += measure::run(Command::new("sync").arg("--file-system").arg(directory))?.seconds;
        self.results.add(Measurement { scenario, tool, cost, stored_bytes: None });
        Ok(())
    }

    /// As `measure`, with the growth of the tool's repository.
    fn measure_stored(&mut self, scenario: &'static str, tool: &Tool<'_>, command: &Command) -> Result<()> {
        let before_bytes = measure::size_of(&tool.repository())?;
        measure::drop_caches();
        let cost = measure::run(command).with_context(|| format!("{} in `{scenario}`", tool.label))?;
        let stored_bytes = Some(measure::size_of(&tool.repository())?.saturating_sub(before_bytes));
        self.results.add(Measurement { scenario, tool: tool.label, cost, stored_bytes });
        Ok(())
    }

    fn full(&mut self, source: &Path) -> Result<()> {
        // Fetches the image once, so that a slow first reading by the machine below this one burdens nobody.
        measure::run(Command::new("dd").arg(format!("if={}", source.display())).args(["of=/dev/null", "bs=4M"]))?;
        for _ in 0..self.rounds {
            for tool in self.contenders() {
                tool.start_anew()?;
                self.measure_stored(FULL, &tool, &tool.backup(source)?)?;
            }
            self.compressors(source)?;
        }
        Ok(())
    }

    fn compressors(&mut self, source: &Path) -> Result<()> {
        let target = self.work.join("compressed");
        for (label, command) in [(ZSTD, limits::zstd(source, &target)), (QEMU_IMG, limits::qemu_img(source, &target))] {
            measure::drop_caches();
            let cost = measure::run(&command)?;
            let stored_bytes = Some(fs::metadata(&target)?.len());
            self.results.add(Measurement { scenario: FULL, tool: label, cost, stored_bytes });
            fs::remove_file(&target)?;
        }
        Ok(())
    }

    fn full_dense(&mut self, source: &Path) -> Result<()> {
        let tool = self.tool(ICECORE_DENSE, Kind::Icecore { chunk_kib: None, level: Some(3) });
        tool.start_anew()?;
        self.measure_stored(FULL_DENSE, &tool, &tool.backup(source)?)?;
        discard(&tool)
    }

    fn restore(&mut self, source: &Path) -> Result<()> {
        let target = self.work.join("restored");
        for round in 0..self.rounds {
            for tool in self.contenders() {
                fs::create_dir(&target)?;
                let (command, restored) = tool.restore(source, &target)?;
                self.measure_durable(RESTORE, tool.label, &command, &target)?;
                if round == 0 {
                    ensure!(
                        e2e::same_bytes(source, &restored)?,
                        "{} restored other bytes than it was given",
                        tool.label
                    );
                }
                fs::remove_dir_all(&target)?;
            }
        }
        Ok(())
    }

    fn maintenance(&mut self) -> Result<()> {
        let tool = self.ours();
        self.measure(CHECK, tool.label, &tool.icecore(&["check", "--read-data"])?)?;
        self.measure(REBUILD, tool.label, &tool.icecore(&["index", "rebuild"])?)?;
        Ok(())
    }

    /// Each run starts from the state after the full backup.
    fn next_day(&mut self) -> Result<()> {
        let images = self.images;
        let source = self.place(&images.day.after)?;
        let nothing = self.work.join("nothing.txt");
        fs::write(&nothing, "")?;
        for tool in self.contenders() {
            keep_state(&tool)?;
        }
        for _ in 0..self.rounds {
            self.measure(READ, DD, &limits::direct_reading(&source))?;
            for tool in self.contenders() {
                return_to_state(&tool)?;
                self.measure_stored(NEXT_DAY, &tool, &tool.backup(&source)?)?;
            }
            let tool = self.ours();
            return_to_state(&tool)?;
            self.measure_stored(NEXT_DAY_LIST, &tool, &tool.backup_changed(&source, &images.day.list)?)?;
            self.measure_stored(NO_CHANGE, &tool, &tool.backup_changed(&source, &nothing)?)?;
            self.only_changed(&images.day)?;
        }
        for tool in self.contenders() {
            discard(&tool)?;
            fs::remove_dir_all(state_dir(&tool))?;
        }
        Ok(())
    }

    fn only_changed(&mut self, change: &Change) -> Result<()> {
        let tool = self.tool("icecore only changed", Kind::Icecore { chunk_kib: None, level: None });
        tool.start_anew()?;
        self.measure_stored(ONLY_CHANGED, &tool, &tool.backup(&change.changed_only)?)?;
        discard(&tool)
    }

    fn scattered_blocks(&mut self) -> Result<()> {
        let images = self.images;
        for (full, incremental, change) in
            [(None, BLOCKS, &images.blocks), (Some(FULL_HUGE), BLOCKS_HUGE, &images.huge)]
        {
            let tool = self.ours();
            tool.start_anew()?;
            let source = self.place(&change.before)?;
            let backup = tool.backup(&source)?;
            match full {
                Some(scenario) => self.measure_stored(scenario, &tool, &backup)?,
                None => drop(measure::run(&backup)?),
            }
            keep_state(&tool)?;
            let source = self.place(&change.after)?;
            for _ in 0..self.rounds {
                return_to_state(&tool)?;
                self.measure_stored(incremental, &tool, &tool.backup_changed(&source, &change.list)?)?;
            }
            discard(&tool)?;
            fs::remove_dir_all(state_dir(&tool))?;
        }
        Ok(())
    }

    /// One full backup and one next day for each chunk size.
    fn chunk_sizes(&mut self) -> Result<()> {
        let images = self.images;
        for (label, kib) in CHUNK_SIZES {
            let tool = self.tool(label, Kind::Icecore { chunk_kib: Some(kib), level: None });
            tool.start_anew()?;
            let source = self.place(&images.day.before)?;
            self.measure_stored(FULL, &tool, &tool.backup(&source)?)?;
            let source = self.place(&images.day.after)?;
            self.measure_stored(NEXT_DAY_LIST, &tool, &tool.backup_changed(&source, &images.day.list)?)?;
            discard(&tool)?;
        }
        Ok(())
    }

    fn start_up(&mut self) -> Result<()> {
        let tool = self.ours();
        for _ in 0..STARTS {
            let cost = measure::run(&tool.icecore(&["--version"])?)?;
            self.results.add_silently(Measurement { scenario: START, tool: tool.label, cost, stored_bytes: None });
        }
        Ok(())
    }
}

fn state_dir(tool: &Tool<'_>) -> PathBuf {
    tool.dir().with_extension("state")
}

fn keep_state(tool: &Tool<'_>) -> Result<()> {
    fs::rename(tool.dir(), state_dir(tool)).context("cannot keep the state after the full backup")
}

fn return_to_state(tool: &Tool<'_>) -> Result<()> {
    discard(tool)?;
    let mut command = Command::new("cp");
    e2e::capture(command.args(["--archive", "--reflink=auto"]).arg(state_dir(tool)).arg(tool.dir())).map(drop)
}

fn discard(tool: &Tool<'_>) -> Result<()> {
    if tool.dir().exists() {
        fs::remove_dir_all(tool.dir())?;
    }
    Ok(())
}
