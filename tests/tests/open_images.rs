//! Images that a running program has open, as a virtual machine has its disk: backups and restores by the finished program.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use e2e::{Icecore, MIB, tool_exists};

/// A program that keeps a file open.
struct Holder(Child);

impl Holder {
    /// A shell, which only opens the file.
    fn shell(image: &Path, redirection: &str) -> Result<Self> {
        let script = format!("exec 3{redirection}\"$1\"; echo ready; read _");
        Self::ready(Command::new("sh").args(["-c", &script, "holder"]).arg(image))
    }

    /// qemu's own code for disks, which opens it for writing and locks it.
    fn qemu(image: &Path) -> Result<Self> {
        let storage = format!("driver=file,node-name=disk,filename={}", image.display());
        let path = format!(
            "type=vhost-user-blk,id=e,node-name=disk,writable=on,addr.type=unix,addr.path={}",
            image.with_extension("sock").display()
        );
        let mut daemon = Command::new("qemu-storage-daemon");
        daemon.args(["--blockdev", &storage, "--export", &path]);
        let child = daemon.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let holder = Self(child);
        // Its socket is there after the image is open.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !image.with_extension("sock").exists() {
            ensure!(std::time::Instant::now() < deadline, "qemu-storage-daemon does not start");
            std::thread::yield_now();
        }
        Ok(holder)
    }

    fn ready(program: &mut Command) -> Result<Self> {
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("piped above").read_exact(&mut ready)?;
        Ok(Self(child))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn image(icecore: &Icecore) -> Result<PathBuf> {
    let path = icecore.dir().join("vm.img");
    let file = File::create(&path)?;
    file.set_len(8 * MIB)?;
    file.write_all_at(&[7; 100_000], MIB)?;
    Ok(path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("ASCII path")
}

fn consistency_of_the_newest(icecore: &Icecore) -> Result<String> {
    let points = icecore.json(["list"])?;
    let newest = points.as_array().and_then(|points| points.last()).expect("there is a point");
    Ok(newest["consistency"].as_str().unwrap_or_default().to_owned())
}

/// Backs up and restores while `holder` has the image open for writing, and says which words its refusals must have.
fn is_refused_without_a_knowing_yes(icecore: &Icecore, image: &Path, words: &str) -> Result<()> {
    let failure = icecore.fail(["backup", text(image), "--name", "vm"])?;
    ensure!(failure.stderr.contains(words) && failure.stderr.contains("--allow-live"), "{}", failure.stderr);
    icecore.run(["backup", text(image), "--name", "vm", "--allow-live"])?;
    assert_eq!(consistency_of_the_newest(icecore)?, "not_consistent");
    let before = fs::read(image)?;
    for how in ["--overwrite", "--delta"] {
        let failure = icecore.fail(["restore", "latest", "--to", text(image), how])?;
        ensure!(failure.stderr.contains("in use") && failure.stderr.contains(words), "{}", failure.stderr);
    }
    assert!(fs::read(image)? == before, "nothing was written");
    Ok(())
}

/// The machine did not write while its disk was read, and the point was called "offline".
#[test]
fn an_image_that_is_open_for_writing_needs_a_knowing_yes() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let image = image(&icecore)?;
    let holder = Holder::shell(&image, "<>")?;
    is_refused_without_a_knowing_yes(&icecore, &image, "is open for writing in sh")?;
    drop(holder);
    icecore.run(["backup", text(&image), "--name", "vm"])?;
    assert_eq!(consistency_of_the_newest(&icecore)?, "offline");
    icecore.run(["restore", "latest", "--to", text(&image), "--delta"])?;
    Ok(())
}

#[test]
fn an_image_that_is_only_read_is_backed_up_and_not_overwritten() -> Result<()> {
    let icecore = Icecore::with_repository()?;
    let image = image(&icecore)?;
    let _holder = Holder::shell(&image, "<")?;
    icecore.run(["backup", text(&image), "--name", "vm"])?;
    assert_eq!(consistency_of_the_newest(&icecore)?, "offline");
    let failure = icecore.fail(["restore", "latest", "--to", text(&image), "--overwrite"])?;
    assert!(failure.stderr.contains("is open for reading in sh"), "{}", failure.stderr);
    Ok(())
}

#[test]
fn a_disk_of_qemu_needs_a_knowing_yes() -> Result<()> {
    if !tool_exists("qemu-storage-daemon") {
        println!("needs qemu-storage-daemon");
        return Ok(());
    }
    let icecore = Icecore::with_repository()?;
    let image = image(&icecore)?;
    let _holder = Holder::qemu(&image)?;
    is_refused_without_a_knowing_yes(&icecore, &image, "is open for writing in qemu")
}
