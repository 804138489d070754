//! The README's first backup of a volume in use, run as it is printed there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::direct::DirectFile;
use crate::disk::Disk;
use crate::mount::Mount;
use crate::registry::Scenario;
use crate::scenario::file_system::{Files, ensure_files, wait_for, write_files};
use crate::scenario::stack::Loop;
use crate::tool;

/// The area's scenarios.
pub const SCENARIOS: &[Scenario] =
    &[Scenario::new("readme/first_backup", "the README's commands back up a mounted logical volume", first_backup)
        .with_stock_kernel()
        .within_s(300)];

const README: &str = include_str!("../../../../README.md");
/// As many as the volume holds.
const FILES: u64 = 600;
const PASSPHRASE: &str = "correct horse battery staple";

/// The lines of the shell blocks of README in which one of `words` stands.
fn commands(words: &[&str]) -> Result<Vec<&'static str>> {
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let wanted: Vec<&str> = blocks.filter(|block| words.iter().any(|word| block.contains(word))).collect();
    ensure!(wanted.len() == words.len(), "README.md shows {} blocks with {words:?}", wanted.len());
    Ok(wanted.into_iter().flat_map(str::lines).filter(|line| !line.trim().is_empty()).collect())
}

/// A shell as far as README needs one. The guest has no sudo, everybody in it is root.
struct Shell {
    variables: Vec<(String, String)>,
}

impl Shell {
    fn run(&mut self, line: &str) -> Result<()> {
        let line = line.split(" #").next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().skip_while(|word| ["sudo", "-E"].contains(word)).collect();
        match words.as_slice() {
            ["export", assignment] => {
                let (name, value) = assignment.split_once('=').context("an export without a value")?;
                self.variables.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
            [program, args @ ..] => self.start(program, args).with_context(|| format!("README's `{line}`")),
            [] => Ok(()),
        }
    }

    fn start(&self, program: &str, args: &[&str]) -> Result<()> {
        let mut command = Command::new(program);
        command.args(args).current_dir("/tmp").env("HOME", "/tmp").env("ICECORE_PASSPHRASE", PASSPHRASE);
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("cannot start {program}"))?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", output.status);
        Ok(())
    }
}

/// What README takes for granted: `vg0/root`, mounted, with five GiB to spare.
struct Machine {
    volume: Option<Mount>,
    disk: Option<Loop>,
}

const DISK_FILE: &str = "/tmp/vg0.img";
const SNAPSHOT: &str = "/dev/vg0/root-snap";

impl Machine {
    fn new() -> Result<Self> {
        std::fs::File::create(DISK_FILE)?.set_len(6 << 30)?;
        let disk = Loop::attach(Path::new(DISK_FILE))?;
        let node = disk.node().to_string_lossy().into_owned();
        let mut machine = Self { volume: None, disk: Some(disk) };
        tool::run("lvm", &["pvcreate", "-ff", "-y", &node])?;
        tool::run("lvm", &["vgcreate", "vg0", &node])?;
        tool::run("lvm", &["lvcreate", "-y", "-Wn", "-L", "128M", "-n", "root", "vg0"])?;
        tool::run("mkfs.ext4", &["-q", "-F", "/dev/vg0/root"])?;
        machine.volume = Some(Mount::new(Path::new("/dev/vg0/root"), "root", "ext4", "")?);
        Ok(machine)
    }

    fn root(&self) -> Result<&Path> {
        Ok(self.volume.as_ref().context("the volume is not mounted")?.root())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.volume = None;
        let _ = tool::run("lvm", &["vgremove", "-ff", "-y", "vg0"]);
        self.disk = None;
        let _ = std::fs::remove_file(DISK_FILE);
    }
}

fn first_backup() -> Result<()> {
    let lines = commands(&["export ICECORE_REPO=", "lvcreate"])?;
    let shows = |part: &str| lines.iter().any(|line| line.contains(part));
    ensure!(shows("backup /dev/vg0/root-snap") && shows("lvremove"), "README.md shows another way: {lines:?}");
    let machine = Machine::new()?;
    tool::run("mkfs.ext4", &["-q", "-F", &Disk::Store.node()?.to_string_lossy()])?;
    let repository = Mount::new(&Disk::Store.node()?, "backup", "ext4", "")?;
    // README's second disk, which is in nobody's use.
    std::os::unix::fs::symlink(Disk::Scsi.node()?, "/dev/sdb")?;
    let (stop, durable) = (AtomicBool::new(false), AtomicU64::new(0));
    let root = machine.root()?;
    let seen = std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| write_files(root, Files::AtMost(FILES), &stop, &durable));
        let seen = wait_for(&durable, 20).and_then(|()| run_all(&lines, &durable));
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        seen
    });
    std::fs::remove_file("/dev/sdb")?;
    seen?;
    ensure!(!Path::new(SNAPSHOT).exists(), "README's commands leave the volume's snapshot");
    repository.unmount()?;
    drop(machine);
    Ok(())
}

fn run_all(lines: &[&str], durable: &AtomicU64) -> Result<()> {
    let mut shell = Shell { variables: Vec::new() };
    let mut count = None;
    for line in lines {
        if line.contains("lvcreate") {
            count = Some(durable.load(Ordering::Relaxed));
        }
        if line.contains("lvremove") {
            let Some(count) = count else { bail!("README.md removes a snapshot that it did not make") };
            ensure_restores(&shell, count)?;
        }
        shell.run(line)?;
    }
    Ok(())
}

/// What was backed up last is the snapshot, byte for byte, with every file that was durable before it.
fn ensure_restores(shell: &Shell, count: u64) -> Result<()> {
    const STEP_BYTES: usize = 1 << 20;
    let target = "/mnt/backup/restored.img";
    shell.start("icecore", &["restore", "latest", "--to", target])?;
    let (restored, snapshot) =
        (DirectFile::open_to_read(Path::new(target))?, DirectFile::open_to_read(Path::new(SNAPSHOT))?);
    for mebibyte in 0..128_u64 {
        let at = mebibyte << 20;
        let (restored, original) = (restored.read_new(at, STEP_BYTES)?, snapshot.read_new(at, STEP_BYTES)?);
        ensure!(restored.bytes() == original.bytes(), "what is restored differs within mebibyte {mebibyte}");
    }
    drop(restored);
    let device = Loop::attach(Path::new(target))?;
    let mount = Mount::new(device.node(), "restored", "ext4", "")?;
    ensure_files(mount.root(), 0..count)?;
    mount.unmount()?;
    drop(device);
    std::fs::remove_file(target)?;
    Ok(())
}
