//! The emulated machine: QEMU with its disks and serial ports, never with the host's processor.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::databases;
use super::kernel::Kernel;
use super::plan::Boot;
use crate::interrupt;

/// The emulator.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// Boot and end of a machine under emulation.
const BOOT_LIMIT_S: u64 = 180;
/// A machine on a busy host gets so many times as long until it is ended from outside. Its init ends what hangs long before that.
const BUSY_HOST: u64 = 4;
const DISK_BYTES: u64 = 1 << 30;

/// What QEMU calls a disk's interface.
struct DiskKind {
    /// Serial number; `tests/guest/src/disk.rs` looks for it.
    serial: &'static str,
    device: &'static str,
}

const DISKS: [DiskKind; 5] = [
    DiskKind { serial: "first", device: "virtio-blk-pci" },
    DiskKind { serial: "second", device: "virtio-blk-pci" },
    DiskKind { serial: "four-kib", device: "virtio-blk-pci,logical_block_size=4096,physical_block_size=4096" },
    DiskKind { serial: "store", device: "virtio-blk-pci" },
    DiskKind { serial: "scsi", device: "scsi-hd,bus=scsi.0" },
];

/// `oops=panic`: nothing after an oops can be trusted. `panic=-1` with `-no-reboot`: a panic ends the machine.
/// `no_timer_check`: the emulated timer is late on a busy host, which is no fault of the guest. `rcu_expedited`: a TAKE waits
/// for several grace periods, each of which takes long under emulation. `rcu_cpu_stall_timeout`, `workqueue.watchdog_thresh`: an emulated
/// processor that the host does not run for half a minute is no stall of the guest. `memmap`: a persistent memory for `refuse/dax`.
/// `no5lvl`: while a kernel finds out about its processor it forgets for a moment that it has five levels of page tables, and
/// KASAN takes an interrupt's memory for wild.
const KERNEL_ARGUMENTS: &str = "console=ttyS0,115200 oops=panic panic=-1 no_timer_check clocksource=hpet \
     rcupdate.rcu_expedited=1 rcupdate.rcu_cpu_stall_timeout=120 workqueue.watchdog_thresh=120 \
     random.trust_cpu=on mitigations=off audit=0 no5lvl memmap=64M!1536M";

/// How the machine is emulated. Never by another accelerator: a nested /dev/kvm may open and then fail in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulation {
    /// Two processors, as fast as they go.
    Parallel,
    /// One processor whose time stamp counter counts instructions, and nothing else.
    Counting,
}

impl Emulation {
    fn arguments(self) -> &'static str {
        match self {
            Self::Parallel => "-accel tcg,thread=multi -smp 2 -m 2G",
            Self::Counting => "-accel tcg -icount shift=0,sleep=off -smp 1 -m 4G",
        }
    }
}

/// A machine that has not been started yet.
pub struct Machine {
    directory: PathBuf,
    arguments: Vec<String>,
    limit: Duration,
}

/// How the machine ended.
pub struct Ended {
    /// Everything on the first serial port: the kernel's log and what scenarios printed.
    pub console: String,
    /// What the guest's init said on the second one.
    pub events: String,
    /// The machine had to be ended from outside.
    pub cut_off: bool,
    /// The emulator did not end by itself but was killed or fell over: a machine that panics or restarts ends it in order.
    pub emulator_died: bool,
}

impl Machine {
    /// Makes the disks (sparse, empty) and puts the command line together.
    pub fn new(directory: &Path, kernel: &Kernel, initramfs: &Path, boot: &Boot, emulation: Emulation) -> Result<Self> {
        let path = |name: &str| directory.join(name).display().to_string();
        let fixed = "-cpu max -machine q35 -nodefaults -no-user-config -display none -monitor none \
                     -device virtio-scsi-pci,id=scsi";
        let words = emulation.arguments().split_whitespace().chain(fixed.split_whitespace());
        let mut arguments: Vec<String> = words.map(str::to_owned).collect();
        let mut add = |words: &[String]| arguments.extend_from_slice(words);
        if !boot.over_restarts() {
            add(&["-no-reboot".to_owned()]);
        }
        add(&["-kernel".to_owned(), kernel.image().display().to_string()]);
        add(&["-initrd".to_owned(), initramfs.display().to_string()]);
        add(&["-append".to_owned(), KERNEL_ARGUMENTS.split_whitespace().collect::<Vec<_>>().join(" ")]);
        add(&["-serial".to_owned(), format!("file:{}", path("console.log"))]);
        add(&["-serial".to_owned(), format!("file:{}", path("events.log"))]);
        for DiskKind { serial, device } in DISKS {
            let image = path(&format!("{serial}.img"));
            File::create(&image)?.set_len(DISK_BYTES).with_context(|| format!("cannot make {image}"))?;
            add(&["-drive".to_owned(), drive(serial, &image)]);
            add(&["-device".to_owned(), format!("{device},drive={serial},serial={serial}")]);
        }
        if boot.needs_databases() {
            let image = databases::image()?.display().to_string();
            add(&["-drive".to_owned(), format!("{},readonly=on", drive("databases", &image))]);
            add(&["-device".to_owned(), "virtio-blk-pci,drive=databases,serial=databases".to_owned()]);
        }
        let limit = Duration::from_secs((BOOT_LIMIT_S + boot.limit_s()) * kernel.patience() * BUSY_HOST);
        Ok(Self { directory: directory.to_owned(), arguments, limit })
    }

    /// The command as it could be typed.
    pub fn command_line(&self) -> String {
        let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
        format!("{PROGRAM} {}", self.arguments.iter().map(quoted).collect::<Vec<_>>().join(" "))
    }

    /// Runs it to its end; `watch` sees all events so far, several times a second.
    pub fn run(&self, watch: impl FnMut(&str)) -> Result<Ended> {
        let mut command = Command::new(PROGRAM);
        command.args(&self.arguments);
        watched(command, &self.directory, self.limit, watch)
    }

    /// Deletes the disks; the logs stay.
    pub fn remove_disks(&self) -> Result<()> {
        for disk in DISKS {
            std::fs::remove_file(self.directory.join(format!("{}.img", disk.serial)))?;
        }
        Ok(())
    }
}

/// Runs an emulator whose serial ports are `console.log` and `events.log` in `directory`; its own messages go to `qemu.log` there.
pub fn watched(mut command: Command, directory: &Path, limit: Duration, mut watch: impl FnMut(&str)) -> Result<Ended> {
    let messages = File::create(directory.join("qemu.log"))?;
    command.stdin(Stdio::null()).stdout(messages.try_clone()?).stderr(messages);
    let mut child = Running(command.spawn().with_context(|| format!("cannot start {PROGRAM}"))?);
    let text = |name: &str| match std::fs::read(directory.join(name)) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    };
    let deadline = Instant::now() + limit;
    let (mut cut_off, mut emulator_died) = (false, false);
    loop {
        if let Some(status) = child.0.try_wait()? {
            emulator_died = !status.success();
            break;
        }
        interrupt::check()?;
        if Instant::now() >= deadline {
            cut_off = true;
            break;
        }
        watch(&text("events.log")?);
        // The child's end is no event that could be waited for together with a growing file.
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(child);
    watch(&text("events.log")?);
    Ok(Ended { console: text("console.log")?, events: text("events.log")?, cut_off, emulator_died })
}

/// Durability of the images means nothing: they end with the machine.
fn drive(id: &str, image: &str) -> String {
    format!("if=none,id={id},file={image},format=raw,cache=unsafe,discard=unmap")
}

/// The emulator's process; it does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
