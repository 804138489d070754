//! Process 1 of the guest: mounts, loads modules, runs the scenarios one after the other, ends the machine.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::MsFlags;
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use crate::pace::{self, FairTime};
use crate::registry::{self, Scenario};
use crate::report::{self, Report};
use crate::{cleanup, kernel_module};

/// The names that the host asked for, one a line.
const PLAN: &str = "/plan";
/// By what the host multiplies time limits.
const PATIENCE: &str = "/patience";
/// There when the machine boots again after a restart: then only switching it off ends it.
const RESTARTS: &str = "/restarts";
/// Where a kernel that looks for leaks is asked.
const LEAKS: &str = "/sys/kernel/debug/kmemleak";

/// Kernel file systems that need no module: type and place.
const MOUNTS: [(&str, &str); 7] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("debugfs", "/sys/kernel/debug"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// Settings that make trouble visible.
const SETTINGS: [(&str, &str); 3] = [
    ("/proc/sys/kernel/hung_task_warnings", "10"),
    ("/proc/sys/kernel/printk", "7 4 1 7"),
    // Two processors emulated on a shared host stall for seconds without any fault of the guest.
    ("/proc/sys/kernel/watchdog_thresh", "60"),
];

/// What became of one scenario.
enum Verdict {
    Passed,
    Failed(String),
    /// A wait of its own was too short; it saw nothing wrong.
    TooSlow(String),
    /// The time limit; nothing in this boot can be trusted any more.
    Late,
}

/// Never returns: the machine ends.
pub fn run() -> ! {
    if let Err(error) = work() {
        println!("guest: {error:?}");
        if let Ok(mut report) = Report::open() {
            let _ = report.say(&format!("broken {error:#}"));
        }
    }
    end()
}

fn work() -> Result<()> {
    MOUNTS.iter().try_for_each(|(kind, place)| mount(kind, place))?;
    let version = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut report = Report::open()?;
    report.say(&format!("kernel {}", version.trim()))?;
    let of_kernel: u32 = std::fs::read_to_string(PATIENCE)?.trim().parse().context("the host's patience")?;
    let patience = pace::patience_now(of_kernel);
    let hung_after_s = (60 * patience).to_string();
    for (path, value) in SETTINGS.into_iter().chain([("/proc/sys/kernel/hung_task_timeout_secs", &*hung_after_s)]) {
        if Path::new(path).exists() {
            std::fs::write(path, value).with_context(|| format!("cannot set {path}"))?;
        }
    }
    kernel_module::load_at_boot()?;
    mount("configfs", "/sys/kernel/config")?;
    let plan = std::fs::read_to_string(PLAN).context("the host gave no plan")?;
    let (mut passed, mut failed) = (0, 0);
    for name in plan.lines() {
        let scenario = registry::find(name).with_context(|| format!("the host asks for {name}, which is unknown"))?;
        match attend(&mut report, scenario, patience)? {
            Verdict::Passed => passed += 1,
            Verdict::Failed(_) | Verdict::TooSlow(_) => failed += 1,
            Verdict::Late => return Ok(()),
        }
    }
    look_for_leaks()?;
    report.say(&format!("end {passed} {failed}"))
}

/// The kernel reports what it finds in its log, where the host sees it. What was freed lately only looks lost, so it looks twice.
fn look_for_leaks() -> Result<()> {
    if Path::new(LEAKS).exists() {
        for _ in 0..2 {
            std::fs::write(LEAKS, "scan").context("cannot look for leaks")?;
            nix::poll::poll(&mut [], 6000_u16)?;
        }
        print!("{}", std::fs::read_to_string(LEAKS)?);
    }
    Ok(())
}

fn mount(kind: &str, place: &str) -> Result<()> {
    std::fs::create_dir_all(place).with_context(|| format!("cannot make {place}"))?;
    let mounted = nix::mount::mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>);
    // The kernel mounts /dev by itself where it is configured so.
    if mounted != Err(nix::Error::EBUSY) {
        mounted.with_context(|| format!("cannot mount {kind} on {place}"))?;
    }
    Ok(())
}

fn attend(report: &mut Report, scenario: &Scenario, patience: u32) -> Result<Verdict> {
    let name = scenario.name;
    report.say(&format!("begin {name}"))?;
    report::mark(&format!("begin {name}"));
    let started = Instant::now();
    let mut verdict = run_as_child(scenario, patience)?;
    if matches!(verdict, Verdict::Passed)
        && let Some(left) = cleanup::leftovers()?
    {
        verdict = Verdict::Failed(format!("it leaves {left}"));
    }
    let elapsed_ms = started.elapsed().as_millis();
    report::mark(&format!("done {name}"));
    report.say(&match &verdict {
        Verdict::Passed => format!("ok {name} {elapsed_ms}"),
        Verdict::Failed(reason) => format!("fail {name} {elapsed_ms} {reason}"),
        Verdict::TooSlow(reason) => format!("slow {name} {elapsed_ms} {reason}"),
        Verdict::Late => format!("late {name} {elapsed_ms}"),
    })?;
    Ok(verdict)
}

fn run_as_child(scenario: &Scenario, patience: u32) -> Result<Verdict> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["run", scenario.name]).env_clear().envs([
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LVM_SYSTEM_DIR", "/etc/lvm"),
        ("DM_DISABLE_UDEV", "1"),
        ("MDADM_NO_UDEV", "1"),
        ("RUST_BACKTRACE", "1"),
        (pace::VARIABLE, &patience.to_string()),
    ]);
    // A group of its own, so that its own children end with it.
    let mut child = command.process_group(0).spawn().context("cannot start the scenario")?;
    let mut left = FairTime::of(Duration::from_secs(scenario.limit_s) * patience);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(verdict(status));
        }
        reap_orphans(child.id());
        if left.is_over() {
            give_up(&mut child);
            return Ok(Verdict::Late);
        }
        nix::poll::poll(&mut [], 20_u8)?;
    }
}

fn verdict(status: ExitStatus) -> Verdict {
    let reason = report::take_reason();
    let reason = reason.unwrap_or_else(|| format!("it ended with {status}"));
    match status.code() {
        Some(0) => Verdict::Passed,
        Some(code) if code == i32::from(pace::TOO_SLOW) => Verdict::TooSlow(reason),
        _ => Verdict::Failed(reason),
    }
}

/// Takes what processes leave whose parent has ended: until then their numbers are in use, and a database takes one for its own server.
fn reap_orphans(child: u32) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, flags) {
        // The scenario itself is waited for by others.
        let Some(orphan) = status.pid().filter(|pid| u32::try_from(pid.as_raw()) != Ok(child)) else { return };
        if waitpid(orphan, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}

/// Shows where everybody waits, then ends the scenario.
fn give_up(child: &mut Child) {
    for request in ["w", "t"] {
        let _ = std::fs::write("/proc/sysrq-trigger", request);
    }
    // The console is written behind our back; what is not out when the machine ends is lost.
    let _ = nix::poll::poll(&mut [], 4000_u16);
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Ends the machine at once, without waiting for anything that may hang.
fn end() -> ! {
    if Path::new(RESTARTS).exists() {
        let _ = nix::sys::reboot::reboot(RebootMode::RB_POWER_OFF);
    }
    let _ = std::fs::write("/proc/sysrq-trigger", "b");
    let _ = ensure_reboot();
    loop {
        std::thread::park();
    }
}

fn ensure_reboot() -> Result<()> {
    let never = nix::sys::reboot::reboot(RebootMode::RB_AUTOBOOT);
    ensure!(never.is_err(), "the machine goes on after its reboot");
    Ok(())
}
