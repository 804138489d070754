//! What a boot's events and log mean for its scenarios, and how that is shown.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::kernel_log::{self, Trouble};
use super::machine::Ended;
use super::plan::{Boot, Ending, Scenario};

/// What became of one scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// How long it ran.
    pub elapsed_ms: u64,
    /// Why it failed; `None` when it passed.
    pub failure: Option<String>,
    /// It failed by nothing but a wait that was too short for this host: it saw nothing wrong, and the kernel reported nothing.
    pub too_slow: bool,
    /// It passed only when it was repeated alone; why it had failed before.
    pub unsteady: Option<String>,
    /// Directory of the boot's logs.
    pub boot: String,
}

impl Outcome {
    /// A scenario that has passed, or failed for a reason.
    pub fn new(name: &str, elapsed_ms: u64, failure: Option<String>, boot: &str) -> Self {
        let (name, boot) = (name.to_owned(), boot.to_owned());
        Self { name, elapsed_ms, failure, too_slow: false, unsteady: None, boot }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

/// What became of a boot.
pub struct BootResult {
    /// Name of the directory of its logs.
    pub label: String,
    /// One for each scenario that began.
    pub outcomes: Vec<Outcome>,
    /// The boot says nothing about the scenario that ran last: it is not among the outcomes.
    pub emulator_fault: bool,
    /// What scenarios measured: lines of `CASE QUANTITY VALUE`.
    pub measured: Vec<String>,
}

impl BootResult {
    /// Names of the scenarios that need no other boot.
    pub fn attended(&self) -> Vec<&str> {
        self.outcomes.iter().map(|outcome| outcome.name.as_str()).collect()
    }
}

/// One line of the guest's init.
#[derive(Debug, PartialEq, Eq)]
enum Event<'a> {
    Begin(&'a str),
    Ok(&'a str, u64),
    Fail(&'a str, u64, &'a str),
    /// A wait of its own was too short.
    Slow(&'a str, u64, &'a str),
    Late(&'a str, u64),
    /// Init itself could not go on.
    Broken(&'a str),
    End,
    /// A part of a line, or words of a newer init.
    Other,
}

fn event(line: &str) -> Event<'_> {
    let mut words = line.trim_end().splitn(4, ' ');
    let kind = words.next().unwrap_or_default();
    let name = words.next().unwrap_or_default();
    let elapsed_ms = words.next().and_then(|word| word.parse().ok());
    match (kind, elapsed_ms) {
        ("begin", _) => Event::Begin(name),
        ("ok", Some(elapsed_ms)) => Event::Ok(name, elapsed_ms),
        ("fail", Some(elapsed_ms)) => Event::Fail(name, elapsed_ms, words.next().unwrap_or("without a reason")),
        ("slow", Some(elapsed_ms)) => Event::Slow(name, elapsed_ms, words.next().unwrap_or("without a reason")),
        ("late", Some(elapsed_ms)) => Event::Late(name, elapsed_ms),
        ("broken", _) => Event::Broken(line.trim_end().trim_start_matches("broken ")),
        ("end", _) => Event::End,
        _ => Event::Other,
    }
}

/// Judges a boot: a scenario passes when it says so, the boot ends as it must and the kernel reported no trouble meanwhile.
pub fn judge(boot: &Boot, place: &Path, ended: &Ended) -> Result<BootResult> {
    let label = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let troubles = kernel_log::troubles(&ended.console);
    let mut outcomes = stated(boot, ended, &label);
    let measured = ended.events.lines().filter_map(|line| line.trim_end().strip_prefix("measured "));
    let measured = measured.map(str::to_owned).collect();
    // Where the kernel has reported something, its end is the guest's.
    if kernel_log::is_emulator_fault(&troubles) || (ended.emulator_died && troubles.is_empty()) {
        outcomes.retain(Outcome::passed);
        return Ok(BootResult { label, outcomes, emulator_fault: true, measured });
    }
    for trouble in &troubles {
        blame(&mut outcomes, trouble);
    }
    if boot.ending() != Ending::Clean {
        outcomes.truncate(1);
        outcomes.iter_mut().for_each(|outcome| outcome.too_slow = false);
        // A panic may come before the second port has said what began.
        if let (Some(outcome), Some(scenario)) = (outcomes.first_mut(), boot.scenarios.first()) {
            scenario.name.clone_into(&mut outcome.name);
            outcome.failure = missed(scenario, &troubles, ended);
        }
    }
    Ok(BootResult { label, outcomes, emulator_fault: false, measured })
}

/// What the guest says, and what follows from what it does not say.
fn stated(boot: &Boot, ended: &Ended, label: &str) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let outcome = |name: &str, elapsed_ms, failure: Option<String>| Outcome::new(name, elapsed_ms, failure, label);
    let (mut running, mut finished) = (None, false);
    for line in ended.events.lines() {
        let done = match event(line) {
            Event::Begin(name) => {
                running = Some(name);
                continue;
            }
            Event::Ok(name, elapsed_ms) => outcome(name, elapsed_ms, None),
            Event::Fail(name, elapsed_ms, reason) => outcome(name, elapsed_ms, Some(reason.to_owned())),
            Event::Slow(name, elapsed_ms, reason) => {
                Outcome { too_slow: true, ..outcome(name, elapsed_ms, Some(reason.to_owned())) }
            }
            Event::Late(name, elapsed_ms) => {
                finished = true;
                outcome(
                    name,
                    elapsed_ms,
                    Some("it did not end within its time limit; the log shows who waited".to_owned()),
                )
            }
            Event::Broken(reason) => {
                finished = true;
                outcome("init", 0, Some(format!("the guest's init gave up: {reason}")))
            }
            Event::End => {
                finished = true;
                continue;
            }
            Event::Other => continue,
        };
        running = None;
        outcomes.push(done);
    }
    let why = if ended.cut_off { "the machine did not end in time" } else { "the machine ended in the middle of it" };
    if let Some(name) = running {
        outcomes.push(outcome(name, 0, Some(why.to_owned())));
    } else if outcomes.is_empty() || (!finished && outcomes.len() == boot.scenarios.len()) {
        outcomes.push(outcome("boot", 0, Some(if finished { "nothing ran" } else { why }.to_owned())));
    }
    // A boot that never came to its scenarios must not be tried for ever.
    if outcomes.iter().all(|outcome| !boot.scenarios.iter().any(|scenario| scenario.name == outcome.name)) {
        outcomes.extend(
            boot.scenarios.iter().map(|scenario| outcome(&scenario.name, 0, Some("it never began".to_owned()))),
        );
    }
    outcomes
}

fn blame(outcomes: &mut [Outcome], trouble: &Trouble) {
    let named = trouble.scenario.as_ref().and_then(|name| outcomes.iter().position(|outcome| outcome.name == *name));
    if let Some(outcome) = outcomes.get_mut(named.unwrap_or(0)) {
        let said = format!("the kernel reports: {}", trouble.message);
        outcome.too_slow = false;
        match &mut outcome.failure {
            Some(failure) if failure.contains("the kernel reports") => {}
            Some(failure) => *failure = format!("{failure}; {said}"),
            None => outcome.failure = Some(said),
        }
    }
}

/// For boots that must end in another way: what should have been seen and was not.
fn missed(scenario: &Scenario, troubles: &[Trouble], ended: &Ended) -> Option<String> {
    let mut events = ended.events.lines().map(event);
    let seen = match scenario.ending {
        Ending::Clean => true,
        Ending::Warning => troubles.iter().any(|trouble| trouble.message.starts_with("WARNING:")),
        Ending::Panic => kernel_log::is_panic(troubles, &scenario.name),
        Ending::TimeLimit => events.any(|event| matches!(event, Event::Late(..))),
        Ending::Restart => {
            let failed = events.find_map(|event| match event {
                Event::Fail(_, _, why) | Event::Slow(_, _, why) => Some(why),
                _ => None,
            });
            let trouble = troubles.first().map(|trouble| trouble.message.as_str());
            if let Some(why) = failed.or(trouble) {
                return Some(why.to_owned());
            }
            kernel_log::has_restarted(&ended.console)
        }
    };
    (!seen).then(|| format!("the boot did not end as it must ({:?})", scenario.ending))
}

/// Shows a boot while it runs, on standard error.
pub struct Progress<'a> {
    boot: &'a Boot,
    shown: usize,
    quiet: bool,
}

impl<'a> Progress<'a> {
    /// Nothing is shown yet.
    pub fn new(boot: &'a Boot, quiet: bool) -> Self {
        Self { boot, shown: 0, quiet: quiet || !std::io::stderr().is_terminal() }
    }

    /// Says what runs now, when a person watches.
    pub fn show(&mut self, events: &str) {
        if self.quiet || events.len() == self.shown {
            return;
        }
        self.shown = events.len();
        let mut running = events.lines().filter_map(|line| match event(line) {
            Event::Begin(name) => Some(name),
            _ => None,
        });
        let begun = running.clone().count();
        eprint!("\r\x1b[K  {begun}/{} {}", self.boot.scenarios.len(), running.next_back().unwrap_or("boots"));
        // Only cosmetic; a lost flush loses nothing.
        let _ = std::io::stderr().flush();
    }

    /// Prints a line for each scenario.
    pub fn finish(&self, result: &BootResult) {
        if !self.quiet {
            eprint!("\r\x1b[K");
        }
        for outcome in &result.outcomes {
            let verdict = if outcome.passed() { "ok  " } else { "FAIL" };
            let seconds = f64::from(u32::try_from(outcome.elapsed_ms).unwrap_or(u32::MAX)) / 1000.0;
            eprintln!("  {verdict} {:<44}{seconds:>8.1} s  {}", outcome.name, outcome.boot);
            if let Some(failure) = &outcome.failure {
                eprintln!("         {failure}");
            }
        }
    }
}

/// Prints the end of it all.
pub fn print(outcomes: &[Outcome], directory: &Path, as_json: bool) -> Result<()> {
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    if as_json {
        let rows = outcomes.iter().map(|outcome| {
            json!({ "name": outcome.name, "passed": outcome.passed(), "elapsed_ms": outcome.elapsed_ms,
                    "failure": outcome.failure, "unsteady": outcome.unsteady, "log": directory.join(&outcome.boot).join("console.log") })
        });
        let rows: Vec<_> = rows.collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "scenarios": rows, "failed": failed }))?);
    } else {
        let mut unsteady = 0;
        for (outcome, reason) in outcomes.iter().filter_map(|outcome| Some((outcome, outcome.unsteady.as_ref()?))) {
            unsteady += 1;
            println!("  UNSTEADY {}: passed only when it was repeated alone; before: {reason}", outcome.name);
        }
        let passed = outcomes.len() - failed;
        println!(
            "  {passed} scenarios passed ({unsteady} of them unsteady), {failed} failed; logs are in {}",
            directory.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
