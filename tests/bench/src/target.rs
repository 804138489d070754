//! The speeds and sizes that Icecore wants to hold, and whether it does.

use e2e::targets::Target;
use serde::Serialize;

use crate::results::Results;
use crate::scenario as s;

/// Rates of the machine, in bytes a second, and sizes that the targets need.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Limits {
    /// Hashing on all processors.
    pub hash_rate: f64,
    /// Bytes of the realistic disk that are not holes.
    pub disk_data_bytes: u64,
}

/// All targets, judged.
pub fn judge(results: &Results, limits: &Limits) -> Vec<Target> {
    let seconds = |scenario, tool| results.seconds(scenario, tool);
    let stored = |scenario, tool| results.stored_bytes(scenario, tool);
    let full = seconds(s::FULL, s::ICECORE);
    let fastest_restore =
        [s::RESTIC, s::RUSTIC, s::BORG].into_iter().filter_map(|tool| seconds(s::RESTORE, tool)).min_by(f64::total_cmp);
    let huge_peak_mib = [s::BLOCKS_HUGE, s::FULL_HUGE]
        .into_iter()
        .filter_map(|scenario| results.peak_kib(scenario, s::ICECORE))
        .max()
        .map(|kib| kib as f64 / 1024.0);
    let data_rate = |time: f64| limits.disk_data_bytes as f64 / time;
    let scan_rate = seconds(s::NEXT_DAY, s::ICECORE).map(data_rate);
    let scan_limit = seconds(s::READ, s::DD).map(|time| data_rate(time).min(limits.hash_rate));
    vec![
        Target::at_least("full backup: throughput ≥ 3 × restic", ratio(seconds(s::FULL, s::RESTIC), full), 3.0),
        Target::at_least("full backup: throughput ≥ 2 × rustic", ratio(seconds(s::FULL, s::RUSTIC), full), 2.0),
        Target::at_least("full backup: throughput ≥ 1.6 × borg", ratio(seconds(s::FULL, s::BORG), full), 1.6),
        Target::at_most("full backup: time ≤ 1.15 × zstd -1 -T0", ratio(full, seconds(s::FULL, s::ZSTD)), 1.15),
        Target::at_most(
            "repository ≤ 1.03 × borg zstd-1",
            ratio(stored(s::FULL, s::ICECORE), stored(s::FULL, s::BORG)),
            1.03,
        ),
        Target::at_most(
            "repository at level 3 ≤ 1.02 × restic",
            ratio(stored(s::FULL_DENSE, s::ICECORE_DENSE), stored(s::FULL, s::RESTIC)),
            1.02,
        ),
        Target::at_most(
            "next day: bytes added ≤ 0.8 × restic",
            ratio(stored(s::NEXT_DAY, s::ICECORE), stored(s::NEXT_DAY, s::RESTIC)),
            0.8,
        ),
        Target::at_most(
            "next day with the list: time ≤ 1.5 × a backup of just those bytes",
            ratio(seconds(s::NEXT_DAY_LIST, s::ICECORE), seconds(s::ONLY_CHANGED, "icecore only changed")),
            1.5,
        ),
        Target::at_most(
            "100 MiB changed: time on 16 TiB ≤ 1.3 × on 6 GiB",
            ratio(seconds(s::BLOCKS_HUGE, s::ICECORE), seconds(s::BLOCKS, s::ICECORE)),
            1.3,
        ),
        Target::at_most("16 TiB: peak memory ≤ 256 MiB", huge_peak_mib, 256.0),
        Target::at_most("16 TiB with 2 GiB of data: full backup ≤ 10 s", seconds(s::FULL_HUGE, s::ICECORE), 10.0),
        Target::at_least("without a list: rate ≥ 0.7 × limit of reading or hashing", ratio(scan_rate, scan_limit), 0.7),
        Target::at_most("no change, empty list: < 0.3 s", seconds(s::NO_CHANGE, s::ICECORE), 0.3),
        Target::at_least(
            "restore: ≥ 2 × the fastest peer",
            ratio(fastest_restore, seconds(s::RESTORE, s::ICECORE)),
            2.0,
        ),
        Target::at_most("start-up ≤ 0.03 s", seconds(s::START, s::ICECORE), 0.03),
    ]
}

fn ratio(dividend: Option<f64>, divisor: Option<f64>) -> Option<f64> {
    Some(dividend? / divisor.filter(|value| *value > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::{Limits, judge};
    use crate::results::Results;
    use e2e::targets::Verdict;

    #[test]
    fn nothing_passes_when_nothing_was_measured() {
        let limits = Limits { hash_rate: 1.0, disk_data_bytes: 1 };
        let targets = judge(&Results::default(), &limits);
        assert!(targets.iter().all(|target| target.verdict == Verdict::Unknown));
    }
}
