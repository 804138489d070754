//! `cargo xtask bench`: builds in release and hands over to the program in `tests/bench`, which does the measuring.
//! With `--kernel` it measures the kernel module instead, in an emulated machine.

mod kernel;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::{setup, workspace};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Options {
    /// A 1 GiB image instead of 6 GiB, and one run of each instead of three
    #[arg(long)]
    quick: bool,
    /// Leave rustic out, which takes many minutes to build
    #[arg(long)]
    without_rustic: bool,
    /// Only make the disks and install the peers
    #[arg(long)]
    prepare: bool,
    /// Measure backup and restore over the loopback next to a directory: 4 GiB, or 1 GiB with --quick
    #[arg(long, conflicts_with_all = ["without_rustic", "prepare", "kernel"])]
    remote: bool,
    /// Measure how long a person waits for a file of 1 MiB out of a point of a disk of 100 GiB (sparse; 1 GiB with --quick)
    #[arg(long, conflicts_with_all = ["without_rustic", "prepare", "kernel", "remote"])]
    click: bool,
    /// Measure what the kernel module costs, in instructions and bytes, next to dm-snapshot
    #[arg(long, conflicts_with_all = ["quick", "without_rustic", "prepare"])]
    kernel: bool,
    /// With --kernel: a directory that `cargo xtask kmod --out` left, instead of building anew
    #[arg(long, value_name = "DIR", env = "ICECORE_GUEST_KERNEL")]
    kernel_dir: Option<PathBuf>,
    /// With --kernel: only what contains this; the result is printed but not written into the documentation
    #[arg(long, value_name = "FILTER", requires = "kernel")]
    only: Option<String>,
    #[command(flatten)]
    setup: setup::Consent,
}

/// Installs, builds, measures.
pub fn run(options: &Options) -> Result<()> {
    if options.kernel {
        return kernel::run(options.kernel_dir.as_deref(), options.only.as_deref(), options.setup);
    }
    setup::install(setup::Purpose::Bench, options.setup)?;
    let icecore = workspace::build("icecore", true)?;
    let bench = workspace::build("bench", true)?;
    let mut command = std::process::Command::new(&bench);
    if options.remote || options.click {
        command.arg(if options.remote { "--remote" } else { "--click" });
        command.env("ICECORE_BIN_SERVER", workspace::build("icecore-server", true)?);
    }
    let switches =
        [(options.quick, "--quick"), (options.without_rustic, "--without-rustic"), (options.prepare, "--prepare")];
    command.args(switches.iter().filter(|(given, _)| *given).map(|(_, switch)| switch));
    command.env("ICECORE_BIN", icecore).env("ICECORE_CACHE", workspace::cache_dir()?).current_dir(workspace::root());
    let status = command.status().with_context(|| format!("cannot start {}", bench.display()))?;
    ensure!(status.success(), "the benchmark did not finish ({status})");
    Ok(())
}
