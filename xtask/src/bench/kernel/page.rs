//! The costs of the kernel module as a page for people.

use std::fmt::Write;

use e2e::targets::{self, Markers, Target, shown};

use super::cost::Costs;

/// Where the documentation takes the page.
pub const MARKERS: Markers = Markers {
    begin: "<!-- bench-kernel:begin (written by `cargo xtask bench --kernel`) -->",
    end: "<!-- bench-kernel:end -->",
};

/// A line of the table: a case of `tests/guest/src/scenario/cost.rs`, the case it is compared with, and what it is.
struct Row(&'static str, &'static str, &'static str);

const ROWS: [Row; 19] = [
    Row("write/raw", "write/raw", "write, module not loaded"),
    Row("write/module_loaded", "write/raw", "write, module loaded, nothing tracked"),
    Row("write/another_tracked", "write/raw", "write, another disk tracked"),
    Row("write/tracked", "write/raw", "write, tracked"),
    Row("write/first_touch", "write/raw", "write, first touch under a snapshot"),
    Row("write/first_touch_in_known_chunk", "write/raw", "write, first touch beside an earlier one"),
    Row("write/second_touch", "write/raw", "write, second touch under a snapshot"),
    Row("dm/write_without_snapshot", "write/raw", "dm-snapshot: write, no snapshot"),
    Row("dm/first_touch", "write/raw", "dm-snapshot: write, first touch"),
    Row("dm/second_touch", "write/raw", "dm-snapshot: write, second touch"),
    Row("read/raw", "read/raw", "read, module not loaded"),
    Row("image_read/not_preserved", "read/raw", "image read, not preserved"),
    Row("image_read/preserved", "read/raw", "image read, preserved"),
    Row("dm/image_read_not_preserved", "read/raw", "dm-snapshot: image read, not preserved"),
    Row("dm/image_read_preserved", "read/raw", "dm-snapshot: image read, preserved"),
    Row("discard/raw", "discard/raw", "discard, nothing tracked"),
    Row("discard/tracked", "discard/raw", "discard, tracked"),
    Row("discard/first_touch", "discard/raw", "discard, first touch under a snapshot"),
    Row("discard/second_touch", "discard/raw", "discard, second touch under a snapshot"),
];

/// Quantities of the memory that are no run's, with what they are.
const MEMORY: [(&str, &str); 4] = [
    ("map_bytes_per_tib", "maps of a TiB that was touched all over, before and after a snapshot"),
    ("bytes_per_chunk", "a preserved chunk"),
    ("discard_pinned_bytes", "in use while 768 MiB are discarded under a snapshot"),
    ("discard_pinned_bytes_with_32_pieces", "the same with `chunk_maximum_in_queue=32` (2 MiB)"),
];

/// Cases of `tests/guest/src/scenario/cost_backup.rs`, with what they are.
const DURING_BACKUP: [(&str, &str); 4] = [
    ("backup/none", "no backup"),
    ("backup/unprotected", "backup of the disk as it is, without any snapshot"),
    ("backup/module", "backup by the module"),
    ("backup/dm", "backup of dm-snapshot's image"),
];

/// Everything that is shown.
pub struct Page {
    /// When.
    pub date: String,
    /// The commit that was measured.
    pub commit: String,
    /// The guest's kernel.
    pub kernel: String,
    /// The emulator's version.
    pub emulator: String,
    /// All values.
    pub costs: Costs,
    /// The judged targets.
    pub targets: Vec<Target>,
    /// Scenarios that failed, and why.
    pub failures: Vec<(String, String)>,
}

impl Page {
    /// The tables.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_circumstances(&mut page);
        page.push_str(&targets::table(&self.targets));
        let _ = self.write_costs(&mut page);
        let _ = self.write_during_backup(&mut page);
        let _ = self.write_memory(&mut page);
        page
    }

    fn write_circumstances(&self, page: &mut String) -> std::fmt::Result {
        let Self { date, commit, kernel, emulator, .. } = self;
        writeln!(page, "`cargo xtask bench --kernel` on {date}, commit {commit}\n")?;
        writeln!(page, "- guest: Linux {kernel}; {emulator}, one processor, `-icount shift=0`")?;
        let subtracted = |quantity| self.costs.single("subtracted", quantity).unwrap_or(f64::NAN);
        let (each, share) = (subtracted("loop_instructions"), subtracted("disturbance_percent"));
        writeln!(
            page,
            "- subtracted: {share:.2} % for interrupts, then {each:.0} instructions an operation for the loop"
        )?;
        for (scenario, reason) in &self.failures {
            writeln!(page, "- **failed**: {scenario}: {reason}")?;
        }
        writeln!(page)
    }

    fn write_costs(&self, page: &mut String) -> std::fmt::Result {
        writeln!(
            page,
            "| 4 KiB, queue depth 1 | instructions | least–most | × raw | disk read, KiB | disk written | store read | store written |"
        )?;
        writeln!(page, "|---|---:|---:|---:|---:|---:|---:|---:|")?;
        for Row(case, compared_with, label) in ROWS {
            let Some(instructions) = self.costs.of_runs(case, "instructions") else {
                writeln!(page, "| {label} | not measured | | | | | | |")?;
                continue;
            };
            let (least, most) = self.costs.extremes(case, "instructions").unwrap_or_default();
            let times = self.costs.of_runs(compared_with, "instructions").map(|raw| instructions / raw);
            let times = times.map_or(String::new(), |times| format!("{times:.3}"));
            let kib = |quantity| {
                self.costs.of_runs(case, quantity).map_or(String::new(), |bytes| format!("{:.1}", bytes / 1024.0))
            };
            let traffic = ["origin_read_bytes", "origin_written_bytes", "store_read_bytes", "store_written_bytes"];
            let traffic = traffic.map(kib).join(" | ");
            writeln!(page, "| {label} | {instructions:.0} | {least:.0}–{most:.0} | {times} | {traffic} |")?;
        }
        writeln!(page)
    }

    fn write_during_backup(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "| a write of 4 KiB to a disk during | median | 99 % | longest | stored for it, bytes |")?;
        writeln!(page, "|---|---:|---:|---:|---:|")?;
        for (case, label) in DURING_BACKUP {
            let value =
                |quantity| self.costs.of_runs(case, quantity).map_or("not measured".into(), |n| format!("{n:.0}"));
            let values = ["median", "percentile_99", "longest", "stored_bytes_per_write"].map(value).join(" | ");
            writeln!(page, "| {label} | {values} |")?;
        }
        writeln!(page)
    }

    fn write_memory(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "| memory | bytes |\n|---|---:|")?;
        for (quantity, label) in MEMORY {
            let bytes = self.costs.single("memory", quantity).map_or("not measured".to_owned(), shown);
            writeln!(page, "| {label} | {bytes} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Costs, MARKERS, Page};
    use crate::bench::kernel::target;

    #[test]
    fn what_was_not_measured_is_named_so() -> anyhow::Result<()> {
        let lines: Vec<String> = (0..5).map(|run| format!("write/raw instructions {}", 8000 + run)).collect();
        let costs = Costs::from_lines(&lines)?;
        let [date, commit, kernel, emulator] = ["2026-01-02", "abc", "7.3.4", "QEMU"].map(str::to_owned);
        let failures = vec![("cost/snapshot".to_owned(), "TAKE: EIO".to_owned())];
        let page = Page { date, commit, kernel, emulator, targets: target::judge(&costs), costs, failures }.markdown();
        assert!(page.contains("| write, module not loaded | 8002 | 8000–8004 | 1.000 |"), "{page}");
        assert!(page.contains("| write, tracked | not measured |"), "{page}");
        assert!(page.contains("**failed**: cost/snapshot: TAKE: EIO"), "{page}");
        Ok(())
    }

    #[test]
    fn the_documentation_has_a_place_for_it() {
        let document = include_str!("../../../../docs/benchmarks.md");
        assert!(MARKERS.replace(document, "new\n").is_some());
    }
}
