//! Targets of a measurement: what is wanted, what was measured, whether that is enough, and the table that shows it.
//!
//! What is wanted of which program stands where it is measured. A target of which nothing was measured is never met.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The measured value is within the limit.
    Pass,
    /// It is not.
    Miss,
    /// Something needed for it was not measured.
    Unknown,
}

/// One target with what was measured.
#[derive(Debug, Serialize)]
pub struct Target {
    /// What is wanted, in words, with the limit.
    pub wanted: &'static str,
    /// What was measured, in the unit of the limit.
    pub measured: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
}

impl Target {
    /// The limit itself passes.
    pub fn at_least(wanted: &'static str, measured: Option<f64>, limit: f64) -> Self {
        Self::judged(wanted, measured, |value| value >= limit)
    }

    /// The limit itself passes.
    pub fn at_most(wanted: &'static str, measured: Option<f64>, limit: f64) -> Self {
        Self::judged(wanted, measured, |value| value <= limit)
    }

    fn judged(wanted: &'static str, measured: Option<f64>, holds: impl Fn(f64) -> bool) -> Self {
        let verdict = match measured {
            Some(value) if holds(value) => Verdict::Pass,
            Some(_) => Verdict::Miss,
            None => Verdict::Unknown,
        };
        Self { wanted, measured, verdict }
    }
}

/// How many of the targets are missed; what was not measured is counted as missed too.
pub fn missed(targets: &[Target]) -> usize {
    targets.iter().filter(|target| target.verdict != Verdict::Pass).count()
}

/// The targets as a table in Markdown, followed by an empty line.
pub fn table(targets: &[Target]) -> String {
    let mut table = "| target | measured | |\n|---|---:|---|\n".to_owned();
    for Target { wanted, measured, verdict } in targets {
        let measured = measured.map_or("not measured".to_owned(), shown);
        let verdict = match verdict {
            Verdict::Pass => "pass",
            Verdict::Miss => "**miss**",
            Verdict::Unknown => "unknown",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {wanted} | {measured} | {verdict} |");
    }
    table.push('\n');
    table
}

/// Small values with their decimals, large ones without.
pub fn shown(value: f64) -> String {
    if value < 1000.0 { format!("{value:.3}") } else { format!("{value:.0}") }
}

/// The two lines of a document between which a command writes its results.
#[derive(Debug, Clone, Copy)]
pub struct Markers {
    /// The line above.
    pub begin: &'static str,
    /// The line below.
    pub end: &'static str,
}

impl Markers {
    /// Replaces what stands between the markers of a file.
    pub fn write_into(self, document: &Path, content: &str) -> Result<()> {
        let text = std::fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
        let replaced = self
            .replace(&text, content)
            .with_context(|| format!("{} lacks the markers {} and {}", document.display(), self.begin, self.end))?;
        std::fs::write(document, replaced).with_context(|| format!("cannot write {}", document.display()))
    }

    /// `text` with other content between the markers; nothing when it lacks them.
    pub fn replace(self, text: &str, content: &str) -> Option<String> {
        let Self { begin, end } = self;
        let (before, rest) = text.split_once(begin)?;
        let (_, after) = rest.split_once(end)?;
        Some(format!("{before}{begin}\n{content}{end}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Markers, Target, Verdict, missed, table};

    #[test]
    fn verdicts_follow_the_limit() {
        assert_eq!(Target::at_least("", Some(3.0), 3.0).verdict, Verdict::Pass);
        assert_eq!(Target::at_least("", Some(2.9), 3.0).verdict, Verdict::Miss);
        assert_eq!(Target::at_most("", Some(1.15), 1.15).verdict, Verdict::Pass);
        assert_eq!(Target::at_most("", Some(1.2), 1.15).verdict, Verdict::Miss);
        assert_eq!(Target::at_most("", None, 1.15).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_was_not_measured_is_named_so_and_is_not_met() {
        let targets = [Target::at_most("cost ≤ 2", Some(1.0), 2.0), Target::at_most("size ≤ 2", None, 2.0)];
        assert_eq!(missed(&targets), 1);
        let table = table(&targets);
        assert!(table.contains("| cost ≤ 2 | 1.000 | pass |\n| size ≤ 2 | not measured | unknown |\n"), "{table}");
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let markers = Markers { begin: "<!-- b -->", end: "<!-- e -->" };
        let replaced = markers.replace("top\n<!-- b -->\nold\n<!-- e -->\nbottom\n", "new\n");
        assert_eq!(replaced.as_deref(), Some("top\n<!-- b -->\nnew\n<!-- e -->\nbottom\n"));
        assert_eq!(markers.replace("no markers", "new"), None);
    }
}
