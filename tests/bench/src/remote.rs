//! Backup and restore over the loopback next to the same in a directory: what the network side costs.
//!
//! The server runs on the same machine and takes processor time of its own, so on few processors the ratio is the worst that there is.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::MIB;
use e2e::appliance::{Appliance, Machine};

use crate::measure::{self, drop_caches, median};
use crate::random::Random;

const ROUNDS: usize = 3;
/// Speed over the loopback as a part of the local one, that a backup has to reach.
const TARGET: f64 = 0.7;

/// One way to work, and what its runs took.
struct Way {
    label: &'static str,
    backup_s: Vec<f64>,
    restore_s: Vec<f64>,
}

/// Measures and prints a table.
pub fn run(disk_bytes: u64, cache: &Path) -> Result<()> {
    let work = tempfile::TempDir::with_prefix_in("remote-", cache)?;
    let disk = work.path().join("disk");
    make_disk(&disk, disk_bytes)?;
    let mut ways = ["directory", "http", "https"].map(|label| Way { label, backup_s: vec![], restore_s: vec![] });
    for round in 0..ROUNDS {
        for way in &mut ways {
            let (backup_s, restore_s) = measure_once(way.label, &disk, work.path())
                .with_context(|| format!("round {round} of {}", way.label))?;
            eprintln!("{}: backup {backup_s:.2} s, restore {restore_s:.2} s", way.label);
            way.backup_s.push(backup_s);
            way.restore_s.push(restore_s);
        }
    }
    print(&ways, disk_bytes)
}

/// Half of it random, half of it lines that compress, a tenth of holes between.
fn make_disk(path: &Path, disk_bytes: u64) -> Result<()> {
    let (mut file, mut random) = (File::create(path)?, Random::seeded(5));
    let mut piece = vec![0; usize::try_from(MIB)?];
    for number in 0..disk_bytes / MIB {
        match number % 10 {
            9 => piece.fill(0),
            even if even % 2 == 0 => random.fill(&mut piece),
            _ => {
                for (at, line) in piece.chunks_mut(64).enumerate() {
                    let text =
                        format!("{:016x} {at:08} user web service started, nothing to report now\n", random.next());
                    line.copy_from_slice(&text.as_bytes()[..64]);
                }
            }
        }
        file.write_all(&piece)?;
    }
    Ok(file.sync_all()?)
}

/// A new repository each time; both the first backup and the restore begin with an empty page cache.
fn measure_once(label: &str, disk: &Path, work: &Path) -> Result<(f64, f64)> {
    let mut appliance = Appliance::new_in(work, &[])?;
    appliance.person("rita", "restorer")?;
    let machine = appliance.machine("web")?;
    let address = appliance.server.address()?;
    let mut repo = format!("http://{address}/main");
    let mut authority = None;
    if label == "https" {
        appliance.server.stop()?;
        appliance.server.set("TLS", "internal");
        appliance.server.set("TLS_NAMES", r#"["127.0.0.1"]"#);
        appliance.server.start()?;
        let address = appliance.server.address()?;
        let port = address.rsplit_once(':').context("an address has a port")?.1;
        repo = format!("https://127.0.0.1:{port}/main");
        authority = Some(appliance.server.data_dir().join("ca.pem"));
    }
    if label == "directory" {
        repo = appliance.repository().to_string_lossy().into_owned();
    }
    let with = |command: &mut Command| {
        command.env("ICECORE_REPO", &repo);
        command.envs(authority.iter().map(|file: &PathBuf| ("ICECORE_CA_FILE", file)));
    };
    drop_caches();
    let backup_s = backup(&appliance, &machine, disk, with)?;
    if label != "directory" {
        let server = repo.trim_end_matches("main");
        let mut login = appliance.at_home("rita", &["login", server, "--user", "rita"])?;
        with(&mut login);
        e2e::capture(&mut login)?;
    }
    drop_caches();
    let to = work.join("restored");
    let mut restore = appliance.at_home("rita", &["restore", "latest", "--to", &to.to_string_lossy()])?;
    with(&mut restore);
    let restore_s = measure::run(&restore)?.seconds;
    ensure!(e2e::same_bytes(disk, &to)?, "what was restored differs");
    fs::remove_file(to)?;
    Ok((backup_s, restore_s))
}

fn backup(appliance: &Appliance, machine: &Machine, disk: &Path, with: impl Fn(&mut Command)) -> Result<f64> {
    let mut command = appliance.remote(machine, &["backup", &disk.to_string_lossy(), "--name", "web"])?;
    with(&mut command);
    Ok(measure::run(&command)?.seconds)
}

#[expect(clippy::cast_precision_loss, reason = "a rate shown with no decimals")]
fn print(ways: &[Way], disk_bytes: u64) -> Result<()> {
    let seconds = |values: &[f64]| median(values.to_vec()).context("there are rounds");
    let local = &ways[0];
    let (local_backup, local_restore) = (seconds(&local.backup_s)?, seconds(&local.restore_s)?);
    println!("| way | backup | of local | restore | of local |\n|---|---|---|---|---|");
    let mut least = f64::MAX;
    for way in ways {
        let (backup, restore) = (seconds(&way.backup_s)?, seconds(&way.restore_s)?);
        let rate = |seconds: f64| disk_bytes as f64 / MIB as f64 / seconds;
        least = least.min(local_backup / backup);
        println!(
            "| {} | {backup:.2} s, {:.0} MiB/s | {:.2} | {restore:.2} s, {:.0} MiB/s | {:.2} |",
            way.label,
            rate(backup),
            local_backup / backup,
            rate(restore),
            local_restore / restore
        );
    }
    println!(
        "Medians of {ROUNDS} rounds, {} MiB. A backup has to reach {TARGET}: {}",
        disk_bytes / MIB,
        if least >= TARGET { "it does" } else { "MISSED" }
    );
    Ok(())
}
