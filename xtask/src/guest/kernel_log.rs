//! Reads the kernel's log of a boot and finds what must not be in it.

/// Beginnings of messages that report trouble; the kernel's own words.
const BEGINNINGS: [&str; 17] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "kernel BUG at",
    "Kernel panic",
    "general protection fault",
    "divide error",
    "invalid opcode",
    "refcount_t:",
    "UBSAN:",
    "rcu: INFO:",
    "watchdog: BUG:",
    "kmemleak:",
    "list_add corruption",
    "list_del corruption",
    "Unable to handle kernel",
    "DEBUG_LOCKS_WARN_ON",
];

/// The same for trouble that stands somewhere in a message.
const PARTS: [&str; 7] = [
    "blocked for more than",
    "possible circular locking dependency",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "sleeping function called from invalid context",
    "workqueue lockup",
];

/// A message that reports trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The scenario that ran.
    pub scenario: Option<String>,
    /// The message.
    pub message: String,
}

/// Every report of trouble, each with the scenario that ran at that time.
pub fn troubles(log: &str) -> Vec<Trouble> {
    let mut scenario = None;
    let mut found = Vec::new();
    for message in log.lines().filter_map(message) {
        if let Some(name) = message.strip_prefix("guest: begin ") {
            scenario = Some(name.to_owned());
        } else if is_trouble(message) {
            found.push(Trouble { scenario: scenario.clone(), message: message.to_owned() });
        }
    }
    found
}

/// Whether the kernel has gone down during this scenario.
pub fn is_panic(troubles: &[Trouble], scenario: &str) -> bool {
    let here = |trouble: &&Trouble| trouble.scenario.as_deref() == Some(scenario);
    troubles.iter().filter(here).any(|trouble| trouble.message.starts_with("Kernel panic"))
}

/// Whether the kernel has restarted the machine in an orderly way.
pub fn has_restarted(log: &str) -> bool {
    log.lines().filter_map(message).any(|message| message.starts_with("reboot: Restarting system"))
}

/// Whether the emulator itself is to blame. QEMU before 8.1 can go on to execute an instruction that another processor has
/// just replaced; the kernel then finds a breakpoint that is no longer there (Red Hat bug 2216496). Remove this when
/// Debian 12 is no longer a host.
pub fn is_emulator_fault(troubles: &[Trouble]) -> bool {
    troubles.first().is_some_and(|trouble| trouble.message.starts_with("Oops: int3"))
}

/// `[   12.345678] message`, with the caller (`[    T1]`) where the kernel prints it. Other lines are not the kernel's.
fn message(line: &str) -> Option<&str> {
    let (time, rest) = line.trim_end().strip_prefix('[')?.split_once(']')?;
    time.trim().parse::<f64>().ok()?;
    let rest = rest.trim_start();
    let caller = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match caller {
        Some((caller, message)) if caller.trim_start().starts_with(['T', 'C']) => Some(message.trim_start()),
        _ => Some(rest),
    }
}

fn is_trouble(message: &str) -> bool {
    // The one thing that the search for leaks says when all is well.
    let is_ready = message.starts_with("kmemleak: Kernel memory leak detector initialized");
    let is_report = BEGINNINGS.iter().any(|beginning| message.starts_with(beginning));
    (is_report && !is_ready) || PARTS.iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::{is_emulator_fault, is_panic, troubles};

    fn messages(log: &str) -> Vec<String> {
        troubles(log).into_iter().map(|trouble| trouble.message).collect()
    }

    #[test]
    fn a_quiet_boot_is_quiet() {
        let log = "\
[    0.000000] Linux version 7.3.4+deb13-amd64\r
[    0.412345] Spectre V2 : WARNING: Unprivileged eBPF is enabled\r
  WARNING: ext4 signature detected. Wipe it? [y/n]\r
[    2.900000] kmemleak: Kernel memory leak detector initialized (mem pool available: 11466)\r
[    3.100000] EXT4-fs (vda): mounted filesystem\r
[    4.000000] Buffer I/O error on dev dm-0, logical block 1, async page read\r
";
        assert!(messages(log).is_empty(), "{:?}", messages(log));
    }

    #[test]
    fn warnings_of_old_and_new_kernels_are_found() {
        let old = "[    9.1] WARNING: CPU: 1 PID: 77 at block/blk-core.c:12 submit_bio+0x1/0x2\r\n";
        let new = "[    9.1] WARNING: block/blk-core.c:12 at submit_bio+0x1/0x2, CPU#1: dd/77\r\n";
        let with_caller = "[    9.100000][   T77] WARNING: block/blk-core.c:12 at submit_bio+0x1/0x2\r\n";
        for log in [old, new, with_caller] {
            assert_eq!(messages(log).len(), 1, "{log}");
        }
    }

    #[test]
    fn reports_of_the_sanitizers_are_found() {
        let log = "\
[   10.0] BUG: KASAN: slab-use-after-free in blksnap_read+0x1/0x2 [blksnap]
[   10.1] WARNING: possible circular locking dependency detected
[   10.2] BUG: sleeping function called from invalid context at mm/slub.c:1
[   10.3] WARNING: suspicious RCU usage
[   10.4] UBSAN: array-index-out-of-bounds in x.c:1
[   10.5] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
";
        assert_eq!(messages(log).len(), 6);
    }

    #[test]
    fn hangs_are_found() {
        let log = "\
[   50.0] INFO: task kworker/1:2:44 blocked for more than 45 seconds.
[   60.0] watchdog: BUG: soft lockup - CPU#1 stuck for 120s! [dd:7]
[   70.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
";
        assert_eq!(messages(log).len(), 3);
    }

    #[test]
    fn a_panic_is_recognised() {
        let log = "\
[    4.9] guest: begin a/b
[    5.0] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    5.1] Oops: Oops: 0002 [#1] SMP NOPTI
[    5.2] Kernel panic - not syncing: Fatal exception
";
        let found = troubles(log);
        assert_eq!(found.len(), 3);
        assert!(is_panic(&found, "a/b") && !is_panic(&found, "c/d") && !is_emulator_fault(&found));
    }

    #[test]
    fn a_restart_is_recognised() {
        assert!(super::has_restarted("[    9.9] reboot: Restarting system\n"));
        assert!(!super::has_restarted("[    9.9] guest: begin a/b\n"));
    }

    #[test]
    fn a_breakpoint_that_is_gone_is_the_emulators_fault() {
        let log = "[ 1.5] Oops: int3: 0000 [#1] SMP NOPTI\n[ 1.6] Kernel panic - not syncing: Fatal exception\n";
        assert!(is_emulator_fault(&troubles(log)));
    }

    #[test]
    fn trouble_is_put_to_the_scenario_that_ran() {
        let log = "[ 1.0] guest: begin a/b\n[ 2.0] guest: done a/b\n[ 3.0] guest: begin c/d\n[ 4.0] BUG: x\n";
        assert_eq!(troubles(log).first().and_then(|trouble| trouble.scenario.as_deref()), Some("c/d"));
    }
}
