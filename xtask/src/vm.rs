//! Debian 13 with our kernel module in an emulated machine: for hosts whose kernel cannot load it (`cargo xtask run --vm`, `tour --vm`)
//! and for the scenarios that need a whole system (`cargo xtask guest debian/`).
//!
//! This file is the order of events. `root` is the machine's root file system, `parts` the disk with what is built now, `machine`
//! the emulator; what the machine does is in `tests/guest/src/vm`.

mod machine;
mod parts;
mod root;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::guest::{self, Boot, Ended, cpio::Archive, kernel::Kernel, kernel::normalised};
use crate::setup;
use crate::tour::summary::{Proof, RecoveryPoint, Summary};
use crate::tour::work_dir;
use machine::{Machine, Restarts};

/// What the first program loads to find the machine's disks.
const FOR_THE_ROOT: [&str; 3] = ["virtio_pci", "virtio_blk", "ext4"];

/// Boot, set-up and end under emulation on a busy host.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
const TOUR_LIMIT: Duration = Duration::from_secs(40 * 60);

/// Room for the disks of a machine at the end of a tour.
const NEEDED_BYTES: u64 = 6 << 30;

/// Boots a machine to play with; returns when it is powered off.
pub fn play(consent: setup::Consent) -> Result<()> {
    let prepared = Prepared::with_own_kernel(consent)?;
    eprintln!("Booting; a minute or so. `poweroff` ends the machine, Ctrl-A X ends the emulator at once.");
    prepared.machine("icecore.vm=play")?.interact()
}

/// Runs the scenarios of a boot; the machine's logs are left in `place`.
pub fn attend(
    kernel: &Kernel,
    boot: &Boot,
    place: &Path,
    consent: setup::Consent,
    watch: impl FnMut(&str),
) -> Result<Ended> {
    let prepared = Prepared::new(kernel, consent)?;
    let names: Vec<&str> = boot.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    let limit = BOOT_LIMIT + Duration::from_secs(boot.limit_s() * kernel.patience());
    // All of the kernel's log goes to the console: the verdict looks there for trouble and for who caused it.
    let purpose = format!("loglevel=7 printk.devkmsg=on icecore.vm=scenarios icecore.plan={}", names.join(","));
    let machine = prepared.machine(&purpose)?;
    let ended = machine.run(Restarts::Allowed, limit, watch)?;
    for log in ["console.log", "events.log", "qemu.log"] {
        std::fs::copy(prepared.directory.path().join(log), place.join(log))?;
    }
    Ok(ended)
}

/// Plays the tour in a machine.
pub fn tour(consent: setup::Consent) -> Result<Summary> {
    let prepared = Prepared::with_own_kernel(consent)?;
    eprintln!("· Booting Debian 13 with the kernel module");
    let mut shown = 0;
    let ended = prepared.machine("icecore.vm=tour")?.run(Restarts::End, TOUR_LIMIT, |events| {
        let steps: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("say ")).collect();
        steps.iter().skip(shown).for_each(|step| eprintln!("· {step}"));
        shown = steps.len();
    });
    let result = ended.and_then(|ended| {
        ensure!(!ended.cut_off, "the machine did not end within {} minutes", TOUR_LIMIT.as_secs() / 60);
        summary_of(&ended.events)
    });
    result.map_err(|error| prepared.keep_console(error))
}

/// What the machine said at the end of the tour.
fn summary_of(events: &str) -> Result<Summary> {
    if let Some(reason) = events.lines().find_map(|line| line.strip_prefix("broken ")) {
        bail!("the tour failed in the machine: {reason}");
    }
    let result =
        events.lines().find_map(|line| line.strip_prefix("tour ")).context("the machine ended without a result")?;
    let result: Value = serde_json::from_str(result).context("the machine's result is no JSON")?;
    let number = |field: &str| result[field].as_u64().with_context(|| format!("the result lacks {field}"));
    let points = result["points"].as_array().context("the result has no points")?;
    let points =
        points.iter().map(|point| RecoveryPoint::from_list(point, Duration::ZERO)).collect::<Result<Vec<_>>>()?;
    ensure!(points.len() >= 2, "the result has {} points", points.len());
    let duration = |field: &str| Ok::<_, anyhow::Error>(Duration::from_millis(number(field)?));
    // A point that was not what it should be ends the machine with an error, see above.
    let proof = Proof { check: duration("check_ms")?, restore: duration("restore_ms")?, restored_equal: true };
    Ok(Summary { size_bytes: number("size_bytes")?, what: "a live ext4 under constant writes".into(), points, proof })
}

/// Everything that a machine is booted from.
struct Prepared {
    directory: TempDir,
    kernel: PathBuf,
    root: PathBuf,
    parts: PathBuf,
    stage: PathBuf,
}

impl Prepared {
    fn with_own_kernel(consent: setup::Consent) -> Result<Self> {
        let given = std::env::var_os("ICECORE_GUEST_KERNEL").map(PathBuf::from);
        Self::new(&guest::find_kernel(given.as_deref(), false, consent)?, consent)
    }

    fn new(kernel: &Kernel, consent: setup::Consent) -> Result<Self> {
        setup::install(setup::Purpose::Vm, consent)?;
        ensure!(kernel.has_own_modules(), "there is no kernel module for this kernel");
        let program = guest::build_program()?;
        let root = root::image()?;
        let directory = work_dir("vm", NEEDED_BYTES)?;
        let parts = parts::image(directory.path(), kernel, &program)?;
        let stage = directory.path().join("stage.cpio");
        std::fs::write(&stage, first_stage(kernel, &program)?)?;
        Ok(Self { directory, kernel: kernel.image().to_owned(), root, parts, stage })
    }

    fn machine(&self, purpose: &str) -> Result<Machine> {
        Machine::new(self.directory.path(), [&self.kernel, &self.stage, &self.root, &self.parts], purpose)
    }

    /// What the machine printed outlives it when something went wrong.
    fn keep_console(&self, error: anyhow::Error) -> anyhow::Error {
        let place = crate::workspace::root().join("target/vm-console.log");
        match std::fs::copy(self.directory.path().join("console.log"), &place) {
            Ok(_) => error.context(format!("the machine's console is in {}", place.display())),
            Err(_) => error,
        }
    }
}

/// The archive that the kernel starts with.
fn first_stage(kernel: &Kernel, program: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["dev", "proc", "sys", "root"] {
        archive.directory(name)?;
    }
    archive.program("init", &std::fs::read(program)?)?;
    archive.file("stage", b"")?;
    let mut order = String::new();
    for module in kernel.modules_named(&FOR_THE_ROOT)? {
        archive.file(&format!("modules/files/{}.ko", module.name), &module.content)?;
        order.push_str(&[std::slice::from_ref(&module.name), &module.needs].concat().join(" "));
        order.push('\n');
    }
    archive.file("modules/order", order.as_bytes())?;
    archive.file("modules/boot", FOR_THE_ROOT.map(normalised).join("\n").as_bytes())?;
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::summary_of;

    const POINT: &str = r#"{"id":"a","name":"live","kind":"full","bytes_source":8,"bytes_changed":8,"bytes_read":4,"bytes_stored":2,"duration_ms":9}"#;

    #[test]
    fn the_result_is_what_the_machine_said_last() {
        let events = format!(
            r#"say x
tour {{"points":[{POINT},{POINT}],"restore_ms":5,"check_ms":6,"size_bytes":8}}
end 1 0
"#
        );
        let summary = summary_of(&events).expect("a complete result");
        assert_eq!(summary.json()["points"][1]["duration_ms"], 9);
        assert_eq!(summary.json()["restored_equal"], true);
    }

    #[test]
    fn a_machine_that_broke_or_said_nothing_is_an_error() {
        let text = |events: &str| format!("{:#}", summary_of(events).err().expect("no result"));
        assert!(text("say x\nbroken point 3 is not an instant\n").contains("point 3"));
        assert!(text("say x\n").contains("without a result"));
        assert!(text("tour {}\n").contains("lacks") || text("tour {}\n").contains("no points"));
    }
}
