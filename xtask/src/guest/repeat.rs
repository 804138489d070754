//! The boots of a run, one after the other: what a broken boot did not come to gets another one. Not how a boot is made or judged.

use std::collections::VecDeque;

use anyhow::Result;

use super::plan::Boot;
use super::verdict::{BootResult, Outcome};
use crate::interrupt;

/// How often a boot may be repeated because of the emulator, in one run.
const REPEATS: u32 = 4;

/// Starts every boot, and again for scenarios that had no turn; returns what became of them and what was measured. `start` gets
/// the boot's number, beginning with 1.
pub fn all(
    mut waiting: VecDeque<Boot>,
    mut start: impl FnMut(u32, &Boot) -> Result<BootResult>,
) -> Result<(Vec<Outcome>, Vec<String>)> {
    let (mut outcomes, mut measured) = (Vec::new(), Vec::new());
    let (mut number, mut repeats) = (0, 0);
    while let Some(boot) = waiting.pop_front() {
        interrupt::check()?;
        number += 1;
        let result = start(number, &boot)?;
        let rest = boot.without(&result.attended());
        let is_repeat = result.emulator_fault && repeats < REPEATS;
        if is_repeat {
            repeats += 1;
            eprintln!("  the emulator fell over its known race (see tests/README.md); the boot is repeated");
        }
        outcomes.extend(result.outcomes);
        measured.extend(result.measured);
        if let Some(rest) = rest {
            if is_repeat || rest.scenarios.len() < boot.scenarios.len() {
                waiting.push_front(rest);
            } else if result.emulator_fault {
                // What was never judged has not passed.
                outcomes.extend(rest.scenarios.iter().map(|scenario| Outcome {
                    name: scenario.name.clone(),
                    elapsed_ms: 0,
                    failure: Some(format!("the emulator fell over its known race {} times", REPEATS + 1)),
                    boot: result.label.clone(),
                }));
            }
        }
    }
    Ok((outcomes, measured))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::plan::{self, Boot};
    use super::super::verdict::{BootResult, Outcome};
    use super::{REPEATS, all};

    fn boot(names: &[&str]) -> Boot {
        let line = |name: &&str| plan::parse(&format!("{name}\t-\t-\t-\tclean\t60\tit"));
        Boot { scenarios: names.iter().map(line).collect::<anyhow::Result<_>>().expect("a line of a scenario") }
    }

    fn result(passed: &[&str], emulator_fault: bool) -> BootResult {
        let outcome =
            |name: &&str| Outcome { name: (*name).to_owned(), elapsed_ms: 1, failure: None, boot: String::new() };
        BootResult {
            label: String::new(),
            outcomes: passed.iter().map(outcome).collect(),
            emulator_fault,
            measured: Vec::new(),
        }
    }

    /// Names of what passed and of what failed, and how many boots it took.
    fn run(boots: &[Boot], mut results: VecDeque<BootResult>) -> (Vec<String>, Vec<String>, u32) {
        let mut last = 0;
        let (outcomes, _) = all(boots.to_vec().into(), |number, _| {
            last = number;
            Ok(results.pop_front().unwrap_or_else(|| result(&[], true)))
        })
        .expect("no boot is an error");
        let names = |passed: bool| {
            let some = outcomes.iter().filter(|outcome| outcome.passed() == passed);
            some.map(|outcome| outcome.name.clone()).collect()
        };
        (names(true), names(false), last)
    }

    #[test]
    fn a_boot_that_the_emulator_broke_is_repeated_for_what_had_no_turn() {
        let results = VecDeque::from([result(&["a/one"], true), result(&["a/two"], false)]);
        assert_eq!(run(&[boot(&["a/one", "a/two"])], results), (vec!["a/one".into(), "a/two".into()], vec![], 2));
    }

    /// They used to be missing from the result, which looked like a run in which all had passed.
    #[test]
    fn what_the_emulator_never_let_run_has_failed() {
        let (passed, failed, boots) = run(&[boot(&["a/one"])], VecDeque::new());
        assert_eq!((passed.len(), failed, boots), (0, vec!["a/one".to_owned()], REPEATS + 1));
    }

    #[test]
    fn a_boot_that_ends_early_goes_on_with_the_rest_as_long_as_it_gets_on() {
        let results = VecDeque::from([result(&["a/one"], false), result(&["a/two"], false), result(&["b/one"], false)]);
        let (passed, failed, boots) = run(&[boot(&["a/one", "a/two"]), boot(&["b/one"])], results);
        assert_eq!((passed.len(), failed.len(), boots), (3, 0, 3));
    }
}
