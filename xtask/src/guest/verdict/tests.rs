//! Boots as they were captured, and what must be made of them.

use std::path::Path;

use anyhow::Result;

use super::{Outcome, judge};
use crate::guest::machine::Ended;
use crate::guest::plan::{self, Boot};

fn boot(lines: &[&str]) -> Result<Boot> {
    Ok(Boot { scenarios: lines.iter().map(|line| plan::parse(line)).collect::<Result<_>>()? })
}

fn two() -> Result<Boot> {
    boot(&["a/one\t-\t-\t-\tclean\t60\tone", "a/two\t-\t-\t-\tclean\t60\ttwo"])
}

fn judged(boot: &Boot, events: &str, console: &str, cut_off: bool) -> Result<Vec<Outcome>> {
    let ended = Ended { console: console.to_owned(), events: events.to_owned(), cut_off, emulator_died: false };
    Ok(judge(boot, Path::new("runs/boot-1"), &ended)?.outcomes)
}

fn failures(outcomes: &[Outcome]) -> Vec<(&str, &str)> {
    outcomes.iter().filter_map(|outcome| Some((outcome.name.as_str(), outcome.failure.as_deref()?))).collect()
}

const BOTH_PASS: &str = "kernel 7.3.4\r\nbegin a/one\r\nok a/one 12\r\nbegin a/two\r\nok a/two 7\r\nend 2 0\r\n";

#[test]
fn a_clean_boot_passes() -> Result<()> {
    let outcomes = judged(&two()?, BOTH_PASS, "[    1.0] quiet\n", false)?;
    assert_eq!(outcomes.len(), 2);
    assert!(failures(&outcomes).is_empty());
    assert_eq!(outcomes[0].elapsed_ms, 12);
    Ok(())
}

#[test]
fn a_warning_fails_the_scenario_that_ran_although_it_passed() -> Result<()> {
    let console = "[ 1.0] guest: begin a/one\n[ 2.0] guest: done a/one\n[ 2.1] guest: begin a/two\n\
                   [ 2.2] WARNING: mm/slub.c:9 at kfree+0x1/0x2, CPU#0: guest/70\n[ 2.3] guest: done a/two\n";
    let outcomes = judged(&two()?, BOTH_PASS, console, false)?;
    let [(name, failure)] = failures(&outcomes)[..] else { panic!("{outcomes:?}") };
    assert_eq!(name, "a/two");
    assert!(failure.contains("mm/slub.c:9"), "{failure}");
    Ok(())
}

#[test]
fn trouble_before_the_first_scenario_fails_the_boot() -> Result<()> {
    let outcomes = judged(&two()?, BOTH_PASS, "[ 0.1] BUG: unable to handle page fault\n", false)?;
    assert_eq!(failures(&outcomes).len(), 1);
    Ok(())
}

#[test]
fn a_scenario_that_fails_says_why() -> Result<()> {
    let events = "begin a/one\nfail a/one 9 the image shows newer data\nbegin a/two\nok a/two 1\nend 1 1\n";
    assert_eq!(failures(&judged(&two()?, events, "", false)?), [("a/one", "the image shows newer data")]);
    Ok(())
}

#[test]
fn a_machine_that_ends_in_the_middle_fails_what_ran_and_leaves_the_rest() -> Result<()> {
    let outcomes = judged(&two()?, "begin a/one\n", "[ 3.0] Kernel panic - not syncing: x\n", false)?;
    assert_eq!(outcomes.len(), 1);
    assert!(failures(&outcomes)[0].1.contains("Kernel panic"), "{outcomes:?}");
    Ok(())
}

#[test]
fn a_machine_that_says_nothing_fails_everything() -> Result<()> {
    let outcomes = judged(&two()?, "", "", true)?;
    assert!(outcomes.iter().all(|outcome| !outcome.passed()));
    assert!(["a/one", "a/two"].iter().all(|name| outcomes.iter().any(|outcome| outcome.name == *name)));
    Ok(())
}

#[test]
fn a_machine_that_hangs_after_the_last_scenario_fails() -> Result<()> {
    let without_end = BOTH_PASS.replace("end 2 0\r\n", "");
    assert_eq!(failures(&judged(&two()?, &without_end, "", true)?).len(), 1);
    Ok(())
}

#[test]
fn a_scenario_that_must_warn_fails_without_the_warning() -> Result<()> {
    let boot = boot(&["harness/warning\t-\town-boot\t-\twarning\t60\twarn"])?;
    let events = "begin harness/warning\nok harness/warning 1\nend 1 0\n";
    let warned = "[ 1.0] guest: begin harness/warning\n[ 1.1] WARNING: CPU: 0\n";
    assert!(failures(&judged(&boot, events, warned, false)?).is_empty());
    assert_eq!(failures(&judged(&boot, events, "[ 1.1] quiet\n", false)?).len(), 1);
    Ok(())
}

#[test]
fn what_the_emulator_broke_is_neither_passed_nor_failed() -> Result<()> {
    let console = "[ 3.0] Oops: int3: 0000 [#1] SMP\n[ 3.1] Kernel panic - not syncing: x\n".to_owned();
    let events = "begin a/one\nok a/one 5\nbegin a/two\n".to_owned();
    let result =
        judge(&two()?, Path::new("runs/boot-1"), &Ended { console, events, cut_off: false, emulator_died: false })?;
    assert!(result.emulator_fault);
    assert_eq!(result.attended(), ["a/one"]);
    Ok(())
}

#[test]
fn an_emulator_that_is_killed_is_neither_passed_nor_failed_unless_the_kernel_reports() -> Result<()> {
    let fault = |console: &str| -> Result<bool> {
        let (console, events) = (console.to_owned(), "begin a/one\n".to_owned());
        let ended = Ended { console, events, cut_off: false, emulator_died: true };
        Ok(judge(&two()?, Path::new("runs/boot-1"), &ended)?.emulator_fault)
    };
    assert!(fault("[ 1.0] quiet\n")?);
    assert!(!fault("[ 1.0] BUG: KASAN: slab-use-after-free\n")?);
    Ok(())
}

#[test]
fn only_a_wait_of_its_own_makes_a_scenario_too_slow() -> Result<()> {
    let events = "begin a/one\nslow a/one 9 the disk does not appear\nbegin a/two\nfail a/two 7 newer data\nend 0 2\n";
    let outcomes = judged(&two()?, events, "", false)?;
    assert_eq!(outcomes.iter().map(|outcome| outcome.too_slow).collect::<Vec<_>>(), [true, false]);
    assert!(outcomes.iter().all(|outcome| !outcome.passed()));
    let report = "[ 1.0] guest: begin a/one\n[ 2.0] INFO: task dd:7 blocked for more than 60 seconds.\n";
    assert!(!judged(&two()?, events, report, false)?[0].too_slow, "a hung task is no slow host");
    let late = judged(&two()?, "begin a/one\nlate a/one 9\n", "", false)?;
    assert!(!late[0].too_slow, "a hang is no slow host");
    Ok(())
}

#[test]
fn a_panic_before_the_scenario_is_not_the_one_that_was_wanted() -> Result<()> {
    let boot = boot(&["harness/panic\t-\town-boot\t-\tpanic\t60\tpanic"])?;
    let panic = "[ 1.0] Kernel panic - not syncing: x\n";
    assert_eq!(failures(&judged(&boot, "", panic, false)?).len(), 1);
    let marked = format!("[ 0.9] guest: begin harness/panic\n{panic}");
    assert!(failures(&judged(&boot, "begin harness/panic\n", &marked, false)?).is_empty());
    Ok(())
}

#[test]
fn a_restart_passes_only_when_it_is_orderly_and_quiet() -> Result<()> {
    let boot = boot(&["a/restart\tmodule\town-boot\t-\trestart\t60\trestarts"])?;
    let verdict = |events: &str, console: &str| judged(&boot, events, console, false).map(|all| all[0].failure.clone());
    let restarted = "[ 3.0] guest: begin a/restart\n[ 4.0] reboot: Restarting system\n";
    assert_eq!(verdict("begin a/restart\n", restarted)?, None);
    assert!(verdict("begin a/restart\n", "[ 3.0] guest: begin a/restart\n")?.is_some());
    assert!(verdict("begin a/restart\n", &format!("[ 3.9] BUG: x\n{restarted}"))?.is_some());
    assert_eq!(verdict("begin a/restart\nfail a/restart 9 why\n", "")?.as_deref(), Some("why"));
    Ok(())
}
