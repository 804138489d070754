//! All scenarios: their names, what they prove, what they need. Not how they work; that is in `scenario/`.

use std::process::ExitCode;

use anyhow::Result;

use crate::pace::{self, TooSlow};
use crate::{debian, report, scenario};

/// One thing that is proved inside a guest.
pub struct Scenario {
    /// `area/fact`, unique; the host selects by it.
    pub name: &'static str,
    /// What a pass shows, as one sentence.
    pub proves: &'static str,
    needs_module: bool,
    needs_faults: bool,
    needs_databases: bool,
    needs_stock_kernel: bool,
    own_boot: bool,
    over_restarts: bool,
    needs_debian: bool,
    turn: Turn,
    /// Process 1 ends the scenario, and the boot with it, after this time.
    pub limit_s: u64,
    ending: Ending,
    run: fn() -> Result<()>,
}

/// How the boot in which a scenario runs must end.
#[derive(Clone, Copy)]
enum Ending {
    /// Without a report of the kernel.
    Clean,
    /// With a warning in the kernel's log: tests the harness.
    Warning,
    /// With a panic: tests the harness.
    Panic,
    /// With the time limit: tests the harness.
    TimeLimit,
    /// With an orderly restart that the scenario asks for.
    Restart,
}

/// When a scenario has its turn.
#[derive(Clone, Copy)]
enum Turn {
    /// In every run.
    Always,
    /// When the long ones are asked for.
    Soak,
    /// When costs are measured.
    Measurement,
}

impl Scenario {
    /// A scenario that needs only the stock kernel and shares its boot with others.
    pub const fn new(name: &'static str, proves: &'static str, run: fn() -> Result<()>) -> Self {
        Self {
            name,
            proves,
            needs_module: false,
            needs_faults: false,
            needs_databases: false,
            needs_stock_kernel: false,
            own_boot: false,
            over_restarts: false,
            needs_debian: false,
            turn: Turn::Always,
            limit_s: 120,
            ending: Ending::Clean,
            run,
        }
    }

    /// It needs the modules under test; the host leaves it out where there are none.
    pub const fn with_module(mut self) -> Self {
        self.needs_module = true;
        self
    }

    /// It needs the modules under test, and a kernel that can be told to fail allocations: the sanitizer kernel.
    pub const fn with_failing_allocations(mut self) -> Self {
        self.needs_module = true;
        self.needs_faults = true;
        self
    }

    /// It needs the modules under test, and the disk with the programs of databases.
    pub const fn with_databases(mut self) -> Self {
        self.needs_module = true;
        self.needs_databases = true;
        self
    }

    /// It proves something about the agent, and needs what a distribution's kernel has and the sanitizer kernel, made small, lacks: sockets, thin
    /// volumes.
    pub const fn with_stock_kernel(mut self) -> Self {
        self.needs_stock_kernel = true;
        self
    }

    /// It gets a boot of its own, because it leaves the guest unusable or needs it untouched.
    pub const fn in_own_boot(mut self) -> Self {
        self.own_boot = true;
        self
    }

    /// It gets a boot of its own in a machine that may restart: its disks stay, and the scenario begins again.
    pub const fn over_restarts(mut self) -> Self {
        self.own_boot = true;
        self.over_restarts = true;
        self
    }

    /// It needs a whole Debian with systemd, and runs in the machine that has one.
    pub const fn in_debian(mut self) -> Self {
        self.needs_debian = true;
        self
    }

    /// It is too long for every run.
    pub const fn only_soak(mut self) -> Self {
        self.turn = Turn::Soak;
        self
    }

    /// It proves nothing but measures, in the machine that counts instructions.
    pub const fn only_measures(mut self) -> Self {
        self.turn = Turn::Measurement;
        self
    }

    /// It may take this long under emulation; on a busy host, longer ([`crate::pace`]).
    pub const fn within_s(mut self, limit_s: u64) -> Self {
        self.limit_s = limit_s;
        self
    }

    /// Its boot must show a kernel warning.
    pub const fn ends_with_warning(mut self) -> Self {
        self.ending = Ending::Warning;
        self
    }

    /// Its boot must end in a panic.
    pub const fn ends_with_panic(mut self) -> Self {
        self.ending = Ending::Panic;
        self
    }

    /// It restarts the machine, and must never return.
    pub const fn ends_with_restart(mut self) -> Self {
        self.ending = Ending::Restart;
        self
    }

    /// It must run into its time limit.
    pub const fn ends_with_time_limit(mut self) -> Self {
        self.ending = Ending::TimeLimit;
        self
    }
}

fn all() -> impl Iterator<Item = &'static Scenario> {
    scenario::AREAS.iter().chain(&debian::AREAS).flat_map(|area| area.iter())
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.name == name)
}

/// Prints a line for each scenario: fields separated by tabs, as the host's `guest/plan.rs` reads them.
pub fn print() {
    for scenario in all() {
        let ending = match scenario.ending {
            Ending::Clean => "clean",
            Ending::Warning => "warning",
            Ending::Panic => "panic",
            Ending::TimeLimit => "time-limit",
            Ending::Restart => "restart",
        };
        let needs = match scenario {
            Scenario { needs_faults: true, .. } => "module+faults",
            Scenario { needs_databases: true, .. } => "module+databases",
            Scenario { needs_stock_kernel: true, needs_module: true, .. } => "module+stock",
            Scenario { needs_stock_kernel: true, .. } => "stock",
            Scenario { needs_module: true, .. } => "module",
            _ => "-",
        };
        let boot = match scenario {
            Scenario { needs_debian: true, .. } => "debian",
            Scenario { over_restarts: true, .. } => "own-boot+restarts",
            Scenario { own_boot: true, .. } => "own-boot",
            _ => "-",
        };
        let turn = match scenario.turn {
            Turn::Always => "-",
            Turn::Soak => "soak",
            Turn::Measurement => "measurement",
        };
        let fields = [scenario.name, needs, boot, turn, ending, &scenario.limit_s.to_string(), scenario.proves];
        println!("{}", fields.join("\t"));
    }
}

/// Runs one scenario in this process and leaves the reason of a failure where process 1 looks for it.
pub fn run(name: &str) -> ExitCode {
    let Some(scenario) = find(name) else {
        report::leave_reason(&format!("there is no scenario {name}"));
        return ExitCode::FAILURE;
    };
    match (scenario.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{name}: {error:?}");
            report::leave_reason(&format!("{error:#}"));
            if error.is::<TooSlow>() { ExitCode::from(pace::TOO_SLOW) } else { ExitCode::FAILURE }
        }
    }
}
