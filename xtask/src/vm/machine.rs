//! The emulated machine with its disks. Its root is a layer over the image in the cache; all of it ends with the machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::guest::{self, EMULATOR, Ended};

/// Sparse disks of the machine's own: serial number and size.
const DISKS: [(&str, u64); 5] =
    [("live", 2 << 30), ("repository", 8 << 30), ("spare", 256 << 20), ("second", 512 << 20), ("restored", 4 << 30)];

/// What the machine does when its system restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarts {
    /// It boots again, with its disks as they are.
    Allowed,
    /// It ends.
    End,
}

/// A machine that has not been started yet.
pub struct Machine {
    directory: PathBuf,
    arguments: Vec<String>,
}

impl Machine {
    /// Makes the disks. `images` are the kernel, the first stage, the root and the parts; `purpose` is for the kernel's command line.
    pub fn new(directory: &Path, images: [&Path; 4], purpose: &str) -> Result<Self> {
        let [kernel, stage, root, parts] = images;
        let layer = directory.join("root.qcow2");
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(root).arg(&layer);
        e2e::capture(&mut create)?;
        // `loglevel=4`: the console belongs to the person. `panic=-1`: a panic ends the machine.
        let append = format!(
            "console=ttyS0,115200 loglevel=4 systemd.show_status=false oops=panic panic=-1 no_timer_check clocksource=hpet \
             rcupdate.rcu_expedited=1 random.trust_cpu=on mitigations=off audit=0 {purpose}"
        );
        let fixed =
            "-accel tcg,thread=multi -cpu max -smp 2 -m 2G -machine q35 -nodefaults -no-user-config -display none";
        let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
        let text = |path: &Path| path.display().to_string();
        arguments.extend(["-kernel".into(), text(kernel), "-initrd".into(), text(stage)]);
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

    /// Runs to the machine's end; `watch` sees all events so far, several times a second.
    pub fn run(&self, restarts: Restarts, limit: Duration, watch: impl FnMut(&str)) -> Result<Ended> {
        let mut command = self.command();
        command.args(["-monitor", "none"]);
        if restarts == Restarts::End {
            command.arg("-no-reboot");
        }
        for log in ["console.log", "events.log"] {
            command.args(["-serial", &format!("file:{}", self.directory.join(log).display())]);
        }
        guest::watched(command, &self.directory, limit, watch)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(EMULATOR);
        command.args(&self.arguments);
        command
    }
}
