//! What the scenarios in the guest have measured, by case and quantity.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Fewer values than this are no result for what is measured in runs.
const LEAST_RUNS: usize = 5;

/// All values.
#[derive(Debug, Default)]
pub struct Costs {
    values: BTreeMap<(String, String), Vec<f64>>,
}

impl Costs {
    /// Reads lines of `CASE QUANTITY VALUE`.
    pub fn from_lines(lines: &[String]) -> Result<Self> {
        let mut costs = Self::default();
        for line in lines {
            let fields = line.split(' ').collect::<Vec<_>>();
            let [case, quantity, value] = fields[..] else {
                anyhow::bail!("the guest tells a measurement in a way that is not understood: {line}");
            };
            let value = value.parse().with_context(|| format!("the guest measured no number: {line}"))?;
            costs.values.entry((case.to_owned(), quantity.to_owned())).or_default().push(value);
        }
        Ok(costs)
    }

    /// Median over the runs; `None` when there were too few.
    pub fn of_runs(&self, case: &str, quantity: &str) -> Option<f64> {
        median(self.of(case, quantity).filter(|values| values.len() >= LEAST_RUNS)?)
    }

    /// Median over any number of values.
    pub fn single(&self, case: &str, quantity: &str) -> Option<f64> {
        median(self.of(case, quantity)?)
    }

    /// The smallest and the largest value.
    pub fn extremes(&self, case: &str, quantity: &str) -> Option<(f64, f64)> {
        let values = self.of(case, quantity)?;
        let smallest = values.iter().copied().min_by(f64::total_cmp)?;
        Some((smallest, values.iter().copied().max_by(f64::total_cmp)?))
    }

    fn of(&self, case: &str, quantity: &str) -> Option<&Vec<f64>> {
        self.values.get(&(case.to_owned(), quantity.to_owned()))
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_owned();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::Costs;

    fn costs(values: &[&str]) -> anyhow::Result<Costs> {
        Costs::from_lines(&values.iter().map(|value| format!("write/raw instructions {value}")).collect::<Vec<_>>())
    }

    #[test]
    fn a_result_is_the_median_of_at_least_five_runs() -> anyhow::Result<()> {
        let five = costs(&["5.0", "1.0", "3.0", "900.0", "2.0"])?;
        assert_eq!(five.of_runs("write/raw", "instructions"), Some(3.0));
        assert_eq!(five.extremes("write/raw", "instructions"), Some((1.0, 900.0)));
        let four = costs(&["5.0", "1.0", "3.0", "900.0"])?;
        assert_eq!(four.of_runs("write/raw", "instructions"), None);
        assert_eq!(four.single("write/raw", "instructions"), Some(4.0));
        Ok(())
    }

    #[test]
    fn a_line_that_is_cut_off_is_an_error() {
        assert!(Costs::from_lines(&["write/raw instr".to_owned()]).is_err());
        assert!(costs(&["many"]).is_err());
    }
}
