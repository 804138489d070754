//! The emulated machine with its disks. Its root is a layer over the image in the cache; all of it ends with the machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::guest::kernel::Kernel;
use crate::guest::{EMULATOR, Running};
use crate::interrupt;

/// Sparse disks of the machine's own: serial number and size.
const DISKS: [(&str, u64); 2] = [("live", 2 << 30), ("repository", 8 << 30)];

/// A tour under emulation on a busy host.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// A machine that has not been started yet.
pub struct Machine {
    directory: PathBuf,
    arguments: Vec<String>,
}

impl Machine {
    /// Makes the disks. `images` are the first stage, the root and the parts.
    pub fn new(directory: &Path, kernel: &Kernel, images: [&Path; 3], purpose: &str) -> Result<Self> {
        let [stage, root, parts] = images;
        let layer = directory.join("root.qcow2");
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(root).arg(&layer);
        e2e::capture(&mut create)?;
        // `loglevel=4`: the console belongs to the person. `panic=-1`: a panic ends the machine.
        let append = format!(
            "console=ttyS0,115200 loglevel=4 systemd.show_status=false oops=panic panic=-1 no_timer_check clocksource=hpet \
             rcupdate.rcu_expedited=1 random.trust_cpu=on mitigations=off audit=0 icecore.vm={purpose}"
        );
        let fixed =
            "-accel tcg,thread=multi -cpu max -smp 2 -m 2G -machine q35 -nodefaults -no-user-config -display none";
        let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
        let text = |path: &Path| path.display().to_string();
        arguments.extend(["-kernel".into(), text(kernel.image()), "-initrd".into(), text(stage)]);
        arguments.extend(["-append".into(), append]);
        let mut drive = |serial: &str, options: &str| {
            arguments.extend(["-drive".into(), format!("if=none,id={serial},cache=unsafe,discard=unmap,{options}")]);
            arguments.extend(["-device".into(), format!("virtio-blk-pci,drive={serial},serial={serial}")]);
        };
        drive("root", &format!("format=qcow2,file={}", text(&layer)));
        drive("parts", &format!("format=raw,readonly=on,file={}", text(parts)));
        for (serial, size_bytes) in DISKS {
            let image = directory.join(format!("{serial}.img"));
            File::create(&image)?.set_len(size_bytes).with_context(|| format!("cannot make {}", image.display()))?;
            drive(serial, &format!("format=raw,file={}", text(&image)));
        }
        Ok(Self { directory: directory.to_owned(), arguments })
    }

    /// Gives the console to the person.
    pub fn interact(&self) -> Result<()> {
        let mut command = self.command();
        command.args(["-serial", "mon:stdio", "-serial", "null"]);
        ensure!(command.status().with_context(|| format!("cannot start {EMULATOR}"))?.success(), "the emulator failed");
        Ok(())
    }

    /// Runs to the machine's end and returns its events; `watch` sees all so far, several times a second.
    pub fn run(&self, mut watch: impl FnMut(&str)) -> Result<String> {
        let (console, events) = (self.directory.join("console.log"), self.directory.join("events.log"));
        let mut command = self.command();
        command.args(["-no-reboot", "-monitor", "none"]);
        for log in [&console, &events] {
            command.args(["-serial", &format!("file:{}", log.display())]);
        }
        let messages = File::create(self.directory.join("qemu.log"))?;
        command.stdin(Stdio::null()).stdout(messages.try_clone()?).stderr(messages);
        let mut child = Running(command.spawn().with_context(|| format!("cannot start {EMULATOR}"))?);
        let deadline = Instant::now() + LIMIT;
        let text =
            || std::fs::read(&events).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        while child.0.try_wait()?.is_none() {
            interrupt::check()?;
            ensure!(Instant::now() < deadline, "the machine did not end within {} minutes", LIMIT.as_secs() / 60);
            watch(&text());
            // The child's end is no event that could be waited for together with a growing file.
            std::thread::sleep(Duration::from_millis(200));
        }
        watch(&text());
        Ok(text())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(EMULATOR);
        command.args(&self.arguments);
        command
    }
}
