//! The measurements of one benchmark, by scenario and tool.

use serde::Serialize;

use crate::measure::{Cost, median};

/// One run of one tool in one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What was done, such as `full backup`.
    pub scenario: &'static str,
    /// By which tool, as labelled.
    pub tool: &'static str,
    /// What it cost.
    pub cost: Cost,
    /// Bytes that the store grew by, where something was stored.
    pub stored_bytes: Option<u64>,
}

/// All runs.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    measurements: Vec<Measurement>,
}

impl Results {
    /// Keeps a run.
    pub fn add_silently(&mut self, measurement: Measurement) {
        self.measurements.push(measurement);
    }

    /// Keeps a run and says so.
    pub fn add(&mut self, measurement: Measurement) {
        let Measurement { scenario, tool, cost, stored_bytes } = &measurement;
        let stored = stored_bytes.map_or(String::new(), |bytes| format!(", stored {} MB", bytes / 1_000_000));
        eprintln!("  {scenario:<28} {tool:<20} {:>8.2} s, peak {} MiB{stored}", cost.seconds, cost.peak_kib / 1024);
        self.add_silently(measurement);
    }

    /// The scenarios in the order in which they were first measured.
    pub fn scenarios(&self) -> Vec<&'static str> {
        first_of_each(self.measurements.iter().map(|measurement| measurement.scenario))
    }

    /// The tools of a scenario in the order in which they were first measured.
    pub fn tools(&self, scenario: &str) -> Vec<&'static str> {
        first_of_each(self.runs(scenario).map(|measurement| measurement.tool))
    }

    /// How many runs of a tool there are in a scenario.
    pub fn count(&self, scenario: &str, tool: &str) -> usize {
        self.of(scenario, tool).count()
    }

    /// Median time.
    pub fn seconds(&self, scenario: &str, tool: &str) -> Option<f64> {
        median(self.of(scenario, tool).map(|run| run.cost.seconds).collect())
    }

    /// Median processor time.
    pub fn cpu_seconds(&self, scenario: &str, tool: &str) -> Option<f64> {
        median(self.of(scenario, tool).map(|run| run.cost.cpu_seconds).collect())
    }

    /// The largest peak memory of all runs.
    pub fn peak_kib(&self, scenario: &str, tool: &str) -> Option<u64> {
        self.of(scenario, tool).map(|run| run.cost.peak_kib).max()
    }

    /// Median of the bytes stored.
    pub fn stored_bytes(&self, scenario: &str, tool: &str) -> Option<f64> {
        median(self.of(scenario, tool).filter_map(|run| run.stored_bytes).map(|bytes| bytes as f64).collect())
    }

    fn runs<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Measurement> {
        self.measurements.iter().filter(move |measurement| measurement.scenario == scenario)
    }

    fn of<'a>(&'a self, scenario: &'a str, tool: &'a str) -> impl Iterator<Item = &'a Measurement> {
        self.runs(scenario).filter(move |measurement| measurement.tool == tool)
    }
}

fn first_of_each(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
