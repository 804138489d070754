//! `cargo xtask guest`: boots a stock kernel in an emulated machine and runs scenarios there.
//!
//! This file is the order of events. `plan` knows which scenarios there are and which share a boot, `kernel` the kernel and
//! its modules, `initramfs` what the guest's file system holds, `machine` the emulator, `verdict` what it all means.

pub mod cpio;
mod databases;
mod initramfs;
pub mod kernel;
mod kernel_log;
mod machine;
mod module_tree;
mod plan;
mod repeat;
pub mod tools;
mod verdict;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::step::Count;
use crate::{kmod, setup, vm, workspace};
use kernel::Kernel;
use machine::Emulation;
pub use machine::{Ended, watched};
pub use plan::Boot;
use plan::{Purpose, Selection};
use verdict::{BootResult, Outcome};

/// The emulator.
pub const EMULATOR: &str = machine::PROGRAM;

/// How much longer everything may take in a kernel that watches itself.
const SANITIZER_PATIENCE: u64 = 5;

/// Options of `cargo xtask guest`.
#[derive(clap::Args)]
pub struct Options {
    /// Keep the disks and the initramfs, and print the command that boots them again
    #[arg(long)]
    keep: bool,
    /// Run the long scenarios too
    #[arg(long)]
    soak: bool,
    /// Boot a kernel that watches itself (KASAN, lockdep, kmemleak); it is built once, which takes long
    #[arg(long, conflicts_with = "kernel")]
    sanitize: bool,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Only list the scenarios
    #[arg(long)]
    list: bool,
    /// A directory that `cargo xtask kmod --out` left (vmlinuz, lib/modules, ko), instead of building anew
    #[arg(long, value_name = "DIR", env = "ICECORE_GUEST_KERNEL")]
    kernel: Option<PathBuf>,
    /// Run only scenarios whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    #[command(flatten)]
    setup: setup::Consent,
}

/// Runs the scenarios and prints a table, or JSON.
pub fn run(options: &Options) -> ExitCode {
    match run_scenarios(options) {
        Ok(outcomes) if outcomes.iter().all(|outcome| outcome.passed()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The same as a group of `cargo xtask test`.
pub fn run_as_group(soak: bool, consent: setup::Consent) -> Result<Count> {
    let kernel = std::env::var_os("ICECORE_GUEST_KERNEL").map(PathBuf::from);
    let options = Options {
        keep: false,
        soak,
        sanitize: false,
        json: false,
        list: false,
        kernel,
        filters: Vec::new(),
        setup: consent,
    };
    let outcomes = run_scenarios(&options)?;
    let passed = u64::try_from(outcomes.iter().filter(|outcome| outcome.passed()).count())?;
    Ok(Count { passed, failed: u64::try_from(outcomes.len())? - passed })
}

fn run_scenarios(options: &Options) -> Result<Vec<Outcome>> {
    let program = build_program()?;
    let known = plan::scenarios(&program)?;
    if options.list {
        plan::print(&known);
        return Ok(Vec::new());
    }
    let purpose = if options.soak { Purpose::Soak } else { Purpose::Proof };
    let selection = Selection { filters: &options.filters, purpose, with_module: true, with_faults: options.sanitize };
    let kernel = find_kernel(options.kernel.as_deref(), options.sanitize, options.setup)?;
    let series = Series::prepare(&program, kernel, Emulation::Parallel)?;
    let series = Series { keep: options.keep, quiet: options.json, ..series };
    let with_module = series.kernel.has_own_modules();
    let selection = Selection { with_module, ..selection };
    // The kernel that watches itself lacks most of what a whole system needs.
    let in_debian = plan::in_debian(&known, &selection).filter(|_| !options.sanitize);
    let boots = plan::boots(&known, &selection);
    ensure!(!boots.is_empty() || in_debian.is_some(), "no scenario matches; `cargo xtask guest --list` shows them all");
    let (mut outcomes, _) = series.run(boots)?;
    if let Some(boot) = in_debian {
        outcomes.extend(series.run_in_debian(boot, options.setup)?);
    }
    verdict::print(&outcomes, &series.directory, options.json)?;
    Ok(outcomes)
}

/// What scenarios measured, and those that could not.
pub struct Measured {
    /// Lines of `CASE QUANTITY VALUE`.
    pub lines: Vec<String>,
    /// Name of the scenario and reason.
    pub failures: Vec<(String, String)>,
    /// The kernel's release.
    pub kernel: String,
}

/// Runs the scenarios that measure, in a machine that counts instructions.
pub fn measure(kernel: Option<&Path>, filter: Option<&str>, consent: setup::Consent) -> Result<Measured> {
    let program = build_program()?;
    let known = plan::scenarios(&program)?;
    let kernel = find_kernel(kernel, false, consent)?;
    let series = Series::prepare(&program, kernel, Emulation::Counting)?;
    ensure!(series.kernel.has_own_modules(), "there is no kernel module to measure");
    let filters: Vec<String> = filter.into_iter().map(str::to_owned).collect();
    let selection =
        Selection { filters: &filters, purpose: Purpose::Measurement, with_module: true, with_faults: false };
    let boots = plan::boots(&known, &selection);
    ensure!(!boots.is_empty(), "nothing that measures matches");
    let (outcomes, lines) = series.run(boots)?;
    let failures = outcomes.into_iter().filter_map(|outcome| Some((outcome.name, outcome.failure?))).collect();
    Ok(Measured { lines, failures, kernel: series.kernel.release().to_owned() })
}

/// The kernel to boot: as given, else the stock one with the module that is built now.
pub fn find_kernel(directory: Option<&Path>, sanitize: bool, consent: setup::Consent) -> Result<Kernel> {
    setup::install(setup::Purpose::Guest, consent)?;
    match directory {
        Some(directory) => Kernel::in_directory(directory),
        None if sanitize => Ok(Kernel::built(&kmod::sanitizer::build(consent)?)?.patient(SANITIZER_PATIENCE)),
        None => Kernel::built(&kmod::build(consent)?),
    }
}

/// Boots one after the other with the same kernel on the same kind of machine.
struct Series {
    kernel: Kernel,
    base: Vec<u8>,
    directory: PathBuf,
    emulation: Emulation,
    keep: bool,
    quiet: bool,
}

impl Series {
    fn prepare(program: &Path, kernel: Kernel, emulation: Emulation) -> Result<Self> {
        let at_boot: Vec<&str> = match emulation {
            Emulation::Parallel => kernel::AT_BOOT.to_vec(),
            // The first thing to be measured is a kernel without the module.
            Emulation::Counting => kernel::TO_MEASURE.to_vec(),
        };
        let base = initramfs::base(program, &kernel, &at_boot)?;
        Ok(Self { kernel, base, directory: fresh_directory()?, emulation, keep: false, quiet: false })
    }

    /// Runs these boots; returns what became of them and what was measured.
    fn run(&self, boots: VecDeque<Boot>) -> Result<(Vec<Outcome>, Vec<String>)> {
        repeat::all(boots, |number, boot| self.boot(&self.directory.join(format!("boot-{number}")), boot))
    }

    /// Runs the scenarios that need a whole system.
    fn run_in_debian(&self, boot: Boot, consent: setup::Consent) -> Result<Vec<Outcome>> {
        let (outcomes, _) = repeat::all([boot].into(), |number, boot| {
            let place = self.directory.join(format!("debian-{number}"));
            std::fs::create_dir_all(&place)?;
            let mut progress = verdict::Progress::new(boot, self.quiet);
            let ended = vm::attend(&self.kernel, boot, &place, consent, |events| progress.show(events))?;
            let result = verdict::judge(boot, &place, &ended)?;
            progress.finish(&result);
            Ok(result)
        })?;
        Ok(outcomes)
    }

    fn boot(&self, place: &Path, boot: &Boot) -> Result<BootResult> {
        std::fs::create_dir_all(place)?;
        let image = place.join("initramfs.cpio");
        initramfs::write(&image, &self.base, boot, self.kernel.patience())?;
        let machine = machine::Machine::new(place, &self.kernel, &image, boot, self.emulation)?;
        if self.keep {
            eprintln!("{}", machine.command_line());
        }
        let mut progress = verdict::Progress::new(boot, self.quiet);
        let ending = machine.run(|events| progress.show(events))?;
        let result = verdict::judge(boot, place, &ending)?;
        progress.finish(&result);
        if !self.keep {
            machine.remove_disks()?;
            std::fs::remove_file(&image)?;
        }
        Ok(result)
    }
}

/// Statically linked, in a target directory of its own because its flags differ.
pub fn build_program() -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let target_dir = workspace::root().join("target/guest");
    let mut command = workspace::cargo();
    command.args(["build", "--quiet", "--package", "guest", "--target", TARGET, "--target-dir"]).arg(&target_dir);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").stdout(std::io::stderr());
    ensure!(command.status()?.success(), "the guest's program does not build; the compiler's messages are above");
    Ok(target_dir.join(TARGET).join("debug/guest"))
}

fn fresh_directory() -> Result<PathBuf> {
    let directory = workspace::root().join("target/guest-runs");
    if directory.exists() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("cannot clear {}", directory.display()))?;
    }
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
