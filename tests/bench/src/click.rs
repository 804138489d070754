//! A file of 1 MiB out of a recovery point of a large disk, over the appliance: from the click to the first byte.
//!
//! The click is a request of the page for a file that nobody asked for before. Cold: the keeper was just started, has listed the disks and
//! nothing else, and the page cache is empty. Warm: the same keeper, another file.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::appliance::{Agent, Appliance};
use e2e::http::{self, Request};
use e2e::{DiskImage, FileSystem, GIB, MIB, PartitionPlan};

use crate::measure::{drop_caches, median};
use crate::random::Random;

const ROUNDS: usize = 5;
/// What a click may take, in seconds.
const TARGET_S: f64 = 2.0;
/// What has not happened after this time does not happen.
const PATIENCE: Duration = Duration::from_secs(60);
const FILE_BYTES: usize = 1 << 20;
/// Files of other sizes round the wanted ones, and directories that they lie in.
const DIRECTORIES: usize = 200;
const FILES_EACH: usize = 100;

/// Measures and prints a table.
pub fn run(disk_bytes: u64, cache: &Path) -> Result<()> {
    ensure!(e2e::loop_devices_usable(), "this benchmark fills its disk through a mount; run it as root");
    let work = tempfile::TempDir::with_prefix_in("click-", cache)?;
    let image = DiskImage::create(&work.path().join("disk"), disk_bytes, &[PartitionPlan::rest(FileSystem::Ext4)])?;
    let wanted = fill(&image, work.path(), disk_bytes)?;
    let appliance = Appliance::new_in(work.path(), &[])?;
    let machine = appliance.machine("web")?;
    let point = appliance.backup(&machine, image.path(), "web")?;
    let id = point["id"].as_str().context("a point has an id")?.to_owned();
    let keeper = appliance.keeper("keeper")?;
    let mut rows: Vec<(&str, Vec<f64>, Vec<f64>)> = vec![("cold", vec![], vec![]), ("warm", vec![], vec![])];
    for round in 0..ROUNDS {
        let mut command = appliance.keeper_command(&keeper)?;
        command.arg("--show-files");
        let running = Agent::start(command, &keeper)?;
        wait_for_keeper(&appliance, &id)?;
        for (at, (label, first, whole)) in rows.iter_mut().enumerate() {
            if *label == "cold" {
                ensure!(drop_caches(), "the page cache cannot be emptied; run it as root");
            }
            let (path, content) = &wanted[2 * round + at];
            let (first_s, whole_s) = click(&appliance, &id, path, content)?;
            first.push(first_s);
            whole.push(whole_s);
        }
        running.stop()?;
    }
    println!("| | click to first byte | to the last of 1 MiB |\n|---|---|---|");
    let mut slowest = 0.0_f64;
    for (label, first, whole) in rows {
        slowest = first.iter().copied().fold(slowest, f64::max);
        let median = |values: Vec<f64>| median(values).context("there are rounds");
        println!("| {label} | {:.3} s | {:.3} s |", median(first)?, median(whole)?);
    }
    println!(
        "Medians of {ROUNDS} rounds; a disk of {} GiB with {} files. The slowest first byte came after {slowest:.3} s, and may take {TARGET_S} s: {}",
        disk_bytes / GIB,
        DIRECTORIES * FILES_EACH + wanted.len(),
        if slowest <= TARGET_S { "it does" } else { "MISSED" }
    );
    Ok(())
}

/// Asks what the page asks for first, until the keeper has come. It has read no file system then.
fn wait_for_keeper(appliance: &Appliance, id: &str) -> Result<()> {
    let (began, path) = (Instant::now(), format!("/api/v1/recovery-points/{id}/volumes"));
    loop {
        let answer = appliance.server.send(&Request::new("GET", &path).token(&appliance.admin))?;
        if answer.status == 200 {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "the keeper does not come: {}", answer.body);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Many small files, and between them those that are asked for, all over the disk.
fn fill(image: &DiskImage, work: &Path, disk_bytes: u64) -> Result<Vec<(String, Vec<u8>)>> {
    let (directory, mut random) = (work.join("mounted"), Random::seeded(11));
    fs::create_dir(&directory)?;
    let _mount = image.mount(1, &directory, "")?;
    let (mut wanted, mut piece) = (Vec::new(), vec![0; 16 << 10]);
    for number in 0..DIRECTORIES {
        let within = directory.join(format!("var/data/{number:03}"));
        fs::create_dir_all(&within)?;
        for file in 0..FILES_EACH {
            random.fill(&mut piece);
            fs::write(within.join(format!("small-{file}")), &piece)?;
        }
        if number % (DIRECTORIES / (2 * ROUNDS)) == 0 {
            let mut content = vec![0; FILE_BYTES];
            random.fill(&mut content);
            fs::write(within.join("wanted"), &content)?;
            wanted.push((format!("/var/data/{number:03}/wanted"), content));
        }
    }
    // A file of holes with a little at its end makes the disk as large as it says.
    let sparse = File::create(directory.join("sparse"))?;
    sparse.write_all_at(&piece, disk_bytes / 2)?;
    sparse.sync_all()?;
    ensure!(e2e::free_bytes(&directory)? > MIB, "the disk is full");
    Ok(wanted)
}

/// Asks as the page does; seconds to the first and to the last byte.
fn click(appliance: &Appliance, id: &str, path: &str, content: &[u8]) -> Result<(f64, f64)> {
    let url = format!("/api/v1/recovery-points/{id}/content?partition=1&path={path}");
    let (head, body) = Request::new("GET", &url).token(&appliance.admin).bytes();
    let began = Instant::now();
    let mut connection = http::connect(&appliance.server.address()?)?;
    connection.write_all(&[head, body].concat())?;
    let mut answer = Vec::new();
    let mut first_s = None;
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = connection.read(&mut piece)?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..read]);
        let has_body = answer.windows(4).position(|end| end == b"\r\n\r\n").is_some_and(|end| end + 4 < answer.len());
        if first_s.is_none() && has_body {
            first_s = Some(began.elapsed().as_secs_f64());
        }
    }
    let whole_s = began.elapsed().as_secs_f64();
    let answer = http::Response::read(&answer[..])?.expect(200)?;
    ensure!(answer.bytes == content, "what came of {path} differs");
    Ok((first_s.context("nothing came")?, whole_s))
}
