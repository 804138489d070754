//! Which scenarios run, and which of them share a boot.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// How a boot must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, without a report of the kernel.
    Clean,
    /// By itself, with a warning in the kernel's log.
    Warning,
    /// In a panic.
    Panic,
    /// With a scenario that ran into its time limit.
    TimeLimit,
    /// In an orderly restart, without a report of the kernel.
    Restart,
}

/// A scenario as `guest list` describes it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// `area/fact`.
    pub name: String,
    /// One sentence.
    pub proves: String,
    /// How its boot must end.
    pub ending: Ending,
    /// How long it may take.
    pub limit_s: u64,
    needs_module: bool,
    needs_faults: bool,
    needs_databases: bool,
    needs_stock_kernel: bool,
    over_restarts: bool,
    place: Place,
    turn: Turn,
}

/// Where a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In one boot with others.
    Shared,
    /// In a boot of its own.
    Alone,
    /// In the machine with a whole Debian.
    Debian,
}

/// When a scenario has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Always,
    Soak,
    Measurement,
}

/// Scenarios that run one after the other in one boot.
#[derive(Debug, Clone)]
pub struct Boot {
    /// In the order in which they run; never empty.
    pub scenarios: Vec<Scenario>,
}

/// Which scenarios have their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Those that prove something in reasonable time.
    Proof,
    /// The long ones too.
    Soak,
    /// Only those that measure.
    Measurement,
}

/// What the user wants to run and what can run.
pub struct Selection<'a> {
    /// Parts of names, one of which must fit; none fits all.
    pub filters: &'a [String],
    /// What for.
    pub purpose: Purpose,
    /// There are modules to test.
    pub with_module: bool,
    /// The kernel can be told to fail allocations; it is the small one, which lacks what a distribution's has.
    pub with_faults: bool,
}

impl Purpose {
    fn includes(self, turn: Turn) -> bool {
        match turn {
            Turn::Always => self != Self::Measurement,
            Turn::Soak => self == Self::Soak,
            Turn::Measurement => self == Self::Measurement,
        }
    }
}

impl Boot {
    /// How this boot must end.
    pub fn ending(&self) -> Ending {
        self.scenarios.first().map_or(Ending::Clean, |scenario| scenario.ending)
    }

    /// The longest that all of it may take.
    pub fn limit_s(&self) -> u64 {
        self.scenarios.iter().map(|scenario| scenario.limit_s).sum()
    }

    /// Whether the machine needs the disk with the programs of databases.
    pub fn needs_databases(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.needs_databases)
    }

    /// Whether the machine boots again when it is restarted.
    pub fn over_restarts(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.over_restarts)
    }

    /// A boot of this scenario alone, if it is one of them.
    pub fn only(&self, name: &str) -> Option<Self> {
        let scenario = self.scenarios.iter().find(|scenario| scenario.name == name)?;
        Some(Self { scenarios: vec![scenario.clone()] })
    }

    /// What is left of it without the scenarios of these names; `None` when nothing is.
    pub fn without(&self, names: &[&str]) -> Option<Self> {
        let left = self.scenarios.iter().filter(|scenario| !names.contains(&scenario.name.as_str()));
        let scenarios: Vec<Scenario> = left.cloned().collect();
        (!scenarios.is_empty()).then_some(Self { scenarios })
    }
}

/// Asks the guest's program, which also runs on the host, what it can do.
pub fn scenarios(program: &Path) -> Result<Vec<Scenario>> {
    let output = Command::new(program).arg("list").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(output.status.success(), "`{} list` failed", program.display());
    String::from_utf8(output.stdout)?.lines().map(parse).collect()
}

/// Reads one line of `guest list`.
pub fn parse(line: &str) -> Result<Scenario> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, module, place, turn, ending, limit_s, proves] = fields[..] else {
        anyhow::bail!("the guest's program describes a scenario in a way that is not understood: {line}");
    };
    Ok(Scenario {
        name: name.to_owned(),
        proves: proves.to_owned(),
        ending: match ending {
            "warning" => Ending::Warning,
            "panic" => Ending::Panic,
            "time-limit" => Ending::TimeLimit,
            "restart" => Ending::Restart,
            _ => Ending::Clean,
        },
        limit_s: limit_s.parse()?,
        needs_module: !matches!(module, "-" | "stock"),
        needs_faults: module == "module+faults",
        over_restarts: place == "own-boot+restarts",
        needs_databases: module == "module+databases",
        // The programs of databases come from a distribution and expect its kernel.
        needs_stock_kernel: matches!(module, "stock" | "module+stock" | "module+databases"),
        place: match place {
            "own-boot" | "own-boot+restarts" => Place::Alone,
            "debian" => Place::Debian,
            _ => Place::Shared,
        },
        turn: match turn {
            "soak" => Turn::Soak,
            "measurement" => Turn::Measurement,
            _ => Turn::Always,
        },
    })
}

/// Prints all scenarios that prove something.
pub fn print(scenarios: &[Scenario]) {
    for scenario in scenarios.iter().filter(|scenario| scenario.turn != Turn::Measurement) {
        let soak = if scenario.turn == Turn::Soak { " (soak)" } else { "" };
        let faults = if scenario.needs_faults { " (sanitize)" } else { "" };
        println!("{:<44} {}{soak}{faults}", scenario.name, scenario.proves);
    }
}

/// The boots that run the selected scenarios: one for all that can share it, then one for each that cannot.
pub fn boots(known: &[Scenario], selection: &Selection<'_>) -> VecDeque<Boot> {
    let selected = selected(known, selection).filter(|scenario| scenario.place != Place::Debian);
    let (alone, together): (Vec<Scenario>, Vec<Scenario>) =
        selected.cloned().partition(|scenario| scenario.place == Place::Alone);
    let shared = (!together.is_empty()).then_some(Boot { scenarios: together });
    shared.into_iter().chain(alone.into_iter().map(|scenario| Boot { scenarios: vec![scenario] })).collect()
}

/// The selected scenarios that need a whole Debian; they share its machine.
pub fn in_debian(known: &[Scenario], selection: &Selection<'_>) -> Option<Boot> {
    let selected = selected(known, selection).filter(|scenario| scenario.place == Place::Debian);
    let scenarios: Vec<Scenario> = selected.cloned().collect();
    (!scenarios.is_empty()).then_some(Boot { scenarios })
}

fn selected<'a>(known: &'a [Scenario], selection: &Selection<'a>) -> impl Iterator<Item = &'a Scenario> {
    let Selection { filters, purpose, with_module, with_faults } = *selection;
    known.iter().filter(move |scenario| {
        (filters.is_empty() || filters.iter().any(|part| scenario.name.contains(part)))
            && purpose.includes(scenario.turn)
            && (with_module || !scenario.needs_module)
            && (with_faults || !scenario.needs_faults)
            && !(with_faults && scenario.needs_stock_kernel)
    })
}

#[cfg(test)]
mod tests {
    use super::{Boot, Ending, Purpose, Selection, boots, in_debian, parse};

    const LINES: [&str; 6] = [
        "harness/disks\t-\t-\t-\tclean\t60\tdisks",
        "harness/panic\t-\town-boot\t-\tpanic\t60\ta panic",
        "tracking/stamps\tmodule\t-\t-\tclean\t90\tstamps",
        "soak/storm\tmodule\t-\tsoak\tclean\t900\tlong",
        "memory/writes\tmodule+faults\t-\t-\tclean\t90\tfaults",
        "cost/raw\tmodule\t-\tmeasurement\tclean\t900\tcost",
    ];

    fn planned(filters: &[&str], purpose: Purpose, with_module: bool) -> anyhow::Result<Vec<Vec<String>>> {
        let filters: Vec<String> = filters.iter().map(|&part| part.to_owned()).collect();
        let known = LINES.map(parse).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let boots = boots(&known, &Selection { filters: &filters, purpose, with_module, with_faults: false });
        Ok(boots.into_iter().map(|boot| boot.scenarios.into_iter().map(|scenario| scenario.name).collect()).collect())
    }

    #[test]
    fn scenarios_share_a_boot_unless_they_want_their_own() -> anyhow::Result<()> {
        let expected = [vec!["harness/disks", "tracking/stamps"], vec!["harness/panic"]];
        assert_eq!(planned(&[], Purpose::Proof, true)?, expected);
        Ok(())
    }

    #[test]
    fn what_needs_debian_runs_there_and_nowhere_else() -> anyhow::Result<()> {
        let known = [LINES[0], "debian/rules\tmodule\tdebian\t-\tclean\t60\trules"].map(parse);
        let known = known.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let selection = Selection { filters: &[], purpose: Purpose::Proof, with_module: true, with_faults: false };
        let names = |boot: &Boot| boot.scenarios.iter().map(|scenario| scenario.name.clone()).collect::<Vec<_>>();
        assert_eq!(boots(&known, &selection).iter().map(names).collect::<Vec<_>>(), [["harness/disks"]]);
        assert_eq!(in_debian(&known, &selection).map(|boot| names(&boot)), Some(vec!["debian/rules".to_owned()]));
        assert!(in_debian(&known, &Selection { with_module: false, ..selection }).is_none());
        Ok(())
    }

    #[test]
    fn without_a_module_its_scenarios_are_left_out() -> anyhow::Result<()> {
        assert_eq!(planned(&[], Purpose::Soak, false)?, [["harness/disks"], ["harness/panic"]]);
        Ok(())
    }

    #[test]
    fn long_scenarios_run_only_when_asked_for() -> anyhow::Result<()> {
        assert!(planned(&["soak/"], Purpose::Proof, true)?.is_empty());
        assert_eq!(planned(&["soak/"], Purpose::Soak, true)?, [["soak/storm"]]);
        Ok(())
    }

    #[test]
    fn each_of_several_filters_counts() -> anyhow::Result<()> {
        assert_eq!(planned(&["panic", "stamps"], Purpose::Proof, true)?, [["tracking/stamps"], ["harness/panic"]]);
        Ok(())
    }

    #[test]
    fn scenarios_that_measure_run_alone() -> anyhow::Result<()> {
        assert_eq!(planned(&[], Purpose::Measurement, true)?, [["cost/raw"]]);
        assert!(planned(&["cost/"], Purpose::Soak, true)?.is_empty());
        Ok(())
    }

    #[test]
    fn where_allocations_can_fail_those_run_and_none_that_wants_a_stock_kernel() -> anyhow::Result<()> {
        let stock =
            ["readme/first\tstock\t-\t-\tclean\t90\treadme", "live_grow/xfs\tmodule+stock\t-\t-\tclean\t90\tgrows"];
        let known = LINES.into_iter().chain(stock).map(parse).collect::<anyhow::Result<Vec<_>>>()?;
        let filters = ["memory/".to_owned()];
        let selection = Selection { filters: &filters, purpose: Purpose::Proof, with_module: true, with_faults: true };
        assert_eq!(boots(&known, &selection).len(), 1);
        assert!(boots(&known, &Selection { with_faults: false, ..selection }).is_empty());
        let filters = ["readme/".to_owned(), "live_grow/".to_owned()];
        let selection = Selection { filters: &filters, ..selection };
        assert!(boots(&known, &selection).is_empty());
        assert_eq!(boots(&known, &Selection { with_faults: false, ..selection })[0].scenarios.len(), 2);
        let without = Selection { with_faults: false, with_module: false, ..selection };
        assert_eq!(boots(&known, &without)[0].scenarios.len(), 1);
        Ok(())
    }

    #[test]
    fn the_ending_that_a_scenario_wants_is_understood() -> anyhow::Result<()> {
        assert_eq!(parse(LINES[1])?.ending, Ending::Panic);
        assert!(parse("half a line").is_err());
        Ok(())
    }
}
