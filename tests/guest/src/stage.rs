//! The first program of the virtual machine: loads what the root file system is read with, mounts it, hands over to its init.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::{FileExt, chroot};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use crate::{disk, kernel_module};

/// Where the root file system is mounted before it becomes the root.
const ROOT: &str = "/root";
/// The disks that may be the root, and the parts.
const DISKS: [&str; 3] = ["root", "parts", "restored"];
/// On a busy host under emulation.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of an ext4 superblock: where, and which bytes (fs/ext4/ext4.h, `s_magic`).
const EXT4_MAGIC_AT: u64 = 1024 + 0x38;
const EXT4_MAGIC: [u8; 2] = [0x53, 0xEF];
/// Says that this is not a test guest; the host puts it into the archive.
const MARK: &str = "/stage";

/// Whether the machine has a root file system to hand over to.
pub fn is_wanted() -> bool {
    Path::new(MARK).exists()
}

/// Never returns: the machine goes on with Debian, or ends with the reason on its console.
pub fn run() -> ! {
    let Err(error) = hand_over();
    println!("stage: {error:?}");
    let Err(errno) = reboot(RebootMode::RB_POWER_OFF);
    println!("stage: cannot power off: {errno}");
    loop {
        std::thread::park();
    }
}

fn hand_over() -> Result<Infallible> {
    for (kind, place) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        std::fs::create_dir_all(place)?;
        let mounted = mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>);
        // The kernel mounts /dev by itself where it is configured so.
        if mounted != Err(nix::Error::EBUSY) {
            mounted.with_context(|| format!("cannot mount {kind}"))?;
        }
    }
    kernel_module::load_at_boot()?;
    DISKS.iter().try_for_each(|serial| wait_for(serial))?;
    attach(root_disk()?, ROOT, MsFlags::MS_RDONLY)?;
    attach("parts", "/root/parts", MsFlags::MS_RDONLY)?;
    // Module files come with the parts; a layer in memory takes the lists that depmod makes of them.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let modules = format!("/root/usr/lib/modules/{}", release.trim());
    mount(Some("tmpfs"), "/root/usr/lib/modules", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    copy_tree(Path::new(&modules.replace("/root/usr", "/root/parts")), Path::new(&modules))?;
    for place in ["/dev", "/proc", "/sys"] {
        let target = format!("{ROOT}{place}");
        mount(Some(place), target.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("cannot move {place}"))?;
    }
    std::env::set_current_dir(ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("cannot make it the root")?;
    chroot(".")?;
    std::env::set_current_dir("/")?;
    let status = Command::new("/sbin/depmod").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").status();
    ensure!(status.context("cannot start depmod")?.success(), "depmod failed");
    let init = CString::new("/sbin/init")?;
    nix::unistd::execv(&init, std::slice::from_ref(&init)).context("cannot start /sbin/init")
}

/// Drivers look for their disks in the background.
fn wait_for(serial: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while disk::node_of(serial).is_err() && Instant::now() < deadline {
        nix::poll::poll(&mut [], 20_u16)?;
    }
    disk::node_of(serial).map(drop)
}

/// The disk `restored` once something was restored to it, else `root`.
fn root_disk() -> Result<&'static str> {
    let node = disk::node_of("restored")?;
    let mut magic = [0; 2];
    File::open(&node)?.read_exact_at(&mut magic, EXT4_MAGIC_AT).context("cannot look at the disk `restored`")?;
    Ok(if magic == EXT4_MAGIC { "restored" } else { "root" })
}

fn attach(serial: &str, place: &str, flags: MsFlags) -> Result<()> {
    std::fs::create_dir_all(place).or_else(|error| if Path::new(place).is_dir() { Ok(()) } else { Err(error) })?;
    let node = disk::node_of(serial)?;
    mount(Some(node.as_path()), place, Some("ext4"), flags, None::<&str>)
        .with_context(|| format!("cannot mount the disk {serial}"))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
