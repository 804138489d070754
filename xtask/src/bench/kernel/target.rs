//! What the kernel module may cost, and whether it costs no more.

use super::cost::Costs;
use e2e::targets::Target;

/// All targets, judged.
pub fn judge(costs: &Costs) -> Vec<Target> {
    let instructions = |case| costs.of_runs(case, "instructions");
    let times_raw = |case| Some(instructions(case)? / instructions("write/raw").filter(|raw| *raw > 0.0)?);
    let first_touch_kib = |quantity| Some(costs.of_runs("write/first_touch", quantity)? / 1024.0);
    let memory_mib = |quantity| Some(costs.single("memory", quantity)? / f64::from(1 << 20));
    vec![
        Target::at_most("write to a tracked disk ≤ 1.03 × raw", times_raw("write/tracked"), 1.03),
        Target::at_most("write to another disk ≤ 1.01 × raw", times_raw("write/another_tracked"), 1.01),
        Target::at_most(
            "first touch under a snapshot ≤ 30 000 instructions",
            instructions("write/first_touch"),
            30_000.0,
        ),
        Target::at_most("first touch: ≤ 64 KiB read from the disk", first_touch_kib("origin_read_bytes"), 64.0),
        Target::at_most("first touch: ≤ 64 KiB written to the store", first_touch_kib("store_written_bytes"), 64.0),
        Target::at_most("second touch ≤ 1.1 × raw", times_raw("write/second_touch"), 1.1),
        Target::at_most("map of a touched TiB ≤ 4 MiB", memory_mib("map_bytes_per_tib"), 4.0),
        Target::at_most("preserved chunk ≤ 64 bytes", costs.single("memory", "bytes_per_chunk"), 64.0),
        Target::at_most("discard of 768 MiB under a snapshot pins ≤ 32 MiB", memory_mib("discard_pinned_bytes"), 32.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::bench::kernel::cost::Costs;
    use e2e::targets::Verdict;

    #[test]
    fn nothing_passes_when_nothing_was_measured() {
        assert!(judge(&Costs::default()).iter().all(|target| target.verdict == Verdict::Unknown));
    }

    #[test]
    fn costs_are_compared_with_those_of_the_raw_disk() -> anyhow::Result<()> {
        let cases = [("write/raw", 1000), ("write/tracked", 1029), ("write/another_tracked", 1011)];
        let lines = cases.iter().flat_map(|(case, value)| (0..5).map(move |_| format!("{case} instructions {value}")));
        let targets = judge(&Costs::from_lines(&lines.collect::<Vec<_>>())?);
        assert_eq!((targets[0].verdict, targets[1].verdict), (Verdict::Pass, Verdict::Miss));
        Ok(())
    }
}
