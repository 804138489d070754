//! The benchmark: Icecore next to restic, rustic, borg, zstd and qemu-img on the same disks, in one run.
//!
//! `image` makes the disks, `peers` puts the other programs in place, `scenario` says what is measured, `target` judges it.
//! Started by `cargo xtask bench`, which builds both programs in release.

mod click;
mod content;
mod image;
mod limits;
mod measure;
mod peers;
mod random;
mod remote;
mod report;
mod results;
mod scenario;
mod target;
mod tool;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use clap::Parser;
use e2e::GIB;

use image::Recipe;
use peers::Peers;
use report::{Circumstances, Report};
use scenario::Bench;
use target::Limits;
use tool::Kind;

/// Measures Icecore next to its peers.
#[derive(Parser)]
struct Options {
    /// A 1 GiB disk and one round; the result is printed but not written into the documentation
    #[arg(long)]
    quick: bool,
    /// Leave rustic out, which takes long to build
    #[arg(long)]
    without_rustic: bool,
    /// Measure backup and restore over the loopback next to a directory; the result is printed only
    #[arg(long)]
    remote: bool,
    /// Measure how long a person waits for a file of 1 MiB out of a point of a disk of 100 GiB; the result is printed only
    #[arg(long)]
    click: bool,
    /// Only make the disks and install the peers
    #[arg(long)]
    prepare: bool,
    /// Where disks and peers are kept
    #[arg(long, env = "ICECORE_CACHE")]
    cache: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    if options.remote {
        return remote::run(if options.quick { GIB } else { 4 * GIB }, &options.cache);
    }
    if options.click {
        return click::run(if options.quick { GIB } else { 100 * GIB }, &options.cache);
    }
    ensure!(e2e::loop_devices_usable(), "the benchmark fills its disks through a mount; run it as root");
    let recipe = Recipe { disk_bytes: if options.quick { GIB } else { 6 * GIB } };
    let cache = options.cache.join("bench");
    std::fs::create_dir_all(&cache)?;
    ensure_space(&cache, recipe)?;
    let peers = Peers::provide(&options.cache, !options.without_rustic)?;
    let images = image::provide(&cache, recipe)?;
    if options.prepare {
        return Ok(());
    }
    let work = tempfile::TempDir::with_prefix_in("work-", &cache)?;
    let icecore = e2e::icecore_program()?;
    let mut bench = Bench {
        images: &images,
        peers: &peers,
        icecore: &icecore,
        work: work.path(),
        rounds: if options.quick { 1 } else { 3 },
        results: results::Results::default(),
    };
    let circumstances = circumstances(options, recipe, &bench)?;
    let limits = machine_limits(&images.day.before)?;
    bench.run_all()?;
    publish(options, &cache, circumstances, limits, bench.results)
}

/// Repositories and a restored disk take up to four times the disk's size, images that are still to be made three times.
fn ensure_space(cache: &Path, recipe: Recipe) -> Result<()> {
    let parts = if image::are_made(cache, recipe) { 4 } else { 7 };
    let (free_bytes, needed_bytes) = (e2e::free_bytes(cache)?, parts * recipe.disk_bytes);
    ensure!(
        free_bytes >= needed_bytes,
        "the benchmark needs {} GiB in {}, which has {} GiB; set ICECORE_CACHE to a larger disk",
        needed_bytes / GIB,
        cache.display(),
        free_bytes / GIB
    );
    Ok(())
}

fn publish(
    options: &Options,
    cache: &Path,
    circumstances: Circumstances,
    limits: Limits,
    results: results::Results,
) -> Result<()> {
    let targets = target::judge(&results, &limits);
    let report = Report { circumstances, limits, results, targets };
    println!("{}", report.markdown());
    let json = cache.join("results.json");
    std::fs::write(&json, serde_json::to_vec_pretty(&report)?)?;
    println!("Every run: {}", json.display());
    println!("{} of {} targets missed", e2e::targets::missed(&report.targets), report.targets.len());
    if options.quick {
        return Ok(());
    }
    report::MARKERS.write_into(Path::new("docs/benchmarks.md"), &report.markdown())
}

fn machine_limits(disk: &Path) -> Result<Limits> {
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(disk)?);
    Ok(Limits { hash_rate: limits::hash_rate(), disk_data_bytes: blocks * 512 })
}

fn circumstances(options: &Options, recipe: Recipe, bench: &Bench<'_>) -> Result<Circumstances> {
    let mut kinds = vec![
        (scenario::ICECORE, Kind::Icecore { chunk_kib: None, level: None }),
        (scenario::RESTIC, Kind::Restic),
        (scenario::BORG, Kind::Borg),
    ];
    if bench.peers.rustic().is_some() {
        kinds.push((scenario::RUSTIC, Kind::Rustic));
    }
    let mut versions =
        kinds.into_iter().map(|(label, kind)| bench.tool(label, kind).version()).collect::<Result<Vec<_>>>()?;
    versions.push(report::said_by(Command::new("zstd").arg("--version")).trim_matches(['*', ' ']).to_owned());
    versions.push(report::said_by(Command::new("qemu-img").arg("--version")));
    let mib = |bytes: u64| bytes / e2e::MIB;
    let disks = format!(
        "{} MiB with GPT, FAT and ext4; sparse {} MiB with {} MiB of data; {} scattered blocks of 64 KiB changed",
        mib(recipe.disk_bytes),
        mib(bench.images.huge_bytes),
        mib(recipe.huge_data_bytes()),
        recipe.changed_blocks()
    );
    Ok(Circumstances {
        command: format!("cargo xtask bench{}", if options.quick { " --quick" } else { "" }),
        date: report::said_by(Command::new("date").args(["--utc", "+%Y-%m-%d"])),
        commit: report::said_by(Command::new("git").args(["rev-parse", "--short", "HEAD"])),
        machine: report::machine(),
        versions,
        cold: measure::drop_caches(),
        disks,
    })
}
