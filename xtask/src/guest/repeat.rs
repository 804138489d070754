//! The boots of a run, one after the other: what a broken boot did not come to gets another one, and so does, once and alone, what was
//! too slow for its own time limits. Not how a boot is made or judged.
//!
//! A repetition forgives nothing that was seen: a wrong byte, a report of the kernel, a hang and a wrong errno stay failures. What passes
//! only when repeated is called unsteady, and named.

use std::collections::VecDeque;

use anyhow::Result;

use super::plan::Boot;
use super::verdict::{BootResult, Outcome};
use crate::interrupt;

/// How often a boot may be repeated because of the emulator, in one run.
const REPEATS: u32 = 4;

/// Starts every boot, and again for scenarios that had no turn or were too slow; returns what became of them and what was measured.
/// `start` gets the boot's number, beginning with 1.
pub fn all(
    boots: VecDeque<Boot>,
    mut start: impl FnMut(u32, &Boot) -> Result<BootResult>,
) -> Result<(Vec<Outcome>, Vec<String>)> {
    let (mut number, mut repeats) = (0, 0);
    let mut start = |boot: &Boot| {
        number += 1;
        start(number, boot)
    };
    let known: Vec<Boot> = boots.iter().cloned().collect();
    let (mut outcomes, measured) = until_all_had_a_turn(boots, &mut repeats, &mut start)?;
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.too_slow) {
        let Some(alone) = known.iter().find_map(|boot| boot.only(&outcome.name)) else { continue };
        eprintln!("  {} was too slow for a time limit of its own; it is repeated alone", outcome.name);
        let (again, _) = until_all_had_a_turn([alone].into(), &mut repeats, &mut start)?;
        let reason = outcome.failure.take().unwrap_or_default();
        *outcome = match again.into_iter().find(|again| again.name == outcome.name) {
            Some(again) if again.passed() => Outcome { unsteady: Some(reason), ..again },
            Some(again) => Outcome { failure: again.failure.map(|why| format!("{why}; before: {reason}")), ..again },
            None => Outcome { failure: Some(reason), ..outcome.clone() },
        };
    }
    Ok((outcomes, measured))
}

/// The boots as they come, and again for scenarios that had no turn.
fn until_all_had_a_turn(
    mut waiting: VecDeque<Boot>,
    repeats: &mut u32,
    start: &mut impl FnMut(&Boot) -> Result<BootResult>,
) -> Result<(Vec<Outcome>, Vec<String>)> {
    let (mut outcomes, mut measured) = (Vec::new(), Vec::new());
    while let Some(boot) = waiting.pop_front() {
        interrupt::check()?;
        let result = start(&boot)?;
        let rest = boot.without(&result.attended());
        let is_repeat = result.emulator_fault && *repeats < REPEATS;
        if is_repeat {
            *repeats += 1;
            eprintln!("  the emulator itself failed (see tests/README.md, \"Repeated boots\"); the boot is repeated");
        }
        outcomes.extend(result.outcomes);
        measured.extend(result.measured);
        if let Some(rest) = rest {
            if is_repeat || rest.scenarios.len() < boot.scenarios.len() {
                waiting.push_front(rest);
            } else if result.emulator_fault {
                // What was never judged has not passed.
                let why = format!("the emulator itself failed {} times", REPEATS + 1);
                let failed = |name: &str| Outcome::new(name, 0, Some(why.clone()), &result.label);
                outcomes.extend(rest.scenarios.iter().map(|scenario| failed(&scenario.name)));
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
        let outcome = |name: &&str| Outcome::new(name, 1, None, "");
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

    /// One scenario that fails, by its own time limit or for another reason.
    fn failing(name: &str, too_slow: bool) -> BootResult {
        let failed = Outcome { too_slow, ..Outcome::new(name, 1, Some("the disk does not appear".into()), "") };
        BootResult { outcomes: vec![failed], ..result(&[], false) }
    }

    fn outcomes_of(names: &[&str], results: Vec<BootResult>) -> Vec<Outcome> {
        let mut results = VecDeque::from(results);
        let (outcomes, _) =
            all([boot(names)].into(), |_, _| Ok(results.pop_front().expect("no more boots than that"))).expect("boots");
        outcomes
    }

    #[test]
    fn what_was_too_slow_is_repeated_once_alone_and_called_unsteady() {
        let outcomes = outcomes_of(&["a/one"], vec![failing("a/one", true), result(&["a/one"], false)]);
        assert!(outcomes[0].passed());
        assert_eq!(outcomes[0].unsteady.as_deref(), Some("the disk does not appear"));
    }

    #[test]
    fn what_is_too_slow_twice_has_failed() {
        let outcomes = outcomes_of(&["a/one"], vec![failing("a/one", true), failing("a/one", true)]);
        assert!(!outcomes[0].passed() && outcomes[0].unsteady.is_none());
    }

    /// A repetition that passes would otherwise hide a byte that was lost once in a hundred times.
    #[test]
    fn what_saw_something_wrong_is_not_repeated() {
        let outcomes = outcomes_of(&["a/one"], vec![failing("a/one", false)]);
        assert!(!outcomes[0].passed());
    }
}
